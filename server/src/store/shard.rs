//! A shard: a range of slots under one lock, with their clock, their outbox and their counters.

use std::{array, mem::offset_of};

use ring::{
    hlc::HlcClock,
    replica::{Replica, Role},
    slot::Slot,
};

use super::{
    SLOTS_PER_SHARD,
    entries::SlotEntries,
    memory::Memory,
    outbox::{EffectWriter, Outbox},
};

/// What a shard holds and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Entries held, in any role, those past their deadline included.
    pub keys: u64,
    /// Entries held in slots that this node acts for.
    pub acting_keys: u64,
    /// Entries with a deadline.
    pub expires: u64,
    /// Entries with a deadline in slots that this node acts for.
    pub acting_expires: u64,
    /// Bytes of entries and their index.
    pub bytes: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Entries removed because their deadline had come.
    pub expired: u64,
    /// Entries removed because memory was short.
    pub evicted: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Totals) {
        let Totals { keys, acting_keys, expires, acting_expires, bytes, hits, misses, expired, evicted } = other;
        self.keys += keys;
        self.acting_keys += acting_keys;
        self.expires += expires;
        self.acting_expires += acting_expires;
        self.bytes += bytes;
        self.hits += hits;
        self.misses += misses;
        self.expired += expired;
        self.evicted += evicted;
    }
}

/// A range of slots and what they share.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) clock: HlcClock,
    pub(super) outbox: Outbox,
    pub(super) writer: EffectWriter,
    pub(super) totals: Totals,
    pub(super) random: Random,
    /// Not above the deadline of any entry in an acting slot.
    pub(super) earliest_deadline: u64,
    pub(super) slots: [Replica<SlotEntries>; SLOTS_PER_SHARD],
    /// For each slot, its number of entries if this node acts for it: what can be evicted.
    pub(super) acting_keys: [u32; SLOTS_PER_SHARD],
    /// The same of entries with a deadline.
    pub(super) acting_expires: [u32; SLOTS_PER_SHARD],
    /// Bytes by which the store's sum does not yet know of this shard's changes.
    pub(super) unreported_bytes: i64,
}

impl Shard {
    pub(super) fn new(number: usize, seed: u64) -> Shard {
        let first = number * SLOTS_PER_SHARD;
        Shard {
            clock: HlcClock::default(),
            outbox: Outbox::new(number),
            writer: EffectWriter::default(),
            totals: Totals::default(),
            random: Random::new(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            earliest_deadline: u64::MAX,
            slots: array::from_fn(|at| Replica::absent(slot_at(first + at), SlotEntries::new(seed))),
            acting_keys: [0; SLOTS_PER_SHARD],
            acting_expires: [0; SLOTS_PER_SHARD],
            unreported_bytes: 0,
        }
    }

    /// Where the copy of a slot lies in a shard that lies there.
    pub(super) fn place_of(shard: *const Shard, slot: Slot) -> *const u8 {
        let at = slot.index() % SLOTS_PER_SHARD * size_of::<Replica<SlotEntries>>();
        shard.cast::<u8>().wrapping_add(offset_of!(Shard, slots) + at)
    }

    pub(super) fn slot(&self, slot: Slot) -> &Replica<SlotEntries> {
        &self.slots[slot.index() % SLOTS_PER_SHARD]
    }

    /// The same, to change; whoever adds or removes entries keeps the totals right by [`Shard::change`].
    pub(super) fn slot_mut(&mut self, slot: Slot) -> &mut Replica<SlotEntries> {
        &mut self.slots[slot.index() % SLOTS_PER_SHARD]
    }

    /// Runs a change of one slot and keeps the totals right.
    pub(super) fn change<R>(&mut self, slot: Slot, memory: &Memory, change: impl FnOnce(&mut Shard, usize) -> R) -> R {
        let at = slot.index() % SLOTS_PER_SHARD;
        let before = Held::by(&self.slots[at]);
        let result = change(self, at);
        self.changed(at, before, memory);
        result
    }

    /// A slot was changed that held this before: keeps the totals right.
    pub(super) fn changed(&mut self, at: usize, before: Held, memory: &Memory) {
        let after = Held::by(&self.slots[at]);
        if before != after {
            self.account(at, before, after);
        }
        memory.report(&mut self.unreported_bytes);
    }

    fn account(&mut self, at: usize, before: Held, after: Held) {
        let totals = &mut self.totals;
        totals.keys = totals.keys - before.keys + after.keys;
        totals.expires = totals.expires - before.expires + after.expires;
        totals.bytes = totals.bytes - before.bytes + after.bytes;
        self.unreported_bytes += after.bytes as i64 - before.bytes as i64;
        let (keys, expires) = if after.acting { (after.keys, after.expires) } else { (0, 0) };
        totals.acting_keys = totals.acting_keys - u64::from(self.acting_keys[at]) + keys;
        totals.acting_expires = totals.acting_expires - u64::from(self.acting_expires[at]) + expires;
        self.acting_keys[at] = keys as u32;
        self.acting_expires[at] = expires as u32;
    }
}

fn slot_at(index: usize) -> Slot {
    Slot::new(index as u16).expect("shards are ranges of the slots that there are")
}

/// What of a slot goes into the totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    acting: bool,
    keys: u64,
    expires: u64,
    bytes: u64,
}

impl Held {
    pub(super) fn by(replica: &Replica<SlotEntries>) -> Held {
        let entries = replica.entries();
        Held {
            acting: replica.role() == Role::Acting,
            keys: entries.len() as u64,
            expires: entries.expires() as u64,
            bytes: entries.bytes() as u64,
        }
    }
}

/// Random numbers for sampling: xorshift64*, seeded, not for secrets.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

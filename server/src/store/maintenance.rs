//! What the store does by itself: removing what is due, making room.
//!
//! Both happen only in slots that this node acts for, and leave as effects like any command's removal, so that all
//! copies of a slot stay equal: a copy that forgot entries on its own account would delete them everywhere at the
//! next join. The bytes of the other slots count towards the limit all the same.

use std::sync::atomic::Ordering;

use ring::replica::Role;

use super::{
    SHARDS, SLOTS_PER_SHARD, Store,
    entry::AccessTime,
    index::Place,
    memory::{Memory, OutOfMemory, Policy},
    shard::Shard,
};

/// No lock is held for more expired entries than this.
const EXPIRIES_PER_HOLD: usize = 64;
/// No lock is held for more evictions than this, and no shard gives more before the others do.
const EVICTIONS_PER_HOLD: usize = 8;
/// Of so many entries the one that was not used for the longest time is evicted.
const SAMPLES: usize = 8;
/// One command evicts no more than this for its own sake; what is left to do is left to the next one.
const MAX_EVICTIONS: usize = 10_000;

/// What an expiry cycle did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired {
    /// How many entries it removed.
    pub removed: usize,
    /// The budget ended before the work did.
    pub more: bool,
}

impl Store {
    /// Removes entries whose deadline has come, about `budget` of them, going on where the last cycle ended.
    pub fn expire_some(&self, now_unix_ms: u64, budget: usize) -> Expired {
        let mut removed = 0;
        let mut idle = 0;
        while idle < SHARDS {
            if removed >= budget {
                return Expired { removed, more: true };
            }
            let number = self.next_expiry.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let mut shard = self.shards[number].0.lock();
            let here = self.expire_shard(&mut shard, now_unix_ms, EXPIRIES_PER_HOLD.min(budget - removed));
            removed += here;
            idle = if here == 0 { idle + 1 } else { 0 };
        }
        Expired { removed, more: false }
    }

    /// Evicts until the memory is below its limit. To be called, without a slot lent, before a command that needs
    /// memory; `Err` says that it is to be refused.
    pub fn make_room(&self, now_unix_ms: u64) -> Result<(), OutOfMemory> {
        if !self.memory.is_short() {
            return Ok(());
        }
        if self.memory.policy() == Policy::NoEviction {
            return Err(OutOfMemory);
        }
        let (mut evicted, mut idle) = (0, 0);
        while idle < SHARDS && evicted < MAX_EVICTIONS {
            let number = self.next_eviction.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let here = self.evict_from(&mut self.shards[number].0.lock(), now_unix_ms);
            evicted += here;
            idle = if here == 0 { idle + 1 } else { 0 };
            if !self.memory.is_short() {
                return Ok(());
            }
        }
        // Something went, so the work was merely too much for one command.
        if evicted > 0 { Ok(()) } else { Err(OutOfMemory) }
    }

    fn expire_shard(&self, shard: &mut Shard, now: u64, limit: usize) -> usize {
        if shard.earliest_deadline > now {
            return 0;
        }
        let mut removed = 0;
        let mut earliest = u64::MAX;
        for at in 0..SLOTS_PER_SHARD {
            let replica = &shard.slots[at];
            let due = replica.entries().earliest_deadline().filter(|_| replica.role() == Role::Acting);
            if due.is_some_and(|deadline| deadline <= now) && removed < limit {
                let slot = replica.slot();
                removed += self.run(shard, slot, now, |txn| txn.expire(limit - removed)).0;
            }
            let replica = &shard.slots[at];
            let left = replica.entries().earliest_deadline().filter(|_| replica.role() == Role::Acting);
            earliest = earliest.min(left.unwrap_or(u64::MAX));
        }
        shard.earliest_deadline = earliest;
        removed
    }

    fn evict_from(&self, shard: &mut Shard, now: u64) -> usize {
        let mut evicted = 0;
        while evicted < EVICTIONS_PER_HOLD && self.memory.is_short() {
            let Some((at, place)) = shard.sample(AccessTime::at(now)) else { break };
            let entries = shard.slots[at].entries();
            let hash = entries.hash(entries.entry(place).key());
            let slot = shard.slots[at].slot();
            self.run(shard, slot, now, |txn| txn.evict(hash, place));
            shard.report_bytes(&self.memory);
            evicted += 1;
        }
        evicted
    }
}

impl Shard {
    /// Tells the sum of all bytes that this shard kept to itself.
    pub(super) fn report_bytes(&mut self, memory: &Memory) {
        memory.report_all(&mut self.unreported_bytes);
    }

    /// Of a few entries that may be evicted, the one that was not used for the longest time.
    fn sample(&mut self, now: AccessTime) -> Option<(usize, Place)> {
        let candidates = (0..SAMPLES).filter_map(|_| {
            let at = self.random_acting_slot()?;
            let place = self.slots[at].entries().index().random(self.random.next())?;
            let age = self.slots[at].entries().entry(place).access().age(now);
            Some((age, (at, place)))
        });
        candidates.max_by_key(|&(age, _)| age).map(|(_, found)| found)
    }

    /// A slot that this node acts for, with the likelihood of its share of entries.
    fn random_acting_slot(&mut self) -> Option<usize> {
        let mut left = self.random.next().checked_rem(self.totals.acting_keys)?;
        self.acting_keys.iter().position(|&keys| match left.checked_sub(u64::from(keys)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })
    }
}

//! This node's entries: 16384 slots in shards, each shard under one short lock.
//!
//! ```text
//!  Store ─┬─ shard 0 ─┬─ slots 0..64: Replica<SlotEntries>, role, context, fold, entries
//!         │           ├─ clock, random, totals
//!         │           └─ outbox: what the peers are to be told
//!         ├─ shard 1 …
//!         ├─ lanes:  per peer, what waits in all shards together
//!         └─ memory: the sum of bytes, its limit and the policy
//! ```
//!
//! A command executes on the thread that read it, under the lock of its slot's shard, and only where the slot's role
//! is acting, checked under that same hold, and the node has looked around lately ([`ring::lapse`]). What it writes becomes one effect with one dot, encoded once and appended
//! to the outboxes of the slot's peers before the lock is given back: entry, context, fold and effect are one step.
//! With nobody to tell nothing is encoded.
//!
//! Shards are ranges of slots, so that a walk over all slots stays with one lock for a while. CRC16 spreads keys over
//! the slots, so ranges are as evenly used as any other choice. With 256 shards two of sixteen threads want the same
//! lock at the same moment only rarely.
//!
//! The store knows slots, roles, dots and the time it is told: the time of day with every call, for deadlines, and the
//! [`VersionTime`], which no setting of a clock changes, for dots and for what is noted of uses. It does not know the view, the commands, the Redis
//! protocol or where peers are. No lock is held across an await: nothing here is asynchronous.

mod audit;
mod change;
mod deadlines;
mod entries;
mod entry;
mod eviction;
mod expiry;
mod figures;
mod index;
mod memory;
mod moves;
mod outbox;
mod prefetch;
mod shard;
mod snapshot;
mod txn;
mod uses;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use ring::{
    codec::Malformed,
    context::SlotContext,
    effect::{EffectRef, Op},
    hlc::{Hlc, HlcClock},
    id::{Origin, Peer, PeerSet},
    replica::{Joined, Received, Replica, Role},
    slot::{SLOTS, Slot},
};

use self::{
    memory::Memory,
    outbox::{Lanes, Record},
    prefetch::{LINE_BYTES, prefetch},
    shard::Shard,
};
use crate::{
    clock::{MAX_AHEAD_MS, VersionTime},
    types::{DATABASES, Database, Kind, Name},
};

pub use self::{
    audit::{Claim, Claimed, Finding, read_finding},
    entries::{Held, SlotEntries},
    eviction::Evicted,
    expiry::Expired,
    figures::{CopyFigures, EntryFigures},
    memory::OutOfMemory,
    outbox::{Batch, Drained, LaneId, Mark, TAG_CLAIM, TAG_COMPARE, TAG_EFFECT, TAG_FINDING, TAG_MARK, TAG_SEEN},
    shard::Totals,
    snapshot::{CHUNK_BYTES, Chunks, SlotSnapshot, SnapshotReader},
    txn::{SlotTxn, SlotView},
};
pub use crate::types::{Policy, Tuning};

/// How many shards there are.
pub const SHARDS: usize = 256;
/// How many neighbouring slots make a shard.
pub const SLOTS_PER_SHARD: usize = SLOTS / SHARDS;

/// How a store is set up.
pub struct Settings {
    /// The seed of hashes and samples; secret, so that nobody can choose keys that collide.
    pub seed: u64,
    /// How many bytes the entries may take; 0 is no limit.
    pub max_memory_bytes: u64,
    /// What happens beyond that.
    pub policy: Policy,
    /// How many bytes may wait for one peer before its lane overflows.
    pub lane_window_bytes: usize,
    /// Who is told what happens to the lanes.
    pub events: Arc<dyn Events>,
    /// The time that versions are made of; without one, the time of day.
    pub versions: Option<VersionTime>,
}

/// What the store has to say to those who drive it. Called under a shard's lock: it has to be quick (set a flag, wake
/// a task) and must not call the store.
pub trait Events: Send + Sync {
    /// Something waits for this peer, after its sender had found nothing.
    fn wake(&self, peer: Peer);
    /// More than the window waited for this peer: its lane takes in nothing more and is to be closed.
    fn overflowed(&self, peer: Peer);
}

/// For a store without peers.
impl Events for () {
    fn wake(&self, _: Peer) {}
    fn overflowed(&self, _: Peer) {}
}

/// What a command may see, and what it leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// The database that its keys are of.
    pub database: Database,
    /// How many databases there are for it.
    pub databases: usize,
    /// Whether reading or writing a key does not count as a use of it.
    pub leaves_no_trace: bool,
}

impl Default for Access {
    fn default() -> Access {
        Access { database: Database::FIRST, databases: DATABASES, leaves_no_trace: false }
    }
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Executed<R> {
    /// It ran.
    Done {
        /// What it returned.
        result: R,
        /// Its write, if it wrote.
        ticket: Option<Ticket>,
    },
    /// It did not run: this node does not act for the slot.
    NotActing,
}

/// A write, to wait for its acknowledgements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The slot.
    pub slot: Slot,
    /// Its shard.
    pub shard: u16,
    /// The number of the effect among those that the shard shipped. A peer of `sent_to` was sent it by a batch with
    /// a mark of this shard for which `after < seq <= mark.seq`.
    pub seq: u64,
    /// The peers that it was sent to, those that are still pulling the slot among them: a copy says with its
    /// acknowledgement whether it counts, and it may have become ready before this node hears of that elsewhere.
    pub sent_to: PeerSet,
    /// The time of the write.
    pub hlc: Hlc,
    /// The tenure under which this node's copy took it in.
    pub tenure: Origin,
}

/// What is to be known of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotFigures {
    /// This node's role.
    pub role: Role,
    /// Entries held.
    pub keys: usize,
    /// Bytes that they take.
    pub bytes: usize,
}

/// This node's entries.
pub struct Store {
    shards: Box<[Padded<Mutex<Shard>>]>,
    lanes: Lanes,
    memory: Memory,
    events: Arc<dyn Events>,
    versions: Option<VersionTime>,
    /// Until when commands may be executed, on the time of versions.
    acts_until_ms: AtomicU64,
    /// Where expiry and eviction go on.
    next_expiry: AtomicUsize,
    next_eviction: AtomicUsize,
}

/// On cache lines of its own (two, since processors fetch them in pairs).
#[repr(align(128))]
struct Padded<T>(T);

impl Store {
    /// An empty store: every slot is absent.
    pub fn new(settings: Settings) -> Store {
        let shard = |number| Padded(Mutex::new(Shard::new(number, settings.seed)));
        Store {
            shards: (0..SHARDS).map(shard).collect(),
            lanes: Lanes::new(settings.lane_window_bytes),
            memory: Memory::new(settings.max_memory_bytes, settings.policy),
            events: settings.events,
            versions: settings.versions,
            acts_until_ms: AtomicU64::new(u64::MAX),
            next_expiry: AtomicUsize::new(0),
            next_eviction: AtomicUsize::new(0),
        }
    }

    // --- commands ---

    /// Says that these keys, with their slots, are about to be looked at. Changes nothing but what it costs.
    pub fn prefetch(&self, keys: &[(Slot, Name<'_>)]) {
        for &(slot, _) in keys {
            let shard = &self.shards[slot.index() / SLOTS_PER_SHARD].0;
            let copy = Shard::place_of(shard.data_ptr(), slot);
            for line in (0..size_of::<Replica<SlotEntries>>()).step_by(LINE_BYTES) {
                prefetch(copy.wrapping_add(line));
            }
        }
        for &(slot, ref name) in keys {
            // Whoever holds the lock is looking at something else; waiting for it would cost more than a miss.
            if let Some(shard) = self.shards[slot.index() / SLOTS_PER_SHARD].0.try_lock() {
                shard.slot(slot).entries().prefetch(name);
            }
        }
    }

    /// Until when commands may be executed, on the time of versions: what has not begun by then finds that this node
    /// does not act. Without such a time, for ever. What was said before.
    pub fn act_until(&self, version_ms: u64) -> u64 {
        self.acts_until_ms.swap(version_ms, Ordering::AcqRel)
    }

    /// Runs a command on a slot, if this node acts for it.
    pub fn execute<R>(&self, slot: Slot, now_unix_ms: u64, run: impl FnOnce(&mut SlotTxn<'_>) -> R) -> Executed<R> {
        let mut shard = self.shard(slot);
        if shard.slot(slot).role() != Role::Acting || self.has_lapsed() {
            return Executed::NotActing;
        }
        let (result, ticket) = self.run(&mut shard, slot, now_unix_ms, run);
        Executed::Done { result, ticket }
    }

    /// Runs a command that only reads on this node's copy of a slot, be it one that follows; none if there is no copy
    /// that is ready and misses nothing it knows of. What another node wrote last may not be in it.
    pub fn execute_on_copy<R>(
        &self,
        slot: Slot,
        now_unix_ms: u64,
        run: impl FnOnce(&mut SlotTxn<'_>) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(slot);
        let counts = shard.slot(slot).counts();
        counts.then(|| self.run(&mut shard, slot, now_unix_ms, run).0)
    }

    /// Everything that happened in a slot until now, as one write; none if this node does not act for it. The other
    /// copies are told what that is: their acknowledgements of earlier effects say nothing about what they lost with a
    /// former lane.
    pub fn everything(&self, slot: Slot) -> Option<Ticket> {
        let mut shard = self.shard(slot);
        let shard = &mut *shard;
        let replica = shard.slot(slot);
        if replica.role() != Role::Acting {
            return None;
        }
        let (peers, seen) = (replica.counting(), replica.seen().clone());
        let sent_to = shard.outbox.tell_seen(peers, slot, &seen, &self.lanes, &*self.events);
        Some(Ticket {
            slot,
            shard: (slot.index() / SLOTS_PER_SHARD) as u16,
            seq: shard.outbox.seq(),
            sent_to,
            hlc: seen.latest(),
            tenure: shard.slot(slot).origin(),
        })
    }

    /// Whether the copy that took a write in is still here. If not, nobody knows any more who has it: what a peer says that
    /// it has up to the write's number includes what a copy had that it has forgotten since.
    pub fn still_holds(&self, ticket: &Ticket) -> bool {
        self.shard(ticket.slot).slot(ticket.slot).is_of(ticket.tenure)
    }

    /// Takes in what a peer's copy has incorporated; whether this one lacks some of it, and whether it counts.
    pub fn heard_of(
        &self,
        from: Peer,
        slot: Slot,
        seen: &SlotContext,
        now_unix_ms: u64,
    ) -> Result<(bool, bool), Malformed> {
        self.check_time(seen.latest(), now_unix_ms)?;
        Ok(self.with_replica(slot, |replica| (replica.heard_of(from, seen), replica.counts())))
    }

    /// Looks at a copy of a slot, whatever its role.
    pub fn read<R>(&self, slot: Slot, now_unix_ms: u64, look: impl FnOnce(SlotView<'_>) -> R) -> R {
        let shard = self.shard(slot);
        look(SlotView { replica: shard.slot(slot), now: now_unix_ms })
    }

    // --- the other copies ---

    /// Takes in an effect as it arrived from a peer. The flag says whether the copy counts towards write quorums then.
    pub fn receive(&self, from: Peer, bytes: &[u8], now_unix_ms: u64) -> Result<(Slot, Received, bool), Malformed> {
        let effect = EffectRef::decode(bytes)?;
        let slot = effect.header.slot;
        self.check_time(effect.header.dot.hlc, now_unix_ms)?;
        if effect.ops().any(|op| matches!(op, Op::Put { kind, .. } if Kind::from_number(kind).is_none())) {
            return Err(Malformed("unknown kind of value"));
        }
        Ok(self.with_copy(slot, |replica, clock| {
            let received = replica.receive(from, bytes, &effect, clock);
            (slot, received, replica.counts())
        }))
    }

    /// The context and the entries of a slot, at one moment.
    pub fn snapshot(&self, slot: Slot) -> (SlotContext, SlotSnapshot) {
        self.shard(slot).slot(slot).snapshot()
    }

    /// Merges a snapshot of another copy in and replays what was parked; `None` if the copy that it was meant for, the
    /// one of that tenure, is not here any more.
    pub fn join(
        &self,
        slot: Slot,
        origin: Origin,
        seen: &SlotContext,
        entries: SlotSnapshot,
        now_unix_ms: u64,
    ) -> Result<Option<Joined>, Malformed> {
        self.check_time(seen.latest(), now_unix_ms)?;
        Ok(self.with_copy(slot, |replica, clock| replica.is_of(origin).then(|| replica.join(seen, entries, clock))))
    }

    /// Changes a slot's role or peers.
    pub fn with_replica<R>(&self, slot: Slot, change: impl FnOnce(&mut Replica<SlotEntries>) -> R) -> R {
        self.with_copy(slot, |replica, _| change(replica))
    }

    // --- lanes ---

    /// From now on what happens is told to this peer. What happened before is not: copies are to be compared.
    pub fn open_lane(&self, peer: Peer) -> LaneId {
        self.close_lane(peer);
        let lane = self.lanes.reset(peer);
        self.shards.iter().for_each(|shard| shard.0.lock().outbox.open(peer));
        lane
    }

    /// Tells this peer nothing more, and frees what waits for it.
    pub fn close_lane(&self, peer: Peer) {
        self.shards.iter().for_each(|shard| shard.0.lock().outbox.close(peer, &self.lanes));
    }

    /// Whether more waited for a peer than the window since its lane was opened.
    pub fn lane_overflowed(&self, peer: Peer) -> bool {
        self.lanes.overflowed(peer)
    }

    /// How many bytes wait for a peer.
    pub fn lane_bytes(&self, peer: Peer) -> usize {
        self.lanes.waiting_bytes(peer)
    }

    /// Takes what waits for a peer, about `max_bytes` of it, more only where a single record is larger. If nothing waits
    /// [`Events::wake`] says when it is worth asking again.
    pub fn drain(&self, lane: LaneId, max_bytes: usize) -> Drained {
        let take = |peer, shard: usize, max_bytes, batch: &mut Batch| {
            self.shards[shard].0.lock().outbox.take(peer, max_bytes, batch)
        };
        self.lanes.drain(lane, max_bytes, take)
    }

    /// Tells a peer, between the effects, how this copy of a slot stands; false if its lane is closed.
    pub fn compare_record(&self, slot: Slot, peer: Peer) -> bool {
        let mut shard = self.shard(slot);
        let digest = shard.slot(slot).digest();
        let record = Record::new(TAG_COMPARE, slot).with(digest.seen.to_le_bytes()).with(digest.fold.0.to_le_bytes());
        shard.outbox.record(peer, &record, &self.lanes, &*self.events)
    }

    /// Tells a peer that it has got all effects of a slot up to here; false if its lane is closed.
    pub fn mark_record(&self, slot: Slot, peer: Peer, id: u64) -> bool {
        let record = Record::new(TAG_MARK, slot).with(id.to_le_bytes());
        self.shard(slot).outbox.record(peer, &record, &self.lanes, &*self.events)
    }

    // --- figures ---

    /// What one slot holds.
    pub fn slot_figures(&self, slot: Slot) -> SlotFigures {
        let shard = self.shard(slot);
        let replica = shard.slot(slot);
        SlotFigures { role: replica.role(), keys: replica.entries().len(), bytes: replica.entries().bytes() }
    }

    /// What the node holds and did, shard by shard.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.shards.iter().for_each(|shard| totals.add(&shard.0.lock().totals));
        totals
    }

    /// The time that versions are made of.
    #[inline]
    fn version_ms(&self, now: u64) -> u64 {
        self.versions.as_ref().map_or(now, VersionTime::ms)
    }

    /// Whether nobody has said for too long that this node may act. The time is that of the last reading of the clock:
    /// every batch of commands begins with one.
    #[inline]
    pub fn has_lapsed(&self) -> bool {
        let until_ms = self.acts_until_ms.load(Ordering::Acquire);
        self.versions.as_ref().is_some_and(|versions| versions.ms() > until_ms)
    }

    fn check_time(&self, hlc: Hlc, now: u64) -> Result<(), Malformed> {
        let latest = self.versions.as_ref().map_or(now, VersionTime::latest_ms);
        let is_far_ahead = hlc.unix_ms().saturating_sub(latest) > MAX_AHEAD_MS;
        if is_far_ahead { Err(Malformed("a time far ahead of this node's clock")) } else { Ok(()) }
    }

    fn shard(&self, slot: Slot) -> MutexGuard<'_, Shard> {
        self.shards[slot.index() / SLOTS_PER_SHARD].0.lock()
    }

    /// Lends a slot that acts, and ships what was written.
    fn run<R>(
        &self,
        shard: &mut Shard,
        slot: Slot,
        now: u64,
        run: impl FnOnce(&mut SlotTxn<'_>) -> R,
    ) -> (R, Option<Ticket>) {
        let at = slot.index() % SLOTS_PER_SHARD;
        let Shard { clock, writer, totals, random, earliest_deadline, slots, outbox, .. } = shard;
        let replica = &mut slots[at];
        let (ship_to, counting) = (replica.ship_to().intersection(outbox.open_peers()), replica.counting());
        let ships = !ship_to.is_empty();
        let counting_copies = counting.intersection(ship_to).len();
        let (acts, dot, tracking) = (replica.role() == Role::Acting, None, self.memory.tracking());
        let mut txn = SlotTxn {
            replica,
            clock,
            writer,
            totals,
            random,
            earliest_deadline,
            now,
            version_now: self.version_ms(now),
            access: Access::default(),
            tracking,
            dot,
            used: None,
            before: None,
            acts,
            ships,
            counting_copies,
        };
        let result = run(&mut txn);
        let (dot, before) = (txn.dot, txn.before);
        let ticket = dot.map(|dot| {
            let mut reached = PeerSet::EMPTY;
            if ships {
                writer.finish();
                reached = outbox.ship(writer, ship_to, &self.lanes, &*self.events);
                writer.release();
            }
            let shard = (slot.index() / SLOTS_PER_SHARD) as u16;
            Ticket { slot, shard, seq: outbox.seq(), sent_to: reached, hlc: dot.hlc, tenure: dot.origin }
        });
        if let Some(before) = before {
            shard.changed(at, before, &self.memory);
        }
        (result, ticket)
    }

    fn with_copy<R>(&self, slot: Slot, change: impl FnOnce(&mut Replica<SlotEntries>, &mut HlcClock) -> R) -> R {
        self.shard(slot).change(slot, &self.memory, |shard, at| {
            let result = change(&mut shard.slots[at], &mut shard.clock);
            // Whatever came in or began to act here may be due.
            let earliest = shard.slots[at].entries().earliest_deadline().unwrap_or(u64::MAX);
            shard.earliest_deadline = shard.earliest_deadline.min(earliest);
            result
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

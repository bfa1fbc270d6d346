//! The store against naive twins, two stores against each other, and what waits for peers.

mod audit;
mod change;
mod clocks;
mod copies;
mod eviction;
mod lanes;
mod limits;
mod twin;
mod uses;

use std::sync::Arc;

use parking_lot::Mutex;
use ring::{
    effect::{Cause, EffectRef, Op},
    id::{Origin, Peer, PeerSet},
    slot::Slot,
};

use super::*;

/// A time at which tests start.
pub(super) const NOW: u64 = 1_800_000_000_000;
pub(super) const PEER: Peer = Peer(3);

/// Writes down what the store says.
#[derive(Default)]
pub(super) struct Log(Mutex<Vec<(&'static str, Peer)>>);

impl Log {
    pub(super) fn take(&self) -> Vec<(&'static str, Peer)> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Events for Log {
    fn wake(&self, peer: Peer) {
        self.0.lock().push(("wake", peer));
    }

    fn overflowed(&self, peer: Peer) {
        self.0.lock().push(("overflowed", peer));
    }
}

pub(super) fn store_with(window: usize, max_memory_bytes: u64, policy: Policy) -> (Store, Arc<Log>) {
    let log = Arc::new(Log::default());
    let settings =
        Settings { seed: 42, max_memory_bytes, policy, lane_window_bytes: window, events: log.clone(), versions: None };
    (Store::new(settings), log)
}

/// A store that acts for these slots and ships to [`PEER`].
pub(super) fn leader(slots: impl Iterator<Item = Slot>) -> Store {
    let (store, _) = store_with(64 << 20, 0, Policy::NoEviction);
    act(&store, slots);
    store.open_lane(PEER);
    store
}

pub(super) fn act(store: &Store, slots: impl Iterator<Item = Slot>) {
    let peers: PeerSet = [PEER].into_iter().collect();
    for slot in slots {
        store.with_replica(slot, |replica| {
            replica.open_empty(Origin(1));
            replica.act();
            replica.set_peers(peers, peers);
        });
    }
}

/// A store that follows in these slots.
pub(super) fn follower(slots: impl Iterator<Item = Slot>) -> Store {
    let (store, _) = store_with(64 << 20, 0, Policy::NoEviction);
    slots.for_each(|slot| store.with_replica(slot, |replica| replica.open_empty(Origin(2))));
    store
}

/// Runs on the slot of a key.
pub(super) fn on<R>(store: &Store, key: &[u8], now: u64, run: impl FnOnce(&mut SlotTxn<'_>) -> R) -> R {
    match store.execute(Slot::of(key), now, run) {
        Executed::Done { result, .. } => result,
        Executed::NotActing => panic!("the store does not act here"),
    }
}

/// What the sender of the lane that is open takes.
pub(super) fn drain(store: &Store, peer: Peer, max_bytes: usize) -> Option<Batch> {
    match store.drain(store.lanes.current(peer), max_bytes) {
        Drained::Batch(batch) => Some(batch),
        Drained::Nothing => None,
        Drained::Closed => panic!("that lane is open"),
    }
}

/// Everything that waits for the peer, frame by frame.
pub(super) fn frames(store: &Store, max_bytes: usize) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(batch) = drain(store, PEER, max_bytes) {
        let bytes = batch.bytes.concat();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (head, behind) = rest.split_at(5);
            let len = u32::from_le_bytes(head[1..].try_into().unwrap()) as usize;
            frames.push((head[0], behind[..len].to_vec()));
            rest = &behind[len..];
        }
    }
    frames
}

/// What a slot holds, in order.
pub(super) fn contents(store: &Store, slot: Slot) -> Vec<(Vec<u8>, Vec<u8>, u64)> {
    let shard = store.shard(slot);
    let entries = shard.slot(slot).entries();
    let mut contents: Vec<_> = entries
        .index()
        .iter()
        .map(|entry| (entry.key().to_vec(), entry.value().as_slice().to_vec(), entry.deadline()))
        .collect();
    contents.sort();
    contents
}

/// Whether everything that is kept beside the entries is what the entries say.
pub(super) fn check_books(store: &Store) {
    let mut totals = Totals::default();
    for slot in Slot::all().filter(|&slot| store.slot_figures(slot).role != Role::Absent) {
        let shard = store.shard(slot);
        let replica = shard.slot(slot);
        let entries = replica.entries();
        assert_eq!(replica.fold(), entries.recomputed_fold(), "fold of slot {slot}");
        let with_deadline = entries.index().iter().filter(|entry| entry.deadline() != 0).count();
        let bytes: usize = entries.index().iter().map(|entry| entry.allocated_bytes()).sum();
        assert_eq!((entries.index().iter().count(), with_deadline), (entries.len(), entries.expires()));
        assert_eq!(entries.entry_bytes(), bytes, "bytes of slot {slot}");
        assert!(entries.index().iter().all(|entry| replica.seen().covers(entries.dot(entry))), "held implies covered");
        for database in Database::all() {
            let of = entries.index().iter().filter(|entry| Database::of(entry.key()).0 == database);
            let held = of.fold(Held::default(), |held, entry| Held {
                keys: held.keys + 1,
                expires: held.expires + usize::from(entry.deadline() != 0),
                deadlines: held.deadlines + u128::from(entry.deadline()),
            });
            assert_eq!(entries.held(database), held, "database {database:?} of slot {slot}");
        }
        totals.keys += entries.len() as u64;
        totals.expires += entries.expires() as u64;
        totals.bytes += entries.bytes() as u64;
        if replica.role() == Role::Acting {
            totals.acting_keys += entries.len() as u64;
            totals.acting_expires += entries.expires() as u64;
        }
    }
    let kept = store.totals();
    assert_eq!((kept.keys, kept.expires, kept.bytes), (totals.keys, totals.expires, totals.bytes));
    assert_eq!((kept.acting_keys, kept.acting_expires), (totals.acting_keys, totals.acting_expires));
}

pub(super) fn causes(frames: &[(u8, Vec<u8>)]) -> Vec<Cause> {
    let effects = frames.iter().map(|(_, bytes)| EffectRef::decode(bytes).unwrap());
    let causes = effects.flat_map(|effect| {
        let causes = effect.ops().filter_map(|op| if let Op::Drop { cause, .. } = op { Some(cause) } else { None });
        causes.collect::<Vec<_>>()
    });
    causes.collect()
}

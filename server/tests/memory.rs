//! The store's count of bytes against the allocator's own.
//!
//! One test in a process of its own: the allocator counts for the whole process.

use std::sync::Arc;

use ring::{
    id::{Origin, Peer, PeerSet},
    slot::Slot,
};
use server::store::{Batch, Drained, Executed, LaneId, Policy, Settings, Store};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NOW: u64 = 1_800_000_000_000;

fn allocated() -> i64 {
    tikv_jemalloc_ctl::epoch::advance().expect("jemalloc counts");
    tikv_jemalloc_ctl::stats::allocated::read().expect("jemalloc counts") as i64
}

const PEER: Peer = Peer(3);

fn store() -> Store {
    store_with(0, Policy::NoEviction)
}

fn store_with(max_memory_bytes: u64, policy: Policy) -> Store {
    let settings = Settings {
        seed: 7,
        max_memory_bytes,
        policy,
        lane_window_bytes: 64 << 20,
        events: Arc::new(()),
        versions: None,
    };
    let store = Store::new(settings);
    for slot in Slot::all() {
        store.with_replica(slot, |replica| {
            replica.open_empty(Origin(1));
            replica.act();
        });
    }
    store
}

fn on<R>(store: &Store, key: &[u8], run: impl FnOnce(&mut server::store::SlotTxn<'_>) -> R) -> R {
    match store.execute(Slot::of(key), NOW, run) {
        Executed::Done { result, .. } => result,
        Executed::NotActing => panic!("every slot acts"),
    }
}

/// A store that acts, and one that follows and is told everything on this lane.
fn coupled(max_bytes: u64, policy: Policy) -> (Store, Store, LaneId) {
    let (leader, follower) = (store_with(max_bytes, policy), store_with(0, Policy::NoEviction));
    let peers: PeerSet = [PEER].into_iter().collect();
    for slot in Slot::all() {
        leader.with_replica(slot, |replica| replica.set_peers(peers, peers));
        follower.with_replica(slot, |replica| replica.open_empty(Origin(2)));
    }
    let lane = leader.open_lane(PEER);
    (leader, follower, lane)
}

/// Brings everything that waits from one store to the other.
fn ship(leader: &Store, lane: LaneId, follower: &Store) {
    while let Drained::Batch(Batch { bytes, .. }) = leader.drain(lane, 1 << 20) {
        let bytes = bytes.concat();
        let mut rest = &bytes[..];
        while let Some((head, behind)) = rest.split_at_checked(5) {
            let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
            follower.receive(PEER, &behind[..len], NOW).expect("the leader ships effects");
            rest = &behind[len..];
        }
    }
}

/// What is allocated more after filling a store, against what the store says.
fn check(what: &str, keys: usize, tag: &str, value: impl Fn(usize) -> Vec<u8>, deadline: impl Fn(usize) -> u64) {
    let before_store = allocated();
    let store = store();
    let before = allocated();
    // Small writes first, so that contexts and tables of origins are there: they belong to slots, not to entries.
    for slot in Slot::all() {
        store.execute(slot, NOW, |txn| {
            txn.put(b"first", b"", 0);
            txn.remove(b"first");
        });
    }
    let empty = allocated();
    for n in 0..keys {
        let key = format!("{tag}{n:0width$}", width = 16 - tag.len());
        on(&store, key.as_bytes(), |txn| txn.put(key.as_bytes(), &value(n), deadline(n)));
    }
    let (counted, grown) = (store.memory_bytes() as i64, allocated() - empty);
    println!(
        "{what}: {:.1} bytes an entry counted, {:.1} allocated; the empty store took {} KiB, {} when every slot had acted",
        counted as f64 / keys as f64,
        grown as f64 / keys as f64,
        (before - before_store) >> 10,
        (empty - before_store) >> 10,
    );
    assert!((counted - grown).abs() * 20 <= grown, "{what}: counted {counted}, allocated {grown}");

    for n in (0..keys).filter(|n| n % 3 != 0) {
        let key = format!("{tag}{n:0width$}", width = 16 - tag.len());
        assert!(on(&store, key.as_bytes(), |txn| txn.remove(key.as_bytes())));
    }
    let (counted, grown) = (store.memory_bytes() as i64, allocated() - empty);
    assert!((counted - grown).abs() * 20 <= grown, "{what}, a third left: counted {counted}, allocated {grown}");
}

/// Writes three times the limit under a policy, in entries of many sizes of which one in eight has no deadline, and
/// compares what is counted with what is allocated, and what is held with what another copy was told.
fn churn(policy: Policy) {
    const LIMIT: u64 = 8 << 20;
    // What shards keep to themselves, and the write that came last with the index that grew for it.
    const SLACK: u64 = LIMIT / 128 + 8192;
    let (leader, follower, lane) = coupled(LIMIT, policy);
    for slot in Slot::all() {
        leader.execute(slot, NOW, |txn| {
            txn.put(b"first", b"", 0);
            txn.remove(b"first");
        });
    }
    ship(&leader, lane, &follower);
    let empty = allocated();
    let lasts = |n: u64| n.is_multiple_of(8);
    let (mut written, mut refused, mut n) = (0, 0u64, 0);
    while written < 3 * LIMIT {
        let key = format!("key {n}");
        let value = vec![1; (n * 7919 % 700) as usize];
        written += (16 + key.len() + value.len()) as u64;
        match leader.make_room(NOW + n) {
            Ok(()) => {
                let deadline = if lasts(n) { 0 } else { NOW + 1_000_000_000 + n * 104_729 % 100_000 };
                on(&leader, key.as_bytes(), |txn| txn.put(key.as_bytes(), &value, deadline));
            }
            Err(_) => refused += 1,
        }
        if n.is_multiple_of(100) {
            let bytes = leader.memory_bytes();
            assert!(bytes <= LIMIT + SLACK, "{policy:?}: {bytes}");
            ship(&leader, lane, &follower);
        }
        n += 1;
    }
    ship(&leader, lane, &follower);
    leader.close_lane(PEER);
    let (counted, grown) = ((leader.memory_bytes() + follower.memory_bytes()) as i64, allocated() - empty);
    println!("{policy:?}: counted {counted}, allocated {grown}, {n} written, {:?}", leader.totals());
    assert!((counted - grown).abs() * 20 <= grown, "{policy:?}: counted {counted}, allocated {grown}");
    assert_eq!(policy == Policy::NoEviction, refused > 0, "{policy:?}");
    assert_eq!(policy == Policy::NoEviction, leader.totals().evicted == 0, "{policy:?}");
    for slot in Slot::all() {
        let digest = |store: &Store| store.read(slot, NOW, |view| view.replica().digest());
        assert_eq!(digest(&leader), digest(&follower), "{policy:?}: slot {slot}");
    }
    let is_held = |n: u64| {
        let key = format!("key {n}");
        on(&leader, key.as_bytes(), |txn| txn.contains(key.as_bytes()))
    };
    let lost = (0..n).filter(|&n| lasts(n) && !is_held(n)).count();
    assert_eq!(policy.spares_lasting(), lost == 0, "{policy:?}");
}

#[test]
fn what_is_counted_is_what_is_allocated() {
    check("1 M entries of 16 + 64 bytes", 1_000_000, "", |_| vec![1; 64], |_| 0);
    check("with deadlines", 300_000, "", |_| vec![1; 64], |n| NOW + 1 + n as u64 * 7919 % 100_000);
    check("of 16 + 0 to 999 bytes", 200_000, "", |n| vec![1; n % 1000], |_| 0);
    check("of 16 + 20,000 bytes", 5_000, "", |_| vec![1; 20_000], |_| 0);
    check("in one slot", 300_000, "{a}", |_| vec![1; 64], |_| 0);
    Policy::ALL.into_iter().for_each(churn);
}

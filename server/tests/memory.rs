//! The store's count of bytes against the allocator's own.
//!
//! One test in a process of its own: the allocator counts for the whole process.

use std::sync::Arc;

use ring::{id::Origin, slot::Slot};
use server::store::{Executed, Policy, Settings, Store};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NOW: u64 = 1_800_000_000_000;

fn allocated() -> i64 {
    tikv_jemalloc_ctl::epoch::advance().expect("jemalloc counts");
    tikv_jemalloc_ctl::stats::allocated::read().expect("jemalloc counts") as i64
}

fn store() -> Store {
    let settings = Settings {
        seed: 7,
        max_memory_bytes: 0,
        policy: Policy::NoEviction,
        lane_window_bytes: 1 << 20,
        events: Arc::new(()),
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

#[test]
fn what_is_counted_is_what_is_allocated() {
    check("1 M entries of 16 + 64 bytes", 1_000_000, "", |_| vec![1; 64], |_| 0);
    check("with deadlines", 300_000, "", |_| vec![1; 64], |n| NOW + 1 + n as u64 * 7919 % 100_000);
    check("of 16 + 0 to 999 bytes", 200_000, "", |n| vec![1; n % 1000], |_| 0);
    check("of 16 + 20,000 bytes", 5_000, "", |_| vec![1; 20_000], |_| 0);
    check("in one slot", 300_000, "{a}", |_| vec![1; 64], |_| 0);
}

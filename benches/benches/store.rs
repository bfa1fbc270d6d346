//! The store without sockets: reads and writes of one thread on a million keys.

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ring::{
    id::{Origin, Peer, PeerSet},
    slot::Slot,
};
use server::store::{Drained, Executed, Policy, Settings, SlotTxn, Store};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: u64 = 1_000_000;
const NOW: u64 = 1_800_000_000_000;
const PEER: Peer = Peer(0);

fn store() -> Store {
    let settings = Settings {
        seed: 7,
        max_memory_bytes: 0,
        policy: Policy::NoEviction,
        lane_window_bytes: 64 << 20,
        events: Arc::new(()),
        versions: None,
    };
    let store = Store::new(settings);
    let peers: PeerSet = [PEER].into_iter().collect();
    for slot in Slot::all() {
        store.with_replica(slot, |replica| {
            replica.open_empty(Origin(1));
            replica.act();
            replica.set_peers(peers, peers);
        });
    }
    for number in 0..KEYS {
        set(&store, number, &[1; 64]);
    }
    store
}

fn on<R>(store: &Store, key: &[u8], run: impl FnOnce(&mut SlotTxn<'_>) -> R) -> R {
    match store.execute(Slot::of(key), NOW, run) {
        Executed::Done { result, .. } => result,
        Executed::NotActing => panic!("every slot acts"),
    }
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn set(store: &Store, number: u64, value: &[u8]) {
    let key = key(number);
    on(store, &key, |txn| txn.put(&key, value, 0));
}

fn get(store: &Store, number: u64) {
    let key = key(number);
    assert!(on(store, &key, |txn| black_box(txn.value(&key)).is_some()), "every read is a hit");
}

fn benches(criterion: &mut Criterion) {
    let store = store();
    let mut group = criterion.benchmark_group("store, 1 M keys of 16 + 64 bytes");
    group.throughput(Throughput::Elements(1));
    // Uniform keys, so that most of them are not in the processor's cache.
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % KEYS
    };
    group.bench_function("key only", |bencher| bencher.iter(|| black_box(Slot::of(&key(next())))));
    group.bench_function("get", |bencher| bencher.iter(|| get(&store, next())));
    group.bench_function("set, same length", |bencher| bencher.iter(|| set(&store, next(), &[2; 64])));
    let mut length = 0;
    group.bench_function("set, other length", |bencher| {
        bencher.iter(|| {
            length = (length + 1) % 32;
            set(&store, next(), &[3; 96][..64 + length]);
        });
    });
    let lane = store.open_lane(PEER);
    let mut count = 0u64;
    group.bench_function("set, shipped to one peer", |bencher| {
        bencher.iter(|| {
            set(&store, next(), &[2; 64]);
            count += 1;
            if count.is_multiple_of(1024) {
                while let Drained::Batch(_) = store.drain(lane, 1 << 20) {}
            }
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);

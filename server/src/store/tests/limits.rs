//! Memory and its limit.

use ring::effect::Cause;

use super::*;

fn fill(store: &Store, n: u32, len: usize) -> Result<(), OutOfMemory> {
    let now = NOW + u64::from(n) * 300;
    store.make_room(now)?;
    let key = format!("key {n}");
    on(store, key.as_bytes(), now, |txn| txn.put(key.as_bytes(), &vec![1; len], 0));
    Ok(())
}

#[test]
fn without_eviction_what_needs_memory_is_refused() {
    let (store, _) = store_with(1 << 20, 100_000, Policy::NoEviction);
    act(&store, Slot::all());
    let written = (0..10_000).take_while(|&n| fill(&store, n, 100).is_ok()).count();
    assert!((200..1000).contains(&written), "{written}");
    assert_eq!(store.make_room(NOW), Err(OutOfMemory));
    store.limit_memory(1 << 20, Policy::NoEviction);
    assert_eq!(store.make_room(NOW), Ok(()));
    store.limit_memory(0, Policy::NoEviction);
    assert_eq!((store.make_room(NOW), store.max_memory_bytes()), (Ok(()), 0));
    // A limit set later counts what was there before.
    store.limit_memory(1000, Policy::NoEviction);
    assert_eq!(store.make_room(NOW), Err(OutOfMemory));
}

#[test]
fn eviction_keeps_below_the_limit_by_effects_and_takes_what_was_not_used() {
    let limit = 4 << 20;
    let (store, _) = store_with(64 << 20, limit, Policy::AllKeysLru);
    let other = follower(Slot::all());
    act(&store, Slot::all());
    store.open_lane(PEER);
    let mut evictions = 0;
    for n in 0..30_000 {
        fill(&store, n, 100 + n as usize % 400).unwrap();
        // One key is read all the time.
        on(&store, b"key 0", NOW + u64::from(n) * 300, |txn| {
            txn.value(b"key 0");
        });
        let bytes = store.memory_bytes();
        assert!(bytes <= limit + limit / 100, "{bytes} after {n}");
        if n % 1000 == 0 {
            let frames = frames(&store, 1 << 20);
            evictions += causes(&frames).iter().filter(|&&cause| cause == Cause::Evict).count();
            frames.iter().for_each(|(_, bytes)| assert!(other.receive(PEER, bytes, NOW + 1_000_000_000).is_ok()));
        }
    }
    assert!(on(&store, b"key 0", NOW, |txn| txn.contains(b"key 0")), "the key in use stays");
    let newer = (29_000..30_000u32).filter(|n| {
        let key = format!("key {n}");
        on(&store, key.as_bytes(), NOW, |txn| txn.contains(key.as_bytes()))
    });
    assert!(newer.count() > 950, "what was used last stays");
    frames(&store, 1 << 20)
        .iter()
        .for_each(|(_, bytes)| assert!(other.receive(PEER, bytes, NOW + 1_000_000_000).is_ok()));
    assert!(evictions > 10_000 && store.totals().evicted >= evictions as u64);
    check_books(&store);
    assert!(Slot::all().all(|slot| contents(&store, slot) == contents(&other, slot)));
}

#[test]
fn only_slots_that_act_give_room() {
    let (store, _) = store_with(1 << 20, 50_000, Policy::AllKeysLru);
    act(&store, Slot::all());
    (0..1000).for_each(|n| assert!(fill(&store, n, 10).is_ok()));
    let before = store.totals();
    assert!(before.evicted > 0);
    Slot::all().for_each(|slot| {
        store.with_replica(slot, |replica| replica.stop());
    });
    store.limit_memory(10_000, Policy::AllKeysLru);
    assert_eq!(store.make_room(NOW), Err(OutOfMemory));
    assert_eq!((store.totals().evicted, store.totals().acting_keys), (before.evicted, 0));
}

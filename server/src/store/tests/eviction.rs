//! What goes under each policy.

use std::collections::HashSet;

use proptest::prelude::*;
use ring::effect::Cause;

use super::*;

const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;

/// A store that acts everywhere.
fn store_of(max_bytes: u64, policy: Policy) -> Store {
    let (store, _) = store_with(64 << 20, max_bytes, policy);
    act(&store, Slot::all());
    store
}

/// Writes a key as a command does.
fn write(store: &Store, key: &str, now: u64, deadline: u64) -> Result<(), OutOfMemory> {
    store.make_room(now)?;
    on(store, key.as_bytes(), now, |txn| txn.put(key.as_bytes(), &[1; 100], deadline));
    Ok(())
}

fn read(store: &Store, key: &str, now: u64) {
    on(store, key.as_bytes(), now, |txn| txn.value(key.as_bytes()).is_some());
}

fn holds(store: &Store, key: &str) -> bool {
    on(store, key.as_bytes(), NOW, |txn| txn.contains(key.as_bytes()))
}

/// Of `count` keys written a second apart so that half of them has to go, the share that stays of each quarter.
fn kept_by_age(policy: Policy, deadline: impl Fn(u64) -> u64) -> [f64; 4] {
    const COUNT: u64 = 8_000;
    let store = store_of(0, policy);
    let name = |n: u64| format!("key {n}");
    (0..COUNT).for_each(|n| write(&store, &name(n), NOW + n * 1000, deadline(n)).unwrap());
    store.limit_memory(store.memory_bytes() / 2, policy);
    while store.evict_some(NOW + COUNT * 1000, 300).more {}
    let quarter = COUNT / 4;
    [0, 1, 2, 3].map(|at| {
        let kept = (at * quarter..(at + 1) * quarter).filter(|&n| holds(&store, &name(n))).count();
        kept as f64 / quarter as f64
    })
}

#[test]
fn each_policy_has_its_order() {
    let far = |n| NOW + 1000 * HOUR_MS - n;
    for policy in [Policy::AllKeysLru, Policy::VolatileLru] {
        let [oldest, older, newer, newest] = kept_by_age(policy, far);
        assert!(oldest < 0.2 && older < newer && newest > 0.95, "{policy:?} {oldest} {older} {newer} {newest}");
    }
    for policy in [Policy::AllKeysRandom, Policy::VolatileRandom] {
        let kept = kept_by_age(policy, far);
        assert!(kept.iter().all(|share| (0.3..0.7).contains(share)), "{policy:?} {kept:?}");
    }
    // Of those whose deadline is farthest away, those that were written first here, hardly one goes.
    let [farthest, .., nearest] = kept_by_age(Policy::VolatileTtl, far);
    assert!(farthest > 0.95 && nearest < 0.1, "{farthest} {nearest}");
}

#[test]
fn what_is_used_often_outlives_what_is_new() {
    let hot: Vec<String> = (0..100).map(|n| format!("hot {n}")).collect();
    for (policy, kept) in
        [(Policy::AllKeysLfu, 95..=100), (Policy::VolatileLfu, 95..=100), (Policy::AllKeysLru, 0..=20)]
    {
        let store = store_of(1 << 20, policy);
        let deadline = NOW + HOUR_MS;
        hot.iter().for_each(|key| write(&store, key, NOW, deadline).unwrap());
        (0..1000).for_each(|_| hot.iter().for_each(|key| read(&store, key, NOW)));
        // Each of a great many is written and read once, in two minutes, in which counters fall by two.
        for n in 0..20_000 {
            let (key, now) = (format!("key {n}"), NOW + n * 2 * MINUTE_MS / 20_000);
            write(&store, &key, now, deadline).unwrap();
            read(&store, &key, now);
        }
        assert!(store.totals().evicted > 10_000);
        let left = hot.iter().filter(|key| holds(&store, key)).count();
        assert!(kept.contains(&left), "{policy:?} {left}");
    }
}

#[test]
fn more_samples_keep_closer_to_the_order() {
    let oldest_left = |samples| {
        let store = store_of(0, Policy::AllKeysLru);
        store.tune(Tuning { samples, ..Tuning::default() });
        (0..4000).for_each(|n| write(&store, &format!("key {n}"), NOW + n * 1000, 0).unwrap());
        store.limit_memory(store.memory_bytes() * 9 / 10, Policy::AllKeysLru);
        while store.evict_some(NOW + HOUR_MS * 2, 300).more {}
        (0..800).filter(|n| holds(&store, &format!("key {n}"))).count()
    };
    let left = [1, 8, 64].map(oldest_left);
    assert!(left[0] > left[1] + 100 && left[1] > left[2], "{left:?}");
}

#[test]
fn volatile_policies_never_take_a_key_without_a_deadline() {
    for policy in Policy::ALL.into_iter().filter(|policy| policy.spares_lasting()) {
        let store = store_of(0, policy);
        // Few slots, some of which have more deadlines than fit into one list.
        let name = |n: u16| format!("{{{}}}{n}", if n.is_multiple_of(3) { 0 } else { n % 40 });
        proptest!(ProptestConfig::with_cases(8), |(kept_of in 2u16..20, share in 1u64..95, spread in 1u64..5000)| {
            store.limit_memory(0, policy);
            Slot::all().for_each(|slot| store.with_replica(slot, |replica| replica.forget()));
            act(&store, Slot::all());
            let lasting = |n: &u16| n.is_multiple_of(kept_of);
            for n in 0..3000 {
                let deadline = if lasting(&n) { 0 } else { NOW + HOUR_MS + u64::from(n) * 7919 % spread };
                write(&store, &name(n), NOW, deadline).unwrap();
            }
            store.limit_memory(store.memory_bytes() * share / 100, policy);
            while store.evict_some(NOW, 100).more {}
            prop_assert!((0..3000).filter(lasting).all(|n| holds(&store, &name(n))), "{:?}", policy);
            let totals = store.totals();
            prop_assert!(totals.evicted > 0);
            // Either there is room, or nothing is left that may go.
            let is_full = store.memory_bytes() > store.max_memory_bytes();
            prop_assert_eq!(is_full.then_some(0), is_full.then_some(totals.expires));
            prop_assert_eq!(store.make_room(NOW).is_err(), is_full);
            check_books(&store);
        });
    }
}

#[test]
fn without_a_deadline_anywhere_a_volatile_policy_refuses() {
    for policy in Policy::ALL.into_iter().filter(|policy| policy.spares_lasting()) {
        let store = store_of(20_000, policy);
        let written = (0..1000).take_while(|n| write(&store, &format!("key {n}"), NOW, 0).is_ok()).count();
        assert!((50..200).contains(&written) && store.totals().evicted == 0, "{policy:?} {written}");
        // A key that gets a deadline makes room.
        assert!(on(&store, b"key 0", NOW, |txn| txn.set_deadline(b"key 0", NOW + HOUR_MS)));
        assert_eq!((store.make_room(NOW), holds(&store, "key 0")), (Ok(()), false));
    }
}

#[test]
fn what_is_dead_goes_by_its_deadline() {
    let store = store_of(0, Policy::VolatileTtl);
    store.open_lane(PEER);
    (0..100).for_each(|n| write(&store, &format!("key {n}"), NOW, NOW + 1).unwrap());
    frames(&store, 1 << 20);
    store.limit_memory(1, Policy::VolatileTtl);
    assert_eq!(store.evict_some(NOW + 1, 1000), Evicted { removed: 100, more: false });
    assert!(causes(&frames(&store, 1 << 20)).iter().all(|&cause| cause == Cause::Expire));
    assert_eq!((store.totals().expired, store.totals().evicted), (100, 0));
}

#[test]
fn the_least_limit_holds_one_key_at_a_time() {
    for policy in Policy::ALL {
        let store = store_of(1, policy);
        let written = (0..50).filter(|n| write(&store, &format!("key {n}"), NOW, NOW + HOUR_MS).is_ok()).count();
        let wanted = if policy == Policy::NoEviction { 1 } else { 50 };
        assert_eq!((written, store.totals().keys), (wanted, 1), "{policy:?}");
    }
}

#[test]
fn a_value_that_is_larger_than_the_limit_is_taken_and_goes_next() {
    let store = store_of(10_000, Policy::AllKeysLfu);
    write(&store, "small", NOW, 0).unwrap();
    assert_eq!(store.make_room(NOW), Ok(()));
    on(&store, b"large", NOW, |txn| txn.put(b"large", &[1; 100_000], 0));
    assert!(holds(&store, "large"));
    assert_eq!(store.make_room(NOW), Ok(()));
    assert!(!holds(&store, "large") && store.memory_bytes() <= 10_000);
}

#[test]
fn a_lower_limit_is_come_down_to_in_slices() {
    let store = store_of(0, Policy::AllKeysLru);
    (0..20_000).for_each(|n| write(&store, &format!("key {n}"), NOW, 0).unwrap());
    let before = store.totals();
    store.limit_memory(before.bytes / 20, Policy::AllKeysLru);
    // A command does a part of the work and is executed.
    assert_eq!(store.make_room(NOW), Ok(()));
    let by_command = store.totals().evicted;
    assert!((100..=2_000).contains(&by_command), "{by_command}");
    let mut slices = 0;
    loop {
        let Evicted { removed, more } = store.evict_some(NOW, 500);
        slices += 1;
        assert!(removed == 500 || !more && removed < 500, "{removed}");
        if !more {
            break;
        }
    }
    assert!(slices > 20 && store.memory_bytes() <= before.bytes / 20 + before.bytes / 20 / 128, "{slices}");
    assert_eq!(store.evict_some(NOW, 500), Evicted { removed: 0, more: false });
    check_books(&store);
}

#[test]
fn what_clients_take_counts_towards_the_limit() {
    let store = store_of(1 << 20, Policy::AllKeysLru);
    (0..1000).for_each(|n| write(&store, &format!("key {n}"), NOW, 0).unwrap());
    let all = store.memory_bytes();
    assert_eq!((store.evict_some(NOW, 10_000).removed, store.other_bytes()), (0, 0));
    store.note_other_bytes((1 << 20) - all as i64 / 2);
    assert!(!store.evict_some(NOW, 10_000).more);
    let left = store.memory_bytes();
    assert!((all / 3..=all / 2 + all / 100).contains(&left), "{left} of {all}");
    // More than the limit: everything goes, and that is not enough.
    store.note_other_bytes(1 << 20);
    assert_eq!((store.make_room(NOW), store.totals().keys), (Err(OutOfMemory), 0));
    store.note_other_bytes(-(store.other_bytes() as i64));
    assert_eq!((store.make_room(NOW), store.other_bytes()), (Ok(()), 0));
    store.note_other_bytes(-5);
    assert_eq!(store.other_bytes(), 0, "less than nothing is nothing");
}

#[test]
fn threads_that_make_room_together_find_all_there_is() {
    // One slot has everything; a thread that is told to stop short has not looked everywhere.
    let store = store_of(100_000, Policy::VolatileTtl);
    let refused: usize = std::thread::scope(|scope| {
        let writer = |thread: u32| {
            let store = &store;
            move || {
                (0..3000).filter(|n| write(store, &format!("{{a}}{thread} {n}"), NOW, NOW + HOUR_MS).is_err()).count()
            }
        };
        let writers: Vec<_> = (0..4).map(|thread| scope.spawn(writer(thread))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(refused, 0);
    assert!(store.memory_bytes() < 110_000 && store.totals().evicted > 10_000);
    check_books(&store);
}

#[test]
fn any_key_can_go_at_random() {
    let mut gone = HashSet::new();
    let store = store_of(0, Policy::AllKeysRandom);
    for round in 0..40 {
        store.limit_memory(0, Policy::AllKeysRandom);
        (0..100).for_each(|n| write(&store, &format!("key {n}"), NOW + round, 0).unwrap());
        store.limit_memory(store.memory_bytes() * 3 / 4, Policy::AllKeysRandom);
        while store.evict_some(NOW, 10).more {}
        gone.extend((0..100).filter(|n| !holds(&store, &format!("key {n}"))));
    }
    assert_eq!(gone.len(), 100);
}

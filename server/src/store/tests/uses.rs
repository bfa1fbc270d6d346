//! What is known of the uses of entries.

use super::*;

const KEY: &[u8] = b"a";
const MINUTE_MS: u64 = 60_000;
/// What a command of a client may see that leaves no trace.
const SILENT: Access = Access { database: Database::FIRST, databases: DATABASES, leaves_no_trace: true };

/// A store with this policy that has one key since [`NOW`].
fn store_of(policy: Policy) -> Store {
    let (store, _) = store_with(1 << 20, 0, policy);
    act(&store, [Slot::of(KEY)].into_iter());
    on(&store, KEY, NOW, |txn| txn.put(KEY, b"1", 0));
    store
}

/// For how long the key was unused, in seconds, and how often it is used.
fn known(store: &Store, now: u64) -> (u64, u8) {
    on(store, KEY, now, |txn| (txn.idle_seconds(KEY).unwrap(), txn.frequency(KEY).unwrap()))
}

#[test]
fn a_use_is_noted_and_a_look_is_not() {
    for policy in Policy::ALL {
        let (store, later) = (store_of(policy), NOW + 30_000);
        let idle = if policy.counts_uses() { 0 } else { 30 };
        on(&store, KEY, later, |txn| {
            assert_eq!(txn.counts_frequency(), policy.counts_uses(), "{policy:?}");
            assert_eq!((txn.idle_seconds(b"{a}"), txn.frequency(b"{a}")), (None, None));
            assert!(txn.peek(KEY).is_some() && txn.contains(KEY) && txn.deadline(KEY) == Some(0));
            txn.with(SILENT);
            assert!(txn.value(KEY).is_some() && txn.value(b"{a}").is_none());
            assert_eq!(txn.counts_frequency(), policy.counts_uses());
        });
        assert_eq!(known(&store, later), (idle, 5));
        on(&store_of(policy), KEY, later, |txn| {
            txn.with(SILENT);
            assert!(txn.touch(KEY) && txn.idle_seconds(KEY) == Some(0), "who asks for a trace leaves one");
        });
        assert_eq!((store.totals().hits, store.totals().misses), (1, 1));
        on(&store, KEY, later, |txn| assert!(txn.value(KEY).is_some()));
        // The first use beyond the initial value is always counted.
        assert_eq!(known(&store, later), (0, if policy.counts_uses() { 6 } else { 5 }));
    }
}

#[test]
fn a_write_is_a_use() {
    let writes: [fn(&mut SlotTxn<'_>); 3] = [
        |txn| txn.put(KEY, b"2", 0),
        |txn| txn.put(KEY, b"longer", NOW + 10 * MINUTE_MS),
        |txn| assert!(txn.set_deadline(KEY, NOW + 20 * MINUTE_MS)),
    ];
    for write in writes {
        for (policy, before, after) in [(Policy::AllKeysLru, (60, 4), (0, 5)), (Policy::AllKeysLfu, (60, 4), (0, 5))] {
            let (store, later) = (store_of(policy), NOW + MINUTE_MS);
            assert_eq!(known(&store, later), before);
            on(&store, KEY, later, |txn| {
                txn.with(SILENT);
                write(txn);
            });
            assert_eq!(known(&store, later), before, "without a trace");
            on(&store, KEY, later, write);
            assert_eq!(known(&store, later), after, "{policy:?}");
        }
    }
}

#[test]
fn what_is_known_can_be_set_and_is_no_effect() {
    let store = store_of(Policy::VolatileLru);
    store.open_lane(PEER);
    let ticket = |run: &dyn Fn(&mut SlotTxn<'_>)| match store.execute(Slot::of(KEY), NOW, |txn| run(txn)) {
        Executed::Done { ticket, .. } => ticket,
        Executed::NotActing => panic!("it acts"),
    };
    for seconds in [0, 1, 7, 3600, 4_000_000] {
        assert_eq!(ticket(&|txn| assert!(txn.set_idle(KEY, seconds))), None);
        assert_eq!(known(&store, NOW).0, seconds);
    }
    ticket(&|txn| assert!(txn.set_idle(KEY, u64::MAX)));
    assert!(known(&store, NOW).0 > 48 * 24 * 3600);
    store.limit_memory(0, Policy::VolatileLfu);
    for frequency in [0, 1, 255] {
        assert_eq!(ticket(&|txn| assert!(txn.set_frequency(KEY, frequency))), None);
        assert_eq!(known(&store, NOW).1, frequency);
        assert_eq!(known(&store, NOW + 10 * MINUTE_MS).1, frequency.saturating_sub(10));
    }
    assert!(!on(&store, KEY, NOW, |txn| txn.set_idle(b"{a}", 1) || txn.set_frequency(b"{a}", 1)));
}

#[test]
fn another_policy_understands_what_was_noted() {
    let (store, later) = (store_of(Policy::AllKeysLru), NOW + 3 * MINUTE_MS);
    store.limit_memory(0, Policy::AllKeysLfu);
    assert_eq!(known(&store, later), (180, 2));
    store.tune(Tuning { decay_minutes: 0, ..store.tuning() });
    assert_eq!(known(&store, later), (180, 5));
    on(&store, KEY, later, |txn| assert!(txn.value(KEY).is_some()));
    store.limit_memory(0, Policy::AllKeysRandom);
    assert_eq!(known(&store, later + MINUTE_MS), (60, 6));
}

#[test]
fn a_copy_that_takes_over_knows_when_entries_were_written() {
    let (leader, follower) = (leader(slots()), follower(slots()));
    follower.limit_memory(0, Policy::AllKeysLfu);
    let key = twin::key(0);
    on(&leader, &key, NOW, |txn| txn.put(&key, b"1", 0));
    frames(&leader, 1000).iter().for_each(|(_, bytes)| assert!(follower.receive(PEER, bytes, NOW).is_ok()));
    follower.with_replica(Slot::of(&key), |replica| replica.act());
    let known = |now| on(&follower, &key, now, |txn| (txn.idle_seconds(&key), txn.frequency(&key)));
    assert_eq!(known(NOW + 2 * MINUTE_MS), (Some(120), Some(3)));
}

fn slots() -> impl Iterator<Item = Slot> {
    twin::slots()
}

#[test]
fn databases_change_places_with_what_is_known_of_their_keys() {
    let store = store_of(Policy::AllKeysLru);
    let other = Database::new(1).unwrap();
    on(&store, KEY, NOW + 5000, |txn| txn.swap(Database::FIRST, other));
    on(&store, KEY, NOW + 7000, |txn| {
        txn.select(other);
        assert_eq!((txn.idle_seconds(KEY), txn.contains(KEY)), (Some(7), true));
    });
}

//! A store against a map with deadlines.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
pub(in crate::store) enum Step {
    Put { key: u8, value: Vec<u8>, left_ms: Option<u64> },
    SetDeadline { key: u8, left_ms: Option<u64> },
    Remove { key: u8 },
    Read { key: u8 },
    PutAndRemove { key: u8, other: u8 },
    Clear { key: u8 },
    Pass { ms: u64 },
    Expire { budget: usize },
}

/// Keys of two slots.
pub(in crate::store) fn key(number: u8) -> Vec<u8> {
    format!("{{{}}}{number}", number % 2).into_bytes()
}

pub(in crate::store) fn slots() -> impl Iterator<Item = Slot> {
    (0..2).map(|number| Slot::of(&key(number)))
}

pub(in crate::store) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u8..12;
    let left = || prop::option::of(0u64..300);
    let value = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..30),
        1 => (16_000usize..17_000).prop_map(|len| vec![7; len])
    ];
    let step = prop_oneof![
        6 => (key.clone(), value, left()).prop_map(|(key, value, left_ms)| Step::Put { key, value, left_ms }),
        2 => (key.clone(), left()).prop_map(|(key, left_ms)| Step::SetDeadline { key, left_ms }),
        2 => key.clone().prop_map(|key| Step::Remove { key }),
        3 => key.clone().prop_map(|key| Step::Read { key }),
        1 => (key.clone(), 0u8..6).prop_map(|(key, other)| Step::PutAndRemove { key, other: other * 2 + key % 2 }),
        1 => key.prop_map(|key| Step::Clear { key }),
        2 => (1u64..100).prop_map(|ms| Step::Pass { ms }),
        1 => (0usize..4).prop_map(|budget| Step::Expire { budget }),
    ];
    prop::collection::vec(step, 1..60)
}

fn deadline(now: u64, left_ms: Option<u64>) -> u64 {
    left_ms.map_or(0, |left| now + left)
}

/// Does a step and shows what it answered.
pub(in crate::store) fn run(store: &Store, step: &Step, now: &mut u64) -> String {
    let at = *now;
    match step {
        Step::Put { key: number, value, left_ms } => {
            on(store, &key(*number), at, |txn| txn.put(&key(*number), value, deadline(at, *left_ms)));
            String::new()
        }
        Step::SetDeadline { key: number, left_ms } => {
            format!("{}", on(store, &key(*number), at, |txn| txn.set_deadline(&key(*number), deadline(at, *left_ms))))
        }
        Step::Remove { key: number } => format!("{}", on(store, &key(*number), at, |txn| txn.remove(&key(*number)))),
        Step::Read { key: number } => on(store, &key(*number), at, |txn| {
            let key = key(*number);
            let value = txn.value(&key).map(|value| value.as_slice().to_vec());
            assert_eq!(txn.peek(&key).map(|value| value.as_slice().to_vec()), value);
            format!("{value:?} {:?}", txn.deadline(&key))
        }),
        Step::PutAndRemove { key: number, other } => on(store, &key(*number), at, |txn| {
            txn.put(&key(*number), b"one", 0);
            let removed = txn.remove(&key(*other));
            txn.put(&key(*number), b"two", 0);
            format!("{removed}")
        }),
        Step::Clear { key: number } => {
            on(store, &key(*number), at, |txn| txn.clear());
            String::new()
        }
        Step::Pass { ms } => {
            *now += ms;
            String::new()
        }
        Step::Expire { budget } => {
            let expired = store.expire_some(at, *budget);
            assert!(expired.removed <= *budget && (expired.removed == *budget || !expired.more));
            String::new()
        }
    }
}

#[derive(Default)]
struct Twin(HashMap<u8, (Vec<u8>, u64)>);

impl Twin {
    fn run(&mut self, step: &Step, now: &mut u64) -> String {
        let at = *now;
        self.0.retain(|_, (_, deadline)| *deadline == 0 || *deadline > at);
        match step {
            Step::Put { key, value, left_ms } => {
                self.0.insert(*key, (value.clone(), deadline(at, *left_ms)));
                String::new()
            }
            Step::SetDeadline { key, left_ms } => {
                let found = self.0.get_mut(key).map(|(_, ends)| *ends = deadline(at, *left_ms));
                format!("{}", found.is_some())
            }
            Step::Remove { key } => format!("{}", self.0.remove(key).is_some()),
            Step::Read { key } => {
                let found = self.0.get(key);
                format!("{:?} {:?}", found.map(|(value, _)| value), found.map(|(_, deadline)| deadline))
            }
            Step::PutAndRemove { key, other } => {
                self.0.insert(*key, (b"one".to_vec(), 0));
                let removed = self.0.remove(other).is_some();
                self.0.insert(*key, (b"two".to_vec(), 0));
                format!("{removed}")
            }
            Step::Clear { key } => {
                self.0.retain(|other, _| other % 2 != key % 2);
                String::new()
            }
            Step::Pass { ms } => {
                *now += ms;
                String::new()
            }
            Step::Expire { .. } => String::new(),
        }
    }
}

#[test]
fn a_store_is_a_map_with_deadlines() {
    let store = leader(slots());
    proptest!(ProptestConfig::with_cases(200), |(steps in steps())| {
        slots().for_each(|slot| store.with_replica(slot, |replica| replica.forget()));
        act(&store, slots());
        let mut twin = Twin::default();
        let (mut now, mut twins_now) = (NOW, NOW);
        for step in &steps {
            prop_assert_eq!(run(&store, step, &mut now), twin.run(step, &mut twins_now), "{:?}", step);
        }
        twin.run(&Step::Pass { ms: 0 }, &mut twins_now);
        for number in 0..2 {
            let mut keys: Vec<Vec<u8>> = on(&store, &key(number), now, |txn| txn.keys().map(<[u8]>::to_vec).collect());
            keys.sort();
            let mut twins: Vec<Vec<u8>> = twin.0.keys().filter(|key| *key % 2 == number).map(|number| key(*number)).collect();
            twins.sort();
            prop_assert_eq!(keys, twins);
        }
        check_books(&store);
        prop_assert!(!store.expire_some(now, usize::MAX).more);
        prop_assert_eq!(store.totals().keys, twin.0.len() as u64);
        check_books(&store);
    });
}

#[test]
fn a_slot_that_does_not_act_executes_nothing() {
    let (store, _) = store_with(1 << 20, 0, Policy::NoEviction);
    let slot = Slot::of(b"a");
    assert_eq!(store.execute(slot, NOW, |_| panic!("absent")), Executed::NotActing);
    store.with_replica(slot, |replica| {
        replica.open_empty(Origin(1));
        replica.act();
    });
    assert!(matches!(store.execute(slot, NOW, |txn| txn.put(b"a", b"1", 0)), Executed::Done { ticket: Some(_), .. }));
    assert!(matches!(
        store.execute(slot, NOW, |txn| txn.contains(b"a")),
        Executed::Done { result: true, ticket: None }
    ));
    store.with_replica(slot, |replica| replica.stop());
    assert_eq!(store.execute(slot, NOW, |_| panic!("following")), Executed::NotActing);
    assert_eq!(
        store.read(slot, NOW, |view| view.value(b"a").map(|value| value.as_slice().to_vec())),
        Some(b"1".to_vec())
    );
}

#[test]
fn reads_are_counted_and_draws_are_live() {
    let store = leader(Slot::all());
    on(&store, b"a", NOW, |txn| txn.put(b"a", b"1", NOW + 10));
    on(&store, b"a", NOW, |txn| assert!(txn.value(b"a").is_some() && txn.value(b"{a}").is_none()));
    on(&store, b"a", NOW, |txn| assert_eq!(txn.random_key(), Some(&b"a"[..])));
    on(&store, b"a", NOW + 10, |txn| assert_eq!(txn.random_key(), None));
    let totals = store.totals();
    assert_eq!((totals.hits, totals.misses, totals.expired, totals.keys), (1, 1, 1, 0));
}

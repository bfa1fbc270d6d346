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
    ClearAll { key: u8 },
    Swap { key: u8, one: u8, other: u8 },
    Pass { ms: u64 },
    Expire { budget: usize },
}

/// The database of a key: keys of both slots are in three of them.
fn database(number: u8) -> Database {
    Database::new(u64::from(number % 3)).unwrap()
}

/// Runs on the slot of a key, in its database.
fn of<R>(store: &Store, number: u8, now: u64, run: impl FnOnce(&mut SlotTxn<'_>, &[u8]) -> R) -> R {
    on(store, &key(number), now, |txn| {
        txn.select(database(number));
        run(txn, &key(number))
    })
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
        1 => key.clone().prop_map(|key| Step::Clear { key }),
        1 => key.clone().prop_map(|key| Step::ClearAll { key }),
        1 => (key, 0u8..3, 0u8..3).prop_map(|(key, one, other)| Step::Swap { key, one, other }),
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
            of(store, *number, at, |txn, key| txn.put(key, value, deadline(at, *left_ms)));
            String::new()
        }
        Step::SetDeadline { key: number, left_ms } => {
            format!("{}", of(store, *number, at, |txn, key| txn.set_deadline(key, deadline(at, *left_ms))))
        }
        Step::Remove { key: number } => format!("{}", of(store, *number, at, |txn, key| txn.remove(key))),
        Step::Read { key: number } => of(store, *number, at, |txn, key| {
            let value = txn.value(key).map(|value| value.as_slice().to_vec());
            assert_eq!(txn.peek(key).map(|value| value.as_slice().to_vec()), value);
            format!("{value:?} {:?}", txn.deadline(key))
        }),
        Step::PutAndRemove { key: number, other } => of(store, *number, at, |txn, written| {
            txn.put(written, b"one", 0);
            txn.select(database(*other));
            let removed = txn.remove(&key(*other));
            txn.select(database(*number));
            txn.put(written, b"two", 0);
            format!("{removed}")
        }),
        Step::Clear { key: number } => {
            of(store, *number, at, |txn, _| txn.clear());
            String::new()
        }
        Step::ClearAll { key: number } => {
            of(store, *number, at, |txn, _| txn.clear_all());
            String::new()
        }
        Step::Swap { key: number, one, other } => {
            of(store, *number, at, |txn, _| txn.swap(database(*one), database(*other)));
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
struct Twin(HashMap<(Database, Vec<u8>), (Vec<u8>, u64)>);

/// What the twin calls a key.
fn name(number: u8) -> (Database, Vec<u8>) {
    (database(number), key(number))
}

fn slot_of(name: &(Database, Vec<u8>)) -> Slot {
    Slot::of(&name.1)
}

impl Twin {
    fn run(&mut self, step: &Step, now: &mut u64) -> String {
        let at = *now;
        self.0.retain(|_, (_, deadline)| *deadline == 0 || *deadline > at);
        match step {
            Step::Put { key, value, left_ms } => {
                self.0.insert(name(*key), (value.clone(), deadline(at, *left_ms)));
                String::new()
            }
            Step::SetDeadline { key, left_ms } => {
                let found = self.0.get_mut(&name(*key)).map(|(_, ends)| *ends = deadline(at, *left_ms));
                format!("{}", found.is_some())
            }
            Step::Remove { key } => format!("{}", self.0.remove(&name(*key)).is_some()),
            Step::Read { key } => {
                let found = self.0.get(&name(*key));
                format!("{:?} {:?}", found.map(|(value, _)| value), found.map(|(_, deadline)| deadline))
            }
            Step::PutAndRemove { key, other } => {
                self.0.insert(name(*key), (b"one".to_vec(), 0));
                let removed = self.0.remove(&name(*other)).is_some();
                self.0.insert(name(*key), (b"two".to_vec(), 0));
                format!("{removed}")
            }
            Step::Clear { key } => {
                let cleared = name(*key);
                self.0.retain(|other, _| other.0 != cleared.0 || slot_of(other) != slot_of(&cleared));
                String::new()
            }
            Step::ClearAll { key } => {
                let slot = slot_of(&name(*key));
                self.0.retain(|other, _| slot_of(other) != slot);
                String::new()
            }
            Step::Swap { key, one, other } => {
                let (slot, one, other) = (slot_of(&name(*key)), database(*one), database(*other));
                let swapped = self.0.drain().map(|((of, key), content)| {
                    let of = match of {
                        of if Slot::of(&key) != slot => of,
                        of if of == one => other,
                        of if of == other => one,
                        of => of,
                    };
                    ((of, key), content)
                });
                self.0 = swapped.collect();
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
        for number in 0..6 {
            let (slot, number) = (slot_of(&name(number)), number);
            let mut keys: Vec<Vec<u8>> = of(&store, number, now, |txn, _| txn.keys().map(<[u8]>::to_vec).collect());
            keys.sort();
            let here = twin.0.keys().filter(|name| name.0 == database(number) && slot_of(name) == slot);
            let mut twins: Vec<Vec<u8>> = here.map(|(_, key)| key.clone()).collect();
            twins.sort();
            let drawn = of(&store, number, now, |txn, _| txn.random_key().map(<[u8]>::to_vec));
            prop_assert!(drawn.map_or(keys.is_empty(), |key| keys.contains(&key)));
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

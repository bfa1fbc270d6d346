//! Values that change in a part of them.

use super::*;
use crate::types::Value;

/// A store that acts for a slot and ships to nobody.
fn alone(slot: Slot) -> Store {
    let (store, _) = store_with(64 << 20, 0, Policy::NoEviction);
    store.with_replica(slot, |replica| {
        replica.open_empty(Origin(1));
        replica.act();
    });
    store
}

/// What a key has: the place of its bytes in memory, and a copy of them.
fn look(store: &Store, slot: Slot) -> (usize, Vec<u8>) {
    store.read(slot, NOW, |copy| {
        let value = copy.value(b"a").unwrap();
        (value.as_slice().as_ptr() as usize, value.as_slice().to_vec())
    })
}

fn change(store: &Store, slot: Slot, length: usize, at: usize, part: &[u8]) {
    let change = |value: &mut [u8]| value[at..at + part.len()].copy_from_slice(part);
    assert!(matches!(
        store.execute(slot, NOW, |txn| txn.change(b"a", length, change)),
        Executed::Done { result: true, .. }
    ));
}

#[test]
fn a_large_value_that_nobody_shares_is_changed_where_it_is() {
    let slot = Slot::of(b"a");
    let store = alone(slot);
    let length = 100_000;
    change(&store, slot, length, 0, b"first");
    let (place, _) = look(&store, slot);
    let bytes = store.memory_bytes();
    change(&store, slot, length, 50, b"second");
    let (same, value) = look(&store, slot);
    assert_eq!((same, store.memory_bytes()), (place, bytes));
    let shared = store.execute(slot, NOW, |txn| match txn.value(b"a") {
        Some(Value::Large(bytes)) => bytes.clone(),
        other => panic!("{other:?}"),
    });
    let Executed::Done { result: shared, .. } = shared else { panic!("it acts") };
    change(&store, slot, length + 1, length, b"!");
    assert_eq!(shared, value, "whoever was given it before has it as it was");
    let (_, longer) = look(&store, slot);
    assert_eq!((&longer[..length], longer[length]), (&value[..], b'!'));
    store.execute(slot, NOW, |txn| txn.clear_all());
    assert_eq!(store.totals().bytes, alone(slot).totals().bytes, "all that was counted is given back");
}

#[test]
fn a_value_may_become_large_and_none_counts_as_empty() {
    let slot = Slot::of(b"a");
    let store = alone(slot);
    change(&store, slot, 3, 1, b"x");
    assert_eq!(look(&store, slot).1, b"\0x\0");
    change(&store, slot, 20_000, 19_999, b"y");
    let (_, value) = look(&store, slot);
    assert_eq!((value.len(), &value[..3], value[19_999]), (20_000, &b"\0x\0"[..], b'y'));
}

//! Two stores that are to hold the same.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use ring::replica::{Digest, Joined, Received};

use super::{
    twin::{Step, key, run, slots, steps},
    *,
};

fn digest(store: &Store, slot: Slot) -> Digest {
    store.read(slot, NOW, |view| view.replica().digest())
}

fn check_equal(left: &Store, right: &Store, slot: Slot) {
    assert_eq!(contents(left, slot), contents(right, slot));
    assert_eq!(digest(left, slot), digest(right, slot));
}

/// Empties both and gives them their roles again; a store takes a while to make.
fn start_anew(leading: &Store, following: &Store) {
    leading.close_lane(PEER);
    slots().for_each(|slot| {
        leading.with_replica(slot, |replica| replica.forget());
        following.with_replica(slot, |replica| replica.open_empty(Origin(2)));
    });
    act(leading, slots());
    leading.open_lane(PEER);
}

/// Takes a snapshot from one store to another, cut anew on the way.
fn transfer(from: &Store, to: &Store, slot: Slot, cut: usize) -> Joined {
    let (seen, snapshot) = from.snapshot(slot);
    let chunks: Vec<_> = snapshot.chunks(slot, &seen).collect();
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
    let stream = chunks.concat();
    let mut reader = SnapshotReader::new(stream.len());
    stream.chunks(cut).for_each(|chunk| reader.push(chunk).unwrap());
    let (slot_read, seen_read, entries) = reader.finish().unwrap();
    assert_eq!((slot_read, &seen_read), (slot, &seen));
    let origin = to.with_replica(slot, |copy| copy.origin());
    to.join(slot, origin, &seen_read, entries, NOW).unwrap().expect("the copy is there")
}

#[test]
fn effects_make_another_store_equal() {
    let (leader, follower) = (leader(slots()), follower(slots()));
    proptest!(ProptestConfig::with_cases(200), |(steps in steps(), max_bytes in 1usize..40_000)| {
        start_anew(&leader, &follower);
        let mut now = NOW;
        steps.iter().for_each(|step| drop(run(&leader, step, &mut now)));
        leader.compare_record(Slot::of(&key(0)), PEER);
        for (tag, bytes) in frames(&leader, max_bytes) {
            match tag {
                TAG_EFFECT => prop_assert_eq!(follower.receive(PEER, &bytes, NOW).unwrap().1, Received::Applied),
                _ => {
                    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
                    let digest = digest(&follower, Slot::of(&key(0)));
                    prop_assert_eq!((number(2), number(10)), (digest.seen, digest.fold.0));
                }
            }
        }
        prop_assert_eq!(leader.lane_bytes(PEER), 0);
        slots().for_each(|slot| check_equal(&leader, &follower, slot));
        check_books(&follower);
    });
}

#[test]
fn a_lost_effect_parks_what_follows_until_a_snapshot_comes() {
    let (leader, follower) = (leader(slots()), follower(slots()));
    proptest!(ProptestConfig::with_cases(200), |(steps in steps(), lost in any::<prop::sample::Index>(), cut in 1usize..5000)| {
        start_anew(&leader, &follower);
        let mut now = NOW;
        steps.iter().for_each(|step| drop(run(&leader, step, &mut now)));
        let mut frames = frames(&leader, 1000);
        prop_assume!(!frames.is_empty());
        let (_, lost) = frames.remove(lost.index(frames.len()));
        let mut after_gap = false;
        for (_, bytes) in &frames {
            let same_slot = bytes[..2] == lost[..2];
            let later = bytes[2..10].iter().rev().gt(lost[2..10].iter().rev());
            let received = follower.receive(PEER, bytes, NOW).unwrap().1;
            let expected = if same_slot && later { Received::Parked } else { Received::Applied };
            prop_assert_eq!(received, expected);
            after_gap |= expected != Received::Applied;
        }
        let slot = Slot::new(u16::from_le_bytes([lost[0], lost[1]])).unwrap();
        prop_assert_eq!(follower.read(slot, NOW, |view| view.replica().counts()), !after_gap);
        let joined = transfer(&leader, &follower, slot, cut);
        prop_assert!(!joined.ahead && !follower.with_replica(slot, |copy| copy.misses_something()));
        prop_assert_eq!(follower.receive(PEER, &lost, NOW).unwrap().1, Received::Duplicate);
        slots().for_each(|slot| check_equal(&leader, &follower, slot));
        check_books(&follower);
    });
}

#[test]
fn two_sides_of_a_split_join_to_the_same() {
    let (one, other) = (leader(slots()), follower(slots()));
    proptest!(ProptestConfig::with_cases(200), |(before in steps(), left in steps(), right in steps())| {
        start_anew(&one, &other);
        let mut now = NOW;
        before.iter().for_each(|step| drop(run(&one, step, &mut now)));
        frames(&one, 1 << 20).iter().for_each(|(_, bytes)| assert!(other.receive(PEER, bytes, NOW).is_ok()));
        slots().for_each(|slot| other.with_replica(slot, |replica| replica.act()));
        let (mut left_now, mut right_now) = (now, now);
        left.iter().for_each(|step| drop(run(&one, step, &mut left_now)));
        right.iter().for_each(|step| drop(run(&other, step, &mut right_now)));
        for slot in slots() {
            transfer(&one, &other, slot, 700);
            transfer(&other, &one, slot, 700);
            check_equal(&one, &other, slot);
        }
        check_books(&one);
        check_books(&other);
    });
}

#[test]
fn a_damaged_snapshot_is_refused_or_harmless() {
    let (store, other) = (leader(slots()), follower(slots()));
    proptest!(ProptestConfig::with_cases(200), |(steps in steps(), at in any::<prop::sample::Index>(), with: u8, cut: bool)| {
        start_anew(&store, &other);
        let mut now = NOW;
        steps.iter().for_each(|step| drop(run(&store, step, &mut now)));
        let slot = Slot::of(&key(0));
        let (seen, snapshot) = store.snapshot(slot);
        let mut stream = snapshot.chunks(slot, &seen).collect::<Vec<_>>().concat();
        let at = at.index(stream.len());
        if cut { stream.truncate(at) } else { stream[at] = with }
        let mut reader = SnapshotReader::new(1 << 20);
        if reader.push(&stream).is_ok() {
            match reader.finish() {
                Ok((_, seen, entries)) => {
                    let origin = other.with_replica(slot, |copy| copy.origin());
                    let _ = other.join(slot, origin, &seen, entries, NOW);
                }
                Err(_) => prop_assert!(true),
            }
        }
        if cut {
            let mut reader = SnapshotReader::new(1 << 20);
            prop_assert!(reader.push(&stream).is_err() || reader.finish().is_err());
        }
    });
}

#[test]
fn noise_is_no_snapshot() {
    proptest!(ProptestConfig::with_cases(200), |(bytes in prop::collection::vec(any::<u8>(), 0..200))| {
        let mut reader = SnapshotReader::new(100);
        prop_assert!(reader.push(&bytes).is_err() || reader.finish().is_err());
    });
}

#[test]
fn a_snapshot_of_many_chunks_arrives() {
    let store = leader(slots());
    on(&store, b"{0}", NOW, |txn| {
        (0..3000).for_each(|n| txn.put(format!("{{0}}{n}").as_bytes(), &[1; 800], 0));
        txn.put(b"{0}large", &vec![2; 3 << 20], NOW + 1000);
    });
    let slot = Slot::of(b"{0}");
    let (seen, snapshot) = store.snapshot(slot);
    assert_eq!(snapshot.len(), 3001);
    assert!(snapshot.chunks(slot, &seen).count() < 9);
    let other = follower(slots());
    transfer(&store, &other, slot, CHUNK_BYTES);
    check_equal(&store, &other, slot);
    let mut small = SnapshotReader::new(1 << 20);
    let (seen, snapshot) = store.snapshot(slot);
    assert!(snapshot.chunks(slot, &seen).any(|chunk| small.push(&chunk).is_err()));
}

#[test]
fn what_a_peer_must_not_send_is_refused() {
    let (leader, follower) = (leader(Slot::all()), follower(Slot::all()));
    on(&leader, b"a", NOW + 2 * 86_400_000, |txn| txn.put(b"a", b"1", 0));
    let mut effect = frames(&leader, 1000).remove(0).1;
    assert!(follower.receive(PEER, &effect, NOW).is_err());
    let kind_at = effect.len() - (1 + 4 + 8) - 1;
    assert_eq!(effect[kind_at], 0);
    effect[kind_at] = 9;
    assert!(follower.receive(PEER, &effect, NOW + 2 * 86_400_000).is_err());
    assert!(follower.receive(PEER, b"", NOW).is_err());
}

#[test]
fn a_slot_of_more_origins_than_an_entry_can_number_stays_right() {
    let (store, _) = store_with(1 << 20, 0, Policy::NoEviction);
    let slot = Slot::of(b"{0}");
    let (source, _) = store_with(1 << 20, 0, Policy::NoEviction);
    store.with_replica(slot, |replica| replica.open_empty(Origin(1)));
    for tenure in 0..300u64 {
        source.with_replica(slot, |replica| {
            replica.open_empty(Origin(1000 + tenure));
            replica.act();
        });
        on(&source, b"{0}", NOW + tenure, |txn| txn.put(format!("{{0}}{tenure}").as_bytes(), b"v", 0));
        transfer(&source, &store, slot, 100);
    }
    assert_eq!(store.slot_figures(slot).keys, 300);
    check_books(&store);
    let copy = follower(slots());
    transfer(&store, &copy, slot, 100);
    check_equal(&store, &copy, slot);
}

#[test]
fn many_threads_leave_effects_that_arrive_in_order() {
    let (leader, follower) = (leader(Slot::all()), follower(Slot::all()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u32)
            .map(|thread| {
                let leader = &leader;
                scope.spawn(move || {
                    for n in 0..4000u32 {
                        let key = format!("{}", (n * 7 + thread) % 500);
                        on(leader, key.as_bytes(), NOW + u64::from(n), |txn| {
                            let count = txn.value(key.as_bytes()).map_or(0, |value| value.len());
                            if count > 20 {
                                txn.remove(key.as_bytes())
                            } else {
                                txn.put(key.as_bytes(), &vec![1; count + 1], 0);
                                true
                            }
                        });
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            loop {
                let last = done.load(Ordering::SeqCst);
                for (_, bytes) in frames(&leader, 5000) {
                    assert_eq!(follower.receive(PEER, &bytes, NOW).unwrap().1, Received::Applied);
                }
                if last {
                    break;
                }
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(leader.lane_bytes(PEER), 0);
    Slot::all().for_each(|slot| check_equal(&leader, &follower, slot));
    check_books(&leader);
}

#[test]
fn a_follower_hides_what_is_due_and_removes_it_when_told() {
    let (leader, follower) = (leader(slots()), follower(slots()));
    run(&leader, &Step::Put { key: 0, value: vec![1], left_ms: Some(50) }, &mut NOW.clone());
    frames(&leader, 1000).iter().for_each(|(_, bytes)| assert!(follower.receive(PEER, bytes, NOW).is_ok()));
    let slot = Slot::of(&key(0));
    let shown = |now| follower.read(slot, now, |view| view.value(&key(0)).is_some());
    assert!(shown(NOW + 49) && !shown(NOW + 50));
    assert_eq!(follower.expire_some(NOW + 100, 10).removed, 0);
    assert_eq!(follower.slot_figures(slot).keys, 1);
    assert_eq!(leader.expire_some(NOW + 100, 10).removed, 1);
    let frames = frames(&leader, 1000);
    assert_eq!(causes(&frames), [Cause::Expire]);
    follower.receive(PEER, &frames[0].1, NOW).unwrap();
    assert_eq!(follower.slot_figures(slot).keys, 0);
    // A follower that takes over does what its predecessor left.
    let put = run(&leader, &Step::Put { key: 0, value: vec![1], left_ms: Some(50) }, &mut (NOW + 200));
    assert_eq!(put, "");
    super::frames(&leader, 1000).iter().for_each(|(_, bytes)| assert!(follower.receive(PEER, bytes, NOW).is_ok()));
    follower.with_replica(slot, |replica| replica.act());
    assert_eq!(follower.expire_some(NOW + 300, 10).removed, 1);
}

/// What the leader tells of a slot that a connection waits for, as its follower hears it.
fn hear_of_everything(leader: &Store, follower: &Store, slot: Slot) -> (Ticket, bool, bool) {
    let ticket = leader.everything(slot).expect("the leader acts");
    let seen = leader.read(slot, NOW, |view| view.replica().seen().clone());
    let (tag, _) = frames(leader, 1 << 20).pop().expect("it is told");
    assert_eq!(tag, TAG_SEEN);
    let (lacks, counts) = follower.heard_of(PEER, slot, &seen, NOW).unwrap();
    (ticket, lacks, counts)
}

#[test]
fn a_copy_that_lost_effects_with_a_lane_does_not_count_until_it_has_them() {
    let (leader, follower) = (leader(slots()), follower(slots()));
    start_anew(&leader, &follower);
    let slot = Slot::of(&key(0));
    let mut now = NOW;
    drop(run(&leader, &Step::Put { key: 0, value: vec![7; 10], left_ms: None }, &mut now));
    leader.close_lane(PEER);
    leader.open_lane(PEER);
    let (ticket, lacks, counts) = hear_of_everything(&leader, &follower, slot);
    assert_eq!((lacks, counts), (true, false));
    assert!(ticket.sent_to.contains(PEER) && ticket.seq > 1, "{ticket:?}");
    transfer(&leader, &follower, slot, 1000);
    assert!(follower.read(slot, NOW, |view| view.replica().counts()));
    let (_, lacks, counts) = hear_of_everything(&leader, &follower, slot);
    assert_eq!((lacks, counts), (false, true));
}

//! What waits for peers.

use std::collections::BTreeSet;

use super::*;

fn put(store: &Store, key: &[u8], len: usize) -> Ticket {
    let executed = store.execute(Slot::of(key), NOW, |txn| txn.put(key, &vec![1; len], 0));
    match executed {
        Executed::Done { ticket: Some(ticket), .. } => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sender_is_woken_once_until_it_has_found_nothing() {
    let (store, log) = store_with(1 << 20, 0, Policy::NoEviction);
    act(&store, Slot::all());
    put(&store, b"a", 10);
    assert_eq!((log.take().len(), drain(&store, PEER, 100)), (0, None));
    store.open_lane(PEER);
    put(&store, b"a", 10);
    put(&store, b"b", 10);
    put(&store, b"c", 10);
    assert_eq!(log.take(), [("wake", PEER)]);
    assert_eq!(drain(&store, PEER, 1).unwrap().marks.len(), 1);
    put(&store, b"a", 10);
    assert_eq!(log.take(), []);
    assert_eq!(frames(&store, 1).len(), 3);
    put(&store, b"a", 10);
    assert_eq!(log.take(), [("wake", PEER)]);
}

#[test]
fn a_write_is_held_by_the_copy_that_took_it_in() {
    let store = leader(Slot::all());
    let slot = Slot::of(b"a");
    let (written, everything) = (put(&store, b"a", 10), store.everything(slot).unwrap());
    assert!(store.still_holds(&written) && store.still_holds(&everything));
    store.with_replica(slot, |replica| replica.forget());
    assert!(!store.still_holds(&written));
    store.with_replica(slot, |replica| replica.open_empty(Origin(7)));
    assert!(!store.still_holds(&written) && !store.still_holds(&everything));
}

#[test]
fn a_shard_keeps_its_order_and_marks_say_how_far_a_batch_goes() {
    let store = leader(Slot::all());
    let tickets: Vec<_> = (0..50).map(|n| put(&store, b"a", if n % 7 == 0 { 20_000 } else { n })).collect();
    let mut covered = 0;
    while let Some(batch) = drain(&store, PEER, 1000) {
        let [mark] = batch.marks[..] else { panic!("one shard") };
        assert_eq!((mark.shard, mark.after), (tickets[0].shard, 0));
        assert!(mark.seq > covered);
        covered = mark.seq;
        let bytes = batch.bytes.concat();
        assert_eq!(batch.len_bytes(), bytes.len());
        let last = u32::from_le_bytes(bytes[1..5].try_into().unwrap()) as usize;
        assert!(bytes.len() >= 5 + last);
    }
    assert_eq!(covered, tickets[49].seq);
    assert!(tickets.iter().all(|ticket| ticket.sent_to.contains(PEER)));
    assert!(tickets.is_sorted_by(|one, next| one.seq < next.seq && one.hlc < next.hlc));
}

#[test]
fn a_lane_that_overflows_takes_in_nothing_more_until_it_is_opened_again() {
    let (store, log) = store_with(10_000, 0, Policy::NoEviction);
    act(&store, Slot::all());
    store.open_lane(PEER);
    let kept = put(&store, b"a", 9_000);
    log.take();
    let lost = put(&store, b"b", 2_000);
    assert_eq!((log.take(), store.lane_overflowed(PEER)), (vec![("overflowed", PEER)], true));
    assert!(kept.sent_to.contains(PEER) && lost.sent_to.is_empty());
    assert!(put(&store, b"a", 1).sent_to.is_empty());
    assert_eq!((log.take(), drain(&store, PEER, 100)), (vec![], None));
    store.close_lane(PEER);
    assert_eq!(store.lane_bytes(PEER), 0);

    // A record larger than the window goes when nothing else waits.
    store.open_lane(PEER);
    assert!(!store.lane_overflowed(PEER));
    let large = put(&store, b"a", 50_000);
    assert!(large.sent_to.contains(PEER));
    let batch = drain(&store, PEER, 100).unwrap();
    assert!(batch.marks[0].after >= kept.seq && batch.marks[0].seq == large.seq, "{:?}", batch.marks);
    assert_eq!((store.lane_bytes(PEER), log.take()), (0, vec![("wake", PEER)]));
}

#[test]
fn closing_a_lane_frees_what_waits_and_leaves_other_lanes_alone() {
    let store = leader(Slot::all());
    let other = Peer(9);
    let both: PeerSet = [PEER, other].into_iter().collect();
    store.with_replica(Slot::of(b"a"), |replica| replica.set_peers(both, [PEER].into_iter().collect()));
    store.open_lane(other);
    let ticket = put(&store, b"a", 100_000);
    assert_eq!(ticket.sent_to.iter().collect::<Vec<_>>(), [PEER, other]);
    assert_eq!(store.lane_bytes(PEER), store.lane_bytes(other));
    store.close_lane(PEER);
    assert_eq!((store.lane_bytes(PEER), drain(&store, PEER, 1 << 20)), (0, None));
    assert!(drain(&store, other, 1 << 20).is_some());
    assert!(!store.compare_record(Slot::of(b"a"), PEER) && store.compare_record(Slot::of(b"a"), other));
}

#[test]
fn a_large_value_is_shared_by_entry_and_lane() {
    let store = leader(Slot::all());
    put(&store, b"a", 100_000);
    let batch = drain(&store, PEER, 1 << 20).unwrap();
    let entry_at =
        store.read(Slot::of(b"a"), NOW, |view| view.value(b"a").map(|value| value.as_slice().as_ptr() as usize));
    assert!(batch.bytes.iter().any(|part| Some(part.as_ptr() as usize) == entry_at));
}

#[test]
fn the_sender_of_a_former_opening_takes_nothing_of_the_next_one() {
    let (store, log) = store_with(1 << 20, 0, Policy::NoEviction);
    act(&store, Slot::all());
    let former = store.open_lane(PEER);
    put(&store, b"a", 10);
    store.close_lane(PEER);
    assert_eq!(store.drain(former, 100), Drained::Nothing);
    let lane = store.open_lane(PEER);
    log.take();
    put(&store, b"a", 10);
    assert_eq!(log.take(), [("wake", PEER)]);
    assert_eq!(store.drain(former, 100), Drained::Closed);
    assert!(matches!(store.drain(lane, 100), Drained::Batch(_)));
    assert_eq!((store.drain(lane, 100), store.drain(former, 100)), (Drained::Nothing, Drained::Closed));
}

#[test]
fn a_shard_that_always_has_a_batch_ready_holds_up_no_other() {
    let (store, _) = store_with(1 << 30, 0, Policy::NoEviction);
    act(&store, Slot::all());
    store.open_lane(PEER);
    let put_all = || (0..40).map(|n| put(&store, format!("{n}").as_bytes(), 5_000).shard).collect::<BTreeSet<u16>>();
    let (shards, mut seen, mut batches) = (put_all(), BTreeSet::new(), 0);
    while seen.len() < shards.len() {
        // What was sent is there again before the next batch.
        put_all();
        seen.extend(drain(&store, PEER, 1).unwrap().marks.iter().map(|mark| mark.shard));
        batches += 1;
        assert!(batches <= shards.len(), "{} of {} shards in {batches} batches", seen.len(), shards.len());
    }
}

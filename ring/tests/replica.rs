//! One copy against a naive twin.
//!
//! The effects of one slot come from a chain of nodes that act one after the other, each joining what the one before
//! it had. So they are in one total order, and what a copy has incorporated is always the first so many of them: the
//! twin is a number, a list of what is parked, and a replay from the beginning.

// The lint knows tests, not their helpers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use ring::{
    context::SlotContext,
    dot::Dot,
    effect::{Cause, EffectRef, Op},
    hlc::HlcClock,
    id::{Origin, Peer},
    replica::{Entries, Received, Replica, Role},
    slot::Slot,
};

#[path = "control/entries.rs"]
mod entries;

use entries::Map;

/// One effect, with the state of its executor after it.
struct Step {
    bytes: Vec<u8>,
    seen: SlotContext,
    entries: BTreeMap<Vec<u8>, Dot>,
}

#[derive(Clone, Copy, Debug)]
enum Write {
    Set(u8),
    Delete(u8),
    Flush,
    /// Another node acts from now on.
    Tenure,
}

#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// The effect with this number, in percent of all.
    Effect(usize),
    /// The effect that comes next.
    Next,
    /// A snapshot of the moment after this effect.
    Snapshot(usize),
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => (0u8..3).prop_map(Write::Set),
        2 => (0u8..3).prop_map(Write::Delete),
        1 => Just(Write::Flush),
        1 => Just(Write::Tenure),
    ]
}

fn arrival() -> impl Strategy<Value = Arrival> {
    prop_oneof![
        4 => (0usize..100).prop_map(Arrival::Effect),
        4 => Just(Arrival::Next),
        1 => (0usize..100).prop_map(Arrival::Snapshot),
    ]
}

fn slot() -> Slot {
    Slot::new(7).unwrap()
}

/// What the chain of acting nodes executes.
fn history(writes: &[Write]) -> Vec<Step> {
    let mut clock = HlcClock::default();
    let mut acting = Replica::absent(slot(), Map::default());
    acting.open_empty(Origin(100));
    acting.act();
    let mut steps: Vec<Step> = Vec::new();
    for (nth, &write) in writes.iter().enumerate() {
        if matches!(write, Write::Tenure) {
            let (seen, entries) = acting.snapshot();
            acting = Replica::absent(slot(), Map::default());
            acting.open_empty(Origin(200 - nth as u64));
            acting.join(&seen, entries, &mut clock);
            acting.act();
            continue;
        }
        let key = match write {
            Write::Set(key) | Write::Delete(key) => vec![key],
            Write::Flush | Write::Tenure => Vec::new(),
        };
        let (held, seen) = (acting.entries().0.get(&key).copied(), acting.seen().clone());
        let header = acting.stamp(&mut clock, 1_000);
        let op = match (write, held) {
            (Write::Delete(_), Some(saw)) => Op::Drop { key: &key, saw, cause: Cause::Delete },
            (Write::Flush, _) => Op::Clear { seen },
            _ => Op::Put { key: &key, kind: 0, value: b"", deadline: 0 },
        };
        let (entries, fold) = acting.entries_mut();
        entries.apply(header.dot, &op, fold);
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        op.encode(&mut bytes);
        let (seen, entries) = acting.snapshot();
        steps.push(Step { bytes, seen, entries });
    }
    steps
}

/// The naive twin: everything before `incorporated` is in.
struct Twin<'a> {
    steps: &'a [Step],
    limit_bytes: usize,
    pulls: bool,
    incorporated: usize,
    parked: Vec<usize>,
    /// One more than the last effect that ever arrived.
    heard_of: usize,
}

impl Twin<'_> {
    fn effect(&mut self, number: usize) -> Received {
        if !self.pulls && number < self.incorporated {
            return Received::Duplicate;
        }
        if !self.pulls && number == self.incorporated {
            self.incorporated += 1;
            self.replay();
            return Received::Applied;
        }
        let bytes: usize = self.parked.iter().map(|&parked| self.steps[parked].bytes.len()).sum();
        if bytes + self.steps[number].bytes.len() <= self.limit_bytes {
            self.parked.push(number);
        }
        self.heard_of = self.heard_of.max(number + 1);
        Received::Parked
    }

    fn snapshot(&mut self, after: usize) {
        self.incorporated = self.incorporated.max(after + 1);
        self.replay();
    }

    fn replay(&mut self) {
        while self.parked.contains(&self.incorporated) {
            self.incorporated += 1;
        }
        self.parked.retain(|&parked| parked >= self.incorporated);
    }

    fn misses_something(&self) -> bool {
        self.heard_of > self.incorporated
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_copy_is_a_prefix_of_the_history(
        writes in prop::collection::vec(write(), 1..30),
        arrivals in prop::collection::vec(arrival(), 0..80),
        pulls in any::<bool>(),
        limit_bytes in prop_oneof![Just(usize::MAX), 0usize..300],
    ) {
        let steps = history(&writes);
        prop_assume!(!steps.is_empty());
        let mut clock = HlcClock::default();
        let mut copy = Replica::absent(slot(), Map::default()).with_park_limit(limit_bytes);
        match pulls {
            true => copy.open(Origin(1)),
            false => copy.open_empty(Origin(1)),
        }
        let mut twin = Twin { steps: &steps, limit_bytes, pulls, incorporated: 0, parked: Vec::new(), heard_of: 0 };
        for arrival in arrivals {
            match arrival {
                Arrival::Effect(_) | Arrival::Next => {
                    let number = match arrival {
                        Arrival::Effect(percent) => percent * steps.len() / 100,
                        _ => twin.incorporated.min(steps.len() - 1),
                    };
                    let bytes = &steps[number].bytes;
                    let received = copy.receive(Peer(1), bytes, &EffectRef::decode(bytes).unwrap(), &mut clock);
                    prop_assert_eq!(received, twin.effect(number));
                }
                Arrival::Snapshot(percent) => {
                    let number = percent * steps.len() / 100;
                    let joined = copy.join(&steps[number].seen, steps[number].entries.clone(), &mut clock);
                    twin.snapshot(number);
                    let incomplete = copy.misses_something();
                    prop_assert_eq!(incomplete, twin.misses_something());
                    prop_assert_eq!(joined.ahead, twin.incorporated > number + 1);
                    // From its first snapshot on a copy that pulls takes effects in like any other.
                    twin.pulls = false;
                    if copy.role() == Role::Pulling && !incomplete {
                        copy.become_ready();
                    }
                }
            }
            let state = twin.incorporated.checked_sub(1).map(|last| &steps[last]);
            let empty = (SlotContext::new(), BTreeMap::new());
            let (seen, entries) = state.map_or((&empty.0, &empty.1), |step| (&step.seen, &step.entries));
            prop_assert_eq!(copy.seen(), seen);
            prop_assert_eq!(&copy.entries().0, entries);
            prop_assert_eq!(copy.fold(), copy.entries().fold());
            prop_assert_eq!(copy.misses_something(), twin.misses_something());
            prop_assert_eq!(copy.counts(), copy.role().is_ready() && !twin.misses_something());
            prop_assert_eq!(copy.parked_bytes(), twin.parked.iter().map(|&parked| steps[parked].bytes.len()).sum::<usize>());
        }
        // What never got in is missing in the next tenure too, until somebody says that it is given up.
        // A copy that still pulls keeps what it heard of even if it is in: its next tenure asks again.
        let missed = copy.misses_something() || (copy.role() == Role::Pulling && twin.heard_of > 0);
        copy.forget();
        prop_assert_eq!((copy.role(), copy.seen().len(), copy.parked_bytes()), (Role::Absent, 0, 0));
        prop_assert!(copy.entries().0.is_empty());
        copy.open_empty(Origin(2));
        prop_assert_eq!(copy.counts(), !missed);
        copy.drop_parked();
        prop_assert!(copy.counts());
    }
}

#[test]
fn what_arrives_before_and_after_the_copy_does_not_count_in_the_next_one() {
    let steps = history(&[Write::Set(0), Write::Set(1)]);
    let mut clock = HlcClock::default();
    let mut copy = Replica::absent(slot(), Map::default());
    let mut receive = |copy: &mut Replica<Map>, number: usize| {
        let bytes = &steps[number].bytes;
        copy.receive(Peer(1), bytes, &EffectRef::decode(bytes).unwrap(), &mut clock)
    };
    assert_eq!(receive(&mut copy, 0), Received::Absent);
    copy.open_empty(Origin(1));
    assert!(!copy.counts(), "the effect was acknowledged as missing and still is");
    assert_eq!(receive(&mut copy, 0), Received::Applied);
    assert!(copy.counts());
    copy.start_release();
    assert_eq!(receive(&mut copy, 1), Received::Releasing);
    copy.forget();
    copy.open_empty(Origin(2));
    assert!(!copy.counts(), "the effect went with the copy that was released");
}

#[test]
fn a_release_that_is_denied_leaves_nothing_missing() {
    let steps = history(&[Write::Set(0)]);
    let mut copy = Replica::absent(slot(), Map::default());
    copy.open_empty(Origin(1));
    copy.start_release();
    let bytes = &steps[0].bytes;
    copy.receive(Peer(1), bytes, &EffectRef::decode(bytes).unwrap(), &mut HlcClock::default());
    assert!(!copy.counts());
    copy.stop_release();
    assert!(copy.counts());
}

#[test]
fn a_copy_knows_whom_to_ask_for_what_it_misses() {
    let steps = history(&[Write::Set(0), Write::Set(1), Write::Set(2)]);
    let (one, two) = (Peer(1), Peer(2));
    let mut clock = HlcClock::default();
    let mut copy = Replica::absent(slot(), Map::default());
    let mut receive = |copy: &mut Replica<Map>, from: Peer, number: usize| {
        let bytes = &steps[number].bytes;
        copy.receive(from, bytes, &EffectRef::decode(bytes).unwrap(), &mut clock)
    };
    copy.open_empty(Origin(1));
    assert_eq!(receive(&mut copy, one, 1), Received::Parked);
    assert!(copy.heard_of(two, &steps[1].seen));
    assert_eq!(copy.unasked(), [one, two].into_iter().collect());
    copy.ask(one);
    assert_eq!(copy.unasked(), [two].into_iter().collect());
    // What comes after the question may not be in the answer.
    assert_eq!(receive(&mut copy, one, 2), Received::Parked);
    assert_eq!(copy.unasked(), [one, two].into_iter().collect());
    // An answer that is on its way is not for the copy of the next tenure.
    copy.ask(one);
    copy.forget();
    assert_eq!(copy.unasked(), [one, two].into_iter().collect());
    copy.open_empty(Origin(2));
    for number in 0..3 {
        assert_eq!(receive(&mut copy, one, number), Received::Applied);
    }
    assert!(copy.counts() && copy.unasked().is_empty());
}

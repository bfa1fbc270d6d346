//! What data threads do with what arrives: they take it in under the lock of the copy, whatever the machine is doing. So
//! it can also happen in the middle of the machine's work, between two looks at its copies.

use std::collections::VecDeque;

use fastrand::Rng;
use ring::{control::Input, effect::EffectRef, id::Peer, slot::Slot};

use super::{
    mutation::Mutation,
    network::{Packet, Stream},
    node::{Copies, SimNode},
    world::{World, note},
};

/// What is taken in while the machine works, and what became of it.
#[derive(Debug)]
pub(super) struct Meanwhile {
    /// Effects that were on their way when the machine began to work, by sender.
    pub(super) effects: Vec<(usize, Vec<u8>)>,
    waiting: VecDeque<(usize, Packet)>,
    taken_in: Vec<TakenIn>,
    random: Rng,
}

impl Default for Meanwhile {
    fn default() -> Meanwhile {
        // The seed is another one whenever something waits.
        Meanwhile { effects: Vec::new(), waiting: VecDeque::new(), taken_in: Vec::new(), random: Rng::with_seed(0) }
    }
}

/// What became of a packet.
#[derive(Debug)]
struct TakenIn {
    from: usize,
    stream: Stream,
    slot: Slot,
    /// Its place in the lane, to be acknowledged, and whether the copy counted then.
    position: Option<(u64, u64)>,
    counts: bool,
    report: Option<Input>,
    /// It was said to be equal and is not.
    unequal: Option<String>,
}

impl Copies {
    /// Called before each look of the machine at a copy.
    pub(super) fn take_in_meanwhile(&mut self) {
        if !self.meanwhile.waiting.is_empty() && self.meanwhile.random.bool() {
            self.take_in_next();
        }
    }

    /// Called when the machine has worked.
    pub(super) fn take_in_the_rest(&mut self) {
        while !self.meanwhile.waiting.is_empty() {
            self.take_in_next();
        }
    }

    fn take_in_next(&mut self) {
        if let Some((from, packet)) = self.meanwhile.waiting.pop_front() {
            let taken_in = self.take_in(from, packet);
            self.meanwhile.taken_in.extend(taken_in);
        }
    }

    fn take_in(&mut self, from: usize, packet: Packet) -> Option<TakenIn> {
        let peer = Peer(from as u8);
        let mut unequal = None;
        let (stream, slot, position, report) = match packet {
            Packet::Effect { session, position, bytes } => {
                let effect = EffectRef::decode(&bytes).expect("effects of the simulator are well-formed");
                let slot = effect.header.slot;
                let received = self.slots[slot.index()].receive(peer, &bytes, &effect, &mut self.clock);
                let report = received.is_uncertain().then_some(Input::Gap { slot });
                (Stream::Lane, slot, Some((session, position)), report)
            }
            Packet::Seen { session, position, slot, seen } => {
                let lacks = self.slots[slot.index()].heard_of(peer, &seen);
                (Stream::Lane, slot, Some((session, position)), lacks.then_some(Input::Gap { slot }))
            }
            Packet::Mark { slot, id } => (Stream::Lane, slot, None, Some(Input::Marked { slot, from: peer, id })),
            Packet::Compare { slot, digest, of } => {
                let copy = &self.slots[slot.index()];
                let equal = copy.digest() == digest || self.folds_ignored && copy.digest().seen == digest.seen;
                let differs = copy.role().holds() && !equal;
                let (seen, entries) = &*of;
                let is_equal = copy.seen() == seen && copy.entries().entries == *entries;
                unequal = (copy.role().holds() && equal && !is_equal)
                    .then(|| format!("{of:?} of n{from} is not {:?} {:?}", copy.seen(), copy.entries().entries));
                (Stream::Lane, slot, None, differs.then_some(Input::Differs { slot, from: peer }))
            }
            Packet::Snapshot { fetch, slot, origin, urgency, content } => {
                let copy = &mut self.slots[slot.index()];
                let content = content.filter(|_| copy.is_of(origin));
                let joined = content.map(|(seen, entries)| copy.join(&seen, entries, &mut self.clock));
                (Stream::of(urgency), slot, None, Some(Input::Fetched { fetch, joined }))
            }
            _ => return None,
        };
        let counts = self.slots[slot.index()].counts();
        Some(TakenIn { from, stream, slot, position, counts, report, unequal })
    }
}

impl World {
    /// A data thread of a node takes a packet in.
    pub(super) fn take_in(&mut self, from: usize, to: usize, packet: Packet) {
        let packet = self.mutated(from, packet);
        let taken_in = self.nodes[to].copies.take_in(from, packet);
        self.follow_up(to, taken_in);
    }

    /// A machine is about to work: now and then something is taken in at the same time.
    pub(super) fn stage(&mut self, at: usize) {
        if !self.runs(at) || self.random.u8(0..4) > 0 {
            return;
        }
        for _ in 0..self.random.usize(1..4) {
            let from = self.random.usize(0..self.nodes.len());
            let stream = match self.random.u8(0..6) {
                0 => Stream::Bulk,
                1 => Stream::Urgent,
                _ => Stream::Lane,
            };
            let stands_still = !self.quiet && self.network.stands_still(from, at, stream, self.step);
            if from == at || stands_still || self.network.begins(from, at) {
                continue;
            }
            if let Some(packet) = self.network.take_data(from, at, stream) {
                let packet = self.mutated(from, packet);
                note!(self, "n{from} -> n{at} in the middle of what follows: {packet:?}");
                if let Packet::Effect { bytes, .. } = &packet {
                    self.nodes[at].copies.meanwhile.effects.push((from, bytes.clone()));
                }
                self.nodes[at].copies.meanwhile.waiting.push_back((from, packet));
            }
        }
        self.nodes[at].copies.meanwhile.random.seed(self.random.u64(..));
    }

    /// The machine has worked: what was taken in meanwhile is reported and acknowledged.
    pub(super) fn unstage(&mut self, at: usize) {
        self.nodes[at].copies.meanwhile.effects.clear();
        for taken_in in std::mem::take(&mut self.nodes[at].copies.meanwhile.taken_in) {
            self.follow_up(at, Some(taken_in));
        }
    }

    fn follow_up(&mut self, at: usize, taken_in: Option<TakenIn>) {
        let Some(TakenIn { from, stream, slot, position, counts, report, unequal }) = taken_in else { return };
        self.check_equal(at, slot, unequal);
        if let Some(report) = report {
            note!(self, "n{at} will hear {report:?}");
            self.report(at, from, stream, report);
        }
        let session = &mut self.nodes[at].sessions[from];
        if let Some(position) = position {
            session.received = position;
            if !counts && !session.not_counting.contains(&slot) {
                session.not_counting.push(slot);
            }
        }
        self.check_copy(at, slot);
        self.acknowledge(at, from);
    }

    pub(super) fn acknowledge(&mut self, at: usize, to: usize) {
        let SimNode { sessions, copies, .. } = &mut self.nodes[at];
        let session = &mut sessions[to];
        if session.open {
            session.not_counting.retain(|slot| !copies.slots[slot.index()].counts());
            let packet = Packet::Ack { position: session.received, not_counting: session.not_counting.clone() };
            self.send(at, to, Stream::Acks, packet);
        }
    }

    fn mutated(&self, from: usize, packet: Packet) -> Packet {
        match packet {
            Packet::Snapshot { fetch, slot, origin, urgency, content }
                if self.mutation == Some(Mutation::SnapshotInTwoSteps) =>
            {
                let late = self.nodes[from].copies.slots[slot.index()].seen().clone();
                Packet::Snapshot { fetch, slot, origin, urgency, content: content.map(|(_, entries)| (late, entries)) }
            }
            packet => packet,
        }
    }
}

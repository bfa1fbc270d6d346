//! Clients: commands enter anywhere, find who acts, and are executed as the store executes them.

use ring::{
    dot::Dot,
    effect::{Cause, Op},
    id::{Peer, PeerSet},
    replica::{Entries, Role},
    slot::Slot,
};

use super::{
    model::MOST_WRITES,
    mutation::Mutation,
    network::{Packet, Stream},
    node::Asked,
    world::{Wait, World, Write, note},
};
use crate::invariants;

/// One command.
struct Command {
    slot: Slot,
    /// What it does, in order. Most do one thing.
    changes: Vec<(What, Vec<u8>)>,
    quorum: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Set,
    Delete,
    Flush,
    /// What the node does by itself.
    Reclaim(Cause),
    /// Until others have everything that is here.
    Wait,
}

impl World {
    /// A command goes from node to node until one executes it, at most two hops.
    pub(super) fn command(&mut self) {
        if self.writes.len() >= MOST_WRITES {
            return;
        }
        let command = self.draw_command();
        let mut at = self.random.usize(0..self.nodes.len());
        for _ in 0..3 {
            if !self.runs(at) {
                return;
            }
            if self.executes(at, command.slot) {
                return match command.changes[0].0 {
                    What::Wait => self.wait(at, command.slot),
                    _ => self.execute(at, &command),
                };
            }
            match self.nodes[at].route[command.slot.index()] {
                Some(next) if self.nodes[at].sessions[next.index()].open && self.passes(at, next.index()) => {
                    at = next.index()
                }
                _ => return,
            }
        }
    }

    fn draw_command(&mut self) -> Command {
        let what = match self.random.u8(0..20) {
            0..13 => What::Set,
            13..18 => What::Delete,
            18 => What::Wait,
            _ => What::Flush,
        };
        let slot = Slot::new(self.random.u16(0..self.slots)).expect("the ring has this slot");
        let mut changes = vec![(what, self.draw_key())];
        let quorum = self.random.usize(1..=self.faults.most_copies);
        if self.faults.several && what != What::Wait && self.random.bool() {
            for _ in 0..self.random.usize(1..4) {
                let what = if self.random.u8(0..3) == 0 { What::Delete } else { What::Set };
                changes.push((what, self.draw_key()));
            }
        }
        Command { slot, changes, quorum }
    }

    fn draw_key(&mut self) -> Vec<u8> {
        vec![self.random.u8(0..if self.faults.hot { 1 } else { 3 })]
    }

    /// Whether a command gets from one node to another.
    fn passes(&self, from: usize, to: usize) -> bool {
        self.network.is_up(from, to) && !self.network.stands_still(from, to, Stream::Control, self.step)
    }

    /// A node looks for something to remove: only who acts may do so. Copies keep what is past its deadline, and hide it.
    pub(super) fn reclaim(&mut self, cause: Cause) {
        let at = self.random.usize(0..self.nodes.len());
        let slot = Slot::new(self.random.u16(0..self.slots)).expect("the ring has this slot");
        if !self.runs(at) || self.writes.len() >= MOST_WRITES {
            return;
        }
        let now = self.now_ms(at);
        let may_go = |dot: Dot| match cause {
            Cause::Expire => self.deadline(slot, dot).is_some_and(|deadline| deadline < now),
            _ => true,
        };
        let copy = &self.nodes[at].copies.slots[slot.index()];
        let old = copy.entries().entries.iter().filter(|&(_, &dot)| may_go(dot)).map(|(key, _)| key.clone());
        let old: Vec<_> = old.collect();
        let role = copy.role();
        let Some(key) = self.random.choice(old) else { return };
        if role == Role::Acting {
            self.counts.reclaimed += 1;
            self.execute(at, &Command { slot, changes: vec![(What::Reclaim(cause), key)], quorum: 1 });
        } else if self.reclaims_alone(cause, role) {
            let (entries, fold) = self.nodes[at].copies.slots[slot.index()].entries_mut();
            entries.lose(&key, fold);
            note!(self, "n{at} {slot:?} drops {key:?}: {cause:?}");
        }
    }

    /// What the clock of a node shows. The rest of the world knows no time: a step is a quarter of a millisecond.
    fn now_ms(&self, at: usize) -> u64 {
        1_600_000_000_000 + self.step as u64 / 4 + self.skews_ms[at]
    }

    fn deadline(&self, slot: Slot, dot: Dot) -> Option<u64> {
        let number = *self.numbers.borrow().get(&(slot.number(), dot))?;
        let deadline = self.writes.get(number)?.deadline;
        (deadline > 0).then_some(deadline)
    }

    fn executes(&mut self, at: usize, slot: Slot) -> bool {
        let role = self.nodes[at].copies.slots[slot.index()].role();
        if self.mutation == Some(Mutation::RoleByView) && role == Role::Following {
            let node = &self.nodes[at];
            let first = self.targets.get(node.targets).and_then(|targets| targets[slot.index()].first());
            return first == Some(&at);
        }
        role == Role::Acting
    }

    fn wait(&mut self, at: usize, slot: Slot) {
        let node = &mut self.nodes[at];
        let copy = &node.copies.slots[slot.index()];
        if copy.role() != Role::Acting {
            return;
        }
        for to in copy.counting().iter() {
            let session = &mut node.sessions[to.index()];
            session.sent += 1;
            session.unacknowledged.push_back((session.sent, slot, Asked::Everything(self.waits.len())));
            let (name, position, seen) = (session.name, session.sent, copy.seen().clone());
            if !session.broken {
                let packet = Packet::Seen { session: name, position, slot, seen };
                self.network.send(at, to.index(), Stream::Lane, packet);
            }
        }
        let past = copy.entries().ghost;
        let copies = self.nodes.iter().map(|node| (node.boot, node.copies.slots[slot.index()].origin())).collect();
        self.waits.push(Wait { slot, past, copies });
        note!(self, "n{at} waits for {slot:?}");
    }

    fn execute(&mut self, at: usize, command: &Command) {
        let &Command { slot, ref changes, quorum } = command;
        let copy = &self.nodes[at].copies.slots[slot.index()];
        let before = copy.entries().entries.clone();
        let does = |(what, key): &(What, Vec<u8>)| match what {
            What::Set | What::Flush => true,
            What::Delete | What::Reclaim(_) => before.contains_key(key),
            What::Wait => false,
        };
        let counting = copy.counting().len() + 1;
        self.check(|world| invariants::quorum_available(world, at, slot, counting));
        if counting < quorum || !changes.iter().any(does) {
            return;
        }
        let now_ms = self.now_ms(at);
        let lives_ms = if self.faults.deadlines && self.random.bool() { self.random.u64(1..60) } else { 0 };
        let deadline = if lives_ms > 0 { now_ms + lives_ms } else { 0 };
        let acting: PeerSet = (0..self.nodes.len()).filter(|&other| self.nodes[other].acts(slot)).map(peer).collect();
        let near: PeerSet = (0..self.nodes.len()).filter(|&other| self.in_whole_session(at, other)).map(peer).collect();
        let number = self.writes.len();
        let node = &mut self.nodes[at];
        let copy = &mut node.copies.slots[slot.index()];
        let (past, clear) = (copy.entries().ghost, copy.seen().clone());
        let acts = copy.role() == Role::Acting;
        if !acts {
            copy.act();
        }
        let latest = copy.seen().latest();
        let header = copy.stamp(&mut node.copies.clock, now_ms);
        self.numbers.borrow_mut().insert((slot.number(), header.dot), number);
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let (mut operations, mut done) = (0, String::new());
        for (what, key) in changes {
            let held = copy.entries().entries.get(key).copied();
            let op = match (what, held) {
                (What::Flush, _) => Op::Clear { seen: clear.clone() },
                (What::Set, _) => Op::Put { key, kind: 0, value: b"", deadline },
                (What::Delete, Some(saw)) => Op::Drop { key, saw, cause: Cause::Delete },
                (What::Reclaim(cause), Some(saw)) => Op::Drop { key, saw, cause: *cause },
                (What::Delete | What::Reclaim(_) | What::Wait, _) => continue,
            };
            operations += 1;
            let (entries, fold) = copy.entries_mut();
            Entries::apply(entries, header.dot, &op, fold);
            if operations == 1 || self.mutation != Some(Mutation::EffectsInParts) {
                op.encode(&mut bytes);
            }
            if self.trace.is_some() {
                done.push_str(&format!("{op:?} "));
            }
        }
        note!(self, "n{at} executes {done}as {:?} for w={quorum}", header.dot);
        self.counts.several += usize::from(operations > 1);
        let node = &mut self.nodes[at];
        let copy = &mut node.copies.slots[slot.index()];
        if !acts {
            copy.stop();
        }
        let after = &copy.entries().entries;
        let removes = before.into_iter().filter(|(key, dot)| after.get(key) != Some(dot)).collect();
        let puts = after.iter().filter(|&(_, &dot)| dot == header.dot).map(|(key, _)| key.clone()).collect();
        let ship_to = copy.ship_to();
        self.ship(at, slot, number, &bytes);
        let flushes = changes.iter().any(|(what, _)| *what == What::Flush);
        self.writes.push(Write {
            slot,
            dot: header.dot,
            by: (at, self.nodes[at].boot),
            beside: near.difference(acting),
            names: (!flushes).then(|| changes.iter().map(|(_, key)| key.clone()).collect()),
            puts,
            deadline,
            removes,
            past,
            quorum,
            shipped_to: ship_to,
            acknowledged_by: PeerSet::EMPTY,
            acknowledged: quorum == 1,
            deaths: 0,
            excused: false,
            gone: false,
        });
        self.observe_dot(at, number, header.prev, (latest, now_ms));
        self.check(|world| invariants::sees_what_was_executed(world, at, number));
        self.check_copy(at, slot);
    }

    fn ship(&mut self, at: usize, slot: Slot, number: usize, bytes: &[u8]) {
        let node = &mut self.nodes[at];
        node.executed[slot.index()] = true;
        let ship_to = node.copies.slots[slot.index()].ship_to();
        for to in ship_to.iter() {
            let session = &mut node.sessions[to.index()];
            session.sent += 1;
            session.unacknowledged.push_back((session.sent, slot, Asked::Write(number)));
            let packet = Packet::Effect { session: session.name, position: session.sent, bytes: bytes.to_vec() };
            if !session.broken {
                self.network.send(at, to.index(), Stream::Lane, packet);
            }
        }
        note!(self, "n{at} ships it to {ship_to:?}");
    }
}

fn peer(node: usize) -> Peer {
    Peer(node as u8)
}

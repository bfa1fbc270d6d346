//! Clients: commands enter anywhere, find who acts, and are executed as the store executes them.

use ring::{
    effect::{Cause, Op},
    id::PeerSet,
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
    key: Vec<u8>,
    what: What,
    quorum: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Set,
    Delete,
    Flush,
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
                return match command.what {
                    What::Wait => self.wait(at, command.slot),
                    _ => self.execute(at, &command),
                };
            }
            match self.nodes[at].route[command.slot.index()] {
                Some(next) if self.nodes[at].sessions[next.index()].open && self.network.is_up(at, next.index()) => {
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
        Command {
            slot: Slot::new(self.random.u16(0..self.slots)).expect("the ring has this slot"),
            key: vec![self.random.u8(0..if self.faults.hot { 1 } else { 3 })],
            what,
            quorum: self.random.usize(1..=self.faults.most_copies),
        }
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
        self.waits.push(Wait { slot, past: copy.entries().ghost });
        note!(self, "n{at} waits for {slot:?}");
    }

    fn execute(&mut self, at: usize, command: &Command) {
        let &Command { slot, ref key, what, quorum } = command;
        let node = &mut self.nodes[at];
        let copy = &mut node.copies.slots[slot.index()];
        let held = copy.entries().entries.get(key).copied();
        let counting = copy.counting().len() + 1;
        self.check(|world| invariants::quorum_available(world, at, slot, counting));
        let copy = &mut self.nodes[at].copies.slots[slot.index()];
        if counting < quorum || (held.is_none() && what == What::Delete) {
            return;
        }
        let past = copy.entries().ghost;
        let removes = match what {
            What::Flush => copy.entries().entries.values().copied().collect(),
            _ => held.into_iter().collect(),
        };
        let node = &mut self.nodes[at];
        let copy = &mut node.copies.slots[slot.index()];
        let clear = copy.seen().clone();
        let acts = copy.role() == Role::Acting;
        if !acts {
            copy.act();
        }
        let now_unix_ms = 1_600_000_000_000 + self.step as u64 / 4 + self.skews_ms[at];
        let header = copy.stamp(&mut node.copies.clock, now_unix_ms);
        let op = match (what, held) {
            (What::Flush, _) => Op::Clear { seen: clear },
            (What::Delete, Some(saw)) => Op::Drop { key, saw, cause: Cause::Delete },
            _ => Op::Put { key, kind: 0, value: b"", deadline: 0 },
        };
        let number = self.writes.len();
        self.numbers.borrow_mut().insert((slot.number(), header.dot), number);
        let (entries, fold) = copy.entries_mut();
        Entries::apply(entries, header.dot, &op, fold);
        if !acts {
            copy.stop();
        }
        node.executed[slot.index()] = true;
        let ship_to = copy.ship_to();
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        op.encode(&mut bytes);
        for to in ship_to.iter() {
            let session = &mut node.sessions[to.index()];
            session.sent += 1;
            session.unacknowledged.push_back((session.sent, slot, Asked::Write(number)));
            let packet = Packet::Effect { session: session.name, position: session.sent, bytes: bytes.clone() };
            if !session.broken {
                self.network.send(at, to.index(), Stream::Lane, packet);
            }
        }
        note!(self, "n{at} executes {op:?} as {:?} for w={quorum}, ships to {ship_to:?}", header.dot);
        self.writes.push(Write {
            slot,
            dot: header.dot,
            key: (what != What::Flush).then(|| key.clone()),
            puts: what == What::Set,
            removes,
            past,
            quorum,
            shipped_to: ship_to,
            acknowledged_by: PeerSet::EMPTY,
            acknowledged: quorum == 1,
        });
        self.check(|world| invariants::sees_acknowledged(world, at, number));
        self.check_copy(at, slot);
    }
}

//! What nodes do: they look around, let their machine work, and take in what arrives.

use std::rc::Rc;

use ring::{
    control::{Control, Input, Output},
    id::Peer,
    replica::Role,
    slot::Slot,
};

use super::{
    aims::{self, Moment},
    mutation::Mutation,
    network::{Packet, Stream},
    node::{Asked, Copies, Session},
    world::{World, note},
};
use crate::invariants;

impl World {
    /// A node looks around.
    pub(super) fn tick(&mut self, at: usize) {
        if !self.decides(at) {
            return;
        }
        let compare = match self.quiet {
            true => self.compares,
            false => self.faults.compare_rounds && self.random.u8(0..8) == 0,
        };
        let node = &self.nodes[at];
        let may_open = self
            .targets
            .get(node.targets)
            .is_some_and(|targets| targets.iter().flatten().all(|&owner| owner == at || node.sessions[owner].open));
        self.retire_origins(at);
        self.drive(at, |control, copies| {
            control.handle(Input::MayOpen(may_open), copies);
            control.tick(copies);
            if compare {
                control.handle(Input::CompareRound, copies);
            }
        });
        self.exit_if_done(at);
    }

    /// Lets a node's machine work and does what it wants done.
    pub(super) fn drive(&mut self, at: usize, work: impl FnOnce(&mut Control, &mut Copies)) {
        self.stage(at);
        self.drive_alone(at, work);
        self.unstage(at);
    }

    fn drive_alone(&mut self, at: usize, work: impl FnOnce(&mut Control, &mut Copies)) {
        let node = &mut self.nodes[at];
        work(&mut node.control, &mut node.copies);
        node.copies.take_in_the_rest();
        let mut publish = false;
        while let Some(output) = self.nodes[at].control.poll_output() {
            note!(self, "n{at} {output:?}");
            publish |= matches!(output, Output::Publish { .. });
            self.carry_out(at, output);
        }
        if publish {
            let ready = self.nodes[at].ready.clone();
            for to in 0..self.nodes.len() {
                if self.nodes[at].sessions[to].open {
                    self.send(at, to, Stream::Control, Packet::Ready { ready: ready.clone() });
                }
            }
        }
        self.observe_roles(at);
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        match output {
            Output::Send { to, message } => {
                self.observe_message(at, to, &message);
                self.send(at, to.index(), Stream::Control, Packet::Control(message));
            }
            Output::Fetch { fetch, slot, from, origin, urgency } => {
                self.counts.fetches += 1;
                self.send(at, from.index(), Stream::of(urgency), Packet::Fetch { fetch, slot, origin, urgency });
            }
            Output::Mark { slot, to, id } => self.send(at, to.index(), Stream::Lane, Packet::Mark { slot, id }),
            Output::CompareRecord { slot, to } => {
                if self.leaves_out_compare(at, slot, to) {
                    return;
                }
                let copy = &self.nodes[at].copies.slots[slot.index()];
                let of = Rc::new((copy.seen().clone(), copy.entries().entries.clone()));
                let digest = copy.digest();
                self.send(at, to.index(), Stream::Lane, Packet::Compare { slot, digest, of });
            }
            Output::Publish { slot, ready } => {
                let set = &mut self.nodes[at].ready;
                if ready {
                    set.insert(slot)
                } else {
                    set.remove(slot)
                };
            }
            Output::Route { slot, to } => self.nodes[at].route[slot.index()] = to,
            Output::SayReach { nodes } => {
                for to in 0..self.nodes.len() {
                    if self.nodes[at].sessions[to].open {
                        self.send(at, to, Stream::Control, Packet::Reach { nodes: nodes.clone() });
                    }
                }
            }
        }
    }

    fn observe_roles(&mut self, at: usize) {
        for slot in self.every_slot() {
            let role = self.nodes[at].copies.slots[slot.index()].role();
            let before = self.roles[at][slot.index()];
            if before.is_ready() && !role.is_ready() {
                self.renew_promises(slot);
            }
            self.roles[at][slot.index()] = role;
            self.observe_copy(at, slot, before);
            if before == role {
                continue;
            }
            note!(self, "n{at} {slot:?}: {before:?} -> {role:?}");
            if before == Role::Acting || role == Role::Acting {
                self.observer.last_hand_over[slot.index()] = self.step;
            }
            self.counts.opened_empty += usize::from(before == Role::Absent && role.is_ready());
            if role == Role::Pulling {
                self.pulls_since[at][slot.index()] = self.step;
            } else if before == Role::Pulling && role.is_ready() {
                let since = self.pulls_since[at][slot.index()];
                self.check(|world| invariants::ready_is_honest(world, at, slot, since));
            }
            if role == Role::Acting {
                self.check(|world| invariants::single_executor(world, at, slot));
                if self.is_apart {
                    self.check(|world| invariants::acts_alone(world, at, slot));
                }
                self.check(|world| invariants::hand_over(world, at, slot));
                self.counts.splits += usize::from(self.nodes.iter().filter(|node| node.acts(slot)).count() > 1);
                self.check(|world| invariants::quorum_visible(world, at, slot));
            }
            self.check_copy(at, slot);
        }
    }

    /// One packet arrives, if there is one that can.
    pub(super) fn deliver_one(&mut self) {
        for _ in 0..4 {
            if self.network.busy() == 0 {
                return;
            }
            let pick = self.random.usize(0..self.network.busy());
            let (from, to, stream) = self.network.ends(pick);
            let takes_in = match stream {
                Stream::Control => self.decides(to),
                Stream::Lane | Stream::Bulk | Stream::Urgent | Stream::Acks => self.runs(to),
            };
            let waits = self.nodes[to].up && !takes_in;
            let is_early = stream != Stream::Control && self.network.begins(from, to);
            if waits || is_early || (!self.quiet && self.network.is_stalled(pick, self.step)) {
                continue;
            }
            let packet = self.network.take(pick);
            let kind = aims::kind(&packet);
            if self.nodes[to].up && !self.aimed_at((from, to), kind, Moment::Arrives) {
                self.deliver(from, to, packet);
                self.aimed_after((from, to), kind);
            }
            return;
        }
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, packet: Packet) {
        self.mix(from * 8 + to);
        note!(self, "n{from} -> n{to} {packet:?}");
        let peer = Peer(from as u8);
        match packet {
            Packet::Hello { id, ready } => {
                self.notice(to, from);
                let session = &mut self.nodes[to].sessions[from];
                *session = Session { open: true, since: self.step, name: session.name + 1, ..Session::default() };
                // The other streams of the session are read from now on.
                self.drive_alone(to, |control, copies| control.handle(Input::SessionUp { peer, id, ready }, copies));
                let ready = self.nodes[to].ready.clone();
                self.send(to, from, Stream::Control, Packet::Ready { ready });
            }
            Packet::Ready { ready } => {
                let id = self.nodes[from].id;
                self.drive(to, |control, copies| control.handle(Input::Ready { peer, id, ready }, copies));
            }
            Packet::Reach { nodes } => {
                self.drive(to, |control, copies| control.handle(Input::Reach { peer, nodes }, copies));
            }
            Packet::Control(message) => {
                self.drive(to, |control, copies| control.handle(Input::Message { from: peer, message }, copies));
            }
            Packet::Ack { position, not_counting } => self.deliver_ack(from, to, position, &not_counting),
            Packet::Fetch { fetch, slot, origin, urgency } => {
                let copy = &self.nodes[to].copies.slots[slot.index()];
                let content = copy.role().holds().then(|| copy.snapshot());
                if self.nodes[from].up {
                    let snapshot = Packet::Snapshot { fetch, slot, origin, urgency, content };
                    self.send(to, from, Stream::of(urgency), snapshot);
                }
            }
            packet => self.take_in(from, to, packet),
        }
    }

    /// Puts something on its way in a session. What is said in one that is over, unnoticed, does not arrive in the next.
    pub(super) fn send(&mut self, from: usize, to: usize, stream: Stream, packet: Packet) {
        let is_lost = self.nodes[from].sessions[to].broken;
        if !is_lost && !self.aimed_at((from, to), aims::kind(&packet), Moment::Sent) {
            self.network.send(from, to, stream, packet);
        }
    }

    fn deliver_ack(&mut self, from: usize, to: usize, (name, position): (u64, u64), not_counting: &[Slot]) {
        let ignore = self.mutation == Some(Mutation::NotCountingIgnored);
        let mut done = Vec::new();
        if self.nodes[to].sessions[from].name != name {
            return;
        }
        self.nodes[to].sessions[from].unacknowledged.retain(|&(at, slot, asked)| {
            let counts = at <= position && (ignore || !not_counting.contains(&slot));
            if counts {
                done.push(asked);
            }
            !counts
        });
        for asked in done {
            let (slot, tenure) = match asked {
                Asked::Write(number) => (self.writes[number].slot, self.writes[number].dot.origin),
                Asked::Everything(number) => (self.waits[number].slot, self.waits[number].copies[to].1),
            };
            // Whose own copy is another one now knows of nobody any more.
            if !self.nodes[to].copies.slots[slot.index()].is_of(tenure) {
                continue;
            }
            let number = match asked {
                Asked::Write(number) => number,
                Asked::Everything(number) => {
                    self.check(|world| invariants::everything_holds(world, number, from));
                    continue;
                }
            };
            let write = &mut self.writes[number];
            if write.shipped_to.contains(Peer(from as u8)) {
                write.acknowledged_by.insert(Peer(from as u8));
                if write.acknowledged_by.len() + 1 >= write.quorum && !write.acknowledged {
                    write.acknowledged = true;
                    self.check(|world| invariants::is_on_enough_copies(world, number));
                }
            }
        }
    }
}

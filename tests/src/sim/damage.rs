//! What the world does to nodes and links.

use ring::{
    control::Input,
    id::{Peer, PeerSet},
    replica::Role,
    slot::Slot,
};

use super::{
    network::{Packet, STREAMS, Stream},
    node::{Session, SimNode, Standing},
    world::{Planned, World, note},
};

impl World {
    pub(super) fn break_or_heal(&mut self) {
        let (a, b) = self.pair();
        if self.network.is_up(a, b) {
            self.break_link(a, b);
        } else {
            self.heal(a, b);
        }
    }

    pub(super) fn break_link(&mut self, a: usize, b: usize) {
        note!(self, "link n{a} n{b} breaks");
        self.observe_break(a, b);
        self.network.set_up(a, b, false);
        for (from, to) in [(a, b), (b, a)] {
            let late = self.random.usize(0..4);
            self.network.lose(from, to, late);
        }
        self.counts.breaks += 1;
        self.nodes[a].sessions[b].broken = true;
        self.nodes[b].sessions[a].broken = true;
    }

    pub(super) fn heal(&mut self, a: usize, b: usize) {
        if !self.network.is_up(a, b) {
            note!(self, "link n{a} n{b} heals");
            self.network.set_up(a, b, true);
            // What is left belongs to a session that is over.
            self.network.lose(a, b, 0);
            self.network.lose(b, a, 0);
            self.greet(a, b);
        }
    }

    pub(super) fn do_what_is_due(&mut self) {
        while let Some(due) = self.plan.iter().position(|&(step, ..)| step <= self.step) {
            let (_, a, b, planned) = self.plan.swap_remove(due);
            match planned {
                Planned::Heal => self.heal(a, b),
                Planned::Break if self.network.is_up(a, b) => self.break_link(a, b),
                Planned::EndOneWay if self.network.is_up(a, b) => self.end_one_way(a, b),
                Planned::Break | Planned::EndOneWay => {}
                Planned::ActAgain => self.act_again(a),
            }
        }
    }

    /// Both say hello, and a session begins at each when it hears the other.
    pub(super) fn greet(&mut self, a: usize, b: usize) {
        if self.nodes[a].up && self.nodes[b].up {
            for (from, to) in [(a, b), (b, a)] {
                let node = &self.nodes[from];
                let packet = Packet::Hello { id: node.id, ready: node.ready.clone() };
                self.network.send(from, to, Stream::Control, packet);
            }
        }
    }

    pub(super) fn crash(&mut self) {
        let at = match self.faults.aimed {
            true => self.random_holder(),
            false => Some(self.random.usize(0..self.nodes.len())),
        };
        let Some(at) = at.filter(|&at| self.nodes[at].up) else { return };
        if self.counts.crashes < self.faults.most_crashes {
            note!(self, "n{at} crashes");
            self.counts.crashes += 1;
            self.stop(at);
        }
    }

    fn random_holder(&mut self) -> Option<usize> {
        let slot = self.random.usize(0..self.slots.into());
        let holds = |node: &SimNode| node.copies.slots[slot].role().holds();
        let holders: Vec<_> = (0..self.nodes.len()).filter(|&at| holds(&self.nodes[at])).collect();
        self.random.choice(holders)
    }

    /// All copies of a slot are lost at once, and one of the nodes that should hold it now has written to it earlier in
    /// its life: what it writes from now on must not be taken for a continuation of that.
    pub(super) fn ruin_slot(&mut self) {
        let held = |at: usize, slot: usize| self.nodes[at].copies.slots[slot].role() != Role::Absent;
        let is_member = |at: usize| self.nodes[at].up && self.nodes[at].standing == Standing::Member;
        let pairs = (0..self.nodes.len()).flat_map(|at| (0..self.slots.into()).map(move |slot| (at, slot)));
        let heirs: Vec<(usize, usize)> =
            pairs.filter(|&(at, slot)| is_member(at) && self.nodes[at].executed[slot] && !held(at, slot)).collect();
        let Some((heir, slot)) = self.random.choice(heirs) else { return };
        note!(self, "all of s{slot} is lost, n{heir} begins anew");
        for at in 0..self.nodes.len() {
            if self.nodes[at].copies.slots[slot].role() != Role::Absent {
                self.counts.crashes += 1;
                self.stop(at);
                self.come_back(at);
            }
        }
        let mut next = self.targets.last().cloned().expect("a run begins with targets");
        next[slot].retain(|&owner| owner != heir);
        next[slot].insert(0, heir);
        next[slot].truncate(self.faults.replicas);
        self.targets.push(next);
        self.adopt_targets(heir);
    }

    /// Who acts for some slot finds a copy of it to be spoilt: that of a peer, or its own.
    pub(super) fn doubt(&mut self) {
        let slot = Slot::new(self.random.u16(0..self.slots)).expect("the ring has this slot");
        let acts = |&at: &usize| self.decides(at) && self.nodes[at].acts(slot);
        let acting: Vec<usize> = (0..self.nodes.len()).filter(acts).collect();
        let Some(at) = self.random.choice(acting) else { return };
        let others: Vec<Peer> = self.nodes[at].copies.slots[slot.index()].counting().iter().collect();
        let Some(other) = self.random.choice(others) else { return };
        let here = self.random.bool();
        note!(self, "n{at} finds {slot:?} spoilt {}", if here { "here".to_owned() } else { format!("at {other:?}") });
        self.counts.doubts += 1;
        let copies = if here { PeerSet::EMPTY } else { [other].into_iter().collect() };
        self.drive(at, |control, copy| control.handle(Input::Spoilt { slot, copies, here }, copy));
    }

    /// A process ends. Effects that it has sent may still arrive, until the receiver sees that the session is over.
    pub(super) fn stop(&mut self, at: usize) {
        for other in 0..self.nodes.len() {
            if other != at {
                let late = self.random.usize(0..4);
                self.network.lose(at, other, late);
                self.network.lose(other, at, 0);
                self.nodes[other].sessions[at].broken = true;
            }
        }
        self.observe_end(at);
        self.roles[at].fill(Role::Absent);
        let node = &self.nodes[at];
        let mut blank = self.blank(at, node.id, node.boot + 1, self.nodes.len());
        // Sessions of different boots are different sessions.
        blank.sessions.iter_mut().for_each(|session| session.name = u64::from(blank.boot) << 32);
        self.nodes[at] = SimNode { standing: node.standing, up: false, ..blank };
    }

    pub(super) fn restart(&mut self, at: usize) {
        note!(self, "n{at} starts, empty");
        self.nodes[at].up = true;
        for other in 0..self.nodes.len() {
            if other != at && self.network.is_up(at, other) {
                // What the former boot sent belongs to sessions that are over.
                self.network.lose(at, other, 0);
                self.greet(at, other);
            }
        }
        self.adopt_targets(at);
    }

    /// A node stands still: it neither takes in, nor sends, nor executes; or only its machine is late. Others may give it
    /// up meanwhile; then it wakes up in the belief that nothing has happened.
    pub(super) fn pause(&mut self) {
        let at = self.random.usize(0..self.nodes.len());
        if !self.runs(at) {
            return;
        }
        let longest = if self.faults.long_pauses { 80 << self.random.u32(0..4) } else { 80 };
        let until = self.step + self.random.usize(10..longest);
        self.counts.pauses += 1;
        if self.random.bool() {
            note!(self, "the machine of n{at} hears nothing until {until}");
            self.deaf[at] = until;
        } else {
            note!(self, "n{at} stands still until {until}");
            self.paused[at] = until;
        }
        if !self.faults.suspicion {
            return;
        }
        for other in 0..self.nodes.len() {
            if other != at && self.network.is_up(at, other) && self.random.u8(0..3) > 0 {
                self.break_link(at, other);
                self.plan.push((until, at, other, Planned::Heal));
            }
        }
    }

    /// A node wakes up to sessions that ended while it stood still: it acts for nothing until it has heard who does.
    pub(super) fn lapse(&mut self) {
        let at = self.random.usize(0..self.nodes.len());
        if !self.decides(at) {
            return;
        }
        note!(self, "n{at} finds that it stood still");
        self.counts.lapses += 1;
        let until = self.step + self.random.usize(5..100);
        self.plan.push((until, at, at, Planned::ActAgain));
        self.drive(at, |control, copies| control.handle(Input::Lapsed(true), copies));
    }

    /// A node that lapsed has heard who acts, or waits no longer. So has one that began anew meanwhile.
    pub(super) fn act_again(&mut self, at: usize) {
        if self.nodes[at].up {
            self.drive(at, |control, copies| control.handle(Input::Lapsed(false), copies));
        }
    }

    /// One direction of a stream stands still and loses nothing.
    pub(super) fn stall(&mut self) {
        let (from, to) = self.pair();
        let stream = STREAMS[self.random.usize(0..STREAMS.len())];
        let until = self.step + self.random.usize(10..120);
        note!(self, "{stream:?} from n{from} to n{to} stands still until {until}");
        self.counts.pauses += 1;
        self.network.stall(from, to, stream, until);
    }

    /// A copy loses an entry, by a mistake of the store say: entries and fold know, the context does not.
    pub(super) fn lose_entry(&mut self) {
        let slot = self.random.usize(0..self.slots.into());
        let Some(at) = self.random_holder() else { return };
        let copy = &mut self.nodes[at].copies.slots[slot];
        let keys: Vec<_> = copy.entries().entries.keys().cloned().collect();
        let Some(key) = self.random.choice(keys) else { return };
        let (entries, fold) = copy.entries_mut();
        entries.lose(&key, fold);
        self.counts.lost += 1;
        note!(self, "n{at} s{slot} loses {key:?}");
    }

    pub(super) fn notice_or_restart(&mut self) {
        let (a, b) = self.pair();
        if self.nodes[a].up {
            self.notice(a, b);
            self.notice(b, a);
        } else {
            self.come_back(a);
        }
    }

    /// A node that is down comes back, unless it was about to leave.
    pub(super) fn come_back(&mut self, at: usize) {
        match self.nodes[at].standing {
            Standing::Member => self.restart(at),
            Standing::Leaving => self.nodes[at].standing = Standing::Gone,
            Standing::Waiting | Standing::Gone => {}
        }
    }

    /// A node finds out that a session is over, and in the end that the other one is no member any more.
    pub(super) fn notice(&mut self, at: usize, other: usize) {
        if !self.decides(at) {
            return;
        }
        let gone = self.nodes[other].standing == Standing::Gone;
        let node = &mut self.nodes[at];
        let peer = Peer(other as u8);
        let session = &mut node.sessions[other];
        if std::mem::take(&mut session.broken) {
            let was_open = session.open;
            *session = Session { name: session.name, ..Session::default() };
            if was_open {
                self.mark_clean(at, other);
                self.drive(at, |control, copies| control.handle(Input::SessionDown { peer }, copies));
            }
            // The receiving ends of its streams learn of it last.
            if !self.nodes[other].up || !self.network.is_up(at, other) {
                for stream in [Stream::Lane, Stream::Bulk, Stream::Urgent] {
                    while let Some(packet) = self.network.take_from(other, at, stream) {
                        self.deliver(other, at, packet);
                    }
                }
                self.network.lose_control(other, at);
            }
        } else if gone && self.nodes[at].forgotten.insert(peer) {
            self.drive(at, |control, copies| control.handle(Input::Forgotten { peer }, copies));
        }
    }
}

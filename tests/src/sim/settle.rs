//! The end of a run: everything heals and must become as it should be, and then be still.

use ring::{control::Input, id::Peer};

use super::{
    node::Standing,
    world::{World, note},
};
use crate::invariants::{self, Violation};

/// Within so many rounds everything must have settled.
const MOST_ROUNDS: usize = 60;

/// In every so many rounds copies are compared.
const COMPARE_EVERY: usize = 4;

/// So many rounds they stay apart after that.
const APART_ROUNDS: usize = 6;

/// The same where two nodes do not reach each other.
const MOST_APART_ROUNDS: usize = 40;

/// So many packets arrive in one round at most.
const MOST_PACKETS: usize = 3000;

impl World {
    /// Everything heals and settles; then the copies must agree, nothing that was promised may be missing, and
    /// nothing more may be said about it.
    pub(super) fn settle(&mut self) {
        if self.violation.is_some() {
            return;
        }
        note!(self, "--- quiet");
        self.quiet = true;
        if self.counts.lapses > 0 {
            (0..self.nodes.len()).for_each(|at| self.act_again(at));
        }
        if self.faults.ends_apart {
            self.settle_apart();
        }
        self.heal_all(None);
        // The last words of a node that died are found by the rounds of compare only; everything else must come about
        // without them.
        if self.counts.crashes == 0 {
            self.settle_until(invariants::nothing_missing, false);
        }
        self.settle_until(invariants::convergence, true);
        self.check(invariants::nothing_lost);
        self.check(invariants::what_nothing_removed_is_held);
        self.be_still();
    }

    /// Everything heals but the link between two nodes that hold slots. Whoever acts then acts alone, and is found by all.
    fn settle_apart(&mut self) {
        let seed = self.random.u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let slot = random.usize(0..self.slots.into());
        let Some(&[a, b, ..]) = self.targets.last().map(|targets| &targets[slot][..]) else { return };
        let is_member = |at: usize| self.nodes[at].standing == Standing::Member;
        if (0..self.nodes.len()).filter(|&at| is_member(at)).count() < 3 {
            return;
        }
        note!(self, "--- quiet, but n{a} and n{b} do not reach each other");
        self.heal_all(Some((a, b)));
        if self.network.is_up(a, b) {
            self.break_link(a, b);
        }
        for round in 0..MOST_APART_ROUNDS {
            self.compares = round % COMPARE_EVERY == 0;
            self.quiet_round();
            self.gossip(a, b);
            self.gossip(b, a);
            if self.violation.is_some() || (round > 4 && invariants::alone_though_apart(self).is_ok()) {
                break;
            }
        }
        self.check(invariants::alone_though_apart);
        // The other one is to act from now on, and cannot ask.
        let mut next = self.targets.last().cloned().expect("a run begins with targets");
        next[slot].swap(0, 1);
        self.targets.push(next);
        self.is_apart = self.violation.is_none();
        for _ in 0..APART_ROUNDS {
            self.quiet_round();
            self.gossip(a, b);
            self.gossip(b, a);
        }
        self.is_apart = false;
        self.check(invariants::alone_though_apart);
    }

    /// What a node is ready for gets round by way of others.
    fn gossip(&mut self, from: usize, to: usize) {
        let (peer, id, ready) = (Peer(from as u8), self.nodes[from].id, self.nodes[from].ready.clone());
        self.drive(to, |control, copies| control.handle(Input::Ready { peer, id, ready }, copies));
    }

    fn heal_all(&mut self, but: Option<(usize, usize)>) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if but != Some((a, b)) && but != Some((b, a)) {
                    self.heal(a, b);
                }
            }
        }
        for at in 0..self.nodes.len() {
            if !self.nodes[at].up {
                self.come_back(at);
            }
        }
    }

    fn settle_until(&mut self, goal: fn(&World) -> Result<(), Violation>, compares: bool) {
        let mut settled = Err(Violation::new("convergence", "no round was run".into()));
        for round in 0..MOST_ROUNDS {
            self.compares = compares && round % COMPARE_EVERY == 0;
            self.quiet_round();
            settled = goal(self);
            if self.violation.is_some() || (round > 4 && settled.is_ok()) {
                break;
            }
        }
        self.check(|_| settled.clone());
    }

    fn be_still(&mut self) {
        let before = self.counts.fetches;
        self.compares = true;
        for _ in 0..2 {
            self.quiet_round();
        }
        let fetches = self.counts.fetches - before;
        self.check(|_| invariants::still(fetches));
    }

    fn quiet_round(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..self.nodes.len() {
                if a != b {
                    self.notice(a, b);
                }
            }
        }
        self.adopt_targets_everywhere();
        self.round();
    }

    /// Every node looks around once, then everything on its way arrives and is heard.
    pub(super) fn round(&mut self) {
        for at in 0..self.nodes.len() {
            self.tick(at);
        }
        for _ in 0..MOST_PACKETS {
            let (arrives, heard) = (self.network.busy() > 0, self.something_to_hear());
            if !(arrives || heard) || self.violation.is_some() {
                break;
            }
            if heard && (!arrives || self.random.bool()) {
                self.hear_one();
            } else {
                self.deliver_one();
            }
        }
    }

    /// Whether every node that leaves has left.
    pub fn all_left(&self) -> bool {
        self.nodes.iter().all(|node| node.standing != Standing::Leaving)
    }
}

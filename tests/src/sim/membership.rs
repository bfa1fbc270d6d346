//! Who belongs to the cluster and where slots should live. Membership itself is no part of this simulation: targets
//! change at will, and every node learns of it at a time of its own.

use ring::{
    control::{Input, Targets},
    id::Peer,
};

use super::{
    node::Standing,
    world::{World, note},
};

impl World {
    /// Nodes of this standing.
    fn standing(&self, standing: Standing) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].standing == standing).collect()
    }

    /// New targets for some slots, and for all that live on a node which is no member.
    pub(super) fn draw_targets(&mut self) {
        let members = self.standing(Standing::Member);
        let mut next = self.targets.last().cloned().unwrap_or_else(|| vec![Vec::new(); self.slots.into()]);
        let only = (!self.targets.is_empty() && self.random.bool()).then(|| self.random.usize(0..next.len()));
        let back = self.faults.fickle && self.targets.len() > 1 && self.random.bool();
        for (number, owners) in next.iter_mut().enumerate() {
            let stays = only.is_some_and(|only| only != number);
            let is_member = |owner: &usize| members.contains(owner);
            if stays && owners.iter().all(is_member) {
                continue;
            }
            let former = &self.targets.iter().rev().nth(1).map(|targets| &targets[number]);
            match former {
                Some(former) if back && former.iter().all(is_member) => owners.clone_from(former),
                Some(_) if self.faults.contested && owners.iter().all(is_member) => self.random.shuffle(owners),
                _ => {
                    *owners = self.random.choose_multiple(members.iter().copied(), self.faults.replicas);
                    self.random.shuffle(owners);
                }
            }
        }
        note!(self, "targets {next:?}");
        self.renew_all_promises();
        self.targets.push(next);
    }

    pub(super) fn move_slots(&mut self) {
        self.draw_targets();
        let first = self.random.usize(0..self.nodes.len());
        self.adopt_targets(first);
    }

    pub(super) fn learn_targets(&mut self) {
        let node = self.random.usize(0..self.nodes.len());
        self.adopt_targets(node);
    }

    pub(super) fn adopt_targets(&mut self, at: usize) {
        let latest = self.targets.len() - 1;
        if !self.decides(at) || self.nodes[at].targets == latest {
            return;
        }
        self.nodes[at].targets = latest;
        let mut targets = Targets::none(self.slots.into());
        for (slot, owners) in self.every_slot().zip(&self.targets[latest]) {
            targets.set(slot, owners.iter().map(|&owner| Peer(owner as u8)));
        }
        self.drive(at, |control, copies| control.handle(Input::Targets(targets), copies));
    }

    pub(super) fn adopt_targets_everywhere(&mut self) {
        for at in 0..self.nodes.len() {
            self.adopt_targets(at);
        }
    }

    /// One or two nodes that were not there come, with identities never heard of.
    pub(super) fn join(&mut self) {
        let mut waiting = self.standing(Standing::Waiting);
        waiting.truncate(self.random.usize(1..3));
        if waiting.is_empty() {
            return;
        }
        waiting.into_iter().for_each(|at| self.begin(at));
        self.move_slots();
    }

    fn begin(&mut self, at: usize) {
        self.counts.joins += 1;
        self.nodes[at].standing = Standing::Member;
        self.joined.push(at);
        self.restart(at);
    }

    /// In one change a node joins and another one leaves, often one that has joined just before and may not have what it
    /// came for.
    pub(super) fn swap(&mut self) {
        let members = self.standing(Standing::Member);
        let comes = self.standing(Standing::Waiting).first().copied();
        if members.len() + usize::from(comes.is_some()) <= self.faults.replicas {
            return;
        }
        let last = self.joined.last().copied().filter(|last| members.contains(last));
        let leaves = last.filter(|_| self.random.bool()).or_else(|| self.random.choice(members));
        self.counts.swaps += 1;
        comes.into_iter().for_each(|at| self.begin(at));
        self.send_off(leaves.into_iter().collect());
        let first = self.random.usize(0..self.nodes.len());
        self.adopt_targets(first);
    }

    /// One or two nodes are told to leave: no slot is placed on them from now on.
    pub(super) fn leave(&mut self) {
        let members = self.standing(Standing::Member);
        let wanted = self.random.usize(1..3).min(members.len().saturating_sub(self.faults.replicas));
        let leavers = self.random.choose_multiple(members, wanted);
        self.send_off(leavers);
    }

    fn send_off(&mut self, leavers: Vec<usize>) {
        if leavers.is_empty() {
            return;
        }
        for &at in &leavers {
            note!(self, "n{at} leaves");
            self.counts.leaves += 1;
            self.nodes[at].standing = Standing::Leaving;
        }
        self.draw_targets();
        for at in leavers {
            self.adopt_targets(at);
        }
    }

    /// A node that leaves ends when it holds nothing any more, and knows that nothing is placed on it.
    pub(super) fn exit_if_done(&mut self, at: usize) {
        let node = &self.nodes[at];
        if node.standing != Standing::Leaving || !node.up || node.control.holdings().held > 0 {
            return;
        }
        let placed = self.targets.get(node.targets).is_none_or(|targets| targets.iter().flatten().any(|&o| o == at));
        if !placed {
            note!(self, "n{at} is gone");
            self.stop(at);
            self.nodes[at].standing = Standing::Gone;
        }
    }
}

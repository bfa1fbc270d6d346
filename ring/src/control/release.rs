//! Release: how a node comes to hold a slot no longer.
//!
//! A holder that is no target first becomes *releasing*, from which moment its acknowledgements count no more, and
//! then asks each target, and who acts, with its own context. A target grants if it is ready and has all of that; who acts
//! grants if it counts on as many copies without this one as there are targets, so that it never counts on too few
//! between the word of the old holder that it goes and the word of the new one that it is ready. Only when each has granted the holder forgets,
//! entries and context. Nothing is ever deleted on the word of gossip.

use super::{Body, Control, Slots};
use crate::{
    context::SlotContext,
    id::{Peer, PeerSet},
    replica::Role,
    slot::Slot,
};

/// A release under way.
#[derive(Debug)]
pub(super) struct Release {
    id: u64,
    asked: PeerSet,
    waiting: PeerSet,
}

impl Release {
    pub(super) fn new(id: u64, asked: PeerSet) -> Release {
        Release { id, asked, waiting: asked }
    }
}

impl Control {
    pub(super) fn consider_release<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let state = &self.slots[slot.index()];
        if state.role != Role::Following || state.acquire.is_some() || self.targets.contains(slot, self.me) {
            return;
        }
        let targets: PeerSet = self.targets.owners(slot).collect();
        let ready = self.peers.ready(slot).intersection(self.peers.sessions());
        if targets.is_empty() || !targets.difference(ready).is_empty() {
            return;
        }
        let in_the_way = |&acting: &Peer| self.peers.in_session(acting) && !targets.contains(acting);
        let acting = state.acting.filter(in_the_way);
        let id = self.new_id();
        if !self.mutations.release_counts {
            store.with(slot, |replica| replica.start_release());
        }
        let seen = store.with(slot, |replica| replica.seen().clone());
        self.set_role(slot, Role::Releasing);
        self.slots[slot.index()].release = Some(Release::new(id, targets.union(acting.into_iter().collect())));
        if self.mutations.release_without_asking {
            return self.forget(slot, store);
        }
        for target in targets.iter() {
            self.send(target, slot, Body::MayRelease { id, seen: seen.clone() });
        }
        if let Some(acting) = acting {
            self.send(acting, slot, Body::MaySpare { id });
        }
    }

    pub(super) fn on_may_release<S: Slots>(
        &mut self,
        slot: Slot,
        from: Peer,
        id: u64,
        seen: &SlotContext,
        store: &mut S,
    ) {
        let has_all = store.with(slot, |replica| replica.seen().dominates(seen));
        let ready = self.role(slot).is_ready() && !self.slots[slot.index()].spoilt;
        if ready && !has_all {
            self.repair(slot, from, store);
        }
        let granted = ready && has_all && self.spares(slot, from);
        self.send(from, slot, Body::Release { id, granted });
    }

    pub(super) fn on_may_spare(&mut self, slot: Slot, from: Peer, id: u64) {
        let granted = self.spares(slot, from);
        self.send(from, slot, Body::Release { id, granted });
    }

    /// Whether this node, if it acts, counts on enough copies without that peer's and without those that it spared before.
    /// While it is about to act another one may still do so, of which the peer has not asked: then nothing is spared.
    fn spares(&mut self, slot: Slot, peer: Peer) -> bool {
        if self.mutations.releases_without_who_acts {
            return true;
        }
        if self.role(slot) != Role::Acting {
            return self.slots[slot.index()].acquire.is_none();
        }
        let targets: PeerSet = self.targets.owners(slot).collect();
        let mut others = self.peers.ready(slot).intersection(self.peers.sessions());
        let state = &mut self.slots[slot.index()];
        others = others.difference(state.spared.difference(targets));
        others.remove(peer);
        let enough = others.len() + 1 >= targets.len();
        if enough {
            state.spared.insert(peer);
        }
        enough
    }

    pub(super) fn on_release<S: Slots>(&mut self, slot: Slot, from: Peer, id: u64, granted: bool, store: &mut S) {
        let Some(release) = &mut self.slots[slot.index()].release else { return };
        if release.id != id {
            return;
        }
        if !granted {
            return self.end_release(slot, store);
        }
        release.waiting.remove(from);
        if release.waiting.is_empty() {
            self.forget(slot, store);
        }
    }

    /// A session ended. If its peer had granted already, its copy may be gone with it: nothing is forgotten on its word.
    pub(super) fn release_lost<S: Slots>(&mut self, slot: Slot, peer: Peer, store: &mut S) {
        let asked = |release: &Release| release.asked.contains(peer);
        if self.slots[slot.index()].release.as_ref().is_some_and(asked) {
            self.end_release(slot, store);
        }
    }

    /// Denied or no longer wanted: the copy counts again.
    pub(super) fn end_release<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        self.slots[slot.index()].release = None;
        store.with(slot, |replica| replica.stop_release());
        self.set_role(slot, Role::Following);
    }

    pub(super) fn forget<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let state = &mut self.slots[slot.index()];
        state.release = None;
        state.spoilt = false;
        state.repairs.clear();
        state.pullers = PeerSet::EMPTY;
        store.with(slot, |replica| replica.forget());
        self.set_role(slot, Role::Absent);
    }
}

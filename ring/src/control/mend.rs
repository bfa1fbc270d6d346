//! Mend: what becomes of a copy that is not what its context says.
//!
//! Contexts and folds say what a copy was told. What got lost or changed afterwards, by a bit that flipped or by a mistake
//! of ours, they do not say: whoever compares them takes an entry that is not there for one that was removed. Only who
//! looks through all entries of two copies, between the same two effects, can tell. No snapshot mends such a copy, since
//! its context covers what it lacks; so it is forgotten as a whole, entries and context, and pulled again.
//!
//! A spoilt copy asks who acts, with its own context, whether it may go, as in a release, and is forgotten when that one has
//! all of it. Who acts on a spoilt copy has others take over first, and acts until one does. Nobody acts anew on a spoilt
//! copy, or lets another one go, while there is a better one in reach; if there is none, it is taken as it is.
//!
//! ```text
//!     who acts                        a peer whose copy is wrong
//!        │ ── PullAnew ──────────────► │
//!        │ ◄── MayMend(its context) ── │ does not count any more
//!        │ ── Release(granted) ──────► │ forgets, pulls
//!
//!     who acts on a wrong copy        a peer
//!        │ ── TakeOver ──────────────► │ acquires, as ever
//!        │ ── MayMend(its context) ──► │
//! ```

use super::{Body, Control, Slots, release::Release};
use crate::{
    context::SlotContext,
    id::{Peer, PeerSet},
    replica::Role,
    slot::Slot,
};

impl Control {
    /// Who acts has looked through the copies. Whoever acts by now looks for itself.
    pub(super) fn on_spoilt<S: Slots>(&mut self, slot: Slot, copies: PeerSet, here: bool, store: &mut S) {
        if self.role(slot) != Role::Acting {
            return;
        }
        if here {
            self.doubt(slot);
            self.consider_mend(slot, store);
        } else {
            copies.intersection(self.better(slot)).iter().for_each(|peer| self.send(peer, slot, Body::PullAnew));
        }
    }

    pub(super) fn on_pull_anew<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let state = &self.slots[slot.index()];
        if state.role == Role::Following && state.acquire.is_none() && state.acting == Some(from) {
            self.doubt(slot);
            self.consider_mend(slot, store);
        }
    }

    fn doubt(&mut self, slot: Slot) {
        let state = &mut self.slots[slot.index()];
        self.counts.spoilt += u64::from(!core::mem::replace(&mut state.spoilt, true));
    }

    pub(super) fn consider_mend<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let state = &self.slots[slot.index()];
        if !state.spoilt || state.acquire.is_some() {
            return;
        }
        let better = self.better(slot);
        if better.is_empty() {
            self.slots[slot.index()].spoilt = false;
            return;
        }
        // Who acts is told no, and asked again, until somebody else does.
        let acting = state.acting.filter(|&acting| self.peers.in_session(acting));
        match (state.role, acting) {
            (Role::Acting, _) | (Role::Following, None) => {
                // One at a time, each time another one.
                let turn = self.new_id() as usize % better.len();
                better.iter().nth(turn).into_iter().for_each(|peer| self.send(peer, slot, Body::TakeOver));
            }
            (Role::Following, Some(acting)) => self.ask_to_mend(slot, acting, store),
            (Role::Absent | Role::Pulling | Role::Releasing, _) => {}
        }
    }

    fn ask_to_mend<S: Slots>(&mut self, slot: Slot, acting: Peer, store: &mut S) {
        let id = self.new_id();
        let seen = store.with(slot, |replica| {
            replica.start_release();
            replica.seen().clone()
        });
        self.set_role(slot, Role::Releasing);
        if self.mutations.mends_without_asking {
            return self.forget(slot, store);
        }
        self.slots[slot.index()].release = Some(Release::new(id, [acting].into_iter().collect()));
        self.send(acting, slot, Body::MayMend { id, seen });
    }

    pub(super) fn on_take_over<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let state = &mut self.slots[slot.index()];
        state.mending.insert(from);
        if state.role == Role::Acting {
            return self.send(from, slot, Body::Acting);
        }
        if state.role == Role::Releasing && !state.spoilt {
            self.end_release(slot, store);
        }
        let state = &self.slots[slot.index()];
        if state.role == Role::Following && !state.spoilt && state.acquire.is_none() && !self.must_enquire(slot, true) {
            self.begin_acquire(slot, store);
        }
    }

    /// Whether a peer may forget its copy: it may if this node acts, has all of it, and what it has is right, as far as
    /// anybody's is.
    pub(super) fn on_may_mend<S: Slots>(&mut self, slot: Slot, from: Peer, id: u64, seen: &SlotContext, store: &mut S) {
        self.slots[slot.index()].mending.insert(from);
        self.consider_mend(slot, store);
        let acts = self.role(slot) == Role::Acting;
        let has_all = acts && store.with(slot, |replica| replica.seen().dominates(seen));
        if acts && !has_all {
            self.repair(slot, from, store);
        }
        let state = &mut self.slots[slot.index()];
        let granted = has_all && !state.spoilt;
        if granted {
            // It goes before it says so.
            state.spared.insert(from);
        }
        self.send(from, slot, Body::Release { id, granted });
    }

    /// Those who are ready, in session, and neither going nor known to be spoilt.
    fn better(&self, slot: Slot) -> PeerSet {
        let state = &self.slots[slot.index()];
        let ready = self.peers.ready(slot).intersection(self.peers.sessions());
        ready.difference(state.spared).difference(state.mending)
    }
}

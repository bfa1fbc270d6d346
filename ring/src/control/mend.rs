//! Mend: what becomes of a copy that is not what its context says.
//!
//! Contexts and folds say what a copy was told. What got lost or changed afterwards, by a bit that flipped or by a mistake
//! of ours, they do not say: whoever compares them takes an entry that is not there for one that was removed. Only who
//! looks through all entries of two copies, between the same two effects, can tell. No snapshot mends such a copy, since
//! its context covers what it lacks; so it is forgotten as a whole, entries and context, and pulled again.
//!
//! A spoilt copy is withdrawn: it serves nobody, so that another one acts. Then it asks who acts, with its own context,
//! whether it may go, as in a release, and is forgotten when that one has all of it. Without another copy in reach it
//! serves again, for want of a better one.
//!
//! ```text
//!     who acts                        a peer whose copy is wrong
//!        │ ── PullAnew ──────────────► │ withdraws it
//!        │ ◄── MayMend(its context) ── │
//!        │ ── Release(granted) ──────► │ forgets, pulls
//! ```

use super::{Body, Control, Output, Slots, release::Release};
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
        let others = self.ready_in_session(slot);
        if !here {
            copies.intersection(others).iter().for_each(|peer| self.send(peer, slot, Body::PullAnew));
        } else if !others.difference(copies).is_empty() {
            self.stop_acting(slot, store);
            self.withdraw(slot);
        }
        self.update_route(slot);
    }

    pub(super) fn on_pull_anew<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let state = &self.slots[slot.index()];
        if state.role == Role::Following && state.acquire.is_none() && state.acting == Some(from) {
            self.withdraw(slot);
            self.consider_mend(slot, store);
        }
    }

    fn withdraw(&mut self, slot: Slot) {
        self.counts.spoilt += 1;
        self.slots[slot.index()].spoilt = true;
        self.out.push_back(Output::Publish { slot, ready: false });
    }

    pub(super) fn consider_mend<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let others = self.ready_in_session(slot);
        let state = &mut self.slots[slot.index()];
        if !state.spoilt || state.role != Role::Following {
            return;
        }
        if others.is_empty() {
            state.spoilt = false;
            return self.out.push_back(Output::Publish { slot, ready: true });
        }
        if state.acquire.is_some() {
            return;
        }
        // Who does not act says no, and is asked again.
        let acting = state.acting.filter(|&acting| self.peers.in_session(acting));
        let Some(acting) = acting.or_else(|| self.first_in_session(slot)) else { return };
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

    /// Whether a peer may forget its copy: it may if this node acts and has all of it.
    pub(super) fn on_may_mend<S: Slots>(&mut self, slot: Slot, from: Peer, id: u64, seen: &SlotContext, store: &mut S) {
        let acts = self.role(slot) == Role::Acting;
        let has_all = acts && store.with(slot, |replica| replica.seen().dominates(seen));
        if acts && !has_all {
            self.repair(slot, from, store);
        }
        self.send(from, slot, Body::Release { id, granted: has_all });
    }

    fn ready_in_session(&self, slot: Slot) -> PeerSet {
        self.peers.ready(slot).intersection(self.peers.sessions())
    }
}

//! Pull: how a node comes to hold a slot.
//!
//! ```text
//!        puller                          who acts
//!          │ ── Register ──────────────► │ ships effects to the puller from now on
//!          │ ◄── Registered ───────────── │
//!          │ ── fetch a snapshot ──────► │ entries and context, at one moment
//!          │ joins it, replays what arrived meanwhile
//!        ready
//! ```
//!
//! Effects that arrive before the snapshot are parked. Applying them at once beside the snapshot would bring deleted
//! keys back. The copy is ready when nothing is parked any more: it then has everything that was executed before the
//! registration and, in order, what came after. What stays parked came from elsewhere, or found no room: whoever sent
//! it is asked for its copy too. What then is missing still are the last words of a node that is gone.
//!
//! Only who acts registers others. If another node acquires meanwhile it inherits them, and the pull goes on.
//!
//! A slot that nobody holds is opened empty by the first of its targets, once every member that slots are placed on is
//! in session and none of them is ready for it.

use super::{Body, Control, FetchId, Slots, Urgency};
use crate::{
    id::{NodeId, Peer},
    replica::{Joined, Role},
    slot::Slot,
};

/// A pull under way.
#[derive(Debug)]
pub(super) struct Pull {
    from: Peer,
    /// The snapshot that was asked for last, and whose it is: the source's first, perhaps those of others after it.
    fetch: Option<(FetchId, Peer)>,
    /// The source's snapshot is in.
    is_joined: bool,
    /// Somebody who was asked had handed the slot on, so who serves it was asked.
    is_handed_on: bool,
}

impl Pull {
    pub(super) fn waits_for(&self, fetch: FetchId) -> bool {
        self.fetch.is_some_and(|(waited_for, _)| waited_for == fetch)
    }
}

impl Control {
    /// Begins what is wanted, as much as may be under way at a time.
    pub(super) fn begin_pulls<S: Slots>(&mut self, store: &mut S) {
        while self.pulls < self.pull_window
            && let Some(slot) = self.wanted.pop_front()
        {
            if self.role(slot) == Role::Absent {
                self.consider_pull(slot, store);
                self.update_route(slot);
            }
        }
    }

    /// Somebody acts: who waited for that need not wait for the next tick, but comes after what is more urgent.
    pub(super) fn pull_from_acting<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        if self.role(slot) == Role::Absent && self.targets.contains(slot, self.me) {
            self.wanted.push_back(slot);
            self.begin_pulls(store);
        }
    }

    pub(super) fn consider_pull<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        if !self.targets.contains(slot, self.me) {
            return;
        }
        match self.source(slot) {
            Some(from) if self.pulls < self.pull_window => self.begin_pull(slot, from, store),
            Some(_) => {}
            None => self.consider_open_empty(slot, store),
        }
    }

    /// Whom to register with: who acts, as far as known or heard, else the first that serves.
    fn source(&self, slot: Slot) -> Option<Peer> {
        let state = &self.slots[slot.index()];
        let in_session = |peer: &Peer| self.peers.in_session(*peer);
        let known = state.acting.filter(in_session).or(state.hint.filter(in_session));
        known.or_else(|| self.first_in_session(slot))
    }

    fn begin_pull<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let origin = self.draw_origin();
        store.with(slot, |replica| replica.open(origin));
        self.set_role(slot, Role::Pulling);
        let state = &mut self.slots[slot.index()];
        state.hint = None;
        state.pull = Some(Pull { from, fetch: None, is_joined: false, is_handed_on: false });
        self.pulls += 1;
        self.send(from, slot, Body::Register);
    }

    fn consider_open_empty<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let nobody_holds = self.peers.ready(slot).is_empty();
        if !self.may_open || !nobody_holds || self.targets.owners(slot).next() != Some(self.me) {
            return;
        }
        let origin = self.draw_origin();
        store.with(slot, |replica| replica.open_empty(origin));
        self.set_role(slot, Role::Following);
        self.update_peers(slot, store);
        self.consider_acquire(slot, store);
    }

    pub(super) fn on_register<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let state = &mut self.slots[slot.index()];
        if state.role == Role::Acting {
            state.pullers.insert(from);
            self.update_peers(slot, store);
            self.send(from, slot, Body::Registered);
        } else {
            let other = state.acting.filter(|&acting| acting != from && self.peers.in_session(acting));
            let acting = other.map(|acting| self.peers.id(acting));
            self.send(from, slot, Body::NotActing { acting });
        }
    }

    pub(super) fn on_registered<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let Some(pull) = &self.slots[slot.index()].pull else { return };
        if pull.from != from || pull.fetch.is_some() {
            return;
        }
        self.pull_snapshot(slot, from, store);
    }

    pub(super) fn on_not_acting<S: Slots>(&mut self, slot: Slot, from: Peer, acting: Option<NodeId>, store: &mut S) {
        self.pull_lost(slot, from, store);
        let state = &mut self.slots[slot.index()];
        state.acting = state.acting.filter(|&acting| acting != from);
        state.hint = acting.and_then(|id| self.peers.peer(id));
    }

    pub(super) fn pull_fetched<S: Slots>(&mut self, slot: Slot, joined: Option<Joined>, store: &mut S) {
        let Some(pull) = &mut self.slots[slot.index()].pull else { return };
        let from = pull.from;
        // The first snapshot is the source's, and nothing goes without it.
        pull.is_joined |= joined.is_some();
        if !pull.is_joined {
            return self.pull_lost(slot, from, store);
        }
        if joined.is_none()
            && !core::mem::replace(&mut pull.is_handed_on, true)
            && let Some(serves) = self.source(slot)
        {
            return self.pull_snapshot(slot, serves, store);
        }
        // Asked and done under one hold: what arrives a moment later is taken in by a ready copy. What is missing when
        // everybody was asked nobody in reach has.
        let sessions = self.peers.sessions();
        let unasked = store.with(slot, |replica| {
            let unasked = replica.unasked().intersection(sessions).iter().next();
            if unasked.is_none() {
                if replica.misses_something() {
                    replica.drop_parked();
                }
                replica.become_ready();
            }
            unasked
        });
        match unasked {
            Some(sender) => self.pull_snapshot(slot, sender, store),
            None => self.end_pull(slot, store),
        }
    }

    /// The source is gone or refused: everything is forgotten, and the next tick begins anew under a new tenure.
    pub(super) fn pull_lost<S: Slots>(&mut self, slot: Slot, source: Peer, store: &mut S) {
        if self.slots[slot.index()].pull.as_ref().is_some_and(|pull| pull.from == source) {
            self.slots[slot.index()].pull = None;
            self.pulls -= 1;
            store.with(slot, |replica| replica.forget());
            self.set_role(slot, Role::Absent);
        }
    }

    /// A session ended: of the source, or of another node that was asked for its copy.
    pub(super) fn pull_session_lost<S: Slots>(&mut self, slot: Slot, peer: Peer, store: &mut S) {
        self.pull_lost(slot, peer, store);
        let asked = self.slots[slot.index()].pull.as_ref().and_then(|pull| pull.fetch);
        if asked.is_some_and(|(_, from)| from == peer) {
            self.pull_fetched(slot, None, store);
        }
    }

    fn pull_snapshot<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let fetch = self.fetch(slot, from, Urgency::Usual, store);
        if let Some(pull) = &mut self.slots[slot.index()].pull {
            pull.fetch = Some((fetch, from));
        }
    }

    /// The copy is ready.
    fn end_pull<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        self.slots[slot.index()].pull = None;
        self.pulls -= 1;
        self.set_role(slot, Role::Following);
        self.update_peers(slot, store);
        self.consider(slot, store);
        self.begin_pulls(store);
    }
}

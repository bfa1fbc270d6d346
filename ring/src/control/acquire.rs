//! Acquire: the one way to become acting.
//!
//! A node that is ready and the first of S(s) that it can reach asks every member in session, not only those that its
//! view calls ready: the one who acts may be a holder of which the view knows nothing yet. Whoever is asked first
//! stops executing under the slot's lock and then answers with the digest of its copy; so there is a moment at which
//! nobody executes and everything executed before it is in the copies that are asked about. The asker waits for what it
//! lacks, and only then it acts. Mostly that is on its way: who has something else than the asker said marks its lane,
//! and what is lacking when the mark is in is fetched. With the answer come the peers that were registered for effects,
//! so that none of them misses what is executed next. If the session of a member ends that had not told all that it had,
//! everybody is asked again. An attempt that is given up keeps the copies that are on their way, as repairs.
//!
//! ```text
//!        asker                         each member in session
//!          │ ── Acquire ─────────────► │ stops, from now on passes commands on to the asker
//!          │ ◄── Stopped(has) ──────── │
//!          │ ◄══ effects, a mark ═════ │   by the lane, if it has something else
//!          │ ── fetch if it lacks ───► │
//!        acts
//! ```
//!
//! When two ask at once the smaller node id goes on and the other gives up. Two that act and hear of each other, after
//! a split say, both stop, and the first of S(s) acquires.
//!
//! A node that stood still while sessions of it ended stops without being asked, says that it acts only when it has
//! acquired anew, and does not begin to before it has heard who acts now ([`crate::lapse`]).

use alloc::vec::Vec;

use super::{Body, Control, FetchId, Held, Output, Slots, Urgency};
use crate::{
    id::{NodeId, Peer, PeerSet},
    replica::{Digest, Entries, Joined, Replica, Role},
    slot::Slot,
};

/// An attempt under way.
#[derive(Debug)]
pub(super) struct Acquire {
    id: u64,
    /// What everybody was told that this copy is.
    asked: Digest,
    /// Members that have answered, and take this node for the one who acts since.
    answered: PeerSet,
    /// Members that have not answered.
    waiting: PeerSet,
    /// Members that have something that this copy lacks, which may be on its way by their lanes: before their marks.
    awaited: PeerSet,
    /// Members whose marks were in before their answers.
    marked: PeerSet,
    /// Copies that are being joined.
    joining: Vec<(FetchId, Peer)>,
    /// What those who hold the slot had when they answered.
    answers: Vec<(Peer, Held)>,
    /// Who is registered with those who answered.
    pullers: PeerSet,
}

impl Acquire {
    pub(super) fn fetches(&self) -> bool {
        !self.joining.is_empty()
    }

    pub(super) fn source_of(&self, fetch: FetchId) -> Option<Peer> {
        self.joining.iter().find(|(joining, _)| *joining == fetch).map(|&(_, from)| from)
    }
}

impl Control {
    pub(super) fn consider_acquire<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let state = &self.slots[slot.index()];
        if state.acquire.is_some() || self.first_serving(slot) != Some(self.me) || self.must_enquire(slot, false) {
            return;
        }
        self.begin_acquire(slot, store);
    }

    pub(super) fn begin_acquire<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        if self.lapsed {
            return;
        }
        let mut waiting = self.peers.sessions();
        if self.mutations.acquire_asks_ready_only {
            waiting = waiting.intersection(self.peers.ready(slot));
        }
        let id = self.new_id();
        let asked = store.with(slot, |replica| replica.digest());
        self.slots[slot.index()].acquire = Some(Acquire {
            id,
            asked,
            waiting,
            answered: PeerSet::EMPTY,
            awaited: PeerSet::EMPTY,
            marked: PeerSet::EMPTY,
            joining: Vec::new(),
            answers: Vec::new(),
            pullers: PeerSet::EMPTY,
        });
        for peer in waiting.iter() {
            self.send(peer, slot, Body::Acquire { id, mine: asked });
        }
        self.try_act(slot, store);
    }

    /// Acting lapses, or may begin again.
    pub(super) fn lapse<S: Slots>(&mut self, lapsed: bool, store: &mut S) {
        if core::mem::replace(&mut self.lapsed, lapsed) == lapsed {
            return;
        }
        if !lapsed {
            return self.tick(store);
        }
        for slot in self.every_slot() {
            self.give_up_acquire(slot);
            self.stop_acting(slot, store);
            self.update_route(slot);
        }
    }

    /// A session began in the middle of an attempt: its peer is asked as well. What it answered in a former session is
    /// void: it may have acted since.
    pub(super) fn acquire_asks(&mut self, slot: Slot, peer: Peer) {
        if let Some(acquire) = &mut self.slots[slot.index()].acquire {
            acquire.waiting.insert(peer);
            acquire.answered.remove(peer);
            acquire.marked.remove(peer);
            acquire.answers.retain(|&(answered, _)| answered != peer);
            let (id, mine) = (acquire.id, acquire.asked);
            self.send(peer, slot, Body::Acquire { id, mine });
        }
    }

    /// A session ended. If its peer had not told all that it had, it may have acted until now: what it executed is at
    /// the others, who may have answered before they got it. So they are asked again.
    pub(super) fn acquire_lost<S: Slots>(&mut self, slot: Slot, peer: Peer, store: &mut S) {
        let Some(acquire) = &self.slots[slot.index()].acquire else { return };
        let has_told = !acquire.waiting.contains(peer) && !acquire.awaited.contains(peer);
        if !has_told || acquire.joining.iter().any(|&(_, from)| from == peer) {
            self.give_up_acquire(slot);
            self.consider_acquire(slot, store);
        }
    }

    /// Whoever takes this node for the one who acts is told better: who acts may have said so before this node asked, and
    /// does not say it again. Copies that are on their way still come: what they bring mends this one.
    fn give_up_acquire(&mut self, slot: Slot) {
        let state = &mut self.slots[slot.index()];
        let Some(acquire) = state.acquire.take() else { return };
        self.say_acts_no_more(slot, acquire.answered);
        let state = &mut self.slots[slot.index()];
        if !self.mutations.given_up_attempt_forgets_fetches {
            state.repairs.extend(acquire.joining.into_iter().filter(|&(_, from)| self.peers.in_session(from)));
        }
    }

    pub(super) fn on_acquire<S: Slots>(&mut self, slot: Slot, from: Peer, (id, theirs): (u64, Digest), store: &mut S) {
        if self.slots[slot.index()].acquire.is_some() {
            if self.my_id < self.peers.id(from) {
                return self.send(from, slot, Body::Refused { id });
            }
            self.give_up_acquire(slot);
        }
        if !self.mutations.acquire_without_stop {
            self.stop_acting(slot, store);
        }
        let state = &mut self.slots[slot.index()];
        state.acting = Some(from);
        state.claims.remove(from);
        let look =
            |replica: &mut Replica<S::Entries>| Held { seen: replica.seen().clone(), fold: replica.digest().fold };
        let holds = state.role.holds().then(|| store.with(slot, look));
        if holds.as_ref().is_some_and(|mine| mine.digest() != theirs) {
            self.out.push_back(Output::Mark { slot, to: from, id });
        }
        let state = &self.slots[slot.index()];
        let pullers = state.pullers;
        let pullers = pullers.iter().map(|puller| self.peers.id(puller)).collect();
        self.send(from, slot, Body::Stopped { id, holds, pullers });
    }

    pub(super) fn on_stopped<S: Slots>(
        &mut self,
        slot: Slot,
        from: Peer,
        id: u64,
        holds: Option<Held>,
        pullers: &[NodeId],
        store: &mut S,
    ) {
        let state = &mut self.slots[slot.index()];
        // It may have asked this node before, and been about to act: it has stopped since, and says so to nobody else.
        state.acting = state.acting.filter(|&acting| acting != from);
        let Some(acquire) = &mut state.acquire else {
            if state.role != Role::Acting {
                // It takes this node for the one who acts and should know better.
                self.send(from, slot, Body::ActsNoMore);
            }
            return;
        };
        if acquire.id != id || !acquire.waiting.remove(from) {
            return;
        }
        acquire.answered.insert(from);
        if !self.mutations.pullers_not_inherited {
            acquire.pullers = acquire.pullers.union(pullers.iter().filter_map(|&id| self.peers.peer(id)).collect());
        }
        let lacks = holds.as_ref().is_some_and(|theirs| {
            // A copy only grows: what it was when it asked it has still.
            theirs.digest() != acquire.asked && store.with(slot, |replica| lacks(replica, theirs))
        });
        acquire.answers.extend(holds.map(|theirs| (from, theirs)));
        if lacks && !self.mutations.acquire_without_join {
            // Without the rule of give_up_acquire it does not wait either: behind a mark there is so seldom something to
            // fetch that no affordable number of histories would notice.
            if acquire.marked.contains(from) || self.mutations.given_up_attempt_forgets_fetches {
                self.acquire_joins(slot, from, store);
            } else {
                acquire.awaited.insert(from);
            }
        }
        self.try_act(slot, store);
    }

    /// What a member shipped before it stopped is in. What is lacking nevertheless was not on its way.
    pub(super) fn on_marked<S: Slots>(&mut self, slot: Slot, from: Peer, id: u64, store: &mut S) {
        let state = &mut self.slots[slot.index()];
        let Some(acquire) = state.acquire.as_mut().filter(|acquire| acquire.id == id) else { return };
        if !acquire.awaited.remove(from) {
            acquire.marked.insert(from);
            return;
        }
        let theirs = acquire.answers.iter().find(|(peer, _)| *peer == from);
        if theirs.is_some_and(|(_, theirs)| store.with(slot, |replica| lacks(replica, theirs))) {
            self.acquire_joins(slot, from, store);
        }
        self.try_act(slot, store);
    }

    fn acquire_joins<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let fetch = self.fetch(slot, from, Urgency::Served, store);
        if let Some(acquire) = &mut self.slots[slot.index()].acquire {
            acquire.joining.push((fetch, from));
        }
    }

    pub(super) fn on_refused<S: Slots>(&mut self, slot: Slot, id: u64, store: &mut S) {
        let state = &mut self.slots[slot.index()];
        if state.acquire.as_ref().is_some_and(|acquire| acquire.id == id) {
            self.give_up_acquire(slot);
            self.update_peers(slot, store);
        }
    }

    pub(super) fn acquire_fetched<S: Slots>(
        &mut self,
        slot: Slot,
        (fetch, from): (FetchId, Peer),
        joined: Option<Joined>,
        store: &mut S,
    ) {
        if let Some(acquire) = &mut self.slots[slot.index()].acquire {
            acquire.joining.retain(|&(joining, _)| joining != fetch);
        }
        if joined.is_none() {
            // It has handed on what it had, perhaps to one who had answered before.
            self.give_up_acquire(slot);
            return self.consider_acquire(slot, store);
        }
        if joined.is_some_and(|joined| joined.ahead) {
            self.send_compare(slot, from, true, store);
        }
        self.try_act(slot, store);
    }

    /// The attempt is over: who acts starts here.
    fn try_act<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let state = &mut self.slots[slot.index()];
        let over = |acquire: &mut Acquire| {
            acquire.waiting.is_empty() && acquire.awaited.is_empty() && acquire.joining.is_empty()
        };
        let Some(acquire) = state.acquire.take_if(over) else { return };
        if state.role != Role::Following {
            return;
        }
        (state.acting, state.via, state.enquiry) = (None, None, None);
        // Now that everybody has answered it is known who of them is ready: each said so before it answered.
        let pullers = acquire.pullers.intersection(self.peers.sessions()).difference(self.peers.ready(slot));
        state.pullers = state.pullers.union(pullers);
        self.set_role(slot, Role::Acting);
        self.update_peers(slot, store);
        let (ship_to, mine) = store.with(slot, |replica| {
            replica.act();
            (replica.ship_to(), replica.digest())
        });
        // An attempt that another one gave up may have left a wrong idea behind.
        for peer in self.peers.sessions().iter() {
            self.send(peer, slot, Body::Acting);
        }
        // Whoever had something else lacks what others had.
        let equal: PeerSet =
            acquire.answers.iter().filter(|(_, theirs)| theirs.digest() == mine).map(|&(peer, _)| peer).collect();
        self.out.extend(ship_to.difference(equal).iter().map(|to| Output::CompareRecord { slot, to }));
        self.update_route(slot);
    }

    /// "I act", said by who begins to, and again when a session begins.
    pub(super) fn on_acting<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        if self.role(slot) == Role::Acting {
            self.stop_acting(slot, store);
            self.send(from, slot, Body::BothStop);
        } else {
            let acts = self.part(slot, from);
            let state = &mut self.slots[slot.index()];
            (state.acting, state.via) = (Some(acts), None);
            self.pull_from_acting(slot, store);
        }
    }

    pub(super) fn stop_acting<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        if store.with(slot, |replica| replica.stop()) {
            self.set_role(slot, Role::Following);
            self.say_acts_no_more(slot, self.peers.sessions());
        }
    }

    fn say_acts_no_more(&mut self, slot: Slot, to: PeerSet) {
        if !self.mutations.stops_without_a_word {
            for peer in to.intersection(self.peers.sessions()).iter() {
                self.send(peer, slot, Body::ActsNoMore);
            }
        }
    }

    pub(super) fn on_acts_no_more(&mut self, slot: Slot, from: Peer) {
        let state = &mut self.slots[slot.index()];
        state.claims.remove(from);
        // Another one may have acted all the time.
        state.acting = state.acting.filter(|&acting| acting != from).or(state.claims.iter().next());
    }
}

/// Whether the copy lacks something that another one has, or differs from it without lacking anything.
fn lacks<E: Entries>(copy: &Replica<E>, theirs: &Held) -> bool {
    match copy.seen().dominates(&theirs.seen) {
        true => theirs.seen.dominates(copy.seen()) && copy.digest().fold != theirs.fold,
        false => true,
    }
}

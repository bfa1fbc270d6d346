//! Compare: how two copies that differ find out and become equal.
//!
//! When a session begins, whenever one may have missed something of the other, and every now and then, digests of all
//! slots that both hold travel in the lane, in order with the effects, so that equal copies are never taken for
//! different ones. Where a digest differs the receiver sends its whole context; who lacks something fetches the other's snapshot, and says
//! so the other way round. Contexts make the exchange exact: no tree of hashes, no list of keys.

use super::{Body, Control, FetchId, Output, Slots, Urgency};
use crate::{
    context::SlotContext,
    fold::Fold,
    id::{Peer, PeerSet},
    replica::{Joined, Role},
    slot::Slot,
};

impl Control {
    /// Whoever acts tells the other holders what it has. A node that two acted for, of whom one died, may have
    /// something that the other never hears of in any other way.
    pub(super) fn compare_round(&mut self) {
        for slot in self.every_slot() {
            // The lane of a session that was over may have taken something in, and its report is lost.
            self.slots[slot.index()].gap = true;
            if self.role(slot) == Role::Acting {
                let holders = self.peers.ready(slot).intersection(self.peers.sessions());
                self.out.extend(holders.iter().map(|to| Output::CompareRecord { slot, to }));
            }
        }
    }

    /// Something is missing in a copy here. A pull asks by itself.
    pub(super) fn on_gap<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        self.slots[slot.index()].gap = true;
        self.consider_gap(slot, store);
    }

    /// What is missing is in the copy of whoever sent it, if it still holds the slot; so each is asked once more after
    /// its last such effect. What is missing even then nobody counts on: its executor is gone, and took with it what
    /// the effect builds on, or has forgotten the slot, which it may when all targets have what it had.
    pub(super) fn consider_gap<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let state = &self.slots[slot.index()];
        let (role, sessions) = (state.role, self.peers.sessions());
        if role == Role::Pulling {
            return;
        }
        // Whoever waits for a snapshot does not know yet what will be missing. A copy that may be forgotten gives up
        // nothing, for the sake of the next one.
        let may_give_up = role != Role::Releasing && !state.fetches();
        // Asked and given up under one hold: what arrives a moment later is missing again.
        let unasked = store.with(slot, |replica| {
            let unasked = replica.unasked().intersection(sessions);
            if unasked.is_empty() && may_give_up {
                replica.drop_parked();
            }
            unasked
        });
        self.slots[slot.index()].gap = !(unasked.is_empty() && may_give_up);
        unasked.iter().for_each(|from| self.repair(slot, from, store));
    }

    /// Fetches the peer's copy, unless that is under way.
    pub(super) fn repair<S: Slots>(&mut self, slot: Slot, from: Peer, store: &mut S) {
        let state = &self.slots[slot.index()];
        let under_way = state.repairs.iter().any(|&(_, source)| source == from);
        if under_way || !state.role.holds() || !self.peers.in_session(from) {
            return;
        }
        let fetch = self.fetch(slot, from, Urgency::Usual, store);
        self.slots[slot.index()].repairs.push((fetch, from));
    }

    pub(super) fn repair_fetched<S: Slots>(
        &mut self,
        slot: Slot,
        (fetch, from): (FetchId, Peer),
        joined: Option<Joined>,
        store: &mut S,
    ) {
        self.slots[slot.index()].repairs.retain(|&(repair, _)| repair != fetch);
        self.counts.repaired += u64::from(joined.is_some());
        if joined.is_some_and(|joined| joined.ahead) {
            self.send_compare(slot, from, true, store);
        }
        if self.slots[slot.index()].gap {
            self.consider_gap(slot, store);
        }
    }

    /// What came by a snapshot to the one who acts was shipped to nobody.
    pub(super) fn tell_news<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        if self.role(slot) == Role::Acting {
            let others = store.with(slot, |copy| if copy.take_news() { copy.ship_to() } else { PeerSet::EMPTY });
            self.out.extend(others.iter().map(|to| Output::CompareRecord { slot, to }));
        }
    }

    pub(super) fn send_compare<S: Slots>(&mut self, slot: Slot, to: Peer, answer: bool, store: &mut S) {
        if self.role(slot).holds() {
            let (seen, fold) = store.with(slot, |replica| (replica.seen().clone(), replica.fold()));
            self.send(to, slot, Body::Compare { seen, fold, answer });
        }
    }

    pub(super) fn on_compare<S: Slots>(
        &mut self,
        slot: Slot,
        from: Peer,
        seen: &SlotContext,
        fold: Fold,
        answer: bool,
        store: &mut S,
    ) {
        if !self.role(slot).holds() {
            return;
        }
        let (mine, my_fold) = store.with(slot, |replica| (replica.seen().clone(), replica.fold()));
        let lack = !mine.dominates(seen);
        let mismatch = mine == *seen && my_fold != fold && !self.mutations.fold_ignored;
        if lack || mismatch {
            self.repair(slot, from, store);
        }
        if answer && (!seen.dominates(&mine) || mismatch) && !self.mutations.compare_one_way {
            self.send_compare(slot, from, false, store);
        }
    }
}

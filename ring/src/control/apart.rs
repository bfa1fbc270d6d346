//! Apart: what nodes do that do not reach each other but a third one.
//!
//! Everybody says whom it is in session with. A holder that is not in session with this node, but with one that is, is
//! *vouched for*: it lives, and whoever comes behind it in S(s) does not act in its place, but passes commands on by way of
//! its voucher. When the holder dies its vouchers find that out as fast as this node would, and say so; until then nobody
//! acts, so nothing is asked and no time is waited for. (SWIM probes through others instead: Das, Gupta and Motivala,
//! "SWIM", DSN 2002.)
//!
//! Who is first in S(s) may be apart from one that acts already. So it asks the vouchers of all ready holders that it cannot
//! ask itself who acts, and leaves that alone. Two that act apart nevertheless, since the link between them broke while
//! they talked, are parted by the first one that hears both: the later one in S(s) is told to stop.
//!
//! ```text
//!       a (acts)      c      b (next in S(s), not in session with a)
//!       │ ◄──────────►│◄────►│        c says that it reaches a
//!       │             │ ◄─── │        commands
//!       │ ◄────────── │               passed on
//! ```

use alloc::vec::Vec;

use super::{Body, Control, Slots};
use crate::{
    id::{NodeId, Peer, PeerSet},
    replica::Role,
    slot::Slot,
};

/// Who was asked who acts, and has not answered.
#[derive(Debug)]
pub(super) struct Enquiry {
    id: u64,
    waiting: PeerSet,
    /// This node was asked to act in the place of another one.
    takes_over: bool,
}

impl Control {
    /// Where commands go that are for the first of S(s): to it, or to one that reaches it.
    pub(super) fn way_to_first(&self, slot: Slot) -> Option<Peer> {
        let first = self.first_serving(slot)?;
        if self.reaches(first) { Some(first) } else { self.peers.vouchers(first).iter().next() }
    }

    /// Whether there are ready holders that this node cannot ask itself; then others are asked whether one of them acts.
    pub(super) fn must_enquire(&mut self, slot: Slot, takes_over: bool) -> bool {
        let apart = self.peers.ready(slot).intersection(self.peers.vouched());
        if apart.is_empty() || self.mutations.acquires_without_enquiry {
            return false;
        }
        if self.slots[slot.index()].enquiry.is_none() {
            let id = self.new_id();
            let waiting = apart.iter().fold(PeerSet::EMPTY, |all, peer| all.union(self.peers.vouchers(peer)));
            self.slots[slot.index()].enquiry = Some(Enquiry { id, waiting, takes_over });
            waiting.iter().for_each(|voucher| self.send(voucher, slot, Body::WhoActs { id }));
        }
        true
    }

    pub(super) fn on_who_acts(&mut self, slot: Slot, from: Peer, id: u64) {
        let state = &self.slots[slot.index()];
        let acting = match state.role {
            Role::Acting => Some(self.my_id),
            // What one of them says of itself counts for more than who was about to act last.
            _ => {
                let claims = state.claims.iter().find(|&peer| peer != from);
                let known = state.acting.filter(|&acting| acting != from && self.peers.in_session(acting));
                claims.or(known).map(|acting| self.peers.id(acting))
            }
        };
        self.send(from, slot, Body::ActsThere { id, acting });
    }

    pub(super) fn on_acts_there<S: Slots>(
        &mut self,
        slot: Slot,
        from: Peer,
        id: u64,
        acting: Option<NodeId>,
        store: &mut S,
    ) {
        let acts_apart = acting.is_some_and(|acting| acting != self.my_id && self.peers.peer(acting).is_none());
        let state = &mut self.slots[slot.index()];
        let Some(enquiry) = state.enquiry.as_mut().filter(|enquiry| enquiry.id == id) else { return };
        enquiry.waiting.remove(from);
        if acts_apart {
            // It is asked again at the next look around.
            (state.enquiry, state.via) = (None, Some(from));
        } else if enquiry.waiting.is_empty() {
            let takes_over = enquiry.takes_over;
            (state.enquiry, state.via) = (None, None);
            let is_free = state.role == Role::Following && state.acquire.is_none();
            if is_free && (takes_over || self.first_serving(slot) == Some(self.me)) {
                self.begin_acquire(slot, store);
            }
        }
    }

    /// A peer says that it acts. If another one that it does not reach does so too, one of them is told to stop; who acts
    /// then.
    pub(super) fn part(&mut self, slot: Slot, from: Peer) -> Peer {
        let claims = &mut self.slots[slot.index()].claims;
        claims.insert(from);
        let other = claims.iter().find(|&other| other != from && self.peers.are_apart(other, from));
        let Some(other) = other.filter(|_| !self.mutations.lets_two_act_apart) else { return from };
        let order: Vec<Peer> = self.serving(slot).filter(|&peer| peer == from || peer == other).collect();
        let (acts, stops) = if order.first() == Some(&other) { (other, from) } else { (from, other) };
        self.send(stops, slot, Body::BothStop);
        acts
    }
}

//! What the control machine knows of other nodes, and what it does when that changes.

use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Body, Control, Output, Slots};
use crate::{
    id::{MAX_PEERS, NodeId, Peer, PeerSet},
    replica::Role,
    slot::Slot,
    slot_set::SlotSet,
};

/// Who is in session and who is ready for what.
#[derive(Debug)]
pub(super) struct Peers {
    ids: Vec<NodeId>,
    sessions: PeerSet,
    /// Per slot, who says that it is ready.
    ready: Vec<PeerSet>,
}

impl Peers {
    pub(super) fn new(slots: usize) -> Peers {
        Peers {
            ids: alloc::vec![NodeId::default(); MAX_PEERS],
            sessions: PeerSet::EMPTY,
            ready: alloc::vec![PeerSet::EMPTY; slots],
        }
    }

    pub(super) fn in_session(&self, peer: Peer) -> bool {
        self.sessions.contains(peer)
    }

    pub(super) fn sessions(&self) -> PeerSet {
        self.sessions
    }

    pub(super) fn ready(&self, slot: Slot) -> PeerSet {
        self.ready[slot.index()]
    }

    pub(super) fn id(&self, peer: Peer) -> NodeId {
        self.ids[peer.index()]
    }

    pub(super) fn peer(&self, id: NodeId) -> Option<Peer> {
        self.sessions.iter().find(|&peer| self.id(peer) == id)
    }

    /// Provisional holders come in an order that differs from slot to slot, so that they share the work.
    pub(super) fn provisional_rank(&self, slot: Slot, id: NodeId) -> u64 {
        xxh3_64_with_seed(id.as_bytes(), u64::from(slot.number()))
    }

    /// Replaces what a peer is ready for; the slots that changed, with its new word.
    fn replace_ready(&mut self, peer: Peer, ready: &SlotSet) -> Vec<(Slot, bool)> {
        let mut changed = Vec::new();
        for (number, holders) in (0u16..).zip(&mut self.ready) {
            let Some(slot) = Slot::new(number) else { continue };
            let is_ready = ready.contains(slot);
            if holders.contains(peer) != is_ready {
                if is_ready {
                    holders.insert(peer)
                } else {
                    holders.remove(peer)
                };
                changed.push((slot, is_ready));
            }
        }
        changed
    }
}

impl Control {
    pub(super) fn session_up<S: Slots>(&mut self, peer: Peer, id: NodeId, ready: SlotSet, store: &mut S) {
        debug_assert!(!self.peers.in_session(peer), "a session begins after the former one ended");
        self.peers.ids[peer.index()] = id;
        self.peers.sessions.insert(peer);
        self.peers.replace_ready(peer, &ready);
        for slot in self.every_slot() {
            self.greet(slot, peer, store);
            self.consider(slot, store);
        }
    }

    /// What is to be said about one slot when a session begins. A peer may have missed anything until now.
    fn greet<S: Slots>(&mut self, slot: Slot, peer: Peer, store: &mut S) {
        self.update_peers(slot, store);
        let role = self.role(slot);
        if role == Role::Acting {
            self.send(peer, slot, Body::Acting);
        }
        if role.holds() && self.peers.ready(slot).contains(peer) && !self.mutations.no_compare_on_connect {
            self.out.push_back(Output::CompareRecord { slot, to: peer });
        }
        self.acquire_asks(slot, peer);
    }

    pub(super) fn session_down<S: Slots>(&mut self, peer: Peer, store: &mut S) {
        if !self.peers.sessions.remove(peer) {
            return;
        }
        for slot in self.every_slot() {
            let state = &mut self.slots[slot.index()];
            state.pullers.remove(peer);
            state.spared.remove(peer);
            // If it still acts when the next session begins it says so.
            state.acting = state.acting.filter(|&acting| acting != peer);
            state.hint = state.hint.filter(|&hint| hint != peer);
            state.repairs.retain(|&(_, source)| source != peer);
            // What its lane had to report may be lost with the session.
            state.gap = true;
            self.update_peers(slot, store);
            self.pull_session_lost(slot, peer, store);
            self.release_lost(slot, peer, store);
            self.acquire_lost(slot, peer, store);
            self.consider(slot, store);
        }
    }

    pub(super) fn peer_ready<S: Slots>(&mut self, peer: Peer, id: NodeId, ready: SlotSet, store: &mut S) {
        self.peers.ids[peer.index()] = id;
        for (slot, is_ready) in self.peers.replace_ready(peer, &ready) {
            let state = &mut self.slots[slot.index()];
            state.spared.remove(peer);
            if is_ready {
                state.pullers.remove(peer);
            }
            self.update_peers(slot, store);
            // It became ready with a snapshot of an earlier moment; the digest tells it if something is missing.
            if is_ready && self.role(slot) == Role::Acting && self.peers.in_session(peer) {
                self.out.push_back(Output::CompareRecord { slot, to: peer });
            }
            self.consider(slot, store);
        }
    }

    pub(super) fn forget_peer<S: Slots>(&mut self, peer: Peer, store: &mut S) {
        self.session_down(peer, store);
        self.peers.ids[peer.index()] = NodeId::default();
        for (slot, _) in self.peers.replace_ready(peer, &SlotSet::new(self.slots.len())) {
            let state = &mut self.slots[slot.index()];
            state.acting = state.acting.filter(|&acting| acting != peer);
            state.hint = state.hint.filter(|&hint| hint != peer);
            self.update_peers(slot, store);
            self.consider(slot, store);
        }
    }

    pub(super) fn every_slot(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.slots.len() as u16).filter_map(Slot::new)
    }
}

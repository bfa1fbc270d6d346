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
    /// Whom each peer in session is in session with, by its own word.
    reach: Vec<Vec<NodeId>>,
    /// Peers not in session that some peer in session reaches.
    vouched: PeerSet,
}

impl Peers {
    pub(super) fn new(slots: usize) -> Peers {
        Peers {
            ids: alloc::vec![NodeId::default(); MAX_PEERS],
            sessions: PeerSet::EMPTY,
            ready: alloc::vec![PeerSet::EMPTY; slots],
            reach: alloc::vec![Vec::new(); MAX_PEERS],
            vouched: PeerSet::EMPTY,
        }
    }

    /// Peers that are not in session with this node, but with one that is.
    pub(super) fn vouched(&self) -> PeerSet {
        self.vouched
    }

    /// The peers in session that reach this one.
    pub(super) fn vouchers(&self, peer: Peer) -> PeerSet {
        let id = self.id(peer);
        self.sessions.iter().filter(|voucher| self.reach[voucher.index()].contains(&id)).collect()
    }

    /// Whether two peers in session say that they do not reach each other.
    pub(super) fn are_apart(&self, a: Peer, b: Peer) -> bool {
        let reach = |from: Peer, to: Peer| {
            let reach = &self.reach[from.index()];
            reach.is_empty() || reach.contains(&self.id(to))
        };
        !reach(a, b) && !reach(b, a)
    }

    /// The peers that became vouched for, or are no more.
    fn vouch(&mut self) -> PeerSet {
        let known = |&peer: &Peer| self.id(peer) != NodeId::default() && !self.in_session(peer);
        let vouched: PeerSet =
            (0..MAX_PEERS as u8).map(Peer).filter(known).filter(|&peer| !self.vouchers(peer).is_empty()).collect();
        let before = core::mem::replace(&mut self.vouched, vouched);
        before.union(vouched).difference(before.intersection(vouched))
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
        self.peers.reach[peer.index()].clear();
        self.peers.replace_ready(peer, &ready);
        self.peers.vouch();
        self.say_reach();
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
        self.peers.reach[peer.index()].clear();
        self.peers.vouch();
        self.say_reach();
        for slot in self.every_slot() {
            let state = &mut self.slots[slot.index()];
            state.pullers.remove(peer);
            state.spared.remove(peer);
            state.mending.remove(peer);
            state.claims.remove(peer);
            // If it still acts when the next session begins it says so.
            state.acting = state.acting.filter(|&acting| acting != peer);
            state.hint = state.hint.filter(|&hint| hint != peer);
            state.repairs.retain(|&(_, source)| source != peer);
            state.via = state.via.filter(|&via| via != peer);
            state.enquiry = None;
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
        if core::mem::replace(&mut self.peers.ids[peer.index()], id) != id {
            self.peers.vouch();
        }
        for (slot, is_ready) in self.peers.replace_ready(peer, &ready) {
            let state = &mut self.slots[slot.index()];
            state.spared.remove(peer);
            state.mending.remove(peer);
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

    /// A peer says whom it is in session with.
    pub(super) fn peer_reaches<S: Slots>(&mut self, peer: Peer, nodes: Vec<NodeId>, store: &mut S) {
        if !self.peers.in_session(peer) {
            return;
        }
        self.peers.reach[peer.index()] = nodes;
        let changed = self.peers.vouch();
        for slot in self.every_slot() {
            let state = &self.slots[slot.index()];
            if state.claims.len() > 1 && state.claims.contains(peer) {
                let acts = self.part(slot, peer);
                self.slots[slot.index()].acting = Some(acts);
                self.update_route(slot);
            }
            if !self.peers.ready(slot).intersection(changed).is_empty() {
                self.consider(slot, store);
            }
        }
    }

    /// Everybody is told whom this node is in session with.
    fn say_reach(&mut self) {
        let nodes = self.peers.sessions.iter().map(|peer| self.peers.id(peer)).collect();
        self.out.push_back(Output::SayReach { nodes });
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

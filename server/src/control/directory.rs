//! Which index names which node.
//!
//! An index is given to a member when the view first shows it and taken back when the view shows it no more, so that
//! a ring whose containers come and go under new names never runs out. Index 0 is this node.

use std::collections::HashMap;

use ring::id::{MAX_PEERS, NodeId, Peer};

use crate::routes::ME;

/// The members by index.
#[derive(Debug)]
pub(super) struct Directory {
    ids: Vec<Option<NodeId>>,
    peers: HashMap<NodeId, Peer>,
}

impl Directory {
    pub(super) fn new(me: NodeId) -> Directory {
        let mut ids = vec![None; MAX_PEERS];
        ids[ME.index()] = Some(me);
        Directory { ids, peers: HashMap::from([(me, ME)]) }
    }

    /// The index of a node, if it has one.
    pub(super) fn peer(&self, id: NodeId) -> Option<Peer> {
        self.peers.get(&id).copied()
    }

    /// The node of an index, if it names one.
    pub(super) fn id(&self, peer: Peer) -> Option<NodeId> {
        self.ids[peer.index()]
    }

    /// The index of a node, a new one if need be; `None` if all are taken.
    pub(super) fn admit(&mut self, id: NodeId) -> Option<Peer> {
        if let Some(peer) = self.peer(id) {
            return Some(peer);
        }
        let free = self.ids.iter().position(Option::is_none)?;
        self.ids[free] = Some(id);
        let peer = Peer(free as u8);
        self.peers.insert(id, peer);
        Some(peer)
    }

    /// Takes an index back.
    pub(super) fn forget(&mut self, id: NodeId) -> Option<Peer> {
        let peer = self.peers.remove(&id)?;
        self.ids[peer.index()] = None;
        Some(peer)
    }

    /// All nodes but this one, with their indices.
    pub(super) fn others(&self) -> impl Iterator<Item = (NodeId, Peer)> + '_ {
        self.peers.iter().map(|(&id, &peer)| (id, peer)).filter(|&(_, peer)| peer != ME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_given_taken_back_and_given_again() {
        let mut directory = Directory::new(NodeId::from_seed(0));
        let given: Vec<_> = (1..MAX_PEERS as u64).map(|n| directory.admit(NodeId::from_seed(n)).unwrap()).collect();
        assert!(!given.contains(&ME));
        assert_eq!(directory.admit(NodeId::from_seed(1)), Some(given[0]));
        assert_eq!(directory.admit(NodeId::from_seed(999)), None);
        assert_eq!(directory.forget(NodeId::from_seed(5)), Some(given[4]));
        assert_eq!(directory.peer(NodeId::from_seed(5)), None);
        assert_eq!(directory.admit(NodeId::from_seed(999)), Some(given[4]));
        assert_eq!(directory.id(given[4]), Some(NodeId::from_seed(999)));
        assert_eq!(directory.others().count(), MAX_PEERS - 1);
    }
}

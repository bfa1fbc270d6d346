//! What is on its way to other nodes.

use std::sync::Arc;

use ring::id::{NodeId, Peer};

use super::Lanes;
use crate::{info, life::Life, replica::acks::Acks, store::Store, topology::Topologies};

/// The lanes to all members that are known.
pub struct PeerLanes {
    /// Who is connected.
    pub life: Arc<Life>,
    /// What is on its way.
    pub acks: Arc<Acks>,
    /// What waits.
    pub store: Arc<Store>,
    /// Who is known.
    pub topologies: Arc<Topologies>,
}

impl Lanes for PeerLanes {
    fn lanes(&self) -> Vec<info::Lane> {
        let topology = self.topologies.current();
        let connected = self.life.connected();
        let others = topology.nodes().iter().filter(|node| node.id != topology.me());
        let lane = |id: NodeId| {
            let peer = connected.get(&id);
            let bytes = |&peer: &Peer| self.store.lane_bytes(peer) as u64 + self.acks.on_their_way_bytes(peer);
            info::Lane { peer: id.to_string(), connected: peer.is_some(), unacknowledged_bytes: peer.map_or(0, bytes) }
        };
        others.map(|node| lane(node.id)).collect()
    }
}

//! What clients are told about the cluster, as one value.
//!
//! `CLUSTER SLOTS`, `SHARDS`, `NODES`, `INFO` and redirections all speak of the same thing: who is there, under which
//! address, and who acts for which slot. A client may ask several of them within a second and puts the answers
//! together, so they must not contradict each other. Therefore all of them are written from one [`Topology`], which
//! never changes; the control task publishes a new one when something did.
//!
//! ```text
//!   control task ── Topology ──► Topologies ─┬─► SLOTS, SHARDS      (rows)
//!                  (view, routes)            ├─► NODES, INFO, RING  (text)
//!                                            ├─► MOVED              (redirect)
//!                                            └─► INFO, /metrics     (figures)
//! ```
//!
//! # What a node is, in words of Redis
//!
//! In Redis Cluster a node is either a master or the replica of one. Here each node acts for some slots and holds
//! copies of others, so it is both. Every node is called a master, with the slots that it acts for; who holds copies
//! stands in the rows of `CLUSTER SLOTS`, which is made for that.
//!
//! Client libraries give a node one role nevertheless, mostly that of the first row in which they meet it (redis-py
//! does, and then leaves it out when it asks all masters for `DBSIZE`). So `CLUSTER SLOTS` opens with one row of a
//! single slot for each node that acts for any, and these rows name no replica. The other slots follow in rows that
//! name every holder; together the rows cover each slot once.
//!
//! # While a slot changes hands
//!
//! Nobody is sent away from a slot whose acting node is not the one that should act, or is not known: this node
//! passes the request on instead, and `ASK` is never needed.

mod endpoint;
mod rows;
mod text;

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use ring::{
    id::NodeId,
    member::{Meta, Standing},
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
    table::Table,
    view::{Epoch, Member},
};
use smallvec::SmallVec;
use tokio::sync::watch;

use self::endpoint::Told;
use crate::{
    resp::Protocol,
    session::{Port, Session},
};

/// How many holders of a slot are told; more exist only for moments, while slots move.
const HOLDERS: usize = 8;

/// How many encoded replies are kept: two versions of the protocol for some addresses of this machine.
const ENCODED: usize = 8;

/// The place in a row where nobody stands.
const NOBODY: u8 = u8::MAX;

/// A node that clients are told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// Addresses, zone and weight.
    pub meta: Meta,
    /// What it is to the ring.
    pub standing: Standing,
    /// Whether this node is connected to it.
    pub is_connected: bool,
    /// How many slots it holds completely, by its own word.
    pub ready: usize,
}

impl Node {
    /// A member of the view, and whether this node is connected to it.
    pub fn of(member: &Member, is_connected: bool) -> Node {
        let (id, meta, standing) = (member.id, member.meta.clone(), member.standing());
        Node { id, meta, standing, is_connected, ready: member.ready.len() }
    }
}

/// The cluster at one moment, as this node sees it.
#[derive(Debug)]
pub struct Topology {
    me: NodeId,
    epoch: Epoch,
    /// In order of their identities.
    nodes: Vec<Node>,
    /// Per slot the places of its holders in `nodes`, the acting one first.
    holders: Box<[Holders]>,
    /// Slots that nobody is sent away from.
    changing: SlotSet,
    is_ready: bool,
    is_down: bool,
    messages: Option<Messages>,
    picture: String,
    table: Option<Arc<Table>>,
    encoded: Mutex<SmallVec<[Encoded; 2]>>,
}

/// The holders of one slot.
type Holders = [u8; HOLDERS];

/// An encoded `CLUSTER SLOTS`, and for whom.
#[derive(Debug)]
struct Encoded {
    protocol: Protocol,
    local: Option<IpAddr>,
    bytes: Bytes,
}

/// Messages between nodes since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Messages {
    /// Sent by this node.
    pub sent: u64,
    /// Received by this node.
    pub received: u64,
}

impl Topology {
    /// A cluster of these nodes in which nobody holds anything yet. Nodes that are gone for good are left out.
    pub fn new(me: NodeId, epoch: Epoch, mut nodes: Vec<Node>) -> Topology {
        nodes.retain(|node| !node.standing.is_over());
        nodes.sort_by_key(|node| node.id);
        // A node knows at most `MAX_PEERS` others, so nobody is cut off here.
        nodes.truncate(usize::from(NOBODY));
        let holders = vec![[NOBODY; HOLDERS]; SLOTS].into();
        let (changing, encoded) = (SlotSet::full(SLOTS), Mutex::default());
        let (is_ready, is_down, messages, picture, table) = (false, false, None, String::new(), None);
        Topology { me, epoch, nodes, holders, changing, is_ready, is_down, messages, picture, table, encoded }
    }

    /// Says who acts for a slot as far as this node knows, who is ready for it in order, and who should act.
    pub fn place(&mut self, slot: Slot, acting: Option<NodeId>, ready: &[NodeId], first_target: Option<NodeId>) {
        let acting = acting.and_then(|id| self.index(id));
        let others = ready.iter().filter_map(|&id| self.index(id)).filter(|&at| Some(at) != acting);
        let mut row = [NOBODY; HOLDERS];
        for (place, at) in row.iter_mut().zip(acting.into_iter().chain(others)) {
            *place = at;
        }
        self.holders[slot.index()] = row;
        let is_settled = acting.is_some() && acting == first_target.and_then(|id| self.index(id));
        if is_settled {
            self.changing.remove(slot);
        } else {
            self.changing.insert(slot);
        }
    }

    /// Says whether every slot that this node should serve is served.
    #[must_use]
    pub fn with_readiness(self, is_ready: bool) -> Topology {
        Topology { is_ready, ..self }
    }

    /// Says whether nothing is served here, since the majority of the members is elsewhere.
    #[must_use]
    pub fn with_majority_elsewhere(self, is_down: bool) -> Topology {
        Topology { is_down, ..self }
    }

    /// Says how many messages went between the nodes.
    #[must_use]
    pub fn with_messages(self, messages: Messages) -> Topology {
        Topology { messages: Some(messages), ..self }
    }

    /// Adds the picture of the ring, for people.
    #[must_use]
    pub fn with_picture(self, picture: String) -> Topology {
        Topology { picture, ..self }
    }

    /// Says where slots should live.
    #[must_use]
    pub fn with_table(self, table: Option<Arc<Table>>) -> Topology {
        Topology { table, ..self }
    }

    /// The identity of this node.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// The name of the view behind this.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The nodes, in order of their identities: those that serve, and those that are down for now.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// This node, once the view has it.
    pub fn my_node(&self) -> Option<&Node> {
        self.index(self.me).map(|at| &self.nodes[usize::from(at)])
    }

    /// Whether every slot that this node should serve is served.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The picture of the ring.
    pub fn picture(&self) -> &str {
        &self.picture
    }

    /// Where slots should live, once this node is a member.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_deref()
    }

    /// The holders of a slot, the acting one first. Where it is not known, whoever is ready first stands there.
    pub fn holders(&self, slot: Slot) -> impl Iterator<Item = &Node> {
        self.row(self.holders[slot.index()])
    }

    /// Whether this node is ready for the slot.
    pub fn is_held_here(&self, slot: Slot) -> bool {
        self.holders(slot).any(|node| node.id == self.me)
    }

    /// Whether the slot's acting node is not known, or is not the one that should act.
    pub fn is_changing(&self, slot: Slot) -> bool {
        self.changing.contains(slot)
    }

    /// Where a cluster-aware client is sent with a request for the slot, as `MOVED` says it. None where this node is to
    /// answer or to pass the request on: it acts itself, the slot is changing hands, or the acting node cannot
    /// be reached from here and so perhaps not by the client either.
    pub fn redirect(&self, slot: Slot, session: &Session) -> Option<String> {
        if session.port() == Port::Proxy || self.is_changing(slot) {
            return None;
        }
        let acting = self.holders(slot).next()?;
        let serves = acting.id != self.me && acting.is_connected && acting.standing.is_live();
        serves.then(|| self.told(acting, session.client().local()).to_string())
    }

    /// What a client that reached this node at `local` is told to be the address of a node. Every reply that names
    /// an address has it from here, so that none contradicts another.
    fn told<'a>(&self, node: &'a Node, local: SocketAddr) -> Told<'a> {
        let reached = (node.id == self.me).then(|| local.ip());
        Told::of(&node.meta, reached)
    }

    fn index(&self, id: NodeId) -> Option<u8> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok().map(|at| at as u8)
    }

    fn row(&self, row: Holders) -> impl Iterator<Item = &Node> {
        row.into_iter().map_while(|at| self.nodes.get(usize::from(at)))
    }

    /// Each node with the runs of neighbouring slots that it acts for.
    fn acted_for(&self) -> impl Iterator<Item = (&Node, Vec<RangeInclusive<u16>>)> {
        let mut runs: Vec<Vec<RangeInclusive<u16>>> = vec![Vec::new(); self.nodes.len()];
        for slot in Slot::all().map(Slot::number) {
            let [acting, ..] = self.holders[usize::from(slot)];
            // Where nobody acts there is no such place.
            let Some(runs) = runs.get_mut(usize::from(acting)) else { continue };
            match runs.last_mut() {
                Some(run) if run.end() + 1 == slot => *run = *run.start()..=slot,
                _ => runs.push(slot..=slot),
            }
        }
        self.nodes.iter().zip(runs)
    }
}

/// The topology that is in force, for everyone who asks.
#[derive(Debug)]
pub struct Topologies(watch::Sender<Arc<Topology>>);

impl Topologies {
    /// Begins with this one.
    pub fn new(first: Topology) -> Topologies {
        Topologies(watch::Sender::new(Arc::new(first)))
    }

    /// From now on this one is in force. Cluster-aware clients parse all of it, so call it when something changed for
    /// them, and not more than about once in a second.
    pub fn publish(&self, topology: Topology) {
        self.0.send_replace(Arc::new(topology));
    }

    /// The one in force.
    pub fn current(&self) -> Arc<Topology> {
        self.0.borrow().clone()
    }

    /// To wait for the next.
    pub fn changes(&self) -> watch::Receiver<Arc<Topology>> {
        self.0.subscribe()
    }
}

//! The target table: which nodes should hold each slot, in order.
//!
//! The table is a pure function of the members and a few settings that the whole cluster shares. Every node computes
//! it for itself, in whole numbers, and all get the same, bit for bit; nobody has to be asked, nothing has to be
//! agreed upon.
//!
//! ```text
//!            slot 3                       The walk: from the slot's own place clockwise, past the
//!              |                          vnodes of A, B and C.
//!   ---A---B---v---B--A--B---C---A---     With two copies slot 3 goes to B and A: the first two
//!                  1  2                   distinct nodes of the walk. C would be next.
//! ```
//!
//! # The rules
//!
//! 1. **Owners.** A slot's owners are met on the clockwise walk: first nodes of zones not met yet, and when there are
//!    no more zones, any node not met yet. With fewer nodes than copies all nodes are owners.
//! 2. **Caps.** No node should hold more than its fair share plus the tolerance. A node above its cap hands slots on,
//!    the last of the ring first, to the next node of the slot's walk that has room, if that costs no zone.
//! 3. **Floors**, only where weights differ: a node below its fair share less the tolerance is given slots, the last
//!    of the ring first, in place of an owner that holds more than its fair share.
//! 4. **First owners.** The first owner is the first one met, with the same caps and floors on the number of slots a
//!    node is first in. Here owners only change places: no copy moves.
//!
//! So distinct nodes come before distinct zones, and distinct zones before loads. Where zones or a tiny ring leave no
//! choice a node stays above its cap.
//!
//! # Why so
//!
//! Bounded loads are due to Mirrokni, Thorup and Zadimoghaddam ("Consistent Hashing with Bounded Loads", SODA 2018),
//! who skip a full node during the walk. Skipped that way, a slot handed on early fills a node that is then full when
//! its own slots come. Here each node is dealt its own slots first, and only what is really too much is handed on.
//! That matters most for the first owner: decided during the walk, in three draws of ten some slot finds all its
//! owners full; decided afterwards, none does.
//!
//! Floors exist because a walk that skips nodes it has met is biased: with two copies a node of half the weight is
//! met in only five slots of six, not in every one. With equal weights there is no bias, only chance, and a node that
//! holds too little harms nobody, while giving it more would move copies; so there floors are left out.
//!
//! *Fair share* is a node's part of all copies by weight, but never more than one copy of each slot: whoever's weight
//! asks for more holds every slot, and the others share what remains. The same goes for zones ([`Share`]).
//!
//! The number of vnodes is a bargain between balance, movement and the length of `CLUSTER SLOTS`; see [`Settings`].

mod fill;
mod share;
#[cfg(test)]
mod twin;
mod walk;

use alloc::{string::String, vec::Vec};

use self::{fill::Draft, share::Bounds, walk::Walks};
use crate::{
    id::NodeId,
    slot::{SLOTS, Slot},
};

pub use self::share::Share;

/// A node as placement sees it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Placed {
    /// Its identity, from which its tokens follow.
    pub id: NodeId,
    /// What may fail together with it: a rack, a host, a data centre's zone.
    pub zone: String,
    /// Its part of the load relative to others, 1 to [`MAX_WEIGHT`]. A weight outside is taken as the nearest inside.
    pub weight: u32,
}

/// The largest weight: it bounds the number of vnodes that a peer can make everyone sort.
pub const MAX_WEIGHT: u32 = 100;

/// What the members of a cluster must agree upon to compute the same table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How many slots the ring has: a power of two, at most 16384. Only the simulator uses fewer.
    pub slots: usize,
    /// How many copies of each slot there should be.
    pub replicas: usize,
    /// Vnodes per unit of weight.
    ///
    /// More vnodes mean fewer slots handed on by the caps, and less movement when the caps move; fewer mean fewer
    /// ranges for clients to read. In 8,000 random clusters of 3 to 50 nodes the worst join moved 1.31 times the
    /// ideal with 256 vnodes, 1.26 times with 384 and 1.21 times with 512 (`circlet-placement --vnodes`);
    /// the ranges of six nodes with two copies are 1,233, 1,829 and 2,401.
    pub vnodes: u32,
    /// How far above its fair share a node's load may be, in thousandths.
    pub tolerance_permille: u32,
}

impl Settings {
    /// The settings of a cluster with this many copies of each slot.
    pub const fn new(replicas: usize) -> Settings {
        Settings { slots: SLOTS, replicas, vnodes: 512, tolerance_permille: 50 }
    }
}

/// How many slots a node should hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Slots in which the node is the first owner.
    pub first: u32,
    /// Slots in which it is an owner.
    pub copies: u32,
}

/// The owners of each slot, in order.
///
/// Compact: two bytes an owner and a few for the walk, some 200 KiB for fifty nodes. Nodes are known inside by their
/// place in the list of nodes, which is sorted by identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    settings: Settings,
    nodes: Vec<Placed>,
    /// Copies of each slot: as many as the settings ask for, or as there are nodes.
    depth: usize,
    /// `depth` owners for each slot, slot after slot.
    owners: Vec<u16>,
    loads: Vec<Load>,
    shares: Vec<Share>,
    zones: Vec<u16>,
    walks: Walks,
}

impl Table {
    /// The table of these members, whatever order they come in. Of two members with one identity the lesser counts.
    ///
    /// # Panics
    ///
    /// If the number of slots is not a power of two up to 16384, or there are more than 65,535 nodes: both are
    /// settled before anyone computes a table.
    pub fn compute(members: &[Placed], settings: &Settings) -> Table {
        assert!(settings.slots.is_power_of_two() && settings.slots <= SLOTS, "slots: a power of two up to 16384");
        let nodes = sorted(members);
        assert!(nodes.len() <= usize::from(u16::MAX), "nodes: at most 65535");
        let zones = zones(&nodes);
        let depth = settings.replicas.min(nodes.len());
        let bounds = Bounds::of(&nodes, &zones, depth, settings);
        let walks = Walks::of(&nodes, settings);
        let Draft { owners, loads, .. } = Draft::fill(&walks, &zones, depth, &bounds);
        Table { settings: *settings, nodes, depth, owners, loads, shares: bounds.shares, zones, walks }
    }

    /// What the table was computed with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The nodes, by identity.
    pub fn nodes(&self) -> &[Placed] {
        &self.nodes
    }

    /// How many owners each slot has.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// The slots of this ring.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = Slot> + DoubleEndedIterator + Clone {
        Slot::all().take(self.settings.slots)
    }

    /// Who should hold the slot, the first owner first.
    pub fn owners(&self, slot: Slot) -> impl ExactSizeIterator<Item = NodeId> + DoubleEndedIterator + Clone {
        self.row(slot).iter().map(|&node| self.nodes[usize::from(node)].id)
    }

    /// Who should execute the slot's commands.
    pub fn first(&self, slot: Slot) -> Option<NodeId> {
        self.owners(slot).next()
    }

    /// The node's place among the slot's owners, 0 for the first.
    pub fn rank(&self, slot: Slot, node: NodeId) -> Option<usize> {
        self.owners(slot).position(|owner| owner == node)
    }

    /// Every node in the order in which it would hold the slot: the owners, then the others as the walk meets them.
    pub fn succession(&self, slot: Slot) -> impl Iterator<Item = NodeId> {
        let owners = self.row(slot);
        let others = self.walks.distinct(slot.index(), self.nodes.len()).filter(|node| !owners.contains(node));
        owners.iter().copied().chain(others).map(|node| self.nodes[usize::from(node)].id)
    }

    /// What the node holds, if it is in the table.
    pub fn load(&self, node: NodeId) -> Option<Load> {
        self.place(node).map(|at| self.loads[at])
    }

    /// What the node should hold, if it is in the table.
    pub fn share(&self, node: NodeId) -> Option<Share> {
        self.place(node).map(|at| self.shares[at])
    }

    /// Every node with what it holds and what it should hold, by identity.
    pub fn loads(&self) -> impl ExactSizeIterator<Item = (&Placed, Load, Share)> {
        self.nodes.iter().zip(&self.loads).zip(&self.shares).map(|((node, &load), &share)| (node, load, share))
    }

    /// How many zones there are.
    pub fn zones(&self) -> usize {
        self.zones.iter().max().map_or(0, |&last| usize::from(last) + 1)
    }

    /// How many zones hold a copy of the slot.
    pub fn zones_of(&self, slot: Slot) -> usize {
        distinct_zones(self.row(slot), &self.zones)
    }

    /// Where a node stands in the list of nodes.
    fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.binary_search_by_key(&node, |placed| placed.id).ok()
    }

    /// The slot's owners; none for a slot beyond this ring.
    fn row(&self, slot: Slot) -> &[u16] {
        let from = slot.index() * self.depth;
        self.owners.get(from..from + self.depth).unwrap_or_default()
    }
}

/// The members by identity, each once, with weights within bounds.
fn sorted(members: &[Placed]) -> Vec<Placed> {
    let mut nodes = members.to_vec();
    nodes.iter_mut().for_each(|node| node.weight = node.weight.clamp(1, MAX_WEIGHT));
    nodes.sort_unstable();
    nodes.dedup_by_key(|node| node.id);
    nodes
}

/// Zones as small numbers: equal names, equal numbers, counted from 0 without a hole.
fn zones(nodes: &[Placed]) -> Vec<u16> {
    let mut names: Vec<&str> = nodes.iter().map(|node| node.zone.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    nodes.iter().map(|node| names.partition_point(|name| *name < node.zone.as_str()) as u16).collect()
}

/// How many zones these nodes are in.
fn distinct_zones(nodes: &[u16], zones: &[u16]) -> usize {
    let zone = |at: usize| zones[usize::from(nodes[at])];
    (0..nodes.len()).filter(|&at| !(0..at).any(|before| zone(before) == zone(at))).count()
}

#[cfg(test)]
mod tests;

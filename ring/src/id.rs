//! Names of things on the ring: nodes, boots of nodes, tenures, and small sets of peers.

use core::fmt;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// A node's identity on the ring: 20 bytes, written as 40 hexadecimal digits, as Redis Cluster writes them.
///
/// The identity outlives restarts where the node keeps it; its tokens, and so the slots it should hold, follow
/// from it alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId([u8; 20]);

impl NodeId {
    /// The identity made of these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> NodeId {
        NodeId(bytes)
    }

    /// An identity derived from a seed: equal seeds give equal identities.
    pub fn from_seed(seed: u64) -> NodeId {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&xxh3_128(&seed.to_le_bytes()).to_be_bytes());
        bytes[16..].copy_from_slice(&xxh3_64(&seed.to_be_bytes()).to_be_bytes()[..4]);
        NodeId(bytes)
    }

    /// Reads 40 hexadecimal digits, of either case.
    pub fn parse(text: &str) -> Option<NodeId> {
        let text = text.as_bytes();
        if text.len() != 40 {
            return None;
        }
        let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(NodeId(bytes))
    }

    /// The identity as bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The first eight digits: enough to tell the nodes of a log apart.
    pub fn short(&self) -> impl fmt::Display + use<> {
        struct Short([u8; 4]);
        impl fmt::Display for Short {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        Short([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.short())
    }
}

/// One boot of a node. Of two boots of one node the higher is the later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The highest that is believed. It is a boot's time in milliseconds, so this is far away; the room above it
    /// keeps "one more than the highest heard" from running over.
    pub const MAX: Incarnation = Incarnation(1 << 53);
}

/// One tenure of a slot's copy: drawn anew at each boot, and again whenever a node opens a slot it did not hold.
///
/// An origin is never used twice. It names who issued a write, and a context claims to know *every* write of an
/// origin up to some time; a node that lost its memory and went on under the old origin would make that claim
/// false (Riak's issue 679 is the well-known case). Origins are 64 random bits, so a collision among the few
/// thousand that a cluster ever draws need not be handled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Origin(pub u64);

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{:x}", self.0)
    }
}

/// A node's short name for a peer, given by the node itself: an index below [`MAX_PEERS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub u8);

impl Peer {
    /// The index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// How many peers a node can know at a time. A node that finds no free index refuses the newcomer.
pub const MAX_PEERS: usize = 128;

/// A set of peers as one machine word pair: copied, compared and walked without allocation.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerSet(u128);

impl PeerSet {
    /// No peer.
    pub const EMPTY: PeerSet = PeerSet(0);

    /// Whether the peer is in the set.
    pub const fn contains(self, peer: Peer) -> bool {
        self.0 >> peer.0 & 1 == 1
    }

    /// Adds a peer; true if it was not there.
    pub fn insert(&mut self, peer: Peer) -> bool {
        let before = self.0;
        self.0 |= 1 << peer.0;
        before != self.0
    }

    /// Takes a peer out; true if it was there.
    pub fn remove(&mut self, peer: Peer) -> bool {
        let before = self.0;
        self.0 &= !(1 << peer.0);
        before != self.0
    }

    /// Whether no peer is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many peers are in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The peers in either set.
    #[must_use]
    pub const fn union(self, other: PeerSet) -> PeerSet {
        PeerSet(self.0 | other.0)
    }

    /// The peers in both sets.
    #[must_use]
    pub const fn intersection(self, other: PeerSet) -> PeerSet {
        PeerSet(self.0 & other.0)
    }

    /// The peers of this set that are not in the other.
    #[must_use]
    pub const fn difference(self, other: PeerSet) -> PeerSet {
        PeerSet(self.0 & !other.0)
    }

    /// The peers, by index.
    pub fn iter(self) -> impl Iterator<Item = Peer> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            (rest != 0).then(|| {
                let peer = Peer(rest.trailing_zeros() as u8);
                rest &= rest - 1;
                peer
            })
        })
    }
}

impl FromIterator<Peer> for PeerSet {
    fn from_iter<I: IntoIterator<Item = Peer>>(peers: I) -> PeerSet {
        let mut set = PeerSet::EMPTY;
        for peer in peers {
            set.insert(peer);
        }
        set
    }
}

impl fmt::Debug for PeerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::BTreeSet, string::ToString, vec::Vec};
    use proptest::prelude::*;

    #[test]
    fn identities_are_read_as_they_are_written() {
        let id = NodeId::from_seed(7);
        assert_eq!(NodeId::parse(&id.to_string()), Some(id));
        assert_eq!(NodeId::parse("abc"), None);
        assert_eq!(NodeId::parse(&"g".repeat(40)), None);
        assert_eq!(id.to_string()[..8], id.short().to_string());
    }

    proptest! {
        #[test]
        fn a_peer_set_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u8..128), 0..60)) {
            let (mut set, mut twin) = (PeerSet::EMPTY, BTreeSet::new());
            for (add, peer) in steps {
                if add { prop_assert_eq!(set.insert(Peer(peer)), twin.insert(peer)); }
                else { prop_assert_eq!(set.remove(Peer(peer)), twin.remove(&peer)); }
            }
            prop_assert_eq!(set.iter().map(|peer| peer.0).collect::<Vec<_>>(), twin.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len(), twin.len());
            prop_assert_eq!(set.is_empty(), twin.is_empty());
        }
    }
}

//! Facts: what every node says about itself, carried to every other node by gossip.
//!
//! Each node writes keys and values into a namespace of its own and nowhere else; every node holds a copy of every
//! namespace. A change raises the version of its namespace, so a copy is described by one number: *everything up to
//! version v*. Two nodes agree in three messages:
//!
//! ```text
//!   A                                       B
//!   ├── digest: a copy's version, per node ─►│
//!   │◄── delta: what A's copies lack ────────┤
//!   │◄── digest ─────────────────────────────┤
//!   ├── delta: what B's copies lack ────────►│
//! ```
//!
//! This is the scuttlebutt reconciliation of van Renesse, Dumitriu, Gough and Thomas, "Efficient Reconciliation and
//! Flow Control for Anti-Entropy Protocols" (LADIS 2008). Deltas run in order of versions, so one that had to be cut
//! to a size leaves a true copy of an earlier state behind and the next round goes on from there. A node also pushes
//! its own changes at once ([`Facts::fresh`]); gossip is what repairs whatever a push missed.
//!
//! # Laws
//!
//! * **One author.** Only the node itself writes its namespace. Of two incarnations the higher one wins and the
//!   lower one is never looked at again.
//! * **Prefix.** A copy at version `v` holds exactly the keys that the author had at some time at or after `v`, as
//!   far as they were last written at or before `v`. Hence a section is taken in only if it begins at or before the
//!   copy's version.
//! * **Floor.** Removing a key leaves nothing behind. Instead the namespace remembers the version of its last
//!   removal: a copy from before this floor is sent the whole namespace, in one piece, in place of its own. Removals
//!   are rare and a namespace is small, so this costs less than keeping and collecting gravestones of keys.
//! * **Burial.** A node that is over is forgotten with all its facts; a grave, the highest incarnation that is over,
//!   keeps a laggard from bringing it back. Graves travel in digests. A node that hears of its own grave and lives
//!   goes on under a higher incarnation ([`Facts::raise`]).
//!
//! # Limits
//!
//! Everything that a stranger can make a node hold is bounded: see [`MAX_NAMESPACES`], [`MAX_KEYS`],
//! [`MAX_NAMESPACE_BYTES`] and [`MAX_GRAVES`]. What goes beyond is refused and counted; facts never grow past
//! [`MAX_NAMESPACES`] × [`MAX_NAMESPACE_BYTES`], 16 MiB.

mod graves;
mod namespace;
mod wire;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, btree_map},
    vec::Vec,
};

use self::graves::Graves;
pub use self::{
    graves::{Grave, MAX_GRAVES},
    namespace::{Full, MAX_KEY_BYTES, MAX_KEYS, MAX_NAMESPACE_BYTES, MAX_VALUE_BYTES, Namespace},
    wire::{Delta, Digest, Fact, Row, Section},
};
use crate::id::{Incarnation, NodeId};

/// How many nodes' facts are held, this node's included: twice the peers that a node can have, so that the members
/// that went away and are not forgotten yet find room. Further nodes are refused until some are forgotten.
pub const MAX_NAMESPACES: usize = 256;

/// All facts that a node holds.
#[derive(Debug)]
pub struct Facts {
    me: NodeId,
    namespaces: BTreeMap<NodeId, Namespace>,
    graves: Graves,
    refused: u64,
}

/// What became known by taking in a delta or a digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A node, or a new incarnation of it. What its former incarnation said is void.
    Appeared(NodeId, Incarnation),
    /// The node says something new under this key.
    Set(NodeId, Box<[u8]>),
    /// The node withdrew what it said under this key.
    Withdrawn(NodeId, Box<[u8]>),
    /// Somebody holds facts of this node that the node did not write, up to this incarnation: of a former boot whose
    /// clock was ahead, of a twin under the same name, or its own grave. [`crate::boot::heard_of_myself`] says what to
    /// do.
    Myself(Incarnation),
    /// A peer buried this node up to this incarnation and we did not. Whoever has no live session with it under that
    /// incarnation follows with [`Facts::bury`].
    Buried(Grave),
}

impl Facts {
    /// The facts of a node that has said and heard nothing.
    pub fn new(me: NodeId, incarnation: Incarnation) -> Facts {
        let namespaces = BTreeMap::from([(me, Namespace::authored(incarnation))]);
        Facts { me, namespaces, graves: Graves::default(), refused: 0 }
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// This node's incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.mine().incarnation()
    }

    /// The version of this node's own namespace: what to remember before a change, to push it with [`Facts::fresh`].
    pub fn version(&self) -> u64 {
        self.mine().version()
    }

    /// Says something: the version rises and the fact travels. False if it was said already.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Full> {
        self.mine_mut().set(key, value)
    }

    /// Takes something back. False if it was not said.
    pub fn withdraw(&mut self, key: &[u8]) -> bool {
        self.mine_mut().withdraw(key)
    }

    /// What the node says under the key.
    pub fn value(&self, node: NodeId, key: &[u8]) -> Option<&[u8]> {
        self.namespaces.get(&node)?.value(key)
    }

    /// All nodes that facts are held of, in order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeId, &Namespace)> {
        self.namespaces.iter().map(|(&node, namespace)| (node, namespace))
    }

    /// The highest incarnation of the node that is over, if that is known.
    pub fn grave(&self, node: NodeId) -> Option<Incarnation> {
        self.graves.of(node)
    }

    /// How many sections were refused since the start because a limit was reached.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What this node holds, in a few bytes per node: the first message of an exchange.
    pub fn digest(&self) -> Digest {
        let row = |(&node, namespace): (&NodeId, &Namespace)| Row {
            node,
            incarnation: namespace.incarnation(),
            version: namespace.version(),
        };
        Digest { rows: self.namespaces.iter().map(row).collect(), graves: self.graves.iter().collect() }
    }

    /// What the sender of the digest lacks, at most `limit_bytes` of it when encoded.
    ///
    /// The namespaces of which least is missing come first, so that the news of many nodes is not held up by the bulk
    /// of one. A limit below the size of one whole namespace counts as that size: every round must be able to carry
    /// something.
    pub fn delta_for(&self, digest: &Digest, limit_bytes: usize) -> Delta {
        let mut missing: Vec<_> = self.missing(digest).collect();
        missing.sort_by_key(|&(node, _, bytes)| (bytes, node));
        let mut left =
            limit_bytes.max(Delta::HEAD_BYTES + Section::HEAD_BYTES + MAX_NAMESPACE_BYTES) - Delta::HEAD_BYTES;
        let mut delta = Delta::default();
        for (node, known, _) in missing {
            let Some(section) = self.namespaces.get(&node).and_then(|namespace| namespace.section(node, known, left))
            else {
                continue;
            };
            left -= section.encoded_len();
            delta.sections.push(section);
        }
        delta
    }

    /// This node's own changes since its version was `since`, to be pushed to everybody at once.
    pub fn fresh(&self, since: u64) -> Delta {
        Delta { sections: self.mine().section(self.me, since, usize::MAX).into_iter().collect() }
    }

    /// Takes in what a peer sent.
    pub fn apply(&mut self, delta: Delta) -> Vec<Change> {
        let mut changes = Vec::new();
        for section in delta.sections {
            self.apply_section(section, &mut changes);
        }
        changes
    }

    /// What a peer's digest tells beyond what it asks for: who is over.
    pub fn heed(&self, digest: &Digest) -> Vec<Change> {
        let mine = (self.me, self.incarnation());
        let news = |grave: &Grave| match self.namespaces.get(&grave.node) {
            _ if grave.node == self.me => (grave.incarnation >= mine.1).then_some(Change::Myself(grave.incarnation)),
            Some(namespace) => (namespace.incarnation() <= grave.incarnation).then_some(Change::Buried(*grave)),
            None => (self.graves.of(grave.node) < Some(grave.incarnation)).then_some(Change::Buried(*grave)),
        };
        let twin = digest.rows.iter().find(|row| row.node == self.me && self.is_foreign(row.incarnation, row.version));
        let twin = twin.map(|row| Change::Myself(row.incarnation));
        digest.graves.iter().filter_map(news).chain(twin).collect()
    }

    /// Forgets a node that is over, and refuses its facts up to this incarnation from now on. Nobody buries himself:
    /// false for this node.
    pub fn bury(&mut self, grave: Grave) -> bool {
        if grave.node == self.me {
            return false;
        }
        self.graves.add(grave);
        if self.namespaces.get(&grave.node).is_some_and(|namespace| namespace.incarnation() <= grave.incarnation) {
            self.namespaces.remove(&grave.node);
        }
        true
    }

    /// Goes on under a higher incarnation, with everything that this node says, and buries the former one. False if
    /// it is not higher.
    pub fn raise(&mut self, incarnation: Incarnation) -> bool {
        if incarnation <= self.incarnation() || incarnation > Incarnation::MAX {
            return false;
        }
        self.graves.add(Grave { incarnation: Incarnation(incarnation.0 - 1), node: self.me });
        self.mine_mut().raise(incarnation);
        true
    }

    fn mine(&self) -> &Namespace {
        self.namespaces.get(&self.me).expect("a node's own namespace is made with it and never buried")
    }

    fn mine_mut(&mut self) -> &mut Namespace {
        self.namespaces.get_mut(&self.me).expect("a node's own namespace is made with it and never buried")
    }

    /// Whether such facts of this node cannot have been written by it.
    fn is_foreign(&self, incarnation: Incarnation, version: u64) -> bool {
        (incarnation, version) > (self.incarnation(), self.version())
    }

    /// The nodes of which the digest's sender lacks something: from which version on, and how many bytes.
    fn missing(&self, digest: &Digest) -> impl Iterator<Item = (NodeId, u64, usize)> {
        let theirs: BTreeMap<NodeId, &Row> = digest.rows.iter().map(|row| (row.node, row)).collect();
        let mut graves: BTreeMap<NodeId, Incarnation> = BTreeMap::new();
        for grave in &digest.graves {
            let deepest = graves.entry(grave.node).or_default();
            *deepest = grave.incarnation.max(*deepest);
        }
        self.namespaces.iter().filter_map(move |(&node, namespace)| {
            if graves.get(&node).is_some_and(|&over| namespace.incarnation() <= over) {
                return None;
            }
            let known = match theirs.get(&node) {
                Some(row) if row.incarnation > namespace.incarnation() => return None,
                Some(row) if row.incarnation == namespace.incarnation() => row.version,
                _ => 0,
            };
            (known < namespace.version()).then(|| (node, known, namespace.bytes_since(known)))
        })
    }

    fn apply_section(&mut self, section: Section, changes: &mut Vec<Change>) {
        let node = section.node;
        if node == self.me {
            if self.is_foreign(section.incarnation, section.to) {
                changes.push(Change::Myself(section.incarnation));
            }
            return;
        }
        if self.graves.of(node).is_some_and(|over| section.incarnation <= over) {
            return;
        }
        let room = self.namespaces.len() < MAX_NAMESPACES;
        let namespace = match self.namespaces.entry(node) {
            btree_map::Entry::Occupied(held) if held.get().incarnation() > section.incarnation => return,
            btree_map::Entry::Occupied(held) if held.get().incarnation() == section.incarnation => held.into_mut(),
            // Of an incarnation that is new here only the beginning can be taken in.
            _ if section.from > 0 => return,
            btree_map::Entry::Vacant(_) if !room => {
                self.refused += 1;
                return;
            }
            entry => {
                changes.push(Change::Appeared(node, section.incarnation));
                entry.insert_entry(Namespace::new(section.incarnation)).into_mut()
            }
        };
        if namespace.absorb(section, changes).is_err() {
            self.refused += 1;
        }
    }
}

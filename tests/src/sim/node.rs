//! One node of the simulation: a control machine, its copies, its half of the sessions.

use std::collections::VecDeque;

use ring::{
    control::{Control, Slots},
    hlc::HlcClock,
    id::{NodeId, Peer, PeerSet},
    replica::{Digest, Replica, Role},
    slot::Slot,
    slot_set::SlotSet,
};

use super::{
    model::{Model, Writes},
    reports::Report,
    taking_in::Meanwhile,
};

/// One node.
#[derive(Debug)]
pub struct SimNode {
    /// Whether it is part of the cluster.
    pub standing: Standing,
    /// Whether it runs.
    pub up: bool,
    /// Which boot this is.
    pub boot: u32,
    /// Its identity.
    pub id: NodeId,
    /// Its machine.
    pub control: Control,
    /// Its copies.
    pub copies: Copies,
    /// What it says that it is ready for.
    pub ready: SlotSet,
    /// Where it sends commands, by slot.
    pub route: Vec<Option<Peer>>,
    /// Which targets it knows.
    pub targets: usize,
    /// For which slots it has executed commands since it started.
    pub executed: Vec<bool>,
    /// Which nodes it knows to be no members any more.
    pub forgotten: PeerSet,
    /// What it had of each slot, by peer, when it last knew that the peer had it too: for a mutation.
    pub(super) clean: Vec<Vec<Option<Digest>>>,
    /// Its half of each session.
    pub sessions: Vec<Session>,
    /// What its machine has not heard yet.
    pub(super) reports: Vec<Report>,
}

impl SimNode {
    /// Whether it acts for the slot.
    pub fn acts(&self, slot: Slot) -> bool {
        self.copies.slots[slot.index()].role() == Role::Acting
    }
}

/// Whether a node is part of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has not come yet.
    Waiting,
    /// Slots are placed on it.
    Member,
    /// No slot is placed on it any more; it stays until it holds none.
    Leaving,
    /// It does not come back.
    Gone,
}

/// One half of a session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Whether this half is open.
    pub open: bool,
    /// In which step it was opened.
    pub since: usize,
    /// The link broke and this node has not noticed yet.
    pub broken: bool,
    /// Which session this is, for its effects and their acknowledgements.
    pub name: u64,
    /// Effects sent in this session.
    pub sent: u64,
    /// The last effect received: the sender's session and the position in it.
    pub received: (u64, u64),
    /// Slots that took something in and do not count yet: the peer is told with each acknowledgement.
    pub not_counting: Vec<Slot>,
    /// What the peer has not acknowledged as counting: position, slot, what it is.
    pub unacknowledged: VecDeque<(u64, Slot, Asked)>,
}

/// What a peer is to acknowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The write of this number.
    Write(usize),
    /// Everything that the acting node had when somebody waited for it: the wait of this number.
    Everything(usize),
}

/// A node's copies.
#[derive(Debug)]
pub struct Copies {
    /// One for each slot.
    pub slots: Vec<Replica<Model>>,
    /// The clock of the one shard.
    pub clock: HlcClock,
    /// What is taken in while the machine works.
    pub(super) meanwhile: Meanwhile,
    /// A mutation: digests are equal if the contexts are.
    pub(super) folds_ignored: bool,
}

impl Copies {
    /// Nothing is held of any slot.
    pub fn new(slots: u16, writes: &Writes, park_limit: usize, mutations: ring::replica::Mutations) -> Copies {
        let copy = |number| {
            let slot = Slot::new(number).expect("a ring of the simulator has few slots");
            let model = Model::new(number, writes.clone());
            Replica::absent(slot, model).with_park_limit(park_limit).with_mutations(mutations)
        };
        Copies {
            slots: (0..slots).map(copy).collect(),
            clock: HlcClock::default(),
            meanwhile: Meanwhile::default(),
            folds_ignored: false,
        }
    }
}

impl Slots for Copies {
    type Entries = Model;

    fn with<R>(&mut self, slot: Slot, f: impl FnOnce(&mut Replica<Model>) -> R) -> R {
        self.take_in_meanwhile();
        f(&mut self.slots[slot.index()])
    }
}

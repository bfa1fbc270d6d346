//! The view: what the facts say about the ring, as one value.
//!
//! A view is computed from facts and from nothing else, so equal facts give equal views, whatever the order in which
//! they came. It says where slots may be placed ([`View::placed`], from which the caller computes the table of
//! targets T(s)) and who serves a slot now ([`View::serving`], S(s)). Its name is its [`Epoch`]; two nodes with the
//! same epoch place and serve alike.
//!
//! Facts that cannot be read are left out and counted: a member without readable name, addresses and state is not in
//! the view. Keys that this version does not know are no error, a later version may have written them.

use alloc::{collections::BTreeSet, vec::Vec};
use core::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::{
    codec::{Malformed, Reader},
    facts::{Facts, Grave, Namespace},
    hlc::Hlc,
    id::{Incarnation, NodeId},
    member::{Key, Meta, PublishedSlots, Standing, State, Statement, Status, dispute},
    slot::Slot,
    slot_set::{CHUNK, SlotSet},
};

/// The ring as some facts describe it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    members: Vec<Member>,
    strangers: Vec<Grave>,
    epoch: Epoch,
    unreadable: usize,
}

/// One node in a view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its identity.
    pub id: NodeId,
    /// Its own word and the others' about its present incarnation.
    pub status: Status,
    /// Names, addresses, zone and weight.
    pub meta: Meta,
    /// The slots that it says it holds completely.
    pub ready: SlotSet,
    /// The live members that cannot reach its present incarnation, by their own word, in order. The dead say nothing.
    pub unreachable_for: Vec<NodeId>,
    /// The latest statement that counts, about any incarnation of it: a node that restarts keeps its record.
    pub last_statement: Option<Statement>,
    /// The latest accusation that does not count and that the member has not answered: see [`dispute`].
    pub void_accusation: Option<Statement>,
}

/// The name of a view.
///
/// The height orders epochs for people and for `cluster_current_epoch`; whether two views are the same is decided by
/// the whole. What members say about reaching each other is not part of it: that moves no slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch {
    /// The latest time in the facts that the view comes from.
    pub height: Hlc,
    /// A digest of the members.
    pub hash: u64,
}

impl View {
    /// The view that these facts describe, of a ring of `slots` slots.
    pub fn derive(facts: &Facts, slots: usize) -> View {
        let mut gathering = Gathering {
            slots,
            members: Vec::new(),
            strangers: Vec::new(),
            statements: BTreeSet::new(),
            height: Hlc::ZERO,
            unreadable: 0,
        };
        for (node, namespace) in facts.nodes() {
            gathering.add_member(node, namespace);
        }
        for (author, namespace) in facts.nodes() {
            gathering.add_words_about_others(author, namespace);
        }
        gathering.settle_disputes(facts);
        gathering.silence_the_dead();
        gathering.view()
    }

    /// The name of this view.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// All members, those that are over included, in order of their identities.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One member.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        find(&self.members, node).map(|at| &self.members[at])
    }

    /// The members that slots are placed on, with zone and weight, in order of their identities: the input of the
    /// table of targets.
    pub fn placed(&self) -> impl Iterator<Item = (NodeId, &str, u32)> {
        let placed = self.members.iter().filter(|member| member.standing().is_placed());
        placed.map(|member| (member.id, &*member.meta.zone, member.meta.weight))
    }

    /// S(s): the live members that are ready for the slot, those of `targets` first and in that order, then the
    /// provisional holders. These come in an order that differs from slot to slot, so that they share the work.
    pub fn serving(&self, slot: Slot, targets: &[NodeId]) -> Vec<NodeId> {
        let mut serving: Vec<NodeId> = self.ready(slot).map(|member| member.id).collect();
        serving.sort_by_cached_key(|id| match targets.iter().position(|target| target == id) {
            Some(rank) => (rank, 0),
            None => (targets.len(), xxh3_64_with_seed(id.as_bytes(), u64::from(slot.number()))),
        });
        serving
    }

    /// The live members that are ready for the slot, in order of their identities.
    pub fn ready(&self, slot: Slot) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.standing().is_live() && member.ready.contains(slot))
    }

    /// How many members must be in reach of each other for a majority of all: whoever did not leave counts, even
    /// those that were given up, until they are forgotten.
    pub fn majority(&self) -> usize {
        self.members.iter().filter(|member| member.status.state != State::Left).count() / 2 + 1
    }

    /// The nodes of which facts are held that do not make a member, with the incarnation that they are of: the rest
    /// of the facts is still on its way, or never comes.
    pub fn strangers(&self) -> &[Grave] {
        &self.strangers
    }

    /// How many facts could not be read.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }
}

impl Member {
    /// What the node is to the ring.
    pub fn standing(&self) -> Standing {
        self.status.standing()
    }

    /// The boot that all this is about.
    pub fn incarnation(&self) -> Incarnation {
        self.status.incarnation
    }

    /// The member with the least seniority is the oldest: who joined first, and of two the smaller identity.
    pub fn seniority(&self) -> (u64, NodeId) {
        (self.meta.joined_unix_ms, self.id)
    }

    fn digest(&self, hasher: &mut Xxh3, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(self.id.as_bytes());
        buffer.extend_from_slice(&self.incarnation().0.to_le_bytes());
        buffer.push(self.standing() as u8);
        self.meta.encode(buffer);
        self.ready.encode(buffer);
        hasher.update(&(buffer.len() as u64).to_le_bytes());
        hasher.update(buffer);
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:016x}", self.height, self.hash)
    }
}

/// A view in the making.
struct Gathering {
    slots: usize,
    members: Vec<Member>,
    strangers: Vec<Grave>,
    statements: BTreeSet<(NodeId, Statement)>,
    height: Hlc,
    unreadable: usize,
}

impl Gathering {
    /// Takes in what a node says about itself. Namespaces come in order of their nodes.
    fn add_member(&mut self, id: NodeId, namespace: &Namespace) {
        let meta = namespace.value(b"meta").map(Meta::decode);
        let state = namespace.value(b"state").map(State::decode);
        let (Some(meta), Some((state, since))) = (self.readable(meta), self.readable(state)) else {
            self.strangers.push(Grave { incarnation: namespace.incarnation(), node: id });
            return;
        };
        self.height = self.height.max(since);
        let mut ready = SlotSet::new(self.slots);
        for chunk in 0..self.slots.div_ceil(CHUNK) as u8 {
            let piece = namespace.value(&Key::Ready(chunk).to_bytes());
            let piece = piece.map(|bytes| PublishedSlots::decode(bytes, chunk, self.slots));
            if let Some(piece) = self.readable(piece) {
                self.height = self.height.max(piece.at);
                ready.set_chunk(usize::from(chunk), &piece.slots);
            }
        }
        let status = Status::new(namespace.incarnation()).with_state(state);
        let (unreachable_for, last_statement, void_accusation) = (Vec::new(), None, None);
        self.members.push(Member { id, status, meta, ready, unreachable_for, last_statement, void_accusation });
    }

    /// Takes in what a node says about others.
    fn add_words_about_others(&mut self, author: NodeId, namespace: &Namespace) {
        for (key, value) in namespace.iter() {
            match Key::parse(key) {
                Some(Key::Verdict(about)) => {
                    if let Some(statement) = self.readable(Some(Statement::decode(value))) {
                        self.statements.insert((about, statement));
                    }
                }
                Some(Key::Unreach(about)) => {
                    if let Some(incarnation) = self.readable(Some(Reader(value).incarnation())) {
                        self.add_report(about, incarnation, author);
                    }
                }
                _ => {}
            }
        }
    }

    fn settle_disputes(&mut self, facts: &Facts) {
        let statements = core::mem::take(&mut self.statements);
        let incarnation = |id| self.member(id).map(|member| member.incarnation());
        let settled = dispute::settle(statements, incarnation, |id| facts.grave(id));
        for (about, statement) in settled.valid {
            let Some(member) = self.member_mut(about) else { continue };
            member.status = member.status.with_statement(statement);
            member.last_statement = member.last_statement.max(Some(statement));
        }
        for (about, statement) in settled.void {
            let Some(member) = self.member_mut(about) else { continue };
            member.void_accusation = member.void_accusation.max(Some(statement));
        }
    }

    fn silence_the_dead(&mut self) {
        let live = |member: &&Member| member.standing().is_live();
        let live: Vec<NodeId> = self.members.iter().filter(live).map(|member| member.id).collect();
        for member in &mut self.members {
            member.unreachable_for.retain(|witness| live.binary_search(witness).is_ok());
        }
    }

    fn add_report(&mut self, about: NodeId, incarnation: Incarnation, author: NodeId) {
        if let Some(member) = self.member_mut(about)
            && member.incarnation() == incarnation
        {
            member.unreachable_for.push(author);
        }
    }

    fn member(&self, node: NodeId) -> Option<&Member> {
        find(&self.members, node).map(|at| &self.members[at])
    }

    fn member_mut(&mut self, node: NodeId) -> Option<&mut Member> {
        find(&self.members, node).map(|at| &mut self.members[at])
    }

    fn readable<T>(&mut self, read: Option<Result<T, Malformed>>) -> Option<T> {
        let read = read?;
        self.unreadable += usize::from(read.is_err());
        read.ok()
    }

    fn view(self) -> View {
        let (mut hasher, mut buffer) = (Xxh3::new(), Vec::new());
        self.members.iter().for_each(|member| member.digest(&mut hasher, &mut buffer));
        let spoken = self.members.iter().filter_map(|member| member.status.statement).map(|statement| statement.at);
        let height = spoken.fold(self.height, Hlc::max);
        let epoch = Epoch { height, hash: hasher.digest() };
        View { members: self.members, strangers: self.strangers, epoch, unreadable: self.unreadable }
    }
}

fn find(members: &[Member], node: NodeId) -> Option<usize> {
    members.binary_search_by_key(&node, |member| member.id).ok()
}

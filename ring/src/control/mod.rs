//! The control machine: one node's half of every conversation about who holds a slot and who acts for it.
//!
//! It is told the targets, who is in session, who is ready for what, and what peers say; it changes roles in the
//! store, each under one hold of the slot's lock, and answers with messages to send and snapshots to fetch. It is the
//! only one that changes roles. It knows no clock: time matters only to whoever drives it, who calls
//! [`Control::tick`] every 100 ms or so and ends a session (reporting it down) when the peer falls silent.
//!
//! Every change of the ring is the same loop, one slot at a time:
//!
//! ```text
//!   I am in T(s) and hold nothing ──► register where it acts, fetch a snapshot, be ready        (pull)
//!   I am ready and the first of S(s) that I can reach ──► stop all others, join, act            (acquire)
//!   I am ready, not in T(s), and all of T(s) is ready ──► ask each, forget                      (release)
//!   my copy differs from a peer's ──► fetch its snapshot, tell it to fetch mine                 (compare)
//!   my copy is not what its context says ──► forget it while another one is served, pull         (mend)
//! ```
//!
//! T(s) are the targets, S(s) the ready holders with the targets first. What each step must guarantee is written at
//! its file. A session between two nodes is ordered and whole: if any part of it breaks all of it ends, and a new one
//! begins with what both have ([`Input::SessionUp`]).

mod acquire;
mod apart;
mod compare;
mod mend;
pub mod message;
mod peers;
mod pull;
mod release;
mod slots;

use alloc::{collections::VecDeque, vec::Vec};

use crate::{
    id::{NodeId, Origin, Peer, PeerSet},
    replica::{Joined, Role},
    slot::Slot,
    slot_set::SlotSet,
};
use acquire::Acquire;
use apart::Enquiry;
pub use message::{Body, Held, Message};
use peers::Peers;
use pull::Pull;
use release::Release;
pub use slots::Slots;

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Where every slot should live, in order.
    Targets(Targets),
    /// A session with this peer has begun; it holds these slots by its own word.
    SessionUp {
        /// The peer.
        peer: Peer,
        /// Its identity.
        id: NodeId,
        /// What it is ready for.
        ready: SlotSet,
    },
    /// The session with this peer is over: its streams ended or it fell silent.
    SessionDown {
        /// The peer.
        peer: Peer,
    },
    /// What a peer is ready for, in session or not; gossip tells.
    Ready {
        /// The peer.
        peer: Peer,
        /// Its identity.
        id: NodeId,
        /// What it is ready for.
        ready: SlotSet,
    },
    /// Whom a peer is in session with, by its own word.
    Reach {
        /// The peer, in session.
        peer: Peer,
        /// Those nodes.
        nodes: Vec<NodeId>,
    },
    /// The peer is no member any more: its index may name another node from now on.
    Forgotten {
        /// The peer.
        peer: Peer,
    },
    /// Whether slots that nobody holds may be opened empty: the node has waited for its seeds, and every member
    /// that slots are placed on is in session.
    MayOpen(bool),
    /// Whether this node stood still so long that others may act in its place: it acts for nothing and begins no attempt
    /// until it has not any more.
    Lapsed(bool),
    /// Time to compare all copies with those that this node acts with; every 10 s or so.
    CompareRound,
    /// A message from a peer in session.
    Message {
        /// Who sent it.
        from: Peer,
        /// What it says.
        message: Message,
    },
    /// An effect is not in a copy that stays: see [`crate::replica::Received::is_uncertain`]. The copy knows whose.
    Gap {
        /// The slot.
        slot: Slot,
    },
    /// A mark came with the lane of this peer: everything before it is taken in.
    Marked {
        /// The slot.
        slot: Slot,
        /// Whose lane it was.
        from: Peer,
        /// The attempt that it is for.
        id: u64,
    },
    /// A compare record from this peer differed from this copy.
    Differs {
        /// The slot.
        slot: Slot,
        /// Whose copy it differs from.
        from: Peer,
    },
    /// Copies were looked through while this node acted, and found not to be what their contexts say.
    Spoilt {
        /// The slot.
        slot: Slot,
        /// The peers whose copies are wrong.
        copies: PeerSet,
        /// Whether this node's is, and the copy of another one was found to be right.
        here: bool,
    },
    /// A snapshot that was asked for is installed, or never comes.
    Fetched {
        /// Which one.
        fetch: FetchId,
        /// What the installation said; `None` if there was nothing to install or no place for it any more.
        joined: Option<Joined>,
    },
}

/// Where every slot should live.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Targets {
    owners: Vec<[Option<Peer>; MAX_REPLICAS]>,
}

/// So many slots are pulled at a time at least, if so many may be, and otherwise eight times as many as became ready
/// since the last tick: a slot then waits for less than a second, and little arrives meanwhile that has to be parked.
const FEW_PULLS: usize = 64;
const PULLS_PER_ENDED: usize = 8;

/// How many copies of a slot there can be.
pub const MAX_REPLICAS: usize = 7;

/// Names one fetch for as long as the node runs. The low bits are the slot's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FetchId(pub u64);

impl FetchId {
    fn new(id: u64, slot: Slot) -> FetchId {
        FetchId(id << 16 | u64::from(slot.number()))
    }

    fn slot(self) -> Option<Slot> {
        Slot::new((self.0 & 0xFFFF) as u16)
    }
}

/// What the machine wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send a message.
    Send {
        /// To whom; the session with it is up.
        to: Peer,
        /// What.
        message: Message,
    },
    /// Fetch a snapshot and join it, if the copy is still of this tenure, then say so.
    Fetch {
        /// Its name.
        fetch: FetchId,
        /// The slot.
        slot: Slot,
        /// Whose copy.
        from: Peer,
        /// The tenure of the copy that it is for.
        origin: Origin,
        /// Whether it may wait for others.
        urgency: Urgency,
    },
    /// Append the digest of the slot to the lane to this peer, in order with the effects.
    CompareRecord {
        /// The slot.
        slot: Slot,
        /// To whom.
        to: Peer,
    },
    /// Append a mark for the slot to the lane to this peer, in order with the effects.
    Mark {
        /// The slot.
        slot: Slot,
        /// To whom.
        to: Peer,
        /// The attempt that it is for.
        id: u64,
    },
    /// Whom this node is in session with has changed: tell everybody in session.
    SayReach {
        /// Those nodes.
        nodes: Vec<NodeId>,
    },
    /// This node's word about the slot has changed: publish it.
    Publish {
        /// The slot.
        slot: Slot,
        /// Whether it is ready.
        ready: bool,
    },
    /// Commands for the slot go elsewhere from now on: here, to a peer, or nowhere known.
    Route {
        /// The slot.
        slot: Slot,
        /// Where to.
        to: Option<Peer>,
    },
}

/// Whether a snapshot may wait for others that were asked for before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Urgency {
    /// It fills or mends a copy of a slot that is served meanwhile.
    Usual,
    /// The slot is served when it is in, and until then by nobody.
    Served,
}

/// Rules that can be put out of force, so that the simulator can show that it would notice.
///
/// Every field is false in production; no configuration reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[doc(hidden)]
pub struct Mutations {
    pub acquire_asks_ready_only: bool,
    pub acquire_without_stop: bool,
    pub acquire_without_join: bool,
    pub release_without_asking: bool,
    pub release_counts: bool,
    pub one_origin_per_boot: bool,
    pub compare_one_way: bool,
    pub no_compare_on_connect: bool,
    pub fold_ignored: bool,
    pub pullers_not_inherited: bool,
    pub given_up_attempt_forgets_fetches: bool,
    pub stops_without_a_word: bool,
    pub releases_without_who_acts: bool,
    pub mends_without_asking: bool,
    pub vouches_for_nobody: bool,
    pub acquires_without_enquiry: bool,
    pub lets_two_act_apart: bool,
}

/// What the machine has done since the node started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// How often this node began to act for a slot.
    pub acquired: u64,
    /// Slots that nobody held and this node opened empty.
    pub opened: u64,
    /// Slots that were pulled, until they were ready.
    pub pulled: u64,
    /// Snapshots of other copies that were joined to mend a copy that was held already.
    pub repaired: u64,
    /// Slots that were forgotten because their targets have them.
    pub released: u64,
    /// Copies that were not what their contexts say and were forgotten, to be pulled again.
    pub spoilt: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Control {
    me: Peer,
    my_id: NodeId,
    peers: Peers,
    targets: Targets,
    slots: Vec<SlotControl>,
    may_open: bool,
    lapsed: bool,
    next_id: u64,
    pulls: usize,
    most_pulls: usize,
    /// How many pulls may be under way now, and how many had ended at the last tick.
    pull_window: usize,
    pulled_before: u64,
    /// Slots that should be here and are not, the most urgent first, as the last tick found them.
    wanted: VecDeque<Slot>,
    draw: OriginDraw,
    out: VecDeque<Output>,
    /// Something happened since the last tick, or something is under way: the next one may find something to do.
    restless: bool,
    counts: Counts,
    mutations: Mutations,
}

/// What the machine remembers of one slot.
#[derive(Debug, Default)]
struct SlotControl {
    role: Role,
    /// Who acts, if it is not this node, as far as known.
    acting: Option<Peer>,
    /// Peers in session of whom the last word is that they act.
    claims: PeerSet,
    /// Who acts by the word of one who was asked and does not. Good for asking on, not for sending commands to: nobody
    /// would say when it is wrong.
    hint: Option<Peer>,
    /// A peer that passes commands on to who acts, which this node does not reach.
    via: Option<Peer>,
    /// Those who reach ready holders that this node does not reach are asked whether one of these acts.
    enquiry: Option<Enquiry>,
    /// Where commands were last said to go.
    route: Option<Peer>,
    /// Peers that registered for effects and are not ready yet.
    pullers: PeerSet,
    acquire: Option<Acquire>,
    pull: Option<Pull>,
    release: Option<Release>,
    /// Peers that were told by this node, as who acts, that it can do without their copies.
    spared: PeerSet,
    /// Snapshots on their way that mend this copy, by source.
    repairs: Vec<(FetchId, Peer)>,
    /// Effects arrived that were not incorporated, and perhaps are not yet.
    gap: bool,
    /// The copy here is not what its context says, and is forgotten when a better one acts.
    spoilt: bool,
    /// Peers that asked whether they may forget theirs for that.
    mending: PeerSet,
}

impl SlotControl {
    /// Whether a snapshot that mends this copy is on its way.
    fn fetches(&self) -> bool {
        !self.repairs.is_empty() || self.acquire.as_ref().is_some_and(Acquire::fetches)
    }

    /// Whether something is under way that the store alone may finish.
    fn is_busy(&self) -> bool {
        self.pull.is_some()
            || self.acquire.is_some()
            || self.release.is_some()
            || self.gap && self.role != Role::Absent
            || !self.repairs.is_empty()
            || self.role == Role::Pulling
            || self.spoilt
            || self.via.is_some()
            || self.enquiry.is_some()
    }
}

/// Draws origins: a counter under a random seed, mixed, so that no two draws of a boot are equal and those of two
/// boots are not either, but for a chance of 2^-64 a pair.
#[derive(Debug)]
struct OriginDraw {
    state: u64,
}

impl Targets {
    /// Targets of a ring of `slots` slots without any member.
    pub fn none(slots: usize) -> Targets {
        Targets { owners: alloc::vec![[None; MAX_REPLICAS]; slots] }
    }

    /// Sets the owners of a slot, in order, at most [`MAX_REPLICAS`].
    pub fn set(&mut self, slot: Slot, owners: impl IntoIterator<Item = Peer>) {
        let row = &mut self.owners[slot.index()];
        *row = [None; MAX_REPLICAS];
        for (place, owner) in row.iter_mut().zip(owners) {
            *place = Some(owner);
        }
    }

    /// The owners of a slot, in order.
    pub fn owners(&self, slot: Slot) -> impl Iterator<Item = Peer> + '_ {
        self.owners.get(slot.index()).into_iter().flatten().map_while(|&owner| owner)
    }

    fn contains(&self, slot: Slot, peer: Peer) -> bool {
        self.owners(slot).any(|owner| owner == peer)
    }
}

impl Control {
    /// A node that holds nothing and knows nobody. `me` is the index under which targets name this node; `seed` must
    /// differ from every other boot's; at most `most_pulls` slots are pulled at a time.
    pub fn new(me: Peer, my_id: NodeId, slots: usize, most_pulls: usize, seed: u64) -> Control {
        Control {
            me,
            my_id,
            peers: Peers::new(slots),
            targets: Targets::none(slots),
            slots: (0..slots).map(|_| SlotControl::default()).collect(),
            may_open: false,
            lapsed: false,
            next_id: 0,
            pulls: 0,
            most_pulls,
            pull_window: most_pulls.min(FEW_PULLS),
            pulled_before: 0,
            wanted: VecDeque::new(),
            draw: OriginDraw { state: seed },
            out: VecDeque::new(),
            restless: true,
            counts: Counts::default(),
            mutations: Mutations::default(),
        }
    }

    /// The same machine with some rules out of force.
    #[doc(hidden)]
    #[must_use]
    pub fn with_mutations(mut self, mutations: Mutations) -> Control {
        self.mutations = mutations;
        self
    }

    /// Takes in one input. Drain [`Control::poll_output`] afterwards.
    pub fn handle<S: Slots>(&mut self, input: Input, store: &mut S) {
        self.restless |= !matches!(input, Input::MayOpen(may_open) if may_open == self.may_open);
        match input {
            Input::Targets(targets) => {
                self.targets = targets;
                self.tick(store);
            }
            Input::SessionUp { peer, id, ready } => self.session_up(peer, id, ready, store),
            Input::SessionDown { peer } => self.session_down(peer, store),
            Input::Ready { peer, id, ready } => self.peer_ready(peer, id, ready, store),
            Input::Reach { peer, nodes } => self.peer_reaches(peer, nodes, store),
            Input::Forgotten { peer } => self.forget_peer(peer, store),
            Input::MayOpen(may_open) => self.may_open = may_open,
            Input::Lapsed(lapsed) => self.lapse(lapsed, store),
            Input::CompareRound => self.compare_round(),
            Input::Message { from, message } => self.message(from, message, store),
            Input::Gap { slot } => self.on_gap(slot, store),
            Input::Marked { slot, from, id } => self.on_marked(slot, from, id, store),
            Input::Differs { slot, from } => self.send_compare(slot, from, true, store),
            Input::Spoilt { slot, copies, here } => self.on_spoilt(slot, copies, here, store),
            Input::Fetched { fetch, joined } => self.fetched(fetch, joined, store),
        }
    }

    /// Looks at every slot for something to begin or to try again. Linear in the number of slots, and constant when the
    /// last tick found nothing to do and nothing has happened since: it would find nothing again.
    pub fn tick<S: Slots>(&mut self, store: &mut S) {
        if !core::mem::take(&mut self.restless) {
            return;
        }
        let done = self.out.len();
        // Small slots cost hops between threads, and many of them may wait for these; large ones would wait for each other.
        let ended = (self.counts.pulled - core::mem::replace(&mut self.pulled_before, self.counts.pulled)) as usize;
        self.pull_window = (PULLS_PER_ENDED * ended).max(FEW_PULLS).min(self.most_pulls);
        // Slots that no staying node holds come first: they are what a crash or an exit would lose.
        let absent = |control: &Control, slot: &Slot| control.role(*slot) == Role::Absent;
        let wanted = self.every_slot().filter(|slot| absent(self, slot) && self.targets.contains(*slot, self.me));
        let (last_copies, others): (Vec<_>, Vec<_>) = wanted.partition(|&slot| self.held_by_leavers_only(slot));
        self.wanted = last_copies.into_iter().chain(others).collect();
        for slot in self.every_slot() {
            if absent(self, &slot) {
                self.update_route(slot);
            } else {
                self.consider(slot, store);
            }
        }
        self.begin_pulls(store);
        self.restless = self.out.len() > done || self.slots.iter().any(SlotControl::is_busy);
    }

    /// The next thing to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// This node's role for a slot.
    pub fn role(&self, slot: Slot) -> Role {
        self.slots[slot.index()].role
    }

    /// How many slots this node holds, acts for, and pulls.
    pub fn holdings(&self) -> Holdings {
        let count = |f: fn(Role) -> bool| self.slots.iter().filter(|slot| f(slot.role)).count();
        Holdings {
            ready: count(Role::is_ready),
            held: count(|role| role != Role::Absent),
            acting: count(|role| role == Role::Acting),
            wanted: (0..self.slots.len() as u16)
                .filter_map(Slot::new)
                .filter(|&slot| self.targets.contains(slot, self.me) && !self.role(slot).is_ready())
                .count(),
        }
    }

    /// Whether a node in session with this one says that it reaches the peer.
    pub fn is_reached_by_others(&self, peer: Peer) -> bool {
        !self.peers.vouchers(peer).is_empty()
    }

    /// What was done since the node started.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether every slot has someone to act for it, as far as this node knows.
    pub fn all_routed(&self) -> bool {
        self.slots.iter().all(|slot| slot.route.is_some())
    }

    // --- the loop ---

    /// Begins whatever the slot needs and nothing is under way for.
    fn consider<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        match self.slots[slot.index()].role {
            Role::Absent => self.consider_pull(slot, store),
            Role::Following => {
                self.consider_mend(slot, store);
                self.consider_acquire(slot, store);
                self.consider_release(slot, store);
            }
            Role::Releasing if self.targets.contains(slot, self.me) && !self.slots[slot.index()].spoilt => {
                self.end_release(slot, store);
            }
            Role::Acting => self.consider_mend(slot, store),
            Role::Pulling | Role::Releasing => {}
        }
        if self.slots[slot.index()].gap {
            self.consider_gap(slot, store);
        }
        self.update_route(slot);
    }

    fn message<S: Slots>(&mut self, from: Peer, message: Message, store: &mut S) {
        let slot = message.slot;
        if slot.index() >= self.slots.len() || !self.peers.in_session(from) {
            return;
        }
        match message.body {
            Body::Acquire { id, mine } => self.on_acquire(slot, from, (id, mine), store),
            Body::Stopped { id, holds, pullers } => self.on_stopped(slot, from, id, holds, &pullers, store),
            Body::Refused { id } => self.on_refused(slot, id, store),
            Body::Acting => self.on_acting(slot, from, store),
            Body::ActsNoMore => self.on_acts_no_more(slot, from),
            Body::BothStop => self.stop_acting(slot, store),
            Body::Register => self.on_register(slot, from, store),
            Body::Registered => self.on_registered(slot, from, store),
            Body::NotActing { acting } => self.on_not_acting(slot, from, acting, store),
            Body::Compare { seen, fold, answer } => self.on_compare(slot, from, &seen, fold, answer, store),
            Body::MayRelease { id, seen } => self.on_may_release(slot, from, id, &seen, store),
            Body::MaySpare { id } => self.on_may_spare(slot, from, id),
            Body::Release { id, granted } => self.on_release(slot, from, id, granted, store),
            Body::WhoActs { id } => self.on_who_acts(slot, from, id),
            Body::ActsThere { id, acting } => self.on_acts_there(slot, from, id, acting, store),
            Body::TakeOver => self.on_take_over(slot, from, store),
            Body::PullAnew => self.on_pull_anew(slot, from, store),
            Body::MayMend { id, seen } => self.on_may_mend(slot, from, id, &seen, store),
        }
        self.update_route(slot);
    }

    fn fetched<S: Slots>(&mut self, fetch: FetchId, joined: Option<Joined>, store: &mut S) {
        let Some(slot) = fetch.slot() else { return };
        match self.purpose_of(slot, fetch) {
            Some(Purpose::Pull) => self.pull_fetched(slot, joined, store),
            Some(Purpose::Acquire(from)) => self.acquire_fetched(slot, (fetch, from), joined, store),
            Some(Purpose::Repair(from)) => self.repair_fetched(slot, (fetch, from), joined, store),
            // Nobody waits for it any more; what it brought is in the copy all the same.
            None => {}
        }
        self.tell_news(slot, store);
        self.update_route(slot);
    }

    fn purpose_of(&self, slot: Slot, fetch: FetchId) -> Option<Purpose> {
        let state = &self.slots[slot.index()];
        if state.pull.as_ref().is_some_and(|pull| pull.waits_for(fetch)) {
            return Some(Purpose::Pull);
        }
        if let Some(from) = state.acquire.as_ref().and_then(|acquire| acquire.source_of(fetch)) {
            return Some(Purpose::Acquire(from));
        }
        let &(_, from) = state.repairs.iter().find(|(repair, _)| *repair == fetch)?;
        Some(Purpose::Repair(from))
    }

    // --- helpers of all steps ---

    /// S(s) as this node sees it: the ready targets in order, then the other ready members.
    fn serving(&self, slot: Slot) -> impl Iterator<Item = Peer> + '_ {
        let ready = self.holders(slot);
        let targets = self.targets.owners(slot).filter(move |&owner| ready.contains(owner));
        let mut others: Vec<Peer> = ready.iter().filter(|&peer| !self.targets.contains(slot, peer)).collect();
        others.sort_unstable_by_key(|&peer| self.peers.provisional_rank(slot, self.id_of(peer)));
        targets.chain(others)
    }

    /// The members that say that they are ready for the slot, this node included.
    fn holders(&self, slot: Slot) -> PeerSet {
        let mut holders = self.peers.ready(slot);
        let state = &self.slots[slot.index()];
        if state.role.is_ready() && !state.spoilt {
            holders.insert(self.me);
        }
        holders
    }

    /// The first of S(s) that is this node, in session with it, or with one that is.
    fn first_serving(&self, slot: Slot) -> Option<Peer> {
        let is_vouched = |peer| self.peers.vouched().contains(peer) && !self.mutations.vouches_for_nobody;
        self.serving(slot).find(|&peer| self.reaches(peer) || is_vouched(peer))
    }

    /// The first of S(s) that is this node or in session with it.
    fn first_in_session(&self, slot: Slot) -> Option<Peer> {
        self.serving(slot).find(|&peer| self.reaches(peer))
    }

    fn reaches(&self, peer: Peer) -> bool {
        peer == self.me || self.peers.in_session(peer)
    }

    fn id_of(&self, peer: Peer) -> NodeId {
        if peer == self.me { self.my_id } else { self.peers.id(peer) }
    }

    fn held_by_leavers_only(&self, slot: Slot) -> bool {
        self.holders(slot).iter().all(|holder| !self.targets.contains(slot, holder))
    }

    fn send(&mut self, to: Peer, slot: Slot, body: Body) {
        if self.peers.in_session(to) {
            self.out.push_back(Output::Send { to, message: Message { slot, body } });
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Asks for a snapshot of the slot.
    fn fetch<S: Slots>(&mut self, slot: Slot, from: Peer, urgency: Urgency, store: &mut S) -> FetchId {
        let fetch = FetchId::new(self.new_id(), slot);
        let origin = store.with(slot, |replica| {
            replica.ask(from);
            replica.origin()
        });
        self.out.push_back(Output::Fetch { fetch, slot, from, origin, urgency });
        fetch
    }

    /// Changes the role here and what others are told about it.
    fn set_role(&mut self, slot: Slot, role: Role) {
        let state = &mut self.slots[slot.index()];
        match (state.role, role) {
            (Role::Following, Role::Acting) => self.counts.acquired += 1,
            (Role::Absent, Role::Following) => self.counts.opened += 1,
            (Role::Pulling, Role::Following) => self.counts.pulled += 1,
            (Role::Releasing, Role::Absent) => self.counts.released += 1,
            _ => {}
        }
        let (before, now) = (state.role.holds(), role.holds());
        state.role = role;
        if before != now {
            self.out.push_back(Output::Publish { slot, ready: now });
        }
    }

    /// Tells the store whom effects of the slot go to, and whose acknowledgements count.
    fn update_peers<S: Slots>(&mut self, slot: Slot, store: &mut S) {
        let state = &self.slots[slot.index()];
        if state.role == Role::Absent {
            return;
        }
        let counting = self.peers.ready(slot).intersection(self.peers.sessions());
        let ship_to = counting.union(state.pullers.intersection(self.peers.sessions()));
        store.with(slot, |replica| replica.set_peers(ship_to, counting));
    }

    fn update_route(&mut self, slot: Slot) {
        let state = &self.slots[slot.index()];
        let known = state.acting.filter(|&acting| self.peers.in_session(acting)).or(state.claims.iter().next());
        let route = match state.role {
            Role::Acting => Some(self.me),
            _ => known.or(state.via).or_else(|| self.way_to_first(slot)),
        };
        let state = &mut self.slots[slot.index()];
        if state.route != route {
            state.route = route;
            self.out.push_back(Output::Route { slot, to: route });
        }
    }

    fn draw_origin(&mut self) -> Origin {
        if self.mutations.one_origin_per_boot {
            return Origin(self.draw.state | 1);
        }
        self.draw.next()
    }
}

/// What a fetch was for.
enum Purpose {
    Pull,
    Acquire(Peer),
    Repair(Peer),
}

/// How many slots a node is what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holdings {
    /// Ready copies, those that it acts for included.
    pub ready: usize,
    /// Copies in any state.
    pub held: usize,
    /// Slots that it acts for.
    pub acting: usize,
    /// Slots that should be here and are not ready.
    pub wanted: usize,
}

impl OriginDraw {
    /// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014): a bijection of a
    /// counter, so one boot never draws a number twice.
    fn next(&mut self) -> Origin {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Origin(mixed ^ mixed >> 31)
    }
}

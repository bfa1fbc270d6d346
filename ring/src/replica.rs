//! One copy of one slot: its role, its context, its fold, and the rules by which effects and snapshots enter it.
//!
//! The store keeps one [`Replica`] per slot under the lock of the slot's shard, and the simulator keeps the same type
//! over a model of a store. Whatever must change together is in here, so that one hold of that lock is one step:
//! entry, context, fold, role and the set of peers that effects go to.
//!
//! ```text
//!            open                 join, nothing parked          act
//!   Absent ───────► Pulling ──────────────────────► Following ◄─────► Acting
//!      ▲                │                            ▲     │    stop
//!      │                │ source lost         denied │     │ asks to release
//!      └────────────────┴──────────────────────────  Releasing
//!                            granted: forget
//! ```
//!
//! A command executes where the slot's role is [`Role::Acting`], checked under the same hold of the lock as the
//! execution; a change of role therefore is a point in the slot's order of commands.

mod missing;
mod parked;

use alloc::vec::Vec;

use crate::{
    context::SlotContext,
    dot::Dot,
    effect::{EffectRef, Header, Op},
    fold::Fold,
    hlc::{Hlc, HlcClock},
    id::{Origin, Peer, PeerSet},
    slot::Slot,
};
use missing::Missing;
use parked::Parked;

/// What a node is to a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// Holds nothing of it.
    #[default]
    Absent,
    /// Registered for effects, waits for a snapshot; effects are parked.
    Pulling,
    /// A ready copy: applies the effects of the node that acts.
    Following,
    /// The one node that executes the slot's commands.
    Acting,
    /// A ready copy that no longer counts, while it asks whether it may forget the slot.
    Releasing,
}

impl Role {
    /// Whether a node in this role holds a copy that claims to be complete up to its context.
    pub const fn holds(self) -> bool {
        matches!(self, Role::Following | Role::Acting | Role::Releasing)
    }

    /// Whether this is a ready copy, whose acknowledgements may count.
    pub const fn is_ready(self) -> bool {
        matches!(self, Role::Following | Role::Acting)
    }
}

/// The entries of one slot, as the rules need them.
///
/// Laws: `apply` and `join` keep `fold` equal to the fold of all entries held; `snapshot` shows the state of the
/// moment even if the slot changes afterwards; `join` decides per entry by [`crate::context::join_rule`].
pub trait Entries {
    /// The entries at one moment.
    type Snapshot;

    /// Applies one operation of an admitted effect with this dot.
    fn apply(&mut self, dot: Dot, op: &Op<'_>, fold: &mut Fold);

    /// The entries as they are now.
    fn snapshot(&self) -> Self::Snapshot;

    /// Merges another copy's entries.
    fn join(&mut self, theirs: Self::Snapshot, my_seen: &SlotContext, their_seen: &SlotContext, fold: &mut Fold);

    /// Forgets everything.
    fn clear(&mut self);
}

/// The digest by which two copies are compared: equal exactly if the copies are (but for a chance of 2^-64).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// The digest of the context.
    pub seen: u64,
    /// The fold of the entries.
    pub fold: Fold,
}

/// What became of an effect that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// Applied, and with it everything parked that had waited for it.
    Applied,
    /// Known already.
    Duplicate,
    /// Parked: this copy is pulling, or something that the effect builds on is missing.
    Parked,
    /// In a copy that is about to be forgotten.
    Releasing,
    /// The slot is not here.
    Absent,
}

impl Received {
    /// Whether the effect may be missing here later, so that the control machine has to hear of it.
    pub const fn is_uncertain(self) -> bool {
        matches!(self, Received::Parked | Received::Releasing | Received::Absent)
    }
}

/// What became of a snapshot that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The copy knows something that the snapshot's source did not.
    pub ahead: bool,
}

/// How many bytes of effects one slot parks; more are dropped, remembered as missing and fetched again.
pub const PARK_LIMIT_BYTES: usize = 1 << 20;

/// One copy of one slot.
#[derive(Debug)]
pub struct Replica<E> {
    slot: Slot,
    role: Role,
    origin: Origin,
    seen: SlotContext,
    /// What the context learnt of other origins since this copy's own previous effect: the next effect's `after`.
    learnt: Vec<(Origin, Hlc)>,
    fold: Fold,
    parked: Parked,
    /// What arrived and is not in. While something is acknowledgements of this copy do not count: one position in a lane
    /// acknowledges everything before it.
    missing: Missing,
    ship_to: PeerSet,
    counting: PeerSet,
    /// A copy that pulls has joined its first snapshot.
    has_snapshot: bool,
    /// A snapshot changed this copy since it began to act: nobody was told of that.
    has_news: bool,
    entries: E,
    mutations: Mutations,
}

/// Rules that can be put out of force, so that the simulator can show that it would notice.
///
/// Every field is false in production; no configuration reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[doc(hidden)]
pub struct Mutations {
    pub prev_ignored: bool,
    pub after_ignored: bool,
    pub live_effects_while_pulling: bool,
    pub overflow_forgotten: bool,
    pub heard_of_forgotten: bool,
    pub asked_once: bool,
}

impl<E: Entries> Replica<E> {
    /// A slot of which nothing is held.
    pub fn absent(slot: Slot, entries: E) -> Replica<E> {
        Replica {
            slot,
            role: Role::Absent,
            origin: Origin(0),
            seen: SlotContext::new(),
            learnt: Vec::new(),
            fold: Fold::default(),
            parked: Parked::new(PARK_LIMIT_BYTES),
            missing: Missing::default(),
            ship_to: PeerSet::EMPTY,
            counting: PeerSet::EMPTY,
            has_snapshot: false,
            has_news: false,
            entries,
            mutations: Mutations::default(),
        }
    }

    /// The same copy with another limit than [`PARK_LIMIT_BYTES`].
    #[must_use]
    pub fn with_park_limit(mut self, limit_bytes: usize) -> Replica<E> {
        self.parked = Parked::new(limit_bytes);
        self
    }

    /// The same copy with some rules out of force.
    #[doc(hidden)]
    #[must_use]
    pub fn with_mutations(mut self, mutations: Mutations) -> Replica<E> {
        self.mutations = mutations;
        self.missing.asked_once = mutations.asked_once;
        self
    }

    /// The slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The role now.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What this copy has incorporated.
    pub fn seen(&self) -> &SlotContext {
        &self.seen
    }

    /// The tenure under which this copy executes.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The digest of the entries.
    pub fn fold(&self) -> Fold {
        self.fold
    }

    /// The digest of the whole copy.
    pub fn digest(&self) -> Digest {
        Digest { seen: self.seen.digest(), fold: self.fold }
    }

    /// The entries, to read.
    pub fn entries(&self) -> &E {
        &self.entries
    }

    /// The entries and the fold that every change of them has to keep.
    pub fn entries_mut(&mut self) -> (&mut E, &mut Fold) {
        (&mut self.entries, &mut self.fold)
    }

    /// The peers that effects of this slot are shipped to: the other holders and whoever pulls.
    pub fn ship_to(&self) -> PeerSet {
        self.ship_to
    }

    /// The peers whose acknowledgements count towards a write quorum: the other ready owners.
    pub fn counting(&self) -> PeerSet {
        self.counting
    }

    /// Sets both sets of peers.
    pub fn set_peers(&mut self, ship_to: PeerSet, counting: PeerSet) {
        self.ship_to = ship_to;
        self.counting = counting;
    }

    /// Whether an acknowledgement by this copy counts: it is ready and nothing is missing or parked.
    pub fn counts(&self) -> bool {
        self.role.is_ready() && !self.misses_something()
    }

    /// Whether an effect arrived that is not incorporated: it is parked, was dropped for want of room, or came when
    /// the slot was not here.
    pub fn misses_something(&self) -> bool {
        !self.missing.is_in(&self.seen)
    }

    /// Who sent what is missing and was not asked for its copy since; nobody if nothing is missing.
    pub fn unasked(&self) -> PeerSet {
        if self.misses_something() { self.missing.unasked() } else { PeerSet::EMPTY }
    }

    /// This peer is asked for its copy now: the answer has all that it has sent so far.
    pub fn ask(&mut self, from: Peer) {
        self.missing.ask(from);
    }

    /// How many bytes of effects are parked.
    pub fn parked_bytes(&self) -> usize {
        self.parked.bytes()
    }

    /// Claims to have incorporated everything up to this version of its origin, whether or not it has: a rule that was
    /// given up, so that the simulator can show why.
    #[doc(hidden)]
    pub fn claim(&mut self, dot: Dot) {
        if self.role.holds() {
            self.learn(dot.origin, dot.hlc);
        }
    }

    // --- roles; the control machine decides, these do ---

    /// Opens the slot to pull it, under a new tenure.
    pub fn open(&mut self, origin: Origin) {
        self.forget();
        self.origin = origin;
        self.role = Role::Pulling;
        self.has_snapshot = false;
    }

    /// Opens the slot empty and ready, under a new tenure: nobody holds it.
    pub fn open_empty(&mut self, origin: Origin) {
        self.forget();
        self.origin = origin;
        self.role = Role::Following;
    }

    /// Pulling is over: the copy is ready.
    pub fn become_ready(&mut self) {
        debug_assert!(self.role == Role::Pulling && !self.misses_something());
        self.missing.clear();
        self.role = Role::Following;
    }

    /// From now on commands execute here. The others are told what this copy has.
    pub fn act(&mut self) {
        debug_assert_eq!(self.role, Role::Following);
        self.role = Role::Acting;
        self.has_news = false;
    }

    /// Whether this copy acts and a snapshot changed it since the others were last told what it has; they are told now.
    pub fn take_news(&mut self) -> bool {
        self.role == Role::Acting && core::mem::take(&mut self.has_news)
    }

    /// From now on no command executes here; true if one could before.
    pub fn stop(&mut self) -> bool {
        let acted = self.role == Role::Acting;
        if acted {
            self.role = Role::Following;
        }
        acted
    }

    /// From now on acknowledgements of this copy do not count.
    pub fn start_release(&mut self) {
        debug_assert_eq!(self.role, Role::Following);
        self.role = Role::Releasing;
    }

    /// The release was denied: the copy counts again.
    pub fn stop_release(&mut self) {
        if self.role == Role::Releasing {
            self.role = Role::Following;
            self.settle_missing();
        }
    }

    /// Forgets entries *and* context. Either alone would make the other lie. What arrived and never got in is still
    /// missing in the next tenure, and an answer that was asked for is not joined by that one.
    pub fn forget(&mut self) {
        self.role = Role::Absent;
        self.missing.ask_anew();
        self.seen = SlotContext::new();
        self.learnt.clear();
        self.fold = Fold::default();
        self.parked.take();
        self.ship_to = PeerSet::EMPTY;
        self.counting = PeerSet::EMPTY;
        self.entries.clear();
    }

    // --- effects ---

    /// The header of the effect that is being executed here: a new dot, and what it builds on. The caller changes
    /// the entries and ships the effect under the same hold of the lock.
    pub fn stamp(&mut self, clock: &mut HlcClock, now_unix_ms: u64) -> Header {
        debug_assert_eq!(self.role, Role::Acting);
        clock.observe(self.seen.seen(self.origin));
        let dot = Dot::new(clock.tick(now_unix_ms), self.origin);
        let prev = self.seen.seen(self.origin);
        self.seen.advance(self.origin, dot.hlc);
        Header { slot: self.slot, dot, prev, after: core::mem::take(&mut self.learnt) }
    }

    /// Takes in an effect that arrived from this peer: admits, parks or drops it.
    ///
    /// An effect is admitted exactly if the context stands at its `prev` for its origin and dominates its `after`.
    pub fn receive(&mut self, from: Peer, bytes: &[u8], effect: &EffectRef<'_>, clock: &mut HlcClock) -> Received {
        match self.role {
            Role::Absent => {
                self.missing.effect(from, effect.header.dot);
                Received::Absent
            }
            Role::Pulling if self.mutations.live_effects_while_pulling => {
                self.apply(effect, clock);
                Received::Applied
            }
            // From its first snapshot on a copy that pulls takes effects in like any other: some time passes until the
            // control task hears of the snapshot.
            Role::Pulling if !self.has_snapshot => {
                self.park(from, bytes, effect.header.dot);
                Received::Parked
            }
            Role::Releasing => {
                self.missing.effect(from, effect.header.dot);
                self.take_in(from, bytes, effect, clock);
                Received::Releasing
            }
            Role::Pulling | Role::Following | Role::Acting => self.take_in(from, bytes, effect, clock),
        }
    }

    fn take_in(&mut self, from: Peer, bytes: &[u8], effect: &EffectRef<'_>, clock: &mut HlcClock) -> Received {
        if self.seen.covers(effect.header.dot) {
            Received::Duplicate
        } else if self.admits(&effect.header) {
            self.apply(effect, clock);
            self.replay(clock);
            Received::Applied
        } else {
            self.park(from, bytes, effect.header.dot);
            Received::Parked
        }
    }

    /// Takes note of what this peer's copy has incorporated; whether this one lacks some of it, and does not count before
    /// it has that.
    pub fn heard_of(&mut self, from: Peer, seen: &SlotContext) -> bool {
        let lacks = !self.seen.dominates(seen);
        if lacks && !self.mutations.heard_of_forgotten {
            self.missing.all_of(from, seen);
        }
        lacks
    }

    /// Gives up what is missing. Acknowledgements count again, so this is only for effects whose executor is gone or
    /// does not hold the slot any more.
    pub fn drop_parked(&mut self) {
        self.parked.take();
        self.missing.clear();
    }

    /// Whether this is still the copy of that tenure.
    pub fn is_of(&self, origin: Origin) -> bool {
        self.role != Role::Absent && self.origin == origin
    }

    /// The context and the entries, at one moment.
    pub fn snapshot(&self) -> (SlotContext, E::Snapshot) {
        (self.seen.clone(), self.entries.snapshot())
    }

    /// Merges a snapshot of another copy and replays what is parked, in one step.
    pub fn join(&mut self, seen: &SlotContext, entries: E::Snapshot, clock: &mut HlcClock) -> Joined {
        let before = self.digest();
        self.entries.join(entries, &self.seen, seen, &mut self.fold);
        for (origin, hlc) in seen.iter() {
            self.learn(origin, hlc);
        }
        clock.observe(seen.latest());
        self.has_snapshot = true;
        self.replay(clock);
        self.has_news |= before != self.digest();
        Joined { ahead: !seen.dominates(&self.seen) }
    }

    fn admits(&self, header: &Header) -> bool {
        let contiguous = self.mutations.prev_ignored || self.seen.seen(header.dot.origin) == header.prev;
        contiguous && (self.mutations.after_ignored || self.seen.dominates_all(&header.after))
    }

    fn apply(&mut self, effect: &EffectRef<'_>, clock: &mut HlcClock) {
        let dot = effect.header.dot;
        for op in effect.ops() {
            self.entries.apply(dot, &op, &mut self.fold);
        }
        self.learn(dot.origin, dot.hlc);
        clock.observe(dot.hlc);
    }

    fn park(&mut self, from: Peer, bytes: &[u8], dot: Dot) {
        let kept = self.parked.push(bytes);
        if (kept || !self.mutations.overflow_forgotten) && !self.seen.covers(dot) {
            self.missing.effect(from, dot);
        }
    }

    /// Applies whatever is parked and has become admissible, until nothing more is.
    fn replay(&mut self, clock: &mut HlcClock) {
        let mut progress = true;
        while progress && !self.parked.is_empty() {
            progress = false;
            for bytes in self.parked.take() {
                // Only whole effects are parked; one that does not decode cannot be there.
                let Ok(effect) = EffectRef::decode(&bytes) else { continue };
                if self.seen.covers(effect.header.dot) {
                    progress = true;
                } else if self.admits(&effect.header) {
                    self.apply(&effect, clock);
                    progress = true;
                } else {
                    self.parked.keep(bytes);
                }
            }
        }
        self.settle_missing();
    }

    /// Nothing is missing any more once the context has it, unless this copy may be forgotten, and what it has with it.
    fn settle_missing(&mut self) {
        if self.role.is_ready() && !self.missing.is_empty() && !self.misses_something() {
            self.missing.clear();
        }
    }

    fn learn(&mut self, origin: Origin, hlc: Hlc) {
        if self.seen.advance(origin, hlc) && origin != self.origin {
            match self.learnt.iter_mut().find(|(known, _)| *known == origin) {
                Some((_, known)) => *known = hlc,
                None => self.learnt.push((origin, hlc)),
            }
        }
    }
}

//! What an observer above the cluster remembers, and no node knows: who was promised what, who answered whom, which
//! names were ever used. The invariants hold what nodes do against it.

use std::collections::BTreeMap;

use ring::{
    context::SlotContext,
    control::{Body, Message},
    hlc::Hlc,
    id::{Origin, Peer, PeerSet},
    replica::Role,
    slot::Slot,
};

use super::{
    model::Ghost,
    world::{World, note},
};
use crate::invariants::{self, Violation};

/// What is remembered beside the writes.
#[derive(Clone, Debug)]
pub struct Observer {
    /// The last version that was given out in each tenure of a slot.
    pub last_dots: BTreeMap<(u16, Origin), Hlc>,
    /// The latest time that any clock has shown.
    pub latest_ms: u64,
    /// In which step somebody last began to act, or acted no more, per slot.
    pub last_hand_over: Vec<usize>,
    /// The last answer of one node to another that asked to act for a slot.
    answers: BTreeMap<(usize, usize, u16), Answer>,
    /// What each node last asked to be allowed to forget.
    asks: BTreeMap<(usize, u16), Ask>,
    /// In which tenure each node holds or pulls each slot.
    tenures: Vec<Vec<Option<Origin>>>,
}

/// "I have stopped, and this is what I have."
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the copy of the answerer had.
    pub had: Ghost,
    /// How many writes there were.
    pub writes: usize,
    /// The session: the names of both halves.
    pub session: (u64, u64),
}

/// "May I forget my copy?"
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which attempt it is.
    pub id: u64,
    /// Whether the copy is wrong, and to be pulled again.
    pub mends: bool,
    /// What the copy had.
    pub had: Ghost,
    /// Who was asked.
    pub asked: PeerSet,
    /// Who of them was only asked whether it can do without the copy.
    pub to_spare: PeerSet,
    /// Who granted it.
    pub granted: PeerSet,
}

impl Observer {
    pub(super) fn new(nodes: usize, slots: usize) -> Observer {
        Observer {
            last_dots: BTreeMap::new(),
            latest_ms: 0,
            last_hand_over: vec![0; slots],
            answers: BTreeMap::new(),
            asks: BTreeMap::new(),
            tenures: vec![vec![None; slots]; nodes],
        }
    }

    /// The last answer of a node to one that asked to act.
    pub fn answer(&self, from: usize, to: usize, slot: Slot) -> Option<&Answer> {
        self.answers.get(&(from, to, slot.number()))
    }
}

impl World {
    /// Whether two nodes are in session, both halves open, and nothing of it is lost.
    pub fn in_whole_session(&self, a: usize, b: usize) -> bool {
        let half = |from: usize, to: usize| {
            let session = &self.nodes[from].sessions[to];
            self.nodes[from].up && session.open && !session.broken
        };
        half(a, b) && half(b, a)
    }

    /// Whether two nodes act for a slot.
    pub fn is_split(&self, slot: Slot) -> bool {
        self.nodes.iter().filter(|node| node.acts(slot)).count() > 1
    }

    /// The names of both halves of a session.
    pub fn session_name(&self, a: usize, b: usize) -> (u64, u64) {
        (self.nodes[a].sessions[b].name, self.nodes[b].sessions[a].name)
    }

    /// The copies that have incorporated a write, and do not go before others have it.
    pub fn holders(&self, number: usize) -> impl Iterator<Item = usize> + '_ {
        let slot = self.writes[number].slot;
        (0..self.nodes.len()).filter(move |&at| self.kept(at, slot).contains(number))
    }

    /// What a copy has incorporated and does not forget before others have it: if it is about to go, what it has asked for.
    fn kept(&self, at: usize, slot: Slot) -> Ghost {
        let copy = &self.nodes[at].copies.slots[slot.index()];
        let mut kept = copy.entries().ghost;
        match copy.role() {
            Role::Following | Role::Acting => kept,
            Role::Releasing => {
                let ask = self.observer.asks.get(&(at, slot.number()));
                kept.intersect(&ask.map(|ask| ask.had).unwrap_or_default());
                kept
            }
            Role::Pulling | Role::Absent => Ghost::default(),
        }
    }

    /// What a context of this slot says that its copy has incorporated.
    fn covered(&self, slot: Slot, seen: &SlotContext) -> Ghost {
        let mut covered = Ghost::default();
        let of_slot = self.writes.iter().enumerate().filter(|(_, write)| write.slot == slot);
        of_slot.filter(|(_, write)| seen.covers(write.dot)).for_each(|(number, _)| covered.insert(number));
        covered
    }

    /// A node says something.
    pub(super) fn observe_message(&mut self, at: usize, to: Peer, message: &Message) {
        let slot = message.slot;
        match &message.body {
            Body::Stopped { holds, .. } => {
                let had = holds.as_ref().map(|held| self.covered(slot, &held.seen)).unwrap_or_default();
                let session = self.session_name(at, to.index());
                let answer = Answer { had, writes: self.writes.len(), session };
                self.observer.answers.insert((at, to.index(), slot.number()), answer);
            }
            Body::MayRelease { id, seen } => self.observe_ask(at, to, (slot, *id), Some(seen), false),
            Body::MaySpare { id } => self.observe_ask(at, to, (slot, *id), None, false),
            Body::MayMend { id, seen } => self.observe_ask(at, to, (slot, *id), Some(seen), true),
            Body::Release { id, granted: true } => {
                let asks = &mut self.observer.asks;
                let Some(ask) = asks.get_mut(&(to.index(), slot.number())).filter(|ask| ask.id == *id) else { return };
                ask.granted.insert(Peer(at as u8));
                let ask = ask.clone();
                self.check(|world| invariants::grants_what_it_has(world, at, slot, &ask));
            }
            _ => {}
        }
    }

    fn observe_ask(&mut self, at: usize, to: Peer, (slot, id): (Slot, u64), seen: Option<&SlotContext>, mends: bool) {
        let had = seen.map(|seen| self.covered(slot, seen)).unwrap_or_default();
        let new = Ask { id, mends, had, asked: PeerSet::EMPTY, to_spare: PeerSet::EMPTY, granted: PeerSet::EMPTY };
        let ask = self.observer.asks.entry((at, slot.number())).or_insert_with(|| new.clone());
        if ask.id != id {
            *ask = new;
        }
        ask.had.join(&had);
        ask.asked.insert(to);
        if seen.is_none() {
            ask.to_spare.insert(to);
        }
    }

    /// A machine has worked: a copy may be another one than before, or gone.
    pub(super) fn observe_copy(&mut self, at: usize, slot: Slot, before: Role) {
        let copy = &self.nodes[at].copies.slots[slot.index()];
        let tenure = (copy.role() != Role::Absent).then(|| copy.origin());
        let former = std::mem::replace(&mut self.observer.tenures[at][slot.index()], tenure);
        if let Some(origin) = tenure.filter(|_| tenure != former) {
            let used = self.observer.last_dots.insert((slot.number(), origin), Hlc::ZERO);
            self.check(|_| invariants::origin_is_new(at, slot, origin, used));
        }
        if before.holds() && former != tenure {
            self.copy_is_forgotten(at, slot);
        }
    }

    fn copy_is_forgotten(&mut self, at: usize, slot: Slot) {
        let ask = self.observer.asks.remove(&(at, slot.number()));
        self.check(|_| invariants::forgets_what_was_granted(at, slot, ask.as_ref()));
        // A copy that is wrong goes on the word of one node: that is worth a crash.
        if let Some(ask) = ask.filter(|ask| ask.mends) {
            self.copy_dies(at, slot, &ask.had);
        }
        self.check(|world| invariants::survives(world, slot));
    }

    /// A process is about to end, and its copies with it.
    pub(super) fn observe_end(&mut self, at: usize) {
        for slot in self.every_slot() {
            self.renew_promises(slot);
            if self.nodes[at].acts(slot) {
                self.observer.last_hand_over[slot.index()] = self.step;
            }
            let kept = self.kept(at, slot);
            self.copy_dies(at, slot, &kept);
            self.observer.tenures[at][slot.index()] = None;
            self.observer.asks.remove(&(at, slot.number()));
        }
        self.writes.iter_mut().for_each(|write| _ = write.beside.remove(Peer(at as u8)));
    }

    /// Two nodes are in session no more.
    pub(super) fn observe_break(&mut self, a: usize, b: usize) {
        for (at, other) in [(a, b), (b, a)] {
            let by = (at, self.nodes[at].boot);
            let of_it = self.writes.iter_mut().filter(|write| write.by == by);
            of_it.for_each(|write| _ = write.beside.remove(Peer(other as u8)));
        }
    }

    fn copy_dies(&mut self, at: usize, slot: Slot, had: &Ghost) {
        for number in had.iter() {
            let is_last = self.holders(number).all(|holder| holder == at);
            self.writes[number].gone |= is_last;
            let write = &mut self.writes[number];
            write.deaths += 1;
            if write.deaths >= write.quorum && !write.excused {
                write.excused = true;
                self.counts.excused += usize::from(write.acknowledged);
                note!(self, "{slot:?}: {:?} is not promised any more", self.writes[number].dot);
            }
        }
    }

    /// The promise about a write begins anew whenever all targets of its slot are ready and hold it. To be called before
    /// that can end: before targets change, before a node ends, before a copy is not ready any more.
    pub(super) fn renew_promises(&mut self, slot: Slot) {
        let Some(owners) = self.targets.last().map(|targets| &targets[slot.index()]) else { return };
        if owners.is_empty() || !owners.iter().all(|&owner| self.roles[owner][slot.index()].is_ready()) {
            return;
        }
        let mut everywhere = Ghost::all();
        for &owner in owners {
            everywhere.intersect(&self.nodes[owner].copies.slots[slot.index()].entries().ghost);
        }
        let enough = owners.len();
        let held = self.writes.iter_mut().enumerate().filter(|(number, _)| everywhere.contains(*number));
        held.filter(|(_, write)| write.slot == slot && write.quorum <= enough).for_each(|(_, write)| write.renew());
    }

    pub(super) fn renew_all_promises(&mut self) {
        self.every_slot().for_each(|slot| self.renew_promises(slot));
    }

    /// Whether a version of this tenure may be given out.
    pub(super) fn observe_dot(&mut self, at: usize, number: usize, prev: Hlc, (latest, now_ms): (Hlc, u64)) {
        self.observer.latest_ms = self.observer.latest_ms.max(now_ms);
        let (slot, dot) = (self.writes[number].slot, self.writes[number].dot);
        let last = self.observer.last_dots.insert((slot.number(), dot.origin), dot.hlc);
        self.check(|_| invariants::dots_rise(at, slot, dot, prev, last));
        self.check(|world| invariants::clock_is_right(world, at, number, latest, now_ms));
    }

    pub(super) fn check_equal(&mut self, at: usize, slot: Slot, unequal: Option<String>) {
        if let Some(how) = unequal {
            self.check(|_| Err(Violation::new("equal is equal", format!("n{at} {slot:?}: {how}"))));
        }
    }
}

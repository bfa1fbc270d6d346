//! The world of one run: nodes, links, clients and damage, all from one seed.

use std::{cell::RefCell, fmt, rc::Rc};

use fastrand::Rng;
use ring::{
    control::Control,
    dot::Dot,
    effect::Cause,
    id::{NodeId, Origin, Peer, PeerSet},
    replica::{self, Role},
    slot::Slot,
    slot_set::SlotSet,
};

use super::{
    counts::Counts,
    faults::{Action, Faults},
    model::{Ghost, Writes},
    mutation::Mutation,
    network::Network,
    node::{Copies, Session, SimNode, Standing},
    observer::Observer,
};
use crate::invariants::{self, Violation};

/// One write, as an observer above the cluster knows it.
#[derive(Clone, Debug)]
pub struct Write {
    /// Its slot.
    pub slot: Slot,
    /// Its version.
    pub dot: Dot,
    /// Who executed it: the node, and which boot of it.
    pub by: (usize, u32),
    /// The nodes that have been in session with that one ever since, as long as it ran.
    pub beside: PeerSet,
    /// The keys that it named, unless it is all of them.
    pub names: Option<Vec<Vec<u8>>>,
    /// The keys of which it leaves a version of its own.
    pub puts: Vec<Vec<u8>>,
    /// When what it put ends, by the clocks of the simulation; 0 is never.
    pub deadline: u64,
    /// The versions that it removed or replaced.
    pub removes: Vec<(Vec<u8>, Dot)>,
    /// What its executor had incorporated.
    pub past: Ghost,
    /// How many copies it asked for.
    pub quorum: usize,
    /// To whom it was shipped; each says with its acknowledgement whether its copy counts.
    pub shipped_to: PeerSet,
    /// Who has acknowledged it.
    pub acknowledged_by: PeerSet,
    /// Whether its client was told so.
    pub acknowledged: bool,
    /// How many copies of it went with a crash, or were spoilt, since all targets last held it.
    pub deaths: usize,
    /// So many went at some time that nothing is promised any more.
    pub excused: bool,
    /// The last copy of it went with a crash.
    pub gone: bool,
}

impl Write {
    /// The promise about it begins anew.
    pub(super) fn renew(&mut self) {
        self.deaths = 0;
        self.excused = false;
    }

    /// Whether it is to survive whatever has happened so far.
    pub fn is_promised(&self) -> bool {
        self.acknowledged && !self.excused
    }

    /// Whether it changed this key, or perhaps did.
    pub fn touches(&self, key: &[u8]) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|name| name == key))
    }
}

/// Somebody waited until other copies have everything that the acting one has.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The slot.
    pub slot: Slot,
    /// What the acting node had incorporated.
    pub past: Ghost,
    /// Which copy each node had then: its boot and its tenure.
    pub copies: Vec<(u32, Origin)>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What broke first.
    pub violation: Option<Violation>,
    /// What happened.
    pub counts: Counts,
    /// A digest of everything that happened.
    pub fingerprint: u64,
    /// What happened line by line, if it was asked for.
    pub trace: Vec<String>,
}

/// What seeds are mixed with where something is drawn that was thought of later, so that what was there before stays
/// as it was. The later ones are chosen so that seeds which once showed a violation draw nothing new.
const LATER: u64 = 0x6C61_7465;
const LATEST: u64 = 0x6C61_7465_0000_1026;
const LAST: u64 = 0x6C61_7374_0000_1127;

/// A cluster with everything around it.
pub struct World {
    /// The nodes.
    pub nodes: Vec<SimNode>,
    /// The number of slots.
    pub slots: u16,
    /// All targets so far, the last ones in force.
    pub targets: Vec<Vec<Vec<usize>>>,
    /// All writes so far.
    pub writes: Vec<Write>,
    /// All waits so far.
    pub waits: Vec<Wait>,
    /// What this run does.
    pub faults: Faults,
    /// What has happened.
    pub counts: Counts,
    pub(super) network: Network,
    pub(super) numbers: Writes,
    /// Until which step each node stands still.
    pub(super) paused: Vec<usize>,
    /// Until which step the machine of each node hears nothing, while its copies take in and execute.
    pub(super) deaf: Vec<usize>,
    /// What will happen to links: when, between whom, and what.
    pub(super) plan: Vec<(usize, usize, usize, Planned)>,
    /// The nodes that joined, the last one last.
    pub(super) joined: Vec<usize>,
    /// A mutation: origins of which everybody in reach had the same, up to when.
    pub(super) retired: Vec<(Slot, Dot)>,
    /// What an observer above the cluster remembers.
    pub observer: Observer,
    pub(super) roles: Vec<Vec<Role>>,
    /// In which step each copy was last opened to be pulled.
    pub(super) pulls_since: Vec<Vec<usize>>,
    pub(super) skews_ms: Vec<u64>,
    pub(super) random: Rng,
    pub(super) step: usize,
    pub(super) quiet: bool,
    /// At the end: whether whoever looks around compares as well.
    pub(super) compares: bool,
    /// Everything has settled but that two nodes do not reach each other.
    pub(super) is_apart: bool,
    pub(super) mutation: Option<Mutation>,
    pub(super) violation: Option<Violation>,
    pub(super) trace: Option<Vec<String>>,
    seed: u64,
    fingerprint: u64,
}

/// What happens to a link later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Planned {
    /// It heals.
    Heal,
    /// It breaks.
    Break,
    /// Nothing has come from the first to the second for so long that they are in session no more.
    EndOneWay,
    /// A node that lapsed may act again.
    ActAgain,
}

/// Notes a line of the trace, if there is one.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if $world.trace.is_some() { $world.note(format!($($text)*)) }
    };
}
pub(super) use note;

impl World {
    /// Runs one history. `trace` keeps a line for each thing that happens.
    pub fn run(seed: u64, mutation: Option<Mutation>, trace: bool) -> Run {
        let mut world = World::new(seed, mutation, trace);
        world.bootstrap();
        let steps = 60 + world.random.usize(0..400);
        while world.step < steps && world.violation.is_none() {
            world.step();
        }
        world.settle();
        world.counts.writes = world.writes.len();
        Run {
            seed,
            violation: world.violation,
            counts: world.counts,
            fingerprint: world.fingerprint,
            trace: world.trace.unwrap_or_default(),
        }
    }

    fn new(seed: u64, mutation: Option<Mutation>, trace: bool) -> World {
        let mut random = Rng::with_seed(seed);
        let mut faults = Faults::draw(&mut random);
        faults.draw_later(&mut Rng::with_seed(seed ^ LATER));
        faults.draw_latest(&mut Rng::with_seed(seed ^ LATEST));
        faults.draw_last(&mut Rng::with_seed(seed ^ LAST));
        let nodes = random.usize(3..7);
        let joins = faults.has(Action::Join) || faults.has(Action::Swap);
        let late = if joins { random.usize(0..=nodes - faults.replicas) } else { 0 };
        let slots = random.u16(1..4);
        let skews_ms = (0..nodes).map(|_| random.u64(0..=faults.skew_ms)).collect();
        let numbers: Writes = Rc::new(RefCell::default());
        let mut world = World {
            nodes: Vec::new(),
            slots,
            targets: Vec::new(),
            writes: Vec::new(),
            waits: Vec::new(),
            faults,
            counts: Counts::default(),
            network: Network::new(nodes),
            numbers,
            paused: vec![0; nodes],
            deaf: vec![0; nodes],
            plan: Vec::new(),
            joined: Vec::new(),
            retired: Vec::new(),
            observer: Observer::new(nodes, slots.into()),
            roles: vec![vec![Role::Absent; slots.into()]; nodes],
            pulls_since: vec![vec![0; slots.into()]; nodes],
            skews_ms,
            random,
            step: 0,
            quiet: false,
            compares: false,
            is_apart: false,
            mutation,
            violation: None,
            trace: trace.then(Vec::new),
            seed,
            fingerprint: seed,
        };
        for node in 0..nodes {
            let id = NodeId::from_seed(seed ^ (node as u64) << 32);
            let standing = if node + late < nodes { Standing::Member } else { Standing::Waiting };
            let blank = world.blank(node, id, 0, nodes);
            world.nodes.push(SimNode { standing, up: standing == Standing::Member, ..blank });
        }
        world.draw_targets();
        note!(world, "{:?}", world.faults);
        world
    }

    /// A node that has just started.
    pub(super) fn blank(&self, node: usize, id: NodeId, boot: u32, nodes: usize) -> SimNode {
        let seed = self.seed ^ (node as u64) << 40 ^ u64::from(boot) << 50;
        let mut control = Control::new(Peer(node as u8), id, self.slots.into(), 2, seed);
        let mut copy_mutations = replica::Mutations::default();
        match self.mutation {
            Some(Mutation::Control(mutations)) => control = control.with_mutations(mutations),
            Some(Mutation::Copy(mutations)) => copy_mutations = mutations,
            _ => {}
        }
        let mut copies = Copies::new(self.slots, &self.numbers, self.faults.park_limit_bytes, copy_mutations);
        copies.folds_ignored = self.mutation == Some(Mutation::FoldNotCompared);
        SimNode {
            standing: Standing::Member,
            up: true,
            boot,
            id,
            control,
            copies,
            ready: SlotSet::new(self.slots.into()),
            route: vec![None; self.slots.into()],
            targets: usize::MAX,
            executed: vec![false; self.slots.into()],
            forgotten: PeerSet::EMPTY,
            clean: vec![vec![None; self.slots.into()]; nodes],
            sessions: vec![Session::default(); nodes],
            reports: Vec::new(),
        }
    }

    /// Everybody meets, the slots are opened empty, somebody acts for each.
    fn bootstrap(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                self.greet(a, b);
            }
        }
        self.adopt_targets_everywhere();
        for _ in 0..20 {
            self.round();
        }
        self.counts = Counts::default();
    }

    fn step(&mut self) {
        self.step += 1;
        self.do_what_is_due();
        match self.faults.action(&mut self.random) {
            Action::Command => self.command(),
            Action::Tick => {
                let at = self.random.usize(0..self.nodes.len());
                self.tick(at);
            }
            Action::Deliver => self.deliver_one(),
            Action::Hear => self.hear_one(),
            Action::Learn => self.learn_targets(),
            Action::Notice => self.notice_or_restart(),
            Action::Move => self.move_slots(),
            Action::Break => self.break_or_heal(),
            Action::Crash => self.crash(),
            Action::Pause => self.pause(),
            Action::Stall => self.stall(),
            Action::Join => self.join(),
            Action::Leave => self.leave(),
            Action::Lose => self.lose_entry(),
            Action::Ruin => self.ruin_slot(),
            Action::Doubt => self.doubt(),
            Action::OneWay => self.cut_one_way(),
            Action::Flap => self.flap(),
            Action::Swap => self.swap(),
            Action::Jump => self.jump(),
            Action::Expire => self.reclaim(Cause::Expire),
            Action::Press => self.reclaim(Cause::Evict),
            Action::Lapse => self.lapse(),
        }
    }

    /// Whether a node is up and does not stand still.
    pub(super) fn runs(&self, at: usize) -> bool {
        self.nodes[at].up && (self.quiet || self.paused[at] <= self.step)
    }

    /// Whether the machine of a node works.
    pub(super) fn decides(&self, at: usize) -> bool {
        self.runs(at) && (self.quiet || self.deaf[at] <= self.step)
    }

    pub(super) fn pair(&mut self) -> (usize, usize) {
        let a = self.random.usize(0..self.nodes.len());
        let b = (a + self.random.usize(1..self.nodes.len())) % self.nodes.len();
        (a, b)
    }

    /// The targets in force.
    pub fn owners(&self, slot: Slot) -> &[usize] {
        self.targets.last().map_or(&[], |targets| &targets[slot.index()])
    }

    /// All slots.
    pub fn every_slot(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.slots).filter_map(Slot::new)
    }

    /// Whether no node crashed, no link broke, no copy was spoilt, and no two that had not met yet acted at once: whatever
    /// happened was planned.
    pub fn nothing_broke(&self) -> bool {
        self.counts.crashes + self.counts.breaks + self.counts.doubts + self.counts.splits == 0
    }

    /// The writes on their way in the lane from one node to another, or that were when its machine began to work.
    pub fn shipped(&self, from: usize, to: usize) -> Ghost {
        let mut shipped = Ghost::default();
        let numbers = self.numbers.borrow();
        let meanwhile = self.nodes[to].copies.meanwhile.effects.iter().filter(|&&(sender, _)| sender == from);
        let effects = self.network.effects(from, to).chain(meanwhile.map(|(_, bytes)| &bytes[..]));
        for effect in effects.filter_map(|bytes| ring::effect::EffectRef::decode(bytes).ok()) {
            let number = numbers.get(&(effect.header.slot.number(), effect.header.dot));
            number.into_iter().for_each(|&number| shipped.insert(number));
        }
        shipped
    }

    pub(super) fn check_copy(&mut self, at: usize, slot: Slot) {
        self.mix(at);
        self.check(|world| invariants::of_copy(world, at, slot));
    }

    pub(super) fn check(&mut self, invariant: impl FnOnce(&World) -> Result<(), Violation>) {
        if self.violation.is_none()
            && let Err(violation) = invariant(self)
        {
            note!(self, "!! {violation}");
            self.violation = Some(violation);
        }
    }

    pub(super) fn mix(&mut self, what: usize) {
        self.fingerprint = (self.fingerprint.rotate_left(5) ^ what as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    pub(super) fn note(&mut self, line: String) {
        let step = self.step;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{step:4} {line}"));
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("step", &self.step)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

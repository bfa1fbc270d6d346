//! A few nodes on one thread that gossip over links which lose and cut, driven by one seed.

use std::{collections::BTreeSet, fmt::Write as _};

use ring::{
    boot::{self, Answer, Boot},
    facts::{Change, Facts},
    hlc::Hlc,
    id::{Incarnation, NodeId},
    member::{Descriptor, Key, Meta, Partition, PublishedSlots, State, Statement, Verdict},
    slot::Slot,
    slot_set::SlotSet,
    verdict::{Config, Input, Judge, Now, Output},
    view::View,
};

/// Two chunks, the second one short.
pub(crate) const SLOTS: usize = 1100;

/// Every node gossips with one other in every round.
pub(crate) const ROUND_MS: u64 = 200;

/// The calendar's time when the simulation begins.
const START_UNIX_MS: u64 = 1_800_000_000_000;

/// How many bytes a delta may have. Small, so that larger ones are cut.
const LIMIT_BYTES: usize = 1;

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now_ms: u64,
    pub(crate) loss_percent: u64,
    pub(crate) trace: String,
    config: Config,
    seed: u64,
    cut: BTreeSet<(usize, usize)>,
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) facts: Facts,
    pub(crate) view: View,
    pub(crate) is_running: bool,
    judge: Judge,
    ready: SlotSet,
}

impl Cluster {
    pub(crate) fn new(seed: u64, config: Config) -> Cluster {
        let (nodes, trace, cut) = (Vec::new(), String::new(), BTreeSet::new());
        Cluster { nodes, now_ms: 0, loss_percent: 0, trace, config, seed, cut }
    }

    /// A new node with an identity of its own. It is joining and knows nobody.
    pub(crate) fn start(&mut self) -> usize {
        let node = self.nodes.len();
        let fresh = self.boot(node);
        self.nodes.push(fresh);
        self.say_state(node, State::Joining);
        node
    }

    /// The same identity again, with nothing kept.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node] = self.boot(node);
        self.say_state(node, State::Joining);
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].is_running = false;
    }

    pub(crate) fn say_state(&mut self, node: usize, state: State) {
        let (since, mut value) = (self.hlc(), Vec::new());
        state.encode(since, &mut value);
        self.change(node, |facts| facts.set(&Key::State.to_bytes(), &value).unwrap());
    }

    pub(crate) fn set_ready(&mut self, node: usize, slot: usize, is_ready: bool) {
        let slot = Slot::new(slot as u16).unwrap();
        let ready = &mut self.nodes[node].ready;
        if if is_ready { ready.insert(slot) } else { ready.remove(slot) } {
            self.publish_ready(node, slot.index() / 1024);
        }
    }

    pub(crate) fn set_all_ready(&mut self, node: usize) {
        self.nodes[node].ready = SlotSet::full(SLOTS);
        (0..SlotSet::chunks(SLOTS)).for_each(|chunk| self.publish_ready(node, chunk));
    }

    /// Cuts or mends the link between two nodes.
    pub(crate) fn set_link(&mut self, a: usize, b: usize, is_up: bool) {
        let link = (a.min(b), a.max(b));
        if is_up {
            self.cut.remove(&link)
        } else {
            self.cut.insert(link)
        };
    }

    pub(crate) fn mend_all(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_running).collect()
    }

    /// Lets rounds of gossip pass.
    pub(crate) fn rounds(&mut self, rounds: u64) {
        (0..rounds).for_each(|_| self.round(true));
    }

    /// The same, where nobody judges.
    pub(crate) fn rounds_without_judges(&mut self, rounds: u64) {
        (0..rounds).for_each(|_| self.round(false));
    }

    /// Whether all nodes that run see the same.
    pub(crate) fn agree(&mut self) -> bool {
        let running = self.running();
        running.iter().for_each(|&node| self.derive(node));
        running.windows(2).all(|pair| self.nodes[pair[0]].view == self.nodes[pair[1]].view)
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        // Vigna's splitmix64.
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.seed ^ self.seed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % below
    }

    pub(crate) fn is_up(&self, a: usize, b: usize) -> bool {
        self.nodes[a].is_running && self.nodes[b].is_running && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn boot(&self, node: usize) -> Node {
        let unix_ms = START_UNIX_MS + self.now_ms + node as u64;
        let id = NodeId::from_bytes([node as u8 + 1; 20]);
        let mut facts = Facts::new(id, boot::incarnation(unix_ms, None));
        let mut value = Vec::new();
        meta(name(node), unix_ms).encode(&mut value);
        facts.set(&Key::Meta.to_bytes(), &value).unwrap();
        let view = View::derive(&facts, SLOTS);
        Node { id, facts, view, is_running: true, judge: Judge::new(id, self.config), ready: SlotSet::new(SLOTS) }
    }

    fn publish_ready(&mut self, node: usize, chunk: usize) {
        let piece = PublishedSlots { at: self.hlc(), slots: self.nodes[node].ready.chunk(chunk) };
        let mut value = Vec::new();
        piece.encode(&mut value);
        self.change(node, |facts| facts.set(&Key::Ready(chunk as u8).to_bytes(), &value).unwrap());
    }

    fn hlc(&self) -> Hlc {
        Hlc::at_unix_ms(START_UNIX_MS + self.now_ms)
    }

    fn round(&mut self, judges: bool) {
        self.now_ms += ROUND_MS;
        for node in self.running() {
            if judges {
                self.judge(node);
            }
            let peers: Vec<usize> =
                self.running().into_iter().filter(|&peer| peer != node && self.is_up(node, peer)).collect();
            if !peers.is_empty() {
                let peer = peers[self.random(peers.len() as u64) as usize];
                self.gossip(node, peer);
            }
        }
    }

    fn judge(&mut self, node: usize) {
        let now = Now { ms: self.now_ms, unix_ms: START_UNIX_MS + self.now_ms };
        for peer in (0..self.nodes.len()).filter(|&peer| peer != node) {
            let (id, is_up) = (self.nodes[peer].id, self.is_up(node, peer));
            let input = if is_up { Input::Reachable(id) } else { Input::Unreachable(id) };
            self.nodes[node].judge.handle(input, now);
        }
        self.derive(node);
        let Node { judge, view, .. } = &mut self.nodes[node];
        judge.handle(Input::View(view), now);
        while let Some(output) = self.nodes[node].judge.poll_output() {
            self.note(node, &describe(output));
            self.change(node, |facts| output.write(facts).unwrap());
        }
    }

    /// A change of a node's own facts, pushed to everybody in reach at once.
    fn change(&mut self, node: usize, change: impl FnOnce(&mut Facts) -> bool) {
        let since = self.nodes[node].facts.version();
        if !change(&mut self.nodes[node].facts) {
            return;
        }
        for peer in 0..self.nodes.len() {
            if peer != node && self.is_up(node, peer) && !self.loses() {
                let delta = self.nodes[node].facts.fresh(since);
                let changes = self.nodes[peer].facts.apply(delta);
                self.heed(peer, changes);
            }
        }
    }

    /// Digest, delta, digest, delta; each message may be lost, and with it what follows.
    fn gossip(&mut self, a: usize, b: usize) {
        for (asks, answers) in [(a, b), (b, a)] {
            if self.loses() {
                return;
            }
            let digest = self.nodes[asks].facts.digest();
            let heeded = self.nodes[answers].facts.heed(&digest);
            self.heed(answers, heeded);
            let delta = self.nodes[answers].facts.delta_for(&digest, LIMIT_BYTES);
            if self.loses() {
                return;
            }
            let changes = self.nodes[asks].facts.apply(delta);
            self.heed(asks, changes);
        }
    }

    fn heed(&mut self, node: usize, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Myself(heard) => {
                    let me = Boot { incarnation: self.nodes[node].facts.incarnation(), at_work: true };
                    // Only one process per node runs here, so no facts of one's own are a live twin's.
                    if let Answer::Raise(incarnation) = boot::heard_of_myself(me, heard, None) {
                        self.note(node, "hears of itself and takes a higher incarnation");
                        self.change(node, |facts| facts.raise(incarnation));
                    }
                }
                Change::Buried(grave) => {
                    let is_live = self.nodes.iter().enumerate().any(|(peer, other)| {
                        other.id == grave.node
                            && self.is_up(node, peer)
                            && other.facts.incarnation() == grave.incarnation
                    });
                    if !is_live {
                        self.note(node, &format!("hears that {} is over", name_of(grave.node)));
                        self.nodes[node].facts.bury(grave);
                    }
                }
                Change::Appeared(..) | Change::Set(..) | Change::Withdrawn(..) => {}
            }
        }
    }

    fn derive(&mut self, node: usize) {
        self.nodes[node].view = View::derive(&self.nodes[node].facts, SLOTS);
    }

    fn loses(&mut self) -> bool {
        self.random(100) < self.loss_percent
    }

    fn note(&mut self, node: usize, what: &str) {
        writeln!(self.trace, "{:>7.1} s  {} {what}", self.now_ms as f64 / 1000.0, name(node)).unwrap();
    }
}

pub(crate) fn name(node: usize) -> String {
    char::from(b'a' + node as u8).to_string()
}

pub(crate) fn name_of(id: NodeId) -> String {
    name(usize::from(id.as_bytes()[0]) - 1)
}

fn meta(name: String, joined_unix_ms: u64) -> Meta {
    Meta {
        host: format!("{name}.example"),
        name,
        version: "0.1.0".into(),
        port: 6379,
        cluster_port: 7379,
        peer_port: 7946,
        admin_port: 9121,
        announce_host: String::new(),
        announce_port: 0,
        announce_cluster_port: 0,
        zone: "default".into(),
        weight: 1,
        joined_unix_ms,
        descriptor: Descriptor {
            format: 1,
            replicas: 2,
            slots: SLOTS as u16,
            vnodes: 256,
            headroom: 50,
            partition: Partition::Available,
        },
    }
}

fn describe(output: Output) -> String {
    let boot = |incarnation: Incarnation| format!("boot {}", incarnation.0 - START_UNIX_MS);
    match output {
        Output::Report(node, _) => format!("cannot reach {}", name_of(node)),
        Output::Unreport(node) => format!("reaches {} again, or asks no more", name_of(node)),
        Output::Say(node, Statement { verdict, strikes, incarnation, .. }) => {
            let verdict = match verdict {
                Verdict::Held { for_ms } => format!("held for {} s", for_ms / 1000),
                other => format!("{other:?}").to_lowercase(),
            };
            format!("says that {} ({}) is {verdict}, strike {strikes}", name_of(node), boot(incarnation))
        }
        Output::Unsay(node) => format!("says nothing about {} any more", name_of(node)),
        Output::Bury(grave) => format!("forgets {} ({})", name_of(grave.node), boot(grave.incarnation)),
        Output::Raise(incarnation) => format!("goes on as {}", boot(incarnation)),
    }
}

//! A few nodes on one thread that share one slot, with links that keep their order.
//!
//! What a link carries is written down when it arrives, one line a packet, so that a history reads as a conversation.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
};

use ring::{
    context::SlotContext,
    control::{Body, Control, FetchId, Input, Message, Output, Slots, Targets},
    dot::Dot,
    effect::{EffectRef, Op},
    hlc::HlcClock,
    id::{NodeId, Origin, Peer, PeerSet},
    replica::{Digest, Entries, Received, Replica, Role},
    slot::Slot,
    slot_set::SlotSet,
};

use crate::entries::Map;

/// The nodes are called a, b, c, d.
const NODES: usize = 4;

#[derive(Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<usize, Node>,
    links: BTreeMap<(usize, usize), VecDeque<Packet>>,
    cut: BTreeSet<(usize, usize)>,
    boots: u64,
    pub(crate) trace: String,
}

struct Node {
    control: Control,
    copy: Copy,
    clock: HlcClock,
    is_ready: bool,
    sessions: BTreeSet<usize>,
    role: Role,
}

struct Copy(Replica<Map>);

enum Packet {
    Control(Message),
    Ready(bool),
    Reach(Vec<NodeId>),
    Effect(Vec<u8>),
    Compare(Digest),
    Mark(u64),
    Fetch(FetchId, Origin),
    Snapshot(FetchId, Origin, Option<(SlotContext, BTreeMap<Vec<u8>, Dot>)>),
}

impl Slots for Copy {
    type Entries = Map;

    fn with<R>(&mut self, _: Slot, f: impl FnOnce(&mut Replica<Map>) -> R) -> R {
        f(&mut self.0)
    }
}

impl Cluster {
    /// A node starts, empty, and meets all that it can reach.
    pub(crate) fn start(&mut self, node: usize) {
        self.boots += 1;
        let seed = self.boots << 32;
        self.nodes.insert(
            node,
            Node {
                control: Control::new(Peer(node as u8), id(node), 1, 1, seed),
                copy: Copy(Replica::absent(slot(), Map::default())),
                clock: HlcClock::default(),
                is_ready: false,
                sessions: BTreeSet::new(),
                role: Role::Absent,
            },
        );
        self.meet();
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes.remove(&node);
        self.links.retain(|&(from, to), _| from != node && to != node);
        self.part();
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert((a.min(b), a.max(b)));
        self.links.remove(&(a, b));
        self.links.remove(&(b, a));
        self.part();
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.meet();
    }

    /// Tells some nodes where the slot should live, and lets them look around.
    pub(crate) fn place(&mut self, nodes: &[usize], owners: &[usize]) {
        let mut targets = Targets::none(1);
        targets.set(slot(), owners.iter().map(|&owner| Peer(owner as u8)));
        for &node in nodes {
            let targets = targets.clone();
            self.drive(node, |control, copy| {
                control.handle(Input::MayOpen(true), copy);
                control.handle(Input::Targets(targets), copy);
            });
        }
    }

    pub(crate) fn tick(&mut self) {
        for node in self.running() {
            self.drive(node, |control, copy| control.tick(copy));
        }
    }

    /// A node finds that it stood still, or that it knows again who acts.
    pub(crate) fn lapse(&mut self, node: usize, lapsed: bool) {
        self.drive(node, |control, copy| control.handle(Input::Lapsed(lapsed), copy));
    }

    /// Executes a write where the node acts.
    pub(crate) fn write(&mut self, at: usize, key: &str) {
        let node = self.nodes.get_mut(&at).unwrap();
        if node.copy.0.role() != Role::Acting {
            return writeln!(self.trace, "    {}: does not act", name(at)).unwrap();
        }
        let header = node.copy.0.stamp(&mut node.clock, 0);
        let op = Op::Put { key: key.as_bytes(), kind: 0, value: b"", deadline: 0 };
        let (entries, fold) = node.copy.0.entries_mut();
        entries.apply(header.dot, &op, fold);
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        op.encode(&mut bytes);
        let to: Vec<usize> = node.copy.0.ship_to().iter().map(Peer::index).collect();
        to.into_iter().for_each(|to| self.send(at, to, Packet::Effect(bytes.clone())));
    }

    /// A copy loses an entry, and who acts finds out.
    pub(crate) fn spoil(&mut self, acting: usize, at: usize, key: &str) {
        self.nodes.get_mut(&at).unwrap().copy.0.entries_mut().0.0.remove(key.as_bytes());
        let here = acting == at;
        let copies = if here { PeerSet::EMPTY } else { [Peer(at as u8)].into_iter().collect() };
        self.drive(acting, |control, copy| control.handle(Input::Spoilt { slot: slot(), copies, here }, copy));
    }

    /// Everything on its way arrives, and whatever that causes.
    pub(crate) fn run(&mut self) {
        for _ in 0..1000 {
            let Some((&(from, to), _)) = self.links.iter().find(|(_, queue)| !queue.is_empty()) else { return };
            self.arrive(from, to);
        }
        panic!("the nodes never come to rest:\n{}", self.trace);
    }

    /// The next packet of one link arrives.
    pub(crate) fn arrive(&mut self, from: usize, to: usize) {
        let packet = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("something is on its way");
        // Whom everybody reaches goes without saying.
        if !matches!(packet, Packet::Reach(_)) {
            let said = self.say(&packet);
            writeln!(self.trace, "    {} -> {}  {said}", name(from), name(to)).unwrap();
        }
        let peer = Peer(from as u8);
        match packet {
            Packet::Control(message) => {
                self.drive(to, |control, copy| control.handle(Input::Message { from: peer, message }, copy));
            }
            Packet::Ready(is_ready) => self.drive(to, |control, copy| {
                control.handle(Input::Ready { peer, id: id(from), ready: ready(is_ready) }, copy);
            }),
            Packet::Reach(nodes) => {
                self.drive(to, |control, copy| control.handle(Input::Reach { peer, nodes }, copy));
            }
            Packet::Effect(bytes) => {
                let node = self.nodes.get_mut(&to).unwrap();
                let received = node.copy.0.receive(peer, &bytes, &EffectRef::decode(&bytes).unwrap(), &mut node.clock);
                if received != Received::Applied {
                    writeln!(self.trace, "          {}: {received:?}", name(to)).unwrap();
                }
                if received.is_uncertain() {
                    self.drive(to, |control, copy| control.handle(Input::Gap { slot: slot() }, copy));
                }
            }
            Packet::Mark(id) => {
                let marked = Input::Marked { slot: slot(), from: peer, id };
                self.drive(to, |control, copy| control.handle(marked, copy));
            }
            Packet::Compare(digest) => {
                let copy = &self.nodes[&to].copy.0;
                if copy.role().holds() && copy.digest() != digest {
                    self.drive(to, |control, copy| control.handle(Input::Differs { slot: slot(), from: peer }, copy));
                }
            }
            Packet::Fetch(fetch, origin) => {
                let copy = &self.nodes[&to].copy.0;
                let content = copy.role().holds().then(|| copy.snapshot());
                self.send(to, from, Packet::Snapshot(fetch, origin, content));
            }
            Packet::Snapshot(fetch, origin, content) => {
                let node = self.nodes.get_mut(&to).unwrap();
                let content = content.filter(|_| node.copy.0.is_of(origin));
                let joined = content.map(|(seen, entries)| node.copy.0.join(&seen, entries, &mut node.clock));
                self.drive(to, |control, copy| control.handle(Input::Fetched { fetch, joined }, copy));
            }
        }
    }

    /// A line for each node: its role and what it holds.
    pub(crate) fn show(&mut self) {
        for node in self.running() {
            let copy = &self.nodes[&node].copy.0;
            let keys: Vec<_> = copy.entries().0.keys().map(|key| String::from_utf8_lossy(key)).collect();
            writeln!(self.trace, "    {}: {:?} [{}]", name(node), copy.role(), keys.join(" ")).unwrap();
        }
    }

    fn running(&self) -> Vec<usize> {
        self.nodes.keys().copied().collect()
    }

    fn meet(&mut self) {
        for a in self.running() {
            for b in self.running() {
                let apart = a == b || self.cut.contains(&(a.min(b), a.max(b)));
                if !apart && self.nodes.get_mut(&a).unwrap().sessions.insert(b) {
                    let (peer, ready) = (Peer(b as u8), ready(self.nodes[&b].is_ready));
                    self.drive(a, |control, copy| {
                        control.handle(Input::SessionUp { peer, id: id(b), ready }, copy);
                    });
                }
            }
        }
    }

    fn part(&mut self) {
        for a in self.running() {
            let gone = |b: &usize| !self.nodes.contains_key(b) || self.cut.contains(&(a.min(*b), a.max(*b)));
            let lost: Vec<usize> = self.nodes[&a].sessions.iter().copied().filter(gone).collect();
            for b in lost {
                self.nodes.get_mut(&a).unwrap().sessions.remove(&b);
                let peer = Peer(b as u8);
                self.drive(a, |control, copy| control.handle(Input::SessionDown { peer }, copy));
            }
        }
    }

    fn drive(&mut self, at: usize, work: impl FnOnce(&mut Control, &mut Copy)) {
        let node = self.nodes.get_mut(&at).unwrap();
        work(&mut node.control, &mut node.copy);
        let before = std::mem::replace(&mut node.role, node.copy.0.role());
        if before != node.role {
            writeln!(self.trace, "          {}: {before:?}, now {:?}", name(at), node.role).unwrap();
        }
        while let Some(output) = self.nodes.get_mut(&at).unwrap().control.poll_output() {
            match output {
                Output::Send { to, message } => self.send(at, to.index(), Packet::Control(message)),
                Output::Fetch { fetch, from, origin, .. } => self.send(at, from.index(), Packet::Fetch(fetch, origin)),
                Output::Mark { to, id, .. } => self.send(at, to.index(), Packet::Mark(id)),
                Output::CompareRecord { to, .. } => {
                    let digest = self.nodes[&at].copy.0.digest();
                    self.send(at, to.index(), Packet::Compare(digest));
                }
                Output::Publish { ready, .. } => {
                    self.nodes.get_mut(&at).unwrap().is_ready = ready;
                    let sessions = self.nodes[&at].sessions.clone();
                    sessions.into_iter().for_each(|to| self.send(at, to, Packet::Ready(ready)));
                }
                Output::SayReach { nodes } => {
                    let sessions = self.nodes[&at].sessions.clone();
                    sessions.into_iter().for_each(|to| self.send(at, to, Packet::Reach(nodes.clone())));
                }
                Output::Route { .. } => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        if self.nodes[&from].sessions.contains(&to) {
            self.links.entry((from, to)).or_default().push_back(packet);
        }
    }

    fn say(&self, packet: &Packet) -> String {
        match packet {
            Packet::Control(message) => self.say_body(&message.body),
            Packet::Ready(is_ready) => if *is_ready { "I am ready" } else { "I am not ready any more" }.into(),
            Packet::Reach(nodes) => format!("I reach {} nodes", nodes.len()),
            Packet::Effect(bytes) => {
                let keys = EffectRef::decode(bytes).unwrap().ops().map(|op| match op {
                    Op::Put { key, .. } => String::from_utf8_lossy(key).into_owned(),
                    op => format!("{op:?}"),
                });
                format!("effect: {}", keys.collect::<Vec<_>>().join(" "))
            }
            Packet::Mark(_) => "mark: this is all that I shipped".into(),
            Packet::Compare(digest) => format!("compare: my copy is {}", short(*digest)),
            Packet::Fetch(..) => "fetch a snapshot".into(),
            Packet::Snapshot(_, _, None) => "no snapshot: I hold nothing".into(),
            Packet::Snapshot(_, _, Some((_, entries))) => {
                let keys: Vec<_> = entries.keys().map(|key| String::from_utf8_lossy(key)).collect();
                format!("snapshot [{}]", keys.join(" "))
            }
        }
    }

    fn say_body(&self, body: &Body) -> String {
        let who = |id: &NodeId| (0..NODES).find(|&node| self::id(node) == *id).map_or("?".into(), name);
        match body {
            Body::Acquire { .. } => "I am about to act: stop".into(),
            Body::Stopped { holds, pullers, .. } => {
                let copy = holds.as_ref().map(|holds| format!("my copy is {}", short(holds.digest())));
                let holds = copy.unwrap_or("hold nothing".into());
                let pullers: Vec<String> = pullers.iter().map(who).collect();
                let pullers = if pullers.is_empty() { String::new() } else { format!(", {} pulls", pullers.join(" ")) };
                format!("stopped: {holds}{pullers}")
            }
            Body::Refused { .. } => "refused: I am about to act myself".into(),
            Body::Acting => "I act".into(),
            Body::BothStop => "we both acted: I have stopped, stop as well".into(),
            Body::Register => "register me".into(),
            Body::Registered => "registered".into(),
            Body::NotActing { acting: None } => "I do not act".into(),
            Body::NotActing { acting: Some(acting) } => format!("I do not act, {} does", who(acting)),
            Body::Compare { answer: true, .. } => "compare: this is what I have, what have you?".into(),
            Body::Compare { answer: false, .. } => "compare: this is what I have".into(),
            Body::MayRelease { .. } => "may I forget it?".into(),
            Body::ActsNoMore => "I act no more".into(),
            Body::MaySpare { .. } => "can you do without mine?".into(),
            Body::WhoActs { .. } => "who acts?".into(),
            Body::ActsThere { acting: None, .. } => "nobody whom I reach".into(),
            Body::ActsThere { acting: Some(acting), .. } => format!("{} acts", who(acting)),
            Body::TakeOver => "mine is spoilt: act in my place".into(),
            Body::PullAnew => "your copy is spoilt: pull it anew".into(),
            Body::MayMend { .. } => "may I forget it, to pull it anew?".into(),
            Body::Release { granted: true, .. } => "forget it, I have all that you had".into(),
            Body::Release { granted: false, .. } => "keep it".into(),
        }
    }
}

/// Enough of a digest to see which copies are equal.
fn short(digest: Digest) -> String {
    format!("{:04x}", (digest.seen ^ digest.fold.0) & 0xFFFF)
}

fn slot() -> Slot {
    Slot::new(0).unwrap()
}

fn id(node: usize) -> NodeId {
    // a is the smallest, as its name.
    NodeId::from_bytes([node as u8 + 1; 20])
}

fn ready(is_ready: bool) -> SlotSet {
    if is_ready { SlotSet::full(1) } else { SlotSet::new(1) }
}

pub(crate) fn name(node: usize) -> String {
    char::from(b'a' + node as u8).to_string()
}

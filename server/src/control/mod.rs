//! The control task: the one place where the node decides who it is to the ring.
//!
//! It owns the facts, the view, the sessions and the control machine, and takes in everything that happens, one thing
//! at a time. It runs on a thread of its own, so that heartbeats leave and verdicts are weighed while all other threads
//! serve clients.
//!
//! ```text
//!   peer events ─┐                         ┌─► messages, facts, heartbeats ─► peers
//!   frames ──────┤   view ─► targets ─┐    ├─► roles ─► store
//!   reports ─────┼─► facts            ├─► machine ─► routes ─► connections
//!   ticks ───────┤   suspicion        ┘    ├─► snapshots to fetch ─► bulk
//!   leave ───────┘                         └─► the picture of the ring ─► CLUSTER
//! ```

mod directory;
mod gossip;
mod leaving;
mod publish;
mod refusals;
mod seeds;
mod sessions;
mod standstill;
mod views;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ring::{
    control::{Control, Input, Output},
    facts::Grave,
    id::{Incarnation, NodeId, Peer},
    lapse::{self, Lapse},
    member::{Meta, Partition, Standing, State},
    slot::SLOTS,
    slot_set::SlotSet,
    suspicion::{self, Suspicion},
    table::{Placed, Table},
    verdict,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, watch},
    time::interval,
};

use self::{
    directory::Directory,
    gossip::{GiveWay, Gossip},
    leaving::Leaving,
    publish::Published,
    refusals::Refusals,
    seeds::{Dialling, Resolved},
    sessions::{Active, Copies},
};
use crate::{
    clock::Clock,
    config::Endpoint,
    forward::Links,
    life::Life,
    orders::{Order, Refused},
    peer::{Frame, PeerEvent, Peering, Refusal, SessionId},
    replica::{End, Report, Reports, acks::Acks, audits::Audits, bulk},
    routes::{ME, Routes},
    store::Store,
    topology::Topologies,
};

/// How often the task looks around.
const TICK_MS: u64 = 50;
/// A view is derived at most this often; facts come in bursts.
const VIEW_EVERY_MS: u64 = 20;
/// A node with seeds that meets nobody opens the ring alone after this time.
const QUIET_MS: u64 = 2_000;
/// How often copies are compared though nothing happened.
const COMPARE_EVERY_MS: u64 = 10_000;
/// A node whose identity another one has gives up after this time: a former boot of it ends its sessions sooner.
const IDENTITY_TAKEN_MS: u64 = 3_000;
/// A node that has served nothing yet opens no ring alone for so long after a seed was refused because of its clock.
const CLOCKS_APART_MS: u64 = 3_000;
/// How often a node that waits for its seeds says so.
const SAY_WAITING_EVERY_MS: u64 = 30_000;
/// How many slots are pulled at a time.
const MOST_PULLS: usize = 512;
/// How many things are taken in before the outputs are carried out.
const BATCH: usize = 256;

/// What the task is made of.
pub struct Parts {
    /// Who this node is.
    pub me: NodeId,
    /// Which boot this is.
    pub incarnation: Incarnation,
    /// What it says of itself.
    pub meta: Meta,
    /// Where to look for others.
    pub seeds: Vec<Endpoint>,
    /// How long a lost copy is waited for.
    pub rebuild_delay: Duration,
    /// How fast snapshots may be sent.
    pub rebalance_rate_bytes: Option<u64>,
    /// How long leaving may take.
    pub shutdown_timeout: Duration,
    /// A seed of this boot.
    pub seed: u64,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The entries.
    pub store: Arc<Store>,
    /// Where commands go.
    pub routes: Arc<Routes>,
    /// Which writes reached whom.
    pub acks: Arc<Acks>,
    /// What peers answer to claims.
    pub audits: Arc<Audits>,
    /// Copies that are not what their contexts say.
    pub spoilt: mpsc::UnboundedReceiver<Input>,
    /// What operators order.
    pub orders: mpsc::Receiver<Order>,
    /// Where it is counted what happens.
    pub life: Arc<Life>,
    /// Links that requests are forwarded over.
    pub links: Arc<Links>,
    /// Wakes the sender of a peer's lane.
    pub wakes: Arc<[Arc<Notify>]>,
    /// Lanes that overflowed.
    pub overflows: mpsc::UnboundedReceiver<Peer>,
    /// The transport.
    pub peering: Peering,
    /// What happens on it.
    pub events: mpsc::Receiver<PeerEvent>,
    /// Where lanes and bulk streams run.
    pub data: Handle,
    /// Where clients are told about the ring.
    pub topologies: Arc<Topologies>,
    /// Becomes true when the node is to leave.
    pub leave: watch::Receiver<bool>,
    /// Is made true when clients are to go.
    pub dismiss: watch::Sender<bool>,
    /// Becomes true when they are gone.
    pub clients_gone: watch::Receiver<bool>,
}

/// Why the task ended, if not because the node has left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The node must not run under its identity.
    GaveWay(String),
    /// Time was over before everything was handed on.
    LeftBehind {
        /// Slots of which the last ready copy may have been here.
        slots: usize,
    },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::GaveWay(why) => write!(f, "{why}"),
            Ended::LeftBehind { slots } => {
                write!(f, "shutdown-timeout is over: {slots} slots were not handed on and have fewer copies now")
            }
        }
    }
}

impl std::error::Error for Ended {}

/// The control task.
struct Task {
    me: NodeId,
    clock: Arc<dyn Clock>,
    store: Arc<Store>,
    copies: Copies,
    routes: Arc<Routes>,
    acks: Arc<Acks>,
    audits: Arc<Audits>,
    life: Arc<Life>,
    links: Arc<Links>,
    wakes: Arc<[Arc<Notify>]>,
    peering: Peering,
    data: Handle,
    reports: Reports,
    frames: mpsc::Sender<(SessionId, Frame)>,
    rate: watch::Sender<Option<u64>>,
    topologies: Arc<Topologies>,
    published: Published,
    /// What was found when all slots were looked at, if nothing changed since.
    serves_all: Option<bool>,
    /// The version of our own facts since which all of that is served.
    serves_since: Option<u64>,
    /// This node serves what it should, and its peers know.
    is_ready: bool,
    machine: Control,
    gossip: Gossip,
    suspicion: Suspicion,
    lapse: Lapse,
    partition: Partition,
    /// The machine was told that acting has lapsed.
    is_lapsed: bool,
    dialling: Dialling,
    directory: Directory,
    sessions: BTreeMap<Peer, Active>,
    known_ready: HashMap<Peer, SlotSet>,
    placed: Vec<Placed>,
    table: Option<Arc<Table>>,
    replicas: usize,
    /// Addresses that turned out to be this node's own.
    own_addresses: HashSet<String>,
    /// The version of our own facts up to which everybody was told.
    told: u64,
    turn: usize,
    started_ms: u64,
    resolved_once: bool,
    /// What the seeds were found to be last.
    seed_addresses: Resolved,
    /// When it was last said that seeds are waited for.
    waiting_said_ms: u64,
    viewed_ms: u64,
    ticks: u64,
    leaving: Option<Leaving>,
    /// Peers that want to hear that nobody is sent to them.
    departing: HashSet<Peer>,
    dismiss: watch::Sender<bool>,
    clients_gone: watch::Receiver<bool>,
    shutdown_timeout_ms: u64,
    give_way: Option<GiveWay>,
    /// When a peer said that another node has this node's identity, for the first and for the last time.
    identity_taken: Option<(u64, u64)>,
    /// When this node last dialled one whose clock is too far from its own.
    clocks_apart_ms: Option<u64>,
    /// Refused peers that were told of.
    refusals: Refusals,
}

/// Runs the task until the node has left.
pub async fn run(parts: Parts) -> Result<(), Ended> {
    let (reports, mut reported) = mpsc::channel(4096);
    let (frames, mut framed) = mpsc::channel(4096);
    let (resolved, mut found) = mpsc::channel(4);
    let (mut events, mut overflows, mut leave) = (parts.events, parts.overflows, parts.leave);
    let (mut spoilt, mut orders) = (parts.spoilt, parts.orders);
    let partition = parts.meta.descriptor.partition;
    let replicas = usize::from(parts.meta.descriptor.replicas);
    let judging = verdict::Config {
        rebuild_delay_ms: parts.rebuild_delay.as_millis() as u64,
        needs_majority: partition == Partition::Majority,
        ..verdict::Config::for_replicas(parts.meta.descriptor.replicas)
    };
    let now_ms = parts.clock.monotonic_us() / 1000;
    let mut task = Task {
        me: parts.me,
        copies: Copies(parts.store.clone()),
        store: parts.store,
        routes: parts.routes,
        acks: parts.acks,
        audits: parts.audits,
        life: parts.life,
        links: parts.links,
        wakes: parts.wakes,
        peering: parts.peering,
        data: parts.data,
        reports,
        frames,
        rate: watch::Sender::new(parts.rebalance_rate_bytes),
        topologies: parts.topologies,
        published: Published::default(),
        serves_all: None,
        serves_since: None,
        is_ready: false,
        machine: Control::new(ME, parts.me, SLOTS, MOST_PULLS, parts.seed),
        gossip: Gossip::new(parts.me, parts.incarnation, &parts.meta, judging, parts.clock.clone()),
        suspicion: Suspicion::new(suspicion::Config::default(), now_ms),
        lapse: Lapse::new(lapse::Config::default(), now_ms),
        partition,
        is_lapsed: false,
        dialling: Dialling::new(parts.seeds, parts.clock.clone(), resolved),
        directory: Directory::new(parts.me),
        sessions: BTreeMap::new(),
        known_ready: HashMap::new(),
        placed: Vec::new(),
        table: None,
        replicas,
        own_addresses: HashSet::new(),
        told: 0,
        turn: 0,
        started_ms: now_ms,
        resolved_once: false,
        seed_addresses: Resolved::default(),
        waiting_said_ms: now_ms,
        viewed_ms: 0,
        ticks: 0,
        leaving: None,
        departing: HashSet::new(),
        dismiss: parts.dismiss,
        clients_gone: parts.clients_gone,
        shutdown_timeout_ms: parts.shutdown_timeout.as_millis() as u64,
        give_way: None,
        identity_taken: None,
        clocks_apart_ms: None,
        refusals: Refusals::default(),
        clock: parts.clock,
    };
    task.refresh_view();
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    let mut asked_to_leave = false;
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                task.tick();
                // Counted from the end: a tick that takes long never follows upon itself.
                ticks.reset();
            }
            left = leave.wait_for(|leave| *leave), if !asked_to_leave => {
                drop(left);
                asked_to_leave = true;
                task.start_leaving();
            }
            Some(event) = events.recv() => task.peer_event(event),
            Some(peer) = overflows.recv() => task.overflowed(peer),
            Some(input) = spoilt.recv() => task.machine.handle(input, &mut task.copies),
            Some(order) = orders.recv() => task.order(order),
            Some(addresses) = found.recv() => task.seeds_found(addresses),
            Some((session, frame)) = framed.recv() => task.frame(session, &frame),
            Some(report) = reported.recv() => task.report(report),
        }
        // Of each as many, so that none of them waits for the other to be empty.
        for _ in 0..BATCH {
            let (frame, report) = (framed.try_recv().ok(), reported.try_recv().ok());
            if frame.is_none() && report.is_none() {
                break;
            }
            if let Some((session, frame)) = frame {
                task.frame(session, &frame);
            }
            if let Some(report) = report {
                task.report(report);
            }
        }
        task.carry_out();
        if let Some(GiveWay(why)) = task.give_way.take() {
            return Err(Ended::GaveWay(why));
        }
        if let Some(ended) = task.has_left() {
            // What was said last has to get out before the streams end with the process.
            for _ in 0..4 {
                task.flush();
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            return ended;
        }
        // The streams of all sessions are read and written by this thread. Without this they would not be while there
        // is always something to do here: a busy node would hear nobody and suspect everybody.
        tokio::task::yield_now().await;
    }
}

impl Task {
    fn now_ms(&self) -> u64 {
        self.clock.monotonic_us() / 1000
    }

    // --- what happens ---

    fn peer_event(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Up(session) => self.session_up(session),
            PeerEvent::Down { session, why, .. } => self.session_down(session, &why),
            PeerEvent::Refused { address, dialled, why } => {
                // Of those who dial anybody could say that they are.
                if dialled && why.is_about_clocks() {
                    self.clocks_apart_ms = Some(self.now_ms());
                }
                self.refused(address, why);
            }
            PeerEvent::Unreachable { .. } | PeerEvent::Superseded { .. } => tracing::debug!("{event}"),
        }
    }

    fn refused(&mut self, address: String, why: Refusal) {
        match why {
            Refusal::Ourselves => {
                self.own_addresses.insert(address);
            }
            // Of two live boots the one that is at work stays.
            Refusal::SameIdentity { .. } if self.routes.unserved() == SLOTS => {
                self.give_way = Some(GiveWay(format!("peer at {address} {why}")));
            }
            // The ring goes on with another boot: this one has just come, or it stood still so long that it was replaced.
            Refusal::IdentityTaken { .. } if self.sessions.is_empty() => {
                let now_ms = self.now_ms();
                let before = self.identity_taken.filter(|&(_, last_ms)| now_ms < last_ms + IDENTITY_TAKEN_MS);
                let since_ms = before.map_or(now_ms, |(since_ms, _)| since_ms);
                self.identity_taken = Some((since_ms, now_ms));
                if now_ms >= since_ms + IDENTITY_TAKEN_MS {
                    self.give_way = Some(GiveWay(format!(
                        "peer at {address} {why}: give this one another --node-id or another --data-dir"
                    )));
                }
            }
            why => {
                let now_ms = self.now_ms();
                if let Some(unsaid) = self.refusals.is_to_be_told(&address, &why.to_string(), now_ms) {
                    tracing::warn!(unsaid, "peer at {address} {why}");
                }
            }
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            // Heard even if the session is over: what the lane or a snapshot brought is in the copy.
            Report::Input(input) => self.machine.handle(input, &mut self.copies),
            Report::Over(session, End::Closed(why)) => self.end_session(session, why),
            Report::Over(session, End::Nonsense(why)) => self.end_for_nonsense(session, &why),
        }
    }

    fn order(&mut self, order: Order) {
        let Order::Forget { node, answer } = order;
        // Whoever asked may have gone.
        let _ = answer.send(self.forget(node));
    }

    /// Forgets a member that will not come back. If it does nevertheless, it is told and ends.
    fn forget(&mut self, node: NodeId) -> Result<(), Refused> {
        if node == self.me {
            return Err(Refused::Myself);
        }
        let incarnation = self.gossip.view().member(node).ok_or(Refused::Unknown)?.incarnation();
        let is_reached = self.directory.peer(node).is_some_and(|peer| self.machine.is_reached_by_others(peer));
        if is_reached || self.sessions.values().any(|active| active.node == node) {
            return Err(Refused::IsThere);
        }
        tracing::warn!(node = %node.short(), "forgotten, as an operator said");
        self.gossip.forget(Grave { incarnation, node });
        self.refresh_view();
        Ok(())
    }

    fn overflowed(&mut self, peer: Peer) {
        if let Some(active) = self.sessions.get(&peer) {
            let session = active.id;
            self.life.overflowed();
            self.end_session(session, "its lane overflowed: more waited for it than the window");
        }
    }

    fn seeds_found(&mut self, addresses: Resolved) {
        self.resolved_once |= !addresses.is_empty();
        // A name that cannot be resolved now was somebody's before.
        if !addresses.is_empty() {
            self.seed_addresses.clone_from(&addresses);
        }
        for address in addresses {
            let known = self.sessions.values().any(|active| active.address == address);
            if !known && !self.own_addresses.contains(&address) {
                self.peering.dial(address, None);
            }
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.clock.compare();
        let now_ms = self.now_ms();
        let number = self.look_around();
        self.beat(number);
        self.look_whether_ready();
        // Heard is who sent something, taken in already or not: how far behind this task is says nothing of a peer.
        for active in self.sessions.values() {
            if active.heard.swap(false, Ordering::Relaxed) {
                self.suspicion.handle(suspicion::Input::Heard(active.node), now_ms);
            }
        }
        self.suspicion.handle(suspicion::Input::Tick, now_ms);
        while let Some(output) = self.suspicion.poll_output() {
            match output {
                suspicion::Output::Suspect(node) => self.suspected(node),
                suspicion::Output::Stalled { for_ms } => {
                    self.life.stalled();
                    tracing::warn!(for_ms, "this node did not run for a while");
                }
                suspicion::Output::Trust(_) => {}
            }
        }
        if self.ticks.is_multiple_of(2) {
            self.review();
            self.machine.handle(Input::MayOpen(self.may_open()), &mut self.copies);
            self.machine.tick(&mut self.copies);
        }
        if self.ticks.is_multiple_of(4) {
            self.exchange();
        }
        if self.ticks.is_multiple_of(COMPARE_EVERY_MS / TICK_MS) {
            self.machine.handle(Input::CompareRound, &mut self.copies);
        }
        self.dialling.ask_seeds(self.sessions.is_empty());
        self.say_what_is_waited_for();
        self.dial_members();
        let at_once = self.is_ready != self.topologies.current().is_ready() && self.leaving.is_none();
        self.publish(at_once);
        self.see_off();
        self.dismiss_clients();
    }

    fn suspected(&mut self, node: NodeId) {
        if let Some(active) = self.sessions.values().find(|active| active.node == node) {
            tracing::warn!(node = %node.short(), "silent: suspected");
            self.life.suspected();
            let session = active.id;
            self.end_session(session, "silent for the suspect time");
        }
    }

    fn review(&mut self) {
        let in_session: HashSet<NodeId> = self.sessions.values().map(|active| active.node).collect();
        let members = self.gossip.view().members().iter().map(|member| member.id).filter(|&id| id != self.me);
        let reach: Vec<(NodeId, bool)> = members.map(|id| (id, in_session.contains(&id))).collect();
        for _ in 0..self.gossip.judge(reach.into_iter()) {
            self.life.judged();
        }
        if self.gossip.view().member(self.me).is_some_and(|me| me.standing() == Standing::Joining)
            && self.leaving.is_none()
            && self.serves_all()
        {
            self.gossip.say_state(State::Up);
        }
    }

    fn dial_members(&mut self) {
        let view = self.gossip.view();
        let absent: Vec<(NodeId, String)> = view
            .members()
            .iter()
            .filter(|member| member.id != self.me && !member.standing().is_over())
            .filter(|member| !self.sessions.values().any(|active| active.node == member.id))
            .map(|member| (member.id, host_and_port(&member.meta.host, member.meta.peer_port)))
            .collect();
        for (id, address) in absent {
            if self.dialling.is_due(self.me, id) {
                self.peering.dial(address, Some(id));
            }
        }
    }

    // --- what follows ---

    /// Carries out what the machine wants, until nothing is left, and tells everybody what is new.
    fn carry_out(&mut self) {
        if self.now_ms() >= self.viewed_ms + VIEW_EVERY_MS {
            self.refresh_view();
        }
        self.weigh_standstill();
        let mut changed = false;
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { to, message } => {
                    if let Some(active) = self.sessions.get_mut(&to) {
                        active.say(&message);
                    }
                }
                Output::Fetch { fetch, slot, from, origin, urgency } => {
                    if let Some(active) = self.sessions.get(&from) {
                        // The bulk task ends with the session, and then nothing is waited for.
                        let _ = active.ask.send(bulk::request((fetch, urgency), slot, origin, &active.fetches));
                    }
                }
                Output::Mark { slot, to, id } => {
                    // Without a lane there is no session, and the attempt begins anew.
                    self.store.mark_record(slot, to, id);
                }
                Output::CompareRecord { slot, to } => {
                    self.store.compare_record(slot, to);
                }
                Output::Publish { slot, ready } => self.gossip.set_ready(slot, ready),
                Output::Route { slot, to } => self.routes.set(slot, to),
                Output::SayReach { nodes } => self.say_reach(&nodes),
            }
            changed = true;
        }
        // Roles change under the same messages that change routes; whoever waits for either looks again.
        if changed {
            self.serves_all = None;
            self.life.slots_moved(self.machine.counts());
            self.routes.announce();
        }
        self.gossip.say_ready();
        self.push_news();
        self.flush();
    }

    /// Slots that nobody holds may be opened empty when everybody who should hold one is here to say that he does not.
    fn may_open(&self) -> bool {
        let alone = self.placed.iter().all(|node| node.id == self.me);
        let waited =
            !self.dialling.has_seeds() || !alone || (self.resolved_once && self.now_ms() >= self.started_ms + QUIET_MS);
        let greeted = |id: NodeId| self.sessions.values().any(|active| active.node == id && active.greeted());
        // The ring is where the other one of this identity is.
        let waits = self.identity_taken.is_some_and(|(_, last_ms)| self.now_ms() < last_ms + IDENTITY_TAKEN_MS);
        // So is it where the other clock is, or nobody can tell; two rings under one name would both take writes.
        let is_new = !self.sessions.values().any(Active::greeted) && self.routes.unserved() == SLOTS;
        let apart = is_new && self.clocks_apart_ms.is_some_and(|ms| self.now_ms() < ms + CLOCKS_APART_MS);
        // Where the majority goes on, the others may be on the other side of a link that is cut.
        let cut_off = is_new && self.partition == Partition::Majority && self.seeds_elsewhere().next().is_some();
        waited && !waits && !apart && !cut_off && self.placed.iter().all(|node| node.id == self.me || greeted(node.id))
    }

    /// Seeds that have not turned out to be this node.
    fn seeds_elsewhere(&self) -> impl Iterator<Item = &str> {
        self.seed_addresses.iter().map(String::as_str).filter(|&address| !self.own_addresses.contains(address))
    }

    /// Says now and then what a node waits for that would be alone otherwise.
    fn say_what_is_waited_for(&mut self) {
        let (now_ms, waits) = (self.now_ms(), self.partition == Partition::Majority && self.sessions.is_empty());
        if !waits || self.routes.unserved() < SLOTS || now_ms < self.waiting_said_ms + SAY_WAITING_EVERY_MS {
            return;
        }
        let seeds: Vec<&str> = self.seeds_elsewhere().take(8).collect();
        if !seeds.is_empty() {
            tracing::warn!(?seeds, "waiting for a seed: with --partition majority no ring is opened alone");
            self.waiting_said_ms = now_ms;
        }
    }

    /// A node is ready when it serves what it should and everybody in session goes by that: writes that wait for two
    /// nodes are refused until those who act count the second one.
    fn look_whether_ready(&mut self) {
        if self.leaving.is_some() || self.routes.is_down() || !self.serves_all() {
            (self.serves_since, self.is_ready) = (None, false);
            return;
        }
        let since = *self.serves_since.get_or_insert(self.gossip.version());
        self.is_ready |= self.sessions.values().filter(|active| active.greeted()).all(|active| active.knows >= since);
    }

    /// Whether this node holds what it should and knows where every slot is served. Looks at all slots, so only after
    /// something changed.
    fn serves_all(&mut self) -> bool {
        let look = || self.machine.holdings().wanted == 0 && self.routes.unserved() == 0 && !self.placed.is_empty();
        *self.serves_all.get_or_insert_with(look)
    }
}

/// An address as it is dialled; IPv6 addresses get their brackets.
fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

//! The cluster as one keyspace: which requests run, and where.
//!
//! ```text
//!  request ─► table ─► AUTH, arity ─┬─ keys of one slot ──┬───────► here: the slot's lock, the command, the reply
//!                                   │                     └───────► elsewhere: deferred, with the others of its batch
//!                                   ├─ keys of many slots ────────► one part per slot, replies put together
//!                                   ├─ the whole keyspace ────────► a walk over the slots of all nodes
//!                                   └─ connection, node, cluster ─► the family that answers it
//! ```
//!
//! A request with keys of one slot that is here, which is nearly every one of a cluster-aware client, allocates nothing
//! on its way. One whose slot is elsewhere, or about to be, is *deferred*: copied, and when the batch has been read
//! through, all that were deferred are pursued together (`forward`), while replies keep the order of the requests.
//!
//! **Order.** Once a request of a batch was deferred, those behind it on the same slot are deferred too, even if the
//! slot comes here in between: none overtakes another. Requests on other slots go on.
//!
//! Which slots are here is looked up in the routes; whether this node really acts for one only the store knows, under
//! the slot's lock. The routes may be late, and are never trusted for more than where to try.

mod cluster;
mod deferred;
mod local;
mod patience;
mod split;
mod tell;
mod transfer;
mod verify;
mod wait;
mod walk;

use std::sync::{
    Arc, Once,
    atomic::{AtomicU64, Ordering},
};

use ring::{id::NodeId, slot::Slot};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::{
    clients::Clients,
    clock::Clock,
    command::{Answer, Blocked, Command, Context, Flags, Keys, Later, Run, Table},
    orders::{Order, Refused},
    resp::{Output, Reply, Request},
    routes::Where,
    services::{Information, Settings, Statistics},
    session::{Port, Session},
    store::{SlotView, Store},
    topology::Topologies,
    types::{Database, Name},
    watch::Watch,
};

pub use cluster::{Cluster, Redirects};
pub use deferred::Deferred;
pub use wait::Written;

pub(crate) use local::{Call, Ran};
pub(crate) use tell::Change;

use local::without_memory;

/// What the client side of the node is made of.
#[derive(Clone)]
pub struct Services {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// The settings of the node.
    pub settings: Arc<dyn Settings>,
    /// Who writes the text of INFO.
    pub information: Arc<dyn Information>,
    /// Who counts what clients do.
    pub statistics: Arc<dyn Statistics>,
    /// What clients are told about the cluster.
    pub topology: Arc<Topologies>,
    /// What took long or was large.
    pub watch: Arc<Watch>,
}

/// Where the keys of a request are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// All in this slot.
    One(Slot),
    /// In several slots.
    Many,
}

/// What became of a request.
pub enum Dispatched {
    /// It was executed, and its reply written.
    Done,
    /// It was executed, and answered an error.
    Failed,
    /// It was refused before it was executed.
    Rejected,
    /// It waits with the others of its batch.
    Deferred,
    /// It is executed behind all that is deferred; the reply will come.
    Later(Later),
    /// The same, and the wait for it can be ended.
    Blocked(Box<Blocked>),
}

/// The cluster as one keyspace.
pub struct Router {
    table: &'static Table,
    store: Arc<Store>,
    services: Services,
    cluster: Cluster,
    draws: AtomicU64,
}

/// So many keys of a batch are looked at ahead, as many as leave room in the first cache for everything else.
const PREFETCHED_KEYS: usize = 64;

const CROSS_SLOT: Reply<'static> = Reply::error("CROSSSLOT Keys in request don't hash to the same slot");
const NOT_AUTHENTICATED: Reply<'static> = Reply::error("NOAUTH Authentication required.");
const NOT_SERVED: Reply<'static> = Reply::error("CLUSTERDOWN Hash slot not served");
const DOWN: Reply<'static> = Reply::error("CLUSTERDOWN The cluster is down");
/// Whoever answered may run another version.
const UNREADABLE: Reply<'static> = Reply::error("ERR another node answered a part of the command unreadably");

impl Router {
    /// A router over this store and, through the cluster, over those of the other nodes.
    pub fn new(table: &'static Table, store: Arc<Store>, services: Services, cluster: Cluster) -> Router {
        let draws = AtomicU64::new(services.clock.monotonic_us() ^ services.clock.unix_ms());
        Router { table, store, services, cluster, draws }
    }

    /// The other nodes.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What is answered for a command that nobody executed in time.
    fn not_served(&self) -> Reply<'static> {
        if self.cluster.routes.is_down() { DOWN } else { NOT_SERVED }
    }

    /// Forgets a member that will not come back.
    pub(crate) fn forget(&self, node: NodeId) -> Later {
        let orders = self.cluster.orders.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let refused = match orders.send(Order::Forget { node, answer }).await {
                Ok(()) => answered.await,
                // The node ends.
                Err(_) => return NOT_SERVED,
            };
            match refused {
                Ok(Ok(())) => Reply::OK,
                Ok(Err(Refused::Myself)) => Reply::error("ERR I tried hard but I can't forget myself..."),
                Ok(Err(Refused::Unknown)) => Reply::Error(format!("ERR Unknown node {node}").into()),
                Ok(Err(Refused::IsThere)) => Reply::Error(format!("ERR Node {node} is there: stop it first").into()),
                Err(_) => NOT_SERVED,
            }
        })
    }

    /// A number that nothing follows from, for the choice of a slot.
    fn random(&self) -> u64 {
        let mut number = self.draws.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (number ^ number >> 31) >> 16
    }

    /// Connections take up so much more, or less.
    pub(crate) fn note_client_memory(&self, change: i64) {
        self.store.note_other_bytes(change);
    }

    /// The commands.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// The services of the node.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Looks at this node's copy of a slot, whatever its role.
    pub fn copy_of_slot<R>(&self, slot: Slot, look: impl FnOnce(SlotView<'_>) -> R) -> R {
        self.store.read(slot, self.services.clock.unix_ms(), look)
    }

    /// Spoils the entry of a key in this node's copy.
    #[cfg(debug_assertions)]
    pub(crate) fn spoil(&self, database: Database, key: &[u8], loses_it: bool) -> bool {
        self.store.spoil(Slot::of(key), &database.name(key), loses_it)
    }

    /// Looks ahead: these requests are about to be executed. Only worth it for several.
    pub fn prefetch<'r>(&self, database: Database, requests: impl Iterator<Item = Request<'r>>) {
        let mut keys = SmallVec::<[(Slot, Name<'_>); PREFETCHED_KEYS]>::new();
        for request in requests {
            let Some((_, command)) = self.table.find(request.arg(0)) else { continue };
            // A wrong number of arguments is answered when its time comes.
            let places = command.keys.places(&request).filter(|&place| place < request.len());
            for key in places.map(|place| request.arg(place)) {
                if keys.len() == PREFETCHED_KEYS {
                    return self.store.prefetch(&keys);
                }
                let slot = Slot::of(key);
                if self.cluster.routes.of(slot) == Where::Here {
                    keys.push((slot, database.name(key)));
                }
            }
        }
        self.store.prefetch(&keys);
    }

    /// Executes a request, and writes its reply unless that comes later. The command is given with its place in the
    /// table, which it was found by.
    #[inline]
    pub fn dispatch(
        self: &Arc<Self>,
        session: &mut Session,
        (number, command): (u16, &'static Command),
        request: &Request<'_>,
        now_unix_ms: u64,
        out: &mut Output,
        deferred: &mut Deferred,
    ) -> Dispatched {
        if let Some(refusal) = self.refusal(session, command, request) {
            out.reply(refusal, session.protocol());
            return Dispatched::Rejected;
        }
        if let Some(run) = command.run.on_slot() {
            let call = Call { command, run, request: *request, mode: session.mode(), now_unix_ms };
            return self.on_slots(session, &call, out, deferred);
        }
        match command.run {
            Run::EverySlot(_, gather) => Dispatched::Later(self.walk(session, command, request).every_slot(gather)),
            Run::Scan(_) => Dispatched::Later(self.walk(session, command, request).scan()),
            Run::AnySlot(_) => Dispatched::Later(self.walk(session, command, request).any_slot()),
            Run::Node(run) => {
                session.client().note_command(number);
                match run(&mut Context { router: self, session }, request) {
                    Answer::Now(reply) => done(reply, session, out),
                    Answer::Later(later) => Dispatched::Later(later),
                    Answer::Blocked(blocked) => Dispatched::Blocked(blocked),
                    Answer::Nothing => Dispatched::Done,
                }
            }
            Run::Slot(_)
            | Run::Split(..)
            | Run::SplitIf(..)
            | Run::Transfer(..)
            | Run::Compare(..)
            | Run::Container => {
                // A command that has only subcommands takes two arguments at least, so one was looked for.
                unreachable!("{} runs on a slot, or does not run", command.name)
            }
        }
    }

    /// A request with keys.
    #[inline]
    fn on_slots(
        self: &Arc<Self>,
        session: &mut Session,
        call: &Call<'_>,
        out: &mut Output,
        deferred: &mut Deferred,
    ) -> Dispatched {
        if let Keys::Counted { check, .. } = call.command.keys
            && let Err(error) = check(&call.request)
        {
            return done(error, session, out);
        }
        match place(call.command.keys, &call.request) {
            Place::One(slot) => self.on_slot(session, slot, call, out, deferred),
            Place::Many => self.on_many_slots(session, call, out, deferred),
        }
    }

    /// Answers a request for a command that there is not. A web page can make a browser send any lines to this port, behind
    /// those of HTTP; so nothing that comes behind them is executed, as in Redis.
    pub fn refuse_unknown(&self, error: Reply<'_>, session: &mut Session, request: &Request<'_>, out: &mut Output) {
        if ["post", "host:"].iter().any(|name| request.arg(0).eq_ignore_ascii_case(name.as_bytes())) {
            static WARN: Once = Once::new();
            WARN.call_once(|| tracing::warn!("HTTP on a port for clients: such connections are closed"));
            return session.close();
        }
        // Whoever has not said who it is learns nothing of the commands that there are.
        let is_unknown = session.must_authenticate(&*self.services.settings);
        out.reply(if is_unknown { NOT_AUTHENTICATED } else { error }, session.protocol());
    }

    /// A request whose keys are in one slot.
    #[inline]
    fn on_slot(
        &self,
        session: &mut Session,
        slot: Slot,
        call: &Call<'_>,
        out: &mut Output,
        deferred: &mut Deferred,
    ) -> Dispatched {
        let is_write = call.command.flags.contains(Flags::WRITE);
        if is_write && self.cluster.replicas > 1 {
            self.note_write(session, slot);
        }
        if !self.is_here(slot, deferred) {
            // On the other port every read is that of who acts, as if there were one node.
            let is_content = session.is_read_only() && session.port() == Port::Cluster;
            let from_copy = is_content && !self.cluster.routes.is_down() && !deferred.may_touch(slot);
            if from_copy && self.read_copy(slot, call, out) {
                return Dispatched::Done;
            }
            return self.elsewhere(session, slot, call, out, deferred);
        }
        if is_write && self.cluster.write_acks > 1 {
            return self.write_here(session, slot, call, out, deferred);
        }
        match self.run_here(slot, call, out) {
            Ran::Done | Ran::Written(_) => Dispatched::Done,
            Ran::Failed => Dispatched::Failed,
            Ran::NotActing => self.elsewhere(session, slot, call, out, deferred),
        }
    }

    /// A write that others must have before it is answered.
    fn write_here(
        &self,
        session: &Session,
        slot: Slot,
        call: &Call<'_>,
        out: &mut Output,
        deferred: &mut Deferred,
    ) -> Dispatched {
        let mut reply = Output::default();
        let ran = self.run_here(slot, call, &mut reply);
        if let Ran::Written(ticket) = ran {
            deferred.written(Reply::Encoded(reply.into_bytes()), ticket, self.services.clock.monotonic_us());
            return Dispatched::Deferred;
        }
        out.append(reply);
        match ran {
            Ran::Failed => Dispatched::Failed,
            Ran::NotActing => self.elsewhere(session, slot, call, out, deferred),
            Ran::Done | Ran::Written(_) => Dispatched::Done,
        }
    }

    /// A request on a slot that this node does not act for, or that has to wait behind others.
    #[cold]
    fn elsewhere(
        &self,
        session: &Session,
        slot: Slot,
        call: &Call<'_>,
        out: &mut Output,
        deferred: &mut Deferred,
    ) -> Dispatched {
        if self.cluster.routes.is_down() {
            return reject(DOWN, session, out);
        }
        if session.port() == Port::Cluster
            && matches!(self.cluster.routes.of(slot), Where::There(_))
            && let Some(address) = self.cluster.redirects.redirect(slot, session)
        {
            return reject(Reply::Error(format!("MOVED {slot} {address}").into()), session, out);
        }
        // It is copied to wait here, and once more to travel.
        if let Some(refusal) = without_memory(&call.request) {
            return reject(refusal, session, out);
        }
        deferred.defer(slot, call);
        Dispatched::Deferred
    }

    /// Whether a request on the slot may be executed here and now, as far as is known.
    #[inline]
    fn is_here(&self, slot: Slot, deferred: &Deferred) -> bool {
        self.cluster.routes.of(slot) == Where::Here && !deferred.may_touch(slot)
    }

    fn note_write(&self, session: &mut Session, slot: Slot) {
        match self.cluster.routes.of(slot) {
            Where::Here => session.written_mut().note(slot),
            _ => session.written_mut().note_elsewhere(slot, self.cluster.links.losses()),
        }
    }

    fn note_writes(&self, session: &mut Session, command: &Command, request: &Request<'_>) {
        if self.cluster.replicas > 1 && command.flags.contains(Flags::WRITE) {
            for place in command.keys.places(request) {
                self.note_write(session, Slot::of(request.arg(place)));
            }
        }
    }

    fn walk(self: &Arc<Self>, session: &mut Session, command: &'static Command, request: &Request<'_>) -> walk::Walk {
        if self.cluster.replicas > 1 && command.flags.contains(Flags::WRITE) {
            Slot::all().for_each(|slot| self.note_write(session, slot));
        }
        let (mode, client) = (session.mode(), session.client().id());
        let is_local = session.port() == Port::Cluster;
        walk::Walk { router: self.clone(), command, request: request.to_owned(), mode, client, is_local }
    }

    /// Why a request is not executed, if it is not: AUTH, then its arity, as Redis has it.
    #[inline]
    pub(crate) fn refusal(
        &self,
        session: &Session,
        command: &Command,
        request: &Request<'_>,
    ) -> Option<Reply<'static>> {
        let may_run = session.is_authenticated()
            || command.flags.contains(Flags::NO_AUTH)
            || !session.must_authenticate(&*self.services.settings);
        if !may_run {
            return Some(NOT_AUTHENTICATED);
        }
        (!command.accepts(request.len())).then(|| command.wrong_arity())
    }
}

/// Decides which slot a request runs on.
#[inline]
fn place(keys: Keys, request: &Request<'_>) -> Place {
    let mut slots = keys.places(request).map(|place| Slot::of(request.arg(place)));
    // A command that is executed on a slot names at least one key: the arity says so.
    let Some(first) = slots.next() else { return Place::Many };
    if slots.all(|slot| slot == first) { Place::One(first) } else { Place::Many }
}

#[inline]
fn done(reply: Reply<'_>, session: &Session, out: &mut Output) -> Dispatched {
    let dispatched = if reply.is_error() { Dispatched::Failed } else { Dispatched::Done };
    out.reply(reply, session.protocol());
    dispatched
}

fn reject(reply: Reply<'static>, session: &Session, out: &mut Output) -> Dispatched {
    out.reply(reply, session.protocol());
    Dispatched::Rejected
}

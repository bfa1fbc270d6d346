//! Who is connected: what `CLIENT LIST` shows, and how one connection ends another.
//!
//! Each connection shares a [`Client`] with this registry. The connection writes into it what others may want to know
//! (a few relaxed stores per batch of requests, nothing per request), others set an event and wake the connection's
//! task: nothing is polled.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::{resp::Protocol, session::Port};

/// Every client of a node.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    is_closing: AtomicBool,
}

impl Clients {
    /// Takes in who connected, unless there are that many already.
    pub fn register(self: &Arc<Self>, arrival: Arrival, max_clients: usize) -> Option<Registration> {
        let mut by_id = self.by_id.lock();
        if by_id.len() >= max_clients {
            return None;
        }
        let id = self.last_id.fetch_add(1, Relaxed) + 1;
        let client = Arc::new(Client::new(id, arrival));
        by_id.insert(id, client.clone());
        drop(by_id);
        // Whoever comes in while the others are being closed is closed as well.
        if self.is_closing.load(Relaxed) {
            client.notify(CLOSE_IDLE);
        }
        Some(Registration { clients: self.clone(), client })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.lock().len()
    }

    /// How many came in by this port.
    pub fn count_of(&self, port: Port) -> usize {
        self.by_id.lock().values().filter(|client| client.port() == port).count()
    }

    /// All of them, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.lock().values().cloned().collect()
    }

    /// Asks every client to go as soon as it is between two commands, now and from now on.
    pub fn close_idle(&self) {
        self.is_closing.store(true, Relaxed);
        self.all().iter().for_each(|client| client.notify(CLOSE_IDLE));
    }
}

/// A client is in the registry as long as this lives.
#[derive(Debug)]
pub struct Registration {
    clients: Arc<Clients>,
    client: Arc<Client>,
}

impl Deref for Registration {
    type Target = Arc<Client>;

    fn deref(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.by_id.lock().remove(&self.client.id);
    }
}

/// Someone who connects.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Where the client is.
    pub peer: SocketAddr,
    /// Where it reached us.
    pub local: SocketAddr,
    /// The port it came in by.
    pub port: Port,
    /// When, in monotonic microseconds.
    pub at_us: u64,
}

/// The connection is to end at once.
const KILL: u8 = 1;
/// The connection is to end between two commands.
const CLOSE_IDLE: u8 = 2;

/// No command yet.
const NO_COMMAND: u16 = u16::MAX;

/// A client, as others see it.
#[derive(Debug)]
pub struct Client {
    id: u64,
    arrival: Arrival,
    events: AtomicU8,
    task: AtomicWaker,
    active_at_us: AtomicU64,
    last_command: AtomicU16,
    protocol: AtomicU8,
    input_bytes: AtomicUsize,
    output_bytes: AtomicUsize,
    names: Mutex<Names>,
}

/// What a client calls itself.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `CLIENT SETNAME`; empty: none.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO lib-name`.
    pub library: Vec<u8>,
    /// `CLIENT SETINFO lib-ver`.
    pub library_version: Vec<u8>,
}

impl Client {
    fn new(id: u64, arrival: Arrival) -> Client {
        Client {
            id,
            arrival,
            events: AtomicU8::new(0),
            task: AtomicWaker::new(),
            active_at_us: AtomicU64::new(arrival.at_us),
            last_command: AtomicU16::new(NO_COMMAND),
            protocol: AtomicU8::new(2),
            input_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            names: Mutex::default(),
        }
    }

    /// Its number; never used twice.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where it is.
    pub fn peer(&self) -> SocketAddr {
        self.arrival.peer
    }

    /// Where it reached us.
    pub fn local(&self) -> SocketAddr {
        self.arrival.local
    }

    /// The port it came in by.
    pub fn port(&self) -> Port {
        self.arrival.port
    }

    /// What it calls itself.
    pub fn names(&self) -> Names {
        self.names.lock().clone()
    }

    /// `CLIENT SETNAME`.
    pub fn rename(&self, name: Vec<u8>) {
        self.names.lock().name = name;
    }

    /// `CLIENT SETINFO lib-name`.
    pub fn set_library(&self, library: Vec<u8>) {
        self.names.lock().library = library;
    }

    /// `CLIENT SETINFO lib-ver`.
    pub fn set_library_version(&self, version: Vec<u8>) {
        self.names.lock().library_version = version;
    }

    /// Ends its connection, whatever it does.
    pub fn kill(&self) {
        self.notify(KILL);
    }

    /// One line of `CLIENT LIST`.
    pub fn describe(&self, now_us: u64, command_name: impl Fn(u16) -> &'static str) -> Vec<u8> {
        let names = self.names();
        let seconds_since = |then: u64| now_us.saturating_sub(then) / 1_000_000;
        let (age, idle) = (seconds_since(self.arrival.at_us), seconds_since(self.active_at_us.load(Relaxed)));
        let command = match self.last_command.load(Relaxed) {
            NO_COMMAND => "NULL",
            command => command_name(command),
        };
        let mut text = String::new();
        let mut line = format!("id={} addr={} laddr={} name=", self.id, self.peer(), self.local()).into_bytes();
        line.extend_from_slice(&names.name);
        let (input, output) = (self.input_bytes.load(Relaxed), self.output_bytes.load(Relaxed));
        let protocol = self.protocol.load(Relaxed);
        let _ = write!(
            text,
            " age={age} idle={idle} flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf={input} omem={output} \
             cmd={command} user=default redir=-1 resp={protocol} lib-name="
        );
        line.extend_from_slice(text.as_bytes());
        line.extend_from_slice(&names.library);
        line.extend_from_slice(b" lib-ver=");
        line.extend_from_slice(&names.library_version);
        line
    }

    /// For the connection: what it did and holds.
    pub(crate) fn note(&self, at_us: u64, last_command: Option<u16>, input_bytes: usize, output_bytes: usize) {
        self.active_at_us.store(at_us, Relaxed);
        if let Some(command) = last_command {
            self.last_command.store(command, Relaxed);
        }
        self.input_bytes.store(input_bytes, Relaxed);
        self.output_bytes.store(output_bytes, Relaxed);
    }

    /// For the connection: the command that it is about to execute, when that command looks at this list.
    pub(crate) fn note_command(&self, command: u16) {
        self.last_command.store(command, Relaxed);
    }

    pub(crate) fn speaks(&self, protocol: Protocol) {
        let number = match protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        self.protocol.store(number, Relaxed);
    }

    /// For the connection's task: wake it at the next event.
    pub(crate) fn wake_on_event(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// For the connection's task: whether it was killed.
    pub(crate) fn is_killed(&self) -> bool {
        self.events.load(std::sync::atomic::Ordering::Acquire) & KILL != 0
    }

    /// For the connection's task: whether it is to end between two commands.
    pub(crate) fn is_to_close(&self) -> bool {
        self.events.load(std::sync::atomic::Ordering::Acquire) & CLOSE_IDLE != 0
    }

    fn notify(&self, event: u8) {
        self.events.fetch_or(event, std::sync::atomic::Ordering::AcqRel);
        self.task.wake();
    }
}

//! Who is connected: what `CLIENT LIST` shows, and how one connection ends another.
//!
//! Each connection shares a [`Client`] with this registry. The connection writes into it what others may want to know
//! (a few relaxed stores per batch of requests, nothing per request), others set an event and wake the connection's
//! task: nothing is polled.
//!
//! What concerns all of them is here as well: the pause, the memory that they take up together, and its limits.

mod client;
mod limits;
mod memory;
mod pause;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use crate::{logging::Seldom, session::Port};

pub(crate) use client::NO_COMMAND;
pub(crate) use client::{Buffers, Waits};
pub use client::{Client, Names, Trait};
pub use limits::Limits;
pub use pause::Paused;

use client::CLOSE_IDLE;

/// Every client of a node.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    is_closing: AtomicBool,
    pause: pause::Pause,
    memory: memory::Memory,
    lingering: AtomicUsize,
    says_disconnected: Mutex<Seldom>,
}

/// Connections that have ended hold a file until the client has closed too, or for a second. They are no clients any
/// more; so that they do not take the files of others, no more than so many may.
const MAX_LINGERING: usize = 64;

/// One of these places.
#[derive(Debug)]
pub struct Lingering(Arc<Clients>);

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.lingering.fetch_sub(1, Relaxed);
    }
}

/// How many clients wait, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// For a command that blocks, or for the end of a pause.
    pub blocked: usize,
    /// Of these for a command that waits up to a time.
    pub up_to_a_time: usize,
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

    /// Whether the log may say that a client is disconnected because it takes up too much; if so, how many others were not
    /// named since the last time. Anybody can cause such lines.
    pub(crate) fn may_say_disconnected(&self) -> Option<u64> {
        self.says_disconnected.lock().may()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.lock().len()
    }

    /// How many came in by this port.
    pub fn count_of(&self, port: Port) -> usize {
        self.by_id.lock().values().filter(|client| client.port() == port).count()
    }

    /// All of them, by id; not those that were told to end at once.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.lock().values().filter(|client| !client.is_killed()).cloned().collect()
    }

    /// The client of this number.
    pub fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.lock().get(&id).filter(|client| !client.is_killed()).cloned()
    }

    /// How many wait, and for what.
    pub fn waiting(&self) -> Waiting {
        self.all().iter().fold(Waiting::default(), |waiting, client| match client.waits() {
            Waits::Not => waiting,
            Waits::UpToATime => Waiting { blocked: waiting.blocked + 1, up_to_a_time: waiting.up_to_a_time + 1 },
            _ => Waiting { blocked: waiting.blocked + 1, ..waiting },
        })
    }

    /// Asks every client to go as soon as it is between two commands, now and from now on. Nobody is kept waiting by a
    /// pause then.
    pub fn close_idle(&self) {
        self.is_closing.store(true, Relaxed);
        self.pause.end();
        self.all().iter().for_each(|client| client.notify(CLOSE_IDLE));
    }

    /// What is paused, as far as can be said without the time: it may be over already.
    #[inline]
    pub fn paused(&self) -> Paused {
        self.pause.now()
    }

    /// What is paused at this time and for how many microseconds more.
    pub fn paused_at(&self, now_us: u64) -> Option<(Paused, u64)> {
        self.pause.at(now_us)
    }

    /// Pauses commands until then. Of two pauses at a time that counts which pauses more, and the one that lasts
    /// longer.
    pub fn pause(&self, paused: Paused, now_us: u64, until_us: u64) {
        self.pause.begin(paused, now_us, until_us);
    }

    /// Ends the pause.
    pub fn unpause(&self) {
        self.pause.end();
        // Who is about to wait has looked at the pause already, so all are woken.
        self.all().iter().for_each(|client| client.task.wake());
    }
}

/// A client is in the registry as long as this lives.
#[derive(Debug)]
pub struct Registration {
    clients: Arc<Clients>,
    client: Arc<Client>,
}

impl Registration {
    /// A place for the connection to wait in until its client has closed too, unless too many wait already.
    pub fn place_to_linger(&self) -> Option<Lingering> {
        let taken = self.clients.lingering.fetch_add(1, Relaxed);
        // Given back at once where it is one too many.
        let place = Lingering(self.clients.clone());
        (taken < MAX_LINGERING).then_some(place)
    }
}

impl Deref for Registration {
    type Target = Arc<Client>;

    fn deref(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.by_id.lock().remove(&self.client.id());
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
    /// The number that its socket has with the operating system.
    pub file: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_wait_for_their_clients_to_close() {
        let clients = Arc::new(Clients::default());
        let address = ([127, 0, 0, 1], 1).into();
        let arrival = Arrival { peer: address, local: address, port: Port::Proxy, at_us: 0, file: 3 };
        let registration = clients.register(arrival, 1).unwrap();
        let mut places: Vec<_> = (0..MAX_LINGERING).map(|_| registration.place_to_linger().unwrap()).collect();
        assert!(registration.place_to_linger().is_none() && registration.place_to_linger().is_none());
        places.pop();
        assert!(registration.place_to_linger().is_some());
    }
}

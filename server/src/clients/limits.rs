//! What connections may take up, as they look it up: once per turn, without a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

use crate::config::{ClientChange, ClientLimits};

/// The place of the class that every client is of.
const NORMAL: usize = 0;

/// The limits of connections, which `CONFIG SET` may change at any time.
#[derive(Debug)]
pub struct Limits {
    all: RwLock<ClientLimits>,
    is_protected: AtomicBool,
    // Copies of what connections ask for again and again.
    idle_secs: AtomicU32,
    query_buffer_bytes: AtomicU64,
    hard_output_bytes: AtomicU64,
    soft_output_bytes: AtomicU64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(ClientLimits::default(), true)
    }
}

impl Limits {
    /// The limits that a node starts with.
    pub fn new(limits: ClientLimits, is_protected: bool) -> Limits {
        let made = Limits {
            all: RwLock::new(limits),
            is_protected: AtomicBool::new(is_protected),
            idle_secs: AtomicU32::new(0),
            query_buffer_bytes: AtomicU64::new(0),
            hard_output_bytes: AtomicU64::new(0),
            soft_output_bytes: AtomicU64::new(0),
        };
        made.copy(&limits);
        made
    }

    /// Makes a change, for connections that there are and those that come.
    pub fn change(&self, change: ClientChange) {
        let mut all = self.all.write();
        match change {
            ClientChange::Idle(seconds) => all.idle_secs = seconds,
            ClientChange::KeepAlive(seconds) => all.keep_alive_secs = seconds,
            ClientChange::QueryBuffer(bytes) => all.query_buffer_bytes = bytes,
            ClientChange::Memory(memory) => all.memory = memory,
            ClientChange::Output(limits) => all.set_output(&limits),
            ClientChange::Protected(is_protected) => self.is_protected.store(is_protected, Relaxed),
        }
        self.copy(&all);
    }

    /// The settings as `CONFIG GET` shows them.
    pub fn settings(&self) -> [(&'static str, String); 6] {
        let limits = self.all();
        [
            ("client-output-buffer-limit", limits.output_text()),
            ("client-query-buffer-limit", limits.query_buffer_bytes.to_string()),
            ("maxmemory-clients", limits.memory_text()),
            ("protected-mode", if self.is_protected() { "yes" } else { "no" }.to_owned()),
            ("tcp-keepalive", limits.keep_alive_secs.to_string()),
            ("timeout", limits.idle_secs.to_string()),
        ]
    }

    /// All of them now.
    pub fn all(&self) -> ClientLimits {
        *self.all.read()
    }

    /// Whether, as long as there is no password, only clients from loopback and private addresses are served.
    pub fn is_protected(&self) -> bool {
        self.is_protected.load(Relaxed)
    }

    /// A client that asks nothing for longer is disconnected; 0: never.
    pub fn idle_secs(&self) -> u32 {
        self.idle_secs.load(Relaxed)
    }

    /// The longest request.
    #[inline]
    pub fn query_buffer_bytes(&self) -> usize {
        self.query_buffer_bytes.load(Relaxed) as usize
    }

    /// With so many bytes waiting for it a client is disconnected at once; 0: no limit.
    #[inline]
    pub fn hard_output_bytes(&self) -> u64 {
        self.hard_output_bytes.load(Relaxed)
    }

    /// With so many bytes waiting for it for a while a client is disconnected; 0: no limit.
    #[inline]
    pub fn soft_output_bytes(&self) -> u64 {
        self.soft_output_bytes.load(Relaxed)
    }

    fn copy(&self, limits: &ClientLimits) {
        self.idle_secs.store(limits.idle_secs, Relaxed);
        self.query_buffer_bytes.store(limits.query_buffer_bytes, Relaxed);
        self.hard_output_bytes.store(limits.output[NORMAL].hard_bytes, Relaxed);
        self.soft_output_bytes.store(limits.output[NORMAL].soft_bytes, Relaxed);
    }
}

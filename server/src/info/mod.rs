//! The figures of a node as plain values, and their two texts: INFO for clients of Redis, and Prometheus.
//!
//! Whoever owns a figure fills it in; this module only writes. A field that Redis has and we do not measure is left
//! out and not written as zero, because a dashboard would believe it.

mod prometheus;
mod rates;
mod sections;
mod text;

use std::{net::SocketAddr, time::Duration};

use crate::{
    life::Counted,
    metrics::Snapshot,
    process::{Allocator, Cpu},
};

pub use rates::{Rates, Volume};
pub use sections::Sections;

/// All figures of a node at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Info {
    /// The process.
    pub server: Server,
    /// Clients.
    pub clients: Clients,
    /// Memory.
    pub memory: Memory,
    /// Counters and latencies.
    pub stats: Snapshot,
    /// What happened a second, lately.
    pub rates: Volume,
    /// Processor time.
    pub cpu: Cpu,
    /// Whether the client asked on the port for cluster-aware clients.
    pub cluster_enabled: bool,
    /// Keys on this node that it acts for, of each database.
    pub keyspace: Vec<Keyspace>,
    /// The ring as this node sees it.
    pub circlet: Circlet,
}

/// The process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Server {
    /// Operating system, release and processor.
    pub os: String,
    /// Identity of the process at the operating system.
    pub process_id: u32,
    /// Identity of this boot, 40 hexadecimal digits.
    pub run_id: String,
    /// The port that the client reached.
    pub tcp_port: u16,
    /// The ports for clients and where they are bound, each by its name.
    pub listeners: Vec<(&'static str, SocketAddr)>,
    /// The program's file.
    pub executable: String,
    /// The configuration file; empty: none.
    pub config_file: String,
    /// Time of day, in microseconds.
    pub unix_us: u64,
    /// Time since the start.
    pub uptime: Duration,
    /// Threads that serve clients.
    pub threads: usize,
}

/// Clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clients {
    /// Connected to the port for any client.
    pub connected: u64,
    /// Connected to the port for cluster-aware clients.
    pub connected_cluster: u64,
    /// Most that may connect.
    pub maxclients: u64,
    /// Waiting for a command that blocks, or for the end of a pause.
    pub blocked: u64,
    /// Waiting for a command that blocks up to a time.
    pub up_to_a_time: u64,
    /// The largest input buffer of a client in the last seconds, in bytes.
    pub recent_input: u64,
    /// The largest output of a client in the last seconds, in bytes.
    pub recent_output: u64,
    /// What is paused (`none`, `write`, `all`).
    pub paused: &'static str,
    /// For how many milliseconds more.
    pub paused_ms: u64,
}

/// Memory, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// The data with everything that belongs to it, as the limit counts it.
    pub used: u64,
    /// The most that it was.
    pub used_peak: u64,
    /// Resident memory of the process.
    pub resident: u64,
    /// Memory of the machine.
    pub machine: u64,
    /// What the connections of clients take up.
    pub clients: u64,
    /// The limit; 0: none.
    pub maxmemory: u64,
    /// What happens at the limit.
    pub maxmemory_policy: &'static str,
    /// What the allocator says.
    pub allocator: Option<Allocator>,
}

/// Keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Keyspace {
    /// How many.
    pub keys: u64,
    /// How many of them have a deadline.
    pub expires: u64,
    /// The time that these have left on average, in milliseconds; 0 if none has any.
    pub average_ttl_ms: u64,
}

/// The ring as this node sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Circlet {
    /// This node, 40 hexadecimal digits.
    pub node_id: String,
    /// Name of the cluster.
    pub cluster_name: String,
    /// Where it stands.
    pub zone: String,
    /// Name of its view.
    pub epoch: u64,
    /// Copies of each slot.
    pub replicas: u8,
    /// Copies that must have a write before it is answered.
    pub write_acks: u8,
    /// Whether every slot that this node should serve is served.
    pub ready: bool,
    /// Members by state, each state once.
    pub members: Vec<(&'static str, u64)>,
    /// This node's slots by role, each role once.
    pub slots: Vec<(&'static str, u64)>,
    /// What has happened to this node.
    pub life: Counted,
    /// One lane per peer.
    pub lanes: Vec<Lane>,
    /// Most origins in one slot's context.
    pub context_origins: u64,
}

/// One lane: what is on its way to a peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lane {
    /// The peer, 40 hexadecimal digits.
    pub peer: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Bytes of effects that the peer has not yet acknowledged.
    pub unacknowledged_bytes: u64,
}

impl Info {
    /// The text of INFO with these sections, lines ended as Redis ends them.
    pub fn text(&self, sections: Sections) -> String {
        text::render(self, sections)
    }

    /// The text for Prometheus.
    pub fn prometheus(&self) -> String {
        prometheus::render(self)
    }
}

#[cfg(test)]
pub(crate) mod tests;

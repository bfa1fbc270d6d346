//! The configuration as it is meant: every value checked, every default resolved.

use std::{cmp::Ordering, net::IpAddr, path::PathBuf, time::Duration};

use ring::{id::NodeId, member::Partition};

use super::{
    clients::ClientLimits,
    error::ConfigError,
    machine::Machine,
    secret::Secret,
    typed::Typed,
    value::{self, Endpoint, number},
    watching::Watching,
};
use crate::types::{Policy, Tuning};

/// Most threads that serve clients; each has counters and histograms of its own.
const MOST_THREADS: u64 = 256;

/// Most client connections; the operating system's limits are met before.
pub(crate) const MOST_CLIENTS: u64 = 1_000_000;

/// What one node is told to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The configuration file, if one was named.
    pub file: Option<PathBuf>,
    /// Address that every listener is bound to.
    pub bind: IpAddr,
    /// Where other nodes reach this one, if said.
    pub advertise: Option<Advertise>,
    /// Ports to listen on; 0 means any free one.
    pub ports: Ports,
    /// Peer addresses to look for other nodes at.
    pub seeds: Vec<Endpoint>,
    /// The identity, if said.
    pub node_id: Option<NodeId>,
    /// Name of the cluster; nodes of another name are refused.
    pub cluster_name: String,
    /// Copies of each slot, 1 to 7.
    pub replicas: u8,
    /// Copies that must have a write before it is answered, 1 to `replicas`.
    pub write_acks: u8,
    /// Who serves when the network splits.
    pub partition: Partition,
    /// Limit on the data in bytes; 0: none.
    pub maxmemory_bytes: u64,
    /// What happens at the limit.
    pub maxmemory_policy: Policy,
    /// How closely it is kept to.
    pub maxmemory_tuning: Tuning,
    /// Where the node stands.
    pub zone: String,
    /// Share of the keyspace relative to other nodes, 1 to 100.
    pub weight: u8,
    /// What clients are told, where it is not what they reached us by.
    pub announce: Announce,
    /// The password of clients.
    pub requirepass: Option<Secret>,
    /// The secret among nodes.
    pub cluster_secret: Option<Secret>,
    /// Whether, without a password, only loopback and private addresses are served.
    pub protected_mode: bool,
    /// Folder that keeps the identity.
    pub data_dir: Option<PathBuf>,
    /// Threads that serve clients, at least 1.
    pub threads: usize,
    /// Client connections at a time, at least 1.
    pub maxclients: usize,
    /// What the connections of clients may take up.
    pub clients: ClientLimits,
    /// The longest string that a client may send.
    pub max_bulk_bytes: u32,
    /// Who may call `DEBUG`.
    pub debug: DebugAllowed,
    /// From where on commands are logged and events noted.
    pub watching: Watching,
    /// Least severe log line that is written.
    pub log_level: LogLevel,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How long a lost copy is waited for.
    pub rebuild_delay: Duration,
    /// Bytes per second that may be sent to move slots; `None`: no limit.
    pub rebalance_rate_bytes: Option<u64>,
    /// How long leaving may take.
    pub shutdown_timeout: Duration,
}

/// Where other nodes reach a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advertise {
    /// Name or address.
    pub host: String,
    /// Port, where it is not the one that the node listens on.
    pub port: Option<u16>,
}

/// The ports of the four listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Redis protocol for any client.
    pub client: u16,
    /// Redis protocol for cluster-aware clients.
    pub cluster: u16,
    /// Traffic between nodes.
    pub peer: u16,
    /// HTTP.
    pub admin: u16,
}

/// What clients are told of this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Announce {
    /// Name or address.
    pub host: Option<String>,
    /// The client port.
    pub port: Option<u16>,
    /// The cluster port.
    pub cluster_port: Option<u16>,
}

/// How severe a log line must be to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// All, from the most severe on.
    pub const ALL: [LogLevel; 5] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }

    /// The level of this name.
    pub fn parse(text: &str) -> Result<LogLevel, String> {
        let level = LogLevel::ALL.into_iter().find(|level| level.name() == text);
        level.ok_or_else(|| "must be error, warn, info, debug or trace".to_owned())
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// Who may call `DEBUG`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DebugAllowed {
    /// Nobody.
    No,
    /// Clients on this machine.
    Local,
    /// Everybody.
    Yes,
}

impl DebugAllowed {
    const ALL: [DebugAllowed; 3] = [DebugAllowed::No, DebugAllowed::Local, DebugAllowed::Yes];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            DebugAllowed::No => "no",
            DebugAllowed::Local => "local",
            DebugAllowed::Yes => "yes",
        }
    }

    fn parse(text: &str) -> Result<DebugAllowed, String> {
        let found = DebugAllowed::ALL.into_iter().find(|allowed| allowed.name() == text);
        found.ok_or_else(|| "must be no, local or yes".to_owned())
    }
}

impl Config {
    /// Understands what was typed.
    pub fn resolve(typed: &Typed, machine: &Machine) -> Result<Config, ConfigError> {
        let replicas = typed.required("replicas", |text| number(text, 1..=7))? as u8;
        let maxmemory_bytes = typed.required("maxmemory", |text| maxmemory(text, machine))?;
        let rebuild_delay = typed.optional("rebuild-delay", value::duration)?;
        Ok(Config {
            file: typed.file().map(PathBuf::from),
            bind: typed.required("bind", value::address)?,
            advertise: typed.optional("advertise", advertise)?,
            ports: ports(typed)?,
            seeds: seeds(typed)?,
            node_id: typed.optional("node-id", node_id)?,
            cluster_name: typed.required("cluster-name", value::name)?,
            replicas,
            write_acks: typed.required("write-acks", |text| write_acks(text, replicas))?,
            partition: typed.required("partition", partition)?,
            maxmemory_bytes,
            maxmemory_policy: policy(typed, maxmemory_bytes)?,
            maxmemory_tuning: tuning(typed)?,
            zone: typed.required("zone", value::name)?,
            weight: typed.required("weight", |text| number(text, 1..=100))? as u8,
            announce: Announce {
                host: typed.optional("announce-host", value::host)?,
                port: typed.optional("announce-port", value::told_port)?,
                cluster_port: typed.optional("announce-cluster-port", value::told_port)?,
            },
            requirepass: secret(typed, "requirepass", "requirepass-file")?,
            cluster_secret: secret(typed, "cluster-secret", "cluster-secret-file")?,
            protected_mode: typed.required("protected-mode", value::yes_no)?,
            data_dir: typed.optional("data-dir", folder)?,
            threads: typed.optional("threads", threads)?.unwrap_or(machine.cores.clamp(1, MOST_THREADS as usize)),
            maxclients: typed.required("maxclients", |text| number(text, 1..=MOST_CLIENTS))? as usize,
            clients: ClientLimits::resolve(typed)?,
            max_bulk_bytes: typed.required("proto-max-bulk-len", max_bulk)?,
            debug: typed.required("enable-debug-command", DebugAllowed::parse)?,
            watching: Watching::resolve(typed)?,
            log_level: typed.required("log-level", LogLevel::parse)?,
            log_format: typed.required("log-format", log_format)?,
            rebuild_delay: rebuild_delay.unwrap_or(Duration::from_secs(if replicas == 1 { 0 } else { 30 })),
            rebalance_rate_bytes: typed.required("rebalance-rate", rate)?,
            shutdown_timeout: typed.required("shutdown-timeout", value::duration)?,
        })
    }
}

/// None at all is a cluster of one's own. Somebody who says that there are seeds and names none has lost them on the way,
/// in a variable that was empty: the node would be alone, and answer.
fn seeds(typed: &Typed) -> Result<Vec<Endpoint>, ConfigError> {
    let seeds = typed.required("seeds", value::endpoints)?;
    if seeds.is_empty() && typed.is_given("seeds") {
        return Err(
            typed.refuse("seeds", "must not be empty: without the setting the node starts a cluster of its own")
        );
    }
    Ok(seeds)
}

fn advertise(text: &str) -> Result<Advertise, String> {
    let (host, port) = value::host_and_port(text).map_err(|_| "must be host or host:port".to_owned())?;
    let unspecified = host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    if unspecified { Err("is no address that another node can reach".to_owned()) } else { Ok(Advertise { host, port }) }
}

/// The four ports, which must differ where they are said.
fn ports(typed: &Typed) -> Result<Ports, ConfigError> {
    let names = ["port", "cluster-port", "peer-port", "admin-port"];
    let mut ports = [0; 4];
    for (at, name) in names.into_iter().enumerate() {
        ports[at] = typed.required(name, value::port)?;
        let taken = ports[..at].iter().position(|&port| port != 0 && port == ports[at]);
        if let Some(taken) = taken {
            return Err(typed.refuse(name, format!("is the --{} already", names[taken])));
        }
    }
    let [client, cluster, peer, admin] = ports;
    Ok(Ports { client, cluster, peer, admin })
}

fn node_id(text: &str) -> Result<NodeId, String> {
    NodeId::parse(text).ok_or_else(|| "must be 40 hexadecimal digits".to_owned())
}

fn write_acks(text: &str, replicas: u8) -> Result<u8, String> {
    match text {
        "majority" => Ok(replicas / 2 + 1),
        "all" => Ok(replicas),
        _ => number(text, 1..=u64::from(replicas))
            .map(|acks| acks as u8)
            .map_err(|why| format!("{why} (the --replicas), majority or all")),
    }
}

fn partition(text: &str) -> Result<Partition, String> {
    let found = Partition::ALL.into_iter().find(|policy| policy.name() == text);
    found.ok_or_else(|| "must be available or majority".to_owned())
}

fn maxmemory(text: &str, machine: &Machine) -> Result<u64, String> {
    if text != "auto" {
        return value::bytes(text).map_err(|why| format!("{why}, or auto"));
    }
    let memory_bytes = machine.memory_bytes.ok_or("cannot find out how much memory there is: give a size")?;
    Ok(memory_bytes / 4 * 3)
}

/// With a limit, a cache makes room unless it is told not to; without one there is nothing to do.
fn policy(typed: &Typed, maxmemory_bytes: u64) -> Result<Policy, ConfigError> {
    let default = if maxmemory_bytes > 0 { Policy::AllKeysLru } else { Policy::NoEviction };
    let read = |text: &str| Policy::parse(text).ok_or_else(|| format!("must be one of {}", Policy::names()));
    Ok(typed.optional("maxmemory-policy", read)?.unwrap_or(default))
}

fn tuning(typed: &Typed) -> Result<Tuning, ConfigError> {
    Ok(Tuning {
        samples: typed.required("maxmemory-samples", |text| number(text, Tuning::SAMPLES))? as u8,
        log_factor: typed.required("lfu-log-factor", |text| number(text, Tuning::COUNTING))? as u32,
        decay_minutes: typed.required("lfu-decay-time", |text| number(text, Tuning::COUNTING))? as u32,
    })
}

fn secret(typed: &Typed, name: &'static str, in_file: &'static str) -> Result<Option<Secret>, ConfigError> {
    // The stronger source counts: `CONFIG REWRITE` writes a password into a file beside which a flag may name another.
    match typed.strength_of(name).cmp(&typed.strength_of(in_file)) {
        Ordering::Equal if typed.is_given(name) => Err(typed.refuse(in_file, format!("cannot stand beside --{name}"))),
        Ordering::Greater => typed.optional(name, Secret::new),
        _ => typed.optional(in_file, Secret::from_file),
    }
}

fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn threads(text: &str) -> Result<usize, String> {
    number(text, 1..=MOST_THREADS).map(|threads| threads as usize)
}

/// The longest string that Redis allows as well.
fn max_bulk(text: &str) -> Result<u32, String> {
    let bytes = value::bytes(text)?;
    let within = (1 << 20..=512 << 20).contains(&bytes);
    within.then_some(bytes as u32).ok_or_else(|| "must be a size from 1mb to 512mb".to_owned())
}

fn rate(text: &str) -> Result<Option<u64>, String> {
    value::bytes(text).map(|bytes| (bytes > 0).then_some(bytes))
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

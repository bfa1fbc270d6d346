//! The text of INFO, section by section, with the names that Redis gives to its fields.

use std::fmt::{Display, Write};

use super::Info;
use crate::{REDIS_VERSION, metrics::CommandSnapshot};

/// Writes one section.
type Section = fn(&Info, &mut Fields<'_>);

/// All sections in order, and whether a plain INFO has them.
const SECTIONS: [(&str, bool, Section); 11] = [
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Commandstats", false, command_stats),
    ("Latencystats", false, latency_stats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
    ("Circlet", true, circlet),
];

/// Which sections of INFO are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sections(u16);

impl Sections {
    /// The sections that the arguments of INFO name. None named: the usual ones; a name that is not known adds nothing,
    /// as in Redis.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Sections {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return Sections::those(|_, usual| usual);
        }
        names.fold(Sections(0), |sections, name| Sections(sections.0 | Sections::one(name).0))
    }

    fn one(name: &[u8]) -> Sections {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("all") || is("everything") {
            return Sections::those(|_, _| true);
        }
        Sections::those(|section, usual| is(section) || usual && is("default"))
    }

    fn those(wanted: impl Fn(&str, bool) -> bool) -> Sections {
        let bits = SECTIONS.iter().enumerate().map(|(at, (name, usual, _))| u16::from(wanted(name, *usual)) << at);
        Sections(bits.sum())
    }
}

/// Writes the sections with an empty line between them.
pub(super) fn render(info: &Info, sections: Sections) -> String {
    let mut text = String::with_capacity(4096);
    for (at, (name, _, section)) in SECTIONS.iter().enumerate() {
        if sections.0 >> at & 1 == 1 {
            let gap = if text.is_empty() { "" } else { "\r\n" };
            text.push_str(gap);
            text.push_str("# ");
            text.push_str(name);
            text.push_str("\r\n");
            section(info, &mut Fields(&mut text));
        }
    }
    text
}

/// Writes `name:value` lines.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn add(&mut self, name: impl Display, value: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
        self
    }

    /// A number of bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: u64) -> &mut Self {
        self.add(name, bytes).add(format_args!("{name}_human"), human(bytes))
    }
}

fn server(info: &Info, fields: &mut Fields<'_>) {
    let server = &info.server;
    fields
        .add("redis_version", REDIS_VERSION)
        .add("circlet_version", env!("CARGO_PKG_VERSION"))
        .add("redis_mode", if info.cluster_enabled { "cluster" } else { "standalone" })
        .add("os", &server.os)
        .add("arch_bits", usize::BITS)
        .add("process_id", server.process_id)
        .add("run_id", &server.run_id)
        .add("tcp_port", server.tcp_port)
        .add("server_time_usec", server.unix_ms * 1000)
        .add("uptime_in_seconds", server.uptime.as_secs())
        .add("uptime_in_days", server.uptime.as_secs() / 86_400)
        .add("threads", server.threads);
}

fn clients(info: &Info, fields: &mut Fields<'_>) {
    let clients = &info.clients;
    fields
        .add("connected_clients", clients.connected + clients.connected_cluster)
        .add("connected_clients_cluster_port", clients.connected_cluster)
        .add("maxclients", clients.maxclients);
}

fn memory(info: &Info, fields: &mut Fields<'_>) {
    let memory = &info.memory;
    fields
        .bytes("used_memory", memory.used)
        .bytes("used_memory_rss", memory.resident)
        .bytes("used_memory_peak", memory.used_peak)
        .bytes("total_system_memory", memory.machine)
        .bytes("maxmemory", memory.maxmemory)
        .add("maxmemory_policy", memory.maxmemory_policy);
    if memory.used > 0 {
        fields.add("mem_fragmentation_ratio", format_args!("{:.2}", ratio(memory.resident, memory.used)));
    }
    let Some(allocator) = &memory.allocator else { return };
    fields
        .add("allocator_allocated", allocator.allocated)
        .add("allocator_active", allocator.active)
        .add("allocator_resident", allocator.resident)
        .add("allocator_frag_ratio", format_args!("{:.2}", ratio(allocator.active, allocator.allocated)))
        .add("allocator_rss_ratio", format_args!("{:.2}", ratio(allocator.resident, allocator.active)))
        .add("mem_allocator", "jemalloc");
}

fn stats(info: &Info, fields: &mut Fields<'_>) {
    let totals = &info.stats.totals;
    let failed: u64 = info.stats.commands.iter().map(|command| command.failed + command.rejected).sum();
    fields
        .add("total_connections_received", totals.connections_received)
        .add("total_commands_processed", info.stats.commands.iter().map(|command| command.calls).sum::<u64>())
        .add("total_net_input_bytes", totals.input_bytes)
        .add("total_net_output_bytes", totals.output_bytes)
        .add("rejected_connections", totals.connections_rejected)
        .add("expired_keys", totals.expired)
        .add("evicted_keys", totals.evicted)
        .add("keyspace_hits", totals.hits)
        .add("keyspace_misses", totals.misses)
        .add("total_error_replies", failed);
}

/// Every node is a master in the sense of Redis: it takes writes, and nobody's copy of its whole data.
fn replication(_: &Info, fields: &mut Fields<'_>) {
    fields.add("role", "master").add("connected_slaves", 0);
}

fn cpu(info: &Info, fields: &mut Fields<'_>) {
    fields
        .add("used_cpu_sys", format_args!("{:.6}", info.cpu.system.as_secs_f64()))
        .add("used_cpu_user", format_args!("{:.6}", info.cpu.user.as_secs_f64()));
}

fn command_stats(info: &Info, fields: &mut Fields<'_>) {
    for CommandSnapshot { name, calls, duration_us, rejected, failed, .. } in &info.stats.commands {
        let mean = ratio(*duration_us, *calls);
        fields.add(
            format_args!("cmdstat_{name}"),
            format_args!(
                "calls={calls},usec={duration_us},usec_per_call={mean:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

fn latency_stats(info: &Info, fields: &mut Fields<'_>) {
    for command in info.stats.commands.iter().filter(|command| command.calls > 0) {
        let latency = &command.latency_us;
        fields.add(
            format_args!("latency_percentiles_usec_{}", command.name),
            format_args!("p50={},p99={},p99.9={}", latency.p50, latency.p99, latency.p999),
        );
    }
}

fn cluster(info: &Info, fields: &mut Fields<'_>) {
    fields.add("cluster_enabled", u8::from(info.cluster_enabled));
}

fn keyspace(info: &Info, fields: &mut Fields<'_>) {
    let keyspace = &info.keyspace;
    if keyspace.keys > 0 {
        let (keys, expires, avg_ttl) = (keyspace.keys, keyspace.expires, keyspace.avg_ttl_ms);
        fields.add("db0", format_args!("keys={keys},expires={expires},avg_ttl={avg_ttl}"));
    }
}

fn circlet(info: &Info, fields: &mut Fields<'_>) {
    let circlet = &info.circlet;
    fields
        .add("node_id", &circlet.node_id)
        .add("cluster_name", &circlet.cluster_name)
        .add("zone", &circlet.zone)
        .add("epoch", circlet.epoch)
        .add("replicas", circlet.replicas)
        .add("write_acks", circlet.write_acks)
        .add("ready", u8::from(circlet.ready))
        .add("context_origins", circlet.context_origins);
    for (state, members) in &circlet.members {
        fields.add(format_args!("members_{state}"), members);
    }
    for (role, slots) in &circlet.slots {
        fields.add(format_args!("slots_{role}"), slots);
    }
    for (name, count, _) in circlet.life.named() {
        fields.add(name, count);
    }
    for (at, lane) in circlet.lanes.iter().enumerate() {
        let (peer, state) = (&lane.peer, if lane.connected { "connected" } else { "disconnected" });
        let bytes = lane.unacknowledged_bytes;
        fields.add(format_args!("lane{at}"), format_args!("peer={peer},state={state},unacknowledged_bytes={bytes}"));
    }
}

fn ratio(of: u64, by: u64) -> f64 {
    if by == 0 { 0.0 } else { of as f64 / by as f64 }
}

/// Bytes as Redis writes them for people: `967.44K`, `2.00G`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["K", "M", "G", "T"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut scaled = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while scaled >= 1024.0 && units.len() > 0 {
        scaled /= 1024.0;
        unit = units.next();
    }
    format!("{scaled:.2}{}", unit.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        let cases = [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (990_656, "967.44K"), (104_857_600, "100.00M")];
        for (bytes, wanted) in cases.into_iter().chain([(25_276_514_304, "23.54G"), (5 << 50, "5120.00T")]) {
            assert_eq!(human(bytes), wanted);
        }
    }
}

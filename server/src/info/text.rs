//! The text of INFO, section by section, with the names that Redis gives to its fields.

use std::fmt::{Display, Write};

use super::{Info, Keyspace, Sections};
use crate::{REDIS_VERSION, metrics::CommandSnapshot, process::Allocator};

/// Writes the sections with an empty line between them.
pub(super) fn render(info: &Info, sections: Sections) -> String {
    let mut text = String::with_capacity(4096);
    for (name, section) in sections.iter() {
        let gap = if text.is_empty() { "" } else { "\r\n" };
        text.push_str(gap);
        text.push_str("# ");
        text.push_str(name);
        text.push_str("\r\n");
        section(info, &mut Fields(&mut text));
    }
    text
}

/// Writes `name:value` lines.
pub(super) struct Fields<'a>(&'a mut String);

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

/// What is left out is what others have and we do not measure. What stands here as a constant is true as one: there is no
/// disk, no replica of a whole node, no module, and tools ask for the fields.
pub(super) fn server(info: &Info, fields: &mut Fields<'_>) {
    let server = &info.server;
    let mode = if info.cluster_enabled { "cluster" } else { "standalone" };
    fields
        .add("redis_version", REDIS_VERSION)
        .add("server_name", "circlet")
        .add("circlet_version", env!("CARGO_PKG_VERSION"))
        .add("redis_mode", mode)
        .add("server_mode", mode)
        .add("os", &server.os)
        .add("arch_bits", usize::BITS)
        .add("multiplexing_api", "epoll")
        .add("process_id", server.process_id)
        .add("process_supervised", "no")
        .add("run_id", &server.run_id)
        .add("tcp_port", server.tcp_port)
        .add("server_time_usec", server.unix_us)
        .add("uptime_in_seconds", server.uptime.as_secs())
        .add("uptime_in_days", server.uptime.as_secs() / 86_400)
        .add("executable", &server.executable)
        .add("config_file", &server.config_file)
        .add("threads", server.threads)
        .add("availability_zone", &info.circlet.zone);
    for (at, (name, address)) in server.listeners.iter().enumerate() {
        let (bind, port) = (address.ip(), address.port());
        fields.add(format_args!("listener{at}"), format_args!("name={name},bind={bind},port={port}"));
    }
}

pub(super) fn clients(info: &Info, fields: &mut Fields<'_>) {
    let clients = &info.clients;
    fields
        .add("connected_clients", clients.connected + clients.connected_cluster)
        .add("connected_clients_cluster_port", clients.connected_cluster)
        .add("maxclients", clients.maxclients)
        .add("client_recent_max_input_buffer", clients.recent_input)
        .add("client_recent_max_output_buffer", clients.recent_output)
        .add("blocked_clients", clients.blocked)
        .add("tracking_clients", 0)
        .add("pubsub_clients", 0)
        .add("watching_clients", 0)
        .add("clients_in_timeout_table", clients.up_to_a_time)
        .add("total_blocking_keys", 0)
        .add("total_blocking_keys_on_nokey", 0)
        .add("paused_reason", if clients.paused == "none" { "none" } else { "client_pause" })
        .add("paused_actions", clients.paused)
        .add("paused_timeout_milliseconds", clients.paused_ms);
}

pub(super) fn memory(info: &Info, fields: &mut Fields<'_>) {
    let memory = &info.memory;
    fields
        .bytes("used_memory", memory.used)
        .bytes("used_memory_rss", memory.resident)
        .bytes("used_memory_peak", memory.used_peak)
        .add("used_memory_peak_perc", format_args!("{:.2}%", 100.0 * ratio(memory.used, memory.used_peak)))
        .bytes("total_system_memory", memory.machine)
        .bytes("maxmemory", memory.maxmemory)
        .add("maxmemory_policy", memory.maxmemory_policy)
        .add("mem_clients_normal", memory.clients);
    if memory.used > 0 {
        fields
            .add("mem_fragmentation_ratio", format_args!("{:.2}", ratio(memory.resident, memory.used)))
            .add("mem_fragmentation_bytes", less(memory.resident, memory.used));
    }
    fields.add("active_defrag_running", 0).add("lazyfree_pending_objects", 0);
    let Some(allocator) = &memory.allocator else { return };
    let Allocator { allocated, active, resident, version } = allocator;
    fields
        .add("allocator_allocated", allocated)
        .add("allocator_active", active)
        .add("allocator_resident", resident)
        .add("allocator_frag_ratio", format_args!("{:.2}", ratio(*active, *allocated)))
        .add("allocator_frag_bytes", less(*active, *allocated))
        .add("allocator_rss_ratio", format_args!("{:.2}", ratio(*resident, *active)))
        .add("allocator_rss_bytes", less(*resident, *active))
        .add("rss_overhead_ratio", format_args!("{:.2}", ratio(memory.resident, *resident)))
        .add("rss_overhead_bytes", less(memory.resident, *resident))
        .add("mem_allocator", format_args!("jemalloc-{version}"));
}

/// Nothing is ever read from a disk or written to one, and none of it has ever failed.
pub(super) fn persistence(_: &Info, fields: &mut Fields<'_>) {
    fields
        .add("loading", 0)
        .add("async_loading", 0)
        .add("rdb_bgsave_in_progress", 0)
        .add("rdb_last_bgsave_status", "ok")
        .add("rdb_saves", 0)
        .add("aof_enabled", 0)
        .add("aof_rewrite_in_progress", 0)
        .add("aof_rewrite_scheduled", 0)
        .add("aof_last_bgrewrite_status", "ok")
        .add("aof_last_write_status", "ok");
}

pub(super) fn stats(info: &Info, fields: &mut Fields<'_>) {
    let (totals, rates) = (&info.stats.totals, &info.rates);
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    fields
        .add("total_connections_received", totals.connections_received)
        .add("total_commands_processed", totals.calls)
        .add("instantaneous_ops_per_sec", rates.calls)
        .add("total_net_input_bytes", totals.input_bytes)
        .add("total_net_output_bytes", totals.output_bytes)
        .add("instantaneous_input_kbps", format_args!("{:.2}", kib(rates.input_bytes)))
        .add("instantaneous_output_kbps", format_args!("{:.2}", kib(rates.output_bytes)))
        .add("rejected_connections", totals.connections_rejected)
        .add("sync_full", 0)
        .add("sync_partial_ok", 0)
        .add("sync_partial_err", 0)
        .add("expired_keys", totals.expired)
        .add("evicted_keys", totals.evicted)
        .add("evicted_clients", totals.evicted_clients)
        .add("keyspace_hits", totals.hits)
        .add("keyspace_misses", totals.misses)
        .add("pubsub_channels", 0)
        .add("pubsub_patterns", 0)
        .add("latest_fork_usec", 0)
        .add("total_forks", 0)
        .add("unexpected_error_replies", 0)
        .add("total_error_replies", info.stats.errors.iter().map(|(_, count)| count).sum::<u64>())
        .add("total_reads_processed", totals.reads)
        .add("total_writes_processed", totals.writes)
        .add("client_query_buffer_limit_disconnections", totals.input_limit_disconnections)
        .add("client_output_buffer_limit_disconnections", totals.output_limit_disconnections);
}

/// Every node is a master in the sense of Redis: it takes writes, and nobody's copy of its whole data.
pub(super) fn replication(_: &Info, fields: &mut Fields<'_>) {
    fields
        .add("role", "master")
        .add("connected_slaves", 0)
        .add("master_failover_state", "no-failover")
        .add("master_repl_offset", 0)
        .add("second_repl_offset", -1)
        .add("repl_backlog_active", 0);
}

pub(super) fn cpu(info: &Info, fields: &mut Fields<'_>) {
    fields
        .add("used_cpu_sys", format_args!("{:.6}", info.cpu.system.as_secs_f64()))
        .add("used_cpu_user", format_args!("{:.6}", info.cpu.user.as_secs_f64()))
        .add("used_cpu_sys_children", "0.000000")
        .add("used_cpu_user_children", "0.000000");
}

/// There are none.
pub(super) fn modules(_: &Info, _: &mut Fields<'_>) {}

pub(super) fn command_stats(info: &Info, fields: &mut Fields<'_>) {
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

pub(super) fn error_stats(info: &Info, fields: &mut Fields<'_>) {
    for (code, count) in &info.stats.errors {
        fields.add(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latency_stats(info: &Info, fields: &mut Fields<'_>) {
    for command in info.stats.commands.iter().filter(|command| command.calls > 0) {
        let latency = &command.latency_us;
        fields.add(
            format_args!("latency_percentiles_usec_{}", command.name),
            format_args!("p50={},p99={},p99.9={}", latency.p50, latency.p99, latency.p999),
        );
    }
}

pub(super) fn cluster(info: &Info, fields: &mut Fields<'_>) {
    fields.add("cluster_enabled", u8::from(info.cluster_enabled));
}

/// Databases without keys are left out, as in Redis.
pub(super) fn keyspace(info: &Info, fields: &mut Fields<'_>) {
    for (number, held) in info.keyspace.iter().enumerate().filter(|(_, held)| held.keys > 0) {
        let Keyspace { keys, expires, average_ttl_ms } = held;
        fields.add(format_args!("db{number}"), format_args!("keys={keys},expires={expires},avg_ttl={average_ttl_ms}"));
    }
}

pub(super) fn circlet(info: &Info, fields: &mut Fields<'_>) {
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

/// How much the one is above the other; below zero if it is below.
fn less(one: u64, other: u64) -> i128 {
    i128::from(one) - i128::from(other)
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

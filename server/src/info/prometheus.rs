//! The same figures in the text format of Prometheus (version 0.0.4).
//!
//! Written by hand: the figures live elsewhere, and a registry would be a second copy of them.

use std::fmt::{Display, Write};

use super::{Info, Keyspace};

/// Writes all figures.
pub(super) fn render(info: &Info) -> String {
    let mut page = Page(String::with_capacity(8192));
    process(info, &mut page);
    traffic(info, &mut page);
    commands(info, &mut page);
    ring(info, &mut page);
    page.0
}

/// A growing page of metrics.
struct Page(String);

impl Page {
    /// One metric with all of its samples, each with its labels.
    fn family<L: Display, V: Display>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP circlet_{name} {help}\n# TYPE circlet_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "circlet_{name}{labels} {value}");
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family("counter", name, help, [("", value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family("gauge", name, help, [("", value)]);
    }
}

/// `{name="value"}`, with the escapes that the format asks for.
fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{{name}=\"{value}\"}}")
}

fn process(info: &Info, page: &mut Page) {
    let build = label("version", env!("CARGO_PKG_VERSION"));
    page.family("gauge", "build_info", "Version of this node.", [(build, 1)]);
    page.gauge("uptime_seconds", "Time since the start.", info.server.uptime.as_secs_f64());
    let seconds = [("system", info.cpu.system), ("user", info.cpu.user)];
    let seconds = seconds.map(|(mode, time)| (label("mode", mode), time.as_secs_f64()));
    page.family("counter", "cpu_seconds_total", "Processor time.", seconds);
    page.gauge("memory_used_bytes", "Data, as the limit counts it.", info.memory.used);
    page.gauge("memory_resident_bytes", "Resident memory of the process.", info.memory.resident);
    page.gauge("memory_limit_bytes", "Limit on the data; 0: none.", info.memory.maxmemory);
    if let Some(allocator) = &info.memory.allocator {
        page.gauge("memory_allocated_bytes", "Bytes that the allocator gave out.", allocator.allocated);
    }
}

fn traffic(info: &Info, page: &mut Page) {
    let totals = &info.stats.totals;
    let connected = [("client", info.clients.connected), ("cluster", info.clients.connected_cluster)];
    let connected = connected.map(|(port, count)| (label("port", port), count));
    page.family("gauge", "connected_clients", "Clients by the port that they reached.", connected);
    page.counter("connections_received_total", "Connections accepted.", totals.connections_received);
    page.counter("connections_rejected_total", "Connections turned away.", totals.connections_rejected);
    page.counter("net_input_bytes_total", "Bytes from clients.", totals.input_bytes);
    page.counter("net_output_bytes_total", "Bytes to clients.", totals.output_bytes);
    page.gauge("blocked_clients", "Clients that wait for a command or a pause.", info.clients.blocked);
    page.gauge("clients_memory_bytes", "Memory of all connections of clients.", info.memory.clients);
    let ended = [
        ("input", totals.input_limit_disconnections),
        ("output", totals.output_limit_disconnections),
        ("memory", totals.evicted_clients),
    ];
    let ended = ended.map(|(limit, count)| (label("limit", limit), count));
    page.family("counter", "clients_over_limit_total", "Clients disconnected because of a limit.", ended);
    page.counter("keyspace_hits_total", "Lookups that found a key.", totals.hits);
    page.counter("keyspace_misses_total", "Lookups that found none.", totals.misses);
    page.counter("expired_keys_total", "Keys whose time was over.", totals.expired);
    page.counter("evicted_keys_total", "Keys that made room.", totals.evicted);
    let keys = |held: &Keyspace| held.keys;
    page.gauge("keys", "Keys that this node acts for.", info.keyspace.iter().map(keys).sum::<u64>());
    let databases = info.keyspace.iter().enumerate().filter(|(_, held)| held.keys > 0);
    let databases = databases.map(|(number, held)| (label("database", &number.to_string()), held.keys));
    page.family("gauge", "database_keys", "Keys that this node acts for, by database.", databases);
    let errors = info.stats.errors.iter().map(|(code, count)| (label("code", code), count));
    page.family("counter", "error_replies_total", "Replies that were errors, by their codes.", errors);
}

fn commands(info: &Info, page: &mut Page) {
    let commands = &info.stats.commands;
    let name = |name: &str| label("command", name);
    let rejected = commands.iter().map(|command| (name(command.name), command.rejected));
    page.family("counter", "commands_rejected_total", "Commands refused before execution.", rejected);
    let failed = commands.iter().map(|command| (name(command.name), command.failed));
    page.family("counter", "commands_failed_total", "Commands that answered an error.", failed);
    let help = "Execution time, since the start or the last reset.";
    page.family("summary", "command_duration_seconds", help, std::iter::empty::<(&str, &str)>());
    for command in commands.iter().filter(|command| command.calls > 0) {
        let (latency, labels) = (&command.latency_us, name(command.name));
        let inner = labels.trim_end_matches('}');
        for (quantile, value_us) in [("0.5", latency.p50), ("0.99", latency.p99), ("0.999", latency.p999)] {
            let value = seconds(value_us);
            let _ = writeln!(page.0, "circlet_command_duration_seconds{inner},quantile=\"{quantile}\"}} {value}");
        }
        let sum = seconds(command.duration_us);
        let _ = writeln!(page.0, "circlet_command_duration_seconds_sum{labels} {sum}");
        let _ = writeln!(page.0, "circlet_command_duration_seconds_count{labels} {}", command.calls);
    }
}

fn ring(info: &Info, page: &mut Page) {
    let circlet = &info.circlet;
    page.gauge("ready", "Whether every slot that this node should serve is served.", u8::from(circlet.ready));
    page.gauge("context_origins", "Most origins in one slot's context.", circlet.context_origins);
    let members = circlet.members.iter().map(|(state, count)| (label("state", state), count));
    page.family("gauge", "members", "Members of the cluster by state.", members);
    let slots = circlet.slots.iter().map(|(role, count)| (label("role", role), count));
    page.family("gauge", "slots", "This node's slots by role.", slots);
    for (name, count, help) in circlet.life.named() {
        page.counter(&format!("{name}_total"), help, count);
    }
    let lanes = circlet.lanes.iter().map(|lane| (label("peer", &lane.peer), lane.unacknowledged_bytes));
    page.family("gauge", "lane_unacknowledged_bytes", "Effects on their way to a peer.", lanes);
    let lanes = circlet.lanes.iter().map(|lane| (label("peer", &lane.peer), u8::from(lane.connected)));
    page.family("gauge", "lane_connected", "Whether the lane to a peer is connected.", lanes);
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

//! Settings of Redis that tools ask for and that have one true answer here, and other names of settings.

/// What nobody can change, because there is nothing else here.
pub(super) const FIXED: [(&str, &str); 16] = [
    ("activedefrag", "no"),
    ("appendonly", "no"),
    ("daemonize", "no"),
    ("databases", "16"),
    ("enable-module-command", "no"),
    ("latency-tracking", "yes"),
    ("latency-tracking-info-percentiles", "50 99 99.9"),
    ("logfile", ""),
    ("notify-keyspace-events", ""),
    ("replicaof", ""),
    ("save", ""),
    ("slaveof", ""),
    ("supervised", "no"),
    ("tls-cluster", "no"),
    ("tls-port", "0"),
    ("unixsocket", ""),
];

/// Older names of settings, and the names that they have here.
pub(super) const ALIASES: [(&str, &str); 2] = [
    ("slowlog-log-slower-than", "commandlog-execution-slower-than"),
    ("slowlog-max-len", "commandlog-slow-execution-max-len"),
];

/// The name that a setting has here.
pub(super) fn real_name(name: &[u8]) -> &[u8] {
    let alias = ALIASES.iter().find(|(alias, _)| name.eq_ignore_ascii_case(alias.as_bytes()));
    alias.map_or(name, |(_, real)| real.as_bytes())
}

//! The one list of settings: flag, environment variable, key of the file, default and help stand in one row.

/// One setting of a node. Its flag is `--name`, its environment variable [`Setting::variable`], its key in the
/// configuration file `name`.
pub(super) struct Setting {
    /// The name, in kebab case.
    pub(super) name: &'static str,
    /// What stands for its value in the help.
    pub(super) value: &'static str,
    /// The default, as one would type it; it is read by the same function as a typed one.
    pub(super) default: Option<&'static str>,
    /// Who takes it.
    pub(super) scope: Scope,
    /// Whether its value must never be shown.
    pub(super) secret: bool,
    /// One line for the help.
    pub(super) help: &'static str,
}

/// Which commands take a setting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Only `circlet server`: it makes no sense for several nodes at a time.
    Server,
    /// `circlet server` and `circlet health`.
    Admin,
    /// `circlet server` and, for all of its nodes, `circlet dev`.
    Everywhere,
}

impl Setting {
    /// The name of its environment variable.
    pub(super) fn variable(&self) -> String {
        format!("CIRCLET_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// Whether its value is a text, even where it looks like a number.
    pub(super) fn is_text(&self) -> bool {
        self.secret || self.value == "NAME"
    }

    /// The help, with what the environment and the default add to it. Never a value from the environment.
    pub(super) fn long_help(&self) -> String {
        let default = self.default.filter(|default| !default.is_empty());
        let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        format!("{}{default} [env: {}]", self.help, self.variable())
    }
}

const fn row(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    scope: Scope,
    help: &'static str,
) -> Setting {
    Setting { name, value, default, scope, secret: false, help }
}

const fn secret(name: &'static str, help: &'static str) -> Setting {
    Setting { name, value: "SECRET", default: None, scope: Everywhere, secret: true, help }
}

use Scope::{Admin, Everywhere, Server};

/// All settings, in the order of the help.
pub(super) const SETTINGS: &[Setting] = &[
    row("bind", "ADDRESS", Some("0.0.0.0"), Server, "Address that every listener is bound to"),
    row("advertise", "HOST[:PORT]", None, Server, "Where other nodes reach this one, when it cannot be found out"),
    row("port", "PORT", Some("6379"), Everywhere, "Redis protocol for any client; never redirects (0: a free port)"),
    row("cluster-port", "PORT", Some("7379"), Server, "Redis protocol for cluster-aware clients (0: a free port)"),
    row("peer-port", "PORT", Some("7946"), Server, "Traffic between nodes (0: a free port)"),
    row("admin-port", "PORT", Some("9121"), Admin, "HTTP: /health, /ready, /metrics (0: a free port)"),
    row("seeds", "HOST:PORT,...", Some(""), Server, "Peer addresses of other nodes; none: this node starts a cluster"),
    row("node-id", "40 HEX DIGITS", None, Server, "Identity on the ring; drawn at random when not given and not kept"),
    row("cluster-name", "NAME", Some("circlet"), Everywhere, "Nodes of another name are refused"),
    row("replicas", "N", Some("2"), Everywhere, "Copies of each slot, 1 to 7; the same on every node"),
    row("write-acks", "N|majority|all", Some("1"), Everywhere, "Copies that must have a write before it is answered"),
    row(
        "partition",
        "available|majority",
        Some("available"),
        Everywhere,
        "Who serves when the network splits: every side, or the one with most members; the same on every node",
    ),
    row(
        "maxmemory",
        "SIZE|auto",
        Some("0"),
        Everywhere,
        "Limit on the data, as 100mb; 0: none; auto: 3/4 of the memory",
    ),
    row(
        "maxmemory-policy",
        "POLICY",
        None,
        Everywhere,
        "At the limit: a policy of Redis [default: allkeys-lru with a limit, else noeviction]",
    ),
    row("maxmemory-samples", "N", Some("8"), Everywhere, "Keys of which the first by the policy's order goes, 1 to 64"),
    row("lfu-log-factor", "N", Some("10"), Everywhere, "How hard a key's counter grows under an lfu policy"),
    row("lfu-decay-time", "MINUTES", Some("1"), Everywhere, "After how long unused it falls by one; 0: never"),
    row("zone", "NAME", Some("default"), Server, "Where the node stands; copies go to different zones where possible"),
    row("weight", "N", Some("1"), Server, "Share of the keyspace relative to other nodes, 1 to 100"),
    row("announce-host", "HOST", None, Server, "Host that cluster-aware clients are told"),
    row("announce-port", "PORT", None, Server, "Client port that clients are told"),
    row("announce-cluster-port", "PORT", None, Server, "Cluster port that cluster-aware clients are told"),
    secret("requirepass", "Password that clients must give with AUTH"),
    row("requirepass-file", "FILE", None, Everywhere, "File that holds the password"),
    secret("cluster-secret", "Secret that nodes must prove to each other"),
    row("cluster-secret-file", "FILE", None, Everywhere, "File that holds the secret"),
    row(
        "protected-mode",
        "yes|no",
        Some("yes"),
        Everywhere,
        "Without a password, serve only clients on loopback and private addresses",
    ),
    row("data-dir", "DIRECTORY", None, Server, "Keeps the node's identity over restarts"),
    row("threads", "N", None, Everywhere, "Threads that serve clients [default: one per core]"),
    row("maxclients", "N", Some("10000"), Everywhere, "Client connections at a time"),
    row(
        "timeout",
        "SECONDS",
        Some("0"),
        Everywhere,
        "A client that asks nothing for so long is disconnected; 0: never",
    ),
    row(
        "tcp-keepalive",
        "SECONDS",
        Some("300"),
        Everywhere,
        "Silent clients are asked whether they are there; 0: never",
    ),
    row("client-query-buffer-limit", "SIZE", Some("1gb"), Everywhere, "Longest request, 1mb to 1gb"),
    row(
        "client-output-buffer-limit",
        "CLASS HARD SOFT SECONDS ...",
        Some("normal 1gb 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60"),
        Everywhere,
        "A client is disconnected when so much waits for it: HARD at once, SOFT for SECONDS; 0: no limit",
    ),
    row(
        "maxmemory-clients",
        "SIZE|PERCENT",
        Some("0"),
        Everywhere,
        "All connections together, as 100mb or 5% of maxmemory: above, the largest are disconnected; 0: no limit",
    ),
    row("proto-max-bulk-len", "SIZE", Some("512mb"), Everywhere, "Longest string that a client may send"),
    row("enable-debug-command", "no|local|yes", Some("no"), Everywhere, "Who may call DEBUG"),
    row(
        "commandlog-execution-slower-than",
        "MICROSECONDS",
        Some("10000"),
        Everywhere,
        "Commands that take at least so long are logged; -1: none",
    ),
    row("commandlog-large-reply-max-len", "N", Some("128"), Everywhere, "Large replies that the log keeps"),
    row("commandlog-large-request-max-len", "N", Some("128"), Everywhere, "Large requests that the log keeps"),
    row("commandlog-reply-larger-than", "BYTES", Some("1048576"), Everywhere, "Replies so large are logged; -1: none"),
    row(
        "commandlog-request-larger-than",
        "BYTES",
        Some("1048576"),
        Everywhere,
        "Requests so large are logged; -1: none",
    ),
    row("commandlog-slow-execution-max-len", "N", Some("128"), Everywhere, "Slow commands that the log keeps"),
    row("latency-monitor-threshold", "MILLISECONDS", Some("0"), Everywhere, "What takes so long is noted; 0: nothing"),
    row("log-level", "LEVEL", Some("info"), Everywhere, "error, warn, info, debug or trace"),
    row("log-format", "text|json", Some("text"), Everywhere, "How log lines look"),
    row(
        "rebuild-delay",
        "TIME",
        None,
        Everywhere,
        "How long a lost copy is waited for [default: 30s, with --replicas 1: 0s]",
    ),
    row(
        "rebalance-rate",
        "SIZE",
        Some("64mb"),
        Everywhere,
        "Bytes per second that a node sends to move slots; 0: no limit",
    ),
    row("shutdown-timeout", "TIME", Some("60s"), Everywhere, "How long a leaving node may take to hand over its slots"),
];

/// The row of a name.
pub(super) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

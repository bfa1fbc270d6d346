//! Commands about the node, and what is no command at all.

use super::{Generator, Makers};
use crate::differential::command::Command;
use crate::differential::keyspace::one_of;

const MAKERS: &Makers = &[
    (14, |g| Command::line(one_of(&mut g.rng, COMMANDS))),
    (8, |g| {
        let names = g.some_names();
        Command::line("COMMAND INFO").args(names)
    }),
    (4, |g| {
        let names = g.some_names();
        Command::line("COMMAND DOCS").args(names)
    }),
    (10, |g| {
        let what = one_of(&mut g.rng, &["GETKEYS", "GETKEYSANDFLAGS"]);
        let whole = g.one();
        Command::new("COMMAND").arg(what).args(whole.arguments)
    }),
    (12, |g| Command::line(one_of(&mut g.rng, CONFIGS))),
    (6, |g| Command::new("INFO").args(one_of(&mut g.rng, INFOS).split_whitespace())),
    (12, |g| Command::line(one_of(&mut g.rng, LATENCIES))),
    (12, |g| Command::line(one_of(&mut g.rng, LOGS))),
    (8, |g| Command::line(one_of(&mut g.rng, MEMORIES))),
    (4, |g| {
        let mut command = Command::line("MEMORY USAGE").arg(g.key());
        if g.rng.u8(..3) == 0 {
            command = command.arg("SAMPLES").arg(g.integer());
        }
        command
    }),
    (6, |g| Command::line(one_of(&mut g.rng, OTHERS))),
    (10, unknown),
];

const COMMANDS: &[&str] = &[
    "COMMAND COUNT",
    "COMMAND COUNT x",
    "COMMAND LIST",
    "COMMAND LIST x",
    "COMMAND LIST FILTERBY",
    "COMMAND LIST FILTERBY PATTERN *et*",
    "COMMAND LIST filterby pattern get*",
    "COMMAND LIST FILTERBY PATTERN nothing",
    "COMMAND LIST FILTERBY ACLCAT string",
    "COMMAND LIST FILTERBY ACLCAT keyspace",
    "COMMAND LIST FILTERBY ACLCAT fast",
    "COMMAND LIST FILTERBY ACLCAT bogus",
    "COMMAND LIST FILTERBY MODULE json",
    "COMMAND LIST FILTERBY BOGUS x",
    "COMMAND LIST FILTERBY PATTERN",
    "COMMAND LIST FILTERBY PATTERN a b",
    "COMMAND",
    "COMMAND INFO",
    "COMMAND INFO bogus",
    "COMMAND INFO get bogus set",
    "COMMAND INFO client|id",
    "COMMAND INFO get|x",
    "COMMAND DOCS bogus",
    "COMMAND GETKEYS",
    "COMMAND GETKEYS bogus",
    "COMMAND GETKEYS GET",
    "COMMAND GETKEYS PING",
    "COMMAND GETKEYS GET a b",
    "COMMAND GETKEYSANDFLAGS",
    "COMMAND GETKEYSANDFLAGS PING",
    "COMMAND GETKEYSANDFLAGS bogus x",
    "COMMAND HELP",
    "COMMAND HELP x",
    "COMMAND bogus",
    "COMMAND DOCS client|bogus",
];
const CONFIGS: &[&str] = &[
    "CONFIG",
    "CONFIG GET",
    "CONFIG GET maxmemory",
    "CONFIG GET MAXMEMORY",
    "CONFIG GET maxmemory-policy",
    "CONFIG GET *",
    "CONFIG GET max*",
    "CONFIG GET nothing",
    "CONFIG GET slowlog-max-len",
    "CONFIG GET slowlog-log-slower-than",
    "CONFIG GET latency-monitor-threshold",
    "CONFIG GET maxmemory maxmemory",
    "CONFIG GET maxmemory timeout nothing",
    "CONFIG GET databases",
    "CONFIG GET appendonly",
    "CONFIG GET save",
    "CONFIG SET",
    "CONFIG SET maxmemory",
    "CONFIG SET bogus 1",
    "CONFIG SET maxmemory 1 maxmemory",
    "CONFIG SET maxmemory 0 maxmemory 0",
    "CONFIG SET maxmemory x",
    "CONFIG SET maxmemory-policy bogus",
    "CONFIG SET maxmemory-policy noeviction",
    "CONFIG SET slowlog-max-len x",
    "CONFIG SET slowlog-max-len 64",
    "CONFIG SET SLOWLOG-MAX-LEN 128",
    "CONFIG SET slowlog-max-len -1",
    "CONFIG SET slowlog-log-slower-than x",
    "CONFIG SET latency-monitor-threshold 0",
    "CONFIG SET latency-monitor-threshold -1",
    "CONFIG SET databases 5",
    "CONFIG SET bogus 1 maxmemory 0",
    "CONFIG SET maxmemory 0 bogus 1",
    "CONFIG RESETSTAT",
    "CONFIG RESETSTAT x",
    "CONFIG REWRITE",
    "CONFIG REWRITE x",
    "CONFIG HELP",
    "CONFIG HELP x",
    "CONFIG bogus",
    "CONFIG bogus x",
];
const INFOS: &[&str] = &[
    "",
    "all",
    "everything",
    "default",
    "server",
    "clients",
    "memory",
    "stats",
    "replication",
    "cpu",
    "keyspace",
    "commandstats",
    "errorstats",
    "latencystats",
    "cluster",
    "persistence",
    "bogus",
    "server clients",
    "SERVER",
    "server server",
    "modules",
    "bogus server",
];
const LATENCIES: &[&str] = &[
    "LATENCY",
    "LATENCY HISTOGRAM",
    "LATENCY HISTOGRAM get set",
    "LATENCY HISTOGRAM bogus",
    "LATENCY HISTOGRAM client|id",
    "LATENCY LATEST",
    "LATENCY LATEST x",
    "LATENCY HISTORY command",
    "LATENCY HISTORY bogus",
    "LATENCY HISTORY",
    "LATENCY HISTORY a b",
    "LATENCY RESET",
    "LATENCY RESET command bogus",
    "LATENCY DOCTOR",
    "LATENCY DOCTOR x",
    "LATENCY HELP",
    "LATENCY HELP x",
    "LATENCY bogus",
    "LATENCY GRAPH bogus",
    "LATENCY GRAPH",
];
const LOGS: &[&str] = &[
    "SLOWLOG",
    "SLOWLOG GET",
    "SLOWLOG GET 5",
    "SLOWLOG GET -1",
    "SLOWLOG GET -2",
    "SLOWLOG GET x",
    "SLOWLOG GET 0",
    "SLOWLOG GET 1 2",
    "SLOWLOG LEN",
    "SLOWLOG LEN x",
    "SLOWLOG RESET",
    "SLOWLOG RESET x",
    "SLOWLOG HELP",
    "SLOWLOG HELP x",
    "SLOWLOG bogus",
    "COMMANDLOG",
    "COMMANDLOG GET 5 slow",
    "COMMANDLOG GET -1 SLOW",
    "COMMANDLOG GET -2 slow",
    "COMMANDLOG GET x slow",
    "COMMANDLOG GET 5 bogus",
    "COMMANDLOG GET 5",
    "COMMANDLOG GET",
    "COMMANDLOG LEN slow",
    "COMMANDLOG LEN bogus",
    "COMMANDLOG LEN",
    "COMMANDLOG RESET slow",
    "COMMANDLOG RESET bogus",
    "COMMANDLOG RESET",
    "COMMANDLOG RESET large-request",
    "COMMANDLOG RESET large-reply",
    "COMMANDLOG HELP",
    "COMMANDLOG HELP x",
    "COMMANDLOG bogus",
];
const MEMORIES: &[&str] = &[
    "MEMORY",
    "MEMORY USAGE",
    "MEMORY USAGE k1 SAMPLES",
    "MEMORY USAGE k1 bogus 1",
    "MEMORY USAGE k1 SAMPLES x",
    "MEMORY USAGE k1 SAMPLES -1",
    "MEMORY USAGE missing SAMPLES x",
    "MEMORY STATS",
    "MEMORY STATS x",
    "MEMORY DOCTOR",
    "MEMORY DOCTOR x",
    "MEMORY PURGE",
    "MEMORY PURGE x",
    "MEMORY MALLOC-STATS",
    "MEMORY MALLOC-STATS x",
    "MEMORY HELP",
    "MEMORY HELP x",
    "MEMORY bogus",
];
const OTHERS: &[&str] = &[
    "DEBUG SLEEP 0",
    "DEBUG SLEEP 0.001",
    "DEBUG SLEEP",
    "DEBUG",
    "DEBUG bogus",
    "LOLWUT",
    "LOLWUT VERSION 5",
    "LOLWUT VERSION 5 1 1 1",
    "LOLWUT VERSION x",
    "LOLWUT VERSION",
    "LOLWUT x",
    "LOLWUT VERSION 6",
    "TIME",
    "TIME x",
    "ROLE",
    "ROLE x",
];
/// Names that are asked about.
const NAMES: &[&str] = &[
    "get",
    "SET",
    "mget",
    "mset",
    "msetex",
    "msetnx",
    "del",
    "expire",
    "copy",
    "move",
    "swapdb",
    "object",
    "object|encoding",
    "sort",
    "sort_ro",
    "restore",
    "dump",
    "scan",
    "keys",
    "randomkey",
    "flushall",
    "wait",
    "ping",
    "echo",
    "select",
    "client",
    "client|kill",
    "client|list",
    "hello",
    "reset",
    "auth",
    "quit",
    "command",
    "command|info",
    "config",
    "config|get",
    "info",
    "latency",
    "latency|histogram",
    "slowlog",
    "slowlog|get",
    "commandlog",
    "memory",
    "memory|usage",
    "debug",
    "lolwut",
    "time",
    "role",
    "getex",
    "getdel",
    "delifeq",
    "lcs",
    "incrbyfloat",
    "setrange",
    "getrange",
    "substr",
    "append",
    "strlen",
    "incr",
    "incrby",
    "getset",
    "setnx",
    "setex",
    "psetex",
    "exists",
    "type",
    "touch",
    "unlink",
    "ttl",
    "expiretime",
    "persist",
    "rename",
    "renamenx",
    "dbsize",
    "flushdb",
    "client|reply",
    "client|no-evict",
    "expireat",
    "pexpire",
    "bogus",
    "",
];

impl Generator {
    pub(super) fn server(&mut self) -> Vec<Command> {
        let mut commands: Vec<_> = (0..self.rng.usize(10..40)).map(|_| self.pick(MAKERS)).collect();
        if self.rng.u8(..4) == 0 && !self.left_out.contains("SLOWLOG") {
            self.log_everything(&mut commands);
        }
        commands
    }

    fn some_names(&mut self) -> Vec<&'static str> {
        (0..self.rng.usize(1..4)).map(|_| one_of(&mut self.rng, NAMES)).collect()
    }

    /// Everything is slow for a while. On several nodes a command on keys may be slow on another node than this one.
    fn log_everything(&mut self, commands: &mut Vec<Command>) {
        commands.push(Command::line("CONFIG SET slowlog-log-slower-than 0"));
        commands.push(Command::line("SLOWLOG RESET"));
        for _ in 0..self.rng.usize(1..20) {
            let many = (0..self.rng.usize(1..40)).map(|number| number.to_string());
            let command = match self.rng.u8(..4) {
                0 => Command::new("PING").arg(self.value()),
                1 => Command::new("ECHO").arg(self.value()),
                2 if self.nodes == 1 => Command::new("EXISTS").args(many),
                _ => Command::line("CLIENT GETNAME"),
            };
            commands.push(command);
        }
        for line in ["SLOWLOG LEN", "SLOWLOG GET", "SLOWLOG GET 3", "COMMANDLOG GET -1 slow", "COMMANDLOG LEN slow"] {
            commands.push(Command::line(line));
        }
        commands.push(Command::line("CONFIG SET slowlog-log-slower-than -1"));
        commands.push(Command::line("SLOWLOG RESET"));
    }
}

/// What no server knows.
fn unknown(g: &mut Generator) -> Command {
    let name: Vec<u8> = match g.rng.u8(..6) {
        0 => (0..g.rng.usize(1..9)).map(|_| g.rng.u8(128..)).collect(),
        1 => vec![b'x'; g.rng.usize(1..300)],
        2 => Vec::new(),
        _ => one_of(&mut g.rng, &["foo", "gett", "GETX", "get ", "client|id", "set\r\n", "it's", "-", "*1"]).into(),
    };
    let count = g.rng.usize(..6);
    let mut command = Command { arguments: vec![name], silent: false, closes: false };
    for _ in 0..count {
        let argument = g.value();
        command = command.arg(argument);
    }
    command
}

//! Commands on keys and databases.

use super::{Generator, Makers, words};
use crate::differential::command::Command;
use crate::differential::keyspace::{one_of, pattern};
use crate::differential::times::Time;

const MAKERS: &Makers = &[
    (40, |g| {
        let name = one_of(&mut g.rng, &["DEL", "UNLINK", "EXISTS", "EXISTS", "TOUCH"]);
        let keys = g.some_keys(4);
        Command::new(name).args(keys)
    }),
    (20, |g| Command::new("TYPE").arg(g.key())),
    (60, expire),
    (60, |g| {
        let name = one_of(&mut g.rng, &["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]);
        Command::new(name).arg(g.key())
    }),
    (20, |g| Command::new("PERSIST").arg(g.key())),
    (24, |g| {
        let name = one_of(&mut g.rng, &["RENAME", "RENAMENX"]);
        Command::new(name).args(g.two_keys())
    }),
    (30, copy),
    (16, |g| {
        let database = g.database_text();
        Command::new("MOVE").arg(g.key()).arg(database)
    }),
    (30, |g| {
        let what = one_of(&mut g.rng, &["ENCODING", "ENCODING", "FREQ", "IDLETIME", "REFCOUNT"]);
        Command::new("OBJECT").arg(what).arg(g.key())
    }),
    (1, |g| Command::line(one_of(&mut g.rng, &["OBJECT HELP", "OBJECT", "OBJECT bogus k1", "OBJECT HELP k1"]))),
    (16, sort),
    (20, |g| Command::new("DUMP").arg(g.key())),
    (30, restore),
    (6, scan),
    (6, |g| Command::new("KEYS").arg(pattern(&mut g.rng))),
    (8, |_| Command::new("DBSIZE")),
    (3, |g| {
        let database = g.database_text();
        Command::new("SELECT").arg(database)
    }),
    (2, |g| {
        let (one, other) = (g.database_text(), g.database_text());
        Command::new("SWAPDB").arg(one).arg(other)
    }),
    (1, |g| Command::line(one_of(&mut g.rng, FLUSHES))),
    (1, |g| Command::line(one_of(&mut g.rng, WAITS))),
];

const FLUSHES: &[&str] = &[
    "FLUSHDB",
    "FLUSHDB SYNC",
    "FLUSHDB ASYNC",
    "FLUSHDB sync async",
    "FLUSHDB bogus",
    "FLUSHALL bogus",
    "FLUSHALL SYNC SYNC",
    "FLUSHALL",
    "FLUSHALL ASYNC",
];
const WAITS: &[&str] =
    &["WAIT 0 1", "WAIT -1 1", "WAIT 0 -1", "WAIT x 1", "WAIT 1 y", "WAIT 1 2", "WAIT 0 9223372036854775808"];

impl Generator {
    pub(super) fn key_command(&mut self) -> Command {
        self.pick(MAKERS)
    }

    /// The number of a database, or what is none.
    pub(super) fn database_text(&mut self) -> Vec<u8> {
        match self.rng.u8(..12) {
            0 => self.integer(),
            1 => self.databases.to_string().into(),
            _ => self.database().to_string().into(),
        }
    }

    /// Options of a whole iteration.
    pub(super) fn scan_options(&mut self) -> Vec<Vec<u8>> {
        let count = self.rng.u32(1..2000).to_string().into();
        let groups = [
            vec!["MATCH".into(), pattern(&mut self.rng)],
            vec!["COUNT".into(), count],
            vec!["TYPE".into(), one_of(&mut self.rng, &["string", "STRING", "hash", "list"]).into()],
        ];
        self.with_options(Command::new("SCAN"), &groups).arguments.split_off(1)
    }
}

fn expire(g: &mut Generator) -> Command {
    let commands = [
        ("EXPIRE", Time::Seconds),
        ("PEXPIRE", Time::Milliseconds),
        ("EXPIREAT", Time::SecondsAt),
        ("PEXPIREAT", Time::MillisecondsAt),
    ];
    let (name, time) = commands[g.rng.usize(..4)];
    let command = Command::new(name).arg(g.key()).arg(time.random(&mut g.rng));
    g.with_options(command, &words(&["NX", "XX", "GT", "LT"]))
}

fn copy(g: &mut Generator) -> Command {
    let command = Command::new("COPY").args(g.two_keys());
    let database = g.database_text();
    g.with_options(command, &[vec!["DB".into(), database], vec!["REPLACE".into()]])
}

fn sort(g: &mut Generator) -> Command {
    let name = one_of(&mut g.rng, &["SORT", "SORT", "SORT_RO"]);
    // Mostly of nothing, because a string cannot be sorted.
    let key = if g.rng.u8(..4) == 0 { g.key() } else { "{t}nothing".into() };
    let mut groups = words(&["ALPHA", "ASC", "DESC"]);
    groups.push(vec!["LIMIT".into(), g.integer(), g.integer()]);
    groups.push(vec!["BY".into(), one_of(&mut g.rng, &["w_*", "nosort", "{t}*", "h->f"]).into()]);
    groups.push(vec!["GET".into(), one_of(&mut g.rng, &["#", "k*", "{t}*"]).into()]);
    groups.push(vec!["STORE".into(), crate::differential::keyspace::tagged_key(&mut g.rng)]);
    let command = Command::new(name).arg(key);
    g.with_options(command, &groups)
}

fn restore(g: &mut Generator) -> Command {
    let ttl = if g.rng.bool() { "0".into() } else { Time::Milliseconds.random(&mut g.rng) };
    let command = Command::new("RESTORE").arg(g.key()).arg(ttl).arg(g.payloads.random(&mut g.rng));
    let (idle, frequency) = (g.integer(), g.integer());
    let groups = [
        vec!["REPLACE".into()],
        vec!["REPLACE".into()],
        vec!["ABSTTL".into()],
        vec!["IDLETIME".into(), idle],
        vec!["FREQ".into(), frequency],
    ];
    let mut command = g.with_options(command, &groups);
    if command.has("ABSTTL") && g.rng.bool() {
        command.arguments[2] = Time::MillisecondsAt.random(&mut g.rng);
    }
    command
}

/// One step of an iteration; whole ones are steps of the run.
fn scan(g: &mut Generator) -> Command {
    let cursor = one_of(&mut g.rng, &["0", "0", "0", "x", "", "-1", "18446744073709551616", " 0"]);
    let count = g.integer();
    let groups = [
        vec!["MATCH".into(), pattern(&mut g.rng)],
        vec!["COUNT".into(), count],
        vec!["TYPE".into(), one_of(&mut g.rng, &["string", "zset", "nonsense"]).into()],
    ];
    let command = Command::new("SCAN").arg(cursor);
    g.with_options(command, &groups)
}

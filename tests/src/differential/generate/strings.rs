//! Commands on strings.

use super::{Generator, Makers, words};
use crate::differential::command::Command;
use crate::differential::keyspace::{float, one_of, short_value, tagged_key};
use crate::differential::times::Time;

const MAKERS: &Makers = &[
    (10, |g| Command::new("GET").arg(g.key())),
    (16, set),
    (3, |g| Command::new("GETSET").arg(g.key()).arg(g.value())),
    (3, |g| Command::new("SETNX").arg(g.key()).arg(g.value())),
    (3, |g| Command::new("SETEX").arg(g.key()).arg(Time::Seconds.random(&mut g.rng)).arg(g.value())),
    (3, |g| Command::new("PSETEX").arg(g.key()).arg(Time::Milliseconds.random(&mut g.rng)).arg(g.value())),
    (4, |g| g.pairs("MSET")),
    (3, |g| g.pairs("MSETNX")),
    (5, msetex),
    (4, |g| {
        let keys = g.some_keys(6);
        Command::new("MGET").args(keys)
    }),
    (4, |g| Command::new("SETRANGE").arg(g.key()).arg(g.offset()).arg(short_value(&mut g.rng))),
    (5, |g| {
        let name = one_of(&mut g.rng, &["GETRANGE", "SUBSTR"]);
        Command::new(name).arg(g.key()).arg(g.integer()).arg(g.integer())
    }),
    (3, lcs),
    (4, |g| Command::new("APPEND").arg(g.key()).arg(short_value(&mut g.rng))),
    (4, |g| Command::new("STRLEN").arg(g.key())),
    (8, |g| {
        let name = one_of(&mut g.rng, &["INCR", "DECR"]);
        Command::new(name).arg(g.key())
    }),
    (6, |g| {
        let name = one_of(&mut g.rng, &["INCRBY", "DECRBY"]);
        Command::new(name).arg(g.key()).arg(g.integer())
    }),
    (4, |g| Command::new("INCRBYFLOAT").arg(g.key()).arg(float(&mut g.rng))),
    (3, |g| Command::new("GETDEL").arg(g.key())),
    (5, getex),
    (3, |g| Command::new("DELIFEQ").arg(g.key()).arg(short_value(&mut g.rng))),
];

impl Generator {
    pub(super) fn string_command(&mut self) -> Command {
        self.pick(MAKERS)
    }

    /// A time with its option, of any of the four kinds.
    fn time_options(&mut self) -> Vec<Vec<Vec<u8>>> {
        let rng = &mut self.rng;
        let times = [
            ("EX", Time::Seconds),
            ("PX", Time::Milliseconds),
            ("EXAT", Time::SecondsAt),
            ("PXAT", Time::MillisecondsAt),
        ];
        times.into_iter().map(|(word, time)| vec![word.into(), time.random(rng)]).collect()
    }

    fn pairs(&mut self, name: &str) -> Command {
        let keys = self.some_keys(5);
        keys.into_iter().fold(Command::new(name), |command, key| command.arg(key).arg(self.value()))
    }

    /// An offset that makes no string long, or one that is refused.
    fn offset(&mut self) -> Vec<u8> {
        match self.rng.u8(..8) {
            0 => self.integer(),
            1 => {
                one_of(&mut self.rng, &["536870912", "536870911999", "-1", "9223372036854775807", "4294967295"]).into()
            }
            _ => self.rng.u32(..60).to_string().into(),
        }
    }
}

fn set(g: &mut Generator) -> Command {
    let command = Command::new("SET").arg(g.key()).arg(g.value());
    let mut groups = words(&["NX", "XX", "GET", "KEEPTTL"]);
    groups.extend(g.time_options());
    groups.push(vec!["IFEQ".into(), short_value(&mut g.rng)]);
    groups.push(vec!["GET".into()]);
    g.with_options(command, &groups)
}

fn getex(g: &mut Generator) -> Command {
    let command = Command::new("GETEX").arg(g.key());
    let mut groups = words(&["PERSIST"]);
    groups.extend(g.time_options());
    g.with_options(command, &groups)
}

fn msetex(g: &mut Generator) -> Command {
    let keys = g.some_keys(4);
    let count = match g.rng.u8(..8) {
        0 => g.integer(),
        1 => (keys.len() + 1).to_string().into(),
        _ => keys.len().to_string().into(),
    };
    let command = Command::new("MSETEX").arg(count);
    let command = keys.into_iter().fold(command, |command, key| command.arg(key).arg(g.value()));
    let mut groups = words(&["NX", "XX", "KEEPTTL"]);
    groups.extend(g.time_options());
    g.with_options(command, &groups)
}

fn lcs(g: &mut Generator) -> Command {
    let (one, other) = if g.rng.bool() { (tagged_key(&mut g.rng), tagged_key(&mut g.rng)) } else { (g.key(), g.key()) };
    let least = g.integer();
    let mut groups = words(&["LEN", "IDX", "IDX", "WITHMATCHLEN"]);
    groups.push(vec!["MINMATCHLEN".into(), least]);
    let command = Command::new("LCS").arg(one).arg(other);
    g.with_options(command, &groups)
}

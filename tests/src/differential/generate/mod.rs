//! Random commands from a seed.

mod connection;
mod keys;
mod server;
mod strings;

use std::collections::BTreeSet;

use fastrand::Rng;

use super::command::{Command, Family};
use super::damage::{change_case, damage};
use super::keyspace;
use super::payload::Payloads;
use super::times::make_safe;

/// Commands of a batch on data.
const BATCH: std::ops::Range<usize> = 50..200;

/// What is done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// These commands on a connection for data.
    Data(Batch),
    /// These commands on the one connection of the protocol whose state may change.
    Pinned(Batch),
    /// A whole iteration with these options, in this database.
    Scan(u8, u32, Vec<Vec<u8>>),
    /// A random key of this database.
    RandomKey(u8, u32),
}

/// Commands that are sent at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Batch {
    /// 2 or 3.
    pub(super) protocol: u8,
    /// The commands.
    pub(super) commands: Vec<Command>,
}

/// Makes commands.
#[derive(Debug)]
pub(super) struct Generator {
    pub(super) rng: Rng,
    pub(super) payloads: Payloads,
    /// Commands (`NAME` or `NAME|SUBCOMMAND`) that are left out.
    pub(super) left_out: BTreeSet<String>,
    families: Vec<Family>,
    databases: u32,
    nodes: usize,
}

impl Generator {
    /// From this seed.
    pub(super) fn new(seed: u64, families: &[Family], databases: u32, nodes: usize) -> Generator {
        Generator {
            rng: Rng::with_seed(seed),
            payloads: Payloads::default(),
            left_out: BTreeSet::new(),
            families: families.to_vec(),
            databases,
            nodes,
        }
    }

    /// The next step.
    pub(super) fn step(&mut self) -> Step {
        let data = self.has(Family::Strings) || self.has(Family::Keys);
        let protocol = if self.rng.bool() { 2 } else { 3 };
        match self.rng.u8(..20) {
            0 | 1 if data => Step::Data(self.batch(protocol, Generator::audit)),
            2 if self.has(Family::Keys) => Step::Scan(protocol, self.database(), self.scan_options()),
            3 if self.has(Family::Keys) => Step::RandomKey(protocol, self.database()),
            4 | 5 if self.has(Family::Connection) => self.pinned(protocol, Generator::connection),
            6 | 7 if self.has(Family::Server) => self.pinned(protocol, Generator::server),
            _ if data => Step::Data(self.batch(protocol, Generator::data)),
            _ if self.has(Family::Connection) => self.pinned(protocol, Generator::connection),
            _ => self.pinned(protocol, Generator::server),
        }
    }

    /// A batch on the connection whose state changes; half of the time it begins in the version that it has a name for.
    fn pinned(&mut self, protocol: u8, make: fn(&mut Generator) -> Vec<Command>) -> Step {
        let mut batch = self.batch(protocol, make);
        if self.rng.bool() && !self.left_out.contains("HELLO") {
            batch.commands.insert(0, Command::new("HELLO").arg(protocol.to_string()));
        }
        Step::Pinned(batch)
    }

    fn has(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    fn batch(&mut self, protocol: u8, make: fn(&mut Generator) -> Vec<Command>) -> Batch {
        let mut commands = make(self);
        let left_out = &self.left_out;
        commands.retain(|command| !left_out.contains(&command.word(0)) && !left_out.contains(&command.title()));
        for command in &mut commands {
            make_safe(command, &mut self.rng);
        }
        Batch { protocol, commands }
    }

    /// A database: half of the time the first.
    pub(super) fn database(&mut self) -> u32 {
        if self.rng.bool() { 0 } else { self.rng.u32(..self.databases) }
    }

    /// Random commands on strings and keys.
    fn data(&mut self) -> Vec<Command> {
        let mut commands = vec![Command::new("SELECT").arg(self.database().to_string())];
        for _ in 0..self.rng.usize(BATCH) {
            let command = self.one();
            // With a deadline that is past, Valkey keeps the keys of this command until they are looked at.
            let keys = command.arguments.iter().skip(2).filter(|_| command.word(0) == "MSETEX");
            let look = Command::new("EXISTS").args(keys.cloned());
            commands.push(command);
            commands.extend(Some(look).filter(|look| look.arguments.len() > 1));
        }
        commands
    }

    /// One random command on strings or keys, damaged or not.
    fn one(&mut self) -> Command {
        let strings = self.has(Family::Strings) && (!self.has(Family::Keys) || self.rng.bool());
        let mut command = if strings { self.string_command() } else { self.key_command() };
        if self.rng.u8(..8) == 0 && command.word(0) != "SELECT" {
            damage(&mut command, &mut self.rng);
        }
        if self.rng.u8(..5) == 0 {
            change_case(&mut command, &mut self.rng);
        }
        command
    }

    /// Looks at everything in a database that the run may have put there.
    fn audit(&mut self) -> Vec<Command> {
        let mut commands = vec![Command::new("SELECT").arg(self.database().to_string()), Command::new("DBSIZE")];
        commands.push(Command::line("KEYS *"));
        for key in keyspace::all_keys() {
            for question in ["TYPE", "PEXPIRETIME", "OBJECT ENCODING", "STRLEN", "GET"] {
                commands.push(Command::line(question).arg(key.clone()));
            }
        }
        commands
    }

    /// Adds some of these groups of words in any order, now and then one of them twice.
    pub(super) fn with_options(&mut self, mut command: Command, groups: &[Vec<Vec<u8>>]) -> Command {
        let count = [0, 0, 1, 1, 1, 2, 2, 3, 4][self.rng.usize(..9)];
        for _ in 0..count {
            command = command.args(groups[self.rng.usize(..groups.len())].clone());
        }
        command
    }

    pub(super) fn key(&mut self) -> Vec<u8> {
        keyspace::key(&mut self.rng)
    }

    /// Two keys: two times of three of one slot.
    pub(super) fn two_keys(&mut self) -> [Vec<u8>; 2] {
        if self.rng.u8(..3) > 0 {
            [keyspace::tagged_key(&mut self.rng), keyspace::tagged_key(&mut self.rng)]
        } else {
            [self.key(), self.key()]
        }
    }

    /// Some keys: half of the time of one slot.
    pub(super) fn some_keys(&mut self, most: usize) -> Vec<Vec<u8>> {
        let (one_slot, count) = (self.rng.bool(), self.rng.usize(1..=most));
        (0..count).map(|_| if one_slot { keyspace::tagged_key(&mut self.rng) } else { self.key() }).collect()
    }

    pub(super) fn value(&mut self) -> Vec<u8> {
        keyspace::value(&mut self.rng)
    }

    pub(super) fn integer(&mut self) -> Vec<u8> {
        keyspace::integer(&mut self.rng)
    }
}

/// A group of options of one word each.
pub(super) fn words(words: &[&str]) -> Vec<Vec<Vec<u8>>> {
    words.iter().map(|word| vec![word.as_bytes().to_vec()]).collect()
}

/// Makers of commands, each with its share.
pub(super) type Makers = [(u32, fn(&mut Generator) -> Command)];

impl Generator {
    /// A command of one of these makers.
    pub(super) fn pick(&mut self, makers: &Makers) -> Command {
        let total: u32 = makers.iter().map(|(share, _)| share).sum();
        let mut at = self.rng.u32(..total);
        for (share, make) in makers {
            if at < *share {
                return make(self);
            }
            at -= share;
        }
        unreachable!("the shares add up to the total")
    }
}

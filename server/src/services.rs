//! What the client side of a node asks of its other parts.
//!
//! Connections and commands know these traits and nothing behind them: not where a setting is kept, how INFO comes
//! by its figures or what becomes of a latency. All of them are called seldom (once per connection, batch of requests
//! or administrative command), so they are trait objects; what is called per request is not here.

use std::sync::Arc;

use crate::{clients::Limits, resp::Reply, session::Port};

/// The settings of the node, by the names that `CONFIG` has for them.
pub trait Settings: Send + Sync {
    /// Every setting that `CONFIG GET` shows, with its value now.
    fn all(&self) -> Vec<(&'static str, String)>;

    /// Changes settings, all of them or, if one cannot be changed, none. Names come in any case and at most once.
    fn change(&self, changes: &[(&[u8], &[u8])]) -> Result<(), SettingError>;

    /// Whether `DEBUG` may be called by a client, of this machine or of another.
    fn allows_debug(&self, is_local: bool) -> bool;

    /// Writes what was changed since the start into the configuration file, the whole file or nothing of it. The error
    /// says why that cannot be.
    fn rewrite(&self) -> Result<(), String>;

    /// The password that clients have to give, if there is one.
    fn password(&self) -> Option<Arc<str>>;

    /// How many clients may be connected.
    fn max_clients(&self) -> usize;

    /// What connections may take up.
    fn client_limits(&self) -> &Limits;

    /// What all connections together may take up (`maxmemory-clients`), in bytes; 0: no limit.
    fn max_client_memory_bytes(&self) -> u64;

    /// The longest string that a client may send (`proto-max-bulk-len`).
    fn max_bulk_bytes(&self) -> u32;
}

/// Why settings were not changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingError {
    /// The setting that is at fault, as the client named it.
    pub name: Vec<u8>,
    /// What is wrong with it.
    pub fault: SettingFault,
}

/// What is wrong with a change of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettingFault {
    /// There is no such setting.
    Unknown,
    /// It is fixed when the node starts.
    Immutable,
    /// It cannot have this value; why.
    Invalid(String),
}

impl SettingError {
    /// What the client is told.
    pub fn reply(&self) -> Reply<'static> {
        let why = match &self.fault {
            SettingFault::Unknown => {
                let before = "ERR Unknown option or number of arguments for CONFIG SET - '";
                return Reply::error_about(before, &self.name, "'");
            }
            SettingFault::Immutable => "can't set immutable config",
            SettingFault::Invalid(why) => why,
        };
        let before = "ERR CONFIG SET failed (possibly related to argument '";
        Reply::error_about(before, &self.name, &format!("') - {why}"))
    }
}

/// Who writes the text of `INFO`.
pub trait Information: Send + Sync {
    /// The sections of these names, in one text; without names the usual ones. The two ports for clients announce
    /// themselves differently, so it counts which one the client came in by.
    fn text(&self, sections: &[&[u8]], port: Port) -> String;

    /// Starts again at zero what `CONFIG RESETSTAT` resets.
    fn reset(&self);

    /// The figures of memory.
    fn memory(&self) -> MemoryFigures;

    /// What the allocator says, for people.
    fn allocator_report(&self) -> String;

    /// Gives memory that is free back to the operating system; whether that could be done.
    fn purge(&self) -> bool;
}

/// The figures of memory, in bytes where nothing else is said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryFigures {
    /// The data, as the limit counts it.
    pub used: u64,
    /// The most that it was.
    pub used_peak: u64,
    /// The limit; 0: none.
    pub maxmemory: u64,
    /// Resident memory of the process.
    pub resident: u64,
    /// Allocated, active and resident, as the allocator says.
    pub allocator: Option<[u64; 3]>,
    /// How many keys the node acts for.
    pub keys: u64,
}

/// Who counts what clients do.
pub trait Statistics: Send + Sync {
    /// A batch of requests was executed.
    fn record(&self, tally: &Tally);

    /// Someone connected, and was accepted or turned away.
    fn connection(&self, accepted: bool);

    /// How the times of the command at this place of the table are distributed: how often it was called, and for powers
    /// of two how many calls took at most so many microseconds. None if it was never called.
    fn distribution(&self, command: u16) -> Option<(u64, Vec<(u64, u64)>)>;
}

/// Longer codes of errors are cut.
const MAX_CODE_BYTES: usize = 32;

/// What a batch of requests was.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Calls, at most one entry per command.
    pub calls: Vec<Calls>,
    /// Replies that were errors, by their codes, each code once.
    pub errors: Vec<(Box<str>, u64)>,
    /// How many of the calls of each entry have had their time.
    pub(crate) timed: Vec<u32>,
    /// Bytes that came from the client.
    pub input_bytes: u64,
    /// Bytes that went to the client.
    pub output_bytes: u64,
    /// Reads from sockets.
    pub reads: u64,
    /// Writes to sockets.
    pub writes: u64,
    /// Clients that were disconnected.
    pub ended: Ended,
}

/// Clients that were disconnected because of a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ended {
    /// Their request was too long.
    pub input: u64,
    /// Too much waited for them.
    pub output: u64,
    /// They took up most when all together took up too much.
    pub evicted: u64,
}

/// The calls of one command in a batch.
///
/// In a deep pipeline the clock is read once for a group of commands, which are taken to have had equal parts of its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calls {
    /// The place of the command in the table.
    pub command: u16,
    /// How many calls answered something else than an error.
    pub succeeded: u32,
    /// How many calls answered an error.
    pub failed: u32,
    /// How many calls were refused before they were executed.
    pub rejected: u32,
    /// The time of the calls that were executed, together.
    pub duration_us: u64,
}

impl Tally {
    /// The entry of a command. Batches mostly repeat one command, so the last entry is looked at first.
    pub(crate) fn calls_of(&mut self, command: u16) -> &mut Calls {
        let known = self.calls.iter().rposition(|calls| calls.command == command);
        let at = known.unwrap_or_else(|| {
            self.calls.push(Calls { command, succeeded: 0, failed: 0, rejected: 0, duration_us: 0 });
            self.calls.len() - 1
        });
        &mut self.calls[at]
    }

    /// Counts a reply if it is an error. These are its bytes, or some from its beginning on.
    pub(crate) fn note_error(&mut self, reply: &[u8]) {
        let Some(text) = reply.strip_prefix(b"-") else { return };
        let code = text.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        let code = String::from_utf8_lossy(&code[..code.len().min(MAX_CODE_BYTES)]);
        match self.errors.iter_mut().find(|(known, _)| **known == *code) {
            Some((_, count)) => *count += 1,
            None => self.errors.push((code.into(), 1)),
        }
    }

    /// Divides a time among the calls that have had none yet.
    pub(crate) fn divide(&mut self, elapsed_us: u64) {
        self.timed.resize(self.calls.len(), 0);
        let new = |(calls, timed): (&Calls, &u32)| u64::from(calls.succeeded + calls.failed - timed);
        let total: u64 = self.calls.iter().zip(&self.timed).map(new).sum();
        for (calls, timed) in self.calls.iter_mut().zip(&mut self.timed) {
            calls.duration_us += elapsed_us * new((calls, timed)) / total.max(1);
            *timed = calls.succeeded + calls.failed;
        }
    }

    /// Starts again, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.calls.clear();
        self.timed.clear();
        self.errors.clear();
        (self.input_bytes, self.output_bytes) = (0, 0);
        (self.reads, self.writes, self.ended) = (0, 0, Ended::default());
    }
}

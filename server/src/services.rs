//! What the client side of a node asks of its other parts.
//!
//! Connections and commands know these traits and nothing behind them: not where a setting is kept, how INFO comes
//! by its figures or what becomes of a latency. All of them are called seldom (once per connection, batch of requests
//! or administrative command), so they are trait objects; what is called per request is not here.

use std::{fmt, sync::Arc};

use crate::session::Port;

/// The settings of the node, by the names that `CONFIG` has for them.
pub trait Settings: Send + Sync {
    /// Every setting that `CONFIG GET` shows, with its value now.
    fn all(&self) -> Vec<(&'static str, String)>;

    /// Changes settings, all of them or, if one cannot be changed, none. Names come in any case and at most once.
    fn change(&self, changes: &[(&[u8], &[u8])]) -> Result<(), SettingError>;

    /// The password that clients have to give, if there is one.
    fn password(&self) -> Option<Arc<str>>;

    /// How many clients may be connected.
    fn max_clients(&self) -> usize;

    /// Whether, as long as there is no password, only clients from loopback and private addresses are served.
    fn is_protected(&self) -> bool;

    /// The longest string that a client may send (`proto-max-bulk-len`).
    fn max_bulk_bytes(&self) -> u32;
}

/// Why settings were not changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingError {
    /// The setting that is at fault, as the client named it.
    pub name: String,
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

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        let why = match &self.fault {
            SettingFault::Unknown => {
                return write!(f, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            }
            SettingFault::Immutable => "can't set immutable config",
            SettingFault::Invalid(why) => why,
        };
        write!(f, "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
    }
}

/// Who writes the text of `INFO`.
pub trait Information: Send + Sync {
    /// The sections of these names, in one text; without names the usual ones. The two ports for clients announce
    /// themselves differently, so it counts which one the client came in by.
    fn text(&self, sections: &[&[u8]], port: Port) -> String;
}

/// Who counts what clients do.
pub trait Statistics: Send + Sync {
    /// A batch of requests was executed.
    fn record(&self, tally: &Tally);

    /// Someone connected, and was accepted or turned away.
    fn connection(&self, accepted: bool);
}

/// What a batch of requests was.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Calls, at most one entry per command.
    pub calls: Vec<Calls>,
    /// Bytes that came from the client.
    pub input_bytes: u64,
    /// Bytes that went to the client.
    pub output_bytes: u64,
}

/// The calls of one command in a batch.
///
/// The clock is read once per batch, not once per command: the commands of one batch are taken to have had equal parts
/// of its time. Under a deep pipeline that hides which of them was the slow one, and costs nothing.
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

    /// Divides the time of the batch among its calls.
    pub(crate) fn divide(&mut self, elapsed_us: u64) {
        let executed = |calls: &Calls| u64::from(calls.succeeded) + u64::from(calls.failed);
        let total: u64 = self.calls.iter().map(executed).sum();
        for calls in &mut self.calls {
            calls.duration_us = elapsed_us * executed(calls) / total.max(1);
        }
    }

    /// Starts again, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.calls.clear();
        (self.input_bytes, self.output_bytes) = (0, 0);
    }
}

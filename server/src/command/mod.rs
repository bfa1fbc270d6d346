//! The commands: one table, and one file per family.
//!
//! A command knows requests, replies and the slot that it was lent. It does not know that there is a cluster, a
//! socket or a shard. Whatever decides *where* it runs stands in its row of the table: the key positions and the
//! [`Run`] kind, from which the router does the rest.

mod client;
mod cluster;
mod config;
mod connection;
mod describe;
mod flags;
pub mod key;
mod node;
mod repeatable;
mod server;
pub mod string;
mod table;

use crate::{
    resp::{Reply, Request},
    store::SlotTxn,
};

pub use flags::Flags;
pub use node::{Answer, Context, Later};
pub use table::Table;

pub(crate) use describe::unknown_command;
pub(crate) use repeatable::is_repeatable;

/// Every command of the node, family by family.
pub const FAMILIES: &[&[Command]] =
    &[cluster::COMMANDS, connection::COMMANDS, key::COMMANDS, server::COMMANDS, string::COMMANDS];

/// One row of the table.
pub struct Command {
    /// The name in lower case.
    pub name: &'static str,
    /// The number of arguments, the name included; negative: at least that many.
    pub arity: i8,
    /// What kind of command it is, as `COMMAND INFO` says it.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Keys,
    /// Its ACL categories beside those that follow from the flags, as `COMMAND INFO` says them (`@string`, …).
    pub categories: &'static [&'static str],
    /// How it runs.
    pub run: Run,
}

/// Where the keys of a command are: from `first` to `last` (negative: from the end) in steps; `first` 0: no keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys {
    /// Place of the first key.
    pub first: i8,
    /// Place of the last key.
    pub last: i8,
    /// Distance between keys.
    pub step: i8,
}

impl Keys {
    /// No keys.
    pub const NONE: Keys = Keys { first: 0, last: 0, step: 0 };
    /// One key, right behind the name.
    pub const ONE: Keys = Keys { first: 1, last: 1, step: 1 };
    /// Every argument is a key.
    pub const ALL: Keys = Keys { first: 1, last: -1, step: 1 };
    /// Keys and values in turn.
    pub const PAIRS: Keys = Keys { first: 1, last: -1, step: 2 };
}

/// A command on the keys of one slot, under the lock of its shard.
pub type OnSlot = for<'t> fn(&'t mut SlotTxn<'_>, &Request<'_>) -> Reply<'t>;

/// How a command runs.
#[derive(Clone, Copy)]
pub enum Run {
    /// All keys are in one slot; runs where the slot acts.
    Slot(OnSlot),
    /// Keys may be in many slots: one sub-request per slot with the keys of that slot (and their values) in the
    /// order given, put together again. With all keys in one slot it is atomic.
    Split(OnSlot, Gather),
    /// Runs once on every slot of the keyspace, with the whole request.
    EverySlot(OnSlot, Gather),
    /// `SCAN`: runs on one slot after the other until enough was looked at. On a slot it gets the position within the
    /// slot as its cursor, and answers the position to go on from (0: the slot is done) and an array.
    Scan(OnSlot),
    /// Runs on one slot after the other, from a random one on, until a reply is not null.
    AnySlot(OnSlot),
    /// About this connection, this node or the cluster; listed by name in the family that answers it.
    Node(NodeCommand),
}

/// How the replies of the parts of a command become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gather {
    /// Integers are added up.
    Sum,
    /// Arrays, one element per key, go back to the places of their keys.
    ByKey,
    /// Arrays are put one behind the other.
    Concat,
    /// `+OK` if every part says so.
    AllOk,
}

/// Commands that are not about one slot's keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of the commands")]
pub enum NodeCommand {
    Asking,
    Auth,
    Client,
    Cluster,
    Command,
    Config,
    Echo,
    Hello,
    Info,
    Ping,
    Quit,
    ReadOnly,
    ReadWrite,
    Reset,
    Select,
    Time,
    Wait,
}

impl Command {
    /// Whether a request may have so many arguments, the name included.
    #[inline]
    pub fn accepts(&self, arguments: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { arguments >= wanted } else { arguments == wanted }
    }

    /// The error of a request that has too many or too few arguments.
    pub fn wrong_arity(&self) -> Reply<'static> {
        wrong_arity(self.name)
    }
}

/// The error of a request that has too many or too few arguments; a subcommand is named `command|subcommand`.
pub(crate) fn wrong_arity(name: &str) -> Reply<'static> {
    Reply::Error(format!("ERR wrong number of arguments for '{name}' command").into())
}

pub(crate) const SYNTAX_ERROR: Reply<'static> = Reply::error("ERR syntax error");
pub(crate) const NOT_AN_INTEGER: Reply<'static> = Reply::error("ERR value is not an integer or out of range");

impl Keys {
    /// The places of the keys in a request of so many arguments.
    #[inline]
    pub fn places(self, arguments: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let last = match self.last {
            last @ 0.. => last as usize + 1,
            last => (arguments + 1).saturating_sub(usize::from(last.unsigned_abs())),
        };
        let end = if self.first <= 0 { 0 } else { last.min(arguments) };
        (self.first.max(0) as usize..end).step_by(self.step.max(1) as usize)
    }
}

#[cfg(test)]
mod tests;

//! The commands: one table, and one file per family.
//!
//! A command knows requests, replies and the slot that it was lent. It does not know that there is a cluster, a
//! socket or a shard. Whatever decides *where* it runs stands in its row of the table: the key positions and the
//! [`Run`] kind, from which the router does the rest.

mod allocation;
mod client;
mod cluster;
mod config;
mod connection;
mod debug;
mod describe;
mod docs;
mod flags;
pub mod key;
mod keys;
mod latency;
mod lolwut;
mod memory;
mod node;
mod repeatable;
mod server;
mod slowlog;
pub mod string;
mod table;
mod wait;

use crate::{
    resp::{Reply, Request},
    store::SlotTxn,
};

pub use flags::Flags;
pub use keys::{Keys, Places};
pub use node::{Answer, Blocked, Context, Later};
pub use table::Table;

pub(crate) use describe::{unknown_command, unknown_subcommand};
pub(crate) use repeatable::is_repeatable;

/// Every command of the node, family by family.
pub const FAMILIES: &[&[Command]] =
    &[cluster::COMMANDS, connection::COMMANDS, key::COMMANDS, server::COMMANDS, string::COMMANDS, wait::COMMANDS];

/// One row of the table.
pub struct Command {
    /// The name in lower case; of a subcommand `command|subcommand`.
    pub name: &'static str,
    /// The number of arguments, the name included; negative: at least that many. A subcommand's name counts too.
    pub arity: i8,
    /// What kind of command it is, as `COMMAND INFO` says it.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Keys,
    /// How it runs, if it was not a subcommand that was meant.
    pub run: Run,
    /// Its subcommands, by which the second argument names one.
    pub subcommands: &'static [Command],
}

/// A command on the keys of one slot, under the lock of its shard.
pub type OnSlot = for<'t> fn(&'t mut SlotTxn<'_>, &Request<'_>) -> Reply<'t>;

/// What a request that takes a value from one key to another asks for, where there are so many databases.
pub type Transfers = fn(&Request<'_>, usize) -> Result<key::Transfer, Reply<'static>>;

/// What a request says of the values of its two keys.
pub type Compares = fn(&Request<'_>, &[u8], &[u8]) -> Reply<'static>;

/// How a command runs.
#[derive(Clone, Copy)]
pub enum Run {
    /// All keys are in one slot; runs where the slot acts.
    Slot(OnSlot),
    /// Keys may be in many slots: one sub-request per slot with the keys of that slot (and their values) in the
    /// order given, put together again. With all keys in one slot it is atomic.
    Split(OnSlot, Gather),
    /// [`Run::Split`] for a request of which the last says that it may be; any other has its keys in one slot.
    SplitIf(OnSlot, Gather, fn(&Request<'_>) -> bool),
    /// The value of the first key goes to the second one. With both in one slot it is atomic; otherwise the router
    /// carries out what the second says, for so many databases, or answers its error.
    Transfer(OnSlot, Transfers),
    /// It only looks at the values of two keys. If they are in two slots, the router fetches both and hands them to the
    /// second; an absent one is empty.
    Compare(OnSlot, Compares),
    /// Runs once on every slot of the keyspace, with the whole request.
    EverySlot(OnSlot, Gather),
    /// `SCAN`: runs on one slot after the other until enough was looked at. On a slot it gets the position within the
    /// slot as its cursor, and answers the position to go on from (0: the slot is done) and an array.
    Scan(OnSlot),
    /// Runs on one slot after the other, from a random one on, until a reply is not null.
    AnySlot(OnSlot),
    /// About this connection, this node or the cluster.
    Node(OnNode),
    /// Only its subcommands run.
    Container,
}

/// A command about this connection, this node or the cluster. Its arity was checked.
pub type OnNode = for<'a> fn(&mut Context<'_>, &Request<'a>) -> Answer<'a>;

impl Run {
    /// What runs on the slot of its keys; none for a command that is about other slots than those of keys, or about
    /// none.
    #[inline]
    pub fn on_slot(self) -> Option<OnSlot> {
        match self {
            Run::Slot(run)
            | Run::Split(run, _)
            | Run::SplitIf(run, ..)
            | Run::Transfer(run, _)
            | Run::Compare(run, _) => Some(run),
            _ => None,
        }
    }
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
    /// 1 if no part fails.
    One,
}

impl Command {
    /// A command without subcommands.
    pub const fn new(name: &'static str, arity: i8, flags: Flags, keys: Keys, run: Run) -> Command {
        Command { name, arity, flags, keys, run, subcommands: &[] }
    }

    /// A command that only has subcommands.
    pub const fn container(name: &'static str, flags: Flags, subcommands: &'static [Command]) -> Command {
        Command { name, arity: -2, flags, keys: Keys::NONE, run: Run::Container, subcommands }
    }

    /// The name that a subcommand has within its command; of any other command its name.
    pub fn subcommand_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, name)| name)
    }

    /// Its flags, with what follows from where its keys are.
    pub(crate) fn all_flags(&self) -> Flags {
        if self.keys.move_about() { self.flags.and(Flags::MOVABLE_KEYS) } else { self.flags }
    }

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
/// Redis would end here.
pub(crate) const CANNOT_ALLOCATE: Reply<'static> = Reply::error("OOM cannot allocate memory for this command");
pub(crate) const NO_SUCH_DATABASE: Reply<'static> = Reply::error("ERR DB index is out of range");
pub(crate) const OUT_OF_INT_RANGE: Reply<'static> =
    Reply::error("ERR value is out of range, value must between -2147483648 and 2147483647");
pub(crate) const WRONG_TYPE: Reply<'static> =
    Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value");

#[cfg(test)]
mod tests;

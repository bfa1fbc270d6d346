//! Keys, whatever their values: removal, deadlines, what becomes of a value under another name, and what is asked of all
//! keys together.
//!
//! `DBSIZE`, `KEYS`, `FLUSHALL` and `SWAPDB` run on every slot. `SCAN` and `RANDOMKEY` run on one slot that the router
//! chooses: their rows have no keys.

mod all;
mod deadline;
mod object;
mod payload;
mod sort;
mod transfer;

pub use all::ScanOptions;
pub use transfer::Transfer;
pub(crate) use transfer::{FETCH, Fetched, LINK_COMMANDS, NO_SUCH_KEY, REMOVE, STORE, TAKE, encode_version};

use super::{Command, Flags, Gather, Keys, Run};
use crate::{
    resp::{Reply, Request},
    store::SlotTxn,
};

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const CHANGE: Flags = Flags::WRITE.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command::new("del", -2, Flags::WRITE, Keys::ALL, Run::Split(del, Gather::Sum)),
    Command::new("unlink", -2, CHANGE, Keys::ALL, Run::Split(del, Gather::Sum)),
    Command::new("exists", -2, READ, Keys::ALL, Run::Split(exists, Gather::Sum)),
    Command::new("touch", -2, READ, Keys::ALL, Run::Split(touch, Gather::Sum)),
    Command::new("type", 2, READ, Keys::ONE, Run::Slot(kind)),
    Command::new("expire", -3, CHANGE, Keys::ONE, Run::Slot(deadline::expire)),
    Command::new("pexpire", -3, CHANGE, Keys::ONE, Run::Slot(deadline::pexpire)),
    Command::new("expireat", -3, CHANGE, Keys::ONE, Run::Slot(deadline::expireat)),
    Command::new("pexpireat", -3, CHANGE, Keys::ONE, Run::Slot(deadline::pexpireat)),
    Command::new("ttl", 2, READ, Keys::ONE, Run::Slot(deadline::ttl)),
    Command::new("pttl", 2, READ, Keys::ONE, Run::Slot(deadline::pttl)),
    Command::new("expiretime", 2, READ, Keys::ONE, Run::Slot(deadline::expiretime)),
    Command::new("pexpiretime", 2, READ, Keys::ONE, Run::Slot(deadline::pexpiretime)),
    Command::new("persist", 2, CHANGE, Keys::ONE, Run::Slot(deadline::persist)),
    Command::new("rename", 3, Flags::WRITE, Keys::TWO, Run::Transfer(transfer::rename, transfer::of_rename)),
    // Its condition could not be kept across slots.
    Command::new("renamenx", 3, CHANGE, Keys::TWO, Run::Slot(transfer::renamenx)),
    Command::new("copy", -3, GROW, Keys::TWO, Run::Transfer(transfer::copy, transfer::of_copy)),
    Command::new("move", 3, CHANGE, Keys::ONE, Run::Slot(transfer::move_)),
    Command::new("dump", 2, Flags::READONLY, Keys::ONE, Run::Slot(payload::dump)),
    Command::new("restore", -4, GROW, Keys::ONE, Run::Slot(payload::restore)),
    Command::new("sort", -2, GROW.and(Flags::MOVABLE_KEYS), Keys::Sorted, Run::Slot(sort::sort)),
    Command::new("sort_ro", -2, Flags::READONLY.and(Flags::MOVABLE_KEYS), Keys::ONE, Run::Slot(sort::sort_ro)),
    Command::container("object", Flags::NONE, object::SUBCOMMANDS),
    Command::new("dbsize", 1, READ, Keys::NONE, Run::EverySlot(all::dbsize, Gather::Sum)),
    Command::new("keys", 2, Flags::READONLY, Keys::NONE, Run::EverySlot(all::keys, Gather::Concat)),
    Command::new("flushall", -1, Flags::WRITE, Keys::NONE, Run::EverySlot(all::flushall, Gather::AllOk)),
    Command::new("flushdb", -1, Flags::WRITE, Keys::NONE, Run::EverySlot(all::flushdb, Gather::AllOk)),
    Command::new("swapdb", 3, CHANGE, Keys::NONE, Run::EverySlot(all::swapdb, Gather::AllOk)),
    Command::new("scan", -2, Flags::READONLY, Keys::NONE, Run::Scan(all::scan)),
    Command::new("randomkey", 1, Flags::READONLY, Keys::NONE, Run::AnySlot(all::randomkey)),
];

fn del<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    Reply::Integer(request.args_from(1).filter(|key| txn.remove(key)).count() as i64)
}

fn exists<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    Reply::Integer(request.args_from(1).filter(|key| txn.sees(key)).count() as i64)
}

fn touch<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    Reply::Integer(request.args_from(1).filter(|key| txn.touch(key)).count() as i64)
}

fn kind<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    txn.sees(request.arg(1));
    Reply::Simple(txn.peek(request.arg(1)).map_or("none", |value| value.kind().name()))
}

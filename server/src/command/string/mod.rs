//! Strings.

mod lcs;
mod many;
mod number;
mod options;
mod range;

use self::options::{Family, Options, TimeUnit, deadline};
use super::{Command, Flags, Gather, Keys, Run};
use crate::{
    resp::{Reply, Request},
    store::SlotTxn,
    types::Value,
};

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const CHANGE: Flags = Flags::WRITE.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);
const GROW_FAST: Flags = GROW.and(Flags::FAST);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command::new("get", 2, READ, Keys::ONE, Run::Slot(get)),
    Command::new("set", -3, GROW.and(Flags::BRIEF), Keys::ONE, Run::Slot(set)),
    Command::new("getset", 3, GROW_FAST, Keys::ONE, Run::Slot(getset)),
    Command::new("setnx", 3, GROW_FAST, Keys::ONE, Run::Slot(setnx)),
    Command::new("setex", 4, GROW, Keys::ONE, Run::Slot(setex)),
    Command::new("psetex", 4, GROW, Keys::ONE, Run::Slot(psetex)),
    Command::new("getdel", 2, CHANGE, Keys::ONE, Run::Slot(getdel)),
    Command::new("delifeq", 3, CHANGE, Keys::ONE, Run::Slot(delifeq)),
    Command::new("getex", -2, CHANGE, Keys::ONE, Run::Slot(getex)),
    Command::new("strlen", 2, READ, Keys::ONE, Run::Slot(strlen)),
    Command::new("mget", -2, READ, Keys::ALL, Run::Split(many::mget, Gather::ByKey)),
    Command::new("mset", -3, GROW, Keys::PAIRS, Run::Split(many::mset, Gather::AllOk)),
    // Its condition holds for all keys or for none, so they are in one slot.
    Command::new("msetnx", -3, GROW, Keys::PAIRS, Run::Slot(many::msetnx)),
    Command::new(
        "msetex",
        -4,
        GROW.and(Flags::MOVABLE_KEYS),
        Keys::Counted { step: 2, check: many::check_msetex },
        Run::SplitIf(many::msetex, Gather::One, many::msetex_divides),
    ),
    Command::new("append", 3, GROW_FAST, Keys::ONE, Run::Slot(range::append)),
    Command::new("setrange", 4, GROW, Keys::ONE, Run::Slot(range::setrange)),
    Command::new("getrange", 4, Flags::READONLY, Keys::ONE, Run::Slot(range::getrange)),
    Command::new("substr", 4, Flags::READONLY, Keys::ONE, Run::Slot(range::getrange)),
    Command::new("lcs", -3, Flags::READONLY, Keys::TWO, Run::Compare(lcs::lcs, lcs::compare)),
    Command::new("incr", 2, GROW_FAST, Keys::ONE, Run::Slot(number::incr)),
    Command::new("decr", 2, GROW_FAST, Keys::ONE, Run::Slot(number::decr)),
    Command::new("incrby", 3, GROW_FAST, Keys::ONE, Run::Slot(number::incrby)),
    Command::new("decrby", 3, GROW_FAST, Keys::ONE, Run::Slot(number::decrby)),
    Command::new("incrbyfloat", 3, GROW_FAST, Keys::ONE, Run::Slot(number::incrbyfloat)),
];

const TOO_LONG: Reply<'static> = Reply::error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

fn get<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    txn.value(request.arg(1)).map_or(Reply::Null, shown)
}

fn set<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (key, value) = (request.arg(1), request.arg(2));
    let options = match Options::parse(request, 3, Family::Set) {
        Ok(options) => options,
        Err(error) => return error,
    };
    let deadline = match options.deadline(txn.now(), "set") {
        Ok(deadline) => deadline,
        Err(error) => return error,
    };
    let old = if options.get { Some(old(txn, key)) } else { None };
    if !options.allow(txn, key) {
        return old.unwrap_or(Reply::Null);
    }
    let kept_deadline = if options.keep { txn.deadline(key) } else { None };
    txn.put(key, value, deadline.or(kept_deadline).unwrap_or(0));
    old.unwrap_or(Reply::OK)
}

fn getset<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let old = old(txn, request.arg(1));
    txn.put(request.arg(1), request.arg(2), 0);
    old
}

fn setnx<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let is_absent = !txn.finds(request.arg(1));
    if is_absent {
        txn.put(request.arg(1), request.arg(2), 0);
    }
    Reply::Integer(i64::from(is_absent))
}

fn setex<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    set_for(txn, request, TimeUnit::Ex, "setex")
}

fn psetex<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    set_for(txn, request, TimeUnit::Px, "psetex")
}

fn set_for<'t>(txn: &mut SlotTxn<'_>, request: &Request<'_>, unit: TimeUnit, command: &str) -> Reply<'t> {
    match deadline(unit, request.arg(2), txn.now(), command) {
        Ok(deadline) => {
            txn.put(request.arg(1), request.arg(3), deadline);
            Reply::OK
        }
        Err(error) => error,
    }
}

fn getdel<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let old = old(txn, request.arg(1));
    txn.remove(request.arg(1));
    old
}

fn delifeq<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (key, wanted) = (request.arg(1), request.arg(2));
    let is_equal = txn.finds(key) && txn.peek(key).is_some_and(|value| value.as_slice() == wanted);
    Reply::Integer(i64::from(is_equal && txn.remove(key)))
}

fn getex<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(1);
    let options = match Options::parse(request, 2, Family::GetEx) {
        Ok(options) => options,
        Err(error) => return error,
    };
    let deadline = match options.deadline(txn.now(), "getex") {
        Ok(deadline) => deadline,
        Err(error) => return error,
    };
    if deadline.is_none() && !options.persist {
        return get(txn, request);
    }
    let old = old(txn, key);
    match deadline {
        Some(deadline) => drop(txn.set_deadline(key, deadline)),
        None if txn.deadline(key).is_some_and(|deadline| deadline != 0) => drop(txn.set_deadline(key, 0)),
        None => {}
    }
    old
}

fn strlen<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    Reply::Integer(txn.value(request.arg(1)).map_or(0, Value::len) as i64)
}

/// A value in a reply that still borrows the slot. A large one goes by reference.
fn shown(value: Value<'_>) -> Reply<'_> {
    match value {
        Value::Small(bytes) => Reply::Bulk(bytes),
        Value::Large(bytes) => Reply::Shared(bytes.clone()),
    }
}

/// The value of a key, in a reply that outlives it.
fn old(txn: &mut SlotTxn<'_>, key: &[u8]) -> Reply<'static> {
    match txn.value(key) {
        Some(Value::Small(bytes)) => Reply::Blob(bytes.to_vec()),
        Some(Value::Large(bytes)) => Reply::Shared(bytes.clone()),
        None => Reply::Null,
    }
}

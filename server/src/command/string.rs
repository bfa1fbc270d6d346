//! Strings.

use std::borrow::Cow;

use super::{Command, Flags, Gather, Keys, Run};
use crate::{
    resp::{Reply, Request},
    store::SlotTxn,
    types::{Extended, IntegerText, MAX_STRING_BYTES, Parsed, Value, parse_integer},
};

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);
const STRING: &[&str] = &["@string"];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    row("get", 2, READ, Keys::ONE, Run::Slot(get)),
    row("set", -3, GROW, Keys::ONE, Run::Slot(set)),
    row("getdel", 2, Flags::WRITE.and(Flags::FAST), Keys::ONE, Run::Slot(getdel)),
    row("getex", -2, Flags::WRITE.and(Flags::FAST), Keys::ONE, Run::Slot(getex)),
    row("mget", -2, READ, Keys::ALL, Run::Split(mget, Gather::ByKey)),
    row("mset", -3, GROW, Keys::PAIRS, Run::Split(mset, Gather::AllOk)),
    row("append", 3, GROW.and(Flags::FAST), Keys::ONE, Run::Slot(append)),
    row("strlen", 2, READ, Keys::ONE, Run::Slot(strlen)),
    row("incr", 2, GROW.and(Flags::FAST), Keys::ONE, Run::Slot(incr)),
    row("decr", 2, GROW.and(Flags::FAST), Keys::ONE, Run::Slot(decr)),
    row("incrby", 3, GROW.and(Flags::FAST), Keys::ONE, Run::Slot(incrby)),
    row("decrby", 3, GROW.and(Flags::FAST), Keys::ONE, Run::Slot(decrby)),
    row("incrbyfloat", 3, GROW.and(Flags::FAST), Keys::ONE, Run::Slot(incrbyfloat)),
];

const fn row(name: &'static str, arity: i8, flags: Flags, keys: Keys, run: Run) -> Command {
    Command { name, arity, flags, keys, categories: STRING, run }
}

const SYNTAX: Reply<'static> = Reply::error("ERR syntax error");
const NOT_AN_INTEGER: Reply<'static> = Reply::error("ERR value is not an integer or out of range");
const NOT_A_FLOAT: Reply<'static> = Reply::error("ERR value is not a valid float");
const OVERFLOW: Reply<'static> = Reply::error("ERR increment or decrement would overflow");
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
    let old = if options.get { Some(txn.value(key).map_or(Reply::Null, kept)) } else { None };
    let refused = options.only_if.is_some_and(|exists| txn.contains(key) != exists);
    if refused {
        return old.unwrap_or(Reply::Null);
    }
    let kept_deadline = if options.keep { txn.deadline(key) } else { None };
    txn.put(key, value, deadline.or(kept_deadline).unwrap_or(0));
    old.unwrap_or(Reply::OK)
}

fn getdel<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let old = txn.value(request.arg(1)).map_or(Reply::Null, kept);
    txn.remove(request.arg(1));
    old
}

fn getex<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(1);
    let options = match Options::parse(request, 2, Family::GetEx) {
        Ok(options) => options,
        Err(error) => return error,
    };
    if options.time.is_none() && !options.persist {
        return get(txn, request);
    }
    let Some(value) = txn.value(key).map(kept) else { return Reply::Null };
    match options.deadline(txn.now(), "getex") {
        Ok(Some(deadline)) => {
            txn.set_deadline(key, deadline);
        }
        Ok(None) if txn.deadline(key).is_some_and(|deadline| deadline != 0) => {
            txn.set_deadline(key, 0);
        }
        Ok(None) => {}
        Err(error) => return error,
    }
    value
}

fn mget<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    for key in request.args_from(1) {
        txn.value(key);
    }
    let txn: &'t SlotTxn<'_> = txn;
    Reply::Array(request.args_from(1).map(|key| txn.peek(key).map_or(Reply::Null, shown)).collect())
}

fn mset<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    if request.len().is_multiple_of(2) {
        return Reply::error("ERR wrong number of arguments for 'mset' command");
    }
    for at in (1..request.len()).step_by(2) {
        txn.put(request.arg(at), request.arg(at + 1), 0);
    }
    Reply::OK
}

fn append<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (key, tail) = (request.arg(1), request.arg(2));
    let Some((old, deadline)) = txn.value_and_deadline(key) else {
        txn.put(key, tail, 0);
        return Reply::Integer(tail.len() as i64);
    };
    let old = old.as_slice();
    if old.len() + tail.len() > MAX_STRING_BYTES {
        return TOO_LONG;
    }
    let value = [old, tail].concat();
    let len = value.len();
    txn.put_owned(key, value, deadline);
    Reply::Integer(len as i64)
}

fn strlen<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    Reply::Integer(txn.value(request.arg(1)).map_or(0, Value::len) as i64)
}

fn incr<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    add(txn, request.arg(1), 1)
}

fn decr<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    add(txn, request.arg(1), -1)
}

fn incrby<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    match parse_integer(request.arg(2)) {
        Some(summand) => add(txn, request.arg(1), summand),
        None => NOT_AN_INTEGER,
    }
}

fn decrby<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    match parse_integer(request.arg(2)) {
        Some(i64::MIN) => Reply::error("ERR decrement would overflow"),
        Some(summand) => add(txn, request.arg(1), -summand),
        None => NOT_AN_INTEGER,
    }
}

fn add<'t>(txn: &'t mut SlotTxn<'_>, key: &[u8], summand: i64) -> Reply<'t> {
    let (old, deadline) = match txn.value_and_deadline(key) {
        Some((value, deadline)) => (parse_integer(value.as_slice()), deadline),
        None => (Some(0), 0),
    };
    let Some(old) = old else { return NOT_AN_INTEGER };
    let Some(sum) = old.checked_add(summand) else { return OVERFLOW };
    txn.put(key, IntegerText::new(sum).as_bytes(), deadline);
    Reply::Integer(sum)
}

fn incrbyfloat<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(1);
    let (old, deadline) = txn.value_and_deadline(key).map_or((&b"0"[..], 0), |(old, ends)| (old.as_slice(), ends));
    let sum = match (Extended::parse(old), Extended::parse(request.arg(2))) {
        (Some(Parsed::Finite(old)), Some(Parsed::Finite(summand))) => old.checked_add(summand),
        (Some(_), Some(_)) => None,
        _ => return NOT_A_FLOAT,
    };
    let Some(sum) = sum else { return Reply::error("ERR increment would produce NaN or Infinity") };
    let text = sum.text();
    txn.put(key, text.as_bytes(), deadline);
    Reply::Text(Cow::Owned(text))
}

/// A value in a reply that still borrows the slot. A large one goes by reference.
fn shown(value: Value<'_>) -> Reply<'_> {
    match value {
        Value::Small(bytes) => Reply::Bulk(bytes),
        Value::Large(bytes) => Reply::Shared(bytes.clone()),
    }
}

/// A value in a reply that outlives it.
fn kept(value: Value<'_>) -> Reply<'static> {
    match value {
        Value::Small(bytes) => Reply::Blob(bytes.to_vec()),
        Value::Large(bytes) => Reply::Shared(bytes.clone()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Set,
    GetEx,
}

/// The options of `SET` and `GETEX`.
#[derive(Default)]
struct Options<'a> {
    /// `NX` (the key has to be absent) or `XX` (it has to exist).
    only_if: Option<bool>,
    get: bool,
    keep: bool,
    persist: bool,
    time: Option<(TimeUnit, &'a [u8])>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TimeUnit {
    Ex,
    Px,
    ExAt,
    PxAt,
}

impl<'a> Options<'a> {
    fn parse(request: &Request<'a>, first: usize, family: Family) -> Result<Options<'a>, Reply<'static>> {
        let mut options = Options::default();
        let mut args = request.args_from(first);
        while let Some(arg) = args.next() {
            if !options.take_word(arg, family) && !options.take_time(arg, &mut args) {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }

    /// An option of one word; false if it is none, or none that goes with the others.
    fn take_word(&mut self, arg: &[u8], family: Family) -> bool {
        let is = |word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        let set = family == Family::Set;
        if set && is("NX") && self.only_if != Some(true) {
            self.only_if = Some(false);
        } else if set && is("XX") && self.only_if != Some(false) {
            self.only_if = Some(true);
        } else if set && is("GET") {
            self.get = true;
        } else if set && is("KEEPTTL") && self.time.is_none() {
            self.keep = true;
        } else if !set && is("PERSIST") && self.time.is_none() {
            self.persist = true;
        } else {
            return false;
        }
        true
    }

    /// A unit and the number behind it.
    fn take_time(&mut self, arg: &[u8], rest: &mut impl Iterator<Item = &'a [u8]>) -> bool {
        use TimeUnit::{Ex, ExAt, Px, PxAt};
        let units = [("EX", Ex), ("PX", Px), ("EXAT", ExAt), ("PXAT", PxAt)];
        let Some((_, unit)) = units.into_iter().find(|(word, _)| arg.eq_ignore_ascii_case(word.as_bytes())) else {
            return false;
        };
        // The same unit twice is allowed, and the later number holds.
        let clash = self.keep || self.persist || self.time.is_some_and(|(other, _)| other != unit);
        match rest.next() {
            Some(number) if !clash => self.time = Some((unit, number)),
            _ => return false,
        }
        true
    }

    /// The deadline that is asked for.
    fn deadline(&self, now: u64, command: &str) -> Result<Option<u64>, Reply<'static>> {
        let Some((unit, number)) = self.time else { return Ok(None) };
        let number = parse_integer(number).ok_or(NOT_AN_INTEGER)?;
        let factor = if matches!(unit, TimeUnit::Ex | TimeUnit::ExAt) { 1000 } else { 1 };
        let base = if matches!(unit, TimeUnit::Ex | TimeUnit::Px) { now as i64 } else { 0 };
        let deadline = number.checked_mul(factor).and_then(|time| time.checked_add(base)).filter(|_| number > 0);
        match deadline {
            Some(deadline) => Ok(Some(deadline as u64)),
            None => Err(Reply::Error(Cow::Owned(format!("ERR invalid expire time in '{command}' command")))),
        }
    }
}

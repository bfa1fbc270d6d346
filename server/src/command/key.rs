//! Keys, whatever their values: removal, deadlines, and what is asked of all keys together.
//!
//! `DBSIZE`, `KEYS` and `FLUSHALL` run on every slot. `SCAN` and `RANDOMKEY` run on one slot that the router chooses:
//! their rows have no keys. The router reads the slot from a `SCAN` cursor, puts the rest, the position within the
//! slot, in its place, and makes a cursor again of the position that comes back (0: the slot is done).

use std::borrow::Cow;

use super::{Command, Flags, Gather, Keys, Run};
use crate::{
    resp::{Reply, Request},
    store::SlotTxn,
    types::{Glob, TooComplex, Value, parse_integer},
};

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const CHANGE: Flags = Flags::WRITE.and(Flags::FAST);
const KEYSPACE: &[&str] = &["@keyspace"];
const DANGEROUS: &[&str] = &["@keyspace", "@dangerous"];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    row("del", -2, Flags::WRITE, Keys::ALL, KEYSPACE, Run::Split(del, Gather::Sum)),
    row("unlink", -2, CHANGE, Keys::ALL, KEYSPACE, Run::Split(del, Gather::Sum)),
    row("exists", -2, READ, Keys::ALL, KEYSPACE, Run::Split(exists, Gather::Sum)),
    row("type", 2, READ, Keys::ONE, KEYSPACE, Run::Slot(kind)),
    row("expire", -3, CHANGE, Keys::ONE, KEYSPACE, Run::Slot(expire)),
    row("pexpire", -3, CHANGE, Keys::ONE, KEYSPACE, Run::Slot(pexpire)),
    row("expireat", -3, CHANGE, Keys::ONE, KEYSPACE, Run::Slot(expireat)),
    row("pexpireat", -3, CHANGE, Keys::ONE, KEYSPACE, Run::Slot(pexpireat)),
    row("ttl", 2, READ, Keys::ONE, KEYSPACE, Run::Slot(ttl)),
    row("pttl", 2, READ, Keys::ONE, KEYSPACE, Run::Slot(pttl)),
    row("persist", 2, CHANGE, Keys::ONE, KEYSPACE, Run::Slot(persist)),
    row("dbsize", 1, READ, Keys::NONE, KEYSPACE, Run::EverySlot(dbsize, Gather::Sum)),
    row("keys", 2, Flags::READONLY, Keys::NONE, DANGEROUS, Run::EverySlot(keys, Gather::Concat)),
    row("flushall", -1, Flags::WRITE, Keys::NONE, DANGEROUS, Run::EverySlot(flush, Gather::AllOk)),
    row("flushdb", -1, Flags::WRITE, Keys::NONE, DANGEROUS, Run::EverySlot(flush, Gather::AllOk)),
    row("scan", -2, Flags::READONLY, Keys::NONE, KEYSPACE, Run::Scan(scan)),
    row("randomkey", 1, Flags::READONLY, Keys::NONE, KEYSPACE, Run::AnySlot(randomkey)),
];

const fn row(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    categories: &'static [&'static str],
    run: Run,
) -> Command {
    Command { name, arity, flags, keys, categories, run }
}

const SYNTAX: Reply<'static> = Reply::error("ERR syntax error");
const NOT_AN_INTEGER: Reply<'static> = Reply::error("ERR value is not an integer or out of range");
const TOO_COMPLEX: Reply<'static> = Reply::error("ERR pattern takes too long to match");

fn del<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    Reply::Integer(request.args_from(1).filter(|key| txn.remove(key)).count() as i64)
}

fn exists<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    Reply::Integer(request.args_from(1).filter(|key| txn.contains(key)).count() as i64)
}

fn kind<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    Reply::Simple(txn.peek(request.arg(1)).map_or("none", |value| value.kind().name()))
}

// --- deadlines ---

fn expire<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let now = txn.now();
    change_deadline(txn, request, "expire", now, 1000)
}

fn pexpire<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let now = txn.now();
    change_deadline(txn, request, "pexpire", now, 1)
}

fn expireat<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    change_deadline(txn, request, "expireat", 0, 1000)
}

fn pexpireat<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    change_deadline(txn, request, "pexpireat", 0, 1)
}

fn change_deadline<'t>(
    txn: &'t mut SlotTxn<'_>,
    request: &Request<'_>,
    command: &str,
    base: u64,
    factor: i64,
) -> Reply<'t> {
    let key = request.arg(1);
    let condition = match Condition::parse(request) {
        Ok(condition) => condition,
        Err(error) => return error,
    };
    let Some(number) = parse_integer(request.arg(2)) else { return NOT_AN_INTEGER };
    let Some(deadline) = number.checked_mul(factor).and_then(|time| time.checked_add(base as i64)) else {
        return Reply::Error(Cow::Owned(format!("ERR invalid expire time in '{command}' command")));
    };
    // A time before 1970 is as past as any.
    let deadline = deadline.max(1) as u64;
    match txn.deadline(key) {
        Some(current) if condition.allows(current, deadline) => {
            txn.set_deadline(key, deadline);
            Reply::Integer(1)
        }
        _ => Reply::Integer(0),
    }
}

/// `NX`, `XX`, `GT` and `LT`: when a deadline may be changed.
#[derive(Default)]
struct Condition {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Condition {
    fn parse(request: &Request<'_>) -> Result<Condition, Reply<'static>> {
        let mut condition = Condition::default();
        for arg in request.args_from(3) {
            match &*arg.to_ascii_uppercase() {
                b"NX" => condition.absent = true,
                b"XX" => condition.present = true,
                b"GT" => condition.greater = true,
                b"LT" => condition.less = true,
                _ => {
                    let text = format!("ERR Unsupported option {}", String::from_utf8_lossy(arg));
                    return Err(Reply::Error(Cow::Owned(text)));
                }
            }
        }
        if condition.absent && (condition.present || condition.greater || condition.less) {
            return Err(Reply::error("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if condition.greater && condition.less {
            return Err(Reply::error("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    /// Whether a deadline, 0 for none, which is later than all, may be changed to another.
    fn allows(&self, current: u64, deadline: u64) -> bool {
        let refused = self.absent && current != 0
            || self.present && current == 0
            || self.greater && (current == 0 || deadline <= current)
            || self.less && current != 0 && deadline >= current;
        !refused
    }
}

fn ttl<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    time_left(txn, request.arg(1), |left_ms| (left_ms + 500) / 1000)
}

fn pttl<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    time_left(txn, request.arg(1), |left_ms| left_ms)
}

fn time_left<'t>(txn: &SlotTxn<'_>, key: &[u8], shown: impl Fn(u64) -> u64) -> Reply<'t> {
    Reply::Integer(match txn.deadline(key) {
        None => -2,
        Some(0) => -1,
        Some(deadline) => shown(deadline.saturating_sub(txn.now())) as i64,
    })
}

fn persist<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(1);
    let had_deadline = txn.deadline(key).is_some_and(|deadline| deadline != 0);
    Reply::Integer(i64::from(had_deadline && txn.set_deadline(key, 0)))
}

// --- all keys ---

fn dbsize<'t>(txn: &'t mut SlotTxn<'_>, _: &Request<'_>) -> Reply<'t> {
    Reply::Integer(txn.len() as i64)
}

fn keys<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let pattern = Glob::new(request.arg(1));
    let mut found = Vec::new();
    for key in txn.keys() {
        match pattern.matches_all().then_some(true).map_or_else(|| pattern.matches(key), Ok) {
            Ok(true) => found.push(Reply::Bulk(key)),
            Ok(false) => {}
            Err(TooComplex) => return TOO_COMPLEX,
        }
    }
    Reply::Array(found)
}

fn flush<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let known = |arg: &[u8]| arg.eq_ignore_ascii_case(b"ASYNC") || arg.eq_ignore_ascii_case(b"SYNC");
    if request.len() > 2 || !request.args_from(1).all(known) {
        return SYNTAX;
    }
    txn.clear();
    Reply::OK
}

fn randomkey<'t>(txn: &'t mut SlotTxn<'_>, _: &Request<'_>) -> Reply<'t> {
    txn.random_key().map_or(Reply::Null, Reply::Bulk)
}

fn scan<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let position = std::str::from_utf8(request.arg(1)).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(position) = position.filter(|position| position >> SlotTxn::POSITION_BITS == 0) else {
        return Reply::error("ERR invalid cursor");
    };
    let options = match ScanOptions::parse(request) {
        Ok(options) => options,
        Err(error) => return error,
    };
    let mut found = Vec::new();
    let mut complexity = Ok(());
    let next = txn.scan(position, options.count, |key, value| match options.takes(key, value) {
        Ok(true) => found.push(Reply::Blob(key.to_vec())),
        Ok(false) => {}
        Err(error) => complexity = Err(error),
    });
    match complexity {
        Ok(()) => Reply::Array(vec![Reply::Text(Cow::Owned(next.to_string())), Reply::Array(found)]),
        Err(TooComplex) => TOO_COMPLEX,
    }
}

/// The options of `SCAN`. The router checks them before it goes to any slot.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions<'a> {
    pattern: Option<Glob<'a>>,
    kind: Option<&'a [u8]>,
    /// How many keys to look at.
    pub count: usize,
}

impl<'a> ScanOptions<'a> {
    /// A larger `COUNT` counts as this: it is a hint, and a shard is held for so long.
    pub const MAX_COUNT: usize = 10_000;

    /// The options behind the cursor.
    pub fn parse(request: &Request<'a>) -> Result<ScanOptions<'a>, Reply<'static>> {
        let mut options = ScanOptions { pattern: None, kind: None, count: 10 };
        let mut args = request.args_from(2);
        while let Some(word) = args.next() {
            let value = args.next().ok_or(SYNTAX)?;
            match &*word.to_ascii_uppercase() {
                b"MATCH" => options.pattern = Some(Glob::new(value)).filter(|pattern| !pattern.matches_all()),
                b"TYPE" => options.kind = Some(value),
                b"COUNT" => {
                    let count = parse_integer(value).ok_or(NOT_AN_INTEGER)?;
                    options.count = usize::try_from(count).unwrap_or(0).min(ScanOptions::MAX_COUNT);
                    if options.count == 0 {
                        return Err(SYNTAX);
                    }
                }
                _ => return Err(SYNTAX),
            }
        }
        Ok(options)
    }

    fn takes(&self, key: &[u8], value: Value<'_>) -> Result<bool, TooComplex> {
        let of_kind = self.kind.is_none_or(|name| name.eq_ignore_ascii_case(value.kind().name().as_bytes()));
        Ok(of_kind && self.pattern.map_or(Ok(true), |pattern| pattern.matches(key))?)
    }
}

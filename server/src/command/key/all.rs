//! What is asked of all keys together.
//!
//! `SCAN` runs on one slot that the router chooses: it reads the slot from the cursor, puts the rest, the position
//! within the slot, in its place, and makes a cursor again of the position that comes back (0: the slot is done).

use std::borrow::Cow;

use crate::{
    command::{NO_SUCH_DATABASE, NOT_AN_INTEGER, SYNTAX_ERROR},
    resp::{Reply, Request},
    store::SlotTxn,
    types::{Budget, Glob, TooComplex, Value, parse_integer},
};

const TOO_COMPLEX: Reply<'static> = Reply::error("ERR pattern takes too long to match");

/// What `TYPE` can answer in Redis.
const KINDS: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

pub(super) fn dbsize<'t>(txn: &'t mut SlotTxn<'_>, _: &Request<'_>) -> Reply<'t> {
    Reply::Integer(txn.len() as i64)
}

pub(super) fn keys<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (pattern, mut budget) = (Glob::new(request.arg(1)), Budget::default());
    let mut found = Vec::new();
    for key in txn.keys() {
        match if pattern.matches_all() { Ok(true) } else { pattern.matches(key, &mut budget) } {
            Ok(true) => found.push(Reply::Bulk(key)),
            Ok(false) => {}
            Err(TooComplex) => return TOO_COMPLEX,
        }
    }
    Reply::Array(found)
}

pub(super) fn flushall<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    flush(request, || txn.clear_all())
}

pub(super) fn flushdb<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    flush(request, || txn.clear())
}

fn flush(request: &Request<'_>, clear: impl FnOnce()) -> Reply<'static> {
    let known = |arg: &[u8]| arg.eq_ignore_ascii_case(b"ASYNC") || arg.eq_ignore_ascii_case(b"SYNC");
    if request.len() > 2 || !request.args_from(1).all(known) {
        return SYNTAX_ERROR;
    }
    clear();
    Reply::OK
}

pub(super) fn swapdb<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    if txn.databases() == 1 {
        return Reply::error("ERR SWAPDB is not allowed in cluster mode");
    }
    let number = |at| parse_integer(request.arg(at)).filter(|&number| i32::try_from(number).is_ok());
    let Some(one) = number(1) else { return Reply::error("ERR invalid first DB index") };
    let Some(other) = number(2) else { return Reply::error("ERR invalid second DB index") };
    match (txn.database_of(one), txn.database_of(other)) {
        (Some(one), Some(other)) => {
            txn.swap(one, other);
            Reply::OK
        }
        _ => NO_SUCH_DATABASE,
    }
}

pub(super) fn randomkey<'t>(txn: &'t mut SlotTxn<'_>, _: &Request<'_>) -> Reply<'t> {
    txn.random_key().map_or(Reply::Null, Reply::Bulk)
}

pub(super) fn scan<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let position = std::str::from_utf8(request.arg(1)).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(position) = position.filter(|position| position >> SlotTxn::POSITION_BITS == 0) else {
        return Reply::error("ERR invalid cursor");
    };
    let options = match ScanOptions::parse(request) {
        Ok(options) => options,
        Err(error) => return error,
    };
    let mut found = Vec::new();
    let (mut budget, mut complexity) = (Budget::default(), Ok(()));
    let next = txn.scan(position, options.count, |key, value| {
        if complexity.is_err() {
            return;
        }
        match options.takes(key, value, &mut budget) {
            Ok(true) => found.push(Reply::Blob(key.to_vec())),
            Ok(false) => {}
            Err(error) => complexity = Err(error),
        }
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
            let word = word.to_ascii_uppercase();
            match (&*word, args.len()) {
                (b"NOVALUES", _) => return Err(Reply::error("ERR NOVALUES option can only be used in HSCAN")),
                (b"NOSCORES", _) => return Err(Reply::error("ERR NOSCORES option can only be used in ZSCAN")),
                (b"MATCH" | b"TYPE" | b"COUNT", 1..) => {}
                _ => return Err(SYNTAX_ERROR),
            }
            let value = args.next().ok_or(SYNTAX_ERROR)?;
            match &*word {
                b"MATCH" => options.pattern = Some(Glob::new(value)).filter(|pattern| !pattern.matches_all()),
                b"TYPE" => options.kind = Some(known_kind(value)?),
                _ => {
                    let count = parse_integer(value).ok_or(NOT_AN_INTEGER)?;
                    options.count = usize::try_from(count).unwrap_or(0).min(ScanOptions::MAX_COUNT);
                    if options.count == 0 {
                        return Err(SYNTAX_ERROR);
                    }
                }
            }
        }
        Ok(options)
    }

    fn takes(&self, key: &[u8], value: Value<'_>, budget: &mut Budget) -> Result<bool, TooComplex> {
        let of_kind = self.kind.is_none_or(|name| name.eq_ignore_ascii_case(value.kind().name().as_bytes()));
        Ok(of_kind && self.pattern.map_or(Ok(true), |pattern| pattern.matches(key, budget))?)
    }
}

fn known_kind(name: &[u8]) -> Result<&[u8], Reply<'static>> {
    if KINDS.iter().any(|kind| kind.as_bytes().eq_ignore_ascii_case(name)) {
        return Ok(name);
    }
    Err(Reply::error_about("ERR unknown type name '", name, "'"))
}

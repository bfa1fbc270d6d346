//! Many strings at once.

use super::{
    options::{Family, Options},
    shown,
};
use crate::{
    command::{SYNTAX_ERROR, keys::counted, wrong_arity},
    resp::{Reply, Request},
    store::SlotTxn,
};

pub(super) fn mget<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    for key in request.args_from(1) {
        txn.value(key);
    }
    let txn: &'t SlotTxn<'_> = txn;
    Reply::Array(request.args_from(1).map(|key| txn.peek(key).map_or(Reply::Null, shown)).collect())
}

pub(super) fn mset<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    if request.len().is_multiple_of(2) {
        return wrong_arity("mset");
    }
    for at in (1..request.len()).step_by(2) {
        txn.put(request.arg(at), request.arg(at + 1), 0);
    }
    Reply::OK
}

pub(super) fn msetnx<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    if request.len().is_multiple_of(2) {
        return wrong_arity("msetnx");
    }
    if (1..request.len()).step_by(2).any(|at| txn.finds(request.arg(at))) {
        return Reply::Integer(0);
    }
    mset(txn, request);
    Reply::Integer(1)
}

pub(super) fn msetex<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (end, options) = match parse(request) {
        Ok(parsed) => parsed,
        Err(error) => return error,
    };
    let deadline = match options.deadline(txn.now(), "msetex") {
        Ok(deadline) => deadline,
        Err(error) => return error,
    };
    let keys = || (2..end).step_by(2).map(|at| request.arg(at));
    if options.only_if.is_some_and(|exists| keys().any(|key| txn.finds(key) != exists)) {
        return Reply::Integer(0);
    }
    for (key, value) in keys().zip(request.args_from(3).step_by(2)) {
        let kept = if options.keep { txn.deadline(key) } else { None };
        txn.put(key, value, deadline.or(kept).unwrap_or(0));
    }
    Reply::Integer(1)
}

/// Why an `MSETEX` cannot run, as far as that can be seen before the time is known.
pub(super) fn check_msetex(request: &Request<'_>) -> Result<(), Reply<'static>> {
    parse(request)?.1.deadline(0, "msetex").map(drop)
}

/// Whether an `MSETEX` may run slot by slot: a condition holds for all keys together.
pub(super) fn msetex_divides(request: &Request<'_>) -> bool {
    parse(request).is_ok_and(|(_, options)| options.only_if.is_none())
}

/// Where the keys and values of an `MSETEX` end, and its options.
fn parse<'a>(request: &Request<'a>) -> Result<(usize, Options<'a>), Reply<'static>> {
    let count = counted(request).ok_or(Reply::error("ERR invalid numkeys value or out of range"))?;
    let end = 2 + count * 2;
    if end > request.len() {
        return Err(SYNTAX_ERROR);
    }
    Ok((end, Options::parse(request, end, Family::MSetEx)?))
}

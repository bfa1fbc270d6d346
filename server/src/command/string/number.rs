//! Strings that are numbers.

use std::borrow::Cow;

use crate::{
    command::NOT_AN_INTEGER,
    resp::{Reply, Request},
    store::SlotTxn,
    types::{Extended, IntegerText, Parsed, parse_integer},
};

const NOT_A_FLOAT: Reply<'static> = Reply::error("ERR value is not a valid float");
const OVERFLOW: Reply<'static> = Reply::error("ERR increment or decrement would overflow");

pub(super) fn incr<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    add(txn, request.arg(1), 1)
}

pub(super) fn decr<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    add(txn, request.arg(1), -1)
}

pub(super) fn incrby<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    match parse_integer(request.arg(2)) {
        Some(summand) => add(txn, request.arg(1), summand),
        None => NOT_AN_INTEGER,
    }
}

pub(super) fn decrby<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
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
    let Some(old) = old else { return refused(txn, key, NOT_AN_INTEGER) };
    let Some(sum) = old.checked_add(summand) else { return refused(txn, key, OVERFLOW) };
    txn.put(key, IntegerText::new(sum).as_bytes(), deadline);
    Reply::Integer(sum)
}

/// An error about the value of a key, which was looked at and so is used.
fn refused(txn: &mut SlotTxn<'_>, key: &[u8], error: Reply<'static>) -> Reply<'static> {
    txn.finds(key);
    error
}

pub(super) fn incrbyfloat<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(1);
    let (old, deadline) = txn.value_and_deadline(key).map_or((&b"0"[..], 0), |(old, ends)| (old.as_slice(), ends));
    let sum = match (Extended::parse(old), Extended::parse(request.arg(2))) {
        (Some(Parsed::Finite(old)), Some(Parsed::Finite(summand))) => old.checked_add(summand),
        (Some(_), Some(_)) => None,
        _ => return refused(txn, key, NOT_A_FLOAT),
    };
    let Some(sum) = sum else {
        return refused(txn, key, Reply::error("ERR increment would produce NaN or Infinity"));
    };
    let text = sum.text();
    txn.put(key, text.as_bytes(), deadline);
    Reply::Text(Cow::Owned(text))
}

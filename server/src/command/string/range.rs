//! Parts of strings.

use super::TOO_LONG;
use crate::{
    command::{CANNOT_ALLOCATE, NOT_AN_INTEGER},
    resp::{Reply, Request},
    store::SlotTxn,
    types::{MAX_STRING_BYTES, Value, parse_integer},
};

pub(super) fn append<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (key, tail) = (request.arg(1), request.arg(2));
    let Some(old) = txn.peek(key).map(Value::len) else {
        txn.put(key, tail, 0);
        return Reply::Integer(tail.len() as i64);
    };
    let len = old + tail.len();
    if len > MAX_STRING_BYTES {
        return TOO_LONG;
    }
    changed(txn.change(key, len, |value| value[old..].copy_from_slice(tail)), len)
}

pub(super) fn setrange<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (key, part) = (request.arg(1), request.arg(3));
    let Some(offset) = parse_integer(request.arg(2)) else { return NOT_AN_INTEGER };
    let Ok(offset) = usize::try_from(offset) else { return Reply::error("ERR offset is out of range") };
    if part.is_empty() {
        txn.finds(key);
        return Reply::Integer(txn.peek(key).map_or(0, Value::len) as i64);
    }
    let Some(end) = offset.checked_add(part.len()).filter(|&end| end <= MAX_STRING_BYTES) else { return TOO_LONG };
    let len = end.max(txn.peek(key).map_or(0, Value::len));
    changed(txn.change(key, len, |value| value[offset..end].copy_from_slice(part)), len)
}

fn changed(is_changed: bool, length: usize) -> Reply<'static> {
    if is_changed { Reply::Integer(length as i64) } else { CANNOT_ALLOCATE }
}

pub(super) fn getrange<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (Some(first), Some(last)) = (parse_integer(request.arg(2)), parse_integer(request.arg(3))) else {
        return NOT_AN_INTEGER;
    };
    match txn.value(request.arg(1)) {
        None => Reply::Bulk(b""),
        Some(value) => {
            let (start, end) = range(first, last, value.len());
            match value {
                Value::Small(bytes) => Reply::Bulk(&bytes[start..end]),
                Value::Large(bytes) => Reply::Shared(bytes.slice(start..end)),
            }
        }
    }
}

/// The places from the first to the last one, negative ones counted from the end, among so many: the first, and the one
/// behind the last.
fn range(first: i64, last: i64, len: usize) -> (usize, usize) {
    if first < 0 && last < 0 && first > last {
        return (0, 0);
    }
    let len = len as i64;
    let place = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (place(first), place(last).saturating_add(1).min(len));
    if start < end { (start as usize, end as usize) } else { (0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each place asked on its own.
    fn naive(first: i64, last: i64, bytes: &[u8]) -> Vec<u8> {
        if first < 0 && last < 0 && first > last {
            return vec![];
        }
        let len = bytes.len() as i128;
        let place = |at: i64| if at < 0 { (i128::from(at) + len).max(0) } else { i128::from(at) };
        let is_in = |at: usize| (place(first)..=place(last)).contains(&(at as i128));
        bytes.iter().enumerate().filter(|&(at, _)| is_in(at)).map(|(_, &byte)| byte).collect()
    }

    proptest! {
        #[test]
        fn a_range_is_what_lies_between(
            first in prop_oneof![-12i64..12, any::<i64>()],
            last in prop_oneof![-12i64..12, any::<i64>()],
            bytes in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let (start, end) = range(first, last, bytes.len());
            prop_assert_eq!(&bytes[start..end], &naive(first, last, &bytes));
        }
    }
}

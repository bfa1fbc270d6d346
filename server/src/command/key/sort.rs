//! `SORT` and `SORT_RO`. What they sort are lists and sets, of which there are none: what is left is their syntax, and what
//! they answer about a key that is absent or a string.

use ring::slot::Slot;

use crate::{
    command::{NOT_AN_INTEGER, SYNTAX_ERROR, WRONG_TYPE},
    resp::{Reply, Request},
    store::SlotTxn,
    types::parse_integer,
};

pub(super) fn sort<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let destination = match destination(request, txn.databases() == 1, true) {
        Ok(destination) => destination,
        Err(error) => return error,
    };
    if txn.finds(request.arg(1)) {
        return WRONG_TYPE;
    }
    match destination {
        Some(key) => {
            txn.remove(key);
            Reply::Integer(0)
        }
        None => Reply::Array(vec![]),
    }
}

pub(super) fn sort_ro<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    if let Err(error) = destination(request, txn.databases() == 1, false) {
        return error;
    }
    if txn.finds(request.arg(1)) { WRONG_TYPE } else { Reply::Array(vec![]) }
}

/// Where the result goes, if it is to be kept; the error if an option is wrong. On the port for cluster-aware clients the
/// keys that `BY` and `GET` name have to be in the slot of the key.
fn destination<'a>(
    request: &Request<'a>,
    in_cluster: bool,
    may_store: bool,
) -> Result<Option<&'a [u8]>, Reply<'static>> {
    let slot = Slot::of(request.arg(1));
    let is_elsewhere = |pattern: &[u8]| in_cluster && slot_of_pattern(pattern) != Some(slot);
    let mut destination = None;
    let mut args = request.args_from(2);
    while let Some(arg) = args.next() {
        match (&*arg.to_ascii_uppercase(), args.len()) {
            (b"ASC" | b"DESC" | b"ALPHA", _) => {}
            (b"LIMIT", 2..) => {
                let are_numbers = args.by_ref().take(2).all(|number| parse_integer(number).is_some());
                if !are_numbers {
                    return Err(NOT_AN_INTEGER);
                }
            }
            (b"STORE", 1..) if may_store => destination = args.next(),
            (b"BY", 1..) => {
                let pattern = args.next().unwrap_or_default();
                if pattern.contains(&b'*') && is_elsewhere(pattern) {
                    return Err(BY_ELSEWHERE);
                }
            }
            (b"GET", 1..) => {
                let pattern = args.next().unwrap_or_default();
                if pattern != b"#" && is_elsewhere(pattern) {
                    return Err(GET_ELSEWHERE);
                }
            }
            _ => return Err(SYNTAX_ERROR),
        }
    }
    Ok(destination)
}

const BY_ELSEWHERE: Reply<'static> = Reply::error(
    "ERR BY option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.",
);
const GET_ELSEWHERE: Reply<'static> = Reply::error(
    "ERR GET option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.",
);

/// The slot of all keys that a pattern can stand for; none if they may be in several.
fn slot_of_pattern(pattern: &[u8]) -> Option<Slot> {
    let special = |byte: &u8| b"*?[\\".contains(byte);
    let before = &pattern[..pattern.iter().position(special).unwrap_or(pattern.len())];
    let open = before.iter().position(|&byte| byte == b'{');
    let close = open.and_then(|open| before[open..].iter().position(|&byte| byte == b'}'));
    match close {
        // A tag that is complete before anything that stands for several.
        Some(2..) => Some(Slot::of(before)),
        _ if before.len() == pattern.len() => Some(Slot::of(pattern)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_a_slot_if_all_its_keys_have_the_same() {
        let check = |pattern: &[u8], key: Option<&[u8]>| {
            assert_eq!(slot_of_pattern(pattern), key.map(Slot::of), "{}", String::from_utf8_lossy(pattern));
        };
        check(b"{a}_*", Some(b"a"));
        check(b"x{a}[y]", Some(b"a"));
        check(b"plain", Some(b"plain"));
        check(b"{}plain", Some(b"{}plain"));
        check(b"{a", Some(b"{a"));
        for pattern in [&b"*"[..], b"w_*{a}", b"{*}", b"{}*", b"{a*}", b"a?", b"\\a"] {
            check(pattern, None);
        }
    }
}

//! Which requests may be executed twice.

use super::{
    Command, Flags,
    key::{REMOVE, STORE, TAKE},
};
use crate::{resp::Request, types::parse_integer};

/// Whether executing the request a second time changes nothing more and answers the same, as far as this client can
/// tell: reads, and writes that say what a key becomes whatever it was. Only such a request is sent again when its
/// first outcome was lost. `DEL` is none: it answers how many keys it removed, which a second time would be 0.
pub(crate) fn is_repeatable(command: &Command, request: &Request<'_>) -> bool {
    if command.flags.contains(Flags::READONLY) {
        return true;
    }
    let has = |first: usize, words: &[&str]| {
        request.args_from(first).any(|arg| words.iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes())))
    };
    match command.name {
        "mset" | "setex" | "psetex" | "setrange" | "flushall" | "flushdb" => true,
        // With an option of one of these names the reply or the change depends on what was there.
        "set" => !has(3, &["NX", "XX", "IFEQ", "GET"]),
        // Its keys and values may look like conditions: then it is not repeated, which is never wrong.
        "msetex" => !has(2, &["NX", "XX"]),
        // Without options it only reads.
        "getex" => request.len() == 2,
        // Without conditions. A time that has come removes the key, and a second time there is none.
        "expire" | "pexpire" => request.len() == 3 && parse_integer(request.arg(2)).is_some_and(|time| time > 0),
        // Without it the second answer is that there is such a key.
        "restore" => has(4, &["REPLACE"]),
        // Without a condition it is a SET.
        STORE | TAKE => request.len() == 5,
        // Nobody waits for what it answers.
        REMOVE => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::Table, resp::OwnedRequest};

    #[test]
    fn only_what_does_no_harm_is_repeated() {
        let check = |line: &str, expected: bool| {
            let request = OwnedRequest::new(line.split(' ').map(str::as_bytes));
            let (_, command) = Table::of_links().meant(&request.as_request()).ok().unwrap();
            assert_eq!(is_repeatable(command, &request.as_request()), expected, "{line}");
        };
        for line in [
            "GET a",
            "MGET a b",
            "SET a b",
            "SET a b EX 5",
            "SET a b keepttl",
            "EXPIRE a 5",
            "MSET a b",
            "SETEX a 5 b",
            "PSETEX a 5 b",
            "SETRANGE a 5 b",
            "MSETEX 1 a b EX 5",
            "GETEX a",
            "RESTORE a 0 b REPLACE",
            "TOUCH a",
            "DUMP a",
            "OBJECT ENCODING a",
            "SORT_RO a",
            ".fetch a",
            ".store a 0 0 b",
            ".remove a 5",
        ] {
            check(line, true);
        }
        for line in [
            "INCR a",
            "DEL a",
            "SET a b NX",
            "SET a b get",
            "SET a b EX 5 xx",
            "SET a b IFEQ c",
            "EXPIRE a 5 GT",
            "EXPIRE a 0",
            "PEXPIRE a -5",
            "PEXPIREAT a 5",
            "APPEND a b",
            "GETDEL a",
            "GETEX a EX 5",
            "GETSET a b",
            "SETNX a b",
            "MSETNX a b",
            "MSETEX 1 a b NX",
            "MSETEX 1 a b EX 5 xx",
            "DELIFEQ a b",
            "PERSIST a",
            "RENAME a b",
            "RENAMENX a b",
            "COPY a b",
            "COPY a b REPLACE",
            "MOVE a 1",
            "SWAPDB 0 1",
            "RESTORE a 0 b",
            "SORT a",
            "SORT a STORE b",
            ".store a 0 0 b absent",
        ] {
            check(line, false);
        }
    }
}

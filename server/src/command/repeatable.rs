//! Which requests may be executed twice.

use super::{Command, Flags};
use crate::resp::Request;

/// Whether executing the request a second time changes nothing more and answers the same, as far as this client can
/// tell: reads, and writes that say what a key becomes whatever it was. Only such a request is sent again when its
/// first outcome was lost. `DEL` is none: it answers how many keys it removed, which a second time would be 0.
pub(crate) fn is_repeatable(command: &Command, request: &Request<'_>) -> bool {
    if command.flags.contains(Flags::READONLY) {
        return true;
    }
    match command.name {
        "mset" | "flushall" | "flushdb" => true,
        // With an option of one of these names the reply or the change depends on what was there.
        "set" => !request.args_from(3).any(|option| {
            [&b"NX"[..], b"XX", b"GET"].iter().any(|conditional| option.eq_ignore_ascii_case(conditional))
        }),
        // Without conditions. A time that has come removes the key, and a second time there is none.
        "expire" | "pexpire" | "expireat" | "pexpireat" => request.len() == 3,
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
            let (_, command) = Table::of_node().find(request.as_request().arg(0)).unwrap();
            assert_eq!(is_repeatable(command, &request.as_request()), expected, "{line}");
        };
        for line in ["GET a", "MGET a b", "SET a b", "SET a b EX 5", "SET a b keepttl", "PEXPIREAT a 5", "MSET a b"] {
            check(line, true);
        }
        for line in ["INCR a", "DEL a", "SET a b NX", "SET a b get", "SET a b EX 5 xx", "EXPIRE a 5 GT", "APPEND a b"] {
            check(line, false);
        }
        check("GETDEL a", false);
        check("GETEX a EX 5", false);
    }
}

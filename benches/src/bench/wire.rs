//! Requests to bytes, bytes to replies: the only module that names `redis_protocol`.
//!
//! Requests are written by hand, for the generator shares its cores with the server. Replies are decoded as ranges of
//! the buffer, so that nothing is copied to look at it.

use std::io::Write;

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

/// The longest line (a status, an error, a length) that is waited for.
const MAX_LINE: usize = 64 * 1024;

/// What the server answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Value(&'a [u8]),
    Missing,
}

/// Why bytes are not a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// Appends one request.
pub(super) fn request(arguments: &[&[u8]], out: &mut Vec<u8>) {
    write!(out, "*{}\r\n", arguments.len()).expect("a vector takes every write");
    for argument in arguments {
        bulk_length(argument.len(), out);
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends `GET prefix+key`.
pub(super) fn get(prefix: &str, key: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    key_argument(prefix, key, out);
}

/// Appends `SET prefix+key`, with the value that `value` appends.
pub(super) fn set(prefix: &str, key: u32, value_length: usize, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
    key_argument(prefix, key, out);
    bulk_length(value_length, out);
    value(out);
    out.extend_from_slice(b"\r\n");
}

/// The first reply of the buffer and its length, or `None` if it is not complete.
///
/// Nothing that this generator asks is answered by an array; an array is refused before it is parsed, because the
/// decoder recurses into nested ones.
pub(super) fn reply(buffer: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    match buffer.first() {
        None => return Ok(None),
        Some(b'+' | b'-' | b':' | b'$') => {}
        Some(_) => return Err(Malformed),
    }
    let Some((frame, length)) = decode_range(buffer).map_err(|_| Malformed)? else {
        let endless = buffer.len() > MAX_LINE && !buffer[..MAX_LINE].contains(&b'\n');
        return if endless { Err(Malformed) } else { Ok(None) };
    };
    let reply = match frame {
        RangeFrame::SimpleString((from, to)) => Reply::Status(&buffer[from..to]),
        RangeFrame::Error((from, to)) => Reply::Error(&buffer[from..to]),
        RangeFrame::Integer(number) => Reply::Integer(number),
        RangeFrame::BulkString((from, to)) => Reply::Value(&buffer[from..to]),
        RangeFrame::Null => Reply::Missing,
        RangeFrame::Array(_) => return Err(Malformed),
    };
    Ok(Some((reply, length)))
}

/// The code of an error reply: its first word.
pub(super) fn error_code(error: &[u8]) -> String {
    let code: Vec<u8> = error.iter().copied().take(32).take_while(u8::is_ascii_graphic).collect();
    String::from_utf8_lossy(&code).into_owned()
}

fn key_argument(prefix: &str, key: u32, out: &mut Vec<u8>) {
    let digits = digits(key);
    bulk_length(prefix.len() + digits, out);
    out.extend_from_slice(prefix.as_bytes());
    write!(out, "{key}\r\n").expect("a vector takes every write");
}

fn bulk_length(length: usize, out: &mut Vec<u8>) {
    write!(out, "${length}\r\n").expect("a vector takes every write");
}

fn digits(number: u32) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        get("key:", 1234, &mut out);
        set("k", 0, 5, &mut out, |out| out.extend_from_slice(b"hello"));
        request(&[b"AUTH", b"p"], &mut out);
        assert_eq!(
            out,
            b"*2\r\n$3\r\nGET\r\n$8\r\nkey:1234\r\n*3\r\n$3\r\nSET\r\n$2\r\nk0\r\n$5\r\nhello\r\n\
              *2\r\n$4\r\nAUTH\r\n$1\r\np\r\n"
        );
    }

    #[test]
    fn replies_are_found_in_the_buffer() {
        for (bytes, expected) in [
            (&b"+OK\r\n$"[..], Ok(Some((Reply::Status(b"OK"), 5)))),
            (b"-ERR x\r\n", Ok(Some((Reply::Error(b"ERR x"), 8)))),
            (b":-3\r\n", Ok(Some((Reply::Integer(-3), 5)))),
            (b"$3\r\na\r\n\r\n", Ok(Some((Reply::Value(b"a\r\n"), 9)))),
            (b"$-1\r\n", Ok(Some((Reply::Missing, 5)))),
            (b"$3\r\nab", Ok(None)),
            (b"", Ok(None)),
            (b"*1\r\n:1\r\n", Err(Malformed)),
            (b"hello\r\n", Err(Malformed)),
            (b"$x\r\n", Err(Malformed)),
        ] {
            assert_eq!(reply(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_waited_for() {
        assert_eq!(reply(&vec![b'+'; MAX_LINE + 1]), Err(Malformed));
    }

    #[test]
    fn the_code_of_an_error_is_its_first_word() {
        assert_eq!(error_code(b"NOREPLICAS Not enough good replicas to write."), "NOREPLICAS");
    }
}

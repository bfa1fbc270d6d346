//! Replies as values.

use std::borrow::Cow;

use bytes::Bytes;

/// The version of the protocol that a connection speaks; `HELLO` changes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// RESP2, where every connection starts.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// What a command answers. It may borrow from the slot that it was executed on and is encoded before the slot's lock
/// is given back, so that a value is copied once, from the entry to the output.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply<'a> {
    /// `+OK` and other simple strings; no line break inside.
    Simple(&'static str),
    /// An error: code and text, without the leading `-`; a line break inside is written as a space.
    Error(Cow<'static, str>),
    /// An integer.
    Integer(i64),
    /// A string.
    Bulk(&'a [u8]),
    /// A string that was made for the reply.
    Text(Cow<'static, str>),
    /// A string made for the reply, not necessarily text.
    Blob(Vec<u8>),
    /// A large value by reference.
    Shared(Bytes),
    /// Text that is shown as it is (RESP3 verbatim, `txt`; RESP2 a bulk string).
    Verbatim(String),
    /// No value (RESP2 null bulk string).
    Null,
    /// No array (RESP2 null array; RESP3 null).
    NullArray,
    /// True or false (RESP2: 1 or 0).
    Boolean(bool),
    /// A floating-point number (RESP2: a bulk string).
    Double(f64),
    /// A list.
    Array(Vec<Reply<'a>>),
    /// Pairs (RESP2: a flat array).
    Map(Vec<(Reply<'a>, Reply<'a>)>),
    /// A list without order (RESP2: an array).
    Set(Vec<Reply<'a>>),
    /// Something that the client did not ask for now (RESP2: an array).
    Push(Vec<Reply<'a>>),
    /// A reply already encoded for the connection's protocol, as it came from another node.
    Encoded(Bytes),
}

impl Reply<'_> {
    /// `+OK`.
    pub const OK: Reply<'static> = Reply::Simple("OK");

    /// An error with a fixed text.
    pub const fn error(text: &'static str) -> Reply<'static> {
        Reply::Error(Cow::Borrowed(text))
    }

    /// An error that names something that the client sent, byte by byte as it sent it, as Redis does: up to a zero byte,
    /// where C ends a text, and with spaces for line breaks but none for those at its end.
    pub fn error_about(before: &str, argument: &[u8], after: &str) -> Reply<'static> {
        let argument = argument.split(|&byte| byte == 0).next().unwrap_or_default();
        Reply::error_of(&[before.as_bytes(), argument, after.as_bytes()].concat())
    }

    /// An error of these bytes, with spaces for line breaks but none for those at its end.
    pub fn error_of(text: &[u8]) -> Reply<'static> {
        let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let end = text.iter().rposition(|byte| !is_break(byte)).map_or(0, |last| last + 1);
        let line = text[..end].iter().map(|byte| if is_break(byte) { b' ' } else { *byte });
        Reply::Encoded([b'-'].into_iter().chain(line).chain(*b"\r\n").collect())
    }

    /// The error, if it is one; else the reply.
    pub(crate) fn into_error(self) -> Result<Reply<'static>, Self> {
        match self {
            Reply::Error(text) => Ok(Reply::Error(text)),
            Reply::Encoded(bytes) if bytes.first() == Some(&b'-') => Ok(Reply::Encoded(bytes)),
            other => Err(other),
        }
    }

    /// Whether the command failed.
    pub fn is_error(&self) -> bool {
        match self {
            Reply::Error(_) => true,
            Reply::Encoded(bytes) => bytes.first() == Some(&b'-'),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_came_byte_by_byte() {
        let reply = Reply::error_about("ERR no '", b"a\xFF\r\nb\0c", "' here");
        assert!(reply.is_error());
        assert_eq!(reply, Reply::Encoded(Bytes::from_static(b"-ERR no 'a\xFF  b' here\r\n")));
        assert_eq!(Reply::error_about("ERR no ", b"a\r\n\n", ""), Reply::Encoded(Bytes::from_static(b"-ERR no a\r\n")));
        assert!(reply.into_error().is_ok() && Reply::OK.into_error().is_err());
    }
}

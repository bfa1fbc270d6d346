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

    /// Whether the command failed.
    pub fn is_error(&self) -> bool {
        match self {
            Reply::Error(_) => true,
            Reply::Encoded(bytes) => bytes.first() == Some(&b'-'),
            _ => false,
        }
    }
}

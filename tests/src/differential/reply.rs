//! Replies as they are on the wire. The types of RESP3 are kept apart (a set is no array, a verbatim string no bulk
//! string, and of RESP2 `$-1` is not `*-1`), because clients tell them apart too.

use std::fmt;
use std::io::{self, BufRead, Read};

/// Replies nested deeper than this are refused.
const MAX_DEPTH: usize = 32;
/// The longest line, the longest string and the most elements that are taken.
const MAX_BYTES: usize = 512 << 20;
/// Longer texts are cut when they are printed.
const SHOWN_BYTES: usize = 2048;
/// Longer lists are cut when they are printed.
const SHOWN_ELEMENTS: usize = 24;

/// A reply. The byte is the one that it begins with on the wire.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Reply {
    /// One line: `+`, `-`, `:`, `,`, `#`, `(` or `_`.
    Line(u8, Vec<u8>),
    /// A string with its length: `$`, `=` or `!`.
    Text(u8, Vec<u8>),
    /// `$-1` or `*-1`.
    Null(u8),
    /// `*`, `~`, `>`, or `%` with keys and values in turn.
    Many(u8, Vec<Reply>),
}

impl Reply {
    /// Reads one reply.
    pub(super) fn read(input: &mut impl BufRead) -> io::Result<Reply> {
        read(input, 0)
    }

    /// An error of one line.
    #[cfg(test)]
    pub(super) fn error(text: &str) -> Reply {
        Reply::Line(b'-', text.into())
    }

    /// The byte that it begins with.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Reply::Line(kind, _) | Reply::Text(kind, _) | Reply::Null(kind) | Reply::Many(kind, _) => *kind,
        }
    }

    /// The text of an error.
    pub(super) fn as_error(&self) -> Option<&[u8]> {
        match self {
            Reply::Line(b'-', text) | Reply::Text(b'!', text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match self {
            Reply::Line(b':', text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The bytes of a string; of a verbatim string without its format.
    pub(super) fn as_text(&self) -> Option<&[u8]> {
        match self {
            Reply::Text(b'=', text) => text.get(4..),
            Reply::Text(b'$', text) | Reply::Line(b'+', text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a list of any kind.
    pub(super) fn as_many(&self) -> Option<&[Reply]> {
        match self {
            Reply::Many(_, elements) => Some(elements),
            _ => None,
        }
    }

    /// Whether this is `+OK`.
    pub(super) fn is_ok(&self) -> bool {
        *self == Reply::Line(b'+', b"OK".to_vec())
    }

    /// Whether this says that there is nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Reply::Null(_) | Reply::Line(b'_', _))
    }

    /// What kind of reply it is, in a few words; of an error, its text without numbers and quoted parts.
    pub(super) fn shape(&self) -> String {
        match self {
            Reply::Line(b'+', text) => format!("+{}", show(text, 20)),
            Reply::Null(kind) => format!("{}nil", char::from(*kind)),
            Reply::Many(kind, elements) => {
                format!("{}{}", char::from(*kind), if elements.is_empty() { "0" } else { "n" })
            }
            reply => match reply.as_error() {
                Some(text) => format!("-{}", general(text)),
                None => char::from(reply.kind()).to_string(),
            },
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Line(kind, text) => write!(out, "{}{}", char::from(*kind), show(text, SHOWN_BYTES)),
            Reply::Text(kind, text) => write!(out, "{}\"{}\"", char::from(*kind), show(text, SHOWN_BYTES)),
            Reply::Null(kind) => write!(out, "{}nil", char::from(*kind)),
            Reply::Many(kind, elements) => {
                write!(out, "{}{}[", char::from(*kind), elements.len())?;
                for (place, element) in elements.iter().take(SHOWN_ELEMENTS).enumerate() {
                    write!(out, "{}{element}", if place == 0 { "" } else { " " })?;
                }
                write!(out, "{}]", if elements.len() > SHOWN_ELEMENTS { " …" } else { "" })
            }
        }
    }
}

/// Bytes as printable text, cut to about so many.
pub(super) fn show(bytes: &[u8], limit: usize) -> String {
    let text = bytes[..bytes.len().min(limit)].escape_ascii().to_string();
    if bytes.len() > limit { format!("{text}…({} bytes)", bytes.len()) } else { text }
}

/// An error text as one of its kind: what is quoted, every number, and what is not ASCII left out.
fn general(text: &[u8]) -> String {
    if text.starts_with(b"ERR unknown command ") {
        return "ERR unknown command".to_owned();
    }
    let (mut kind, mut quoted) = (String::new(), false);
    for byte in text.iter().take(SHOWN_BYTES) {
        match byte {
            b'\'' => {
                quoted = !quoted;
                kind.push('\'');
            }
            _ if quoted => {}
            b'0'..=b'9' if kind.ends_with('N') => {}
            b'0'..=b'9' => kind.push('N'),
            b' '..=b'~' => kind.push(char::from(*byte)),
            _ if kind.ends_with('?') => {}
            _ => kind.push('?'),
        }
    }
    kind
}

fn read(input: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    if depth > MAX_DEPTH {
        return Err(malformed(b"a reply nested too deeply"));
    }
    let line = read_line(input)?;
    let Some((&kind, rest)) = line.split_first() else { return Err(malformed(b"an empty line")) };
    match kind {
        b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => Ok(Reply::Line(kind, rest.to_vec())),
        b'$' | b'=' | b'!' => match length(rest)? {
            None => Ok(Reply::Null(kind)),
            Some(length) => Ok(Reply::Text(kind, read_text(input, length)?)),
        },
        b'*' | b'~' | b'>' | b'%' => match length(rest)? {
            None => Ok(Reply::Null(kind)),
            Some(count) => {
                let count = if kind == b'%' { count.saturating_mul(2) } else { count };
                let elements = (0..count).map(|_| read(input, depth + 1)).collect::<io::Result<_>>()?;
                Ok(Reply::Many(kind, elements))
            }
        },
        _ => Err(malformed(&line)),
    }
}

fn length(text: &[u8]) -> io::Result<Option<usize>> {
    match std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()) {
        Some(-1) => Ok(None),
        Some(length) if (0..=MAX_BYTES as i64).contains(&length) => Ok(Some(length as usize)),
        _ => Err(malformed(text)),
    }
}

fn read_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(MAX_BYTES as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(malformed(&line));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn read_text(input: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(1 << 20) + 2);
    input.take(length as u64 + 2).read_to_end(&mut bytes)?;
    if bytes.len() != length + 2 || !bytes.ends_with(b"\r\n") {
        return Err(malformed(b"a string without its end"));
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn malformed(what: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {}", show(what, SHOWN_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_clients_tell_apart_are_kept_apart() {
        let replies =
            ["$-1\r\n", "*-1\r\n", "_\r\n", "*1\r\n:1\r\n", "~1\r\n:1\r\n", "$5\r\ntxt:a\r\n", "=5\r\ntxt:a\r\n"];
        let read: Vec<_> = replies.iter().map(|bytes| Reply::read(&mut bytes.as_bytes()).expect("valid")).collect();
        for (place, reply) in read.iter().enumerate() {
            assert!(!read[place + 1..].contains(reply), "{reply}");
        }
    }

    #[test]
    fn a_map_has_twice_as_many_elements() {
        let reply = Reply::read(&mut "%1\r\n+a\r\n*0\r\n:7\r\n".as_bytes()).expect("valid");
        assert_eq!(reply.to_string(), "%2[+a *0[]]");
    }

    #[test]
    fn errors_of_one_kind_have_one_shape() {
        let shape = |text| Reply::error(text).shape();
        assert_eq!(shape("ERR no such user 'a' at 12"), shape("ERR no such user 'bcd' at 3"));
        assert_ne!(shape("ERR syntax error"), shape("ERR no such key"));
    }
}

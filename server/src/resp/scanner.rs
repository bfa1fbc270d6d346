//! Bytes to requests, without copying them.
//!
//! A client sends arrays of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\na\r\n`) or, by hand, inline commands (`GET a\r\n`).
//! Nothing else is a request, so nothing else is parsed: there is no recursion that a hostile client could deepen.
//!
//! ```text
//!            ┌──────────────── one request ─────────────────┐
//!  …executed │ *3 CRLF  $3 CRLF SET CRLF  $1 CRLF a CRLF  $5│CRLF he            (the rest has not come yet)
//!            0                  └─┬─┘            ▲        ▲
//!                            Span 8..11      Span 17..18  position: where the next call goes on
//! ```
//!
//! The scanner keeps its place over a partial read: which argument it waits for, and how far it looked for the end of
//! a line. Every byte is therefore looked at once, however small the pieces are in which a large request comes, and the
//! body of a string is not looked at all. Places are counted from the first byte of the request, so the buffer may
//! move and may lose the requests before it.
//!
//! Limits are checked on the header of a thing, before a byte of it is kept. Texts, limits and the order in which things
//! are looked at are those of Valkey's `networking.c` (`processMultibulkBuffer`, `processInlineBuffer`): a header's first
//! byte, then its end, then its number; behind a string the two bytes of its end, once both have come. A header that
//! announces two thousand million arguments takes no memory: places are kept as arguments come, and none comes in fewer
//! than six bytes.

use std::{borrow::Cow, ops::Range};

use memchr::memchr;

use super::{Span, inline};

/// What a client may send. A larger thing is refused when its header comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Arguments of one request.
    pub max_args: u32,
    /// Bytes of one argument.
    pub max_bulk_bytes: u32,
    /// Bytes of one request, headers included.
    pub max_request_bytes: usize,
    /// Whether the client has still to say who it is: then only small requests are taken.
    pub unauthenticated: bool,
}

impl Limits {
    /// Arguments of a request before AUTH.
    const UNAUTHENTICATED_ARGS: u32 = 10;
    /// Bytes of an argument before AUTH.
    const UNAUTHENTICATED_BULK_BYTES: u32 = 16 << 10;

    /// Redis' limits with this `proto-max-bulk-len`.
    pub const fn new(max_bulk_bytes: u32, unauthenticated: bool) -> Limits {
        Limits { max_args: i32::MAX as u32, max_bulk_bytes, max_request_bytes: 1 << 30, unauthenticated }
    }
}

/// A line (an inline command, the header of an array or a string) is at most this long.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// What lies at the start of the bytes that were scanned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scanned {
    /// The beginning of a request, or nothing. `missing`: at least so many bytes are still to come.
    Partial {
        /// At least so many bytes are still to come.
        missing: usize,
    },
    /// An empty line or array, which is passed over without a reply.
    Empty {
        /// How many bytes it takes.
        length: usize,
    },
    /// A request.
    Request {
        /// Which of the spans are its arguments, counted from the request's first byte.
        args: Range<usize>,
        /// How many bytes it takes.
        length: usize,
    },
}

/// The client broke the protocol: it is told why, and the connection ends, since where the next request would begin
/// is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProtocolError(pub Cow<'static, [u8]>);

impl ProtocolError {
    const TOO_LONG: &'static str = "Protocol error: request is larger than the query buffer limit";
    const NO_END: ProtocolError = ProtocolError::new("Protocol error: invalid CRLF in request");

    const fn new(text: &'static str) -> ProtocolError {
        ProtocolError(Cow::Borrowed(text.as_bytes()))
    }

    #[cold]
    fn unexpected(wanted: u8, mark: u8) -> ProtocolError {
        // As it came, whatever byte it is.
        ProtocolError(Cow::Owned([b"Protocol error: expected '", &[wanted][..], b"', got '", &[mark], b"'"].concat()))
    }

    /// Whether nothing is wrong with the request but its length.
    pub fn is_too_long(&self) -> bool {
        *self.0 == *ProtocolError::TOO_LONG.as_bytes()
    }
}

/// The place in a request of which only a part has come.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Behind everything understood so far; from the request's first byte.
    position: usize,
    /// Behind everything searched for the end of a line.
    searched: usize,
    /// Arguments that are still to come.
    missing_args: u32,
    /// The length of the argument that is coming now, once its header came.
    bulk: Option<u32>,
    /// How many of the spans belong to the request.
    args: usize,
}

impl Scanner {
    /// Looks at the bytes from the start of a request on. What was `Partial` is continued: `bytes` then begins with
    /// the same request, and its spans so far are still the last ones in `spans`.
    ///
    /// Arguments of an inline command are unquoted in place.
    pub fn scan(&mut self, bytes: &mut [u8], spans: &mut Vec<Span>, limits: &Limits) -> Result<Scanned, ProtocolError> {
        if !self.is_inside()
            && let Some(scanned) = whole(bytes, spans, limits)
        {
            return Ok(scanned);
        }
        let scanned = match bytes.first() {
            None => return Ok(Scanned::Partial { missing: 1 }),
            Some(b'*') => self.array(bytes, spans, limits)?,
            Some(_) => self.inline(bytes, spans)?,
        };
        if !matches!(scanned, Scanned::Partial { .. }) {
            *self = Scanner::default();
        }
        Ok(scanned)
    }

    /// Whether a request has begun and is not complete.
    pub fn is_inside(&self) -> bool {
        self.position > 0 || self.searched > 0
    }

    fn array(&mut self, bytes: &[u8], spans: &mut Vec<Span>, limits: &Limits) -> Result<Scanned, ProtocolError> {
        if self.position == 0 {
            let Some(line) = self.line(bytes, b'*', "Protocol error: too big mbulk count string")? else {
                return Ok(Scanned::Partial { missing: 1 });
            };
            self.missing_args = array_length(&bytes[line], limits)?;
            if self.missing_args == 0 {
                return Ok(Scanned::Empty { length: self.position });
            }
        }
        while self.missing_args > 0 {
            if let Some(missing) = self.argument(bytes, spans, limits)? {
                return Ok(Scanned::Partial { missing });
            }
        }
        Ok(Scanned::Request { args: spans.len() - self.args..spans.len(), length: self.position })
    }

    /// One argument; if it is not complete, how many bytes it lacks at least.
    fn argument(
        &mut self,
        bytes: &[u8],
        spans: &mut Vec<Span>,
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let length = match self.bulk {
            Some(length) => length,
            None => {
                let Some(line) = self.line(bytes, b'$', "Protocol error: too big bulk count string")? else {
                    return Ok(Some(1));
                };
                let length = bulk_length(&bytes[line], limits)?;
                if self.position + length as usize > limits.max_request_bytes {
                    return Err(ProtocolError::new(ProtocolError::TOO_LONG));
                }
                *self.bulk.insert(length)
            }
        };
        let end = self.position + length as usize;
        if bytes.len() < end + 2 {
            return Ok(Some(end + 2 - bytes.len()));
        }
        if bytes[end..end + 2] != *b"\r\n" {
            return Err(ProtocolError::NO_END);
        }
        // Positions fit: a request is at most `max_request_bytes`, far below 4 GiB, and its last argument is checked.
        spans.push(Span { start: self.position as u32, end: end as u32 });
        (self.position, self.searched, self.bulk) = (end + 2, end + 2, None);
        self.missing_args -= 1;
        self.args += 1;
        Ok(None)
    }

    /// The line that begins here with this mark, without it and its end, if the end has come; goes on behind it.
    #[inline]
    fn line(&mut self, bytes: &[u8], mark: u8, too_long: &'static str) -> Result<Option<Range<usize>>, ProtocolError> {
        let from = self.searched.max(self.position);
        let end = match short_line_end(&bytes[from..]).or_else(|| memchr(b'\r', &bytes[from..])) {
            Some(at) => from + at,
            None if bytes.len() - self.position > MAX_LINE_BYTES => return Err(ProtocolError::new(too_long)),
            None => {
                self.searched = bytes.len();
                return Ok(None);
            }
        };
        if end + 1 >= bytes.len() {
            self.searched = end;
            return Ok(None);
        }
        if bytes[self.position] != mark {
            return Err(ProtocolError::unexpected(mark, bytes[self.position]));
        }
        if bytes[end + 1] != b'\n' {
            return Err(ProtocolError::NO_END);
        }
        let line = self.position + 1..end;
        self.position = end + 2;
        self.searched = self.position;
        Ok(Some(line))
    }

    fn inline(&mut self, bytes: &mut [u8], spans: &mut Vec<Span>) -> Result<Scanned, ProtocolError> {
        let Some(end) = memchr(b'\n', &bytes[self.searched..]).map(|at| at + self.searched) else {
            if bytes.len() > MAX_LINE_BYTES {
                return Err(ProtocolError::new("Protocol error: too big inline request"));
            }
            self.searched = bytes.len();
            return Ok(Scanned::Partial { missing: 1 });
        };
        if end > MAX_LINE_BYTES {
            return Err(ProtocolError::new("Protocol error: too big inline request"));
        }
        let before = spans.len();
        let line = bytes[..end].strip_suffix(b"\r").map_or(end, <[u8]>::len);
        if inline::split(&mut bytes[..line], spans).is_err() {
            return Err(ProtocolError::new("Protocol error: unbalanced quotes in request"));
        }
        let length = end + 1;
        match before == spans.len() {
            true => Ok(Scanned::Empty { length }),
            false => Ok(Scanned::Request { args: before..spans.len(), length }),
        }
    }
}

/// A request of short strings that has come whole, as almost every one has: its spans are pushed. None for any other, and
/// for whatever is wrong or limited: the general way finds out what.
#[inline]
fn whole(bytes: &[u8], spans: &mut Vec<Span>, limits: &Limits) -> Option<Scanned> {
    let (count, mut at) = short_header(bytes, b'*')?;
    if count == 0 || count > limits.max_args || limits.unauthenticated {
        return None;
    }
    let before = spans.len();
    let mut argument = || {
        let (length, header) = short_header(&bytes[at..], b'$')?;
        let start = at + header;
        let end = start + length as usize;
        if bytes.get(end..end + 2)? != b"\r\n" || end > limits.max_request_bytes || length > limits.max_bulk_bytes {
            return None;
        }
        // Positions fit, as below.
        spans.push(Span { start: start as u32, end: end as u32 });
        at = end + 2;
        Some(())
    };
    if (0..count).all(|_| argument().is_some()) {
        return Some(Scanned::Request { args: before..spans.len(), length: at });
    }
    spans.truncate(before);
    None
}

/// A header with a mark and a number of up to four digits: the number, and how many bytes the header takes. None for any
/// other one.
#[inline]
fn short_header(bytes: &[u8], mark: u8) -> Option<(u32, usize)> {
    if *bytes.first()? != mark {
        return None;
    }
    let mut number = 0;
    for at in 1..6 {
        let digit = bytes.get(at)?.wrapping_sub(b'0');
        if digit > 9 {
            let has_ended = bytes.get(at..at + 2)? == b"\r\n";
            let is_number = at == 2 || at > 2 && bytes[1] != b'0';
            return (has_ended && is_number).then_some((number, at + 2));
        }
        number = number * 10 + u32::from(digit);
    }
    None
}

/// The end of a line among the first bytes, where the header of any small string has it; a loop over four bytes is
/// quicker than the call of a vectorised search.
#[inline]
fn short_line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().take(5).position(|&byte| byte == b'\r')
}

fn array_length(text: &[u8], limits: &Limits) -> Result<u32, ProtocolError> {
    let Some(length) = parse_length(text).filter(|&length| length <= i64::from(limits.max_args)) else {
        return Err(ProtocolError::new("Protocol error: invalid multibulk length"));
    };
    if limits.unauthenticated && length > i64::from(Limits::UNAUTHENTICATED_ARGS) {
        return Err(ProtocolError::new("Protocol error: unauthenticated multibulk length"));
    }
    Ok(length.max(0) as u32)
}

fn bulk_length(text: &[u8], limits: &Limits) -> Result<u32, ProtocolError> {
    let valid = |length: &i64| (0..=i64::from(limits.max_bulk_bytes)).contains(length);
    let Some(length) = parse_length(text).filter(valid) else {
        return Err(ProtocolError::new("Protocol error: invalid bulk length"));
    };
    if limits.unauthenticated && length > i64::from(Limits::UNAUTHENTICATED_BULK_BYTES) {
        return Err(ProtocolError::new("Protocol error: unauthenticated bulk length"));
    }
    Ok(length as u32)
}

/// A decimal number as Redis' `string2ll` takes it: no sign but `-`, no leading zero. More digits than any length can
/// have are no number here.
#[inline]
fn parse_length(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let leading_zero = digits.first() == Some(&b'0') && (digits.len() > 1 || negative);
    if digits.is_empty() || digits.len() > 18 || leading_zero {
        return None;
    }
    let mut number = 0i64;
    for digit in digits {
        match digit {
            b'0'..=b'9' => number = number * 10 + i64::from(digit - b'0'),
            _ => return None,
        }
    }
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests;

//! A small client for tests: one connection, one command at a time or a pipeline, RESP2 and RESP3.
//!
//! It is written by hand on purpose. A test of a server should not share the server's parser, and it has to be able
//! to send what no well-behaved client sends ([`Client::send`]).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply is waited for. Far more than any reply needs, so that only a hanging server meets it.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// Replies nested deeper than this are refused.
const MAX_DEPTH: usize = 32;
/// The longest line and the longest string that is taken.
const MAX_BYTES: usize = 512 << 20;

/// A reply.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// `+OK`
    Status(String),
    /// `-ERR …` or a bulk error
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$3`, or a verbatim string with its format
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Null,
    /// `*2`, `~2` or `>2`
    Array(Vec<Value>),
    /// `%1`
    Map(Vec<(Value, Value)>),
    /// `,1.5`, as written
    Double(String),
    /// `#t`
    Boolean(bool),
    /// `(123`, as written
    BigNumber(String),
}

impl Value {
    /// The text of a status, a bulk string or an error, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Status(text) | Value::Error(text) => Some(text),
            Value::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Whether this is `+OK`.
    pub fn is_ok(&self) -> bool {
        *self == Value::Status("OK".to_owned())
    }

    /// Whether this is an error of this code.
    pub fn is_error(&self, code: &str) -> bool {
        matches!(self, Value::Error(text) if text.split(' ').next() == Some(code))
    }
}

impl From<&str> for Value {
    /// A bulk string.
    fn from(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    input: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client { input: BufReader::new(stream) })
    }

    /// Sends a command and gives its reply.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        self.send(&encode(arguments))?;
        self.reply()
    }

    /// Sends the words of a line as a command and gives its reply: `client.line("SET key value")`.
    pub fn line(&mut self, line: &str) -> io::Result<Value> {
        self.command(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Sends all commands at once and gives their replies in order.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Value>> {
        let requests: Vec<u8> = commands.iter().flat_map(|arguments| encode(arguments)).collect();
        self.send(&requests)?;
        commands.iter().map(|_| self.reply()).collect()
    }

    /// Sends these bytes, whatever they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.get_mut().write_all(bytes)
    }

    /// The next reply.
    pub fn reply(&mut self) -> io::Result<Value> {
        read_value(&mut self.input, 0)
    }

    /// Waits until the server closes; true if nothing came before that.
    pub fn closed_silently(&mut self) -> io::Result<bool> {
        match self.input.read(&mut [0]) {
            Ok(count) => Ok(count == 0),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments.iter().map(AsRef::as_ref) {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn read_value(input: &mut impl BufRead, depth: usize) -> io::Result<Value> {
    if depth > MAX_DEPTH {
        return Err(malformed("a reply nested too deeply"));
    }
    let line = read_line(input)?;
    let kind = line.as_bytes().first().copied().ok_or_else(|| malformed("an empty line"))?;
    let rest = line.get(1..).ok_or_else(|| malformed(&line))?;
    let mut list = |each: usize| -> io::Result<Option<Vec<Value>>> {
        let Some(count) = length(rest)? else { return Ok(None) };
        (0..count.saturating_mul(each)).map(|_| read_value(input, depth + 1)).collect::<io::Result<_>>().map(Some)
    };
    Ok(match kind {
        b'+' => Value::Status(rest.to_owned()),
        b'-' => Value::Error(rest.to_owned()),
        b':' => Value::Integer(rest.parse().map_err(|_| malformed(&line))?),
        b',' => Value::Double(rest.to_owned()),
        b'#' => Value::Boolean(rest == "t"),
        b'(' => Value::BigNumber(rest.to_owned()),
        b'_' => Value::Null,
        b'*' | b'~' | b'>' => list(1)?.map_or(Value::Null, Value::Array),
        b'%' => Value::Map(pairs(list(2)?.unwrap_or_default())),
        b'$' | b'=' | b'!' => match length(rest)? {
            None => Value::Null,
            Some(length) => bulk(kind, read_bulk(input, length)?),
        },
        _ => return Err(malformed(&line)),
    })
}

fn bulk(kind: u8, bytes: Vec<u8>) -> Value {
    if kind == b'!' { Value::Error(String::from_utf8_lossy(&bytes).into_owned()) } else { Value::Bulk(bytes) }
}

fn pairs(values: Vec<Value>) -> Vec<(Value, Value)> {
    let mut values = values.into_iter();
    std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect()
}

fn length(text: &str) -> io::Result<Option<usize>> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(length) => match usize::try_from(length) {
            Ok(length) if length <= MAX_BYTES => Ok(Some(length)),
            _ => Err(malformed(text)),
        },
        Err(_) => Err(malformed(text)),
    }
}

fn read_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    input.take(MAX_BYTES as u64).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(malformed("a line without its end")),
    }
}

fn read_bulk(input: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length as u64 + 2).read_to_end(&mut bytes)?;
    if bytes.len() != length + 2 || !bytes.ends_with(b"\r\n") {
        return Err(malformed("a string without its end"));
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_both_versions_are_read() {
        let (status, integer) = (Value::Status("OK".into()), Value::Integer(7));
        for (bytes, expected) in [
            ("+OK\r\n", status.clone()),
            ("-ERR no\r\n", Value::Error("ERR no".into())),
            (":7\r\n", integer.clone()),
            ("$3\r\na\r\n\r\n", Value::Bulk(b"a\r\n".to_vec())),
            ("$-1\r\n", Value::Null),
            ("*-1\r\n", Value::Null),
            ("_\r\n", Value::Null),
            ("*2\r\n+OK\r\n:7\r\n", Value::Array(vec![status.clone(), integer.clone()])),
            ("%1\r\n+OK\r\n:7\r\n", Value::Map(vec![(status, integer)])),
            ("#t\r\n", Value::Boolean(true)),
            (",1e100\r\n", Value::Double("1e100".into())),
            ("=7\r\ntxt:abc\r\n", "txt:abc".into()),
            ("!5\r\nERR x\r\n", Value::Error("ERR x".into())),
        ] {
            assert_eq!(read_value(&mut bytes.as_bytes(), 0).expect("valid"), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        let nested = "*1\r\n".repeat(100);
        for bytes in ["", "+OK", "$3\r\nab\r\n", "$-2\r\n", "?\r\n", "\r\n", &nested] {
            assert!(read_value(&mut bytes.as_bytes(), 0).is_err(), "{bytes:?}");
        }
    }
}

//! Replies to bytes, in both versions of the protocol.
//!
//! Written by hand, because every reply passes here and because a general encoder differs from Redis in corners that
//! clients see: null arrays and doubles in RESP2, errors with bytes that are not text. `redis-protocol` is the oracle
//! of the tests wherever the two agree.
//!
//! | reply    | RESP2                   | RESP3              |
//! |----------|-------------------------|--------------------|
//! | null     | `$-1`, array `*-1`      | `_`                |
//! | boolean  | `:1`                    | `#t`               |
//! | double   | bulk string             | `,3.5`             |
//! | verbatim | bulk string             | `=8 CRLF txt:text` |
//! | map      | flat array              | `%2`               |
//! | set      | array                   | `~2`               |
//! | push     | array                   | `>2`               |

use super::{
    Protocol, Reply,
    number::{double_text, push_integer},
    output::{Output, SHARED_BYTES},
};

impl Output {
    /// Appends a reply.
    #[inline]
    pub fn reply(&mut self, reply: Reply<'_>, protocol: Protocol) {
        match reply {
            Reply::Simple(text) => self.line(b'+', text.as_bytes()),
            Reply::Integer(number) => self.integer(number),
            Reply::Bulk(bytes) => self.bulk(bytes),
            Reply::Null => self.null(protocol, b"$-1\r\n"),
            other => self.other(other, protocol),
        }
    }

    /// Appends the head of a list whose elements follow one by one.
    pub fn array_head(&mut self, length: usize) {
        self.head(b'*', length);
    }

    fn other(&mut self, reply: Reply<'_>, protocol: Protocol) {
        match reply {
            Reply::Simple(_) | Reply::Integer(_) | Reply::Bulk(_) | Reply::Null => self.reply(reply, protocol),
            Reply::Error(text) => self.error(&text),
            Reply::Text(text) => self.bulk(text.as_bytes()),
            Reply::Blob(bytes) if bytes.len() >= SHARED_BYTES => self.shared(bytes.into()),
            Reply::Blob(bytes) => self.bulk(&bytes),
            Reply::Shared(bytes) => self.shared(bytes),
            Reply::Verbatim(text) => self.verbatim(&text, protocol),
            Reply::NullArray => self.null(protocol, b"*-1\r\n"),
            Reply::Boolean(truth) => self.boolean(truth, protocol),
            Reply::Double(number) => self.double(number, protocol),
            Reply::Array(elements) => self.elements(b'*', elements, protocol),
            Reply::Set(elements) => self.elements(either(protocol, b'*', b'~'), elements, protocol),
            Reply::Push(elements) => self.elements(either(protocol, b'*', b'>'), elements, protocol),
            Reply::Map(pairs) => self.pairs(pairs, protocol),
            // An error is copied, however long: whoever counts errors looks at what was written last.
            Reply::Encoded(bytes) if bytes.len() >= SHARED_BYTES && bytes[0] != b'-' => self.push_shared(bytes),
            Reply::Encoded(bytes) => self.tail().extend_from_slice(&bytes),
        }
    }

    fn head(&mut self, mark: u8, length: usize) {
        let out = self.tail();
        out.push(mark);
        // A length is far below `i64::MAX`: it counts bytes or elements in memory.
        push_integer(out, length as i64);
        out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, mark: u8, text: &[u8]) {
        let out = self.tail();
        out.push(mark);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn integer(&mut self, number: i64) {
        let out = self.tail();
        out.push(b':');
        push_integer(out, number);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len());
        let out = self.tail();
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }

    fn shared(&mut self, bytes: bytes::Bytes) {
        if bytes.len() < SHARED_BYTES {
            return self.bulk(&bytes);
        }
        self.head(b'$', bytes.len());
        self.push_shared(bytes);
        self.tail().extend_from_slice(b"\r\n");
    }

    fn error(&mut self, text: &str) {
        let out = self.tail();
        out.push(b'-');
        out.extend(text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        out.extend_from_slice(b"\r\n");
    }

    fn null(&mut self, protocol: Protocol, resp2: &[u8]) {
        self.tail().extend_from_slice(match protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => b"_\r\n",
        });
    }

    fn boolean(&mut self, truth: bool, protocol: Protocol) {
        match protocol {
            Protocol::Resp2 => self.integer(truth.into()),
            Protocol::Resp3 => self.line(b'#', if truth { b"t" } else { b"f" }),
        }
    }

    fn double(&mut self, number: f64, protocol: Protocol) {
        let text = double_text(number);
        match protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    fn verbatim(&mut self, text: &str, protocol: Protocol) {
        const FORMAT: &[u8] = b"txt:";
        if protocol == Protocol::Resp2 {
            return self.bulk(text.as_bytes());
        }
        self.head(b'=', FORMAT.len() + text.len());
        let out = self.tail();
        out.extend_from_slice(FORMAT);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    fn elements(&mut self, mark: u8, elements: Vec<Reply<'_>>, protocol: Protocol) {
        self.head(mark, elements.len());
        for element in elements {
            if self.cuts() {
                return;
            }
            self.reply(element, protocol);
        }
    }

    fn pairs(&mut self, pairs: Vec<(Reply<'_>, Reply<'_>)>, protocol: Protocol) {
        match protocol {
            Protocol::Resp2 => self.head(b'*', 2 * pairs.len()),
            Protocol::Resp3 => self.head(b'%', pairs.len()),
        }
        for (key, value) in pairs {
            if self.cuts() {
                return;
            }
            self.reply(key, protocol);
            self.reply(value, protocol);
        }
    }
}

fn either(protocol: Protocol, resp2: u8, resp3: u8) -> u8 {
    match protocol {
        Protocol::Resp2 => resp2,
        Protocol::Resp3 => resp3,
    }
}

#[cfg(test)]
mod tests;

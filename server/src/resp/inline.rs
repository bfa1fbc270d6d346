//! Inline commands: a line split into arguments, with the quoting of Valkey 9.1 (`sdsnsplitargs`).
//!
//! Arguments are separated by white space. Inside double quotes `\n \r \t \b \a`, `\xHH` and `\` before any other byte
//! are understood, inside single quotes only `\'`; quoted and other parts may follow each other in one argument. A zero
//! byte ends the line, since it did for the C strings of the original.

use super::Span;

/// A quote was not closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unbalanced;

/// Splits the line, and unquotes its arguments in place: an argument is never longer than its quoted form.
pub(super) fn split(line: &mut [u8], spans: &mut Vec<Span>) -> Result<(), Unbalanced> {
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let length = line.len();
    let mut words = Words { line: &mut line[..end], length, read: 0, write: 0 };
    loop {
        words.skip_space();
        if words.read == end {
            return Ok(());
        }
        let start = words.read;
        words.write = start;
        words.word()?;
        spans.push(Span { start: start as u32, end: words.write as u32 });
    }
}

struct Words<'a> {
    line: &'a mut [u8],
    /// The length of the line with what follows a zero byte.
    length: usize,
    read: usize,
    write: usize,
}

impl Words<'_> {
    fn skip_space(&mut self) {
        while self.line.get(self.read).is_some_and(|&byte| is_space(byte)) {
            self.read += 1;
        }
    }

    /// One argument. A quote begins and ends anywhere in it; only one that is open at the end is wrong.
    fn word(&mut self) -> Result<(), Unbalanced> {
        let mut quote = None;
        while let Some(&byte) = self.line.get(self.read) {
            // An escape at the very end of the line is none.
            let has_room = |bytes: usize| self.read + bytes < self.length;
            let (byte, length) = match (quote, &self.line[self.read..]) {
                (None, [b' ' | b'\n' | b'\r' | b'\t', ..]) => {
                    self.read += 1;
                    return Ok(());
                }
                (None, [b'"' | b'\'', ..]) => {
                    quote = Some(byte);
                    self.read += 1;
                    continue;
                }
                (Some(open), _) if open == byte => {
                    quote = None;
                    self.read += 1;
                    continue;
                }
                (Some(b'"'), [b'\\', b'x', high, low, ..])
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() && has_room(4) =>
                {
                    (nibble(*high) << 4 | nibble(*low), 4)
                }
                (Some(b'"'), [b'\\', escaped, ..]) if has_room(2) => (control(*escaped), 2),
                (Some(b'\''), [b'\\', b'\'', ..]) if has_room(2) => (b'\'', 2),
                _ => (byte, 1),
            };
            self.read += length;
            self.put(byte);
        }
        if quote.is_some() { Err(Unbalanced) } else { Ok(()) }
    }

    fn put(&mut self, byte: u8) {
        self.line[self.write] = byte;
        self.write += 1;
    }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

fn control(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, words: Option<&[&str]>) {
        let (mut bytes, mut spans) = (line.as_bytes().to_vec(), Vec::new());
        let split = split(&mut bytes, &mut spans);
        let found: Vec<_> = spans.iter().map(|span| &bytes[span.start as usize..span.end as usize]).collect();
        match words {
            None => assert_eq!(split, Err(Unbalanced), "{line}"),
            Some(words) => assert_eq!(found, words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>(), "{line}"),
        }
    }

    #[test]
    fn lines_are_split_as_redis_splits_them() {
        check("", Some(&[]));
        check(" \t ", Some(&[]));
        check("  set  a\t1 ", Some(&["set", "a", "1"]));
        check(r#"set "a b" 'c d'"#, Some(&["set", "a b", "c d"]));
        check(r#"set "\x41\x5Ag\n\r\t\b\a\"\\\q\xg""#, Some(&["set", "AZg\n\r\t\u{8}\u{7}\"\\qxg"]));
        check(r"set 'it\'s \n'", Some(&["set", r"it's \n"]));
        check(r#"get """#, Some(&["get", ""]));
        check(r#"get foo"bar""#, Some(&["get", "foobar"]));
        check(r#"get "a"b 'c'"d" ""x a"b c"d"#, Some(&["get", "ab", "cd", "x", "ab cd"]));
        check(r"get 'a\'", Some(&["get", r"a\"]));
        check(r#"get "a\""#, Some(&["get", r"a\"]));
        check(r#"get "\x41""#, Some(&["get", "A"]));
        check("get a\0b", Some(&["get", "a"]));
        check("get a\u{b}b", Some(&["get", "a\u{b}b"]));
    }

    #[test]
    fn quotes_that_do_not_balance_are_refused() {
        check(r#"get "a"#, None);
        check(r#"get "a\"#, None);
        check(r#"get a"b"#, None);
        check("get 'a", None);
        check("get 'a'b'", None);
        check("get \"a\0\"", None);
    }
}

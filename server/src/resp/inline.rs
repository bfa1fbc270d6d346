//! Inline commands: a line split into arguments, with the quoting of Redis' `sdssplitargs`.
//!
//! Arguments are separated by white space. Inside double quotes `\n \r \t \b \a`, `\xHH` and `\` before any other byte
//! are understood, inside single quotes only `\'`; a closing quote must end the argument. A zero byte ends the line,
//! since it did for the C strings of the original.

use super::Span;

/// A quote was not closed, or something follows a closing quote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unbalanced;

/// Splits the line, and unquotes its arguments in place: an argument is never longer than its quoted form.
pub(super) fn split(line: &mut [u8], spans: &mut Vec<Span>) -> Result<(), Unbalanced> {
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let mut words = Words { line: &mut line[..end], read: 0, write: 0 };
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
    read: usize,
    write: usize,
}

impl Words<'_> {
    fn skip_space(&mut self) {
        while self.line.get(self.read).is_some_and(|&byte| is_space(byte)) {
            self.read += 1;
        }
    }

    fn word(&mut self) -> Result<(), Unbalanced> {
        while let Some(&byte) = self.line.get(self.read) {
            self.read += 1;
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => break,
                b'"' => return self.double_quoted(),
                b'\'' => return self.single_quoted(),
                byte => self.put(byte),
            }
        }
        Ok(())
    }

    fn double_quoted(&mut self) -> Result<(), Unbalanced> {
        loop {
            let (byte, length) = match self.line[self.read..] {
                [] => return Err(Unbalanced),
                [b'"', ..] => return self.close(),
                [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    (nibble(high) << 4 | nibble(low), 4)
                }
                [b'\\', escaped, ..] => (control(escaped), 2),
                [byte, ..] => (byte, 1),
            };
            self.read += length;
            self.put(byte);
        }
    }

    fn single_quoted(&mut self) -> Result<(), Unbalanced> {
        loop {
            let (byte, length) = match self.line[self.read..] {
                [] => return Err(Unbalanced),
                [b'\'', ..] => return self.close(),
                [b'\\', b'\'', ..] => (b'\'', 2),
                [byte, ..] => (byte, 1),
            };
            self.read += length;
            self.put(byte);
        }
    }

    fn close(&mut self) -> Result<(), Unbalanced> {
        self.read += 1;
        match self.line.get(self.read) {
            Some(&byte) if !is_space(byte) => Err(Unbalanced),
            _ => Ok(()),
        }
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
        check("get a\0b", Some(&["get", "a"]));
        check("get a\u{b}b", Some(&["get", "a\u{b}b"]));
    }

    #[test]
    fn quotes_that_do_not_balance_are_refused() {
        check(r#"get "a"#, None);
        check(r#"get "a"b"#, None);
        check(r#"get "a\"#, None);
        check("get 'a", None);
        check("get 'a'b", None);
        check("get \"a\0\"", None);
    }
}

//! Integers as texts, in the one form that Redis takes for an integer.

/// Reads an integer: an optional minus, no leading zero, no plus, no space, within 64 bits. Every integer has exactly
/// one such text, so a counter can be kept as its text without loss.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Nineteen digits are below 2^64, so this cannot overflow.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads the cursor of an iteration as C's `strtoull` does, which Redis leaves it to unless it is an integer as any other:
/// spaces before it, a sign, and up to a zero byte. None if anything follows, or the number is too large, or there is
/// none; a negative integer is none.
pub fn parse_cursor(text: &[u8]) -> Option<u64> {
    if let Some(integer) = parse_integer(text) {
        return u64::try_from(integer).ok();
    }
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|byte| is_space(byte)).count()..];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// The text of an integer, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct IntegerText {
    bytes: [u8; 20],
    start: u8,
}

impl IntegerText {
    /// Writes an integer.
    pub fn new(integer: i64) -> IntegerText {
        let mut text = IntegerText { bytes: [0; 20], start: 20 };
        let mut rest = integer.unsigned_abs();
        loop {
            text.push_front(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if integer < 0 {
            text.push_front(b'-');
        }
        text
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }

    fn push_front(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[usize::from(self.start)] = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cursors_are_read_as_c_reads_numbers() {
        let check = |text: &str, expected| assert_eq!(parse_cursor(text.as_bytes()), expected, "{text:?}");
        for (text, number) in [("0", 0), ("-0", 0), (" \t7", 7), ("+7", 7), ("007", 7), ("7\0x", 7), ("-01", u64::MAX)]
        {
            check(text, Some(number));
        }
        check("18446744073709551615", Some(u64::MAX));
        for text in ["", "\0", "-1", "18446744073709551616", "x", "7x", "7 ", " ", "-", "0x7", "--7"] {
            check(text, None);
        }
    }

    #[test]
    fn only_the_one_form_of_an_integer_is_read() {
        let check = |text: &str, expected| assert_eq!(parse_integer(text.as_bytes()), expected, "{text:?}");
        check("0", Some(0));
        check("-1", Some(-1));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        for text in [
            "",
            "-",
            "-0",
            "+1",
            " 1",
            "1 ",
            "01",
            "00",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "0x10",
            "1\0",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn integers_are_read_as_they_are_written(integer: i64) {
            let text = IntegerText::new(integer);
            prop_assert_eq!(text.as_bytes().to_vec(), integer.to_string().into_bytes());
            prop_assert_eq!(parse_integer(text.as_bytes()), Some(integer));
        }

        #[test]
        fn a_text_is_an_integer_exactly_if_it_is_written_so(text in "[-+ 0-9]{0,21}") {
            let twin = text.parse::<i64>().ok().filter(|integer| integer.to_string() == text);
            prop_assert_eq!(parse_integer(text.as_bytes()), twin);
        }
    }
}

//! The floating-point numbers of `INCRBYFLOAT`.
//!
//! Redis computes them in `long double`, which on x86-64 is the 80-bit extended format: 64 bits of mantissa. Its
//! texts have up to 17 digits behind the point, so 64-bit doubles would show: 0.1 + 0.2 is `0.3` in Redis and
//! 0.30000000000000004 in doubles, while decimal arithmetic would lack the digits that 5000.1 + 0.1 shows. So the
//! format is done here in software, with correct rounding (to nearest, ties to even) at each step: reading, adding,
//! writing. The texts are those of Redis on x86-64, byte by byte.
//!
//! What differs: subnormal numbers (below 3.4e-4932) count as zero, which no text shows. Redis on processors with another
//! `long double` differs from itself on x86-64.

/// A finite number: `mantissa × 2^exponent`, negated or not. The mantissa has its highest bit set or is zero.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// The least exponent of a normal number, and the greatest.
const EXPONENTS: core::ops::RangeInclusive<i32> = -16445..=16320;
/// Below this exponent a number is nearer to zero than to any other.
const LEAST_SUBNORMAL_EXPONENT: i32 = -16509;
/// No longer text is a number, as in Redis.
const MAX_TEXT_BYTES: usize = 5 * 1024;
/// How many digits stand behind the point.
const DECIMALS: usize = 17;

impl Extended {
    const ZERO: Extended = Extended { negative: false, mantissa: 0, exponent: 0 };

    /// Reads a decimal or hexadecimal number as C's `strtold` does, the whole text. None also where it does not fit the format.
    pub fn parse(text: &[u8]) -> Option<Parsed> {
        if text.len() >= MAX_TEXT_BYTES {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Parsed::Infinite);
        }
        let magnitude = match unsigned {
            [b'0', b'x' | b'X', digits @ ..] => from_hexadecimal(digits)?,
            _ => {
                let (digits, exponent) = decimal(unsigned)?;
                from_decimal(&digits, exponent)?
            }
        };
        Some(Parsed::Finite(Extended { negative, ..magnitude }))
    }

    /// The sum; none where it is beyond the format.
    pub fn checked_add(self, other: Extended) -> Option<Extended> {
        if other.mantissa == 0 {
            return Some(self);
        }
        if self.mantissa == 0 {
            return Some(other);
        }
        let magnitude = |number: Extended| (number.exponent, number.mantissa);
        let (large, small) = if magnitude(self) >= magnitude(other) { (self, other) } else { (other, self) };
        // 62 bits below the mantissa of the larger one, and a carry bit above it.
        let distance = (large.exponent - small.exponent) as u32;
        let upper = u128::from(large.mantissa) << 62;
        let full = u128::from(small.mantissa) << 62;
        let lower = if distance > 126 {
            1
        } else {
            full >> distance | u128::from(full << (128 - distance.max(1)) != 0 && distance > 0)
        };
        let sum = if large.negative == small.negative { upper + lower } else { upper - lower };
        round(large.negative, sum, large.exponent - 62, false)
    }

    /// The text, with at most 17 digits behind the point and no zeros at their end.
    pub fn text(self) -> String {
        // The value in units of 10^-17, rounded.
        let mut digits = if self.exponent >= 0 {
            let mut integer = Natural::new(u128::from(self.mantissa));
            integer.shift_left(self.exponent as u32);
            let mut digits = integer.decimal();
            digits.push_str(&"0".repeat(DECIMALS));
            digits
        } else {
            units(self.mantissa, self.exponent.unsigned_abs()).to_string()
        };
        if digits.len() <= DECIMALS {
            digits.insert_str(0, &"0".repeat(DECIMALS + 1 - digits.len()));
        }
        digits.insert(digits.len() - DECIMALS, '.');
        let trimmed = digits.trim_end_matches('0').trim_end_matches('.');
        if self.negative && trimmed != "0" { format!("-{trimmed}") } else { trimmed.to_owned() }
    }
}

/// A text as a number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Parsed {
    /// A finite one.
    Finite(Extended),
    /// Plus or minus infinity, which no sum may be.
    Infinite,
}

/// A number of hexadecimal digits, and perhaps a power of two that it is multiplied with.
fn from_hexadecimal(text: &[u8]) -> Option<Extended> {
    let (number, power) = match text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'p')) {
        Some(at) => (&text[..at], decimal_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = number.iter().position(|&byte| byte == b'.');
    let digits = [&number[..point.unwrap_or(number.len())], point.map_or(&[][..], |at| &number[at + 1..])].concat();
    if digits.is_empty() {
        return None;
    }
    let mut exponent = power - 4 * point.map_or(0, |at| number.len() - at - 1) as i32;
    let (mut value, mut sticky) = (0u128, false);
    for digit in digits {
        let digit = char::from(digit).to_digit(16)?;
        match value >> 124 {
            0 => value = value << 4 | u128::from(digit),
            _ => {
                exponent += 4;
                sticky |= digit != 0;
            }
        }
    }
    round(false, value, exponent, sticky)
}

/// The digits, point taken out, and the power of ten that they are multiplied with.
fn decimal(text: &[u8]) -> Option<(Vec<u8>, i32)> {
    let (number, exponent) = match text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (whole, fraction) = match number.iter().position(|&byte| byte == b'.') {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &[][..]),
    };
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let exponent = exponent.map_or(Some(0), decimal_exponent)?;
    Some((digits, exponent - fraction.len() as i32))
}

/// Exponents beyond any number are cut to one that is still beyond it.
fn decimal_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value: i32, &digit| (value * 10 + i32::from(digit - b'0')).min(20_000));
    Some(if negative { -value } else { value })
}

fn from_decimal(digits: &[u8], exponent: i32) -> Option<Extended> {
    let mut natural = Natural::from_digits(digits);
    if natural.is_zero() {
        return Some(Extended::ZERO);
    }
    if exponent.unsigned_abs() > 11_000 {
        return None;
    }
    let mut shifted = 0;
    let mut inexact = false;
    if exponent >= 0 {
        powers_of_ten(exponent.unsigned_abs()).for_each(|power| natural.multiply(power));
    } else {
        // Room for a quotient of at least 128 bits; 10^n has fewer than 4n bits.
        shifted = 128 + 4 * exponent.unsigned_abs();
        natural.shift_left(shifted);
        powers_of_ten(exponent.unsigned_abs()).for_each(|power| inexact |= natural.divide(power) != 0);
    }
    let (top, dropped_bits, rest) = natural.top();
    round(false, top, dropped_bits as i32 - shifted as i32, inexact || rest)
}

/// Powers of ten of one word each, whose product is `10^exponent`.
fn powers_of_ten(exponent: u32) -> impl Iterator<Item = u32> {
    (0..exponent).step_by(9).map(move |done| 10u32.pow((exponent - done).min(9)))
}

/// The nearest number to `value × 2^exponent`, which is a little more if `sticky`.
fn round(negative: bool, value: u128, exponent: i32, sticky: bool) -> Option<Extended> {
    if value == 0 {
        return Some(Extended::ZERO);
    }
    let shift = value.leading_zeros();
    let value = value << shift;
    let mut exponent = exponent - shift as i32 + 64;
    let mut mantissa = (value >> 64) as u64;
    let rest = value as u64;
    let half = 1 << 63;
    if rest > half || rest == half && (sticky || mantissa & 1 == 1) {
        mantissa = match mantissa.checked_add(1) {
            Some(mantissa) => mantissa,
            None => {
                exponent += 1;
                half
            }
        };
    }
    let is_subnormal = (LEAST_SUBNORMAL_EXPONENT..*EXPONENTS.start()).contains(&exponent);
    if is_subnormal && (exponent, mantissa) != (LEAST_SUBNORMAL_EXPONENT, half) {
        return Some(Extended::ZERO);
    }
    EXPONENTS.contains(&exponent).then_some(Extended { negative, mantissa, exponent })
}

/// `mantissa / 2^shift` in units of 10^-17, rounded to even.
fn units(mantissa: u64, shift: u32) -> u128 {
    let scaled = u128::from(mantissa) * 10u128.pow(DECIMALS as u32);
    if shift >= 128 {
        return 0;
    }
    let (whole, rest) = (scaled >> shift, scaled << (128 - shift));
    let half = 1 << 127;
    whole + u128::from(rest > half || rest == half && whole & 1 == 1)
}

/// A natural number of any size, least significant word first, without leading zero words.
struct Natural(Vec<u32>);

impl Natural {
    fn new(value: u128) -> Natural {
        let mut natural = Natural((0..4).map(|word| (value >> (32 * word)) as u32).collect());
        natural.trim();
        natural
    }

    fn from_digits(digits: &[u8]) -> Natural {
        let mut natural = Natural(Vec::new());
        for group in digits.chunks(9) {
            natural.multiply(10u32.pow(group.len() as u32));
            natural.add(group.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')));
        }
        natural
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn multiply(&mut self, factor: u32) {
        let mut carry = 0;
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn add(&mut self, summand: u32) {
        let mut carry = summand;
        for word in &mut self.0 {
            let (sum, overflow) = word.overflowing_add(carry);
            *word = sum;
            carry = u32::from(overflow);
        }
        if carry > 0 {
            self.0.push(carry);
        }
    }

    /// Divides and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0;
        for word in self.0.iter_mut().rev() {
            let dividend = rest << 32 | u64::from(*word);
            *word = (dividend / u64::from(divisor)) as u32;
            rest = dividend % u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply(1 << (bits % 32));
        if !self.is_zero() {
            self.0.splice(0..0, std::iter::repeat_n(0, bits as usize / 32));
        }
    }

    /// The highest bits, at least 97 where there are as many; how many bits are below them; whether any of those is set.
    fn top(&self) -> (u128, usize, bool) {
        let below = self.0.len().saturating_sub(4);
        let top = self.0[below..].iter().rev().fold(0, |top, &word| top << 32 | u128::from(word));
        (top, 32 * below, self.0[..below].iter().any(|&word| word != 0))
    }

    fn decimal(mut self) -> String {
        let mut groups = Vec::new();
        while !self.is_zero() {
            groups.push(self.divide(1_000_000_000));
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text
    }
}

#[cfg(test)]
mod tests;

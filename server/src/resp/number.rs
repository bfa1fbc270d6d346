//! Numbers as Redis writes them.

/// Appends a decimal integer. `write!` costs several times as much, and every length of a reply passes here.
#[inline]
pub(super) fn push_integer(out: &mut Vec<u8>, number: i64) {
    if (0..10).contains(&number) {
        out.push(b'0' + number as u8);
        return;
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

/// A floating-point number as C's `%.17g` writes it: 17 significant digits, trailing zeros dropped, an exponent only
/// below 1e-4 and from 1e17 on. Rust has no such format, but its `{:e}` gives the same 17 digits.
pub(super) fn double_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` of a finite number has an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes the exponent as an integer");
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    match exponent {
        -4..0 => format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize)),
        0..17 => {
            let whole = exponent as usize + 1;
            match digits.split_at_checked(whole) {
                None | Some((_, "")) => format!("{sign}{digits:0<whole$}"),
                Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
            }
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            let exponent_sign = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{first}{point}{rest}e{exponent_sign}{:02}", exponent.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_are_written_as_printf_writes_them() {
        // Figures of `printf '%.17g'`.
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (10.0, "10"),
            (-2.5, "-2.5"),
            (0.1, "0.10000000000000001"),
            (3.3, "3.2999999999999998"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (5e-324, "4.9406564584124654e-324"),
            (123456789.125, "123456789.125"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(double_text(number), text);
        }
    }

    proptest! {
        #[test]
        fn integers_are_written_as_the_standard_library_writes_them(number: i64) {
            let mut out = Vec::new();
            push_integer(&mut out, number);
            prop_assert_eq!(out, number.to_string().into_bytes());
        }

        #[test]
        fn a_double_is_read_back_as_it_was(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            prop_assert_eq!(double_text(number).parse::<f64>().unwrap(), number);
        }
    }
}

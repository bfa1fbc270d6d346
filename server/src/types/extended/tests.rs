use super::*;
use proptest::prelude::*;

fn number(text: &str) -> Extended {
    match Extended::parse(text.as_bytes()) {
        Some(Parsed::Finite(number)) => number,
        other => panic!("{text}: {other:?}"),
    }
}

/// Figures of `INCRBYFLOAT` on Redis 7.0.15, x86-64.
#[test]
fn sums_are_written_as_redis_writes_them() {
    for (left, right, sum) in include!("../extended_sums.in") {
        assert_eq!(number(left).checked_add(number(right)).unwrap().text(), sum, "{left} + {right}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for text in [
        "",
        " 1",
        "1 ",
        "1,5",
        "nan",
        "e5",
        ".",
        "-",
        "1e",
        "1e+",
        "0x",
        "0x.",
        "0xg",
        "0x1p",
        "0x1.1.1",
        "0xp1",
        "1e-4951",
        "--1",
        "1e5000",
        "1e-6000",
        "1e99999999999",
    ] {
        assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
    }
    assert_eq!(Extended::parse(b"-Inf"), Some(Parsed::Infinite));
    assert_eq!(Extended::parse(b"0e99999"), Some(Parsed::Finite(Extended::ZERO)));
    assert_eq!(Extended::parse(b"1e-4940"), Some(Parsed::Finite(Extended::ZERO)));
    for (text, shown) in [
        ("0x10", "16"),
        ("-0X1.8", "-1.5"),
        ("0x.8p1", "1"),
        ("0xAp-1", "5"),
        ("0x1p63", "9223372036854775808"),
        ("0xffffffffffffffffffffffffffffffffffp-72", "18446744073709551616"),
        ("0x0", "0"),
    ] {
        assert_eq!(number(text).text(), shown, "{text}");
    }
    let huge = number("1e4932");
    assert_eq!(huge.checked_add(huge), None);
}

proptest! {
    #[test]
    fn integers_add_exactly(left in -(1i64 << 61)..1 << 61, right in -(1i64 << 61)..1 << 61) {
        let sum = number(&left.to_string()).checked_add(number(&right.to_string())).unwrap();
        prop_assert_eq!(sum.text(), (left + right).to_string());
    }

    #[test]
    fn adding_does_not_depend_on_the_side_and_zero_changes_nothing(left in "-?[0-9]{1,12}\\.[0-9]{1,12}", right in "-?[0-9]{1,12}(e-?[0-9]{1,2})?") {
        let (left, right) = (number(&left), number(&right));
        prop_assert_eq!(left.checked_add(right).unwrap().text(), right.checked_add(left).unwrap().text());
        prop_assert_eq!(left.checked_add(Extended::ZERO).unwrap().text(), left.text());
    }

    #[test]
    fn short_decimals_are_written_as_they_were_read(whole in 0u32..9, fraction in "[0-9]{0,16}[1-9]") {
        let text = format!("{whole}.{fraction}");
        prop_assert_eq!(number(&text).text(), text);
    }
}

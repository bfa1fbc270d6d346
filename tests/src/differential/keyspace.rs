//! Keys, values and numbers that commands are made of.
//!
//! There are few keys, so that commands meet each other's values, and few values, so that comparisons (`IFEQ`) are
//! sometimes true.

use fastrand::Rng;

/// Keys of one slot.
const TAGGED: [&str; 6] = ["{t}1", "{t}2", "{t}3", "{t}4", "{t}", "{t}1x"];
/// Keys of many slots.
const PLAIN: [&str; 11] = ["k1", "k2", "k3", "k4", "key:10", "{u}1", "{u}2", "{t1", "{}5", "17", "NX"];
/// Three keys of four are one of these.
const HOT: [&str; 8] = ["k1", "k2", "k3", "{t}1", "{t}2", "{t}3", "{u}1", "{u}2"];

/// Values that are numbers, or nearly.
const NUMBERS: [&str; 30] = [
    "0",
    "1",
    "-1",
    "7",
    "10",
    "42",
    "99999",
    "-0",
    "01",
    " 1",
    "1 ",
    "+1",
    "3.0",
    "3.14",
    "-2.5e3",
    "1e17",
    "5.0e-3",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "1.",
    ".5",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551616",
    "12345678901234567890",
    "17976931348623157",
];
const TEXTS: [&[u8]; 10] = [
    b"",
    b"a",
    b"abc",
    b"hello world",
    b"ohmytext",
    b"mynewtext",
    b"\x00\xff\r\n\x80",
    b"{t}1",
    b"XX",
    b"abcabcabcabcabcabcabcabcabcabc",
];
/// What stands where an integer should, or does.
const INTEGERS: [&str; 30] = [
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "3",
    "5",
    "10",
    "-10",
    "100",
    "1000",
    "-1000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "4294967296",
    "2147483648",
    "-2147483649",
    "",
    "abc",
    "1.5",
    "1e3",
    " 1",
    "1 ",
    "+5",
    "007",
    "0x10",
    "-0",
];

/// Any key that the run uses on purpose.
pub(super) fn all_keys() -> Vec<Vec<u8>> {
    let texts = TAGGED.iter().chain(&PLAIN).map(|key| key.as_bytes().to_vec());
    texts.chain([Vec::new(), b"\xff\xfe\x00bin\r\n".to_vec(), long_key(), b"sp ace".to_vec()]).collect()
}

/// A key of 1 KB.
fn long_key() -> Vec<u8> {
    [b"{t}".as_slice(), &[b'L'; 1021]].concat()
}

/// A key.
pub(super) fn key(rng: &mut Rng) -> Vec<u8> {
    if rng.u8(..4) > 0 {
        return HOT[rng.usize(..HOT.len())].into();
    }
    let mut keys = all_keys();
    keys.swap_remove(rng.usize(..keys.len()))
}

/// A key of the slot that several keys share.
pub(super) fn tagged_key(rng: &mut Rng) -> Vec<u8> {
    if rng.u8(..16) == 0 { long_key() } else { TAGGED[rng.usize(..TAGGED.len())].into() }
}

/// A value: mostly short, now and then 20 KB, seldom 1 MB.
pub(super) fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.u32(..4000) {
        0 => text_of(rng, 1 << 20),
        1..=30 => text_of(rng, 20 << 10),
        31..=130 => text_of(rng, 1000),
        131..=500 => {
            let size = [20, 43, 44, 45, 46, 60, 63, 64, 65, 128][rng.usize(..10)];
            text_of(rng, size)
        }
        501..=1600 => TEXTS[rng.usize(..TEXTS.len())].into(),
        1601..=2400 => rng.i64(-20..20).to_string().into(),
        2401..=2600 => rng.i64(i64::MIN..i64::MAX).to_string().into(),
        _ => NUMBERS[rng.usize(..NUMBERS.len())].into(),
    }
}

/// A value of at most some dozens of bytes.
pub(super) fn short_value(rng: &mut Rng) -> Vec<u8> {
    loop {
        let value = value(rng);
        if value.len() <= 64 {
            return value;
        }
    }
}

/// Text of this size that repeats itself, or does not.
fn text_of(rng: &mut Rng, size: usize) -> Vec<u8> {
    match rng.u8(..4) {
        0 => vec![b'x'; size],
        1 => b"abcdefgh".iter().copied().cycle().take(size).collect(),
        2 => (0..size).map(|_| b'a' + rng.u8(..4)).collect(),
        _ => (0..size).map(|_| rng.u8(..)).collect(),
    }
}

/// An integer, or what is none.
pub(super) fn integer(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..5) {
        0 => INTEGERS[rng.usize(..INTEGERS.len())].into(),
        1 => rng.i64(-100_000..100_000).to_string().into(),
        _ => rng.i64(-12..40).to_string().into(),
    }
}

/// A summand for `INCRBYFLOAT`, or what is none.
pub(super) fn float(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..4) {
        0 => NUMBERS[rng.usize(..NUMBERS.len())].into(),
        1 => format!("{}e{}", rng.i32(-99..99), rng.i32(-20..20)).into(),
        2 => format!("{}.{}", rng.i32(-99..99), rng.u32(..100_000)).into(),
        _ => rng.i32(-5..50).to_string().into(),
    }
}

/// A pattern for `KEYS` and `MATCH`.
pub(super) fn pattern(rng: &mut Rng) -> Vec<u8> {
    const PATTERNS: [&[u8]; 20] = [
        b"*",
        b"k*",
        b"{t}*",
        b"k?",
        b"k[1-3]",
        b"k[^1]",
        b"k[!1]",
        b"*\\*",
        b"[",
        b"k[",
        b"",
        b"\xff*",
        b"**",
        b"nx",
        b"K1",
        b"???",
        b"*[0-9]",
        b"k\\1",
        b"{t}[3-1]",
        b"*L*",
    ];
    PATTERNS[rng.usize(..PATTERNS.len())].into()
}

/// A word or text that does not belong where it is put.
pub(super) fn odd(rng: &mut Rng) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "NX", "XX", "GET", "EX", "PXAT", "KEEPTTL", "REPLACE", "DB", "GT", "COUNT", "LEN", "STORE", "bogus", "", "-1",
        "IFEQ",
    ];
    match rng.u8(..4) {
        0 => INTEGERS[rng.usize(..INTEGERS.len())].into(),
        1 => key(rng),
        2 => short_value(rng),
        _ => WORDS[rng.usize(..WORDS.len())].into(),
    }
}

/// One of these.
pub(super) fn one_of<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    words[rng.usize(..words.len())]
}

use proptest::prelude::*;

use super::*;

/// What Valkey 9.1.2 answered to `DUMP`.
const DUMPED: [(&[u8], &[u8]); 21] = [
    (b"", b"\x00\x00P\x00\x92\xb1\x95\xd1\x91-\xc5."),
    (b"a", b"\x00\x01aP\x00p\xd4&\x0a\x11d\x1a@"),
    (b"0", b"\x00\xc0\x00P\x00Wjn\xe9f\x02d\xfc"),
    (b"-1", b"\x00\xc0\xffP\x00\xc3\xb9\xb7\xb5\x1bZ\xfa1"),
    (b"127", b"\x00\xc0\x7fP\x00\xc2\x9f\x22\xa0\xcc\x06\xa2\xe0"),
    (b"128", b"\x00\xc1\x80\x00P\x00$Pz$\x8e\x9d,\x91"),
    (b"-128", b"\x00\xc0\x80P\x00VL\xfb\xfc\xb1^<-"),
    (b"-129", b"\x00\xc1\x7f\xffP\x00\xd8JK\xb9\xca\xd2\xe3t"),
    (b"32767", b"\x00\xc1\xff\x7fP\x00\x86p\xfeK\x89\xa6\xb2\xdf"),
    (b"32768", b"\x00\xc2\x00\x80\x00\x00P\x00\x8a\xf2\xe7|K\xef\xce\xe4"),
    (b"2147483647", b"\x00\xc2\xff\xff\xff\x7fP\x00\xe3^,\x0f~|\xcaU"),
    (b"2147483648", b"\x00\x0a2147483648P\x00(\x9b\xe02\xd2O\x11\x1a"),
    (b"-2147483648", b"\x00\xc2\x00\x00\x00\x80P\x00\x08eN\xaf\xad\x07\xe6s"),
    (b"-2147483649", b"\x00\x0b-2147483649P\x00\x0dK\xfe\xe8\x96\xa0ex"),
    (b"01", b"\x00\x0201P\x00\xa3\xf7\x0d\xd0\x8a\x1e\x1aP"),
    (b"9223372036854775807", b"\x00\x139223372036854775807P\x00\xf5O\xb7\x05\x1f\xba8\xd6"),
    (b"xxxxxxxxxxxxxxxxxxxx", b"\x00\x14xxxxxxxxxxxxxxxxxxxxP\x00\x94\x16H};\xde\xa2\x9f"),
    (b"xxxxxxxxxxxxxxxxxxxxx", b"\x00\xc3\x06\x15\x01xx\xe0\x0a\x00P\x00[0J\xf6\xfeE~\xdb"),
    (&[b'a'; 63], b"\x00\xc3\x09?\x01aa\xe02\x00\x01aaP\x00\x08\x9e\x9dP\xf5\xda\x01?"),
    (b"0123456789abcdefghijk", b"\x00\x150123456789abcdefghijkP\x00\xe3T\xc4w\xc9\xac\x18\x12"),
    (
        b"the quick brown fox jumps over the lazy dog and the quick brown fox again",
        b"\x00\xc3;@I\x1fthe quick brown fox jumps over t \x1e\x0blazy dog and`\x10\xe0\x07/\x04againP\x00V\xeb\x8e\xe7{\xaf}\x16",
    ),
];

fn check(body: &[u8], expected: Result<&[u8], Refusal>) {
    assert_eq!(restore(&sealed(body)), expected.map(<[u8]>::to_vec), "{body:x?}");
}

#[test]
fn payloads_are_those_of_valkey() {
    for (value, payload) in DUMPED {
        assert_eq!(dump(value).unwrap(), payload, "{}", String::from_utf8_lossy(value));
        assert_eq!(restore(payload).as_deref(), Ok(value), "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn a_longer_match_than_a_reference_can_say_is_said_in_two() {
    let value = b"ab".repeat(200);
    let payload = b"\x00\xc3\x0dA\x90\x02aba\xe0\xff\x01\xe0z\x01\x01abP\x00\xf0)\xa8\x05\xad\x8f\xean";
    assert_eq!(dump(&value).unwrap(), payload);
    assert_eq!(restore(payload), Ok(value));
}

#[test]
fn versions_are_those_that_valkey_accepts() {
    for (version, is_accepted) in
        [(0, false), (1, true), (6, true), (11, true), (12, false), (79, false), (80, true), (81, false)]
    {
        let expected = if is_accepted { Ok(b"a".to_vec()) } else { Err(Refusal::Envelope) };
        assert_eq!(restore(&seal(b"\x00\x01a".to_vec(), version)), expected, "{version}");
    }
}

#[test]
fn lengths_may_be_longer_than_they_have_to_be() {
    check(b"\x00\x40\x01a", Ok(b"a"));
    check(b"\x00\x80\x00\x00\x00\x01a", Ok(b"a"));
    check(b"\x00\x81\x00\x00\x00\x00\x00\x00\x00\x01a", Ok(b"a"));
    check(b"\x00\x01a and more", Ok(b"a"));
    // Valkey lets a string reach into what follows it.
    check(b"\x00\x02a", Ok(b"aP"));
}

#[test]
fn damage_is_refused_before_memory_is_taken_for_it() {
    let bodies: [&[u8]; 12] = [
        b"",
        b"\x00",
        b"\x00\x0ca",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\x81\x7f\xff\xff\xff\xff\xff\xff\xffa",
        b"\x00\x80\xff\xff\xff\xff",
        b"\x00\x82\x00",
        b"\x00\xc4\x00",
        b"\x00\xc3\x02\x81\x00\x00\x00\x00\x1f\xff\xff\xff\x00a",
        b"\x00\xc3\x05\x01\x00a",
        b"\x00\xc3\x02\xc0\x01\x00a",
        // A list.
        b"\x01\x01\x01a",
    ];
    for body in bodies {
        check(body, Err(Refusal::Data));
    }
    assert_eq!(restore(b""), Err(Refusal::Envelope));
    assert_eq!(restore(b"123456789"), Err(Refusal::Envelope));
}

proptest! {
    #[test]
    fn values_come_back(value in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[ab]{0,400}".prop_map(String::into_bytes),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        (16_300usize..16_500).prop_map(|length| (0..length).map(|at| (at * at) as u8).collect()),
    ]) {
        prop_assert_eq!(restore(&dump(&value).unwrap()), Ok(value));
    }

    #[test]
    fn one_wrong_byte_is_noticed(value in "[ab]{0,60}", at in any::<prop::sample::Index>(), change in 1u8..) {
        let mut payload = dump(value.as_bytes()).unwrap();
        let at = at.index(payload.len());
        payload[at] ^= change;
        prop_assert_eq!(restore(&payload), Err(Refusal::Envelope));
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xC3)], 0..40)) {
        if let Ok(value) = restore(&sealed(&body)) {
            prop_assert!(value.len() <= (body.len() + 10) * 88);
        }
    }
}

use proptest::prelude::*;
use redis_protocol::resp2::{
    decode::decode,
    encode::encode,
    types::{OwnedFrame, Resp2Frame as _},
};

use super::*;

const LIMITS: Limits = Limits::new(512 << 20, false);

/// Scans a stream that comes in pieces; gives the requests, and how the stream went wrong if it did.
fn scan_pieces(pieces: &[&[u8]], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let (mut scanner, mut spans, mut buffer) = (Scanner::default(), Vec::new(), Vec::new());
    let mut requests = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let length = match scanner.scan(&mut buffer, &mut spans, limits) {
                Err(error) => return (requests, Some(String::from_utf8_lossy(&error.0).into_owned())),
                Ok(Scanned::Partial { missing }) => {
                    assert!(missing > 0);
                    break;
                }
                Ok(Scanned::Empty { length }) => length,
                Ok(Scanned::Request { args, length }) => {
                    let request = crate::resp::Request::new(&buffer, &spans[args]);
                    requests.push(request.args_from(0).map(<[u8]>::to_vec).collect());
                    spans.clear();
                    length
                }
            };
            assert!(length > 0);
            buffer.drain(..length);
        }
    }
    (requests, None)
}

fn check_error(stream: &[u8], limits: &Limits, text: &str) {
    let whole = scan_pieces(&[stream], limits).1;
    assert_eq!(whole.as_deref(), Some(text), "{:?}", String::from_utf8_lossy(&stream[..stream.len().min(60)]));
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(scan_pieces(&bytes, limits).1.as_deref(), Some(text), "byte by byte");
}

#[test]
fn what_breaks_the_protocol_is_named_as_redis_names_it() {
    let check = |stream: &str, text: &str| check_error(stream.as_bytes(), &LIMITS, &format!("Protocol error: {text}"));
    for length in ["a", "", "01", "+1", "2147483648", "99999999999999999999", "- 1", "-0"] {
        check(&format!("*{length}\r\n"), "invalid multibulk length");
    }
    for length in ["a", "", "-1", "03", "536870913", "99999999999999999999"] {
        check(&format!("*1\r\n${length}\r\n"), "invalid bulk length");
    }
    check("*2\r\n+a\r\n", "expected '$', got '+'");
    check("*1\r\n*1\r\n", "expected '$', got '*'");
    check("*1\r\n\r\n", "expected '$', got '\r'");
    check("get \"a\r\n", "unbalanced quotes in request");
    check(&"a".repeat(MAX_LINE_BYTES + 1), "too big inline request");
    check(&format!("*{}", "1".repeat(MAX_LINE_BYTES)), "too big mbulk count string");
    check(&format!("*1\r\n${}", "1".repeat(MAX_LINE_BYTES)), "too big bulk count string");
}

#[test]
fn every_end_is_looked_at_once_it_has_come() {
    let check = |stream: &str| check_error(stream.as_bytes(), &LIMITS, "Protocol error: invalid CRLF in request");
    // Behind a string.
    check("*1\r\n$4\r\nPINGxxPING\r\n");
    for end in ["\rx", "x\n", "\r\r", "\n\r", "$1"] {
        check(&format!("*2\r\n$4\r\nPING{end}$1\r\na\r\n"));
        check(&format!("*1\r\n$0\r\n{end}"));
        check(&format!("*1\r\n$40000\r\n{}{end}", "a".repeat(40_000)));
    }
    // Behind a header, whatever number it says; its first byte was looked at before.
    for header in
        ["*1", "*0", "*-1", "*a", "*", "*99999999999999", "*1\r\n$4", "*1\r\n$a", "*1\r\n$", "*1\r\n$99999999999"]
    {
        check(&format!("{header}\rX$4\r\nPING\r\n"));
        check(&format!("{header}\r\r\n"));
    }
    check_error(b"*1\r\n+4\rX", &LIMITS, "Protocol error: expected '$', got '+'");
    // One byte of an end says nothing yet.
    for stream in ["*1\r", "*1\r\n$4\r", "*1\r\n$4\r\nPINGx", "*1\r\n+4\r"] {
        assert_eq!(scan_pieces(&[stream.as_bytes()], &LIMITS), (vec![], None), "{stream:?}");
    }
}

#[test]
fn before_authentication_only_small_requests_are_taken() {
    let limits = Limits::new(512 << 20, true);
    check_error(b"*11\r\n", &limits, "Protocol error: unauthenticated multibulk length");
    check_error(b"*1\r\n$16385\r\n", &limits, "Protocol error: unauthenticated bulk length");
    assert_eq!(scan_pieces(&[b"*10\r\n$16384\r\n"], &limits), (vec![], None));
}

#[test]
fn a_request_larger_than_the_query_buffer_is_refused_by_its_header() {
    let limits = Limits { max_request_bytes: 100, ..LIMITS };
    let text = "Protocol error: request is larger than the query buffer limit";
    assert!(ProtocolError::new(text).is_too_long());
    check_error(format!("*2\r\n$50\r\n{}\r\n$50\r\n", "a".repeat(50)).as_bytes(), &limits, text);
}

#[test]
fn empty_lines_and_arrays_are_passed_over() {
    let stream = b"\r\n\n*0\r\n*-1\r\n*-5\r\n   \r\n\0\0\r\nPING\r\n*1\r\n$0\r\n\r\n";
    let expected = vec![vec![b"PING".to_vec()], vec![vec![]]];
    assert_eq!(scan_pieces(&[stream], &LIMITS), (expected, None));
}

#[test]
fn a_large_request_in_small_pieces_is_looked_at_once() {
    // Had each call begun again, this would be a quadratic number of steps: minutes instead of milliseconds.
    let mut stream = format!("*{}\r\n", 1 << 20).into_bytes();
    for _ in 0..1 << 20 {
        stream.extend_from_slice(b"$1\r\na\r\n");
    }
    let (mut scanner, mut spans, mut looked_at) = (Scanner::default(), Vec::new(), 0);
    for end in (4096..stream.len()).step_by(4096).chain([stream.len()]) {
        let before = scanner.position;
        let scanned = scanner.scan(&mut stream[..end], &mut spans, &LIMITS).unwrap();
        let after = if let Scanned::Request { length, .. } = scanned { length } else { scanner.position };
        looked_at += after - before;
    }
    assert_eq!((spans.len(), looked_at), (1 << 20, stream.len()));
}

fn requests() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let arg = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..12),
        1 => prop::collection::vec(prop::sample::select(b"\r\n$*0123 ".to_vec()), 0..12),
        1 => prop::collection::vec(any::<u8>(), 100..130),
    ];
    prop::collection::vec(prop::collection::vec(arg, 1..5), 1..5)
}

fn encode_requests(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for request in requests {
        let elements = request.iter().map(|arg| OwnedFrame::BulkString(arg.clone())).collect();
        let frame = OwnedFrame::Array(elements);
        let mut buffer = vec![0; frame.encode_len(false)];
        encode(&mut buffer, &frame, false).unwrap();
        stream.extend(buffer);
    }
    stream
}

fn oracle(mut stream: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    while let Some((frame, length)) = decode(stream).unwrap() {
        let OwnedFrame::Array(elements) = frame else { panic!("no array: {frame:?}") };
        let bytes = |element: OwnedFrame| element.as_bytes().unwrap().to_vec();
        requests.push(elements.into_iter().map(bytes).collect());
        stream = &stream[length..];
    }
    requests
}

proptest! {
    #[test]
    fn well_formed_requests_are_read_as_redis_protocol_reads_them(requests in requests()) {
        let stream = encode_requests(&requests);
        prop_assert_eq!(&oracle(&stream), &requests);
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            let (scanned, error) = scan_pieces(&[first, second], &LIMITS);
            prop_assert_eq!(error, None);
            prop_assert_eq!(&scanned, &requests, "cut at {}", cut);
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(scan_pieces(&bytes, &LIMITS), (requests, None));
    }

    #[test]
    fn noise_gives_the_same_in_any_pieces_and_never_panics(
        noise in prop::collection::vec(prop_oneof![
            3 => prop::sample::select(b"*$\r\n0123456789-\"'\\x ".to_vec()),
            1 => any::<u8>(),
        ], 0..80),
        cut in 0usize..80,
    ) {
        let limits = Limits { max_bulk_bytes: 1000, ..LIMITS };
        let whole = scan_pieces(&[&noise], &limits);
        let (first, second) = noise.split_at(cut.min(noise.len()));
        prop_assert_eq!(&scan_pieces(&[first, second], &limits), &whole);
        let bytes: Vec<&[u8]> = noise.chunks(1).collect();
        prop_assert_eq!(&scan_pieces(&bytes, &limits), &whole);
    }
}

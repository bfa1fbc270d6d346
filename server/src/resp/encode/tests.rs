use bytes::Bytes;
use proptest::prelude::*;
use redis_protocol::{resp2, resp3};

use super::*;

fn encode(reply: Reply<'_>, protocol: Protocol) -> Vec<u8> {
    let mut output = Output::default();
    output.reply(reply, protocol);
    let mut slices = [std::io::IoSlice::new(&[]); 64];
    let count = output.slices(&mut slices);
    slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
}

fn check(reply: Reply<'_>, resp2: &str, resp3: &str) {
    let text = |protocol| String::from_utf8(encode(reply.clone(), protocol)).unwrap();
    assert_eq!(text(Protocol::Resp2), resp2);
    assert_eq!(text(Protocol::Resp3), resp3);
}

#[test]
fn an_array_ends_where_the_limit_of_its_output_is() {
    let mut output = Output::default();
    output.limit_to(100);
    output.reply(Reply::Array(vec![Reply::Bulk(&[b'x'; 20]); 3]), Protocol::Resp2);
    assert!(!output.is_cut());
    output.reply(Reply::Array(vec![Reply::Bulk(&[b'x'; 20]); 1000]), Protocol::Resp2);
    assert!(output.is_cut() && output.len() < 200);
    let mut other = Output::default();
    other.append(output.take());
    assert!(other.is_cut() && !output.is_cut());
    assert_eq!(output.limit(), 100);
}

#[test]
fn every_kind_of_reply_in_both_versions() {
    let same = |reply, text| check(reply, text, text);
    same(Reply::OK, "+OK\r\n");
    same(Reply::error("ERR a\r\nb"), "-ERR a  b\r\n");
    same(Reply::Integer(-12), ":-12\r\n");
    same(Reply::Bulk(b"a\r\n"), "$3\r\na\r\n\r\n");
    same(Reply::Text("".into()), "$0\r\n\r\n");
    same(Reply::Blob(b"ab".to_vec()), "$2\r\nab\r\n");
    same(Reply::Shared(Bytes::from_static(b"ab")), "$2\r\nab\r\n");
    same(Reply::Encoded(Bytes::from_static(b":1\r\n")), ":1\r\n");
    same(Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![])]), "*2\r\n:1\r\n*0\r\n");
    check(Reply::Null, "$-1\r\n", "_\r\n");
    check(Reply::NullArray, "*-1\r\n", "_\r\n");
    check(Reply::Boolean(true), ":1\r\n", "#t\r\n");
    check(Reply::Boolean(false), ":0\r\n", "#f\r\n");
    check(Reply::Double(0.1), "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n");
    check(Reply::Double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    check(Reply::Verbatim("ab".into()), "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n");
    check(Reply::Map(vec![(Reply::Bulk(b"a"), Reply::Null)]), "*2\r\n$1\r\na\r\n$-1\r\n", "%1\r\n$1\r\na\r\n_\r\n");
    check(Reply::Set(vec![Reply::Integer(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n");
    check(Reply::Push(vec![Reply::Integer(1)]), "*1\r\n:1\r\n", ">1\r\n:1\r\n");
}

#[test]
fn a_large_value_leaves_by_reference() {
    let value = Bytes::from(vec![b'x'; SHARED_BYTES]);
    let mut output = Output::default();
    output.reply(Reply::Shared(value.clone()), Protocol::Resp2);
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    assert_eq!(output.slices(&mut slices), 3);
    assert_eq!(slices[1].as_ptr(), value.as_ptr());
    assert_eq!(encode(Reply::Shared(value.clone()), Protocol::Resp2), encode(Reply::Bulk(&value), Protocol::Resp2));
}

#[test]
fn a_long_error_can_be_seen_by_who_counts_errors() {
    let (mut output, name) = (Output::default(), vec![b'x'; SHARED_BYTES]);
    output.reply(Reply::Shared(vec![0; SHARED_BYTES].into()), Protocol::Resp2);
    let mark = output.mark();
    output.reply(Reply::error_about("ERR no ", &name, ""), Protocol::Resp2);
    assert_eq!(output.since(mark), [b"-ERR no ", &name[..], b"\r\n"].concat());
}

/// Replies that both versions have, and that the oracle writes as Redis does.
#[derive(Clone, Debug)]
enum Common {
    Integer(i64),
    Bulk(Vec<u8>),
    Error(String),
    Null,
    Array(Vec<Common>),
}

fn common() -> impl Strategy<Value = Common> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Common::Integer),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Common::Bulk),
        "[A-Z]{3} [a-z ]{0,20}".prop_map(Common::Error),
        Just(Common::Null),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Common::Array))
}

impl Common {
    fn reply(&self) -> Reply<'_> {
        match self {
            Common::Integer(number) => Reply::Integer(*number),
            Common::Bulk(bytes) => Reply::Bulk(bytes),
            Common::Error(text) => Reply::Error(text.clone().into()),
            Common::Null => Reply::Null,
            Common::Array(elements) => Reply::Array(elements.iter().map(Common::reply).collect()),
        }
    }

    fn resp2(&self) -> resp2::types::OwnedFrame {
        use resp2::types::OwnedFrame as Frame;
        match self {
            Common::Integer(number) => Frame::Integer(*number),
            Common::Bulk(bytes) => Frame::BulkString(bytes.clone()),
            Common::Error(text) => Frame::Error(text.clone()),
            Common::Null => Frame::Null,
            Common::Array(elements) => Frame::Array(elements.iter().map(Common::resp2).collect()),
        }
    }

    fn resp3(&self) -> resp3::types::OwnedFrame {
        use resp3::types::OwnedFrame as Frame;
        match self {
            Common::Integer(number) => Frame::Number { data: *number, attributes: None },
            Common::Bulk(bytes) => Frame::BlobString { data: bytes.clone(), attributes: None },
            Common::Error(text) => Frame::SimpleError { data: text.clone(), attributes: None },
            Common::Null => Frame::Null,
            Common::Array(elements) => {
                Frame::Array { data: elements.iter().map(Common::resp3).collect(), attributes: None }
            }
        }
    }
}

proptest! {
    #[test]
    fn replies_are_written_as_redis_protocol_reads_them(common in common()) {
        let bytes = encode(common.reply(), Protocol::Resp2);
        prop_assert_eq!(resp2::decode::decode(&bytes).unwrap(), Some((common.resp2(), bytes.len())));
        let bytes = encode(common.reply(), Protocol::Resp3);
        prop_assert_eq!(resp3::decode::complete::decode(&bytes).unwrap(), Some((common.resp3(), bytes.len())));
    }
}

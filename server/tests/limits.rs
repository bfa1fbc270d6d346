//! What a connection may take up, and what happens to one that takes up more.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;

use std::time::Duration;

use node::{Node, PATIENCE, ask, connect, gone, receive, rest};
use server::{clients::Paused, connection::Bounds, session::Port};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};

async fn node(settings: &[(&'static str, &str)]) -> Node {
    Node::start(settings, Port::Proxy, Bounds::default()).await
}

/// Sets a key to so many bytes.
async fn set(stream: &mut TcpStream, key: &str, bytes: usize) {
    let mut request = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${bytes}\r\n", key.len()).into_bytes();
    request.extend(vec![b'x'; bytes]);
    ask(stream, &[&request[..], b"\r\n"].concat(), b"+OK\r\n").await;
}

/// Sends a part of a request: `sent` bytes of an argument of `announced` bytes.
async fn send_a_part(stream: &mut TcpStream, announced: usize, sent: usize) {
    stream.write_all(format!("*2\r\n$3\r\nGET\r\n${announced}\r\n").as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; sent]).await.unwrap();
}

/// Waits until something holds.
async fn until(holds: impl Fn() -> bool) {
    let look = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, look).await.expect("it holds in time");
}

#[tokio::test]
async fn whoever_waits_and_closes_is_gone_however_much_it_sent() {
    let node = Node::simple().await;
    for begin in ["WAIT 5 0\r\n", "CLIENT PAUSE 1000000\r\nPING\r\n"] {
        let mut stream = connect(&node).await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        until(|| node.clients.waiting().blocked == 1).await;
        // More than is read ahead.
        stream.write_all(&b"PING\r\n".repeat(50_000)).await.unwrap();
        until(|| node.clients.all().iter().any(|client| client.memory_bytes() > 64 << 10)).await;
        drop(stream);
        gone(&node).await;
    }
}

#[tokio::test]
async fn a_batch_that_takes_long_gives_way() {
    let node = Node::simple().await;
    let (mut slow, mut quick) = (connect(&node).await, connect(&node).await);
    set(&mut slow, "{t}a", 8_000).await;
    set(&mut slow, "{t}b", 8_000).await;
    ask(&mut quick, b"PING\r\n", b"+PONG\r\n").await;
    let commands = 40;
    slow.write_all(&b"LCS {t}a {t}b LEN\r\n".repeat(commands)).await.unwrap();
    receive(&mut slow, b":8000\r\n").await;
    ask(&mut quick, b"PING\r\n", b"+PONG\r\n").await;
    // On the one thread of this test the other was served before the last of these was executed.
    let mut come = vec![0; 7 * commands];
    let count = slow.try_read(&mut come).unwrap_or(0);
    assert!(count < 7 * (commands - 1), "all were executed before");
    receive(&mut slow, &b":8000\r\n".repeat(commands)[7 + count..]).await;
}

#[tokio::test]
async fn above_the_hard_limit_of_its_output_a_client_is_cut_off() {
    let node = node(&[("client-output-buffer-limit", "normal 100000 0 0")]).await;
    let mut stream = connect(&node).await;
    set(&mut stream, "small", 90_000).await;
    set(&mut stream, "large", 150_000).await;
    stream.write_all(b"GET small\r\n").await.unwrap();
    receive(&mut stream, &[&b"$90000\r\n"[..], &[b'x'; 90_000], b"\r\n"].concat()).await;
    stream.write_all(b"PING\r\nGET large\r\n").await.unwrap();
    let came = rest(&mut stream).await;
    assert!(came.len() < 150_000, "{} bytes came", came.len());
    gone(&node).await;
    assert_eq!(node.statistics.ended.lock().output, 1);
    // Whoever is connected is concerned by a change.
    let mut stream = connect(&node).await;
    ask(&mut stream, b"CONFIG SET client-output-buffer-limit \"normal 0 0 0\"\r\n", b"+OK\r\n").await;
    stream.write_all(b"GET large\r\n").await.unwrap();
    receive(&mut stream, b"$150000\r\n").await;
}

#[tokio::test]
async fn one_request_for_more_than_the_hard_limit_ends_there() {
    let node = node(&[("client-output-buffer-limit", "normal 1mb 0 0")]).await;
    // Of one slot, and of many.
    for (number, keys) in ["{a}x {a}x ", "x y z "].into_iter().enumerate() {
        let mut stream = connect(&node).await;
        set(&mut stream, "{a}x", 10_000).await;
        set(&mut stream, "y", 10_000).await;
        stream.write_all(format!("PING\r\nMGET {}\r\n", keys.repeat(5_000)).as_bytes()).await.unwrap();
        assert!(rest(&mut stream).await.len() <= 7, "a part of an array came");
        gone(&node).await;
        assert_eq!(node.statistics.ended.lock().output, number as u64 + 1);
    }
}

#[tokio::test]
async fn a_limit_that_was_lifted_just_before_cuts_nothing() {
    let node = node(&[("client-output-buffer-limit", "normal 100000 0 0")]).await;
    let mut stream = connect(&node).await;
    set(&mut stream, "x", 10_000).await;
    let lift = "CONFIG SET client-output-buffer-limit \"normal 0 0 0\"\r\n";
    stream.write_all(format!("{lift}MGET {}\r\nPING\r\n", "x ".repeat(50)).as_bytes()).await.unwrap();
    let value = [&b"$10000\r\n"[..], &[b'x'; 10_000], b"\r\n"].concat();
    receive(&mut stream, &[b"+OK\r\n*50\r\n", &value.repeat(50)[..], b"+PONG\r\n"].concat()).await;
}

#[tokio::test]
async fn above_the_soft_limit_a_client_is_cut_off_after_a_while() {
    let bounds = Bounds { pause_output_bytes: 64 << 20, ..Bounds::default() };
    let node = Node::start(&[("client-output-buffer-limit", "normal 0 1mb 1")], Port::Proxy, bounds).await;
    let mut stream = connect(&node).await;
    set(&mut stream, "a", 1 << 20).await;
    let start = Instant::now();
    // More than the kernel takes for a client that does not read.
    stream.write_all(&b"GET a\r\n".repeat(30)).await.unwrap();
    until(|| node.statistics.ended.lock().output == 1).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "cut off after {:?}", start.elapsed());
    gone(&node).await;
}

#[tokio::test]
async fn a_request_that_is_too_long_ends_the_connection_before_it_is_kept() {
    let node = node(&[("client-query-buffer-limit", "1mb")]).await;
    let mut stream = connect(&node).await;
    ask(&mut stream, b"PING\r\n", b"+PONG\r\n").await;
    send_a_part(&mut stream, 1 << 20, 0).await;
    assert_eq!(rest(&mut stream).await, b"");
    // In many small arguments it is seen when there are too many.
    let mut stream = connect(&node).await;
    let mut request = b"*200000\r\n$4\r\nMGET\r\n".to_vec();
    request.extend(b"$10\r\n0123456789\r\n".repeat(100_000));
    // The connection may have ended already.
    let _ = stream.write_all(&request).await;
    assert_eq!(rest(&mut stream).await, b"");
    gone(&node).await;
    assert_eq!(node.statistics.ended.lock().input, 2);
    let mut stream = connect(&node).await;
    set(&mut stream, "a", 1_000_000).await;
}

#[tokio::test]
async fn a_header_that_announces_much_takes_no_memory() {
    let node = node(&[]).await;
    let before = node.clients.memory_bytes();
    let mut streams = Vec::new();
    for header in ["*2147483647\r\n", "*2147483647\r\n$536870912\r\n", "*2\r\n$536870912\r\nx"] {
        let mut stream = connect(&node).await;
        ask(&mut stream, b"PING\r\n", b"+PONG\r\n").await;
        stream.write_all(header.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    until(|| node.clients.memory_bytes() > before).await;
    let each = (node.clients.memory_bytes() - before) / 3;
    assert!(each < 10_000, "{each} bytes for a header");
    streams.clear();
    gone(&node).await;
    assert_eq!(node.clients.memory_bytes(), 0);
}

#[tokio::test]
async fn of_connections_that_take_up_too_much_the_largest_goes() {
    let node = node(&[("maxmemory-clients", "3mb")]).await;
    let mut streams = Vec::new();
    for megabytes in [1, 0, 0] {
        let mut stream = connect(&node).await;
        ask(&mut stream, b"CLIENT NO-EVICT on\r\n", b"+OK\r\n").await;
        send_a_part(&mut stream, 1 << 20, megabytes << 20).await;
        streams.push(stream);
    }
    until(|| node.clients.memory_bytes() > 1 << 20).await;
    let [mut small, mut large] = [connect(&node).await, connect(&node).await];
    send_a_part(&mut small, 1 << 20, 500_000).await;
    until(|| node.clients.memory_bytes() > (1 << 20) + 500_000).await;
    // The last client is evicted while it sends.
    large.write_all(b"*2\r\n$3\r\nGET\r\n$10000000\r\n").await.unwrap();
    let _ = large.write_all(&vec![b'x'; 4 << 20]).await;
    assert_eq!(rest(&mut large).await, b"");
    assert_eq!(node.statistics.ended.lock().evicted, 1);
    assert_eq!(node.clients.count(), 4, "others had to go");
    small.write_all(&[&vec![b'x'; (1 << 20) - 500_000][..], b"\r\n"].concat()).await.unwrap();
    receive(&mut small, b"$-1\r\n").await;
    // A limit that is lowered concerns whoever is connected.
    send_a_part(&mut small, 1 << 20, 900_000).await;
    ask(&mut connect(&node).await, b"CONFIG SET maxmemory-clients 1mb\r\n", b"+OK\r\n").await;
    assert_eq!(rest(&mut small).await, b"");
}

#[tokio::test]
async fn whoever_asks_nothing_for_too_long_is_disconnected() {
    let node = node(&[("timeout", "1")]).await;
    let [mut idle, mut waiting, mut paused] = [connect(&node).await, connect(&node).await, connect(&node).await];
    ask(&mut waiting, b"PING\r\nWAIT 1 0\r\n", b"+PONG\r\n").await;
    ask(&mut paused, b"PING\r\n", b"+PONG\r\n").await;
    ask(&mut idle, b"PING\r\n", b"+PONG\r\n").await;
    node.clients.pause(Paused::Everything, 0, u64::MAX);
    paused.write_all(b"PING\r\n").await.unwrap();
    let start = Instant::now();
    assert_eq!(rest(&mut idle).await, b"");
    assert!(start.elapsed() >= Duration::from_secs(1), "after {:?}", start.elapsed());
    assert_eq!(node.clients.waiting().blocked, 2);
    node.clients.unpause();
    receive(&mut paused, b"+PONG\r\n").await;
}

#[tokio::test]
async fn whoever_is_being_served_is_not_idle() {
    let node = node(&[("timeout", "1"), ("enable-debug-command", "yes")]).await;
    let [mut sleeping, mut waiting] = [connect(&node).await, connect(&node).await];
    waiting.write_all(b"WAIT 1 2000\r\n").await.unwrap();
    ask(&mut sleeping, b"DEBUG SLEEP 2.5\r\n", b"+OK\r\n").await;
    // The time that it waited does not count afterwards.
    receive(&mut waiting, b":0\r\n").await;
    ask(&mut waiting, b"PING\r\n", b"+PONG\r\n").await;
    ask(&mut sleeping, b"PING\r\n", b"+PONG\r\n").await;
}

#[tokio::test]
async fn what_clients_call_themselves_counts_as_their_memory() {
    let node = node(&[]).await;
    let mut stream = connect(&node).await;
    ask(&mut stream, b"PING\r\n", b"+PONG\r\n").await;
    let before = node.clients.memory_bytes();
    let name = vec![b'n'; 20_000];
    for command in ["CLIENT SETNAME", "CLIENT SETINFO LIB-NAME", "CLIENT SETINFO LIB-VER"] {
        ask(&mut stream, &[command.as_bytes(), b" ", &name, b"\r\n"].concat(), b"+OK\r\n").await;
    }
    until(|| node.clients.memory_bytes() >= before + 60_000).await;
    ask(&mut stream, b"RESET\r\n", b"+RESET\r\n").await;
    drop(stream);
    until(|| node.clients.memory_bytes() == 0).await;
}

#[tokio::test]
async fn a_stranger_gets_little() {
    let node = node(&[("requirepass", "secret")]).await;
    // A client that knows the password, and one that does not: it reads nothing while it asks again and again.
    let mut known = connect(&node).await;
    ask(&mut known, b"AUTH secret\r\n", b"+OK\r\n").await;
    let mut stranger = connect(&node).await;
    let _ = stranger.write_all(&b"PING\r\n".repeat(10_000)).await;
    let came = rest(&mut stranger).await;
    assert!(came.len() < 360_000, "every request was answered: {} bytes", came.len());
    until(|| node.statistics.ended.lock().output == 1).await;
    known.write_all(&b"PING\r\n".repeat(10_000)).await.unwrap();
    receive(&mut known, &b"+PONG\r\n".repeat(10_000)).await;
}

#[tokio::test]
async fn settings_of_clients_are_shown_and_changed() {
    let node = node(&[]).await;
    let mut stream = connect(&node).await;
    let wanted =
        b"*4\r\n$26\r\nclient-output-buffer-limit\r\n$76\r\nnormal 1073741824 0 0 slave 268435456 67108864 60 \
        pubsub 33554432 8388608 60\r\n$25\r\nclient-query-buffer-limit\r\n$10\r\n1073741824\r\n";
    ask(&mut stream, b"CONFIG GET client-*\r\n", wanted).await;
    let request = b"CONFIG SET protected-mode no tcp-keepalive 7 timeout 9 maxmemory-clients 5%\r\n\
        CONFIG GET protected-mode tcp-keepalive timeout maxmemory-clients\r\n";
    let wanted = b"+OK\r\n*8\r\n$17\r\nmaxmemory-clients\r\n$2\r\n5%\r\n$14\r\nprotected-mode\r\n$2\r\nno\r\n$13\r\n\
        tcp-keepalive\r\n$1\r\n7\r\n$7\r\ntimeout\r\n$1\r\n9\r\n";
    ask(&mut stream, request, wanted).await;
    assert!(!node.settings.clients.is_protected());
}

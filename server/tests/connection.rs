//! What a connection does under clients that pipeline, dawdle, never read, or are ended by others.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;

use std::{collections::BTreeSet, sync::atomic::Ordering::Relaxed, time::Duration};

use node::{Node, PATIENCE, ask, connect, gone, receive, rest};
use server::{connection::Bounds, session::Port};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpStream,
    time::{Instant, timeout},
};

fn set_request(key: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len()).into_bytes();
    bytes.extend(value);
    bytes.extend(b"\r\n");
    bytes
}

#[tokio::test]
async fn a_pipeline_is_one_batch() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    ask(&mut stream, &b"PING\r\n".repeat(1000), &b"+PONG\r\n".repeat(1000)).await;
    let batches = node.statistics.batches.load(Relaxed);
    assert!(batches < 10, "1000 requests in one packet took {batches} batches");
    assert_eq!(node.statistics.total.lock()["ping"], [1000, 0, 0]);
}

#[tokio::test]
async fn requests_may_come_byte_by_byte() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    stream.set_nodelay(true).unwrap();
    let mut requests = set_request("a", b"1\r\n2");
    requests.extend(b"PING\r\nGET a\r\n");
    for byte in requests {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    receive(&mut stream, b"+OK\r\n+PONG\r\n$4\r\n1\r\n2\r\n").await;
}

/// One `SCAN`: the cursor to go on with, and the keys.
async fn scan(stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin), request: String) -> (u64, Vec<String>) {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut lines: Vec<String> = Vec::new();
    // *2, $length, cursor, *count, and for each key $length and the key.
    while lines.len() < 4 || lines.len() < 4 + 2 * lines[3][1..].parse::<usize>().unwrap() {
        let mut line = String::new();
        timeout(PATIENCE, stream.read_line(&mut line)).await.expect("a reply in time").unwrap();
        lines.push(line.trim_end().to_owned());
    }
    (lines[2].parse().unwrap(), lines[4..].iter().skip(1).step_by(2).cloned().collect())
}

#[tokio::test]
async fn a_scan_shows_every_key_once() {
    let node = Node::simple().await;
    let mut stream = BufStream::new(connect(&node).await);
    // Many slots with one key, and one slot with many.
    let keys: BTreeSet<_> =
        (0..150).map(|key| format!("key:{key}")).chain((0..50).map(|key| format!("{{t}}{key}"))).collect();
    for key in &keys {
        stream.write_all(&set_request(key, b"1")).await.unwrap();
        stream.flush().await.unwrap();
        stream.read_line(&mut String::new()).await.unwrap();
    }
    for count in [1, 3, 10, 1_000_000] {
        let (mut cursor, mut found, mut calls) = (0, Vec::new(), 0);
        loop {
            let (next, more) = scan(&mut stream, format!("SCAN {cursor} COUNT {count}\r\n")).await;
            found.extend(more);
            calls += 1;
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        found.sort();
        assert_eq!(found, keys.iter().cloned().collect::<Vec<_>>(), "COUNT {count}");
        // A slot that ends exactly with the count may be found finished only by the next call.
        assert!(calls <= 2 + 2 * keys.len() / count, "COUNT {count} took {calls} calls");
    }
}

#[tokio::test]
async fn large_values_and_large_requests_pass() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    let value: Vec<u8> = (0..5_000_000u32).map(|number| number as u8).collect();
    ask(&mut stream, &set_request("large", &value), b"+OK\r\n").await;
    let mut reply = format!("${}\r\n", value.len()).into_bytes();
    reply.extend(&value);
    reply.extend(b"\r\n+PONG\r\n");
    ask(&mut stream, b"GET large\r\nPING\r\n", &reply).await;

    let pairs = 200_000;
    let mut request = format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * pairs).into_bytes();
    for number in 0..pairs {
        request.extend(format!("$10\r\nkey:{number:06}\r\n$40\r\n{number:040}\r\n").bytes());
    }
    let start = Instant::now();
    ask(&mut stream, &request, b"+OK\r\n").await;
    ask(&mut stream, b"DBSIZE\r\n", format!(":{}\r\n", pairs + 1).as_bytes()).await;
    // 13 MB in pieces. Scanned again from its start at each read it would take minutes in this build.
    assert!(start.elapsed() < Duration::from_secs(30), "took {:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_that_reads_only_after_it_sent_everything_gets_everything() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    ask(&mut stream, &set_request("a", &[b'x'; 1000]), b"+OK\r\n").await;
    let count = 10_000;
    timeout(PATIENCE, stream.write_all(&b"GET a\r\n".repeat(count))).await.expect("the node reads on").unwrap();
    let mut reply = b"$1000\r\n".to_vec();
    reply.extend([b'x'; 1000]);
    reply.extend(b"\r\n");
    receive(&mut stream, &reply.repeat(count)).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_held_back_and_cut_off() {
    let bounds = Bounds { pause_output_bytes: 100_000, stall: Duration::from_millis(300), ..Bounds::default() };
    let node = Node::start(&[], Port::Proxy, bounds).await;
    let mut stream = connect(&node).await;
    ask(&mut stream, &set_request("a", &vec![b'x'; 50_000]), b"+OK\r\n").await;
    // 50 GB of replies. The node stops to read long before, and then ends the connection.
    let sent = timeout(PATIENCE, stream.write_all(&b"GET a\r\n".repeat(1_000_000))).await.expect("an end");
    let executed = node.statistics.total.lock()["get"][0];
    assert!(sent.is_err() || rest(&mut stream).await.len() < 50_000 * 2_000, "everything was answered");
    assert!(executed < 2_000, "{executed} requests were executed for a client that reads nothing");
    gone(&node).await;
}

#[tokio::test]
async fn the_end_of_the_input_still_gets_its_replies() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    stream.write_all(b"SET a 1\r\nDBSIZE\r\nGET a\r\nGET").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"+OK\r\n:1\r\n$1\r\n1\r\n");
}

#[tokio::test]
async fn a_reply_that_comes_later_holds_back_what_is_behind_it() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    let start = Instant::now();
    stream.write_all(b"PING\r\nWAIT 1 200\r\n").await.unwrap();
    // What was answered before is sent at once.
    receive(&mut stream, b"+PONG\r\n").await;
    stream.write_all(b"SET a 1\r\nGET").await.unwrap();
    let mut other = connect(&node).await;
    ask(&mut other, b"EXISTS a\r\n", b":0\r\n").await;
    stream.write_all(b" a\r\n").await.unwrap();
    receive(&mut stream, b":0\r\n+OK\r\n$1\r\n1\r\n").await;
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_for_ever_is_forgotten() {
    let bounds = Bounds { linger: Duration::from_millis(50), ..Bounds::default() };
    let node = Node::start(&[], Port::Proxy, bounds).await;
    let mut stream = connect(&node).await;
    ask(&mut stream, b"PING\r\nWAIT 1 0\r\n", b"+PONG\r\n").await;
    drop(stream);
    gone(&node).await;
}

#[tokio::test]
async fn one_connection_ends_another() {
    let node = Node::simple().await;
    let (mut killer, mut idle, mut waiting) = (connect(&node).await, connect(&node).await, connect(&node).await);
    ask(&mut killer, b"CLIENT ID\r\n", b":1\r\n").await;
    ask(&mut idle, b"CLIENT ID\r\n", b":2\r\n").await;
    ask(&mut waiting, b"CLIENT ID\r\nPING\r\nWAIT 1 0\r\n", b":3\r\n+PONG\r\n").await;
    let address = idle.local_addr().unwrap();
    ask(&mut killer, format!("CLIENT KILL {address}\r\n").as_bytes(), b"+OK\r\n").await;
    assert_eq!(rest(&mut idle).await, b"");
    ask(&mut killer, b"CLIENT KILL ID 3 TYPE normal\r\n", b":1\r\n").await;
    assert_eq!(rest(&mut waiting).await, b"");
    // Its own end comes after the reply.
    ask(&mut killer, b"CLIENT KILL ID 1 SKIPME no\r\nPING\r\n", b":1\r\n").await;
    assert_eq!(rest(&mut killer).await, b"");
    gone(&node).await;
}

#[tokio::test]
async fn the_list_of_clients_shows_names_and_commands() {
    let node = Node::simple().await;
    let (mut one, mut two) = (connect(&node).await, connect(&node).await);
    ask(&mut one, b"CLIENT SETNAME one\r\nCLIENT SETINFO lib-name x\r\nGET a\r\n", b"+OK\r\n+OK\r\n$-1\r\n").await;
    ask(&mut two, b"PING\r\n", b"+PONG\r\n").await;
    two.write_all(b"CLIENT LIST\r\nQUIT\r\n").await.unwrap();
    let list = String::from_utf8(rest(&mut two).await).unwrap();
    let lines: Vec<_> = list.lines().filter(|line| line.starts_with("id=")).collect();
    assert_eq!(lines.len(), 2, "{list}");
    for part in [
        "id=1 addr=127.0.0.1:",
        " laddr=127.0.0.1:",
        " name=one age=",
        " flags=N capa= db=0 ",
        " cmd=get user=default redir=-1 resp=2 lib-name=x lib-ver=",
    ] {
        assert!(lines[0].contains(part), "{part:?} is not in {}", lines[0]);
    }
    assert!(lines[1].contains("id=2 ") && lines[1].contains(" cmd=client|list "), "{}", lines[1]);
}

#[tokio::test]
async fn more_clients_than_allowed_are_told_so() {
    let node = Node::start(&[("maxclients", "1")], Port::Proxy, Bounds::default()).await;
    let mut first = connect(&node).await;
    ask(&mut first, b"PING\r\n", b"+PONG\r\n").await;
    assert_eq!(rest(&mut connect(&node).await).await, b"-ERR max number of clients reached\r\n");
    ask(&mut first, b"QUIT\r\n", b"+OK\r\n").await;
    assert_eq!(rest(&mut first).await, b"");
    gone(&node).await;
    ask(&mut connect(&node).await, b"PING\r\n", b"+PONG\r\n").await;
    assert_eq!((node.statistics.accepted.load(Relaxed), node.statistics.refused.load(Relaxed)), (2, 1));
}

#[tokio::test]
async fn on_shutdown_clients_go_between_two_commands() {
    let node = Node::simple().await;
    let (mut idle, mut inside) = (connect(&node).await, connect(&node).await);
    ask(&mut idle, b"PING\r\n", b"+PONG\r\n").await;
    ask(&mut inside, b"PING\r\n*2\r\n$3\r\nG", b"+PONG\r\n").await;
    node.shutdown.send(true).unwrap();
    assert_eq!(rest(&mut idle).await, b"");
    inside.write_all(b"ET\r\n$1\r\na\r\n").await.unwrap();
    assert_eq!(rest(&mut inside).await, b"$-1\r\n");
    assert!(TcpStream::connect(node.address).await.is_err(), "the node still accepts");
    drop((idle, inside));
    timeout(PATIENCE, node.serving).await.expect("the node ends").unwrap();
}

#[tokio::test]
async fn on_shutdown_a_command_behind_a_check_of_the_connection_is_answered() {
    let bounds = Bounds { linger: PATIENCE, ..Bounds::default() };
    let node = Node::start(&[], Port::Proxy, bounds).await;
    let (mut pooled, mut caller) = (connect(&node).await, connect(&node).await);
    ask(&mut pooled, b"GET a\r\n", b"$-1\r\n").await;
    ask(&mut caller, b"PING\r\n*2\r\n$3\r\nG", b"+PONG\r\n").await;
    node.shutdown.send(true).unwrap();
    // The reply and the end of this one show that every client is asked to go.
    caller.write_all(b"ET\r\n$1\r\na\r\n").await.unwrap();
    assert_eq!(rest(&mut caller).await, b"$-1\r\n");
    ask(&mut pooled, b"PING\r\n", b"+PONG\r\n").await;
    pooled.write_all(b"GET a\r\n").await.unwrap();
    assert_eq!(rest(&mut pooled).await, b"$-1\r\n");
    drop((pooled, caller));
    timeout(PATIENCE, node.serving).await.expect("the node ends").unwrap();
}

#[tokio::test]
async fn what_a_web_page_sends_is_not_executed() {
    let node = Node::start(&[], Port::Proxy, Bounds::default()).await;
    for head in ["POST / HTTP/1.1\r\nContent-Type: text/plain\r\n", "Host: localhost:6379\r\n"] {
        let mut stream = connect(&node).await;
        stream.write_all(format!("{head}\r\nSET evil 1\r\n").as_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"");
    }
    ask(&mut connect(&node).await, b"EXISTS evil\r\n", b":0\r\n").await;
}

#[tokio::test]
async fn noise_is_answered_or_ended_and_the_node_goes_on() {
    let node = Node::simple().await;
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    for round in 0..200 {
        let mut stream = connect(&node).await;
        let noise: Vec<u8> = (0..300)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let byte = (seed >> 56) as u8;
                if round % 2 == 0 { byte } else { b"*$\r\n01239-\"'GETSET "[usize::from(byte) % 18] }
            })
            .collect();
        // The node may have ended the connection already.
        let _ = stream.write_all(&noise).await;
        let _ = stream.shutdown().await;
        rest(&mut stream).await;
    }
    ask(&mut connect(&node).await, b"PING\r\n", b"+PONG\r\n").await;
}

//! What a node's memory is while its clients behave badly, as the operating system sees it.
//!
//! One test in a process of its own: resident memory is that of the whole process.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;

use std::time::Duration;

use node::{Node, ask, connect, gone};
use server::process;
use tokio::{io::AsyncWriteExt, time::timeout};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MIB: u64 = 1 << 20;

/// A client that asks for a value again and again and does not read. It is done when the node reads no more.
async fn pipeline_without_reading(node: &Node, key: &str) -> tokio::net::TcpStream {
    let mut stream = connect(node).await;
    let requests = format!("GET {key}\r\n").repeat(10_000);
    let mut sent = 0;
    // All of it is never taken: the node stops to read, and then the kernel does.
    while timeout(Duration::from_millis(500), stream.write_all(requests.as_bytes())).await.is_ok() {
        sent += 1;
        assert!(sent < 1000, "the node reads on and on");
    }
    stream
}

#[tokio::test]
async fn clients_that_do_not_read_or_do_not_finish_take_no_more_than_their_bounds() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    for (key, bytes) in [("large", MIB as usize), ("copied", 10_000)] {
        let mut request = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${bytes}\r\n", key.len()).into_bytes();
        request.extend(vec![b'x'; bytes]);
        ask(&mut stream, &[&request[..], b"\r\n"].concat(), b"+OK\r\n").await;
    }
    let start = process::resident_bytes();
    let grown = || process::resident_bytes().saturating_sub(start);

    // Large values wait by reference: the value is there once.
    let large = pipeline_without_reading(&node, "large").await;
    assert!(grown() < 8 * MIB, "{} MiB for replies of 1 MiB", grown() / MIB);
    // Small ones are copied, up to 16 MiB, and a buffer that grows is there twice for a moment.
    let copied = pipeline_without_reading(&node, "copied").await;
    assert!(grown() < 64 * MIB, "{} MiB for replies of 10 KB", grown() / MIB);
    drop((stream, large, copied));
    gone(&node).await;
    assert_eq!(node.clients.memory_bytes(), 0);

    // A thousand clients that send half of 2 MiB and fall silent.
    let before = process::resident_bytes();
    let mut half = b"*2\r\n$3\r\nGET\r\n$2097152\r\n".to_vec();
    half.extend(vec![b'x'; MIB as usize]);
    let mut streams = Vec::new();
    for _ in 0..1000 {
        let mut stream = connect(&node).await;
        stream.write_all(&half).await.unwrap();
        streams.push(stream);
    }
    let arrived = || node.clients.memory_bytes() >= 1000 * half.len() as u64;
    while !arrived() {
        tokio::task::yield_now().await;
    }
    let grown = process::resident_bytes().saturating_sub(before);
    assert!((900 * MIB..1300 * MIB).contains(&grown), "{} MiB for 1000 MiB of half requests", grown / MIB);
    // What is counted is what is reserved: at most twice what came.
    assert!(node.clients.memory_bytes() < 2100 * MIB, "{} MiB are counted", node.clients.memory_bytes() / MIB);
    ask(&mut connect(&node).await, b"PING\r\n", b"+PONG\r\n").await;
    drop(streams);
    gone(&node).await;
    assert_eq!(node.clients.memory_bytes(), 0);
}

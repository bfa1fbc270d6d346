//! `CLIENT PAUSE`: what waits, and until when.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;

use std::time::Duration;

use node::{Node, PATIENCE, ask, connect, gone, receive, rest};
use server::{clients::Paused, connection::Bounds, session::Port};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

/// Waits until so many clients wait for the end of the pause.
async fn until_blocked(node: &Node, count: usize) {
    let look = async {
        while node.clients.waiting().blocked != count {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, look).await.expect("they wait in time");
}

/// Nothing has come.
async fn is_silent(stream: &mut TcpStream) {
    let read = timeout(Duration::from_millis(50), stream.read(&mut [0])).await;
    assert!(read.is_err(), "something came: {read:?}");
}

#[tokio::test]
async fn writes_wait_and_all_else_is_answered() {
    let node = Node::simple().await;
    let (mut one, mut two) = (connect(&node).await, connect(&node).await);
    ask(&mut one, b"CLIENT PAUSE 1000000 WRITE\r\n", b"+OK\r\n").await;
    // What is before the first write is answered, and what would be refused anyway.
    two.write_all(b"GET a\r\nSET a\r\nfoo\r\nMSET a 1 b 2\r\nGET a\r\n").await.unwrap();
    let refused = b"$-1\r\n-ERR wrong number of arguments for 'set' command\r\n\
                    -ERR unknown command 'foo', with args beginning with: \r\n";
    receive(&mut two, refused).await;
    until_blocked(&node, 1).await;
    ask(&mut one, b"EXISTS a b\r\nPING\r\nCLIENT UNBLOCK 2\r\n", b":0\r\n+PONG\r\n:0\r\n").await;
    is_silent(&mut two).await;
    ask(&mut one, b"CLIENT UNPAUSE\r\n", b"+OK\r\n").await;
    receive(&mut two, b"+OK\r\n$1\r\n1\r\n").await;
    assert_eq!(node.clients.waiting().blocked, 0);
}

#[tokio::test]
async fn everything_waits_until_the_time_is_over() {
    let node = Node::simple().await;
    let (mut one, mut two) = (connect(&node).await, connect(&node).await);
    ask(&mut two, b"PING\r\n", b"+PONG\r\n").await;
    let start = Instant::now();
    // Of the connection that pauses, too; even the end of the pause waits, as in Redis.
    one.write_all(b"CLIENT PAUSE 300\r\nCLIENT UNPAUSE\r\nPING\r\n").await.unwrap();
    receive(&mut one, b"+OK\r\n").await;
    two.write_all(b"GET a\r\nPING x\r\n").await.unwrap();
    until_blocked(&node, 2).await;
    receive(&mut two, b"$-1\r\n$1\r\nx\r\n").await;
    receive(&mut one, b"+OK\r\n+PONG\r\n").await;
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_inline_command_that_waits_is_executed_as_it_was_sent() {
    let node = Node::simple().await;
    let (mut one, mut two) = (connect(&node).await, connect(&node).await);
    ask(&mut one, b"CLIENT PAUSE 1000000 WRITE\r\n", b"+OK\r\n").await;
    two.write_all(b"PING \"a b\"\r\nSET \"a b\" 'c \"d\"'\r\nGET \"a b\"\r\n").await.unwrap();
    receive(&mut two, b"$3\r\na b\r\n").await;
    until_blocked(&node, 1).await;
    ask(&mut one, b"CLIENT UNPAUSE\r\n", b"+OK\r\n").await;
    receive(&mut two, b"+OK\r\n$5\r\nc \"d\"\r\n").await;
}

#[tokio::test]
async fn another_pause_that_begins_at_once_has_its_own_time() {
    let node = Node::simple().await;
    let mut one = connect(&node).await;
    node.clients.pause(Paused::Writes, 0, u64::MAX);
    one.write_all(b"SET a 1\r\n").await.unwrap();
    until_blocked(&node, 1).await;
    // Both happen before the connection is woken.
    let now_us = node.router.services().clock.monotonic_us();
    node.clients.unpause();
    node.clients.pause(Paused::Writes, now_us, now_us + 100_000);
    receive(&mut one, b"+OK\r\n").await;
    assert!(node.router.services().clock.monotonic_us() >= now_us + 100_000);
    // A pause of less lets go what it does not hold.
    node.clients.pause(Paused::Everything, now_us, u64::MAX);
    one.write_all(b"GET a\r\n").await.unwrap();
    until_blocked(&node, 1).await;
    node.clients.unpause();
    node.clients.pause(Paused::Writes, now_us, u64::MAX);
    receive(&mut one, b"$1\r\n1\r\n").await;
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_is_forgotten() {
    let bounds = Bounds { linger: Duration::from_millis(50), ..Bounds::default() };
    let node = Node::start(&[], Port::Proxy, bounds).await;
    let (mut killed, mut leaving) = (connect(&node).await, connect(&node).await);
    ask(&mut killed, b"PING\r\n", b"+PONG\r\n").await;
    node.clients.pause(Paused::Everything, 0, u64::MAX);
    killed.write_all(b"PING\r\n").await.unwrap();
    leaving.write_all(b"PING\r\n").await.unwrap();
    until_blocked(&node, 2).await;
    drop(leaving);
    until_blocked(&node, 1).await;
    node.clients.all()[0].kill();
    assert_eq!(rest(&mut killed).await, b"");
    gone(&node).await;
}

#[tokio::test]
async fn a_node_that_leaves_lets_go_who_waits() {
    let node = Node::simple().await;
    let mut one = connect(&node).await;
    ask(&mut one, b"PING\r\n", b"+PONG\r\n").await;
    node.clients.pause(Paused::Everything, 0, u64::MAX);
    one.write_all(b"GET a\r\n").await.unwrap();
    until_blocked(&node, 1).await;
    node.shutdown.send(true).unwrap();
    assert_eq!(rest(&mut one).await, b"$-1\r\n");
    timeout(PATIENCE, node.serving).await.expect("the node ends").unwrap();
}

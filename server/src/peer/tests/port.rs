//! Whatever else comes to the peer port.

use std::io::ErrorKind;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::peer::port::STRANGERS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until the other side closes. What it says before that does not matter.
async fn until_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 1024];
    while !matches!(in_time(stream.read(&mut buffer)).await, Ok(0) | Err(_)) {}
}

async fn say(node: &Node, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&node.address).await.unwrap();
    match stream.write_all(bytes).await {
        Ok(()) => {}
        // It was closed while this side still spoke.
        Err(error) => assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}"),
    }
    stream
}

#[tokio::test]
async fn garbage_is_closed_at_once_and_the_node_goes_on() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let mut settings = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    // A frame that claims 16 MiB, and a request that is none.
    let oversized = [&settings[..], &[255, 255, 255, 0, 0, 0, 0, 0, 1]].concat();
    settings.extend([0, 0, 4, 1, 5, 0, 0, 0, 1, 255, 255, 255, 255]);
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"*1\r\n$4\r\nPING\r\n",
        &[0; 64],
        &[255; 4096],
        b"\0circlet but then something else entirely",
        &[PREFACE, &[7; 100_000]].concat(),
        &oversized,
        &settings,
    ] {
        until_closed(&mut say(&a, garbage).await).await;
    }
    let (_one, _two) = meet(&mut a, &mut b).await;
    a.nothing_else();
}

/// Both limits pass in one test, so that it takes as long as the longer one.
#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let a = node(1).await;
    let mut nothing = say(&a, b"").await;
    let mut half_a_magic = say(&a, b"\0cir").await;
    let mut half_a_raw_link = say(&a, b"\0circlet123").await;
    let mut no_stream = say(&a, &[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await;
    tokio::join!(
        until_closed(&mut nothing),
        until_closed(&mut half_a_magic),
        until_closed(&mut half_a_raw_link),
        until_closed(&mut no_stream)
    );
}

/// A stranger who speaks HTTP/2 well and never stops is cut as well.
#[tokio::test]
async fn a_stranger_may_not_say_much() {
    let a = node(1).await;
    let mut stream = say(&a, &[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await;
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let (mut reader, mut writer) = stream.split();
    let mut buffer = [0; 4096];
    let speaking = async { while writer.write_all(&ping).await.is_ok() {} };
    let listening = async {
        let mut heard = 0;
        while let Ok(bytes @ 1..) = reader.read(&mut buffer).await {
            heard += bytes;
        }
        heard
    };
    let ((), heard) = in_time(async { tokio::join!(speaking, listening) }).await;
    // Each ping is answered by as many bytes, so what is heard tells how much was read.
    assert!(heard < 80_000, "{heard} bytes were answered");
}

#[tokio::test]
async fn more_strangers_than_places_are_turned_away() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(say(&a, b"").await);
    }
    // It may be closed before or after those before it have taken their places, but not after their time is over.
    let mut one_more = say(&a, b"").await;
    until_closed(&mut one_more).await;
    let mut byte = [0];
    let waiting = strangers
        .iter()
        .filter(|stream| matches!(stream.try_read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock));
    assert!(waiting.count() > 0, "the others are still waited for");
    for stranger in &mut strangers {
        stranger.shutdown().await.unwrap();
        until_closed(stranger).await;
    }
    let (_one, _two) = meet(&mut b, &mut a).await;
}

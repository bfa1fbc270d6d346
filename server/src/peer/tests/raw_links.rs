//! Raw links, and the other ways to use a session that is not one's own.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::peer::{
    line::{Line, Purpose, Silence},
    proof::Claim,
    raw_link::MAGIC,
    tie::Tie,
    wire::{self, packet::Body},
};

fn tie(node: &Node, peer: &Node) -> Arc<Tie> {
    node.peering.core.registry.alive_with(peer.id).unwrap().tie
}

/// Whether the other side closes without another byte.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    // What was sent and not read turns the end into a reset.
    matches!(in_time(stream.read(&mut byte)).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_raw_link_opens_both_ways() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (one, two) = meet(&mut a, &mut b).await;
    for forth in [true, false] {
        let (from, to, by, of) = if forth { (&a, &mut b, &one, &two) } else { (&b, &mut a, &two, &one) };
        let mut here = in_time(from.peering.open_raw_link(by.id)).await.unwrap();
        let mut there = in_time(to.raw_links.recv()).await.unwrap();
        assert_eq!((here.peer, here.session, there.peer, there.session), (by.peer, by.id, of.peer, of.id));
        here.stream.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        in_time(there.stream.read_exact(&mut heard)).await.unwrap();
        there.stream.write_all(&heard).await.unwrap();
        in_time(here.stream.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"ping");
    }
}

#[tokio::test]
async fn a_raw_link_needs_a_session() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (one, _two) = meet(&mut a, &mut b).await;
    a.peering.close(one.id, "done");
    a.down().await;
    let refused = a.peering.open_raw_link(one.id).await.unwrap_err();
    assert_eq!(refused.to_string(), "the session with this peer is over");
}

#[tokio::test]
async fn a_raw_link_without_proof_is_closed() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (_one, _two) = meet(&mut a, &mut b).await;
    let tie = tie(&a, &b);
    let mut unknown = TcpStream::connect(&a.address).await.unwrap();
    unknown.write_all(&MAGIC).await.unwrap();
    unknown.write_all(&[7; 16]).await.unwrap();
    assert!(is_closed(&mut unknown).await);
    let mut nonce = [0; 32];
    for wrong in [tie.key.prove(Claim::RawLink(&nonce)), tie.key.prove(Claim::Lane), [0; 32]] {
        let mut stream = TcpStream::connect(&a.address).await.unwrap();
        stream.write_all(&MAGIC).await.unwrap();
        stream.write_all(&tie.name).await.unwrap();
        in_time(stream.read_exact(&mut nonce)).await.unwrap();
        stream.write_all(&wrong).await.unwrap();
        assert!(is_closed(&mut stream).await);
    }
    assert!(a.raw_links.try_recv().is_err());
    in_time(b.peering.open_raw_link(_two.id)).await.unwrap();
    assert!(in_time(a.raw_links.recv()).await.is_some());
}

#[tokio::test]
async fn a_stream_joins_a_session_once_and_with_proof_only() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (one, mut two) = meet(&mut a, &mut b).await;
    let tie = tie(&b, &a);
    for (proof, answer) in [
        (tie.key.prove(Claim::Lane), "the session has its lane stream"),
        (tie.key.prove(Claim::Bulk), "there is no such session, or it was not proved"),
        ([0; 32], "there is no such session, or it was not proved"),
    ] {
        let stream = TcpStream::connect(&b.address).await.unwrap();
        let Ok((mut line, _leash)) = Line::dial(stream, Purpose::Lane).await else { panic!("no stream") };
        let attach = wire::Attach { session: tie.name.to_vec().into(), proof: proof.to_vec().into() };
        line.say(Body::Attach(attach)).await.unwrap();
        let heard = in_time(line.hear()).await;
        assert!(matches!(&heard, Err(Silence::Broken(why)) if why == answer), "{heard:?}");
    }
    one.lane.send.send(frame(1, 1)).await.unwrap();
    assert_eq!(receive(&mut two.lane).await, frame(1, 1));
}

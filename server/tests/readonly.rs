//! Cluster-aware clients that read from copies.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;
mod several;

use std::time::{SystemTime, UNIX_EPOCH};

use ring::{
    context::SlotContext,
    hlc::Hlc,
    id::{Origin, Peer},
    slot::Slot,
};
use server::{
    session::Port,
    store::{Drained, LaneId, Store},
};
use several::{Several, key_of};

/// Takes what a node has for a peer that stands for the copy on another node to that node.
fn carry_effects(from: &Store, to: &Store, lane: LaneId) {
    while let Drained::Batch(batch) = from.drain(lane, 1 << 20) {
        let bytes = batch.bytes.concat();
        let mut rest = &bytes[..];
        while let Some((head, behind)) = rest.split_first_chunk::<5>() {
            let len = u32::from_le_bytes(head[1..].try_into().unwrap()) as usize;
            to.receive(Peer(1), &behind[..len], now_unix_ms()).unwrap();
            rest = &behind[len..];
        }
    }
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_said_readonly_reads_from_a_copy_that_follows() {
    let several = Several::start(2, 1, 2, Port::Cluster).await;
    let key = key_of(1, 3);
    let slot = Slot::of(key.as_bytes());
    let (following, acting) = (&several.nodes[0].store, &several.nodes[1].store);
    following.with_replica(slot, |copy| copy.open_empty(Origin(77)));
    let lane = several.replicate(1, slot, Peer(9));
    several.client(1).await.ask(&format!("SET {key} 1\nSET {{{key}}}b 2 PX 1"), "+OK\r\n+OK\r\n").await;
    carry_effects(acting, following, lane);
    let moved = format!("-MOVED {slot} node1:7379\r\n");
    let mut client = several.client(0).await;
    client.ask(&format!("GET {key}"), &moved).await;
    client
        .ask(&format!("READONLY\nGET {key}\nMGET {key} {{{key}}}c"), "+OK\r\n$1\r\n1\r\n*2\r\n$1\r\n1\r\n$-1\r\n")
        .await;
    // What is past its deadline is hidden, and stays until the acting node removes it.
    let start_ms = now_unix_ms();
    while now_unix_ms() < start_ms + 2 {
        tokio::task::yield_now().await;
    }
    client.ask(&format!("GET {{{key}}}b"), "$-1\r\n").await;
    assert_eq!(following.slot_figures(slot).keys, 2);
    client.ask(&format!("SET {key} 2\nREADWRITE\nGET {key}"), &format!("{moved}+OK\r\n{moved}")).await;
    // A copy that knows that it misses something does not answer.
    let mut seen = SlotContext::new();
    seen.advance(Origin(78), Hlc::at_unix_ms(now_unix_ms()));
    following.heard_of(Peer(1), slot, &seen, now_unix_ms()).unwrap();
    client.ask(&format!("READONLY\nGET {key}"), &format!("+OK\r\n{moved}")).await;
}

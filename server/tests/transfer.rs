//! Values that go from one node to another, and databases that change places on all of them.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;
mod several;

use std::sync::atomic::Ordering::SeqCst;

use ring::slot::Slot;
use server::{session::Port, store::Policy};
use several::{Client, PATIENCE, Several, key_of, peer};
use tokio::time::timeout;

/// What is said of a command whose outcome is not known.
const LOST: &str = "-INDETERMINATE the node that executed the command was lost before it answered; it may or may not have taken effect\r\n";

async fn three() -> Several {
    Several::start(3, 1, 1, Port::Proxy).await
}

/// A key of each node.
fn keys_of_three() -> [String; 3] {
    [0, 1, 2].map(|owner| key_of(owner, 3))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_goes_from_node_to_node() {
    let several = three().await;
    let [here, there, beyond] = keys_of_three();
    let mut client = several.client(0).await;
    let large = "v".repeat(1_000_000);
    for (value, from, to) in [("one", &here, &there), ("two", &there, &beyond), (&large, &beyond, &here)] {
        let shown = format!("${}\r\n{value}\r\n", value.len());
        client.ask(&format!("RENAME {from} {to}\nCOPY {from} {to}"), "-ERR no such key\r\n:0\r\n").await;
        client.ask(&format!("SET {from} {value} PXAT 33177117420000\nRENAME {from} {to}"), "+OK\r\n+OK\r\n").await;
        client
            .ask(&format!("EXISTS {from}\nGET {to}\nPEXPIRETIME {to}"), &format!(":0\r\n{shown}:33177117420000\r\n"))
            .await;
        client
            .ask(
                &format!("COPY {to} {from}\nCOPY {to} {from}\nGET {from}\nSET {to} x\nCOPY {to} {from} REPLACE"),
                &format!(":1\r\n:0\r\n{shown}+OK\r\n:1\r\n"),
            )
            .await;
        client.ask(&format!("MGET {from} {to}\nTTL {from}"), "*2\r\n$1\r\nx\r\n$1\r\nx\r\n:-1\r\n").await;
        client.ask(&format!("COPY {to} {from} DB 3\nSELECT 3\nRENAME {from} {to}"), ":1\r\n+OK\r\n+OK\r\n").await;
        client.ask(&format!("GET {to}\nGETDEL {to}\nGET {from}"), "$1\r\nx\r\n$1\r\nx\r\n$-1\r\n").await;
        client.ask(&format!("SELECT 0\nDEL {from} {to}"), "+OK\r\n:2\r\n").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_two_nodes_are_compared() {
    let several = three().await;
    let [_, one, other] = keys_of_three();
    let mut client = several.client(0).await;
    client.ask(&format!("SET {one} ohmytext\nSET {other} mynewtext"), "+OK\r\n+OK\r\n").await;
    client.ask(&format!("LCS {one} {other}\nLCS {one} {other} LEN"), "$6\r\nmytext\r\n:6\r\n").await;
    several.nodes[0].routes.set(Slot::of(other.as_bytes()), None);
    client.ask(&format!("LCS {one} {other}"), "-CLUSTERDOWN Hash slot not served\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_iteration_ends_where_other_databases_share_the_slot() {
    let several = three().await;
    let mut client = several.client(0).await;
    for database in 0..16 {
        client.ask(&format!("SELECT {database}"), "+OK\r\n").await;
        for key in 0..if database == 3 { 4 } else { 20 } {
            client.ask(&format!("SET {{t}}{key} v"), "+OK\r\n").await;
        }
    }
    client.ask("SELECT 3", "+OK\r\n").await;
    let mut found = client.scan("").await;
    found.sort();
    assert_eq!(found, ["{t}0", "{t}1", "{t}2", "{t}3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_a_key_is_renamed_stays() {
    let several = three().await;
    let [_, source, target] = keys_of_three();
    let mut client = several.client(0).await;
    client.ask(&format!("SET {source} old"), "+OK\r\n").await;
    // The target has the value, but the one who renames does not know yet.
    several.nodes[2].tap.open.send_replace(false);
    client.send(&format!("RENAME {source} {target}")).await;
    several.until_held(2, &target, b"old").await;
    several.client(1).await.ask(&format!("SET {source} new"), "+OK\r\n").await;
    several.nodes[2].tap.open.send_replace(true);
    client.receive("+OK\r\n").await;
    client.ask(&format!("MGET {source} {target}"), "*2\r\n$3\r\nnew\r\n$3\r\nold\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_began_is_finished_when_it_has_gone() {
    let several = three().await;
    let [_, source, target] = keys_of_three();
    let mut client = several.client(0).await;
    client.ask(&format!("SET {source} v"), "+OK\r\n").await;
    several.nodes[2].tap.open.send_replace(false);
    client.send(&format!("RENAME {source} {target}")).await;
    several.until_held(2, &target, b"v").await;
    drop(client);
    node::gone(&several.nodes[0].node).await;
    several.nodes[2].tap.open.send_replace(true);
    let slot = Slot::of(source.as_bytes());
    let is_left = || several.nodes[1].store.read(slot, 0, |view| view.value(source.as_bytes()).is_some());
    let removed = async {
        while is_left() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, removed).await.expect("the key leaves its old place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_renamed_where_memory_is_short() {
    let several = three().await;
    let [_, source, target] = keys_of_three();
    let mut client = several.client(0).await;
    client.ask(&format!("SET {source} v\nSET {target} w"), "+OK\r\n+OK\r\n").await;
    several.nodes[2].store.limit_memory(1, Policy::NoEviction);
    let refused = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    client
        .ask(&format!("COPY {source} {target} REPLACE\nRENAME {source} {target}"), &format!("{refused}+OK\r\n"))
        .await;
    client.ask(&format!("EXISTS {source} {target}\nGET {target}"), ":1\r\n$1\r\nv\r\n").await;
}

/// Takes a value from the first node to the third by this command, whose target changes hands before it has answered;
/// it has to answer this. The nodes, the client and the two keys.
async fn lose_the_target(command: &str, expected: &str) -> (Several, Client, String, String) {
    let several = three().await;
    let [source, _, target] = keys_of_three();
    let mut client = several.client(0).await;
    client.ask(&format!("SET {source} v"), "+OK\r\n").await;
    several.nodes[2].tap.open.send_replace(false);
    client.send(&format!("{command} {source} {target}\nPING")).await;
    several.until_held(2, &target, b"v").await;
    several.hand_over(Slot::of(target.as_bytes()), 2, 1).await;
    several.nodes[0].links.disconnect(peer(2));
    client.receive(&format!("{expected}+PONG\r\n")).await;
    (several, client, source, target)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_outcome_is_lost_says_so() {
    let (_several, mut client, _, target) = lose_the_target("COPY", LOST).await;
    client.ask(&format!("GET {target}"), "$1\r\nv\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_goes_on_when_the_target_is_lost() {
    // To give the target the value once more does no harm.
    let (_several, mut client, source, target) = lose_the_target("RENAME", "+OK\r\n").await;
    client.ask(&format!("GET {source}\nGET {target}"), "$-1\r\n$1\r\nv\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_change_places_once_on_every_node() {
    let several = three().await;
    let keys = keys_of_three();
    let mut client = several.client(0).await;
    for key in &keys {
        client.ask(&format!("SET {key} zero\nSELECT 5\nSET {key} five\nSELECT 0"), &"+OK\r\n".repeat(4)).await;
    }
    client.ask("SWAPDB 0 5\nSWAPDB 0 16", "+OK\r\n-ERR DB index is out of range\r\n").await;
    for key in &keys {
        client.ask(&format!("GET {key}"), "$4\r\nfive\r\n").await;
    }
    // A second time would undo the first.
    let arrived = several.nodes[1].tap.pieces.load(SeqCst);
    several.nodes[1].tap.open.send_replace(false);
    client.send("SWAPDB 0 5").await;
    several.nodes[1].tap.until_arrived(arrived + 1).await;
    several.nodes[0].links.disconnect(peer(1));
    client.receive(LOST).await;
}

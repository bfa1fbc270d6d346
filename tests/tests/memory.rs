//! Real nodes at their limit of memory.

use circlet_tests::figures::Figures;
use circlet_tests::node_binary;
use circlet_tests::process::{Cluster, DEADLINE, Node, NodeOptions};
use circlet_tests::resp::Value;

const LIMIT: u64 = 2 << 20;

fn memory(node: &Node) -> u64 {
    let info = node.connect().line("INFO memory").expect("a reply");
    Figures::parse(info.text().expect("a text")).of("used_memory")
}

/// What a node does about a limit that is lowered far below what it holds, without a command that needs memory.
#[test]
fn a_lower_limit_is_come_down_to_by_itself() {
    let options = NodeOptions::new(node_binary!()).flag("--replicas", "2").flag("--rebuild-delay", "0s");
    let mut cluster = Cluster::start(2, &options);
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    let mut client = cluster.node(0).connect();
    for from in (0..20_000).step_by(1000) {
        let set = |n| vec!["SET".to_owned(), format!("key:{n}"), "v".repeat(500), "EX".to_owned(), "1000".to_owned()];
        let commands: Vec<_> = (from..from + 1000).map(set).collect();
        assert!(client.pipeline(&commands).expect("replies").iter().all(Value::is_ok));
    }
    assert!(cluster.running().iter().all(|node| memory(node) > 4 * LIMIT));
    for node in cluster.running() {
        let lower = format!("CONFIG SET maxmemory-policy volatile-lfu maxmemory {LIMIT}");
        assert!(node.connect().line(&lower).expect("a reply").is_ok());
    }
    cluster.wait_until("below the limit", DEADLINE, |cluster| {
        cluster.running().iter().all(|node| memory(node) <= LIMIT + LIMIT / 64)
    });
    // Both hold the same, and go on.
    cluster.wait_until("alike", DEADLINE, |cluster| {
        let [one, other] = [0, 1].map(|node| memory(cluster.node(node)));
        one.abs_diff(other) <= LIMIT / 20
    });
    assert!(client.line("SET after 1").expect("a reply").is_ok());
    // Without a key that may go, what needs memory is refused, and what does not is not.
    for node in cluster.running() {
        let least = "CONFIG SET maxmemory 1 maxmemory-policy noeviction";
        assert!(node.connect().line(least).expect("a reply").is_ok());
    }
    assert!(client.line("SET after 2").expect("a reply").is_error("OOM"));
    assert_eq!(client.line("GET after").expect("a reply"), Value::from("1"));
}

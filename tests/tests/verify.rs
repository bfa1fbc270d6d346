//! `CLUSTER VERIFY` on real nodes: what it says of copies that are the same, and what becomes of those that are not.

use std::collections::BTreeMap;

use circlet_tests::{
    bench_binary,
    load::Load,
    node_binary,
    process::{Cluster, DEADLINE, NodeOptions},
    resp::{Client, Value},
};

/// What one run found out.
#[derive(Debug)]
struct Verified {
    figures: BTreeMap<String, String>,
    /// The copies that something is wrong with: slot, node, what.
    problems: Vec<(String, String, String)>,
}

impl Verified {
    fn by(cluster: &mut Cluster, node: usize) -> Verified {
        let reply = cluster.node(node).connect().line("CLUSTER VERIFY").expect("a reply");
        let text = reply.text().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
        let (mut figures, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, value) in text.lines().map(|line| line.split_once(':').expect("a name and a value")) {
            if name == "verify_problem" {
                let parts: Vec<&str> =
                    value.split(',').map(|part| part.split_once('=').expect("a name and a value").1).collect();
                problems.push((parts[0].to_owned(), parts[1].to_owned(), parts[2].to_owned()));
            } else {
                figures.insert(name.trim_start_matches("verify_").to_owned(), value.to_owned());
            }
        }
        Verified { figures, problems }
    }

    fn of(&self, name: &str) -> &str {
        &self.figures[name]
    }

    fn is_clean(&self) -> bool {
        self.of("state") == "clean"
    }
}

fn start(nodes: usize, replicas: &str) -> Cluster {
    let options = NodeOptions::new(node_binary!()).flag("--replicas", replicas).flag("--enable-debug-command", "local");
    let mut cluster = Cluster::start(nodes, &options);
    let copies = replicas.parse::<u64>().expect("a number").min(nodes as u64);
    cluster.wait_until("that many copies", DEADLINE, |cluster| cluster.has_copies(copies));
    cluster
}

fn text(cluster: &mut Cluster, node: usize, line: &str) -> String {
    let reply = cluster.node(node).connect().line(line).expect("a reply");
    reply.text().unwrap_or_else(|| panic!("{line}: {reply:?}")).to_owned()
}

/// Who acts for the slot of a key: the one node that does not send cluster-aware clients away. Which one that is all have
/// to know first.
fn who_acts(cluster: &mut Cluster, nodes: usize, key: &str) -> usize {
    let mut acting = Vec::new();
    cluster.wait_until("one node that is known to act", DEADLINE, |cluster| {
        acting = (0..nodes).filter(|&node| answers_for(cluster, node, key)).collect();
        acting.len() == 1
    });
    acting[0]
}

fn answers_for(cluster: &mut Cluster, node: usize, key: &str) -> bool {
    let mut client = Client::connect(cluster.node(node).cluster()).expect("a connection");
    !client.line(&format!("EXISTS {key}")).expect("a reply").is_error("MOVED")
}

#[test]
fn copies_that_are_the_same_are_proved_to_be_while_they_are_written_to() {
    let mut cluster = start(3, "2");
    let targets = cluster.targets();
    Load::run(bench_binary!(), &targets, "--load-only --keys 50000 --pipeline 16 --quiet").assert_clean("the keys");
    for node in 0..3 {
        let verified = Verified::by(&mut cluster, node);
        assert!(verified.is_clean() && verified.problems.is_empty(), "{verified:?}");
        let figures = ["slots", "slots_unserved", "copies", "copies_wanted", "keys"].map(|name| verified.of(name));
        assert_eq!(figures, ["16384", "0", "32768", "32768", "50000"]);
    }
    let arguments = "--duration 600 --connections 20 --keys 1000 --pipeline 8 --get-ratio 0.2 --prefix hot:";
    let mut load = Load::start(bench_binary!(), &targets, arguments);
    load.seconds(1);
    for node in [0, 1, 2, 0] {
        let verified = Verified::by(&mut cluster, node);
        assert!(verified.is_clean(), "{verified:?}");
    }
    load.stop().assert_clean("under load");
    let repaired = ["slots_repaired", "slots_spoilt"].map(|name| cluster.sum(name));
    assert_eq!(repaired[1], 0, "nothing was wrong");
}

#[test]
fn a_copy_that_is_missing_is_no_proof() {
    let mut cluster = start(1, "2");
    // One node is all that there is: what it has is all that there can be.
    assert!(Verified::by(&mut cluster, 0).is_clean());
    cluster.join();
    cluster.wait_until("two copies", DEADLINE, |cluster| cluster.has_copies(2));
    assert!(Verified::by(&mut cluster, 0).is_clean());
    cluster.node(1).pause();
    let verified = Verified::by(&mut cluster, 0);
    assert_eq!(verified.of("state"), "incomplete", "{verified:?}");
    cluster.node(1).resume();
    cluster.wait_until("two copies", DEADLINE, |cluster| cluster.has_copies(2));
    cluster.wait_until("a proof", DEADLINE, |cluster| Verified::by(cluster, 1).is_clean());
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "entries can be spoilt in debug builds only")]
fn spoilt_entries_are_found_and_mended_wherever_they_are() {
    let mut cluster = start(4, "3");
    let keys: Vec<String> = (0..200).map(|number| format!("key:{number}")).collect();
    let value = |key: &str| format!("the value of {key}");
    let mut client = cluster.node(0).connect();
    for key in &keys {
        assert!(client.command(&["SET", key, &value(key)]).expect("a reply").is_ok());
    }
    assert!(Verified::by(&mut cluster, 0).is_clean());
    let cases = [
        ("LOSE", false, "spoilt"),
        ("CHANGE", false, "content"),
        ("LOSE", true, "spoilt"),
        ("CHANGE", true, "content"),
    ];
    for (number, (how, at_who_acts, what)) in cases.into_iter().enumerate() {
        let key = &keys[7 * number];
        let command = format!("DEBUG SPOIL {how} {key}");
        let acting = who_acts(&mut cluster, 4, key);
        let is_spoilt = |&node: &usize| cluster.node(node).connect().line(&command).expect("a reply").is_ok();
        let node = (0..4).filter(|&node| (node == acting) == at_who_acts).find(is_spoilt).expect("a copy");
        let (id, slot) = (text(&mut cluster, node, "CLUSTER MYID"), {
            let reply = cluster.node(node).connect().line(&format!("CLUSTER KEYSLOT {key}")).expect("a reply");
            let Value::Integer(slot) = reply else { panic!("{reply:?}") };
            slot.to_string()
        });
        let verified = Verified::by(&mut cluster, (number + 1) % 4);
        assert_eq!(verified.of("state"), "divergent", "{how} {at_who_acts}: {verified:?}");
        assert!(verified.problems.contains(&(slot, id, what.to_owned())), "{how} {at_who_acts}: {verified:?}");
        cluster.wait_until("mended", DEADLINE, |cluster| {
            cluster.has_copies(3) && Verified::by(cluster, number % 4).is_clean()
        });
        for node in 0..4 {
            let read = cluster.node(node).connect().command(&["GET", key]).expect("a reply");
            assert_eq!(read, Value::from(value(key).as_str()), "{how} {at_who_acts}");
        }
    }
    assert_eq!(cluster.sum("slots_spoilt"), cases.len() as u64, "each was pulled anew, and nothing else");
}

//! What operators ask any node about the whole cluster.

use std::collections::BTreeMap;

use circlet_tests::{
    bench_binary,
    load::Load,
    node_binary,
    process::{Cluster, DEADLINE, NodeOptions},
};

/// An answer: names with all their values, in order.
struct Answer(BTreeMap<String, Vec<String>>);

impl Answer {
    fn of(cluster: &mut Cluster, node: usize, line: &str) -> Answer {
        let mut answer = Answer(BTreeMap::new());
        for line in text(cluster, node, line).lines() {
            let (name, value) = line.split_once(':').expect("a name and a value");
            answer.0.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        answer
    }

    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn one(&self, name: &str) -> &str {
        let [one] = self.all(name) else { panic!("one {name}: {:?}", self.0) };
        one
    }

    /// The parts of all lines of this name.
    fn parts(&self, name: &str) -> Vec<BTreeMap<&str, &str>> {
        let part = |part| -> (&str, &str) { str::split_once(part, '=').expect("a name and a value") };
        self.all(name).iter().map(|line| line.split(',').map(part).collect()).collect()
    }
}

fn text(cluster: &mut Cluster, node: usize, line: &str) -> String {
    let reply = cluster.node(node).connect().line(line).expect("a reply");
    reply.text().unwrap_or_else(|| panic!("{line}: {reply:?}")).to_owned()
}

fn start(nodes: usize, copies: u64) -> Cluster {
    let options = NodeOptions::new(node_binary!()).flag("--replicas", &copies.to_string());
    let mut cluster = Cluster::start(nodes, &options);
    cluster.wait_until("that many copies", DEADLINE, |cluster| cluster.has_copies(copies));
    cluster
}

#[test]
fn a_key_is_explained_by_every_node_alike() {
    let mut cluster = start(3, 2);
    let ids: Vec<String> = (0..3).map(|node| text(&mut cluster, node, "CLUSTER MYID")).collect();
    for line in ["SET key 12345", "SET other{key} v", "PEXPIRE key 600000", "GET key"] {
        cluster.node(0).connect().line(line).expect("a reply");
    }
    cluster.wait_until("the same of every node", DEADLINE, |cluster| {
        let answers: Vec<Answer> = (0..3).map(|node| Answer::of(cluster, node, "CLUSTER EXPLAIN key")).collect();
        let is_settled = |answer: &Answer| {
            answer.all("explain_copy").len() == 2
                && answer.parts("explain_copy").iter().all(|copy| copy["compared"] == "equal")
        };
        answers.iter().all(is_settled)
    });
    for node in 0..3 {
        let answer = Answer::of(&mut cluster, node, "CLUSTER EXPLAIN key");
        assert_eq!(answer.one("explain_slot"), "12539");
        let targets: Vec<&str> = answer.one("explain_targets").split(',').collect();
        assert_eq!(answer.one("explain_acting"), targets[0]);
        assert!(targets.len() == 2 && targets.iter().all(|&target| ids.iter().any(|id| id == target)));
        let copies = answer.parts("explain_copy");
        let roles = |role: &str| copies.iter().filter(|copy| copy["role"] == role).count();
        assert_eq!((roles("acting"), roles("following")), (1, 1));
        assert_eq!(copies[0]["version"], copies[1]["version"]);
        for copy in &copies {
            assert!(targets.contains(&copy["node"]));
            assert_eq!((copy["keys"], copy["value_bytes"]), ("2", "5"));
            let ttl_ms: u64 = copy["ttl_ms"].parse().expect("a number");
            assert!((500_000..=600_000).contains(&ttl_ms), "{ttl_ms}");
        }
    }
    let missing = Answer::of(&mut cluster, 1, "CLUSTER EXPLAIN {key}none");
    assert!(missing.parts("explain_copy").iter().all(|copy| copy["keys"] == "2" && !copy.contains_key("version")));
    // Who does not answer is named.
    cluster.node(2).pause();
    cluster.wait_until("silence", DEADLINE, |cluster| {
        Answer::of(cluster, 0, "CLUSTER EXPLAIN key").all("explain_silent") == [ids[2].clone()]
    });
    cluster.node(2).resume();
}

#[test]
fn lags_are_measured_for_each_pair() {
    let mut cluster = start(3, 2);
    let targets = cluster.targets();
    Load::run(bench_binary!(), &targets, "--load-only --keys 20000 --pipeline 8 --quiet").assert_clean("the keys");
    let answer = Answer::of(&mut cluster, 1, "CLUSTER FRESHNESS");
    assert_eq!((answer.one("freshness_nodes"), answer.one("freshness_nodes_silent")), ("3", "0"));
    let lanes = answer.parts("freshness_lane");
    assert_eq!(lanes.len(), 6, "each to each other");
    for lane in lanes {
        let number = |name: &str| -> u64 { lane[name].parse().expect("a number") };
        assert!(lane["connected"] == "1" && lane["from"] != lane["to"] && number("batches") > 0, "{lane:?}");
        let [p50, p99, most] = ["p50_us", "p99_us", "max_us"].map(number);
        assert!(0 < p50 && p50 <= p99 && p99 <= most && most < 60_000_000, "{lane:?}");
    }
    cluster.wait_until("everything acknowledged", DEADLINE, |cluster| {
        Answer::of(cluster, 0, "CLUSTER FRESHNESS").one("freshness_oldest_us") == "0"
    });
}

#[test]
fn a_plan_says_what_a_change_then_moves() {
    let mut cluster = start(3, 2);
    let targets = cluster.targets();
    Load::run(bench_binary!(), &targets, "--load-only --keys 20000 --pipeline 16 --quiet").assert_clean("the keys");
    let plan = text(&mut cluster, 1, "CLUSTER PLAN JOIN 1");
    let number_before = |plan: &str, what: &str| -> u64 {
        let before = plan.split(what).next().and_then(|text| text.split_whitespace().last()).expect("a number");
        before.parse().unwrap_or_else(|_| panic!("{before}: {plan}"))
    };
    let (copies, bytes) = (number_before(&plan, " copies to move"), number_before(&plan, " bytes to move"));
    let held: u64 = ["slots_acting", "slots_following"].map(|role| cluster.sum(role)).iter().sum();
    assert_eq!(held, 2 * 16384, "nothing is changed");
    // A new node gets a quarter of the copies, as exactly as shares are, and that many bytes.
    assert!((held / 4 * 9 / 10..held / 4 * 5 / 4).contains(&copies), "{copies}: {plan}");
    assert!(bytes > 20_000 * 2 / 4 * 64 * 9 / 10, "{bytes}: {plan}");
    let before = cluster.sum("slots_pulled");
    cluster.join();
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    let moved = cluster.sum("slots_pulled") - before;
    assert!(moved.abs_diff(copies) < copies / 10, "{moved} moved, {copies} planned");

    let id = text(&mut cluster, 3, "CLUSTER MYID");
    let plan = text(&mut cluster, 0, &format!("CLUSTER PLAN LEAVE {id}"));
    assert!(number_before(&plan, " copies to move") >= moved, "{plan}");
    let unknown = format!("ERR Unknown node {}", "0".repeat(40));
    let errors = [
        (format!("LEAVE {}", "0".repeat(40)), unknown.as_str()),
        ("LEAVE nobody".to_owned(), "ERR Unknown node nobody"),
        ("JOIN 0".to_owned(), "ERR the number of nodes has to be between 1 and 127"),
        ("JOIN x".to_owned(), "ERR value is not an integer or out of range"),
        ("JOIN 1 RACK a".to_owned(), "ERR syntax error"),
        ("SWAP 1".to_owned(), "ERR syntax error"),
    ];
    for (change, error) in errors {
        assert_eq!(text(&mut cluster, 2, &format!("CLUSTER PLAN {change}")), error);
    }
}

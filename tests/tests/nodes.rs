//! Real nodes under load while they are killed, join and leave.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use circlet_tests::load::{Load, StateFile};
use circlet_tests::process::{Cluster, DEADLINE, NodeOptions};
use circlet_tests::{bench_binary, node_binary};

/// What may pass without a successful command after a node was killed.
const LONGEST_GAP_MS: f64 = 1000.0;

fn cluster(nodes: usize, flags: &[(&str, &str)]) -> Cluster {
    let options =
        flags.iter().fold(NodeOptions::new(node_binary!()), |options, (name, value)| options.flag(name, value));
    Cluster::start(nodes, &options)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("fits")
}

/// Kills one of three nodes while keys are written through the two others, and reads back what must be there.
fn kill_while_writing(test: &str, flags: &[(&str, &str)], acked_before: impl Fn(u64) -> String) {
    let mut cluster = cluster(3, flags);
    let file = StateFile::new(test);
    let survivors = format!("{},{}", cluster.node(0).client(), cluster.node(1).client());
    let state = file.argument();
    let mut writing = Load::start(
        bench_binary!(),
        &survivors,
        &format!("--load-only --keys 200000 --rate 25000 --connections 20 --pipeline 8 --allow-errors 200000 {state}"),
    );
    writing.seconds(4);
    let killed_ms = now_ms();
    cluster.node(2).kill();
    let report = writing.finish();
    let gap_ms = report.max("gap_ms");
    assert!(gap_ms < LONGEST_GAP_MS, "{gap_ms} ms without a successful command: {report:?}");

    let after =
        Load::run(bench_binary!(), &survivors, "--duration 3 --connections 20 --keys 1000 --prefix after: --quiet");
    // Where two nodes were to have a write and one of its owners is gone, no write is taken until a new copy is made.
    after.assert_no_failure("commands after the gap");
    let verify = format!("--verify-only --connections 20 --pipeline 16 --quiet {state} {}", acked_before(killed_ms));
    let verified = Load::run(bench_binary!(), &survivors, &verify);
    verified.assert_clean("what was acknowledged is read through each survivor");
    assert!(verified.sum("reads") > 1000.0, "too little was acknowledged before the kill: {verified:?}");
}

#[test]
fn a_killed_node_takes_nothing_along_that_was_acknowledged_a_second_before() {
    kill_while_writing("kill", &[("--replicas", "2")], |killed_ms| format!("--acked-before {}", killed_ms - 1000));
}

#[test]
fn a_killed_node_takes_nothing_along_that_two_nodes_acknowledged() {
    kill_while_writing("kill-acks", &[("--replicas", "2"), ("--write-acks", "2")], |_| String::new());
}

#[test]
fn a_node_joins_and_two_leave_at_once_under_load_without_an_error() {
    let mut cluster = cluster(3, &[("--replicas", "2")]);
    let files = [StateFile::new("join-loaded"), StateFile::new("join-mixed")];
    let [loaded, mixed] = files.each_ref().map(StateFile::argument);
    let targets = cluster.targets();
    Load::run(
        bench_binary!(),
        &targets,
        &format!("--load-only --keys 100000 --prefix loaded: --pipeline 16 --quiet {loaded}"),
    )
    .assert_clean("the first keys");

    let arguments = format!("--duration 600 --connections 20 --keys 20000 --prefix mixed: --get-ratio 0.7 {mixed}");
    let mut load = Load::start(bench_binary!(), &targets, &arguments);
    load.seconds(1);
    cluster.join();
    load.seconds(2);
    load.stop().assert_clean("a join under load");
    verify(&mut cluster, &[&loaded, &mixed]);

    let mut load = Load::start(bench_binary!(), &cluster.targets(), &arguments);
    load.seconds(1);
    for leaver in [0, 1] {
        cluster.node(leaver).terminate();
    }
    for leaver in [0, 1] {
        let status = cluster.node(leaver).wait_exit(DEADLINE + Duration::from_secs(30));
        assert_eq!(status.code(), Some(0), "{}", cluster.node(leaver).stderr_tail());
    }
    load.seconds(2);
    load.stop().assert_clean("two leave at once under load");
    verify(&mut cluster, &[&loaded, &mixed]);
}

#[test]
fn a_node_that_leaves_hands_over_its_only_copies() {
    let mut cluster = cluster(2, &[("--replicas", "1")]);
    let file = StateFile::new("single-copies");
    let state = file.argument();
    Load::run(bench_binary!(), &cluster.targets(), &format!("--load-only --keys 50000 --pipeline 16 --quiet {state}"))
        .assert_clean("the keys");
    cluster.node(0).terminate();
    assert_eq!(cluster.node(0).wait_exit(DEADLINE + Duration::from_secs(30)).code(), Some(0));
    verify(&mut cluster, &[&state]);
}

fn verify(cluster: &mut Cluster, states: &[&str]) {
    for state in states {
        let arguments = format!("--verify-only --connections 20 --pipeline 16 --quiet {state}");
        Load::run(bench_binary!(), &cluster.targets(), &arguments).assert_clean("every key through every node");
    }
}

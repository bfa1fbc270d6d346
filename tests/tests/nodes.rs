//! Real nodes under load while they are killed, join and leave.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use circlet_tests::load::{Load, StateFile};
use circlet_tests::process::{Cluster, DEADLINE, NodeOptions};
use circlet_tests::resp::{Client, Value};
use circlet_tests::{bench_binary, node_binary};

/// What may pass without a successful command after a node was killed.
const LONGEST_GAP_MS: f64 = 1000.0;

/// How long a lost copy is waited for, and how long it may then take until there is another one.
const REBUILD_DELAY: Duration = Duration::from_secs(3);
const REBUILD_TIME: Duration = Duration::from_secs(10);

/// Slots are counted for what moves: keys are spread over them evenly.
const SLOTS: u64 = 16384;

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
    let rebuilt =
        cluster.wait_until("as many copies as before", REBUILD_DELAY + REBUILD_TIME, |cluster| cluster.has_copies(2));
    assert!(rebuilt + Duration::from_secs(1) > REBUILD_DELAY, "a lost copy was not waited for: {rebuilt:?}");
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
    let flags = [("--replicas", "2"), ("--rebuild-delay", "3s")];
    kill_while_writing("kill", &flags, |killed_ms| format!("--acked-before {}", killed_ms - 1000));
}

#[test]
fn a_killed_node_takes_nothing_along_that_two_nodes_acknowledged() {
    let flags = [("--replicas", "2"), ("--write-acks", "2"), ("--rebuild-delay", "3s")];
    kill_while_writing("kill-acks", &flags, |_| String::new());
}

#[test]
fn a_node_joins_and_two_leave_at_once_under_load_without_an_error() {
    join_and_leave("join", &[("--replicas", "2")]);
}

#[test]
fn a_node_joins_and_two_leave_while_every_write_waits_for_two_nodes() {
    join_and_leave("join-acks", &[("--replicas", "2"), ("--write-acks", "2")]);
}

fn join_and_leave(test: &str, flags: &[(&str, &str)]) {
    let mut cluster = cluster(3, flags);
    let files = ["loaded", "mixed"].map(|what| StateFile::new(&format!("{test}-{what}")));
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
    let before = cluster.sum("slots_pulled");
    cluster.join();
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    // Four nodes share two copies of each slot, so this many have to move; they may be a quarter more.
    let (moved, ideal) = (cluster.sum("slots_pulled") - before, 2 * SLOTS / 4);
    assert!(4 * moved <= 5 * ideal, "{moved} copies moved, {ideal} had to");
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
    // Who leaves says so with its last words; nobody has to find out.
    cluster.wait_until("known that two left", Duration::from_secs(5), |cluster| {
        let members = ["members_up", "members_leaving", "members_down"].map(|name| cluster.sum(name));
        members == [2 * 2, 0, 0]
    });
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    load.seconds(2);
    load.stop().assert_clean("two leave at once under load");
    assert_eq!(cluster.sum("suspicions") + cluster.sum("verdicts"), 0, "nobody was given up");
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

#[test]
fn a_node_that_is_told_to_leave_while_it_joins_leaves_nothing_behind() {
    let mut cluster = cluster(2, &[("--replicas", "2")]);
    let file = StateFile::new("leave-joining");
    let state = file.argument();
    Load::run(bench_binary!(), &cluster.targets(), &format!("--load-only --keys 100000 --pipeline 16 --quiet {state}"))
        .assert_clean("the keys");
    cluster.spawn();
    cluster.wait_until("pulling", DEADLINE, |cluster| cluster.node(2).figures().of("slots_pulling") > 0);
    cluster.node(2).terminate();
    let status = cluster.node(2).wait_exit(DEADLINE);
    assert_eq!(status.code(), Some(0), "{}", cluster.node(2).stderr_tail());
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    verify(&mut cluster, &[&state]);
}

#[test]
fn a_node_that_was_killed_comes_back_empty_and_is_filled() {
    let folder = std::env::temp_dir().join(format!("circlet-comes-back-{}", std::process::id()));
    let mut cluster = cluster(2, &[("--replicas", "2"), ("--write-acks", "2")]);
    let file = StateFile::new("comes-back");
    let state = file.argument();
    let keeps = NodeOptions::new(node_binary!())
        .flag("--replicas", "2")
        .flag("--write-acks", "2")
        .flag("--data-dir", &folder.to_string_lossy());
    let seeds: Vec<_> = cluster.running().iter().map(|node| node.peer()).collect();
    let keeps = keeps.seeds(&seeds);
    let third = cluster.add(&keeps);
    Load::run(bench_binary!(), &cluster.targets(), &format!("--load-only --keys 100000 --pipeline 16 --quiet {state}"))
        .assert_clean("the keys");
    let identity = |cluster: &mut Cluster, node: usize| match cluster.node(node).connect().line("CLUSTER MYID") {
        Ok(id) => id.text().map(str::to_owned),
        Err(error) => panic!("{error}"),
    };
    let before = identity(&mut cluster, third);
    cluster.node(third).kill();
    let again = cluster.add(&keeps);
    assert_eq!(identity(&mut cluster, again), before);
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    verify(&mut cluster, &[&state]);
    drop(std::fs::remove_dir_all(folder));
}

#[test]
fn of_two_nodes_with_one_identity_the_later_ends_and_the_first_serves_on() {
    let mut cluster = cluster(1, &[]);
    let id = "c0ffee".repeat(7)[..40].to_owned();
    let seeds = [cluster.node(0).peer()];
    let with_id = NodeOptions::new(node_binary!()).flag("--node-id", &id).seeds(&seeds);
    let first = cluster.add(&with_id);
    let sessions = cluster.node(0).figures().of("sessions_begun");

    // One that meets the other node, and one that meets the node itself.
    let seeds = [cluster.node(first).peer()];
    for copy in [&with_id, &NodeOptions::new(node_binary!()).flag("--node-id", &id).seeds(&seeds)] {
        let mut copy = copy.spawn();
        let status = copy.wait_exit(DEADLINE);
        assert_eq!(status.code(), Some(2), "{}", copy.stderr_tail());
        let said = copy.stderr_tail();
        assert!(said.contains(&id) && said.contains("two running nodes share one identity"), "{said}");
    }
    for node in 0..=first {
        let figures = cluster.node(node).figures();
        let calm = ["suspicions", "verdicts"].map(|name| figures.of(name));
        assert_eq!((figures.of("ready"), calm), (1, [0, 0]), "node {node}");
    }
    assert_eq!(cluster.node(0).figures().of("sessions_begun"), sessions, "the first was cut off");
    assert!(cluster.node(first).connect().line("SET key value").is_ok_and(|reply| reply.is_ok()));
}

#[test]
fn a_node_that_stood_still_and_was_replaced_ends() {
    let mut cluster = cluster(2, &[("--replicas", "2")]);
    let id = "ab".repeat(20);
    let seeds: Vec<_> = cluster.running().iter().map(|node| node.peer()).collect();
    let with_id = NodeOptions::new(node_binary!()).flag("--node-id", &id).seeds(&seeds);
    let replaced = cluster.add(&with_id);
    cluster.node(replaced).pause();
    cluster.wait_until("missed", DEADLINE, |cluster| {
        [0, 1].iter().all(|&node| cluster.node(node).figures().of("suspicions") > 0)
    });
    let next = cluster.add(&with_id);
    cluster.node(replaced).resume();
    let status = cluster.node(replaced).wait_exit(DEADLINE);
    assert_eq!(status.code(), Some(2), "{}", cluster.node(replaced).stderr_tail());
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    assert!(cluster.node(next).connect().line("SET key value").is_ok_and(|reply| reply.is_ok()));
}

#[test]
fn a_node_that_stood_still_answers_nothing_old() {
    let mut cluster = cluster(3, &[("--replicas", "2")]);
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    let keys: Vec<String> = (0..300).map(|number| format!("key:{number}")).collect();
    let write = |client: &mut Client, value: &str| {
        for key in &keys {
            let set = format!("SET {key} {value}");
            // While nobody knows yet that a node stands still commands for it end with an error.
            while !client.line(&set).expect("a reply").is_ok() {}
        }
    };
    let mut before = cluster.node(2).connect();
    write(&mut before, "old");
    cluster.node(2).pause();
    write(&mut cluster.node(0).connect(), "new");

    // What waits in the socket is read first when the node wakes up.
    let reads: String = keys.iter().map(|key| format!("GET {key}\r\n")).collect();
    before.send(reads.as_bytes()).expect("room in the socket");
    let mut aware = Client::connect(cluster.node(2).cluster()).expect("a connection");
    aware.send(b"DBSIZE\r\n").expect("room in the socket");
    cluster.node(2).resume();
    for key in &keys {
        assert_eq!(before.reply().expect("a reply").text(), Some("new"), "{key}");
    }
    assert!(matches!(aware.reply().expect("a reply"), Value::Integer(_)));
    assert!(cluster.node(2).figures().of("lapses") >= 1);
    cluster.wait_until("two copies of everything", DEADLINE, |cluster| cluster.has_copies(2));
    write(&mut before, "last");
    assert_eq!(cluster.node(0).connect().line("GET key:0").expect("a reply").text(), Some("last"));
}

#[test]
fn who_is_cut_off_from_the_majority_serves_nothing_until_the_others_are_back_or_forgotten() {
    const DOWN: &str = "CLUSTERDOWN The cluster is down";
    let mut cluster = cluster(3, &[("--replicas", "3"), ("--partition", "majority")]);
    cluster.wait_until("three copies of everything", DEADLINE, |cluster| cluster.has_copies(3));
    let ids: Vec<String> = (0..3).map(|node| said(&mut cluster, node, "CLUSTER MYID")).collect();
    assert_eq!(said(&mut cluster, 0, "SET key value"), "OK");

    // One of three is not missed, and serves nothing alone.
    cluster.node(2).pause();
    cluster.wait_until("without one", DEADLINE, |cluster| said(cluster, 0, "SET key without").as_str() == "OK");
    cluster.node(1).pause();
    cluster.wait_until("alone", DEADLINE, |cluster| said(cluster, 0, "GET key") == DOWN);
    for line in ["SET key lost", "MSET key lost other lost", "DEL key other", "DBSIZE", "SCAN 0", "FLUSHALL"] {
        assert_eq!(said(&mut cluster, 0, line), DOWN, "{line}");
    }
    // To a client that asks each node for its own slots, this one must not look like one that has none.
    let mut aware = Client::connect(cluster.node(0).cluster()).expect("a connection");
    assert!(aware.line("READONLY").expect("a reply").is_ok());
    for line in ["GET key", "DBSIZE", "SCAN 0", "KEYS *", "RANDOMKEY", "FLUSHALL"] {
        assert_eq!(aware.line(line).expect("a reply").text(), Some(DOWN), "{line} on the cluster port");
    }
    assert_eq!(said(&mut cluster, 0, "PING"), "PONG");
    cluster.wait_until("told as failed", DEADLINE, |cluster| {
        said(cluster, 0, "CLUSTER INFO").starts_with("cluster_state:fail") && cluster.node(0).figures().of("ready") == 0
    });
    cluster.node(1).resume();
    cluster.wait_until("two of three", DEADLINE, |cluster| said(cluster, 0, "GET key") == "without");
    cluster.node(2).resume();
    cluster.wait_until("three of three", DEADLINE, |cluster| cluster.has_copies(3));
    (0..3).for_each(|node| assert_eq!(said(&mut cluster, node, "GET key"), "without"));

    // Whoever does not come back counts until an operator says so.
    assert!(said(&mut cluster, 0, &format!("CLUSTER FORGET {}", ids[1])).starts_with("ERR Node"));
    let myself = said(&mut cluster, 0, &format!("CLUSTER FORGET {}", ids[0]));
    assert_eq!(myself, "ERR I tried hard but I can't forget myself...");
    let stranger = "0".repeat(40);
    for id in [stranger.as_str(), "short"] {
        let refused = said(&mut cluster, 0, &format!("CLUSTER FORGET {id}"));
        assert_eq!(refused, format!("ERR Unknown node {id}"));
    }
    cluster.node(1).kill();
    cluster.node(2).kill();
    cluster.wait_until("alone", DEADLINE, |cluster| said(cluster, 0, "GET key") == DOWN);
    for id in &ids[1..] {
        assert_eq!(said(&mut cluster, 0, &format!("CLUSTER FORGET {id}")), "OK");
    }
    cluster.wait_until("one of one", DEADLINE, |cluster| said(cluster, 0, "GET key") == "without");
    assert_eq!(said(&mut cluster, 0, "SET key alone"), "OK");
    cluster.join();
    cluster.wait_until("two of two", DEADLINE, |cluster| cluster.has_copies(2));
}

/// What a node says to a command, an error by its text.
fn said(cluster: &mut Cluster, node: usize, line: &str) -> String {
    let reply = cluster.node(node).connect().line(line).expect("a reply");
    reply.text().map_or_else(|| format!("{reply:?}"), str::to_owned)
}

fn verify(cluster: &mut Cluster, states: &[&str]) {
    for state in states {
        let arguments = format!("--verify-only --connections 20 --pipeline 16 --quiet {state}");
        Load::run(bench_binary!(), &cluster.targets(), &arguments).assert_clean("every key through every node");
    }
}

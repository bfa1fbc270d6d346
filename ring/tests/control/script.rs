//! Golden scripts: what is done to a cluster as commands, and what its nodes say to each other, in one readable file.
//!
//! A line that begins with `>` is a command; the lines below it are what happened. The whole file must come out the
//! same again. `UPDATE_SCRIPTS=1` writes what came out, to be read and committed.

use std::{fmt::Write as _, fs, path::Path};

use crate::cluster::Cluster;

#[test]
fn a_node_joins() {
    check("join.txt");
}

#[test]
fn a_node_crashes_and_another_acquires() {
    check("crash.txt");
}

#[test]
fn a_node_releases() {
    check("release.txt");
}

#[test]
fn two_act_after_a_split() {
    check("split.txt");
}

#[test]
fn two_acquire_at_once() {
    check("crossing.txt");
}

#[test]
fn two_nodes_are_apart() {
    check("apart.txt");
}

#[test]
fn a_spoilt_copy_is_pulled_anew() {
    check("mend.txt");
}

#[test]
fn a_node_stood_still() {
    check("lapse.txt");
}

fn check(script: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control/scripts").join(script);
    let expected = fs::read_to_string(&path).unwrap();
    let actual = run(&expected);
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        fs::write(&path, &actual).unwrap();
    }
    let differs = expected.lines().zip(actual.lines()).position(|(expected, actual)| expected != actual);
    assert_eq!(expected, actual, "{script} differs, first in line {:?}", differs.map(|line| line + 1));
}

/// Comments, blank lines and commands stay; what lies between is what happened.
fn run(script: &str) -> String {
    let mut cluster = Cluster::default();
    let mut out = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(out, "{line}").unwrap();
            execute(&mut cluster, command);
            out.push_str(&std::mem::take(&mut cluster.trace));
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}

fn execute(cluster: &mut Cluster, command: &str) {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let (left, right) = rest.split_once('|').unwrap_or((rest, ""));
    let (left, right) = (nodes(left), nodes(right));
    match verb {
        "start" => left.into_iter().for_each(|node| cluster.start(node)),
        "kill" => left.into_iter().for_each(|node| cluster.kill(node)),
        // Who is told | where the slot should live.
        "place" => cluster.place(&left, &right),
        "split" => left.iter().for_each(|&a| right.iter().for_each(|&b| cluster.cut(a, b))),
        "heal" => cluster.heal(),
        "tick" => cluster.tick(),
        "lapse" => left.into_iter().for_each(|node| cluster.lapse(node, true)),
        "recover" => left.into_iter().for_each(|node| cluster.lapse(node, false)),
        "run" => cluster.run(),
        "arrive" => cluster.arrive(left[0], left[1]),
        "write" => {
            let (at, key) = rest.split_once(' ').expect("write node key");
            cluster.write(nodes(at)[0], key);
        }
        // Who acts | whose copy, and the key.
        "spoil" => {
            let (at, key) = rest.split_once("| ").and_then(|(_, rest)| rest.split_once(' ')).expect("spoil a | b key");
            cluster.spoil(left[0], nodes(at)[0], key);
        }
        "show" => cluster.show(),
        _ => panic!("no such command: {command}"),
    }
}

fn nodes(names: &str) -> Vec<usize> {
    names.split_whitespace().map(|name| usize::from(name.as_bytes()[0] - b'a')).collect()
}

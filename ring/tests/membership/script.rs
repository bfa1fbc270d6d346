//! Golden scripts: the history of a cluster as commands, and what its nodes said, in one readable file.
//!
//! A line that begins with `>` is a command; the lines below it are what happened. The whole file must come out the
//! same again. `UPDATE_SCRIPTS=1` writes what came out, to be read and committed.

use std::{fmt::Write as _, fs, path::Path};

use ring::{member::State, verdict::Config};

use crate::cluster::{Cluster, ROUND_MS, name, name_of};

#[test]
fn join_leave_down_and_back() {
    check("join_leave_down_up.txt");
}

#[test]
fn split_flap_and_removal() {
    check("split_flap_removed.txt");
}

fn check(script: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/membership/scripts").join(script);
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
    let mut cluster = Cluster::new(1, Config::for_replicas(2));
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
    let nodes = |names: &str| names.split_whitespace().map(node).collect::<Vec<_>>();
    match verb {
        "start" => nodes(rest).into_iter().for_each(|node| assert_eq!(cluster.start(), node, "nodes start in order")),
        "up" => nodes(rest).into_iter().for_each(|node| {
            cluster.set_all_ready(node);
            cluster.say_state(node, State::Up);
        }),
        "leaving" => nodes(rest).into_iter().for_each(|node| cluster.say_state(node, State::Leaving)),
        "left" => nodes(rest).into_iter().for_each(|node| {
            cluster.say_state(node, State::Left);
            cluster.kill(node);
        }),
        "kill" => nodes(rest).into_iter().for_each(|node| cluster.kill(node)),
        "restart" => nodes(rest).into_iter().for_each(|node| cluster.restart(node)),
        "split" => {
            let (left, right) = rest.split_once('|').expect("split a b | c");
            let right = nodes(right);
            nodes(left).iter().for_each(|&a| right.iter().for_each(|&b| cluster.set_link(a, b, false)));
        }
        "mend" => cluster.mend_all(),
        "wait" => cluster.rounds(rest.strip_suffix(" s").unwrap().parse::<u64>().unwrap() * 1000 / ROUND_MS),
        "show" => show(cluster),
        _ => panic!("no such command: {command}"),
    }
}

/// One line for each view that is held, with who holds it.
fn show(cluster: &mut Cluster) {
    cluster.agree();
    let mut rest = cluster.running();
    while let Some(&first) = rest.first() {
        let (same, others): (Vec<usize>, Vec<usize>) =
            rest.iter().partition(|&&node| cluster.nodes[node].view == cluster.nodes[first].view);
        let holders: Vec<String> = same.into_iter().map(name).collect();
        let members = cluster.nodes[first].view.members().iter().map(|member| {
            let ready = if member.ready.is_empty() { "" } else { " and ready" };
            format!("{} {}{ready}", name_of(member.id), format!("{:?}", member.standing()).to_lowercase())
        });
        let members = members.collect::<Vec<_>>().join(", ");
        writeln!(cluster.trace, "           {} see: {members}", holders.join(" ")).unwrap();
        rest = others;
    }
}

fn node(name: &str) -> usize {
    usize::from(name.as_bytes()[0] - b'a')
}

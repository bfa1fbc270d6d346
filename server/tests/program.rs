//! The program as a shell sees it: lines, exit codes, signals.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
};

fn circlet(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_circlet"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that ends by itself.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = circlet(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

const FREE: [&str; 10] =
    ["server", "--bind", "127.0.0.1", "--port", "0", "--cluster-port", "0", "--peer-port", "0", "--admin-port=0"];

/// A running program that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits until it has told this many addresses.
fn start(arguments: &[&str], addresses: usize) -> (Running, Vec<String>) {
    let mut running = Running(circlet(arguments).spawn().unwrap());
    let lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let told = lines.map(Result::unwrap).take(addresses).collect();
    (running, told)
}

#[test]
fn help_and_version_end_well() {
    let (code, out, err) = run(&["--version"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), concat!("circlet ", env!("CARGO_PKG_VERSION"), "\n"), ""));
    let (code, out, _) = run(&["server", "--help"]);
    assert!(code == Some(0) && out.contains("--maxmemory-policy"), "{out}");
}

#[test]
fn a_bad_value_ends_with_code_2_and_one_line() {
    let wanted = "--replicas 9: must be a number from 1 to 7\n";
    assert_eq!(run(&["server", "--replicas", "9"]), (Some(2), String::new(), wanted.to_owned()));
    let (code, _, err) = run(&["server", "--no-such-flag"]);
    assert_eq!((code, err.lines().count()), (Some(2), 1), "{err}");
}

#[test]
fn a_port_in_use_ends_with_code_1_and_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, out, err) = run(&["server", "--bind", "127.0.0.1", "--port", &port]);
    assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1));
    assert!(err.starts_with(&format!("--port {port}: cannot listen on 127.0.0.1:{port}: ")), "{err}");
}

#[test]
fn a_node_tells_its_addresses_and_leaves_at_sigterm() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().to_str().unwrap();
    let arguments = [&FREE[..], &["--data-dir", folder, "--log-level", "error"]].concat();
    let (mut node, told) = start(&arguments, 4);
    let whats: Vec<&str> = told.iter().filter_map(|line| line.strip_prefix("listening ")?.split(' ').next()).collect();
    assert_eq!(whats, ["client", "cluster", "peer", "admin"]);

    let (code, _, err) = run(&arguments);
    assert_eq!((code, err), (Some(2), format!("--data-dir {folder}: is in use by another node\n")));

    let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", node.0.id())]).status().unwrap();
    assert!(kill.success() && node.0.wait().unwrap().success());
    let mut err = String::new();
    node.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, "");
}

#[test]
fn a_local_cluster_tells_all_addresses() {
    let (_cluster, told) = start(&["dev", "--nodes", "2", "--port", "0"], 8);
    assert!(told.iter().all(|line| line.contains(" 127.0.0.1:")), "{told:?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("listening client ")).count(), 2);
}

#[test]
fn health_says_what_is_wrong() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (code, _, err) = run(&["health", "--admin-port", &free]);
    assert!(code == Some(1) && err.contains("does not answer") && err.lines().count() == 1, "{err}");
    assert_eq!(run(&["health", "--admin-port", "0"]).0, Some(2));
}

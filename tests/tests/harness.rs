//! The harness itself: a test that starts nodes is worth what the harness notices.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use circlet_tests::process::{DEADLINE, NodeOptions};

const LISTENING: &str = "for what in client cluster peer admin; do echo listening $what 127.0.0.1:1; done;";

/// A shell script in the place of a node.
fn script(body: &str) -> NodeOptions {
    NodeOptions::program("/bin/sh", &["-c", body])
}

fn panic_of(body: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(body)).expect_err("a panic");
    panic.downcast_ref::<String>().cloned().expect("a formatted message")
}

#[test]
fn a_node_is_listening_and_ready_when_it_says_so() {
    let mut node = script(&format!("echo starting; {LISTENING} echo ready; exec sleep 1000")).start();
    assert_eq!(node.client(), "127.0.0.1:1".parse().expect("an address"));
    node.wait_ready();
    assert!(node.is_running());
}

#[test]
fn a_node_that_ends_early_shows_its_standard_error() {
    let panic = panic_of(|| drop(script("echo the port is taken >&2; exit 2").start()));
    assert!(panic.contains("the port is taken") && panic.contains("exit status: 2"), "{panic}");
}

#[test]
fn a_node_that_is_not_ready_before_its_end_is_noticed() {
    let mut node = script(LISTENING).start();
    let panic = panic_of(|| node.wait_ready());
    assert!(panic.contains("before it was ready"), "{panic}");
}

#[test]
fn a_node_that_does_not_end_is_noticed() {
    let mut node = script("exec sleep 1000").spawn();
    let panic = panic_of(|| assert!(node.wait_exit(Duration::from_millis(50)).success()));
    assert!(panic.contains("has not ended in time"), "{panic}");
    assert!(node.is_running());
}

#[test]
fn a_signal_reaches_the_node() {
    let mut node = script(&format!("trap 'exit 7' TERM; {LISTENING} while :; do sleep 0.05; done")).start();
    node.terminate();
    assert_eq!(node.wait_exit(DEADLINE).code(), Some(7));
    node.terminate();
}

#[test]
fn a_paused_node_is_there_and_goes_on() {
    let mut node = script(&format!("trap 'exit 3' TERM; {LISTENING} while :; do sleep 0.05; done")).start();
    node.pause();
    node.terminate();
    let panic = panic_of(|| assert!(node.wait_exit(Duration::from_millis(200)).success()));
    assert!(panic.contains("has not ended"), "a paused node takes no SIGTERM: {panic}");
    node.resume();
    assert_eq!(node.wait_exit(DEADLINE).code(), Some(3));
}

#[test]
fn a_dropped_node_is_gone() {
    let node = script(&format!("{LISTENING} exec sleep 1000")).start();
    let process = format!("/proc/{}", node.pid());
    assert!(Path::new(&process).exists());
    drop(node);
    assert!(!Path::new(&process).exists());
}

#[test]
fn a_kill_is_a_kill() {
    use std::os::unix::process::ExitStatusExt;
    let mut node = script(&format!("trap '' TERM; {LISTENING} exec sleep 1000")).start();
    assert_eq!(node.kill().signal(), Some(9));
    assert!(!node.is_running());
}

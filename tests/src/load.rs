//! `circlet-bench` as a process beside the nodes: started, watched second by second, stopped, and its summary read.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a line of the load generator is waited for; it prints one a second.
const LINE_DEADLINE: Duration = Duration::from_secs(60);

/// The load generator that was built with the tests of this package.
#[macro_export]
macro_rules! bench_binary {
    () => {
        env!("CARGO_BIN_EXE_circlet-bench-under-test")
    };
}

/// A load generator at work.
#[derive(Debug)]
pub struct Load {
    child: Child,
    lines: Receiver<String>,
    text: Vec<String>,
    summary: Option<JoinHandle<String>>,
}

impl Load {
    /// Starts it against these targets, with further arguments separated by white space.
    pub fn start(binary: impl Into<OsString>, targets: &str, arguments: &str) -> Load {
        let mut child = Command::new(binary.into())
            .args(["--target", targets, "--json"])
            .args(arguments.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the load generator starts");
        let (mut stdout, stderr) =
            (child.stdout.take().expect("piped above"), child.stderr.take().expect("piped above"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let summary = thread::spawn(move || {
            let mut summary = String::new();
            drop(stdout.read_to_string(&mut summary));
            summary
        });
        Load { child, lines, text: Vec::new(), summary: Some(summary) }
    }

    /// Runs it to its end.
    pub fn run(binary: impl Into<OsString>, targets: &str, arguments: &str) -> Report {
        Load::start(binary, targets, arguments).finish()
    }

    /// Waits until this many further seconds are reported.
    pub fn seconds(&mut self, count: usize) {
        let mut seen = 0;
        while seen < count {
            let line = self.lines.recv_timeout(LINE_DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("the load ended early:\n{}", self.text.join("\n")));
            seen += usize::from(line.contains("op/s") && line.contains(" s "));
            self.text.push(line);
        }
    }

    /// Ends it early.
    pub fn stop(self) -> Report {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it was not waited for yet");
        self.finish()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Report {
        self.text.extend(self.lines.iter());
        let status = self.child.wait().expect("a child of ours");
        let summary = self.summary.take().and_then(|summary| summary.join().ok()).unwrap_or_default();
        let text = std::mem::take(&mut self.text).join("\n");
        let json: Value = serde_json::from_str(&summary)
            .unwrap_or_else(|_| panic!("no summary, the load ended with {status}:\n{text}"));
        Report { json, passed: status.success(), text }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Ended and waited for already, unless a test panics.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What it printed at its end.
#[derive(Clone, Debug)]
pub struct Report {
    json: Value,
    passed: bool,
    text: String,
}

impl Report {
    /// Panics unless nothing was lost, stale or wrong and nothing failed, not even for lack of replicas.
    pub fn assert_clean(&self, when: &str) {
        assert!(self.passed && self.sum("noreplicas") == 0.0, "{when}:\n{}", self.text);
    }

    /// Panics if something was lost, stale or wrong or failed, but for lack of replicas, which is counted apart.
    pub fn assert_no_failure(&self, when: &str) {
        assert!(self.passed, "{when}:\n{}", self.text);
    }

    /// Panics if a read was lost, stale or wrong; errors may have been.
    pub fn assert_no_bad_read(&self, when: &str) {
        let bad: f64 = ["lost", "stale", "wrong"].iter().map(|count| self.sum(count)).sum();
        assert!(bad == 0.0, "{when}:\n{}", self.text);
    }

    /// The sum of a count over all phases.
    pub fn sum(&self, name: &str) -> f64 {
        self.values(name).sum()
    }

    /// The largest of a figure over all phases.
    pub fn max(&self, name: &str) -> f64 {
        self.values(name).fold(0.0, f64::max)
    }

    fn values(&self, name: &str) -> impl Iterator<Item = f64> {
        let phases = self.json["phases"].as_array().expect("phases");
        phases.iter().map(move |phase| phase[name].as_f64().unwrap_or_else(|| panic!("no figure '{name}'")))
    }
}

/// A file of acknowledged versions, removed when dropped.
#[derive(Debug)]
pub struct StateFile(PathBuf);

impl StateFile {
    /// A name that no other test has.
    pub fn new(test: &str) -> StateFile {
        StateFile(std::env::temp_dir().join(format!("circlet-{test}-{}.state", std::process::id())))
    }

    /// The argument for it.
    pub fn argument(&self) -> String {
        format!("--state {}", self.0.display())
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

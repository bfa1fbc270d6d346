//! What was found, and how it is told.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{Display, Formatter, Result, Write};

use super::command::Command;
use super::differences::DIFFERENCES;
use super::reply::Reply;

/// So many commands are remembered, to show what came before a mismatch.
const REMEMBERED: usize = 2000;
/// So many of those on the same keys are shown.
const SHOWN: usize = 8;

/// Where and when a command was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) protocol: u8,
    pub(super) database: u32,
    pub(super) node: usize,
}

/// Replies that differ and must not, one example of several.
#[derive(Clone, Debug)]
struct Mismatch {
    count: u64,
    example: String,
}

/// How often a command was sent, and was answered by Valkey without an error.
#[derive(Clone, Copy, Default, Debug)]
struct Sent {
    all: u64,
    without_error: u64,
}

/// Counts and examples.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) not_compared: u64,
    by_protocol: [u64; 2],
    commands: BTreeMap<String, Sent>,
    allowed: BTreeMap<&'static str, u64>,
    missing: BTreeMap<String, u64>,
    mismatches: BTreeMap<(String, String, String), Mismatch>,
    recent: VecDeque<(u64, u32, Vec<Vec<u8>>, String)>,
}

impl Tally {
    /// A command that both were sent, with Valkey's reply if there is one, and the keys that it may touch.
    pub(super) fn sent(&mut self, command: &Command, theirs: Option<&Reply>, place: Place, keys: Vec<Vec<u8>>) {
        self.sent += 1;
        self.by_protocol[usize::from(place.protocol == 3)] += 1;
        let sent = self.commands.entry(command.title()).or_default();
        sent.all += 1;
        sent.without_error += u64::from(theirs.is_none_or(|reply| reply.as_error().is_none()));
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((self.sent, place.database, keys, command.to_string()));
    }

    /// A difference was allowed.
    pub(super) fn allowed(&mut self, rule: &'static str) {
        *self.allowed.entry(rule).or_default() += 1;
    }

    /// Circlet does not have this command.
    pub(super) fn missing(&mut self, name: &str) {
        *self.missing.entry(name.to_owned()).or_default() += 1;
    }

    /// A difference that must not be. It is of the command that was told last.
    pub(super) fn mismatch(&mut self, command: &Command, ours: &Reply, theirs: &Reply, place: Place) {
        let kind = (command.title(), ours.shape(), theirs.shape());
        let example = self.example(command, ours, theirs, place);
        self.mismatches.entry(kind).or_insert(Mismatch { count: 0, example }).count += 1;
    }

    /// Something else that must not be.
    pub(super) fn trouble(&mut self, what: &str, command: &str, details: String) {
        let kind = (command.to_owned(), what.to_owned(), String::new());
        self.mismatches.entry(kind).or_insert(Mismatch { count: 0, example: details }).count += 1;
    }

    /// Whether there is nothing to complain of.
    pub(super) fn is_clean(&self) -> bool {
        self.mismatches.is_empty() && self.missing.is_empty()
    }

    fn example(&self, command: &Command, ours: &Reply, theirs: &Reply, place: Place) -> String {
        let mut text = format!(
            "command {} in database {} by RESP{} on node {}\n    {command}\n  circlet\n    {ours}\n  valkey\n    {theirs}\n",
            self.sent, place.database, place.protocol, place.node
        );
        let keys = self.recent.back().map(|(_, _, keys, _)| keys.as_slice()).unwrap_or_default();
        let before =
            self.recent.iter().rev().skip(1).filter(|(_, _, others, _)| keys.iter().any(|key| others.contains(key)));
        let mut before: Vec<_> = before.take(SHOWN).collect();
        before.reverse();
        text.push_str(if before.is_empty() { "" } else { "  before it, on the same keys\n" });
        for (number, database, _, command) in before {
            writeln!(text, "    {number} db{database} {command}").expect("a string takes everything");
        }
        text
    }

    /// One line.
    pub(super) fn summary(&self) -> String {
        let differences: u64 = self.mismatches.values().map(|mismatch| mismatch.count).sum();
        let allowed: u64 = self.allowed.values().sum();
        format!(
            "{} commands ({} by RESP2, {} by RESP3) of {} kinds: {differences} differences of {} kinds, {allowed} allowed by {} rules, \
             {} commands missing, {} replies not compared after a difference",
            self.sent,
            self.by_protocol[0],
            self.by_protocol[1],
            self.commands.len(),
            self.mismatches.len(),
            self.allowed.len(),
            self.missing.len(),
            self.not_compared
        )
    }

    /// How often each rule was applied, in the order of the list.
    pub(super) fn rules(&self) -> impl Display {
        table(
            &["allowed difference", "times", "because"],
            DIFFERENCES.iter().map(|rule| {
                let times = self.allowed.get(rule.name).copied().unwrap_or(0);
                [rule.name.to_owned(), times.to_string(), rule.reason.split_whitespace().collect::<Vec<_>>().join(" ")]
            }),
        )
    }

    /// What is missing, and the kinds of differences, each with an example.
    pub(super) fn complaints(&self) -> String {
        let mut text = String::new();
        if !self.missing.is_empty() {
            let rows = self.missing.iter().map(|(name, count)| [name.clone(), count.to_string()]);
            text.push_str(&table(&["missing in circlet", "times"], rows));
        }
        if self.mismatches.is_empty() {
            return text;
        }
        let rows = self.mismatches.iter().map(|((command, ours, theirs), mismatch)| {
            [command.clone(), ours.clone(), theirs.clone(), mismatch.count.to_string()]
        });
        text.push_str(&table(&["command", "circlet", "valkey", "times"], rows));
        for ((command, ours, theirs), mismatch) in &self.mismatches {
            write!(text, "\n{command}: {ours} | {theirs}\n  {}", mismatch.example).expect("a string takes everything");
        }
        text
    }

    /// How often each command was sent.
    pub(super) fn coverage(&self) -> String {
        let rows = self.commands.iter();
        table(
            &["command", "sent", "answered without an error"],
            rows.map(|(name, sent)| [name.clone(), sent.all.to_string(), sent.without_error.to_string()]),
        )
    }
}

/// A table in Markdown.
fn table<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head = head.map(str::to_owned);
    let mut text = format!("\n{}|{}\n", line(&head), "---|".repeat(N));
    rows.for_each(|row| text.push_str(&line(&row.map(|cell| cell.replace('|', "\\|")))));
    text
}

impl Display for Place {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        write!(out, "database {}, RESP{}, node {}", self.database, self.protocol, self.node)
    }
}

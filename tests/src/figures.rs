//! What a node says of itself in `INFO circlet`.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Cluster, Node};
use crate::resp::Value;

/// How often a figure is looked at that is waited for. Nodes do not announce their figures.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The numbers of one node.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Figures(BTreeMap<String, u64>);

impl Figures {
    /// The numbers among the lines of INFO.
    pub fn parse(info: &str) -> Figures {
        let number = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        Figures(info.lines().filter_map(number).collect())
    }

    /// One of them.
    pub fn of(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no figure '{name}' among {:?}", self.0))
    }
}

impl Node {
    /// What it says now.
    pub fn figures(&self) -> Figures {
        let info = self.connect().line("INFO circlet");
        match info.as_ref().map(Value::text) {
            Ok(Some(text)) => Figures::parse(text),
            _ => panic!("no figures but {info:?}"),
        }
    }
}

impl Cluster {
    /// A figure of all nodes that run, added up.
    pub fn sum(&mut self, name: &str) -> u64 {
        self.running().iter().map(|node| node.figures().of(name)).sum()
    }

    /// Waits until this holds; how long that took.
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut holds: impl FnMut(&mut Cluster) -> bool) -> Duration {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < limit, "not {what} within {limit:?}");
            thread::sleep(LOOK_EVERY);
        }
        began.elapsed()
    }

    /// Whether each slot has one node that acts and so many in all that are ready.
    pub fn has_copies(&mut self, replicas: u64) -> bool {
        const SLOTS: u64 = 16384;
        let roles = ["slots_acting", "slots_following", "slots_pulling", "slots_releasing"].map(|role| self.sum(role));
        roles == [SLOTS, (replicas - 1) * SLOTS, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_names() {
        let figures = Figures::parse("# Circlet\r\nzone:\r\nready:1\r\nslots_acting:5461\r\nnode_id:abc\r\n");
        assert_eq!((figures.of("ready"), figures.of("slots_acting")), (1, 5461));
    }

    #[test]
    #[should_panic(expected = "no figure 'node_id'")]
    fn a_text_is_no_figure() {
        Figures::parse("node_id:abc\r\n").of("node_id");
    }
}

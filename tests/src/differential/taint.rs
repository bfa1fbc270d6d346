//! Which keys are no longer the same on both servers after a difference. What touches them says nothing new.

use std::collections::HashSet;

use super::command::Command;

/// Commands about a whole database or more, or about the connection itself: after such a difference nothing is sure.
const WIDE: [&str; 10] =
    ["DBSIZE", "FLUSHALL", "FLUSHDB", "HELLO", "KEYS", "RANDOMKEY", "RESET", "SCAN", "SELECT", "SWAPDB"];

/// Keys that may differ.
#[derive(Debug, Default)]
pub(super) struct Taint {
    keys: HashSet<Vec<u8>>,
    everything: bool,
    anything: bool,
}

impl Taint {
    /// Whether both servers are still equal.
    pub(super) fn is_empty(&self) -> bool {
        !self.anything
    }

    /// The replies to this command, with these keys, differed.
    pub(super) fn spread(&mut self, command: &Command, keys: Vec<Vec<u8>>) {
        self.anything = true;
        self.everything |= WIDE.contains(&command.word(0).as_str());
        self.keys.extend(keys);
    }

    /// Whether the replies to this command may differ because of an earlier difference; then its keys may from now on.
    pub(super) fn reaches(&mut self, command: &Command, keys: &[Vec<u8>]) -> bool {
        let is_wide = self.anything && WIDE.contains(&command.word(0).as_str());
        let reaches = self.everything || is_wide || keys.iter().any(|key| self.keys.contains(key));
        if reaches {
            self.keys.extend(keys.iter().cloned());
        }
        reaches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_spreads_over_commands_on_several_keys_and_no_further() {
        let mut taint = Taint::default();
        let key = |name: &str| name.as_bytes().to_vec();
        taint.spread(&Command::line("INCR a"), vec![key("a")]);
        assert!(!taint.reaches(&Command::line("GET b"), &[key("b")]));
        assert!(taint.reaches(&Command::line("RENAME a b"), &[key("a"), key("b")]));
        assert!(taint.reaches(&Command::line("GET b"), &[key("b")]));
        assert!(!taint.reaches(&Command::line("GET c"), &[key("c")]));
        assert!(taint.reaches(&Command::line("DBSIZE"), &[]) && !taint.is_empty());
    }
}

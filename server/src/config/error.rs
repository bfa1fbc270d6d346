//! What is wrong with the configuration, in one line.

use std::fmt;

/// How much of a bad value is repeated to its author.
const SHOWN_CHARACTERS: usize = 80;

/// A value that cannot be used: which one, where it came from, and why. Its text is always one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    what: String,
    why: String,
}

impl ConfigError {
    /// An error about this value.
    pub(crate) fn new(what: impl Into<String>, why: impl fmt::Display) -> ConfigError {
        ConfigError { what: what.into(), why: why.to_string() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", one_line(&self.what), one_line(&self.why))
    }
}

impl std::error::Error for ConfigError {}

/// A value as it is shown in an error: cut where it is long, visible where it is empty.
pub(super) fn shown(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.to_owned(),
    }
}

/// The text without control characters, so that a hostile value can neither break the line nor drive a terminal.
fn one_line(text: &str) -> String {
    text.trim_end().chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

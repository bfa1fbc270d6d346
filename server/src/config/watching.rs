//! From where on commands are logged and events noted: settings with the names, ranges and defaults of Valkey, read by
//! the same function whether they are typed at the start or given to `CONFIG SET`.

use super::{error::ConfigError, typed::Typed};
use crate::types::parse_integer;

/// Their names, in the order of the alphabet, and the least value that each may have.
pub const WATCH_SETTINGS: [(&str, i64); 7] = [
    ("commandlog-execution-slower-than", -1),
    ("commandlog-large-reply-max-len", 0),
    ("commandlog-large-request-max-len", 0),
    ("commandlog-reply-larger-than", -1),
    ("commandlog-request-larger-than", -1),
    ("commandlog-slow-execution-max-len", 0),
    ("latency-monitor-threshold", 0),
];

/// The values of [`WATCH_SETTINGS`], by their places.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watching(pub [i64; WATCH_SETTINGS.len()]);

/// Reads the value of one of them; the error is in the words of Redis.
pub fn watch_value(place: usize, text: &str) -> Result<i64, String> {
    let least = WATCH_SETTINGS[place].1;
    let value = parse_integer(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    if value < least {
        return Err(format!("argument must be between {least} and {} inclusive", i64::MAX));
    }
    Ok(value)
}

impl Watching {
    /// Understands what was typed.
    pub(super) fn resolve(typed: &Typed) -> Result<Watching, ConfigError> {
        let mut watching = Watching::default();
        for (place, (name, _)) in WATCH_SETTINGS.iter().enumerate() {
            watching.0[place] = typed.required(name, |text| watch_value(place, text))?;
        }
        Ok(watching)
    }
}

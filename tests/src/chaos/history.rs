//! What clients asked and were told.

use std::{
    io::{self, Write},
    time::Instant,
};

use serde_json::json;

/// What a command was to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// To store this version.
    Set,
    /// To remove the key; the removal is a version too.
    Delete,
    /// To read.
    Get,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It was executed.
    Ok,
    /// It was not executed: the node said so.
    Failed,
    /// Whether it was executed is not known: no answer came, or one that says so.
    Unknown,
}

/// One command of one client.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// When it was sent, and when the answer came or was given up, since the run began.
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    /// The key's number; only one client uses it.
    pub(super) key: usize,
    pub(super) act: Act,
    /// The version that is written, or was read; 0: there is none.
    pub(super) version: u64,
    pub(super) end: End,
    /// The host that was asked.
    pub(super) host: usize,
    /// What the node said, unless it was what was hoped for.
    pub(super) said: Option<String>,
}

/// A clock that all share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since(Instant);

impl Since {
    pub(super) fn now() -> Since {
        Since(Instant::now())
    }

    /// Microseconds since the run began.
    pub(super) fn us(self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}

/// Writes a history as JSON lines, in the order in which the commands were sent.
pub(super) fn write(events: &[Event], out: &mut dyn Write) -> io::Result<()> {
    let mut order: Vec<&Event> = events.iter().collect();
    order.sort_by_key(|event| event.from_us);
    for event in order {
        let act = match event.act {
            Act::Set => "set",
            Act::Delete => "del",
            Act::Get => "get",
        };
        let end = match event.end {
            End::Ok => "ok",
            End::Failed => "fail",
            End::Unknown => "info",
        };
        let line = json!({
            "from_us": event.from_us, "to_us": event.to_us, "key": event.key, "act": act, "version": event.version,
            "end": end, "host": event.host, "said": event.said,
        });
        writeln!(out, "{line}")?;
    }
    out.flush()
}

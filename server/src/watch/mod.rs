//! What took long or was large: the logs behind `SLOWLOG` and `COMMANDLOG`, and the events behind `LATENCY`.
//!
//! ```text
//!   connections ─► Watch ─┬─ Log: slow ──────────┐
//!                         ├─ Log: large request ─┼─► COMMANDLOG, SLOWLOG
//!                         ├─ Log: large reply ───┘
//!   connections, expiry ──┴─ Events ─────────────► LATENCY
//! ```
//!
//! Who executes commands asks for the [`Limits`] once per batch and compares; only what is beyond one comes here. So
//! each log is behind one lock that is seldom taken.

mod events;
mod log;

pub use events::{Event, Events, Sample};
pub use log::{Entry, Log, Which, trimmed};

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// From where on something is noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Commands that took at least so long are logged, in microseconds; `None`: none are.
    pub slow_us: Option<u64>,
    /// Requests of at least so many bytes are logged.
    pub request_bytes: Option<u64>,
    /// Replies of at least so many bytes are logged.
    pub reply_bytes: Option<u64>,
    /// What took at least so long is an event, in milliseconds.
    pub event_ms: Option<u64>,
}

/// What took long or was large.
#[derive(Debug)]
pub struct Watch {
    logs: [Log; 3],
    /// The events.
    pub events: Events,
    event_ms: AtomicI64,
}

impl Default for Watch {
    fn default() -> Watch {
        let log = |which: Which| Log::new(which.usual_threshold());
        Watch { logs: Which::ALL.map(log), events: Events::default(), event_ms: AtomicI64::new(0) }
    }
}

impl Watch {
    /// One of the logs.
    pub fn log(&self, which: Which) -> &Log {
        &self.logs[which as usize]
    }

    /// From where on something is noted, now.
    pub fn limits(&self) -> Limits {
        let limit = |which| u64::try_from(self.log(which).threshold()).ok();
        Limits {
            slow_us: limit(Which::Slow),
            request_bytes: limit(Which::LargeRequest),
            reply_bytes: limit(Which::LargeReply),
            event_ms: u64::try_from(self.event_threshold_ms()).ok().filter(|&ms| ms > 0),
        }
    }

    /// What takes so many milliseconds is an event (`latency-monitor-threshold`); 0: nothing is.
    pub fn event_threshold_ms(&self) -> i64 {
        self.event_ms.load(Relaxed)
    }

    /// From now on what takes so many milliseconds is an event.
    pub fn set_event_threshold_ms(&self, ms: i64) {
        self.event_ms.store(ms, Relaxed);
    }

    /// Something took so long: an event, if that is long.
    pub fn took(&self, event: &'static str, elapsed_us: u64, now_unix_s: u64) {
        let ms = elapsed_us / 1000;
        if self.limits().event_ms.is_some_and(|least| ms >= least) {
            self.events.add(event, now_unix_s, ms);
        }
    }
}

//! Log lines on standard error, as text for people or as JSON, and what happens at a panic.
//!
//! Standard output belongs to the lines that others rely on (`listening …`, `ready`). Lines of this project are
//! written from the level that was asked for; those of the libraries underneath only from `warn`, since `debug` of an
//! HTTP/2 stack hides what one is looking for. The time in a line is the logger's own.

use std::{
    backtrace::Backtrace,
    io::{self, Write},
    panic, process,
    sync::OnceLock,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::{
    clock::{Clock, SystemClock},
    config::{LogFormat, LogLevel},
};

/// The crates of this project, as the targets of their log lines.
const OWN: [&str; 3] = ["server", "ring", "circlet"];

/// How lines look, once logging was started.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// By which the level is changed while the process runs.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// The same is said again only after so long.
const QUIET_US: u64 = 10_000_000;

/// For a line that strangers could cause as often as they like: says when it may be written again.
#[derive(Debug)]
pub struct Seldom {
    clock: SystemClock,
    again_us: u64,
    unsaid: u64,
}

impl Seldom {
    /// Nothing was written yet.
    pub fn new() -> Seldom {
        Seldom { clock: SystemClock::new(), again_us: 0, unsaid: 0 }
    }

    /// Whether the line may be written now; if so, how often it was not since the last time.
    pub fn may(&mut self) -> Option<u64> {
        self.may_at(self.clock.monotonic_us())
    }

    fn may_at(&mut self, now_us: u64) -> Option<u64> {
        if now_us < self.again_us {
            self.unsaid += 1;
            return None;
        }
        self.again_us = now_us + QUIET_US;
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Default for Seldom {
    fn default() -> Seldom {
        Seldom::new()
    }
}

/// Starts logging for the whole process. A second call changes nothing and says so.
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), AlreadyStarted> {
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(fmt::layer().with_writer(io::stderr).with_ansi(false)),
        LogFormat::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(io::stderr)),
    };
    let (filter, handle) = reload::Layer::new(filter(level));
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(|_| AlreadyStarted)?;
    // Logging has just been started for the first time, so nobody else has set it.
    let _ = (LEVEL.set(handle), FORMAT.set(format));
    Ok(())
}

/// The last line of a program that ends with an error: like any other where whoever reads the log expects JSON alone, and
/// plain for people.
pub fn last_word(text: &str) {
    match FORMAT.get() {
        Some(LogFormat::Json) => tracing::error!("{text}"),
        // Nothing is left to do if standard error is closed.
        _ => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// Changes the level from which lines are written, for the whole process. Without logging there is nothing to do.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // It fails only when the subscriber is gone, and that lives as long as the process.
        let _ = handle.reload(filter(level));
    }
}

/// Logging was started before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("logging was started before")]
pub struct AlreadyStarted;

/// Makes every panic end the process, with a report in the log.
///
/// A panic is a broken promise of the program's own. A node that goes on with one thread less, or with half of a
/// change, would serve wrong answers; one that ends at once is replaced by its peers within a second.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::force_capture();
        tracing::error!(%place, %backtrace, "this is a bug in Circlet, please report it: {text}");
        process::abort();
    }));
}

fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(OWN.map(|own| (own, level)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, os::unix::process::ExitStatusExt, process::Command};
    use tracing::Level;

    /// Set in the process that shall panic.
    const ROLE: &str = "CIRCLET_TEST_PANICS";

    #[test]
    fn what_strangers_cause_is_said_seldom_and_counted() {
        let mut line = Seldom::new();
        assert_eq!((line.may_at(5), line.may_at(6), line.may_at(QUIET_US)), (Some(0), None, None));
        assert_eq!((line.may_at(QUIET_US + 5), line.may_at(QUIET_US + 6)), (Some(2), None));
    }

    /// Runs itself once more: what is tested ends the process.
    #[test]
    fn a_panic_is_reported_and_ends_the_process() {
        if env::var_os(ROLE).is_some() {
            start(LogLevel::Error, LogFormat::Json).unwrap();
            assert_eq!(start(LogLevel::Error, LogFormat::Json), Err(AlreadyStarted));
            tracing::debug!("said too low");
            set_level(LogLevel::Debug);
            tracing::debug!("said loud enough");
            last_word("a \"last\" word");
            abort_on_panic();
            panic!("a promise was broken");
        }
        let this = "logging::tests::a_panic_is_reported_and_ends_the_process";
        let mut again = Command::new(env::current_exe().unwrap());
        let ended = again.args(["--exact", this, "--nocapture"]).env(ROLE, "1").output().unwrap();
        let report = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.signal(), Some(6), "{report}");
        assert!(report.contains("said loud enough") && !report.contains("said too low"), "{report}");
        let lines: Vec<&str> = report.lines().filter(|line| line.starts_with('{')).collect();
        assert!(lines.iter().all(|line| line.ends_with('}')), "each is one line: {report}");
        assert!(lines.iter().any(|line| line.contains(r#"a \"last\" word"#)), "{report}");
        let line = lines.iter().find(|line| line.contains("a promise was broken")).unwrap_or(&"");
        for part in ["a promise was broken", "server/src/logging.rs:", "\"backtrace\"", "\"level\":\"ERROR\""] {
            assert!(line.contains(part), "{part} is not in {report}");
        }
    }

    #[test]
    fn libraries_are_heard_only_when_something_is_wrong() {
        let cases = [
            (LogLevel::Error, "server::node", Level::WARN, false),
            (LogLevel::Error, "h2::proto", Level::WARN, false),
            (LogLevel::Info, "server::node", Level::INFO, true),
            (LogLevel::Info, "server::node", Level::DEBUG, false),
            (LogLevel::Trace, "ring::view", Level::TRACE, true),
            (LogLevel::Trace, "h2::proto", Level::INFO, false),
            (LogLevel::Trace, "h2::proto", Level::WARN, true),
        ];
        for (level, target, severity, written) in cases {
            assert_eq!(filter(level).would_enable(target, &severity), written, "{level:?} {target} {severity}");
        }
    }
}

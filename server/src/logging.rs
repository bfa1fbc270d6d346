//! Log lines on standard error, as text for people or as JSON, and what happens at a panic.
//!
//! Standard output belongs to the lines that others rely on (`listening …`, `ready`). Lines of this project are
//! written from the level that was asked for; those of the libraries underneath only from `warn`, since `debug` of an
//! HTTP/2 stack hides what one is looking for. The time in a line is the logger's own.

use std::{backtrace::Backtrace, io, panic, process, sync::OnceLock};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::{LogFormat, LogLevel};

/// The crates of this project, as the targets of their log lines.
const OWN: [&str; 3] = ["server", "ring", "circlet"];

/// By which the level is changed while the process runs.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging for the whole process. A second call changes nothing and says so.
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), AlreadyStarted> {
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(fmt::layer().with_writer(io::stderr).with_ansi(false)),
        LogFormat::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(io::stderr)),
    };
    let (filter, handle) = reload::Layer::new(filter(level));
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(|_| AlreadyStarted)?;
    // Logging has just been started for the first time, so nobody else has set it.
    let _ = LEVEL.set(handle);
    Ok(())
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

    /// Runs itself once more: what is tested ends the process.
    #[test]
    fn a_panic_is_reported_and_ends_the_process() {
        if env::var_os(ROLE).is_some() {
            start(LogLevel::Error, LogFormat::Json).unwrap();
            assert_eq!(start(LogLevel::Error, LogFormat::Json), Err(AlreadyStarted));
            tracing::debug!("said too low");
            set_level(LogLevel::Debug);
            tracing::debug!("said loud enough");
            abort_on_panic();
            panic!("a promise was broken");
        }
        let this = "logging::tests::a_panic_is_reported_and_ends_the_process";
        let mut again = Command::new(env::current_exe().unwrap());
        let ended = again.args(["--exact", this, "--nocapture"]).env(ROLE, "1").output().unwrap();
        let report = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.signal(), Some(6), "{report}");
        assert!(report.contains("said loud enough") && !report.contains("said too low"), "{report}");
        let line = report.lines().find(|line| line.contains("\"ERROR\"")).unwrap_or_default();
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

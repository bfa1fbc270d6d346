//! The times of commands within a batch.
//!
//! Reading the clock costs a tenth of a short command, so that a deep pipeline is timed in groups, whose time is divided.
//! Each command of its own is timed where that costs little, because the batch is short, and where somebody wants to know:
//! the log of slow commands begins below a millisecond, or a group of this connection took long lately.

use super::talk::Talk;
use crate::{
    clock::Clock,
    command::{Command, Flags},
    resp::Request,
    router::Services,
    services::Tally,
    session::Session,
    watch::{Entry, Limits, Which, trimmed},
};

/// In batches of so many requests each is timed of its own.
const SHORT_BATCH: usize = 4;
/// In longer ones so many share a reading of the clock.
const GROUP: usize = 16;
/// From here on a log of slow commands is taken for one that wants each time exactly.
const EXACT_BELOW_US: u64 = 1_000;
/// So long each command is timed after a group that took long.
const EXACT_FOR_US: u64 = 10_000_000;

/// What times the commands of one connection.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    exact_until_us: u64,
    /// Whether each command of this batch is timed of its own.
    is_exact: bool,
    started_us: u64,
}

impl Stopwatch {
    /// A batch begins.
    pub(super) fn start(&mut self, now_us: u64) {
        self.started_us = now_us;
    }

    /// When the clock was last read.
    pub(super) fn last_us(&self) -> u64 {
        self.started_us
    }

    /// How many of so many requests share a reading of the clock.
    pub(super) fn group(&mut self, requests: usize, limits: &Limits) -> usize {
        self.is_exact = requests <= SHORT_BATCH
            || limits.slow_us.is_some_and(|least| least < EXACT_BELOW_US)
            || self.started_us < self.exact_until_us;
        if self.is_exact { 1 } else { GROUP }
    }

    /// The arguments of a request whose reply comes with others, if it is timed of its own: to copy them costs as well.
    pub(super) fn kept(&self, request: &Request<'_>) -> Vec<Vec<u8>> {
        if self.is_exact { arguments(request) } else { Vec::new() }
    }

    /// Some commands were executed: divides the time since the last reading of the clock among them, and says how much
    /// each of them had.
    pub(super) fn lap(&mut self, clock: &dyn Clock, tally: &mut Tally, commands: usize, limits: &Limits) -> u64 {
        let now_us = clock.monotonic_us();
        let elapsed_us = now_us.saturating_sub(self.started_us);
        self.started_us = now_us;
        tally.divide(elapsed_us);
        if commands > 1 && is_long(limits, elapsed_us) {
            self.was_long(now_us);
        }
        elapsed_us / commands.max(1) as u64
    }

    /// Something took long: for a while each command is timed of its own.
    pub(super) fn was_long(&mut self, now_us: u64) {
        self.exact_until_us = now_us + EXACT_FOR_US;
    }
}

/// One command that was executed: what may be noted about it.
pub(super) struct Executed<'a> {
    pub(super) command: &'static Command,
    pub(super) arguments: Vec<Vec<u8>>,
    pub(super) client: &'a Session,
}

impl Executed<'_> {
    /// Notes that it took so long, if that is long.
    pub(super) fn took(&self, services: &Services, limits: &Limits, elapsed_us: u64) {
        if !is_long(limits, elapsed_us) || self.command.flags.contains(Flags::BLOCKING) {
            return;
        }
        let event = if self.command.flags.contains(Flags::FAST) { "fast-command" } else { "command" };
        services.watch.took(event, elapsed_us, services.clock.unix_ms() / 1000);
        if limits.slow_us.is_some_and(|least| elapsed_us >= least) {
            self.log(services, Which::Slow, elapsed_us);
        }
    }

    /// Notes what there is to note about a command whose reply came later.
    pub(super) fn answered(&self, services: &Services, limits: &Limits, elapsed_us: u64, reply_bytes: usize) {
        self.took(services, limits, elapsed_us);
        if reaches(limits.reply_bytes, reply_bytes) {
            self.log(services, Which::LargeReply, reply_bytes as u64);
        }
    }

    /// Puts it into a log.
    pub(super) fn log(&self, services: &Services, which: Which, value: u64) {
        if self.command.flags.contains(Flags::SKIP_COMMANDLOG) {
            return;
        }
        let client = self.client.client();
        services.watch.log(which).push(Entry {
            id: 0,
            unix_s: services.clock.unix_ms() / 1000,
            value,
            arguments: self.arguments.clone(),
            client: client.peer().to_string(),
            client_name: client.names().name.clone(),
        });
    }
}

/// Whether a time has to be noted.
pub(super) fn is_long(limits: &Limits, elapsed_us: u64) -> bool {
    limits.slow_us.is_some_and(|least| elapsed_us >= least)
        || limits.event_ms.is_some_and(|least| elapsed_us / 1000 >= least)
}

/// Whether a request or its reply has so many bytes that it is to be logged.
#[inline]
pub(super) fn is_large(limits: &Limits, request_bytes: usize, reply_bytes: usize) -> bool {
    reaches(limits.request_bytes, request_bytes) || reaches(limits.reply_bytes, reply_bytes)
}

#[inline]
fn reaches(limit: Option<u64>, bytes: usize) -> bool {
    limit.is_some_and(|limit| bytes as u64 >= limit)
}

impl Talk {
    /// Times requests that were executed since the last reading of the clock, and notes those that took long.
    #[inline]
    pub(super) fn time<'r>(
        &mut self,
        requests: impl ExactSizeIterator<Item = Request<'r>>,
        tally: &mut Tally,
        limits: &Limits,
    ) {
        let services = self.router.services();
        let each_us = self.stopwatch.lap(&*services.clock, tally, requests.len(), limits);
        if !is_long(limits, each_us) {
            return;
        }
        // The last one may have to wait for its reply: then its time is not over.
        let done = requests.len() - usize::from(self.later.is_some());
        for request in requests.take(done) {
            if let Ok((_, command)) = self.router.table().meant(&request) {
                let executed = Executed { command, arguments: arguments(&request), client: &self.session };
                executed.took(services, limits, each_us);
            }
        }
    }

    /// Puts a large request, or one with a large reply, into its log.
    #[cold]
    pub(super) fn log_large(&self, request: &Request<'_>, limits: &Limits, request_bytes: usize, reply_bytes: usize) {
        let Ok((_, command)) = self.router.table().meant(request) else { return };
        let executed = Executed { command, arguments: arguments(request), client: &self.session };
        if reaches(limits.request_bytes, request_bytes) {
            executed.log(self.router.services(), Which::LargeRequest, request_bytes as u64);
        }
        if reaches(limits.reply_bytes, reply_bytes) {
            executed.log(self.router.services(), Which::LargeReply, reply_bytes as u64);
        }
    }
}

/// The arguments of a request, as far as a log keeps them.
pub(super) fn arguments(request: &Request<'_>) -> Vec<Vec<u8>> {
    trimmed(request.args_from(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, services::Calls};
    use std::time::Duration;

    const LIMITS: Limits = Limits { slow_us: Some(10_000), request_bytes: None, reply_bytes: None, event_ms: None };

    #[test]
    fn a_deep_pipeline_is_timed_in_groups_until_one_takes_long() {
        let (clock, mut watch) = (ManualClock::new(0), Stopwatch::default());
        let mut tally = Tally::default();
        assert_eq!((watch.group(4, &LIMITS), watch.group(5, &LIMITS)), (1, GROUP));
        assert_eq!(watch.group(64, &Limits { slow_us: Some(999), ..LIMITS }), 1);
        assert_eq!(watch.group(64, &Limits { slow_us: None, ..LIMITS }), GROUP);
        clock.advance(Duration::from_millis(20));
        tally.calls.push(Calls { command: 1, succeeded: 16, failed: 0, rejected: 0, duration_us: 0 });
        assert_eq!(watch.lap(&clock, &mut tally, 16, &LIMITS), 1_250);
        assert_eq!((watch.group(64, &LIMITS), tally.calls[0].duration_us), (1, 20_000));
        watch.start(clock.monotonic_us() + EXACT_FOR_US);
        assert_eq!(watch.group(64, &LIMITS), GROUP, "it is some time ago");
        let never = Limits { slow_us: None, event_ms: Some(i64::MAX as u64), ..LIMITS };
        clock.advance(Duration::from_micros(EXACT_FOR_US));
        watch.lap(&clock, &mut tally, 16, &never);
        assert_eq!(watch.group(64, &never), GROUP);
    }
}

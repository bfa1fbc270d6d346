//! When a connection's next command starts.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::keyspace::unix_ms;

/// The one clock of a phase, in nanoseconds since it began.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
    origin_ms: u64,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { origin: Instant::now(), origin_ms: unix_ms() }
    }

    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).expect("fits for five centuries")
    }

    /// The same moment in milliseconds since 1970.
    pub(super) fn unix_ms(&self, now_ns: u64) -> u64 {
        self.origin_ms + now_ns / 1_000_000
    }
}

/// Closed loop: as soon as all replies are there. Open loop: by a schedule that does not know the replies.
pub(super) enum Pace {
    Closed,
    Open(Schedule),
}

/// Starts at even distances, waited for with a timer of the kernel: tokio's own wakes up to a millisecond late, which
/// would be measured as latency of the server.
pub(super) struct Schedule {
    offset_ns: f64,
    interval_ns: f64,
    started: u64,
    timer: AsyncFd<OwnedFd>,
}

impl Pace {
    /// The pace of connection `own` of `connections` that together start `rate` commands a second.
    pub(super) fn new(rate: Option<f64>, own: usize, connections: usize) -> std::io::Result<Pace> {
        let Some(rate) = rate else { return Ok(Pace::Closed) };
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let apart_ns = 1e9 / rate;
        Ok(Pace::Open(Schedule {
            offset_ns: apart_ns * own as f64,
            interval_ns: apart_ns * connections as f64,
            started: 0,
            timer: register(timer)?,
        }))
    }

    /// Completes when the next command of an open loop is due; never in a closed loop.
    pub(super) async fn due(&self, clock: Clock) {
        match self {
            Pace::Closed => std::future::pending().await,
            Pace::Open(schedule) => schedule.due(clock).await,
        }
    }
}

impl Schedule {
    /// The intended start of the next command.
    pub(super) fn next_ns(&self) -> u64 {
        (self.offset_ns + self.interval_ns * self.started as f64) as u64
    }

    /// The next command starts.
    pub(super) fn advance(&mut self) {
        self.started += 1;
    }

    /// How many more commands should have started before this moment.
    pub(super) fn behind(&self, now_ns: u64) -> u64 {
        let late = now_ns as f64 - self.next_ns() as f64;
        (late / self.interval_ns).ceil().max(0.0) as u64
    }

    async fn due(&self, clock: Clock) {
        let wait = Duration::from_nanos(self.next_ns().saturating_sub(clock.now_ns()));
        if wait.is_zero() || self.arm(wait).is_err() {
            return;
        }
        // Arming a timer again forgets that it had expired, so the readiness seen here may be an old one: then the
        // caller finds nothing due and waits again.
        if let Ok(mut expired) = self.timer.readable().await {
            expired.clear_ready();
        }
    }

    fn arm(&self, wait: Duration) -> rustix::io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let at = Timespec::try_from(wait).map_err(|_| rustix::io::Errno::INVAL)?;
        let spec = Itimerspec { it_interval: never, it_value: at };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &spec).map(|_| ())
    }
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe for the sake of types that change their descriptor; this owns one"
)]
fn register(timer: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(timer, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn starts_are_spread_evenly_over_connections_and_time() {
        let mut starts = Vec::new();
        for own in 0..4 {
            let Pace::Open(mut schedule) = Pace::new(Some(1000.0), own, 4).expect("a timer") else {
                panic!("a rate was given")
            };
            for _ in 0..3 {
                starts.push(schedule.next_ns());
                schedule.advance();
            }
        }
        starts.sort_unstable();
        assert_eq!(starts, (0..12).map(|start| start * 1_000_000).collect::<Vec<u64>>());
    }

    #[tokio::test]
    async fn a_schedule_knows_how_far_it_is_behind() {
        let Pace::Open(mut schedule) = Pace::new(Some(10.0), 0, 1).expect("a timer") else { panic!() };
        assert_eq!(schedule.behind(0), 0);
        assert_eq!(schedule.behind(1), 1);
        assert_eq!(schedule.behind(250_000_000), 3);
        for _ in 0..3 {
            schedule.advance();
        }
        assert_eq!(schedule.behind(250_000_000), 0);
    }

    #[tokio::test]
    async fn a_start_is_waited_for() {
        let clock = Clock::start();
        let mut pace = Pace::new(Some(100.0), 0, 1).expect("a timer");
        if let Pace::Open(schedule) = &mut pace {
            schedule.advance();
        }
        pace.due(clock).await;
        assert!(clock.now_ns() >= 10_000_000);
    }
}

//! Time, as an argument.
//!
//! Whatever depends on time takes a [`Clock`], so that a test can move it by hand and a simulation can run a day in a
//! second. This file is the only one that reads the operating system's clock; a test below reads the others to make
//! sure. Timers of the runtime are something else: they say *when to look*, never what time it is.
//!
//! Three times are told. The *time of day* is for deadlines, which clients name; it jumps when someone sets the machine's
//! clock. *Monotonic* time is for delays. [`VersionTime`] is for what nodes compare with each other: the time of day when
//! the node started, and what has passed since. A clock that is wrong for two seconds must not date versions a year ahead,
//! where they stay when it is right again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

/// How far ahead of a node's clock a version may be. More is damage or malice, not skew: taking it in would move this
/// node's versions there too, and nobody would take those. Nodes whose clocks are farther apart do not talk to each other.
pub const MAX_AHEAD_MS: u64 = 24 * 60 * 60 * 1000;

/// A time of day is believed when it was ahead for so long.
const HELD_US: u64 = 5 * 60 * 1_000_000;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970. It can jump in both directions when someone sets the machine's clock.
    fn unix_us(&self) -> u64;

    /// The same in milliseconds.
    fn unix_ms(&self) -> u64 {
        self.unix_us() / 1000
    }

    /// Microseconds since some moment before the first call. It never goes back. Every reading moves
    /// [`Clock::versions`] on.
    fn monotonic_us(&self) -> u64;

    /// The time that versions are made of, for those who make many.
    fn versions(&self) -> &VersionTime;

    /// What that is now, in milliseconds since 1970.
    fn version_ms(&self) -> u64 {
        self.monotonic_us();
        self.versions().ms()
    }

    /// What the times of others are held against, now: see [`VersionTime::latest_ms`].
    fn latest_ms(&self) -> u64 {
        self.monotonic_us();
        self.versions().latest_ms()
    }

    /// Looks how far the time of day is ahead of the time of versions. To be called several times a second.
    fn compare(&self) {
        let ahead_ms = self.unix_ms().saturating_sub(self.version_ms());
        self.versions().is_behind_by(ahead_ms, self.monotonic_us());
    }
}

/// The time that versions are made of, as of the last reading of the clock that it belongs to: a few milliseconds late
/// at most, which does no harm, because a version is above all those that it follows in any case.
///
/// It costs no reading of its own, and it never holds the time of day, so that there is no moment at which a thread could
/// see a jump.
#[derive(Clone, Debug)]
pub struct VersionTime {
    started_unix_us: u64,
    ms: Arc<OwnLine>,
    lead: Arc<Lead>,
}

/// How far the time of day is ahead of the time of versions.
#[derive(Debug, Default)]
struct Lead {
    /// At least so far for [`HELD_US`] and longer.
    held_ms: AtomicU64,
    /// Since when it is looked for the next such value, and the least since then.
    least: Mutex<Option<(u64, u64)>>,
}

/// Read by every write and changed once a millisecond, so it shares its cache line (two: they are fetched in pairs) with
/// nothing else.
#[derive(Debug)]
#[repr(align(128))]
struct OwnLine(AtomicU64);

impl VersionTime {
    /// The time of a clock that starts at this time of day.
    pub fn starting_at(unix_us: u64) -> VersionTime {
        VersionTime {
            started_unix_us: unix_us,
            ms: Arc::new(OwnLine(AtomicU64::new(unix_us / 1000))),
            lead: Arc::default(),
        }
    }

    /// Milliseconds since 1970, if nobody had set the clock since the start. It never goes back.
    #[inline]
    pub fn ms(&self) -> u64 {
        self.ms.0.load(Ordering::Relaxed)
    }

    /// What the times of others are held against. If the machine slept, or its clock was wrong at the start and is right
    /// now, versions lag behind and the others are right: so the time of day counts if it has been ahead for minutes. One
    /// that jumps must not let in what nobody else takes.
    pub fn latest_ms(&self) -> u64 {
        self.ms() + self.lead.held_ms.load(Ordering::Relaxed)
    }

    /// The time of day is ahead by so much at this monotonic time.
    fn is_behind_by(&self, ahead_ms: u64, now_us: u64) {
        let mut least = self.lead.least.lock();
        let (since_us, least_ms) = least.map_or((now_us, ahead_ms), |(since_us, ms)| (since_us, ms.min(ahead_ms)));
        self.lead.held_ms.fetch_min(ahead_ms, Ordering::Relaxed);
        if now_us.saturating_sub(since_us) < HELD_US {
            *least = Some((since_us, least_ms));
        } else {
            self.lead.held_ms.store(least_ms, Ordering::Relaxed);
            *least = Some((now_us, ahead_ms));
        }
    }

    /// So much has passed since the start.
    #[inline]
    pub fn passed(&self, us: u64) {
        let ms = (self.started_unix_us + us) / 1000;
        // Most readings find it as it is, and leave the line to all readers.
        if self.ms() < ms {
            self.ms.0.fetch_max(ms, Ordering::Relaxed);
        }
    }
}

/// The operating system's clock.
#[derive(Clone, Debug)]
pub struct SystemClock {
    started: Instant,
    versions: VersionTime,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now(), versions: VersionTime::starting_at(unix_us()) }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn unix_us(&self) -> u64 {
        unix_us()
    }

    fn monotonic_us(&self) -> u64 {
        let us = self.started.elapsed().as_micros() as u64;
        self.versions.passed(us);
        us
    }

    fn versions(&self) -> &VersionTime {
        &self.versions
    }
}

/// A machine whose clock stands before 1970 reads as 1970.
fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    unix_us: AtomicU64,
    monotonic_us: AtomicU64,
    versions: VersionTime,
}

impl ManualClock {
    /// A clock that shows this time; its monotonic time starts at 0.
    pub fn new(unix_ms: u64) -> ManualClock {
        ManualClock {
            unix_us: AtomicU64::new(unix_ms * 1000),
            monotonic_us: AtomicU64::new(0),
            versions: VersionTime::starting_at(unix_ms * 1000),
        }
    }

    /// Lets time pass, on all scales.
    pub fn advance(&self, by: Duration) {
        let us = by.as_micros() as u64;
        self.versions.passed(self.monotonic_us.fetch_add(us, Ordering::SeqCst) + us);
        self.unix_us.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }

    /// Sets the time of day, as an operator would; no time passes, so the time of versions stays.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        self.unix_us.store(unix_ms * 1000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_us(&self) -> u64 {
        self.unix_us.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst)
    }

    fn versions(&self) -> &VersionTime {
        &self.versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn the_system_clock_moves_forward() {
        let clock = SystemClock::new();
        let (first, unix_ms) = (clock.monotonic_us(), clock.unix_ms());
        assert!(clock.monotonic_us() >= first);
        assert!(unix_ms > 1_600_000_000_000, "the machine's clock stands before 2020");
    }

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::new(1000);
        clock.advance(Duration::from_millis(5));
        assert_eq!((clock.unix_ms(), clock.monotonic_us()), (1005, 5000));
        clock.set_unix_ms(7);
        assert_eq!((clock.unix_ms(), clock.monotonic_us()), (7, 5000));
    }

    #[test]
    fn the_time_of_versions_is_that_of_the_start_and_what_has_passed() {
        let clock = ManualClock::new(1000);
        clock.set_unix_ms(900_000_000);
        assert_eq!(clock.version_ms(), 1000);
        clock.advance(Duration::from_millis(5));
        clock.set_unix_ms(1);
        assert_eq!((clock.version_ms(), clock.versions().ms()), (1005, 1005));
    }

    #[test]
    fn a_time_of_day_that_is_ahead_counts_when_it_has_been_for_minutes() {
        let clock = ManualClock::new(1000);
        let pass = |seconds| {
            for _ in 0..seconds {
                clock.advance(Duration::from_secs(1));
                clock.compare();
            }
        };
        pass(400);
        clock.set_unix_ms(900_000_000);
        pass(200);
        assert_eq!(clock.latest_ms(), clock.version_ms(), "it may be a jump");
        pass(400);
        assert_eq!(clock.latest_ms(), clock.unix_ms());
        assert_eq!(clock.version_ms(), 1_001_000, "versions go on as before");
        clock.set_unix_ms(1);
        clock.compare();
        assert_eq!(clock.latest_ms(), clock.version_ms(), "set back, it counts no more at once");
    }

    #[test]
    fn every_reading_of_the_system_clock_moves_the_time_of_versions() {
        let clock = SystemClock::new();
        let (started_ms, seen) = (clock.versions().ms(), clock.versions().clone());
        while clock.monotonic_us() < 3_000 {}
        assert!(seen.ms() >= started_ms + 2);
        assert!(clock.unix_ms().abs_diff(clock.version_ms()) < 60_000, "the machine's clock was set just now");
        let later_ms = seen.ms() + 10;
        seen.passed(1);
        assert!(seen.ms() < later_ms && seen.ms() >= started_ms + 2, "it does not go back");
    }

    /// The sources of this crate outside this file that contain any of these words.
    fn sources_with(words: &[&str]) -> Vec<String> {
        fn walk(folder: &Path, words: &[&str], found: &mut Vec<String>, read: &mut usize) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, words, found, read);
                } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("src/clock.rs") {
                    *read += 1;
                    let text = fs::read_to_string(&path).unwrap();
                    found.extend(words.iter().any(|word| text.contains(word)).then(|| path.display().to_string()));
                }
            }
        }
        let (mut found, mut read) = (Vec::new(), 0);
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), words, &mut found, &mut read);
        assert!(read > 5, "the sources were not found");
        found
    }

    #[test]
    fn nothing_else_reads_the_clock() {
        assert_eq!(sources_with(&["Instant::now", "SystemTime::now"]), Vec::<String>::new());
        assert!(!sources_with(&["Duration::from_secs"]).is_empty(), "the search finds what is there");
    }
}

//! Time, as an argument.
//!
//! Whatever depends on time takes a [`Clock`], so that a test can move it by hand and a simulation can run a day in a
//! second. This file is the only one that reads the operating system's clock; a test below reads the others to make
//! sure. Timers of the runtime are something else: they say *when to look*, never what time it is.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970. It can jump in both directions when someone sets the machine's clock.
    fn unix_ms(&self) -> u64;

    /// Microseconds since some moment before the first call. It never goes back.
    fn monotonic_us(&self) -> u64;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    /// A machine whose clock stands before 1970 reads as 1970.
    fn unix_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    unix_ms: AtomicU64,
    monotonic_us: AtomicU64,
}

impl ManualClock {
    /// A clock that shows this time; its monotonic time starts at 0.
    pub fn new(unix_ms: u64) -> ManualClock {
        ManualClock { unix_ms: AtomicU64::new(unix_ms), monotonic_us: AtomicU64::new(0) }
    }

    /// Lets time pass, on both scales.
    pub fn advance(&self, by: Duration) {
        self.monotonic_us.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
        self.unix_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// Sets the time of day, as an operator would; no time passes.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst)
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

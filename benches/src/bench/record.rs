//! What happened: latencies and counts. The only module that names `hdrhistogram`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

/// Latencies above a minute are recorded as a minute.
const LONGEST_US: u64 = 60_000_000;
/// Examples of bad reads that are kept; the counts are complete.
const MAX_EXAMPLES: usize = 10;

/// Latencies in microseconds, to three digits.
#[derive(Clone)]
pub(super) struct Latencies(Histogram<u64>);

/// Counts since the phase began.
#[derive(Clone, Default)]
pub(super) struct Tally {
    /// Commands that were answered, and not by an error.
    pub(super) succeeded: u64,
    pub(super) reads: u64,
    /// Reads of a key that was not there and need not be.
    pub(super) misses: u64,
    pub(super) lost: u64,
    pub(super) stale: u64,
    pub(super) wrong: u64,
    /// Refused by `-NOREPLICAS`.
    pub(super) noreplicas: u64,
    /// Other errors by code; without a reply: NOREPLY, TIMEOUT, CONNECT, MALFORMED, UNEXPECTED.
    pub(super) errors: BTreeMap<String, u64>,
    /// Connections made again after the server closed them between commands.
    pub(super) moved: u64,
    /// Commands of an open loop that should have started and did not before the end.
    pub(super) not_started: u64,
    /// The longest time that one connection was without a successful command.
    pub(super) connection_gap_ns: u64,
    /// The first bad reads, in words.
    pub(super) examples: Vec<String>,
}

/// One thread's record.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) interval: Latencies,
    pub(super) tally: Tally,
}

/// The longest time without a successful command anywhere.
#[derive(Default)]
pub(super) struct Gap {
    last_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl Latencies {
    pub(super) fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns.div_ceil(1000));
    }

    /// Takes over the other's latencies and leaves it empty.
    pub(super) fn take(&mut self, other: &mut Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
        other.0.reset();
    }

    pub(super) fn at_quantile_us(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub(super) fn max_us(&self) -> u64 {
        self.0.max()
    }

    pub(super) fn mean_us(&self) -> f64 {
        self.0.mean()
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("valid bounds"))
    }
}

impl Tally {
    pub(super) fn error(&mut self, code: &str, count: u64) {
        if code == "NOREPLICAS" {
            self.noreplicas += count;
        } else if let Some(counted) = self.errors.get_mut(code) {
            *counted += count;
        } else if count > 0 {
            self.errors.insert(code.to_owned(), count);
        }
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Reads that broke a promise.
    pub(super) fn bad_reads(&self) -> u64 {
        self.lost + self.stale + self.wrong
    }

    pub(super) fn example(&mut self, words: impl FnOnce() -> String) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(words());
        }
    }

    pub(super) fn add(&mut self, other: &Tally) {
        self.succeeded += other.succeeded;
        self.reads += other.reads;
        self.misses += other.misses;
        self.lost += other.lost;
        self.stale += other.stale;
        self.wrong += other.wrong;
        self.noreplicas += other.noreplicas;
        self.moved += other.moved;
        self.not_started += other.not_started;
        self.connection_gap_ns = self.connection_gap_ns.max(other.connection_gap_ns);
        for (code, count) in &other.errors {
            self.error(code, *count);
        }
        for example in &other.examples {
            self.example(|| example.clone());
        }
    }
}

impl Gap {
    /// A command succeeded at this moment.
    pub(super) fn success(&self, now_ns: u64) {
        let last_ns = self.last_ns.fetch_max(now_ns, Ordering::Relaxed);
        if last_ns > 0 {
            self.longest_ns.fetch_max(now_ns.saturating_sub(last_ns), Ordering::Relaxed);
        }
    }

    pub(super) fn longest_ns(&self) -> u64 {
        self.longest_ns.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_for_lack_of_replicas_are_no_errors() {
        let mut tally = Tally::default();
        tally.error("NOREPLICAS", 2);
        tally.error("ERR", 1);
        tally.error("ERR", 3);
        assert_eq!((tally.noreplicas, tally.errors()), (2, 4));
    }

    #[test]
    fn the_gap_is_the_longest_between_two_successes() {
        let gap = Gap::default();
        for now_ns in [500, 510, 600, 605] {
            gap.success(now_ns);
        }
        assert_eq!(gap.longest_ns(), 90);
    }

    #[test]
    fn latencies_are_kept_to_three_digits() {
        let mut latencies = Latencies::default();
        for micros in 1..=1000 {
            latencies.record(micros * 1000);
        }
        assert_eq!((latencies.at_quantile_us(0.5), latencies.at_quantile_us(0.99)), (500, 990));
        latencies.record(u64::MAX);
        assert!(latencies.max_us() >= LONGEST_US);
    }
}

//! What this node counts and measures about the commands that it serves.
//!
//! Each thread that serves clients has a shard of its own: counters and one latency histogram per command. It locks the
//! shard once per batch of requests, which nobody else holds but a reader of the figures, for the time that one
//! histogram takes to add. So recording allocates nothing, waits for nobody and makes threads share no cache line.
//! Reading adds the shards up.
//!
//! ```text
//!   thread 0 ─► shard 0 ─┐
//!   thread 1 ─► shard 1 ─┼─► snapshot() ─► INFO, /metrics
//!   thread 2 ─► shard 2 ─┘
//! ```
//!
//! Plain counters behind an uncontended lock were preferred to atomics: a batch pays for the lock once, while every
//! atomic would be paid per command, and a histogram is more than one number.
//!
//! Latencies are those of execution, from the request being known to its reply being known, as Redis counts them; time
//! in the network and in the kernel is the load generator's to measure. They range from 1 µs to 60 s with two digits.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use parking_lot::{Mutex, MutexGuard};

/// Longest latency that is told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// Digits of a latency that count. Two are within 1 %, and a histogram takes 20 KiB.
const DIGITS: u8 = 2;

/// So many kinds of errors are told apart; those beyond count together.
const MOST_ERRORS: usize = 128;
const OTHER_ERRORS: &str = "ERRORSTATS_OVERFLOW";

/// The figures of all threads.
pub struct Metrics {
    names: Box<[&'static str]>,
    shards: Box<[Shard]>,
    /// Replies that were errors, by their codes: seldom, so that all threads share it.
    errors: Mutex<BTreeMap<Box<str>, u64>>,
}

/// The figures of one thread, on cache lines of their own.
#[repr(align(128))]
struct Shard(Mutex<Figures>);

struct Figures {
    totals: Totals,
    commands: Box<[CommandFigures]>,
}

/// What is counted without regard to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Commands that were executed.
    pub calls: u64,
    /// Connections that were accepted.
    pub connections_received: u64,
    /// Connections that were turned away.
    pub connections_rejected: u64,
    /// Bytes read from clients.
    pub input_bytes: u64,
    /// Bytes written to clients.
    pub output_bytes: u64,
    /// Reads from the sockets of clients.
    pub reads: u64,
    /// Writes to the sockets of clients.
    pub writes: u64,
    /// Clients disconnected because their request was too long.
    pub input_limit_disconnections: u64,
    /// Clients disconnected because too much waited for them.
    pub output_limit_disconnections: u64,
    /// Clients disconnected because all together took up too much.
    pub evicted_clients: u64,
    /// Lookups that found a key.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Keys removed because their time was over.
    pub expired: u64,
    /// Keys removed to make room.
    pub evicted: u64,
}

struct CommandFigures {
    calls: u64,
    duration_us: u64,
    rejected: u64,
    failed: u64,
    latency_us: Histogram<u64>,
}

/// How a call went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was executed.
    Done,
    /// It was executed and answered an error.
    Failed,
}

/// The figures of a thread while it records a batch. It holds a lock: never keep it across an `.await`.
pub struct Recorder<'a>(MutexGuard<'a, Figures>);

/// All figures, added up at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// What is counted without regard to a command.
    pub totals: Totals,
    /// The commands that were ever called or rejected, in the order of the table.
    pub commands: Vec<CommandSnapshot>,
    /// How many replies were errors, by their codes.
    pub errors: Vec<(String, u64)>,
}

/// How the times of one command are distributed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distribution {
    /// How often it was executed.
    pub calls: u64,
    /// For powers of two, in microseconds, how many calls took at most so long; those that add none are left out.
    pub at_most_us: Vec<(u64, u64)>,
}

/// The figures of one command.
#[derive(Clone, PartialEq, Debug)]
pub struct CommandSnapshot {
    /// Its name.
    pub name: &'static str,
    /// How often it was executed.
    pub calls: u64,
    /// Time in all calls.
    pub duration_us: u64,
    /// How often it was refused before it was executed.
    pub rejected: u64,
    /// How often it was executed and answered an error.
    pub failed: u64,
    /// How long its calls took.
    pub latency_us: Percentiles,
}

/// Half of the calls, 99 and 99.9 of a hundred took at most this long, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Percentiles {
    /// Half.
    pub p50: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
}

impl Metrics {
    /// Figures of so many threads for these commands; a command is named by its place among them.
    pub fn new(threads: usize, names: &[&'static str]) -> Metrics {
        let shard = || Shard(Mutex::new(Figures::new(names.len())));
        let shards = (0..threads.max(1)).map(|_| shard()).collect();
        Metrics { names: names.into(), shards, errors: Mutex::default() }
    }

    /// The recorder of a thread. Two threads that give the same number are counted right and wait for each other.
    pub fn recorder(&self, thread: usize) -> Recorder<'_> {
        Recorder(self.shards[thread % self.shards.len()].0.lock())
    }

    /// Adds everything up. A shard is locked for one command at a time, so that its thread hardly waits; figures of
    /// different commands may therefore be some microseconds apart.
    pub fn snapshot(&self) -> Snapshot {
        let commands = (0..self.names.len()).filter_map(|command| self.command_snapshot(command)).collect();
        let errors = self.errors.lock().iter().map(|(code, &count)| (code.to_string(), count)).collect();
        Snapshot { totals: self.totals(), commands, errors }
    }

    /// What is counted without regard to a command.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.shards.iter().for_each(|shard| totals.add(&shard.0.lock().totals));
        totals
    }

    /// How the times of a command are distributed; none if it was never executed.
    pub fn distribution(&self, command: usize) -> Option<Distribution> {
        let sum = self.sum(command);
        let mut at_most_us: Vec<(u64, u64)> = Vec::new();
        for step in sum.latency_us.iter_log(1, 2.0) {
            let count = at_most_us.last().map_or(0, |&(_, count)| count) + step.count_since_last_iteration();
            if step.count_since_last_iteration() > 0 {
                // A step ends just below a power of two.
                at_most_us.push((step.value_iterated_to() + 1, count));
            }
        }
        (sum.calls > 0).then_some(Distribution { calls: sum.calls, at_most_us })
    }

    /// So many replies were errors of this code.
    pub fn errors(&self, code: &str, count: u64) {
        let mut errors = self.errors.lock();
        let is_new = !errors.contains_key(code);
        let code = if is_new && errors.len() >= MOST_ERRORS { OTHER_ERRORS } else { code };
        *errors.entry(code.into()).or_default() += count;
    }

    /// Starts all figures again at zero, as `CONFIG RESETSTAT` does.
    pub fn reset(&self) {
        for shard in &self.shards {
            let mut figures = shard.0.lock();
            figures.totals = Totals::default();
            figures.commands.iter_mut().for_each(CommandFigures::reset);
        }
        self.errors.lock().clear();
    }

    fn sum(&self, command: usize) -> CommandFigures {
        let mut sum = CommandFigures::new();
        for shard in &self.shards {
            sum.add(&shard.0.lock().commands[command]);
        }
        sum
    }

    fn command_snapshot(&self, command: usize) -> Option<CommandSnapshot> {
        let sum = self.sum(command);
        (sum.calls + sum.rejected > 0).then(|| CommandSnapshot {
            name: self.names[command],
            calls: sum.calls,
            duration_us: sum.duration_us,
            rejected: sum.rejected,
            failed: sum.failed,
            latency_us: Percentiles::of(&sum.latency_us),
        })
    }
}

impl Recorder<'_> {
    /// A command was executed, in this time.
    pub fn call(&mut self, command: usize, duration_us: u64, outcome: Outcome) {
        self.calls(command, 1, duration_us, outcome);
    }

    /// Several calls of a command, executed one behind the other, took this time together. Their latencies are
    /// recorded as equal, which saves two readings of the clock per command in a long pipeline.
    pub fn calls(&mut self, command: usize, count: u64, duration_us: u64, outcome: Outcome) {
        let figures = &mut self.0.commands[command];
        figures.calls += count;
        figures.duration_us += duration_us;
        figures.failed += if outcome == Outcome::Failed { count } else { 0 };
        figures.latency_us.saturating_record_n(duration_us / count.max(1), count);
    }

    /// So many calls of a command were refused before they were executed: wrong arity, no permission, no memory.
    pub fn rejected(&mut self, command: usize, count: u64) {
        self.0.commands[command].rejected += count;
    }

    /// Adds to the figures that belong to no command.
    pub fn add(&mut self, totals: &Totals) {
        self.0.totals.add(totals);
    }
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.calls += other.calls;
        self.connections_received += other.connections_received;
        self.connections_rejected += other.connections_rejected;
        self.input_bytes += other.input_bytes;
        self.output_bytes += other.output_bytes;
        self.reads += other.reads;
        self.writes += other.writes;
        self.input_limit_disconnections += other.input_limit_disconnections;
        self.output_limit_disconnections += other.output_limit_disconnections;
        self.evicted_clients += other.evicted_clients;
        self.hits += other.hits;
        self.misses += other.misses;
        self.expired += other.expired;
        self.evicted += other.evicted;
    }
}

impl Figures {
    fn new(commands: usize) -> Figures {
        Figures { totals: Totals::default(), commands: (0..commands).map(|_| CommandFigures::new()).collect() }
    }
}

impl CommandFigures {
    fn new() -> CommandFigures {
        let latency_us = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are in order");
        CommandFigures { calls: 0, duration_us: 0, rejected: 0, failed: 0, latency_us }
    }

    fn add(&mut self, other: &CommandFigures) {
        self.rejected += other.rejected;
        if other.calls == 0 {
            return;
        }
        self.calls += other.calls;
        self.duration_us += other.duration_us;
        self.failed += other.failed;
        self.latency_us.add(&other.latency_us).expect("both histograms have the same bounds");
    }

    fn reset(&mut self) {
        (self.calls, self.duration_us, self.rejected, self.failed) = (0, 0, 0, 0);
        self.latency_us.reset();
    }
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 3] = ["get", "set", "config|get"];

    #[test]
    fn the_shards_are_added_up() {
        let metrics = Metrics::new(2, &NAMES);
        metrics.recorder(0).call(0, 10, Outcome::Done);
        metrics.recorder(1).call(0, 30, Outcome::Failed);
        metrics.recorder(7).rejected(2, 1);
        metrics.recorder(0).add(&Totals { hits: 1, input_bytes: 5, ..Totals::default() });
        metrics.recorder(1).add(&Totals { hits: 2, evicted: 3, ..Totals::default() });
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.totals, Totals { hits: 3, input_bytes: 5, evicted: 3, ..Totals::default() });
        let latency_us = Percentiles { p50: 10, p99: 30, p999: 30 };
        let get = CommandSnapshot { name: "get", calls: 2, duration_us: 40, rejected: 0, failed: 1, latency_us };
        let none = Percentiles::default();
        let config =
            CommandSnapshot { name: "config|get", calls: 0, duration_us: 0, rejected: 1, failed: 0, latency_us: none };
        assert_eq!(snapshot.commands, [get, config]);
        metrics.reset();
        assert_eq!(metrics.snapshot(), Snapshot::default());
    }

    #[test]
    fn the_distribution_of_times_doubles() {
        let metrics = Metrics::new(2, &NAMES);
        for (thread, us) in [1, 3, 3, 5, 100].into_iter().enumerate() {
            metrics.recorder(thread).call(0, us, Outcome::Done);
        }
        let at_most_us = vec![(2, 1), (4, 3), (8, 4), (128, 5)];
        assert_eq!(metrics.distribution(0), Some(Distribution { calls: 5, at_most_us }));
        assert_eq!(metrics.distribution(1), None);
    }

    #[test]
    fn errors_are_counted_by_code_up_to_a_bound() {
        let metrics = Metrics::new(1, &NAMES);
        metrics.errors("ERR", 2);
        (0..MOST_ERRORS * 2).for_each(|number| metrics.errors(&format!("E{number}"), 1));
        metrics.errors("ERR", 1);
        let errors = metrics.snapshot().errors;
        let count = |code: &str| errors.iter().find(|(known, _)| known == code).map(|&(_, count)| count);
        assert_eq!((errors.len(), count("ERR")), (MOST_ERRORS + 1, Some(3)));
        assert_eq!(count(OTHER_ERRORS), Some(MOST_ERRORS as u64 + 1));
        metrics.reset();
        assert_eq!(metrics.snapshot().errors, []);
    }

    #[test]
    fn a_batch_is_recorded_in_equal_parts() {
        let metrics = Metrics::new(1, &NAMES);
        metrics.recorder(0).calls(1, 4, 43, Outcome::Done);
        metrics.recorder(0).calls(1, 0, 0, Outcome::Done);
        let set = metrics.snapshot().commands[0].clone();
        assert_eq!((set.calls, set.duration_us, set.latency_us.p50), (4, 43, 10));
    }

    #[test]
    fn a_latency_beyond_the_range_counts_as_the_longest() {
        let metrics = Metrics::new(1, &NAMES);
        metrics.recorder(0).call(0, u64::MAX / 2, Outcome::Done);
        let get = metrics.snapshot().commands[0].clone();
        assert!(get.latency_us.p50 >= LONGEST_US && get.latency_us.p50 < LONGEST_US * 2);
    }

    proptest! {
        /// The sorted list of all latencies is the naive twin of the histogram.
        #[test]
        fn percentiles_are_within_one_percent(latencies in prop::collection::vec(1..LONGEST_US, 1..300)) {
            let metrics = Metrics::new(3, &NAMES);
            for (thread, &latency) in latencies.iter().enumerate() {
                metrics.recorder(thread).call(1, latency, Outcome::Done);
            }
            let found = metrics.snapshot().commands[0].latency_us;
            let mut sorted = latencies;
            sorted.sort_unstable();
            for (quantile, found) in [(0.5, found.p50), (0.99, found.p99), (0.999, found.p999)] {
                let rank = ((quantile * sorted.len() as f64).ceil() as usize).max(1);
                let wanted = sorted[rank - 1];
                prop_assert!(found.abs_diff(wanted) <= wanted / 100 + 1, "{found} is not about {wanted}");
            }
        }
    }
}

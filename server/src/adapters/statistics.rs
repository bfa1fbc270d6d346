//! What connections counted, into the metrics.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{
    metrics::{Metrics, Outcome, Totals},
    services::{Statistics, Tally},
};

/// Threads that have recorded so far.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The number of this thread, given when it first records. Threads of the runtime are made once and mostly before
    /// any other records, so each has a shard of the metrics to itself.
    static THREAD: usize = THREADS.fetch_add(1, Relaxed);
}

impl Statistics for Metrics {
    fn record(&self, tally: &Tally) {
        let mut recorder = self.recorder(THREAD.with(|&thread| thread));
        let mut calls_of_all = 0;
        for calls in &tally.calls {
            let (command, executed) =
                (usize::from(calls.command), u64::from(calls.succeeded) + u64::from(calls.failed));
            calls_of_all += executed;
            let failed_us = calls.duration_us * u64::from(calls.failed) / executed.max(1);
            recorder.calls(command, calls.succeeded.into(), calls.duration_us - failed_us, Outcome::Done);
            recorder.calls(command, calls.failed.into(), failed_us, Outcome::Failed);
            recorder.rejected(command, calls.rejected.into());
        }
        recorder.add(&Totals {
            calls: calls_of_all,
            input_bytes: tally.input_bytes,
            output_bytes: tally.output_bytes,
            reads: tally.reads,
            writes: tally.writes,
            input_limit_disconnections: tally.ended.input,
            output_limit_disconnections: tally.ended.output,
            evicted_clients: tally.ended.evicted,
            ..Totals::default()
        });
        drop(recorder);
        tally.errors.iter().for_each(|(code, count)| self.errors(code, *count));
    }

    fn connection(&self, accepted: bool) {
        let (connections_received, connections_rejected) = (u64::from(accepted), u64::from(!accepted));
        let totals = Totals { connections_received, connections_rejected, ..Totals::default() };
        self.recorder(THREAD.with(|&thread| thread)).add(&totals);
    }

    fn distribution(&self, command: u16) -> Option<(u64, Vec<(u64, u64)>)> {
        self.distribution(usize::from(command)).map(|found| (found.calls, found.at_most_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Calls;

    #[test]
    fn a_tally_of_any_thread_is_counted() {
        let metrics = Metrics::new(2, &["get", "set"]);
        let set = Calls { command: 1, succeeded: 3, failed: 1, rejected: 2, duration_us: 40 };
        let errors = vec![("ERR".into(), 3)];
        let (calls, input_bytes, output_bytes) = (vec![set], 7, 9);
        let tally = Tally { calls, errors, input_bytes, output_bytes, reads: 1, writes: 2, ..Tally::default() };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| metrics.record(&tally));
            }
        });
        metrics.connection(true);
        metrics.connection(false);
        let snapshot = metrics.snapshot();
        let totals = Totals { connections_received: 1, connections_rejected: 1, ..Totals::default() };
        let volume = Totals { calls: 12, input_bytes: 21, output_bytes: 27, reads: 3, writes: 6, ..totals };
        assert_eq!(snapshot.totals, volume);
        assert_eq!(snapshot.errors, [("ERR".to_owned(), 9)]);
        let set = &snapshot.commands[0];
        assert_eq!((set.name, set.calls, set.failed, set.rejected, set.duration_us), ("set", 12, 3, 6, 120));
        assert_eq!(set.latency_us.p50, 10);
    }
}

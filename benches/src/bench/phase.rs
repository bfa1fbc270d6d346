//! One phase of a run: threads, connections, a line per second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::connection::{Connection, Shared};
use super::keyspace::Keyspace;
use super::options::{Options, Reconnect};
use super::pace::{Clock, Pace};
use super::record::{Gap, Latencies, Recorder, Tally};
use super::report::{self, Outcome};
use super::targets::Targets;
use super::work::Work;

/// What a phase does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Writes every key once.
    Load,
    /// Reads and writes as the options say.
    Mixed,
    /// Reads every acknowledged key through the target of this number.
    Verify(usize),
}

/// Whether the run should end early.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Requested by SIGINT or SIGTERM.
    pub(super) fn on_signal() -> Result<Stop, String> {
        let stop = Stop::default();
        let requested = Arc::clone(&stop.0);
        let runtime = runtime()?;
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        drop(_entered);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            requested.store(true, Ordering::Relaxed);
        });
        Ok(stop)
    }

    pub(super) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs one phase to its end.
pub(super) fn run(phase: Phase, options: &Options, keyspace: &Arc<Keyspace>, stop: &Stop) -> Result<Outcome, String> {
    let shared = Arc::new(shared(phase, options, keyspace, stop));
    let recorders: Vec<_> = (0..options.threads).map(|_| Arc::new(Mutex::new(Recorder::default()))).collect();
    let (done, all_done) = channel::<()>();
    let mut threads = Vec::new();
    for (index, recorder) in recorders.iter().enumerate() {
        let (shared, recorder, options, done) =
            (Arc::clone(&shared), Arc::clone(recorder), options.clone(), done.clone());
        let runtime = runtime()?;
        threads.push(thread::spawn(move || {
            let result = runtime.block_on(connections(phase, index, &options, &shared, &recorder));
            drop(done);
            result
        }));
    }
    drop(done);
    let mut seconds = Seconds::new(phase, options, &recorders);
    while all_done.recv_timeout(seconds.left()) == Err(RecvTimeoutError::Timeout) {
        seconds.tick();
    }
    for thread in threads {
        thread.join().map_err(|_| "a thread of the generator panicked".to_owned())??;
    }
    Ok(seconds.finish(&shared))
}

/// The record of a phase, second by second.
struct Seconds<'a> {
    phase: Phase,
    options: &'a Options,
    recorders: &'a [Arc<Mutex<Recorder>>],
    began: Instant,
    ticks: u32,
    total: Latencies,
    errors: u64,
}

impl Seconds<'_> {
    fn new<'a>(phase: Phase, options: &'a Options, recorders: &'a [Arc<Mutex<Recorder>>]) -> Seconds<'a> {
        Seconds { phase, options, recorders, began: Instant::now(), ticks: 0, total: Latencies::default(), errors: 0 }
    }

    /// The time until the next line.
    fn left(&self) -> Duration {
        Duration::from_secs(u64::from(self.ticks) + 1).saturating_sub(self.began.elapsed())
    }

    fn tick(&mut self) {
        self.ticks += 1;
        let (mut latencies, tally) = self.collect();
        let errors = tally.errors() + tally.noreplicas + tally.bad_reads();
        if !self.options.quiet {
            report::second(self.options, self.ticks, &latencies, errors - self.errors);
        }
        self.errors = errors;
        self.total.take(&mut latencies);
    }

    fn collect(&self) -> (Latencies, Tally) {
        let (mut latencies, mut tally) = (Latencies::default(), Tally::default());
        for recorder in self.recorders {
            let mut recorder = recorder.lock();
            latencies.take(&mut recorder.interval);
            tally.add(&recorder.tally);
        }
        (latencies, tally)
    }

    fn finish(mut self, shared: &Shared) -> Outcome {
        let seconds = self.began.elapsed().as_secs_f64();
        let (mut latencies, tally) = self.collect();
        self.total.take(&mut latencies);
        let name = match self.phase {
            Phase::Load => "load".to_owned(),
            Phase::Mixed => "mixed".to_owned(),
            Phase::Verify(target) => format!("verify through {}", shared.targets.name(target)),
        };
        Outcome { name, seconds, latencies: self.total, tally, gap_ns: shared.gap.longest_ns() }
    }
}

fn shared(phase: Phase, options: &Options, keyspace: &Arc<Keyspace>, stop: &Stop) -> Shared {
    let targets = Targets {
        addresses: match phase {
            Phase::Verify(target) => vec![options.target[target].clone()],
            Phase::Load | Phase::Mixed => options.target.clone(),
        },
        password: options.password.clone(),
        limit: Duration::from_millis(options.timeout_ms),
    };
    let end = options.duration.filter(|_| phase == Phase::Mixed);
    Shared {
        keyspace: Arc::clone(keyspace),
        targets,
        clock: Clock::start(),
        gap: Gap::default(),
        // What was acknowledged before a signal is still verified.
        stop: if matches!(phase, Phase::Verify(_)) { Stop::default() } else { stop.clone() },
        end_ns: end.map_or(u64::MAX, |seconds| (seconds * 1e9) as u64),
        pipeline: options.pipeline,
        reconnect: if matches!(phase, Phase::Verify(_)) { Reconnect::Same } else { options.reconnect },
        give_up: phase != Phase::Mixed || options.duration.is_none(),
        expect_misses: options.expect_misses,
    }
}

/// Runs this thread's share of the connections.
async fn connections(
    phase: Phase,
    thread: usize,
    options: &Options,
    shared: &Arc<Shared>,
    recorder: &Arc<Mutex<Recorder>>,
) -> Result<(), String> {
    let mut running = JoinSet::new();
    for number in (thread..options.connections).step_by(options.threads) {
        let own = u32::try_from(number).expect("not more connections than keys");
        let all = u32::try_from(options.connections).expect("not more connections than keys");
        let keyspace = Arc::clone(&shared.keyspace);
        let (work, rate) = match phase {
            Phase::Load => (Work::load(keyspace, own, all), options.rate.filter(|_| options.load_only)),
            Phase::Verify(_) => (Work::verify(keyspace, own, all, options.acked_before), None),
            Phase::Mixed => (Work::mixed(keyspace, own, options), options.rate),
        };
        let pace = Pace::new(rate, number, options.connections).map_err(|error| format!("no timer: {error}"))?;
        running.spawn(Connection::new(Arc::clone(shared), Arc::clone(recorder), work, pace, number).run());
    }
    while let Some(joined) = running.join_next().await {
        joined.map_err(|error| format!("a connection ended with {error}"))?;
    }
    Ok(())
}

fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread().enable_all().build().map_err(|error| format!("no runtime: {error}"))
}

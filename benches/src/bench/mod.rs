//! A load generator that checks what it reads.
//!
//! ```text
//!  Options ─► Keyspace (per key: last version issued, last version acknowledged)
//!     │           ▲
//!     │           │ versions, verdicts
//!     └─► phases: load ─► mixed ─► verify through each target
//!                   │
//!                   └─► threads ─► connections: Work (which command) + Pace (when) ─► socket
//!                                       │
//!                                       └─► Recorder (one per thread) ─► a line per second, the summary
//! ```
//!
//! Three things set it apart from the usual tools.
//!
//! * **Latency from the intended start.** With `--rate` each command has a moment at which it should start, and its
//!   latency counts from there, also when the connection was still busy with an earlier one. A server that stalls
//!   for a second therefore shows as a second for *every* command that should have started within it, instead of
//!   for one. Gil Tene calls the usual mistake "coordinated omission".
//! * **Reads are checked.** Every value carries its key and a version. Each key is written by one connection only, so
//!   its versions are ordered, and the generator knows the last one acknowledged. A read is *stale* if its version
//!   is lower than one that was acknowledged before the read was sent, *lost* if the key is missing although a
//!   write of it was acknowledged, and *wrong* if the value belongs to another key or is malformed.
//! * **Nothing is retried.** A command without a reply is an error, and so is every error reply, counted by its code.
//!   `-NOREPLICAS` is counted apart, for it says that the cluster refused a promise, not that it broke one. Only a
//!   connection that the server closed *between* two commands is made again, elsewhere, without being an error.
//!
//! Caveats. A write without a reply may still take effect later; it is never the acknowledged version, so a read may
//! return it or not. Where a hot key is chosen for writing, the choice is rounded to a key of the connection's own,
//! so writes are spread over groups of as many keys as there are connections. Keys that expire or are evicted look
//! lost: pass `--expect-misses` where that is meant to happen.

mod connection;
mod keyspace;
mod options;
mod pace;
mod phase;
mod record;
mod report;
mod state;
mod targets;
mod wire;
mod work;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use keyspace::Keyspace;
use options::Options;
use phase::{Phase, Stop};
use report::Summary;

/// Reads the command line, runs, prints, and says with the exit code whether everything was as it should be: 0 if so,
/// 1 if reads were lost, stale or wrong or errors were more than allowed, 2 if the options make no sense.
pub fn run_cli() -> ExitCode {
    let options = Options::parse();
    match options.checked().and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("circlet-bench: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> Result<bool, String> {
    let keyspace = keyspace(&options)?;
    let stop = Stop::on_signal()?;
    let mut summary = Summary::default();
    for phase in phases(&options) {
        if !stop.requested() || matches!(phase, Phase::Verify(_)) {
            summary.add(phase::run(phase, &options, &keyspace, &stop)?);
        }
    }
    if let Some(path) = options.state.as_deref().filter(|_| !options.verify_only) {
        state::write(path, &keyspace)?;
    }
    summary.print(&options);
    Ok(summary.passed(&options))
}

fn keyspace(options: &Options) -> Result<Arc<Keyspace>, String> {
    match options.state.as_deref() {
        Some(path) if !options.load_only && (options.verify_only || path.exists()) => state::read(path, options),
        _ => Ok(Arc::new(Keyspace::new(&options.prefix, options.keys, options.value_size))),
    }
}

fn phases(options: &Options) -> Vec<Phase> {
    let load = (options.load || options.load_only).then_some(Phase::Load);
    let mixed = (!options.load_only && !options.verify_only).then_some(Phase::Mixed);
    let verify = (options.verify || options.verify_only)
        .then(|| (0..options.target.len()).map(Phase::Verify))
        .into_iter()
        .flatten();
    load.into_iter().chain(mixed).chain(verify).collect()
}

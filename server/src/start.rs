//! From the command line to running nodes and back to an exit code.
//!
//! ```text
//!   arguments ─► config::parse ─► Start (config, identity, listeners, seed) ─► nodes ─► exit code
//!                     │                │                                         │
//!                     └ 2: bad value   └ 1: port in use                          └ 0: left, 1: failed,
//!                                                                                  2: identity taken
//! ```
//!
//! It is a function of the library so that another program, such as a test's, can be a node as well. The seed is an
//! argument: all randomness of a node follows from it.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    pin::pin,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    config::{self, Asked, Config, ConfigError, Identity, Machine, Refused},
    control::Ended,
    dev, health,
    listeners::Listeners,
    logging, node, process, seed,
};

/// One node about to run: what it is told to be, who it is, and its listeners, bound.
#[derive(Debug)]
pub struct Start {
    /// What it is told to be.
    pub config: Config,
    /// Who it is. It must live as long as the node.
    pub identity: Identity,
    /// Its listeners.
    pub listeners: Listeners,
    /// Where its randomness comes from.
    pub seed: u64,
}

/// Does what the arguments (the program's name first) and the environment ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>, seed: u64) -> ExitCode {
    let asked = config::parse(arguments, &|name| env::var_os(name), &Machine::here());
    let done = match asked {
        Ok(Asked::Server(config)) => server(*config, seed),
        Ok(Asked::Dev { nodes, config }) => local_cluster(nodes, &config, seed),
        Ok(Asked::Health { host, port }) => healthy(&host, port),
        Err(Refused::Told(text)) => tell(&text),
        Err(Refused::Bad(error)) => Err(Failure::Config(error)),
    };
    let Err(failure) = done else { return ExitCode::SUCCESS };
    logging::last_word(&failure.to_string());
    ExitCode::from(match failure {
        Failure::Config(_) | Failure::Identity(_) => 2,
        Failure::Running(_) => 1,
    })
}

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It was told something that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What it was told cannot be done here and now.
    #[error("{0}")]
    Running(String),
    /// It must not run under its identity.
    #[error("{0}")]
    Identity(String),
}

impl Failure {
    fn running(error: impl ToString) -> Failure {
        Failure::Running(error.to_string())
    }
}

fn tell(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(Failure::running)
}

fn server(config: Config, seed: u64) -> Result<(), Failure> {
    let identity = Identity::settle(config.node_id, config.data_dir.as_deref(), seed::identity(seed, "node"))?;
    let listeners = Listeners::bind(config.bind, config.ports).map_err(Failure::running)?;
    run_nodes(vec![Start { config, identity, listeners, seed }])
}

fn local_cluster(nodes: usize, config: &Config, seed: u64) -> Result<(), Failure> {
    run_nodes(dev::starts(nodes, config, seed).map_err(Failure::running)?)
}

fn healthy(host: &str, port: u16) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::running)?;
    runtime.block_on(health::check(host, port)).map_err(Failure::Running)
}

/// Runs nodes that have all but their addresses in common until they have left.
fn run_nodes(mut starts: Vec<Start>) -> Result<(), Failure> {
    let Some(first) = starts.first() else { return Ok(()) };
    logging::start(first.config.log_level, first.config.log_format).map_err(Failure::running)?;
    logging::abort_on_panic();
    if !process::give_back_when_idle() {
        tracing::debug!("the allocator gives memory back only while some is asked for");
    }
    let runtime = runtime(first.config.threads).map_err(Failure::running)?;
    make_room_for_clients(&mut starts);
    runtime.block_on(until_left(starts)).map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Ended::GaveWay(why)) => Failure::Identity(why.clone()),
        _ => Failure::running(error),
    })
}

/// Serves until a signal comes, then lets the nodes leave; a second signal ends everything at once.
async fn until_left(starts: Vec<Start>) -> io::Result<()> {
    // Before the first address is told: whoever reads one may send a signal.
    let mut signals = Signals::new()?;
    for start in &starts {
        // Whoever closed standard output does not want to read it; the node serves all the same.
        let _ = start.listeners.addresses()?.announce(&mut io::stdout());
    }
    let (leave, asked_to_leave) = watch::channel(false);
    let mut serving = pin!(serve(starts, asked_to_leave));
    tokio::select! {
        done = &mut serving => return done,
        () = signals.next() => leave.send_replace(true),
    };
    tracing::info!("leaving; a second signal ends at once");
    tokio::select! {
        done = &mut serving => done,
        () = signals.next() => Err(io::Error::other("ended by a second signal, before the node had left")),
    }
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).thread_name("circlet").enable_all().build()
}

/// Raises the limit on open files to what the clients need, or lowers the number of clients to what it allows.
fn make_room_for_clients(starts: &mut [Start]) {
    let wanted = |start: &Start| start.config.maxclients as u64 + process::FILES_BESIDE_CLIENTS;
    let needed = starts.iter().map(wanted).sum();
    let allowed = match process::raise_open_files(needed) {
        Ok(allowed) if allowed >= needed => return,
        Ok(allowed) => allowed,
        Err(error) => return tracing::warn!(%error, "the limit on open files cannot be read"),
    };
    let for_clients = (allowed / starts.len() as u64).saturating_sub(process::FILES_BESIDE_CLIENTS).max(1);
    tracing::warn!(allowed, needed, for_clients, "fewer open files are allowed than maxclients needs: it is lowered");
    for start in starts {
        start.config.maxclients = start.config.maxclients.min(for_clients as usize);
    }
}

/// The signals that ask a program to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs the nodes until they have left; the first that fails ends all.
async fn serve(starts: Vec<Start>, leave: watch::Receiver<bool>) -> io::Result<()> {
    let waiting = Arc::new(AtomicUsize::new(starts.len()));
    let mut nodes = JoinSet::new();
    for start in starts {
        let waiting = waiting.clone();
        // The line comes when the last of them is ready.
        let ready = move || {
            if waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
                // Whoever closed standard output does not want to read it.
                let _ = writeln!(io::stdout(), "ready");
            }
        };
        nodes.spawn(node::run(start, leave.clone(), ready));
    }
    while let Some(ended) = nodes.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

//! Real nodes as processes: started on free ports, waited for by what they print, stopped in every way there is.
//!
//! ```no_run
//! # use circlet_tests::process::{Cluster, NodeOptions};
//! # let binary = "circlet";
//! let mut cluster = Cluster::start(3, &NodeOptions::new(binary).flag("--replicas", "2"));
//! cluster.node(0).connect().line("SET key value").expect("a reply");
//! cluster.node(2).kill();
//! cluster.join();
//! ```
//!
//! A node prints `listening <what> <address>` for each of its listeners and `ready` when every slot that it should
//! serve is served. These lines are the events that a test waits for, always with a deadline; when one is missed, the
//! panic shows the end of what the node wrote to standard error. Dropping a node kills it.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::resp::Client;

/// How long a node may take for anything that it announces. Generous: many tests share few cores.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Lines of standard error that are kept for the panic message.
const TAIL_LINES: usize = 60;
/// The listeners of a node, as it names them.
const LISTENERS: [&str; 4] = ["client", "cluster", "peer", "admin"];

/// The binary that the tests of this package start: the one built with them, or another one named by
/// `CIRCLET_BINARY`.
#[macro_export]
macro_rules! node_binary {
    () => {
        ::std::env::var_os("CIRCLET_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_circlet-under-test").into())
    };
}

/// How a node is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    binary: PathBuf,
    flags: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl NodeOptions {
    /// `circlet server` of this binary, on loopback and free ports.
    pub fn new(binary: impl Into<PathBuf>) -> NodeOptions {
        let options = NodeOptions { binary: binary.into(), flags: vec!["server".into()], environment: Vec::new() };
        ["--port", "--cluster-port", "--peer-port", "--admin-port"]
            .iter()
            .fold(options.flag("--bind", "127.0.0.1"), |options, port| options.flag(port, "0"))
    }

    /// Another program that prints the same lines, with nothing added to its arguments.
    pub fn program(program: impl Into<PathBuf>, arguments: &[&str]) -> NodeOptions {
        let flags = arguments.iter().map(OsString::from).collect();
        NodeOptions { binary: program.into(), flags, environment: Vec::new() }
    }

    /// With this flag.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> NodeOptions {
        self.flags.extend([name.into(), value.into()]);
        self
    }

    /// With this environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> NodeOptions {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With the peers to ask for the others.
    #[must_use]
    pub fn seeds(self, peers: &[SocketAddr]) -> NodeOptions {
        if peers.is_empty() {
            return self;
        }
        let seeds: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
        self.flag("--seeds", &seeds.join(","))
    }

    /// Starts the process and waits until it listens everywhere.
    pub fn start(&self) -> Node {
        let mut node = self.spawn();
        node.wait_listening();
        node
    }

    /// Starts the process and waits for nothing.
    pub fn spawn(&self) -> Node {
        let mut child = Command::new(&self.binary)
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        let (sender, events) = channel();
        let tail = Tail::default();
        let readers = vec![
            read_events(child.stdout.take().expect("piped above"), sender),
            tail.read(child.stderr.take().expect("piped above")),
        ];
        Node { child, events, readers, tail, addresses: BTreeMap::new(), ready: false, exited: None }
    }
}

/// A running node, or one that was.
#[derive(Debug)]
pub struct Node {
    child: Child,
    events: Receiver<Event>,
    readers: Vec<JoinHandle<()>>,
    tail: Tail,
    addresses: BTreeMap<String, SocketAddr>,
    ready: bool,
    exited: Option<ExitStatus>,
}

/// What a node told us on standard output.
#[derive(Debug)]
enum Event {
    Listening(String, SocketAddr),
    Ready,
    Other,
    End,
}

impl Node {
    /// Where any client connects.
    pub fn client(&self) -> SocketAddr {
        self.address("client")
    }

    /// Where cluster-aware clients connect.
    pub fn cluster(&self) -> SocketAddr {
        self.address("cluster")
    }

    /// Where other nodes connect.
    pub fn peer(&self) -> SocketAddr {
        self.address("peer")
    }

    /// Where health and metrics are.
    pub fn admin(&self) -> SocketAddr {
        self.address("admin")
    }

    /// A connection to the client port.
    pub fn connect(&self) -> Client {
        Client::connect(self.client()).unwrap_or_else(|error| self.fail(&format!("refused a client: {error}")))
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until every listener is announced.
    pub fn wait_listening(&mut self) {
        self.wait("listened everywhere", |node| LISTENERS.iter().all(|what| node.addresses.contains_key(*what)));
    }

    /// Waits until the node serves every slot it should.
    pub fn wait_ready(&mut self) {
        self.wait("was ready", |node| node.ready);
    }

    /// Whether the process has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.exited.is_none() && matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait_exit(DEADLINE)
    }

    /// SIGTERM: the node should leave gracefully.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: the node is there and does nothing, as under a long pause of its machine. Waits until it does: threads that
    /// are at work go on for a moment.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        if self.exited.is_none() {
            let stopped = waitid(WaitId::Pid(Pid::from_child(&self.child)), WaitIdOptions::STOPPED);
            stopped.unwrap_or_else(|error| self.fail(&format!("cannot be waited for: {error}")));
        }
    }

    /// SIGCONT after [`Node::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for the end of the process.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        if let Some(status) = self.exited {
            return status;
        }
        let until = Instant::now() + limit;
        while !matches!(self.next_event(until, "ended"), Event::End) {}
        let status = self.child.wait().unwrap_or_else(|error| self.fail(&format!("cannot be waited for: {error}")));
        self.exited = Some(status);
        status
    }

    /// The end of what the node wrote to standard error.
    pub fn stderr_tail(&self) -> String {
        self.tail.text()
    }

    fn address(&self, what: &str) -> SocketAddr {
        *self.addresses.get(what).unwrap_or_else(|| self.fail(&format!("does not listen for {what}")))
    }

    fn signal(&self, signal: Signal) {
        // A process that was waited for has given its number back, and another one may have it.
        if self.exited.is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).unwrap_or_else(|error| self.fail(&format!("takes no signal: {error}")));
        }
    }

    fn wait(&mut self, what: &str, done: impl Fn(&Node) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !done(self) {
            match self.next_event(until, what) {
                Event::Listening(what, address) => drop(self.addresses.insert(what, address)),
                Event::Ready => self.ready = true,
                Event::Other => {}
                Event::End => {
                    let status = self.wait_end();
                    self.fail(&format!("ended with {status} before it {what}"));
                }
            }
        }
    }

    fn wait_end(&mut self) -> String {
        self.exited = self.child.wait().ok();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        self.exited.map_or_else(|| "an unknown status".to_owned(), |status| status.to_string())
    }

    fn next_event(&self, until: Instant, what: &str) -> Event {
        match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(event) => event,
            Err(RecvTimeoutError::Disconnected) => Event::End,
            Err(RecvTimeoutError::Timeout) => self.fail(&format!("has not {what} in time")),
        }
    }

    fn fail(&self, problem: &str) -> ! {
        panic!("node {} {problem}; its standard error ends so:\n{}", self.pid(), self.tail.text())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.exited.is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Nodes that know each other.
#[derive(Debug)]
pub struct Cluster {
    options: NodeOptions,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts this many nodes and waits until each is ready.
    pub fn start(count: usize, options: &NodeOptions) -> Cluster {
        let mut cluster = Cluster { options: options.clone(), nodes: Vec::new() };
        for _ in 0..count {
            cluster.spawn();
        }
        cluster.wait_ready();
        cluster
    }

    /// Starts another node and waits until it is ready.
    pub fn join(&mut self) -> &mut Node {
        let node = self.spawn();
        node.wait_ready();
        node
    }

    /// Starts a node of other options and waits until it is ready; its number.
    pub fn add(&mut self, options: &NodeOptions) -> usize {
        self.nodes.push(options.start());
        let number = self.nodes.len() - 1;
        self.nodes[number].wait_ready();
        number
    }

    /// Starts another node and waits only until it listens.
    pub fn spawn(&mut self) -> &mut Node {
        let peers: Vec<SocketAddr> =
            self.nodes.iter_mut().filter(|node| node.exited.is_none()).map(|node| node.peer()).collect();
        self.nodes.push(self.options.clone().seeds(&peers).start());
        self.nodes.last_mut().expect("pushed above")
    }

    /// Waits until every running node is ready.
    pub fn wait_ready(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.exited.is_none()) {
            node.wait_ready();
        }
    }

    /// The node of this number, in the order of starting, also if it ended since.
    pub fn node(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number]
    }

    /// The nodes that run.
    pub fn running(&mut self) -> Vec<&mut Node> {
        self.nodes.iter_mut().filter_map(|node| node.is_running().then_some(node)).collect()
    }

    /// The client addresses of the nodes that run, as `circlet-bench --target` takes them.
    pub fn targets(&mut self) -> String {
        let addresses: Vec<String> = self.running().iter().map(|node| node.client().to_string()).collect();
        addresses.join(",")
    }
}

/// The last lines of a stream, kept by a thread that reads it to its end.
#[derive(Clone, Default, Debug)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn read(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let tail = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let mut lines = tail.0.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == TAIL_LINES {
                    lines.pop_front();
                }
                lines.push_back(String::from_utf8_lossy(&line).into_owned());
            }
        })
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("    {line}\n")).collect()
    }
}

/// Reads standard output to its end, so that the node never blocks on it.
fn read_events(stream: impl Read + Send + 'static, events: Sender<Event>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            drop(events.send(event(&String::from_utf8_lossy(&line))));
        }
        drop(events.send(Event::End));
    })
}

fn event(line: &str) -> Event {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["ready"] => Event::Ready,
        ["listening", what, address] => match address.parse() {
            Ok(address) => Event::Listening(what.to_owned(), address),
            Err(_) => Event::Other,
        },
        _ => Event::Other,
    }
}

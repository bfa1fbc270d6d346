//! The two servers: Valkey as the reference, and one node or three of circlet.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use super::Options;
use crate::process::{Cluster, DEADLINE, NodeOptions};

/// A free port may be taken by somebody else before Valkey binds it; then another one is tried.
const ATTEMPTS: usize = 5;

/// A Valkey that is killed when dropped.
#[derive(Debug)]
pub(super) struct Valkey {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Valkey {
    /// Starts the program on a free port with this many databases and waits until it accepts connections.
    pub(super) fn start(program: &Path, databases: u32) -> Result<Valkey, String> {
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            match Valkey::try_start(program, databases) {
                Ok(valkey) => return Ok(valkey),
                Err(error) => problem = error,
            }
        }
        Err(format!("{} does not start: {problem}", program.display()))
    }

    fn try_start(program: &Path, databases: u32) -> Result<Valkey, String> {
        let address = free_address().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "local", "--databases", &databases.to_string()])
            .args(["--slowlog-log-slower-than", "-1", "--daemonize", "no"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let output = child.stdout.take().expect("piped above");
        let mut valkey = Valkey { child, address };
        let (sender, ready) = channel();
        // Reads to the end, so that the server never blocks on its log.
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if line.windows(5).any(|word| word == b"Ready") {
                    // Nobody listens any more once it is ready.
                    let _ = sender.send(());
                }
            }
        });
        match ready.recv_timeout(DEADLINE) {
            Ok(()) => Ok(valkey),
            Err(_) => Err(format!("it ended or was not ready in time: {:?}", valkey.child.try_wait())),
        }
    }

    /// Whether it is still there.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// What is compared with Valkey.
#[derive(Debug)]
pub(super) enum Rival {
    Circlet(Cluster),
    /// For the self-test.
    Valkey(Valkey),
}

impl Rival {
    /// Starts it: one node with a single copy of each slot, or several with the default.
    pub(super) fn start(options: &Options) -> Result<Rival, String> {
        if options.self_test {
            return Valkey::start(&options.valkey, options.databases).map(Rival::Valkey);
        }
        let (nodes, node) =
            (usize::from(options.nodes), NodeOptions::new(options.circlet()?).flag("--enable-debug-command", "local"));
        Ok(Rival::Circlet(Cluster::start(nodes, &if nodes == 1 { node.flag("--replicas", "1") } else { node })))
    }

    /// Where its nodes take commands.
    pub(super) fn addresses(&mut self) -> Vec<SocketAddr> {
        match self {
            Rival::Circlet(cluster) => cluster.running().iter().map(|node| node.client()).collect(),
            Rival::Valkey(valkey) => vec![valkey.address],
        }
    }

    /// How many of its nodes are still there.
    pub(super) fn running(&mut self) -> usize {
        match self {
            Rival::Circlet(cluster) => cluster.running().len(),
            Rival::Valkey(valkey) => usize::from(valkey.is_running()),
        }
    }
}

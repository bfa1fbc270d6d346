//! Nodes on hosts of a network.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use super::{network::Network, run::Setup};
use crate::{
    process::{Node, NodeOptions},
    resp::{Client, Value},
};

const CLIENT_PORT: u16 = 6379;
const PEER_PORT: u16 = 7946;

/// How long a node may take to end gracefully.
const LEAVE: Duration = Duration::from_secs(60);

/// Nodes, each on a host of its own. A node that is started again on its host is the same one.
pub(super) struct Hosts {
    setup: Setup,
    pub(super) network: Network,
    nodes: Vec<Option<Node>>,
    data: PathBuf,
}

impl Hosts {
    /// A network and the nodes of the setup, ready.
    pub(super) fn start(setup: &Setup) -> Result<Hosts, String> {
        let data = std::env::temp_dir().join(format!("circlet-chaos-{}", process::id()));
        fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        let mut hosts = Hosts { setup: setup.clone(), network: Network::new()?, nodes: Vec::new(), data };
        for _ in 0..setup.nodes {
            hosts.add()?;
        }
        (0..setup.nodes).for_each(|host| hosts.wait_ready(host));
        Ok(hosts)
    }

    /// Starts a node on a new host, and waits until it listens; the host.
    pub(super) fn add(&mut self) -> Result<usize, String> {
        let host = self.network.add()?;
        self.nodes.push(None);
        self.run(host);
        Ok(host)
    }

    /// Starts the node of this host, and waits until it listens.
    pub(super) fn run(&mut self, host: usize) {
        let seeds: Vec<String> = self
            .running()
            .iter()
            .map(|&other| SocketAddr::new(Network::address(other).into(), PEER_PORT).to_string())
            .collect();
        let (space, address) = (Network::space(host), Network::address(host).to_string());
        let (replicas, acks) = (self.setup.replicas.to_string(), self.setup.acks.to_string());
        let (client_port, peer_port) = (CLIENT_PORT.to_string(), PEER_PORT.to_string());
        let data = self.data.join(host.to_string());
        let (binary, data) = (self.setup.binary.to_string_lossy(), data.to_string_lossy());
        let flags = [
            ("--bind", &*address),
            ("--port", &client_port),
            ("--peer-port", &peer_port),
            ("--replicas", &replicas),
            ("--write-acks", &acks),
            ("--partition", self.setup.partition.name()),
            ("--protected-mode", "no"),
            ("--data-dir", &data),
        ];
        let mut options = NodeOptions::program("ip", &["netns", "exec", &space, &binary, "server"]);
        for (name, value) in flags {
            options = options.flag(name, value);
        }
        if !seeds.is_empty() {
            options = options.flag("--seeds", &seeds.join(","));
        }
        self.nodes[host] = Some(options.start());
    }

    pub(super) fn wait_ready(&mut self, host: usize) {
        if let Some(node) = &mut self.nodes[host] {
            node.wait_ready();
        }
    }

    /// The hosts whose nodes run.
    pub(super) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&host| self.nodes[host].is_some()).collect()
    }

    pub(super) fn client(host: usize) -> SocketAddr {
        SocketAddr::new(Network::address(host).into(), CLIENT_PORT)
    }

    pub(super) fn kill(&mut self, host: usize) {
        if let Some(mut node) = self.nodes[host].take() {
            node.kill();
        }
    }

    /// Asks the node to leave, and waits until it has.
    pub(super) fn leave(&mut self, host: usize) -> Result<(), String> {
        let Some(mut node) = self.nodes[host].take() else { return Ok(()) };
        node.terminate();
        let status = node.wait_exit(LEAVE);
        if status.success() { Ok(()) } else { Err(format!("host {host} left with {status}:\n{}", node.stderr_tail())) }
    }

    pub(super) fn pause(&self, host: usize) {
        self.nodes[host].iter().for_each(Node::pause);
    }

    pub(super) fn resume(&self, host: usize) {
        self.nodes[host].iter().for_each(Node::resume);
    }

    /// The node's answer to a line.
    pub(super) fn ask(host: usize, line: &str) -> Result<Value, String> {
        let wrong = |error: std::io::Error| format!("host {host}: {line}: {error}");
        Client::connect(Hosts::client(host)).and_then(|mut client| client.line(line)).map_err(wrong)
    }

    /// Waits until this node has proved that all copies are the same and that there are as many as there should be; how
    /// long that took. Else what it said last.
    pub(super) fn wait_clean(host: usize, limit: Duration) -> Result<Duration, String> {
        let began = Instant::now();
        loop {
            let said = match Hosts::ask(host, "CLUSTER VERIFY") {
                Ok(value) => value.text().map(str::to_owned).unwrap_or_else(|| format!("{value:?}")),
                Err(problem) => problem,
            };
            if said.contains("verify_state:clean") {
                return Ok(began.elapsed());
            }
            if began.elapsed() > limit {
                return Err(said);
            }
            // There is no event for it: what is asked for is that a question is answered in some way.
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The ends of what the nodes wrote to standard error.
    pub(super) fn logs(&self) -> String {
        let text = |host: usize| self.nodes[host].as_ref().map(|node| format!("host {host}:\n{}", node.stderr_tail()));
        (0..self.nodes.len()).filter_map(text).collect()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // Before the network, which the nodes are in.
        self.nodes.clear();
        if let Err(error) = fs::remove_dir_all(&self.data) {
            eprintln!("{}: {error}", self.data.display());
        }
    }
}

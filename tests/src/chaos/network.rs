//! Hosts without machines: network namespaces on a bridge, and rules that lose or cut what goes between them.

use std::{
    net::Ipv4Addr,
    process::{Command, id},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The first three bytes of every address.
const NET: [u8; 3] = [10, 77, 0];
const BRIDGE: &str = "hub";

/// Hosts on a bridge. They are gone when it is dropped.
#[derive(Debug)]
pub(super) struct Network {
    hosts: usize,
    /// The kernel takes interfaces away some time after their namespace, so each network has names of its own.
    number: usize,
}

static NETWORKS: AtomicUsize = AtomicUsize::new(0);

impl Network {
    /// An empty network. It needs a namespace of its own, so that nothing of it meets the machine's own rules.
    pub(super) fn new() -> Result<Network, String> {
        // The loopback of a new namespace is down.
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        let network = Network { hosts: 0, number: NETWORKS.fetch_add(1, Relaxed) };
        ip(&["addr", "add", &format!("{}/24", address(254)), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        Ok(network)
    }

    /// Adds a host; its number.
    pub(super) fn add(&mut self) -> Result<usize, String> {
        let host = self.hosts;
        let (space, outer) = (Network::space(host), format!("host{}-{host}", self.number));
        ip(&["netns", "add", &space])?;
        self.hosts += 1;
        ip(&["link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &space])?;
        ip(&["link", "set", &outer, "master", BRIDGE, "up"])?;
        let inside = |arguments: &[&str]| ip(&[&["-n", &space], arguments].concat());
        inside(&["addr", "add", &format!("{}/24", Network::address(host)), "dev", "eth0"])?;
        inside(&["link", "set", "eth0", "up"])?;
        inside(&["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// The name of a host's namespace.
    pub(super) fn space(host: usize) -> String {
        format!("circlet-{}-{host}", id())
    }

    /// Where a host is.
    pub(super) fn address(host: usize) -> Ipv4Addr {
        address(host as u8 + 1)
    }

    /// Nothing that one host sends arrives at the other any more. What the other sends does.
    pub(super) fn cut(&self, from: usize, to: usize) -> Result<(), String> {
        rule(to, &["-A", "INPUT", "-s", &Network::address(from).to_string(), "-j", "DROP"])
    }

    /// Of what arrives at any host from any other, so many of a hundred packets are lost.
    pub(super) fn lose(&self, percent: u32) -> Result<(), String> {
        let probability = format!("0.{percent:02}");
        for (to, from) in self.pairs() {
            let from = Network::address(from).to_string();
            rule(
                to,
                &[
                    "-A",
                    "INPUT",
                    "-s",
                    &from,
                    "-m",
                    "statistic",
                    "--mode",
                    "random",
                    "--probability",
                    &probability,
                    "-j",
                    "DROP",
                ],
            )?;
        }
        Ok(())
    }

    /// Everything arrives again.
    pub(super) fn heal(&self) -> Result<(), String> {
        (0..self.hosts).try_for_each(|host| rule(host, &["-F", "INPUT"]))
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let hosts = self.hosts;
        (0..hosts).flat_map(move |to| (0..hosts).filter(move |from| *from != to).map(move |from| (to, from)))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let spaces = (0..self.hosts).map(|host| ip(&["netns", "del", &Network::space(host)]));
        for result in spaces.chain([ip(&["link", "del", BRIDGE])]) {
            if let Err(problem) = result {
                eprintln!("{problem}");
            }
        }
    }
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(NET[0], NET[1], NET[2], last)
}

fn rule(host: usize, arguments: &[&str]) -> Result<(), String> {
    ip(&[&["netns", "exec", &Network::space(host), "iptables", "-w"], arguments].concat())
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let text = format!("ip {}", arguments.join(" "));
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("{text}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{text}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

//! `circlet dev`: a whole local cluster in one process.
//!
//! Nothing is different from separate processes but that they share one: each node has listeners, an identity and a
//! store of its own and talks to the others through sockets. All listeners are bound before the first node starts, so
//! that every node can be told where all the others are.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use crate::{
    config::{Config, Endpoint, Identity, Ports},
    listeners::{BindError, Listeners},
    seed,
    start::Start,
};

/// How far the ports for cluster-aware clients are from the others.
const CLUSTER_PORT_DISTANCE: u16 = 1000;

/// Why a local cluster does not start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A port is taken.
    #[error("node {node} of circlet dev: {source} (--port N moves all of them)")]
    Bind {
        /// The node, counted from 0.
        node: usize,
        /// What is wrong.
        source: BindError,
    },
    /// The operating system does not say what was bound.
    #[error(transparent)]
    Address(#[from] io::Error),
}

/// Binds the listeners of so many nodes and makes each a seed of all the others.
pub fn starts(nodes: usize, common: &Config, seed: u64) -> Result<Vec<Start>, DevError> {
    let bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let bound: Vec<Listeners> = (0..nodes)
        .map(|node| {
            let ports = ports(common.ports.client, node as u16);
            Listeners::bind(bind, ports).map_err(|source| DevError::Bind { node, source })
        })
        .collect::<Result<_, _>>()?;
    let peers: Vec<Endpoint> = bound
        .iter()
        .map(|listeners| {
            let address = listeners.peer.local_addr()?;
            Ok(Endpoint { host: address.ip().to_string(), port: address.port() })
        })
        .collect::<io::Result<_>>()?;
    Ok(bound.into_iter().enumerate().map(|(node, listeners)| start(node, listeners, &peers, common, seed)).collect())
}

fn start(node: usize, listeners: Listeners, peers: &[Endpoint], common: &Config, seed: u64) -> Start {
    let seed = seed.wrapping_add(node as u64);
    let others = peers.iter().enumerate().filter(|(other, _)| *other != node).map(|(_, peer)| peer.clone());
    let config = Config {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: ports(common.ports.client, node as u16),
        seeds: others.collect(),
        ..common.clone()
    };
    Start { config, identity: Identity::drawn(seed::identity(seed, "node")), listeners, seed }
}

fn ports(first: u16, node: u16) -> Ports {
    let (client, cluster) = match first {
        0 => (0, 0),
        first => (first + node, first + CLUSTER_PORT_DISTANCE + node),
    };
    Ports { client, cluster, peer: 0, admin: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Asked, Machine, parse};
    use std::{collections::BTreeSet, ffi::OsString};

    fn common(port: u16) -> Config {
        let line = ["circlet", "dev", "--port", &port.to_string()].map(OsString::from);
        match parse(line, &|_| None, &Machine { memory_bytes: None, cores: 1 }) {
            Ok(Asked::Dev { config, .. }) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_node_knows_all_the_others() {
        let starts = starts(3, &common(0), 7).unwrap();
        let peer = |start: &Start| start.listeners.peer.local_addr().unwrap().to_string();
        let all: BTreeSet<String> = starts.iter().map(peer).collect();
        for start in &starts {
            let mut known: BTreeSet<String> = start.config.seeds.iter().map(Endpoint::to_string).collect();
            assert!(known.insert(peer(start)), "a node is no seed of itself");
            assert_eq!(known, all);
        }
        assert_eq!(starts.iter().map(|start| start.identity.node_id).collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn ports_follow_from_the_first() {
        assert_eq!(ports(6379, 2), Ports { client: 6381, cluster: 7381, peer: 0, admin: 0 });
        assert_eq!(ports(0, 2), Ports { client: 0, cluster: 0, peer: 0, admin: 0 });
    }

    #[test]
    fn a_port_in_use_is_said_with_what_to_do() {
        let taken = starts(1, &common(0), 7).unwrap();
        let port = taken[0].listeners.client.local_addr().unwrap().port().min(64_000);
        let _also_taken = std::net::TcpListener::bind(("127.0.0.1", port));
        let error = starts(1, &common(port), 7).unwrap_err().to_string();
        assert!(error.starts_with(&format!("node 0 of circlet dev: --port {port}: cannot listen on 127.0.0.1:{port}")));
        assert!(error.ends_with("(--port N moves all of them)"), "{error}");
    }
}

//! The links to all peers.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use ring::id::{MAX_PEERS, Peer};
use tokio::net::TcpStream;

use super::{
    flight::Flight,
    frame::{BULK, Head},
    link::{Link, Outgoing, Refused},
};

/// Bytes of requests that may be under way on one link.
const MAX_BYTES: usize = 64 << 20;

/// Opens an authenticated connection to a peer's port for other nodes.
pub(crate) type Open = dyn Fn() -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync;

/// Connections for requests that other nodes are to execute: to each peer a few, and one for large frames.
///
/// A connection of a client always uses the same one of the few, chosen by its number, so that its requests to one
/// peer stay in order without anybody sorting them.
pub struct Links {
    links_per_peer: usize,
    peers: RwLock<Vec<Option<Arc<PeerLinks>>>>,
    losses: AtomicU64,
}

pub(crate) struct PeerLinks {
    small: Vec<Arc<Link>>,
    bulk: Arc<Link>,
}

impl Links {
    /// No links; to each peer there will be so many, and one for large frames.
    pub fn new(links_per_peer: usize) -> Links {
        Links {
            links_per_peer: links_per_peer.max(1),
            peers: RwLock::new(vec![None; MAX_PEERS]),
            losses: AtomicU64::new(0),
        }
    }

    /// A session with this peer is up. The connections are opened when they are needed.
    pub fn connect(
        &self,
        peer: Peer,
        open: impl Fn() -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync + 'static,
    ) {
        let open: Arc<Open> = Arc::new(open);
        let link = || Link::new(open.clone(), MAX_BYTES);
        let links = PeerLinks { small: (0..self.links_per_peer).map(|_| link()).collect(), bulk: link() };
        self.replace(peer, Some(Arc::new(links)));
    }

    /// The session with this peer is over. What was sent there has an unknown outcome; what was not is not executed.
    pub fn disconnect(&self, peer: Peer) {
        self.losses.fetch_add(1, Ordering::SeqCst);
        self.replace(peer, None);
    }

    /// How many sessions with peers have ended.
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    /// How many peers there is a session with.
    pub fn connected(&self) -> usize {
        self.peers.read().iter().flatten().count()
    }

    pub(crate) fn of(&self, peer: Peer) -> Option<Arc<PeerLinks>> {
        self.peers.read()[peer.index()].clone()
    }

    fn replace(&self, peer: Peer, links: Option<Arc<PeerLinks>>) {
        let before = std::mem::replace(&mut self.peers.write()[peer.index()], links);
        if let Some(before) = before {
            before.small.iter().chain([&before.bulk]).for_each(|link| link.close());
        }
    }
}

impl PeerLinks {
    /// Appends requests to the link of this client's connection, or to the one for large frames.
    pub(crate) fn append<'a>(
        &self,
        client: u64,
        is_large: bool,
        flight: &Arc<Flight>,
        requests: impl ExactSizeIterator<Item = Outgoing<'a>>,
    ) -> Result<(), Refused> {
        match is_large {
            false => self.small(client).append(flight, requests),
            true => {
                let flagged = |request: Outgoing<'a>| {
                    let head = Head { flags: request.head.flags | BULK, ..request.head };
                    Outgoing { head, ..request }
                };
                self.bulk.append(flight, requests.map(flagged))
            }
        }
    }

    /// Sends what this client's connection appended.
    pub(crate) fn flush(&self, client: u64, is_large: bool) {
        if is_large { &self.bulk } else { self.small(client) }.flush();
    }

    fn small(&self, client: u64) -> &Arc<Link> {
        &self.small[(client % self.small.len() as u64) as usize]
    }
}

impl Drop for PeerLinks {
    fn drop(&mut self) {
        self.small.iter().chain([&self.bulk]).for_each(|link| link.close());
    }
}

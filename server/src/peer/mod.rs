//! The transport between nodes.
//!
//! Two nodes share one *session*: three streams, each on a TCP connection of its own, so that a heartbeat never waits
//! behind a snapshot.
//!
//! ```text
//!      Peering::dial ─► dial ─┐                    ┌─ accept ◄─ HTTP/2 ─┐
//!                             ├─► greet ─► hub ◄───┤                    ├─ port ◄─ the peer port
//!   Peering::open_raw_link    │             │      └─ raw_link ◄─ magic ┘
//!                             │             ▼               │
//!                    control  │         PeerEvent           ▼
//!       Session ◄──── lane  ◄─┘      Up / Down / …       RawLink
//!                     bulk
//! ```
//!
//! * **Nothing is believed before it is proved.** Greeting and proofs are described in `greet` and `proof`, what may
//!   keep two nodes apart in [`Refusal`].
//! * **One session per pair.** Anyone may dial, both may at once. Which session stays follows from a total order that
//!   both know (`rank`); the other goes without an event, or with a `Down` before the new `Up`.
//! * **One boot per identity.** While a session with one boot of a node is up another boot under the same identity is
//!   turned away and told why, so that a copied identity never cuts off the node that is at work.
//! * **Clocks agree within a day.** A node whose versions others would not take in is told so before there is a session.
//! * **Nonsense is no reason to hurry.** Who said what no peer says is met again after a pause (`pauses`).
//! * **A session ends as a whole.** The first stream that ends takes the others with it, whoever began (`tie`). Its
//!   sockets are cut below HTTP/2 (`socket`), so a peer that reads nothing cannot hold them.
//! * **Damage is seen.** Frames carry a check of the whole; a damaged one ends the session. A damaged length below them, which
//!   would swallow what comes, shows as silence (`line`).
//! * **Everything is bounded.** Queues are short and full ones stop reading, so a slow reader's bytes wait at the
//!   sender. A stranger gets one of 256 places, 64 KiB and a few seconds (`port`, `socket`).
//!
//! Between nodes goes nothing but long-lived streams of frames; a gRPC call per message costs several times as much.
//! This module alone knows HTTP/2, gRPC and protobuf. Everyone else has [`Frame`]s, and looks into them alone.
//!
//! Caveats: a frame that was sent may be lost with its session, without notice to the sender; whoever cares
//! acknowledges. A peer that sends frames as large as it may on all streams can make a node hold some 400 MiB for it:
//! peers are trusted that far. There is no TLS (see `proof`).

mod accept;
mod channel;
mod core;
mod dial;
mod greet;
mod greeting;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod hub;
mod line;
mod pauses;
mod port;
mod proof;
mod rank;
mod raw_link;
mod refusal;
mod session;
mod socket;
#[cfg(test)]
mod tests;
mod tie;
/// Messages and services, generated from `proto/peer.proto`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod wire {
    tonic::include_proto!("circlet.peer.v1");
}

use std::{
    io,
    net::IpAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use ring::id::{Incarnation, NodeId};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use self::{core::Core, hub::Hub};
pub use self::{
    refusal::Refusal,
    session::{Frame, Half, PAYLOAD_LIMIT_BYTES, PeerEvent, RawLink, Session, SessionId},
};
use crate::{clock::Clock, config::Secret, listeners::is_private};

/// What a node says of itself to others, and what they must agree to.
#[derive(Clone, Debug)]
pub struct PeeringConfig {
    /// This node.
    pub me: NodeId,
    /// This boot of it.
    pub incarnation: Incarnation,
    /// Nodes of another cluster are refused.
    pub cluster_name: String,
    /// What peers prove to each other.
    pub secret: Option<Secret>,
    /// Settings that must be equal on all nodes, in any form; one that can be read, such as `replicas=2`, makes the
    /// refusal of another readable. At most 4 KiB.
    pub descriptor: Vec<u8>,
    /// `host:port` where others reach this node's peer port.
    pub advertise: String,
    /// Whether without a secret only loopback and private addresses are heard.
    pub is_protected: bool,
    /// A session in which nothing whole comes on a stream for so long is over. Peers say something five times in this time,
    /// so it must not differ much between nodes.
    pub silence: Duration,
}

impl PeeringConfig {
    /// Whether who comes from this address may say who it is. Who knows the secret may come from anywhere; without one
    /// anybody could join the ring, so then only the networks that the internet does not route to are heard.
    fn hears(&self, address: IpAddr) -> bool {
        self.secret.is_some() || !self.is_protected || is_private(address)
    }
}

/// The transport of this node. It stops when the last handle is dropped: connections close, sessions end, and no
/// event comes any more.
#[derive(Clone)]
pub struct Peering {
    core: Arc<Core>,
    _stop: Arc<watch::Sender<()>>,
}

impl Peering {
    /// Serves the peer port. Sessions come and go as events; raw links that peers open come through `raw_links`.
    ///
    /// Must be called within a runtime of tokio. A queue of events that is full delays all news of sessions.
    pub fn start(
        config: PeeringConfig,
        clock: Arc<dyn Clock>,
        listener: TcpListener,
        raw_links: mpsc::Sender<RawLink>,
        events: mpsc::Sender<PeerEvent>,
    ) -> io::Result<Peering> {
        let (stop, stopped) = watch::channel(());
        let (hub, notices) = mpsc::channel(64);
        let core = Arc::new(Core {
            config,
            boot: proof::drawn()?,
            clock,
            registry: Default::default(),
            pauses: Default::default(),
            events: events.clone(),
            raw_links,
            dialling: Default::default(),
            hub,
            stop: stopped,
            attempts: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
        });
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        core.greeting(0, None)?.check().map_err(invalid)?;
        core.spawn(Hub::new(core.clone(), events).run(notices));
        core.spawn(port::listen(core.clone(), listener));
        Ok(Peering { core, _stop: Arc::new(stop) })
    }

    /// Tries once to open a session with the node at `host:port`. The result comes as an event, after at most five
    /// seconds; a host that does not answer is given up after one.
    ///
    /// Must be called within a runtime of tokio.
    pub fn dial(&self, address: String, expect: Option<NodeId>) {
        dial::once(&self.core, address, expect);
    }

    /// Ends a session now. Its `Down` follows; nothing happens if it is over already.
    pub fn close(&self, session: SessionId, reason: &str) {
        if let Some(tie) = self.core.registry.numbered(session) {
            tie.end(reason);
        }
    }

    /// Ends a session in which the peer said what no peer says. This boot of it is not met again at once.
    pub fn close_for_nonsense(&self, session: SessionId, reason: &str) {
        if let Some(tie) = self.core.registry.numbered(session) {
            tie.end_for_nonsense(reason);
        }
    }

    /// Opens a connection to the peer port at the other end of a session, for a protocol of the caller's.
    pub async fn open_raw_link(&self, session: SessionId) -> io::Result<RawLink> {
        raw_link::open(&self.core, session).await
    }
}

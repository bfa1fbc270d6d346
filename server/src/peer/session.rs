//! What the rest of the node sees of a connection to a peer.

use std::fmt;

use bytes::Bytes;
use ring::id::{Incarnation, NodeId};
use tokio::{net::TcpStream, sync::mpsc};

use super::Refusal;

/// The largest payload of a frame. Whoever has more sends it in pieces.
pub const PAYLOAD_LIMIT_BYTES: usize = 4 << 20;

/// A session, named by this node alone: given once, never again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub(super) u64);

/// Both nodes have proved themselves and all three streams are open.
///
/// A session is over when one of its streams is, when it is closed, or when this value is dropped. After that sends
/// fail and receives end; what had been sent may or may not have arrived.
#[derive(Debug)]
pub struct Session {
    /// Its name here.
    pub id: SessionId,
    /// Whom it leads to.
    pub peer: NodeId,
    /// Which boot of the peer.
    pub incarnation: Incarnation,
    /// Where the peer's peer port is, as far as this node knows: the address it reached, or else the advertised one.
    pub address: String,
    /// What [`dial`](super::Peering::dial) was told, if this node dialled.
    pub dialled: Option<String>,
    /// Heartbeats, facts, requests about slots: small, and nothing ahead of it that is large.
    pub control: Half,
    /// Effects and their acknowledgements.
    pub lane: Half,
    /// Snapshots.
    pub bulk: Half,
}

/// This node's end of one stream.
///
/// Both queues are short. A full one on the receiving side stops reading from the socket, which fills the peer's
/// window, then its queue, and then makes its sender wait.
#[derive(Debug)]
pub struct Half {
    /// To the peer. An error means that the session is over.
    pub send: mpsc::Sender<Frame>,
    /// From the peer, in the order in which they were sent. `None` means that the session is over.
    pub receive: mpsc::Receiver<Frame>,
}

/// One message. The transport looks at none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is; 255 is the transport's own and does not arrive.
    pub kind: u8,
    /// Which one it is, or answers.
    pub id: u64,
    /// The rest, at most [`PAYLOAD_LIMIT_BYTES`]. A longer one ends the session.
    pub payload: Bytes,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {}/{} of {} B", self.kind, self.id, self.payload.len())
    }
}

/// A TCP connection between the peer ports of two nodes that share a session, both proved. Nothing but the proof was
/// sent on it. It does not end with the session: whoever holds it looks after that.
#[derive(Debug)]
pub struct RawLink {
    /// Who is at the other end.
    pub peer: NodeId,
    /// The session, under this node's name, in whose right it was opened.
    pub session: SessionId,
    /// The connection.
    pub stream: TcpStream,
}

/// What happened between this node and others.
///
/// A dial that finds no session leads to exactly one of `Refused` (with `dialled`), `Unreachable` and `Superseded`; one
/// that does leads to an `Up` that names its address.
#[derive(Debug)]
pub enum PeerEvent {
    /// A session begins. No other with this peer is up.
    Up(Session),
    /// A session that was up is over. It is said once, and before the next `Up` for this peer.
    Down {
        /// Which.
        session: SessionId,
        /// With whom.
        peer: NodeId,
        /// Why.
        why: String,
    },
    /// Two nodes met that must not talk.
    Refused {
        /// What was dialled, or where the other one says it can be reached.
        address: String,
        /// Whether this node dialled. Refusals of those who dialled us may be left out when many come.
        dialled: bool,
        /// Why.
        why: Refusal,
    },
    /// A dial reached nobody, or nobody who finished the greeting in time.
    Unreachable {
        /// What was dialled.
        address: String,
        /// Why.
        why: String,
    },
    /// A dial reached a node with which there is, or is about to be, a session already. That one stays.
    Superseded {
        /// What was dialled.
        address: String,
        /// Who is there.
        peer: NodeId,
    },
}

/// A line for the log.
impl fmt::Display for PeerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerEvent::Up(session) => write!(f, "connected to peer {} at {}", session.peer.short(), session.address),
            PeerEvent::Down { peer, why, .. } => write!(f, "lost the connection to peer {}: {why}", peer.short()),
            PeerEvent::Refused { address, why, .. } => write!(f, "peer at {address} {why}"),
            PeerEvent::Unreachable { address, why } => write!(f, "peer at {address} cannot be reached: {why}"),
            PeerEvent::Superseded { address, peer } => {
                write!(f, "peer at {address} is {}, which is connected already", peer.short())
            }
        }
    }
}

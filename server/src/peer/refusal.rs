//! Why two nodes do not talk to each other.

use ring::id::{Incarnation, NodeId};

/// Versions go on from the clock at the start of a node, so that setting it is not all there is to do.
const HOW_CLOCKS_MEET: &str = "and 24 h are allowed: set the one that is wrong and start its node again";

const HOUR_MS: u64 = 60 * 60 * 1000;

/// A time of a day or more, for people: rounded, so that it reads the same at every attempt.
fn apart(by_ms: u64) -> String {
    match by_ms.saturating_add(HOUR_MS / 2) / HOUR_MS {
        hours @ 0..48 => format!("{hours} h"),
        hours => format!("{} days", (hours + 12) / 24),
    }
}

/// Why a peer is refused. The text completes a sentence that begins with "peer at host:port".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It speaks another version of this protocol.
    #[error("speaks version {theirs} of the peer protocol, this node speaks {ours}")]
    Protocol {
        /// This node's version.
        ours: u32,
        /// The peer's.
        theirs: u32,
    },
    /// It belongs to another cluster.
    #[error("is of cluster `{theirs}`, this node is of `{ours}`")]
    Cluster {
        /// This node's cluster.
        ours: String,
        /// The peer's.
        theirs: String,
    },
    /// A setting that must be equal on all nodes is not.
    #[error("has cluster settings `{theirs}`, this node has `{ours}`: they must be equal on all nodes")]
    Descriptor {
        /// This node's settings, printable.
        ours: String,
        /// The peer's.
        theirs: String,
    },
    /// This node has a secret and the peer has none.
    #[error("has no cluster secret, this node has one")]
    SecretMissingThere,
    /// The peer has a secret and this node has none.
    #[error("has a cluster secret, this node has none")]
    SecretMissingHere,
    /// Both have secrets, but not the same one.
    #[error("has another cluster secret than this node")]
    SecretDiffers,
    /// Somebody else than the caller of [`dial`](super::Peering::dial) expected answers there.
    #[error("is node {found}, not {expected}")]
    Unexpected {
        /// Who should be there.
        expected: NodeId,
        /// Who is.
        found: NodeId,
    },
    /// Another live boot has this node's identity. It has proved that it knows the secret.
    #[error(
        "has this node's own id {node}, incarnation {} (here: {}): two running nodes share one identity",
        theirs.0,
        ours.0
    )]
    SameIdentity {
        /// The identity.
        node: NodeId,
        /// This boot.
        ours: Incarnation,
        /// The other one. It can be equal: two boots in the same millisecond.
        theirs: Incarnation,
    },
    /// The peer is in session with another boot that has this node's identity.
    #[error("is in session with another node that has this node's own id {node}: two running nodes share one identity")]
    IdentityTaken {
        /// The identity.
        node: NodeId,
    },
    /// The peer has the identity of a node that this node is in session with.
    #[error("has the id {node} of a node that runs elsewhere: two running nodes share one identity")]
    IdentityClaimed {
        /// The identity.
        node: NodeId,
    },
    /// Its versions are so far ahead of this node's clock that this node would not take them in.
    #[error("has a clock {} ahead of this node's, {HOW_CLOCKS_MEET}", apart(*by_ms))]
    ClockAhead {
        /// By so much.
        by_ms: u64,
    },
    /// This node's versions are so far ahead of its clock that it would not take them in.
    #[error("has a clock {} behind this node's, {HOW_CLOCKS_MEET}", apart(*by_ms))]
    ClockBehind {
        /// By so much.
        by_ms: u64,
    },
    /// It said what no peer says a moment ago.
    #[error("said what no peer says, and is met again after a pause")]
    PausedHere,
    /// The same, seen from the other side.
    #[error("did not understand what this node said, and meets it again after a pause")]
    PausedThere,
    /// This node dialled itself.
    #[error("is this node itself")]
    Ourselves,
    /// It sent something that this version of the protocol never sends.
    #[error("broke the peer protocol: {0}")]
    Malformed(&'static str),
}

impl Refusal {
    /// Whether only the clocks keep the two nodes apart.
    pub const fn is_about_clocks(&self) -> bool {
        matches!(self, Refusal::ClockAhead { .. } | Refusal::ClockBehind { .. })
    }
}

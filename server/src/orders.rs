//! What operators have the control task do, by way of any client that may.

use ring::id::NodeId;
use tokio::sync::{mpsc, oneshot};

/// Where orders are left for the control task.
pub type Orders = mpsc::Sender<Order>;

/// Something to be done.
#[derive(Debug)]
pub enum Order {
    /// Forget a member that will not come back: it no longer counts for a majority.
    Forget {
        /// Which.
        node: NodeId,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), Refused>>,
    },
}

/// Why something is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It is this node.
    Myself,
    /// No such node is known.
    Unknown,
    /// The node is there.
    IsThere,
}

//! Replication: effects to the peers and from them, snapshots, acknowledgements.
//!
//! One [`Session`](crate::peer::Session) carries two streams for it. On the *lane* effects go, in order, encoded once
//! by the store and not looked at again here; the peer answers up to where it has taken them in and which slots do not
//! count. On the *bulk* stream snapshots are asked for and sent, so that a large one holds up no effect.
//!
//! Decisions are not made here: what does not fit is reported to the control task, which says what to fetch.

pub mod acks;
pub mod audits;
pub mod bulk;
pub mod lags;
pub mod lane;

use ring::{codec::Malformed, control::Input};
use tokio::sync::mpsc;

use crate::peer::SessionId;

/// What replication has to tell the control task.
#[derive(Debug)]
pub enum Report {
    /// Something for the control machine.
    Input(Input),
    /// A stream of the session is over.
    Over(SessionId, End),
}

/// Why a stream is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It or its session ended.
    Closed(&'static str),
    /// The peer says what no peer says.
    Nonsense(String),
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> End {
        End::Nonsense(malformed.to_string())
    }
}

/// Where reports go. Bounded by what is under way: a slot reports a gap once per effect that does not fit, and the
/// lane stops reading when the control task is that far behind.
pub type Reports = mpsc::Sender<Report>;

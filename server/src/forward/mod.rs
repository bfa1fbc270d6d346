//! Requests that another node executes.
//!
//! Any node takes any request. What it does not act for it passes on to the node that does, over raw connections that
//! carry frames (`frame`): a hop through an RPC framework was measured at twice the time of a plain pipelined
//! connection when little is going on, and it would have to copy every value once more.
//!
//! ```text
//!   client ─► connection ─► router ─► pursue ─► link ═══ frames ═══► serve ─► store
//!                             │                                        │
//!                             └ here: store, at once                   └ not here: pursue (at most one more hop)
//! ```
//!
//! * `pursue` drives the requests of one batch until each is executed, in the order of each slot;
//! * `link` is a connection to a peer, shared by many clients; [`Links`] are those to all peers;
//! * [`serve_link`] is the other end: it executes frames in the order in which they come;
//! * `whole` asks one node for many slots.
//!
//! **At most once.** A request is sent a second time only if the first was certainly not executed, or if executing it
//! twice is the same as once. What happened to any other whose link broke is not known, and the client is told so.
//!
//! **No loops.** A frame says how many nodes have passed it on. While roles move two nodes may each believe that the
//! other acts; the second that is asked in vain says so instead of passing it on, and the first, who has the deadline,
//! tries again when it hears of a change.

mod flight;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod link;
mod links;
mod pursue;
mod serve;
pub(crate) mod tell;
mod verified;
mod whole;
mod work;

pub use links::Links;
pub use serve::serve_link;

pub(crate) use links::Open;
pub(crate) use pursue::{Terms, pursue};
pub(crate) use verified::{Problem, Verified};
pub(crate) use whole::{Asked, FIRST_SLOT, ScanStep, Swept, WholeRequest};
pub(crate) use work::{Outcome, Work};

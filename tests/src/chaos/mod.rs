//! Real faults: nodes as processes in network namespaces, clients that write and read meanwhile, faults that come and go,
//! and a check of everything that the clients were told.
//!
//! ```text
//!   clients ── the namespace of the program ── bridge ─┬─ host 0: a node
//!                                                       ├─ host 1: a node
//!        nemesis: signals, iptables in the hosts ──────►└─ …
//! ```
//!
//! One run is one cluster of its own: it starts, is filled, suffers one [`Fault`], heals, has to prove by `CLUSTER VERIFY`
//! that all copies are the same, and is read as a whole. The result is a line of figures ([`Outcome`]) and, if asked for, a
//! history of all commands as JSON lines.

mod check;
mod fault;
mod history;
mod hosts;
mod network;
mod report;
mod run;
mod writer;

pub use self::{
    check::Findings,
    fault::Fault,
    report::table,
    run::{Outcome, Partition, Setup, run},
};

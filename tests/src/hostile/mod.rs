//! What nobody should do to a server, done to real nodes: damaged traffic on every port, and clients and peers that make
//! a node hold as much as it will. Programs, not tests: they take minutes and print figures.

pub mod memory;
mod mutation;
mod recorder;
pub mod traffic;
mod watch;

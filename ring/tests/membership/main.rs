//! Membership as a whole: a few nodes on one thread that gossip and judge.

// The lint knows tests, not their helpers.
#![allow(clippy::unwrap_used)]

mod cluster;
mod convergence;
mod script;

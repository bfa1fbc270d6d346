//! The control machine as a whole: a few nodes on one thread that move one slot between them.

// The lint knows tests, not their helpers.
#![allow(clippy::unwrap_used)]

mod cluster;
mod entries;
mod reports;
mod script;

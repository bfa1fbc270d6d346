//! A Circlet node: sockets, the Redis protocol, storage, replication.
//!
//! Everything with an effect is here; what it decides about the distributed part it asks the crate `ring`.

pub mod adapters;
pub mod admin;
pub mod clients;
pub mod clock;
pub mod command;
pub mod config;
pub mod connection;
pub mod control;
pub mod dev;
pub mod forward;
pub mod health;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod info;
pub mod life;
pub mod listeners;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod orders;
pub mod peer;
pub mod process;
pub mod replica;
pub mod resp;
pub mod router;
pub mod routes;
pub mod seed;
pub mod services;
pub mod session;
pub mod start;
pub mod store;
pub mod topology;
pub mod types;
pub mod watch;

/// The version of Redis whose commands and replies are followed; clients decide by it what they may use.
pub const REDIS_VERSION: &str = "7.2.4";

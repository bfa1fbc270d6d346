//! Who is dialled, and when.
//!
//! Seeds are asked for ever: a name may resolve to other addresses tomorrow, and two halves of a ring that were
//! started apart find each other by it. While the node is alone it asks every half second, else every ten.

use std::{collections::HashMap, sync::Arc};

use ring::id::NodeId;
use tokio::{net::lookup_host, sync::mpsc};

use crate::{clock::Clock, config::Endpoint};

const ALONE_MS: u64 = 500;
const IN_COMPANY_MS: u64 = 10_000;

/// A member that should be in session and is not is dialled this often; the node with the larger id leaves the first
/// attempt to the other.
const REDIAL_MS: u64 = 300;

/// What the names resolved to.
pub(super) type Resolved = Vec<String>;

/// When to dial whom.
pub(super) struct Dialling {
    seeds: Vec<Endpoint>,
    clock: Arc<dyn Clock>,
    resolved: mpsc::Sender<Resolved>,
    asked_ms: Option<u64>,
    dialled_ms: HashMap<NodeId, u64>,
}

impl Dialling {
    pub(super) fn new(seeds: Vec<Endpoint>, clock: Arc<dyn Clock>, resolved: mpsc::Sender<Resolved>) -> Dialling {
        Dialling { seeds, clock, resolved, asked_ms: None, dialled_ms: HashMap::new() }
    }

    pub(super) fn has_seeds(&self) -> bool {
        !self.seeds.is_empty()
    }

    /// Asks the names again if it is time; the answer comes through the channel.
    pub(super) fn ask_seeds(&mut self, alone: bool) {
        let now = self.now_ms();
        let pause = if alone { ALONE_MS } else { IN_COMPANY_MS };
        if self.seeds.is_empty() || self.asked_ms.is_some_and(|asked| now < asked + pause) {
            return;
        }
        self.asked_ms = Some(now);
        let (seeds, resolved) = (self.seeds.clone(), self.resolved.clone());
        tokio::spawn(async move {
            let mut addresses = Vec::new();
            for seed in seeds {
                match lookup_host((seed.host.as_str(), seed.port)).await {
                    Ok(found) => addresses.extend(found.map(|address| address.to_string())),
                    Err(error) => tracing::debug!(host = seed.host, %error, "a seed does not resolve"),
                }
            }
            // The control task is gone if nobody listens.
            let _ = resolved.send(addresses).await;
        });
    }

    /// Whether a member without a session is to be dialled now.
    pub(super) fn is_due(&mut self, me: NodeId, member: NodeId) -> bool {
        let now = self.now_ms();
        // Whoever has the larger id waits before its first attempt.
        let first = if me < member { 0 } else { now };
        let dialled = self.dialled_ms.entry(member).or_insert(first);
        let is_due = now >= *dialled + REDIAL_MS;
        if is_due {
            *dialled = now;
        }
        is_due
    }

    pub(super) fn met(&mut self, member: NodeId) {
        self.dialled_ms.remove(&member);
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic_us() / 1000
    }
}

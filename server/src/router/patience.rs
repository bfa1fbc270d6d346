//! How long a command goes on that needs many slots, and which nodes have them.

use std::{collections::BTreeMap, time::Duration};

use ring::{id::Peer, slot::SLOTS, slot_set::SlotSet};
use tokio::sync::watch;

use super::{Router, deferred::DEADLINE_US};
use crate::routes::Where;

/// What was not executed is tried again after this time, or when the routes change.
const REST: Duration = Duration::from_millis(10);

/// When a command gives up: after the usual time in which nothing went on.
pub(super) struct Patience<'a> {
    router: &'a Router,
    changes: watch::Receiver<u64>,
    deadline_us: u64,
}

impl<'a> Patience<'a> {
    pub(super) fn new(router: &'a Router) -> Patience<'a> {
        let deadline_us = router.services.clock.monotonic_us() + DEADLINE_US;
        Patience { router, changes: router.cluster.routes.changes(), deadline_us }
    }

    /// Something went on.
    pub(super) fn renew(&mut self) {
        self.deadline_us = self.router.services.clock.monotonic_us() + DEADLINE_US;
    }

    /// Waits a little; false if the time is over, or nothing is served from here.
    pub(super) async fn rest(&mut self) -> bool {
        // Ready or not, the routes are looked at again.
        let _ = tokio::time::timeout(REST, self.changes.changed()).await;
        !self.router.cluster.routes.is_down() && self.router.services.clock.monotonic_us() < self.deadline_us
    }
}

impl Router {
    /// The slots by the node that they lead to; those of no node are left out. This node comes last, so that the
    /// others are asked before it begins with its own part.
    pub(super) fn by_node(&self, slots: &SlotSet) -> Vec<(Option<Peer>, SlotSet)> {
        let mut nodes: BTreeMap<Option<Peer>, SlotSet> = BTreeMap::new();
        for slot in slots.iter() {
            let node = match self.cluster.routes.of(slot) {
                Where::Here => None,
                Where::There(peer) => Some(peer),
                Where::Nowhere => continue,
            };
            nodes.entry(node).or_insert_with(|| SlotSet::new(SLOTS)).insert(slot);
        }
        nodes.into_iter().rev().collect()
    }
}

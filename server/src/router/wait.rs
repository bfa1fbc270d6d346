//! `WAIT`: how many other nodes have what a connection wrote.
//!
//! A connection remembers the slots that it wrote to, no more. What is asked of the node that acts for a slot is how
//! many copies have everything that happened in it until now; that includes the connection's own writes, and whatever
//! others wrote in between, so the answer is never too high. It cannot be too low for long: copies take in everything.
//!
//! When a node was lost since a write that went to another node, what the new acting node has says nothing about that
//! write: then the answer is an error instead of a number.

use std::{sync::Arc, time::Duration};

use ring::{
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
};

use super::{Router, patience::Patience};
use crate::{command::Later, forward::Asked, resp::Reply, store::Ticket};

/// The slots that a connection wrote to.
#[derive(Clone, Debug)]
pub struct Written {
    slots: SlotSet,
    /// Whether a write went to another node, and how many had been lost before the first that did.
    losses_before: Option<u64>,
}

/// Nodes are asked again after so long, or after as long again as was waited already: they go on waiting whether or not the
/// client is still here. Each time everything until then is waited for.
const ROUND: Duration = Duration::from_secs(60);

impl Default for Written {
    fn default() -> Written {
        Written { slots: SlotSet::new(SLOTS), losses_before: None }
    }
}

const LOST: Reply<'static> =
    Reply::error("INDETERMINATE a node was lost since these writes; how many nodes have them is not known");

impl Written {
    pub(super) fn note(&mut self, slot: Slot) {
        self.slots.insert(slot);
    }

    pub(super) fn note_elsewhere(&mut self, slot: Slot, losses: u64) {
        self.slots.insert(slot);
        self.losses_before.get_or_insert(losses);
    }
}

impl Router {
    /// Waits until so many other nodes have these writes, or the time is over (none: for ever); how many have them.
    pub(crate) fn wait(
        self: &Arc<Self>,
        written: Option<Written>,
        client: u64,
        wanted: usize,
        time: Option<Duration>,
    ) -> Later {
        let router = self.clone();
        Box::pin(async move {
            let Some(written) = written else { return router.wait_for_nothing(wanted, time).await };
            let lost = || written.losses_before.is_some_and(|before| before != router.cluster.links.losses());
            if lost() {
                return LOST;
            }
            let (mut missing, mut least) = (written.slots.clone(), usize::MAX);
            let start_us = router.services.clock.monotonic_us();
            let mut patience = Patience::new(&router);
            loop {
                let elapsed = Duration::from_micros(router.services.clock.monotonic_us() - start_us);
                let left = time.map(|time| time.saturating_sub(elapsed));
                let round = ROUND.max(elapsed);
                let is_last = left.is_some_and(|left| left <= round);
                let round = left.map_or(round, |left| left.min(round));
                for (slots, copies) in router.copies(&missing, client, wanted, round).await {
                    let Some(copies) = copies else { continue };
                    patience.renew();
                    if copies >= wanted || is_last {
                        least = least.min(copies);
                        missing.subtract(&slots);
                    }
                }
                if lost() {
                    return LOST;
                }
                if missing.is_empty() {
                    return Reply::Integer(least.min(router.cluster.replicas) as i64);
                }
                if !patience.rest().await && left.is_none_or(|left| left.is_zero()) {
                    return router.not_served();
                }
            }
        })
    }

    /// A connection that wrote nothing: every peer there is has all of it.
    async fn wait_for_nothing(&self, wanted: usize, time: Option<Duration>) -> Reply<'static> {
        let copies = (self.cluster.replicas - 1).min(self.cluster.links.connected());
        if copies < wanted {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        }
        Reply::Integer(copies as i64)
    }

    /// Asks every node for its slots; which they were, and the least number of copies among them.
    async fn copies(
        &self,
        slots: &SlotSet,
        client: u64,
        wanted: usize,
        time: Duration,
    ) -> Vec<(SlotSet, Option<usize>)> {
        let asks = self.by_node(slots).into_iter().map(async |(node, slots)| {
            let copies = match node {
                None => self.copies_here(&slots, wanted, time).await,
                Some(peer) => match self.ask_wait(peer, client, &slots, wanted as u32, time).await {
                    Asked::Answered(body) => {
                        <[u8; 4]>::try_from(&body[..]).ok().map(|n| u32::from_le_bytes(n) as usize)
                    }
                    Asked::Failed | Asked::Lost => None,
                },
            };
            (slots, copies)
        });
        futures_util::future::join_all(asks).await
    }

    /// Waits until so many peers have everything of these slots, or the time is over; how many have. None if this node
    /// does not act for all of them, or has lost its copy of one meanwhile.
    pub(crate) async fn copies_here(&self, slots: &SlotSet, wanted: usize, time: Duration) -> Option<usize> {
        let tickets: Vec<Ticket> = slots.iter().map(|slot| self.store.everything(slot)).collect::<Option<_>>()?;
        let acks = &self.cluster.acks;
        let all = async {
            for ticket in &tickets {
                acks.acknowledged(ticket, wanted).await;
            }
        };
        // The time may be over: then what is known now is the answer.
        let _ = tokio::time::timeout(time, all).await;
        let copies: Option<Vec<usize>> = tickets.iter().map(|ticket| self.copies_of(ticket)).collect();
        copies.map(|copies| copies.into_iter().min().unwrap_or(0))
    }
}

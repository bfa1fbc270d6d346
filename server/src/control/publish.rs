//! What clients are told about the ring.

use std::{collections::BTreeSet, sync::Arc};

use ring::{
    describe,
    id::NodeId,
    member::Standing,
    slot::{SLOTS, Slot},
    table::Table,
    view::View,
};

use super::Task;
use crate::{
    routes::Where,
    topology::{Node, Topology},
};

/// How often clients are told of changes of the ring.
const PUBLISH_EVERY_MS: u64 = 250;

/// A picture is of all slots. While slots move it changes all the time, and making it may take a tenth of the time of
/// the thread that moves them: on a machine with too much to do clients are told later, and slots move on.
const PUBLISH_SHARE: u64 = 10;

/// Nobody is sent to a slot's new acting node before it has been that for so long: a client that is sent away asks any
/// node for all slots, and by then every node tells the same.
const SETTLED_MS: u64 = 1_000;

/// What was published last.
pub(super) struct Published {
    /// Not before this time, unless somebody waits for it.
    next_ms: u64,
    /// What it was made from: while that is the same, so is the picture.
    from: Option<From>,
    /// Per slot who acts, and since when.
    acting: Box<[(Where, u64)]>,
    /// When the next slot is settled.
    settles_ms: Option<u64>,
}

impl Default for Published {
    fn default() -> Published {
        let acting = vec![(Where::Nowhere, 0); SLOTS].into();
        Published { next_ms: 0, from: None, acting, settles_ms: None }
    }
}

impl Task {
    /// Tells clients what the ring looks like, if that changed. Whoever knows the slots reads all of it at each change,
    /// so changes are collected for a while, unless somebody waits for them.
    pub(super) fn publish(&mut self, at_once: bool) {
        let now_ms = self.now_ms();
        if !at_once && now_ms < self.published.next_ms {
            return;
        }
        let connected: BTreeSet<NodeId> =
            self.sessions.values().filter(|active| active.greeted()).map(|active| active.node).collect();
        let is_ready = self.leaving.is_none() && self.is_ready;
        let view = self.gossip.view();
        let from = (view.clone(), self.table.clone(), self.routes.version(), connected, is_ready);
        let is_due = self.published.settles_ms.is_some_and(|at_ms| now_ms >= at_ms);
        if !is_due && self.published.from.as_ref().is_some_and(|before| is_same(before, &from)) {
            return;
        }
        let nodes = view.members().iter().map(|member| Node::of(member, from.3.contains(&member.id))).collect();
        let mut topology = Topology::new(self.me, view.epoch(), nodes);
        let is_leaving = |id: &NodeId| view.member(*id).is_some_and(|member| member.standing() == Standing::Leaving);
        let mut settles_ms = None::<u64>;
        for slot in Slot::all() {
            let route = self.routes.of(slot);
            let (acting, since_ms) = &mut self.published.acting[slot.index()];
            if *acting != route {
                (*acting, *since_ms) = (route, now_ms);
            }
            let settled_ms = *since_ms + SETTLED_MS;
            if now_ms < settled_ms {
                settles_ms = Some(settles_ms.map_or(settled_ms, |at_ms| at_ms.min(settled_ms)));
            }
            let acting = match route {
                Where::Here => Some(self.me),
                Where::There(peer) => self.directory.id(peer),
                Where::Nowhere => None,
            };
            let targets: Vec<NodeId> = self.table.iter().flat_map(|table| table.owners(slot)).collect();
            let mut holders = view.serving(slot, &targets);
            holders.retain(|id| !is_leaving(id));
            let first_target = targets.first().copied().filter(|_| now_ms >= settled_ms);
            topology.place(slot, acting, &holders, first_target);
        }
        let picture = self.table.as_ref().map(|table| describe::table(table)).unwrap_or_default();
        let topology = topology.with_table(self.table.clone());
        let topology = topology.with_readiness(is_ready).with_majority_elsewhere(self.routes.is_down());
        self.topologies.publish(topology.with_picture(picture));
        let took_ms = self.now_ms() - now_ms;
        self.published.next_ms = now_ms + PUBLISH_EVERY_MS.max(PUBLISH_SHARE * took_ms);
        (self.published.from, self.published.settles_ms) = (Some(from), settles_ms);
    }
}

/// The view, the table, the version of the routes, who is connected, and whether this node is ready.
type From = (Arc<View>, Option<Arc<Table>>, u64, BTreeSet<NodeId>, bool);

fn is_same(before: &From, now: &From) -> bool {
    let same_table = match (&before.1, &now.1) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        (before, now) => before.is_none() && now.is_none(),
    };
    Arc::ptr_eq(&before.0, &now.0) && same_table && (before.2, &before.3, before.4) == (now.2, &now.3, now.4)
}

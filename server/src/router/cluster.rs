//! What the router knows of the other nodes.

use std::{sync::Arc, time::Duration};

use ring::slot::Slot;

use super::Router;
use crate::{
    forward::Links,
    orders::Orders,
    replica::{acks::Acks, audits::Audits},
    resp::Reply,
    routes::{ME, Routes},
    session::Session,
    store::Ticket,
    topology::Topologies,
};

/// So long a write is waited for to be acknowledged by as many as it needs.
pub(crate) const ACKS_TIMEOUT_US: u64 = 1_000_000;

/// The other nodes, as far as requests are concerned.
#[derive(Clone)]
pub struct Cluster {
    /// Where requests for a slot go. Whoever changes the role of a slot here, or its route, announces it afterwards.
    pub routes: Arc<Routes>,
    /// The ways there.
    pub links: Arc<Links>,
    /// Which writes have reached whom.
    pub acks: Arc<Acks>,
    /// What others answer to the claims of an audit.
    pub audits: Arc<Audits>,
    /// Where operators' orders are left.
    pub orders: Orders,
    /// Where cluster-aware clients are sent.
    pub redirects: Arc<dyn Redirects>,
    /// How many nodes must have a write before it is answered, this one included (`W`).
    pub write_acks: usize,
    /// How many nodes are to hold each slot.
    pub replicas: usize,
}

/// Where cluster-aware clients are sent.
pub trait Redirects: Send + Sync {
    /// The address of the node that this client should ask about the slot, as `host:port`. None: this node answers
    /// for the other, as it does while the slot changes hands.
    fn redirect(&self, slot: Slot, session: &Session) -> Option<String>;
}

/// For a node without others.
impl Redirects for () {
    fn redirect(&self, _: Slot, _: &Session) -> Option<String> {
        None
    }
}

impl Redirects for Topologies {
    fn redirect(&self, slot: Slot, session: &Session) -> Option<String> {
        self.current().redirect(slot, session)
    }
}

impl Cluster {
    /// A node on its own, which all slots lead to.
    pub fn alone() -> Cluster {
        let routes = Routes::default();
        Slot::all().for_each(|slot| routes.set(slot, Some(ME)));
        Cluster {
            routes: Arc::new(routes),
            links: Arc::new(Links::new(1)),
            acks: Arc::new(Acks::new(false)),
            audits: Arc::new(Audits::new(tokio::sync::mpsc::unbounded_channel().0)),
            orders: tokio::sync::mpsc::channel(1).0,
            redirects: Arc::new(()),
            write_acks: 1,
            replicas: 1,
        }
    }
}

/// What is said of a write whose node has lost the copy that took it in.
const COPY_LOST: &str = "INDETERMINATE this node has lost its copy since; how many nodes have the write is not known";

impl Router {
    /// How many peers have a write; none if this node has lost the copy that took it in.
    pub(super) fn copies_of(&self, ticket: &Ticket) -> Option<usize> {
        // In this order: what was counted before the copy was lost counted rightly.
        let others = self.cluster.acks.count(ticket);
        self.store.still_holds(ticket).then_some(others)
    }

    /// Waits until enough nodes have a write; the error if they do not in time.
    pub(crate) async fn acknowledged(&self, ticket: &Ticket, since_us: u64) -> Result<(), Reply<'static>> {
        let Cluster { acks, write_acks, replicas, .. } = &self.cluster;
        let elapsed_us = self.services.clock.monotonic_us().saturating_sub(since_us);
        let time = Duration::from_micros(ACKS_TIMEOUT_US.saturating_sub(elapsed_us));
        // The wait ends early when too few of the peers are left; what counts is who has it then.
        let _ = tokio::time::timeout(time, acks.reached(ticket, write_acks - 1)).await;
        let Some(others) = self.copies_of(ticket) else { return Err(Reply::error(COPY_LOST)) };
        let reached = others + 1;
        if reached >= *write_acks {
            return Ok(());
        }
        Err(Reply::Error(format!("INDETERMINATE applied on {reached} of {replicas} replicas").into()))
    }
}

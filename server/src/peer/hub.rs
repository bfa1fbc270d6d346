//! The one task that decides which sessions are, and tells of it.
//!
//! Every session passes through here three times: when both nodes have proved themselves (may it be?), when its three
//! streams are open (it is up), and when it is over. One task in the middle makes the order of the events plain: a
//! peer has at most one session that is up, and goes down before it comes up again.

use std::sync::Arc;

use tokio::sync::{
    mpsc::{Receiver, Sender},
    oneshot,
};

use super::{
    Half, PeerEvent, Session,
    core::Core,
    tie::{Held, Tie},
};

/// What the hub is told.
pub(super) enum Notice {
    /// Both nodes have proved themselves. Answers whether the session may be.
    Offer(Arc<Tie>, oneshot::Sender<bool>),
    /// The streams are open: control, lane, bulk.
    Complete(Arc<Tie>, [Half; 3]),
    /// The session has ended. May be said many times.
    Ended(Arc<Tie>),
}

pub(super) struct Hub {
    core: Arc<Core>,
    events: Sender<PeerEvent>,
}

impl Hub {
    pub(super) fn new(core: Arc<Core>, events: Sender<PeerEvent>) -> Hub {
        Hub { core, events }
    }

    /// Works until the node stops.
    pub(super) async fn run(self, mut notices: Receiver<Notice>) {
        while let Some(notice) = notices.recv().await {
            match notice {
                Notice::Offer(tie, answer) => self.offer(tie, answer).await,
                Notice::Complete(tie, halves) => self.complete(tie, halves).await,
                Notice::Ended(tie) => self.bury(&tie).await,
            }
        }
    }

    async fn offer(&self, tie: Arc<Tie>, answer: oneshot::Sender<bool>) {
        if let Some(held) = self.core.registry.with(tie.peer) {
            let taken = held.up && held.tie.boot != tie.boot;
            if held.tie.why().is_none() && (taken || tie.rank <= held.tie.rank) {
                // Who asked may have given up.
                let _ = answer.send(false);
                return;
            }
            held.tie.end("another session with this peer took its place");
            self.bury(&held.tie).await;
        }
        self.core.registry.put(Held { tie: tie.clone(), up: false });
        if answer.send(true).is_err() {
            tie.end("its greeting was given up");
            self.bury(&tie).await;
        }
    }

    async fn complete(&self, tie: Arc<Tie>, [control, lane, bulk]: [Half; 3]) {
        let current = self.core.registry.alive_with(tie.peer).is_some_and(|held| held.tie.id == tie.id);
        if !current {
            return;
        }
        self.core.registry.put(Held { tie: tie.clone(), up: true });
        let session = Session {
            id: tie.id,
            peer: tie.peer,
            incarnation: tie.incarnation,
            address: tie.address.clone(),
            dialled: tie.dialled.clone(),
            control,
            lane,
            bulk,
        };
        self.tell(PeerEvent::Up(session)).await;
    }

    /// Forgets a session, and says so if it had been said that it is up.
    async fn bury(&self, tie: &Tie) {
        let Some(held) = self.core.registry.remove(tie) else { return };
        if tie.is_over_for_nonsense() {
            self.core.pause(tie);
        }
        if held.up {
            let why = tie.why().map_or_else(String::new, |why| why.to_string());
            self.tell(PeerEvent::Down { session: tie.id, peer: tie.peer, why }).await;
        }
    }

    async fn tell(&self, event: PeerEvent) {
        // Nobody listens any more when the node is about to stop.
        let _ = self.events.send(event).await;
    }
}

/// When the hub goes, nothing may go on that it would have to tell of.
impl Drop for Hub {
    fn drop(&mut self) {
        self.core.registry.end_all("this node stops");
    }
}

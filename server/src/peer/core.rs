//! What all tasks of the transport share.

use std::{
    collections::HashSet,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{mpsc::Sender, oneshot, watch};

use super::{
    PeerEvent, PeeringConfig, RawLink, SessionId,
    greeting::Greeting,
    hub::Notice,
    line::Line,
    pauses::Pauses,
    proof::{self, Name},
    tie::{Acquaintance, Registry, Tie},
};
use crate::clock::Clock;

pub(super) struct Core {
    pub(super) config: PeeringConfig,
    /// Drawn at the start: tells this boot from another one with the same identity.
    pub(super) boot: [u8; 16],
    pub(super) clock: Arc<dyn Clock>,
    pub(super) registry: Registry,
    /// Who is not met again yet.
    pub(super) pauses: Pauses,
    pub(super) events: Sender<PeerEvent>,
    pub(super) raw_links: Sender<RawLink>,
    /// What is being dialled.
    pub(super) dialling: Mutex<HashSet<String>>,
    pub(super) hub: Sender<Notice>,
    pub(super) stop: watch::Receiver<()>,
    pub(super) attempts: AtomicU64,
    pub(super) sessions: AtomicU64,
}

impl Core {
    /// Runs a task until it ends or the handle of the transport is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                // Nothing is ever sent: the sender goes with the handle.
                _ = stop.changed() => {}
            }
        });
    }

    /// The cluster's secret, or the empty one.
    pub(super) fn secret(&self) -> &[u8] {
        self.config.secret.as_ref().map_or(&[], |secret| secret.reveal().as_bytes())
    }

    /// A number for this node's next greeting as a dialler.
    pub(super) fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A greeting of this node, with a nonce of its own.
    pub(super) fn greeting(&self, attempt: u64, holds: Option<Name>) -> io::Result<Greeting> {
        let PeeringConfig { me, incarnation, cluster_name, secret, descriptor, advertise, is_protected: _, silence: _ } =
            &self.config;
        Ok(Greeting {
            cluster: cluster_name.clone(),
            descriptor: descriptor.clone().into(),
            node: *me,
            incarnation: *incarnation,
            boot: self.boot,
            advertise: advertise.clone(),
            secret: secret.is_some(),
            nonce: proof::drawn()?,
            attempt,
            holds,
            version_ms: self.clock.version_ms(),
            latest_ms: self.clock.latest_ms(),
        })
    }

    /// This boot of a peer said what no peer says: it is not met again at once.
    pub(super) fn pause(&self, tie: &Tie) {
        self.pauses.begin((tie.peer, tie.boot), self.clock.monotonic_us() / 1000);
    }

    /// Whether that was just now.
    pub(super) fn is_paused(&self, theirs: &Greeting) -> bool {
        self.pauses.holds(&(theirs.node, theirs.boot), self.clock.monotonic_us() / 1000)
    }

    /// A session with somebody who has proved itself, unless another one stays.
    pub(super) async fn offer(&self, with: Acquaintance) -> Option<Arc<Tie>> {
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1);
        let tie = Arc::new(Tie::new(id, with));
        let (answer, answered) = oneshot::channel();
        self.hub.send(Notice::Offer(tie.clone(), answer)).await.ok()?;
        answered.await.ok()?.then_some(tie)
    }

    /// The session's streams are open.
    pub(super) async fn complete(&self, tie: Arc<Tie>, lines: [Line; 3]) {
        let halves = lines.map(|line| line.into_half(&tie, &self.hub, self.config.silence));
        // The hub is gone only when the whole node is.
        let _ = self.hub.send(Notice::Complete(tie, halves)).await;
    }

    /// The session did not come about.
    pub(super) async fn abandon(&self, tie: Arc<Tie>, why: &str) {
        tie.end(why);
        let _ = self.hub.send(Notice::Ended(tie)).await;
    }
}

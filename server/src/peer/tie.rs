//! What holds the parts of one session together, and the list of the sessions there are.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use ring::id::{Incarnation, NodeId};
use tokio::sync::{oneshot, watch};

use super::{
    SessionId,
    line::{Line, Purpose},
    proof::{Name, SessionKey},
    rank::Rank,
};

/// One session, from the moment both nodes have proved themselves until it is over.
pub(super) struct Tie {
    pub(super) id: SessionId,
    pub(super) peer: NodeId,
    pub(super) incarnation: Incarnation,
    /// The name of the peer's boot.
    pub(super) boot: [u8; 16],
    pub(super) rank: Rank,
    pub(super) key: SessionKey,
    pub(super) name: Name,
    /// Where the peer's peer port is.
    pub(super) address: String,
    /// What was dialled, if this node dialled.
    pub(super) dialled: Option<String>,
    /// Why it is over, once it is.
    why: watch::Sender<Option<Arc<str>>>,
    /// It is over because the peer said what no peer says.
    nonsense: AtomicBool,
    /// Where the acceptor's lane and bulk streams are waited for.
    seats: [Mutex<Option<oneshot::Sender<Line>>>; 2],
}

/// Tells when a session is over.
pub(super) struct Ended(watch::Receiver<Option<Arc<str>>>);

impl Ended {
    /// Waits for it.
    pub(super) async fn wait(mut self) {
        // A session that nobody can end any more is over too.
        let _ = self.0.wait_for(Option::is_some).await;
    }
}

/// What two nodes know of each other once both have proved themselves.
pub(super) struct Acquaintance {
    pub(super) peer: NodeId,
    pub(super) boot: [u8; 16],
    pub(super) rank: Rank,
    pub(super) key: SessionKey,
    pub(super) address: String,
    pub(super) dialled: Option<String>,
}

impl Tie {
    /// A session that begins.
    pub(super) fn new(id: SessionId, with: Acquaintance) -> Tie {
        Tie {
            id,
            peer: with.peer,
            incarnation: with.rank.incarnation,
            boot: with.boot,
            rank: with.rank,
            name: with.key.name(),
            key: with.key,
            address: with.address,
            dialled: with.dialled,
            why: watch::Sender::new(None),
            nonsense: AtomicBool::new(false),
            seats: [Mutex::new(None), Mutex::new(None)],
        }
    }

    /// Ends the session and cuts its connections. The first reason stays.
    pub(super) fn end(&self, why: &str) {
        self.why.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert_with(|| why.into());
            first
        });
    }

    /// Ends it because the peer said what no peer says.
    pub(super) fn end_for_nonsense(&self, why: &str) {
        self.nonsense.store(true, Ordering::Release);
        self.end(why);
    }

    /// Whether it was ended so.
    pub(super) fn is_over_for_nonsense(&self) -> bool {
        self.nonsense.load(Ordering::Acquire)
    }

    /// Why it is over, if it is.
    pub(super) fn why(&self) -> Option<Arc<str>> {
        self.why.borrow().clone()
    }

    /// Tells when it is over.
    pub(super) fn ended(&self) -> Ended {
        Ended(self.why.subscribe())
    }

    /// Lets one stream of this purpose join; it comes through the receiver.
    pub(super) fn expect(&self, purpose: Purpose) -> oneshot::Receiver<Line> {
        let (seat, taken) = oneshot::channel();
        if let Some(free) = self.seat(purpose) {
            *free.lock() = Some(seat);
        }
        taken
    }

    /// The place of a stream, if one is waited for. Each is given once.
    pub(super) fn take_seat(&self, purpose: Purpose) -> Option<oneshot::Sender<Line>> {
        self.seat(purpose)?.lock().take()
    }

    fn seat(&self, purpose: Purpose) -> Option<&Mutex<Option<oneshot::Sender<Line>>>> {
        match purpose {
            Purpose::Control => None,
            Purpose::Lane => Some(&self.seats[0]),
            Purpose::Bulk => Some(&self.seats[1]),
        }
    }
}

/// The sessions that are, or are about to be: at most one per peer. The hub alone changes it.
#[derive(Default)]
pub(super) struct Registry(Mutex<HashMap<NodeId, Held>>);

/// One of them.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) tie: Arc<Tie>,
    /// Whether it was announced.
    pub(super) up: bool,
}

impl Registry {
    /// Puts a session in, in place of one before.
    pub(super) fn put(&self, held: Held) {
        self.0.lock().insert(held.tie.peer, held);
    }

    /// Takes this session out, unless another has its place.
    pub(super) fn remove(&self, tie: &Tie) -> Option<Held> {
        let mut sessions = self.0.lock();
        if sessions.get(&tie.peer)?.tie.id != tie.id {
            return None;
        }
        sessions.remove(&tie.peer)
    }

    /// The session with a peer, even if it has just ended.
    pub(super) fn with(&self, peer: NodeId) -> Option<Held> {
        self.0.lock().get(&peer).cloned()
    }

    /// The session with a peer that has not ended.
    pub(super) fn alive_with(&self, peer: NodeId) -> Option<Held> {
        self.with(peer).filter(|held| held.tie.why().is_none())
    }

    /// The session that is up with another boot of this identity. As long as it is, there is none for this one: whoever
    /// has copied an identity must not cut off the node that is at work under it. A boot that is gone ends its session,
    /// with its connections or by its silence.
    pub(super) fn taken_by_another_boot(&self, peer: NodeId, boot: &[u8; 16]) -> bool {
        self.alive_with(peer).is_some_and(|held| held.up && held.tie.boot != *boot)
    }

    /// The session that both sides call so.
    pub(super) fn named(&self, name: Name) -> Option<Arc<Tie>> {
        self.find(|tie| tie.name == name)
    }

    /// The session that this node calls so.
    pub(super) fn numbered(&self, id: SessionId) -> Option<Arc<Tie>> {
        self.find(|tie| tie.id == id)
    }

    /// Ends them all.
    pub(super) fn end_all(&self, why: &str) {
        for (_, held) in self.0.lock().drain() {
            held.tie.end(why);
        }
    }

    fn find(&self, is: impl Fn(&Tie) -> bool) -> Option<Arc<Tie>> {
        let sessions = self.0.lock();
        sessions.values().map(|held| &held.tie).find(|tie| tie.why().is_none() && is(tie)).cloned()
    }
}

//! How this node leaves, and how it sees others off.
//!
//! ```text
//!   leaving node                               every other node
//!     state Leaving ─────────────────────────────► places its slots anew, the next owners acquire
//!     acts for nothing any more
//!     DEPARTING ─────────────────────────────────► routes nothing to it, tells clients so
//!     ◄───────────────────────────────────── DEPART
//!     clients go between two commands
//!     holds nothing any more; state Left, ends
//! ```
//!
//! A client that is let go too early is sent back: it asks another node who serves its slots, hears of the node that
//! it comes from, and fails to connect. So clients go when nobody names this node any more.

use std::collections::HashSet;

use bytes::Bytes;
use ring::{id::Peer, member::State, slot::Slot};

use super::{Ended, Task};
use crate::{peer::SessionId, routes::Where};

/// A leaving node acts for nothing any more and asks that nobody is sent to it.
pub(super) const DEPARTING: u8 = 5;
/// The answer: nobody is.
pub(super) const DEPART: u8 = 6;

/// When nobody sends clients here any more they have so long to go between two commands; then they are cut off.
const CLIENTS_GO_MS: u64 = 5_000;

/// What a leaving node waits for.
pub(super) struct Leaving {
    since_ms: u64,
    asked: HashSet<SessionId>,
    answered: HashSet<SessionId>,
    /// Since when clients are asked to go.
    dismissed_ms: Option<u64>,
}

impl Task {
    pub(super) fn start_leaving(&mut self) {
        let since_ms = self.now_ms();
        let (asked, answered) = Default::default();
        self.leaving = Some(Leaving { since_ms, asked, answered, dismissed_ms: None });
        self.gossip.say_state(State::Leaving);
        self.refresh_view();
        // What moves now is what would be lost otherwise.
        self.rate.send_replace(None);
    }

    /// Lets the clients go as soon as nobody sends them here.
    pub(super) fn dismiss_clients(&mut self) {
        let nobody_stays = self.nobody_stays();
        let Some(leaving) = &self.leaving else { return };
        if leaving.dismissed_ms.is_some() {
            return;
        }
        if !nobody_stays {
            if Slot::all().any(|slot| self.routes.of(slot) == Where::Here) {
                return;
            }
            let sessions: Vec<(Peer, SessionId)> =
                self.sessions.iter().map(|(&peer, active)| (peer, active.id)).collect();
            for &(peer, session) in &sessions {
                if self.leaving.as_mut().is_some_and(|leaving| leaving.asked.insert(session)) {
                    self.send(peer, DEPARTING, Bytes::new());
                }
            }
            let answered = |session| self.leaving.as_ref().is_some_and(|leaving| leaving.answered.contains(session));
            if !sessions.iter().all(|(_, session)| answered(session)) {
                return;
            }
        }
        let now_ms = self.now_ms();
        if let Some(leaving) = &mut self.leaving {
            tracing::info!("nobody is sent here any more: clients go");
            leaving.dismissed_ms = Some(now_ms);
            self.dismiss.send_replace(true);
        }
    }

    pub(super) fn departing(&mut self, peer: Peer) {
        self.departing.insert(peer);
    }

    pub(super) fn depart(&mut self, session: SessionId) {
        if let Some(leaving) = &mut self.leaving {
            leaving.answered.insert(session);
        }
    }

    /// Answers the peers that want to go and that no client is sent to any more.
    pub(super) fn see_off(&mut self) {
        self.departing.retain(|peer| self.sessions.contains_key(peer));
        if self.departing.is_empty() {
            return;
        }
        let mut named: HashSet<Peer> = HashSet::new();
        for slot in Slot::all() {
            if let Where::There(peer) = self.routes.of(slot) {
                named.insert(peer);
            }
        }
        let free: Vec<Peer> = self.departing.iter().copied().filter(|peer| !named.contains(peer)).collect();
        if free.is_empty() {
            return;
        }
        self.publish(true);
        for peer in free {
            self.departing.remove(&peer);
            self.send(peer, DEPART, Bytes::new());
        }
    }

    /// Whether everything is handed on, or time is over.
    pub(super) fn has_left(&mut self) -> Option<Result<(), Ended>> {
        let now_ms = self.now_ms();
        let leaving = self.leaving.as_ref()?;
        let in_time = now_ms < leaving.since_ms + self.shutdown_timeout_ms;
        let held = self.machine.holdings().held;
        if held > 0 && !self.nobody_stays() {
            return (!in_time).then_some(Err(Ended::LeftBehind { slots: held }));
        }
        let clients_went = match leaving.dismissed_ms {
            None => false,
            Some(since_ms) => *self.clients_gone.borrow() || now_ms >= since_ms + CLIENTS_GO_MS,
        };
        if !clients_went && in_time {
            return None;
        }
        self.gossip.say_state(State::Left);
        self.push_news();
        Some(Ok(()))
    }

    fn nobody_stays(&self) -> bool {
        self.placed.iter().all(|node| node.id == self.me)
    }
}

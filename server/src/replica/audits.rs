//! What peers answer to the claims of an audit, until whoever asked has heard all of them.
//!
//! Answers travel in the lanes of the peers, see [`crate::store::Claim`]. With the session of a peer end the answers that
//! were expected from it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use ring::{
    control::Input,
    id::{NodeId, Peer, PeerSet},
    slot::Slot,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Duration, timeout},
};

use crate::store::Finding;

/// So many audits of this node are under way at most: each looks through everything.
const MOST_AUDITS: usize = 4;

/// The audits under way.
#[derive(Debug)]
pub struct Audits {
    open: Mutex<Open>,
    /// Where the control machine hears of copies that are spoilt.
    spoilt: mpsc::UnboundedSender<Input>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    rounds: BTreeMap<u64, Round>,
    /// Peers in session.
    peers: HashMap<Peer, NodeId>,
}

#[derive(Debug, Default)]
struct Round {
    waiting: HashMap<Slot, PeerSet>,
    answers: Vec<Answer>,
    changed: Arc<Notify>,
}

/// What a peer answered about a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The slot.
    pub slot: Slot,
    /// Who.
    pub peer: Peer,
    /// What it found its copy to be, and the digest of its content; none if it did not answer.
    pub found: Option<(Finding, u64)>,
}

/// An audit under way, until it is dropped.
#[derive(Debug)]
pub struct Audit<'a> {
    audits: &'a Audits,
    round: u64,
}

impl Audits {
    /// No audit is under way.
    pub fn new(spoilt: mpsc::UnboundedSender<Input>) -> Audits {
        Audits { open: Mutex::default(), spoilt }
    }

    /// Begins one; none if too many are under way.
    pub fn begin(&self) -> Option<Audit<'_>> {
        let mut open = self.open.lock();
        if open.rounds.len() >= MOST_AUDITS {
            return None;
        }
        open.last += 1;
        let round = open.last;
        open.rounds.insert(round, Round::default());
        Some(Audit { audits: self, round })
    }

    /// A session with a peer began.
    pub fn met(&self, peer: Peer, node: NodeId) {
        self.open.lock().peers.insert(peer, node);
    }

    /// The session with a peer is over.
    pub fn forget(&self, peer: Peer) {
        let mut open = self.open.lock();
        open.peers.remove(&peer);
        for round in open.rounds.values_mut() {
            round.lose(peer);
        }
    }

    /// Who is in session.
    pub fn peers(&self) -> Vec<(Peer, NodeId)> {
        self.open.lock().peers.iter().map(|(&peer, &node)| (peer, node)).collect()
    }

    /// Who the peer is, if it is in session.
    pub fn node(&self, peer: Peer) -> Option<NodeId> {
        self.open.lock().peers.get(&peer).copied()
    }

    /// A peer answered. Nobody may wait for it any more.
    pub fn answered(&self, round: u64, answer: Answer) {
        if let Some(round) = self.open.lock().rounds.get_mut(&round) {
            round.take(answer);
        }
    }

    /// Copies of a slot are not what their contexts say.
    pub fn tell_spoilt(&self, slot: Slot, copies: PeerSet, here: bool) {
        // Without a control task the node is about to end.
        let _ = self.spoilt.send(Input::Spoilt { slot, copies, here });
    }
}

impl Round {
    fn take(&mut self, answer: Answer) {
        let Some(peers) = self.waiting.get_mut(&answer.slot) else { return };
        if !peers.remove(answer.peer) {
            return;
        }
        if peers.is_empty() {
            self.waiting.remove(&answer.slot);
        }
        self.answers.push(answer);
        if self.waiting.is_empty() {
            self.changed.notify_one();
        }
    }

    fn lose(&mut self, peer: Peer) {
        let slots: Vec<Slot> =
            self.waiting.iter().filter(|(_, peers)| peers.contains(peer)).map(|(&slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.take(Answer { slot, peer, found: None }));
    }
}

impl Audit<'_> {
    /// The number that claims carry.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// These peers are about to be asked about a slot. An answer may come before the question is seen to be sent.
    pub fn expect(&self, slot: Slot, peers: PeerSet) {
        let mut open = self.audits.open.lock();
        let gone = peers.iter().filter(|peer| !open.peers.contains_key(peer)).collect::<PeerSet>();
        let Some(round) = open.rounds.get_mut(&self.round) else { return };
        if !peers.is_empty() {
            round.waiting.insert(slot, peers);
        }
        gone.iter().for_each(|peer| round.take(Answer { slot, peer, found: None }));
    }

    /// Those of the peers were not asked.
    pub fn not_sent(&self, slot: Slot, peers: PeerSet) {
        peers.iter().for_each(|peer| self.audits.answered(self.round, Answer { slot, peer, found: None }));
    }

    /// All answers, as soon as all peers have answered, and when the time is over.
    pub async fn answers(&self, time: Duration) -> Vec<Answer> {
        let changed = self.look(|round| round.changed.clone());
        let all = async {
            while !self.look(|round| round.waiting.is_empty()) {
                changed.notified().await;
            }
        };
        let _ = timeout(time, all).await;
        self.look(|round| {
            let waiting = std::mem::take(&mut round.waiting);
            let lost = waiting.into_iter().flat_map(|(slot, peers)| {
                peers.iter().map(|peer| Answer { slot, peer, found: None }).collect::<Vec<_>>()
            });
            let mut answers = std::mem::take(&mut round.answers);
            answers.extend(lost);
            answers
        })
    }

    fn look<R>(&self, look: impl FnOnce(&mut Round) -> R) -> R {
        let mut open = self.audits.open.lock();
        look(open.rounds.entry(self.round).or_default())
    }
}

impl Drop for Audit<'_> {
    fn drop(&mut self) {
        self.audits.open.lock().rounds.remove(&self.round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS: [Peer; 2] = [Peer(1), Peer(2)];

    fn audits() -> Audits {
        let audits = Audits::new(mpsc::unbounded_channel().0);
        PEERS.iter().for_each(|&peer| audits.met(peer, NodeId::from_seed(peer.0.into())));
        audits
    }

    fn answer(slot: u16, peer: Peer, found: Option<(Finding, u64)>) -> Answer {
        Answer { slot: Slot::new(slot).unwrap(), peer, found }
    }

    #[tokio::test]
    async fn an_audit_waits_for_those_who_can_answer() {
        let audits = audits();
        let audit = audits.begin().unwrap();
        for slot in [3, 4] {
            audit.expect(Slot::new(slot).unwrap(), [Peer(1), Peer(2), Peer(9)].into_iter().collect());
        }
        let equal = Some((Finding::Equal, 7));
        audits.answered(audit.round(), answer(3, Peer(1), equal));
        audits.answered(audit.round(), answer(4, Peer(1), equal));
        // A second answer, one to another audit, one about another slot: all the same to this one.
        audits.answered(audit.round(), answer(4, Peer(1), None));
        audits.answered(audit.round() + 1, answer(4, Peer(2), equal));
        audits.answered(audit.round(), answer(5, Peer(2), equal));
        audit.not_sent(Slot::new(3).unwrap(), [Peer(2)].into_iter().collect());
        audits.forget(Peer(2));
        let mut answers = audit.answers(Duration::from_secs(60)).await;
        answers.sort_by_key(|answer| (answer.slot, answer.peer));
        let expected =
            [3, 4].map(|slot| [answer(slot, Peer(1), equal), answer(slot, Peer(2), None), answer(slot, Peer(9), None)]);
        assert_eq!(answers, expected.concat());
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_waited_for_for_ever() {
        let audits = audits();
        let audit = audits.begin().unwrap();
        audit.expect(Slot::new(3).unwrap(), [Peer(1)].into_iter().collect());
        assert_eq!(audit.answers(Duration::ZERO).await, [answer(3, Peer(1), None)]);
    }

    #[test]
    fn only_so_many_are_under_way() {
        let audits = audits();
        let mut open: Vec<_> = (0..MOST_AUDITS).map(|_| audits.begin().unwrap()).collect();
        assert!(audits.begin().is_none());
        open.pop();
        assert!(audits.begin().is_some());
    }
}

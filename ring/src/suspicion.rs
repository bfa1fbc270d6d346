//! Suspicion: which peers have gone silent.
//!
//! Peers send something at least every 50 ms. A peer of whom nothing was heard for 500 ms is suspected, until it is
//! heard again; a peer whose link broke is suspected at once.
//!
//! A node that was stopped or starved for a second has heard nobody in that second, and the fault is its own. Silence
//! is therefore measured on a clock that only runs while this node listens: when a step comes later than
//! [`Config::patience_ms`] after the last one, the time beyond that does not count. Lifeguard (Dadgar, Phillips and
//! Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2018) has the same aim. A node
//! whose loop always comes late suspects later, at most by the factor by which it is late. A step that comes *very*
//! late is reported as a stall: others may have acted meanwhile.
//!
//! One thing is left to the caller: after a stall it hands over what waits in its sockets before it ticks again.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use crate::id::NodeId;

/// How patient a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How often a node ticks and sends something to every peer.
    pub heartbeat_ms: u64,
    /// After how much silence a peer is suspected.
    pub suspect_ms: u64,
    /// How late a step may come before the rest of the time no longer counts.
    pub patience_ms: u64,
    /// From which lateness on a step is reported as a stall.
    pub stall_ms: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config { heartbeat_ms: 50, suspect_ms: 500, patience_ms: 100, stall_ms: 350 }
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// Something arrived from the peer; the first thing makes it a peer.
    Heard(NodeId),
    /// The link to the peer broke.
    Lost(NodeId),
    /// The peer is of no interest any more.
    Forget(NodeId),
    /// Time passed.
    Tick,
}

/// What follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// The peer has gone silent.
    Suspect(NodeId),
    /// The peer is back.
    Trust(NodeId),
    /// This node did not run for so long.
    Stalled {
        /// How long no step was made.
        for_ms: u64,
    },
}

/// Who is silent.
#[derive(Debug)]
pub struct Suspicion {
    config: Config,
    /// When the last step was made, by the caller's clock.
    stepped_ms: u64,
    /// The time spent listening.
    listened_ms: u64,
    peers: BTreeMap<NodeId, Peer>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    /// When it was last heard, in time spent listening.
    heard_ms: u64,
    suspected: bool,
}

impl Suspicion {
    /// Knows nobody yet.
    pub fn new(config: Config, now_ms: u64) -> Suspicion {
        let (peers, outputs) = (BTreeMap::new(), VecDeque::new());
        Suspicion { config, stepped_ms: now_ms, listened_ms: 0, peers, outputs }
    }

    /// Makes one step; drain [`Suspicion::poll_output`] after it.
    pub fn handle(&mut self, input: Input, now_ms: u64) {
        self.step(now_ms);
        match input {
            Input::Heard(peer) => self.heard(peer),
            Input::Lost(peer) => self.suspect_if(|id, _| id == peer),
            Input::Forget(peer) => {
                self.peers.remove(&peer);
            }
            Input::Tick => {
                let silent_since = self.listened_ms.checked_sub(self.config.suspect_ms);
                self.suspect_if(|_, peer| silent_since.is_some_and(|since| peer.heard_ms <= since));
            }
        }
    }

    /// What follows from the steps made, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to tick next.
    pub fn poll_timeout(&self) -> u64 {
        self.stepped_ms + self.config.heartbeat_ms
    }

    /// Whether the peer is known and not suspected.
    pub fn trusts(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| !peer.suspected)
    }

    /// Everyone who is suspected.
    pub fn suspects(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.suspected).map(|(&id, _)| id)
    }

    fn step(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.stepped_ms);
        self.stepped_ms = now_ms.max(self.stepped_ms);
        self.listened_ms += passed_ms.min(self.config.patience_ms);
        if passed_ms >= self.config.stall_ms {
            self.outputs.push_back(Output::Stalled { for_ms: passed_ms });
        }
    }

    fn heard(&mut self, id: NodeId) {
        let heard_ms = self.listened_ms;
        let known = self.peers.insert(id, Peer { heard_ms, suspected: false });
        if known.is_none_or(|peer| peer.suspected) {
            self.outputs.push_back(Output::Trust(id));
        }
    }

    fn suspect_if(&mut self, is_lost: impl Fn(NodeId, &Peer) -> bool) {
        let lost: Vec<NodeId> =
            self.peers.iter().filter(|(id, peer)| !peer.suspected && is_lost(**id, peer)).map(|(&id, _)| id).collect();
        for id in lost {
            self.peers.entry(id).and_modify(|peer| peer.suspected = true);
            self.outputs.push_back(Output::Suspect(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(number: u8) -> NodeId {
        NodeId::from_bytes([number; 20])
    }

    fn outputs(suspicion: &mut Suspicion) -> Vec<Output> {
        core::iter::from_fn(|| suspicion.poll_output()).collect()
    }

    /// A node that has heard peers 1 and 2 at time 0.
    fn with_two_peers() -> Suspicion {
        let mut suspicion = Suspicion::new(Config::default(), 0);
        suspicion.handle(Input::Heard(peer(1)), 0);
        suspicion.handle(Input::Heard(peer(2)), 0);
        assert_eq!(outputs(&mut suspicion), [Output::Trust(peer(1)), Output::Trust(peer(2))]);
        suspicion
    }

    fn tick(suspicion: &mut Suspicion, times: impl IntoIterator<Item = u64>) {
        times.into_iter().for_each(|now_ms| suspicion.handle(Input::Tick, now_ms));
    }

    #[test]
    fn silence_is_suspected_after_half_a_second_and_ends_with_a_word() {
        let mut suspicion = with_two_peers();
        for now_ms in (50..500).step_by(50) {
            suspicion.handle(Input::Heard(peer(2)), now_ms);
            suspicion.handle(Input::Tick, now_ms);
        }
        assert_eq!(outputs(&mut suspicion), []);
        assert_eq!(suspicion.poll_timeout(), 500);
        tick(&mut suspicion, [500, 550]);
        assert_eq!(outputs(&mut suspicion), [Output::Suspect(peer(1))]);
        assert!(!suspicion.trusts(peer(1)) && suspicion.trusts(peer(2)));
        suspicion.handle(Input::Heard(peer(1)), 560);
        assert_eq!(outputs(&mut suspicion), [Output::Trust(peer(1))]);
    }

    #[test]
    fn a_broken_link_is_suspected_at_once_and_once() {
        let mut suspicion = with_two_peers();
        suspicion.handle(Input::Lost(peer(1)), 10);
        suspicion.handle(Input::Lost(peer(1)), 20);
        suspicion.handle(Input::Lost(peer(3)), 20);
        assert_eq!(outputs(&mut suspicion), [Output::Suspect(peer(1))]);
        assert_eq!(suspicion.suspects().collect::<Vec<_>>(), [peer(1)]);
        suspicion.handle(Input::Forget(peer(1)), 30);
        assert_eq!(suspicion.suspects().count(), 0);
    }

    #[test]
    fn a_node_that_was_stopped_suspects_nobody_for_it() {
        let mut suspicion = with_two_peers();
        tick(&mut suspicion, [50, 10_050]);
        assert_eq!(outputs(&mut suspicion), [Output::Stalled { for_ms: 10_000 }]);
        // 150 ms of listening are over; the other 350 have to pass in normal steps.
        tick(&mut suspicion, (10_100..10_400).step_by(50));
        assert_eq!(outputs(&mut suspicion), []);
        tick(&mut suspicion, [10_400]);
        assert_eq!(outputs(&mut suspicion), [Output::Suspect(peer(1)), Output::Suspect(peer(2))]);
    }

    proptest! {
        /// However late the steps come, a peer that is heard between any two of them is never suspected, and one that
        /// is never heard is suspected in the end.
        #[test]
        fn lateness_alone_accuses_nobody_and_saves_nobody(steps in prop::collection::vec(1u64..2_000, 1..60)) {
            let mut suspicion = with_two_peers();
            let mut now_ms = 0;
            for step in steps.into_iter().chain([100; 6]) {
                now_ms += step;
                suspicion.handle(Input::Heard(peer(2)), now_ms);
                suspicion.handle(Input::Tick, now_ms);
            }
            prop_assert!(suspicion.trusts(peer(2)));
            prop_assert!(!suspicion.trusts(peer(1)));
        }
    }
}

//! What has happened to this node as part of the ring since it started: what an operator asks first in the morning.
//!
//! The control task writes, INFO and `/metrics` read. A ring where nothing goes wrong and nobody comes or goes shows no
//! suspicion, no verdict and no slot that changed hands.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use ring::{
    control::Counts,
    id::{NodeId, Peer},
};

/// Counters of the node's life.
#[derive(Debug, Default)]
pub struct Life {
    sessions: AtomicU64,
    suspicions: AtomicU64,
    verdicts: AtomicU64,
    overflows: AtomicU64,
    stalls: AtomicU64,
    lapses: AtomicU64,
    slots: Mutex<Counts>,
    connected: Mutex<BTreeMap<NodeId, Peer>>,
}

/// The counters at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// Sessions with other nodes that began.
    pub sessions: u64,
    /// Sessions that this node ended because the other one was silent.
    pub suspicions: u64,
    /// Verdicts on other nodes that this node has spoken.
    pub verdicts: u64,
    /// Lanes that had to be closed because more waited than the window allows.
    pub overflows: u64,
    /// How often this node itself stood still.
    pub stalls: u64,
    /// How often others may have acted in its place meanwhile.
    pub lapses: u64,
    /// What became of its slots.
    pub slots: Counts,
}

impl Counted {
    /// Every counter with its name and what it counts.
    pub fn named(&self) -> [(&'static str, u64, &'static str); 12] {
        let Counts { acquired, opened, pulled, repaired, released, spoilt } = self.slots;
        [
            ("sessions_begun", self.sessions, "Sessions with other nodes that began."),
            ("suspicions", self.suspicions, "Sessions that ended because the other node was silent."),
            ("verdicts", self.verdicts, "Verdicts on other nodes that this node spoke."),
            ("lanes_overflowed", self.overflows, "Lanes that were closed because too much waited in them."),
            ("stalls", self.stalls, "How often this node stood still."),
            ("lapses", self.lapses, "How often it acquired anew after that, since others may have acted in its place."),
            ("slots_acquired", acquired, "How often this node began to act for a slot."),
            ("slots_opened_empty", opened, "Slots that nobody held and this node opened empty."),
            ("slots_pulled", pulled, "Copies of slots that were fetched until they were ready."),
            ("slots_repaired", repaired, "Snapshots that were joined to mend a copy."),
            ("slots_released", released, "Copies of slots that were forgotten because their targets have them."),
            (
                "slots_spoilt",
                spoilt,
                "Copies that were not what their contexts say and were forgotten to be pulled again.",
            ),
        ]
    }
}

impl Life {
    /// A session began.
    pub fn session_began(&self, node: NodeId, peer: Peer) {
        self.sessions.fetch_add(1, Relaxed);
        self.connected.lock().insert(node, peer);
    }

    /// A session ended.
    pub fn session_ended(&self, node: NodeId) {
        self.connected.lock().remove(&node);
    }

    /// A peer was silent for the suspect time.
    pub fn suspected(&self) {
        self.suspicions.fetch_add(1, Relaxed);
    }

    /// A verdict was spoken.
    pub fn judged(&self) {
        self.verdicts.fetch_add(1, Relaxed);
    }

    /// A lane overflowed.
    pub fn overflowed(&self) {
        self.overflows.fetch_add(1, Relaxed);
    }

    /// This node did not run for a while.
    pub fn stalled(&self) {
        self.stalls.fetch_add(1, Relaxed);
    }

    /// Others may have acted in this node's place while it stood still.
    pub fn lapsed(&self) {
        self.lapses.fetch_add(1, Relaxed);
    }

    /// What the control machine has done so far.
    pub fn slots_moved(&self, counts: Counts) {
        *self.slots.lock() = counts;
    }

    /// Who is in session, under which index.
    pub fn connected(&self) -> BTreeMap<NodeId, Peer> {
        self.connected.lock().clone()
    }

    /// All counters.
    pub fn counted(&self) -> Counted {
        Counted {
            sessions: self.sessions.load(Relaxed),
            suspicions: self.suspicions.load(Relaxed),
            verdicts: self.verdicts.load(Relaxed),
            overflows: self.overflows.load(Relaxed),
            stalls: self.stalls.load(Relaxed),
            lapses: self.lapses.load(Relaxed),
            slots: *self.slots.lock(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted_once() {
        let life = Life::default();
        assert_eq!(life.counted(), Counted::default());
        life.session_began(NodeId::from_seed(1), Peer(1));
        life.session_began(NodeId::from_seed(2), Peer(2));
        life.session_ended(NodeId::from_seed(1));
        life.suspected();
        life.judged();
        life.overflowed();
        life.stalled();
        life.lapsed();
        let slots = Counts { acquired: 3, ..Counts::default() };
        life.slots_moved(slots);
        let wanted = Counted { sessions: 2, suspicions: 1, verdicts: 1, overflows: 1, stalls: 1, lapses: 1, slots };
        assert_eq!(life.counted(), wanted);
        assert_eq!(life.connected().len(), 1);
    }
}

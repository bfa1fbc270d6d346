//! Facts: what this node says of itself, what it hears of others, and what it concludes.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use ring::{
    boot::{Answer, Boot, heard_of_myself},
    codec::Malformed,
    facts::{Change, Delta, Digest, Facts, Grave},
    hlc::Hlc,
    id::{Incarnation, NodeId},
    member::{Key, Meta, PublishedSlots, State, Verdict},
    slot::{SLOTS, Slot},
    slot_set::{CHUNK, SlotSet},
    verdict::{Config, Input, Judge, Now, Output},
    view::View,
};

use crate::clock::Clock;

/// How much of what a peer lacks is sent at a time.
const DELTA_BYTES: usize = 3 << 20;

/// The facts with everything that turns them into a view.
pub(super) struct Gossip {
    clock: Arc<dyn Clock>,
    facts: Facts,
    judge: Judge,
    ready: SlotSet,
    /// Nothing is said to be ready.
    withheld: bool,
    /// Pieces of `ready` that changed and are not said yet.
    unsaid: Vec<bool>,
    view: Arc<View>,
    /// Of whom the view has which boot, and up to which version of what it says.
    viewed: HashMap<NodeId, (Incarnation, u64)>,
    /// The facts changed since the view was derived.
    stale: bool,
    at_work: bool,
}

/// Why the node has to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct GiveWay(pub(super) String);

impl Gossip {
    pub(super) fn new(
        me: NodeId,
        incarnation: Incarnation,
        meta: &Meta,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Gossip {
        let mut facts = Facts::new(me, incarnation);
        let mut value = Vec::new();
        meta.encode(&mut value);
        // A namespace has room for far more than what a node says of itself.
        let _ = facts.set(&Key::Meta.to_bytes(), &value);
        let view = Arc::new(View::derive(&facts, SLOTS));
        let judge = Judge::new(me, config);
        let ready = SlotSet::new(SLOTS);
        let unsaid = vec![true; SlotSet::chunks(SLOTS)];
        let viewed = HashMap::new();
        let (withheld, stale, at_work) = (false, true, false);
        let mut gossip = Gossip { clock, facts, judge, ready, withheld, unsaid, view, viewed, stale, at_work };
        gossip.say_state(State::Joining);
        gossip
    }

    /// What is known of everybody.
    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// This boot.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.facts.incarnation()
    }

    /// The version to remember before a change, for [`Gossip::news`].
    pub(super) fn version(&self) -> u64 {
        self.facts.version()
    }

    /// How much of what a node says is in the view: which boot's, up to which version.
    pub(super) fn viewed(&self, node: NodeId) -> Option<(Incarnation, u64)> {
        if self.stale {
            return self.viewed.get(&node).copied();
        }
        // A version may rise without anything in it that a view is made from.
        let (_, said) = self.facts.nodes().find(|&(id, _)| id == node)?;
        Some((said.incarnation(), said.version()))
    }

    /// What this node says that it did not say at that version.
    pub(super) fn news(&mut self, since: u64) -> Option<Bytes> {
        if self.facts.version() == since {
            return None;
        }
        let mut bytes = Vec::new();
        self.facts.fresh(since).encode(&mut bytes);
        Some(bytes.into())
    }

    pub(super) fn digest(&self) -> Bytes {
        let mut bytes = Vec::new();
        self.facts.digest().encode(&mut bytes);
        bytes.into()
    }

    /// What the sender of a digest lacks.
    pub(super) fn answer(
        &mut self,
        digest: &[u8],
        live: impl Fn(NodeId) -> Option<Incarnation>,
    ) -> Result<Result<Bytes, GiveWay>, Malformed> {
        let digest = Digest::decode(digest)?;
        let changes = self.facts.heed(&digest);
        if let Err(give_way) = self.follow(changes, live) {
            return Ok(Err(give_way));
        }
        let mut bytes = Vec::new();
        self.facts.delta_for(&digest, DELTA_BYTES).encode(&mut bytes);
        Ok(Ok(bytes.into()))
    }

    /// Takes in what a peer said. `live` says under which incarnation a session with a node is held.
    pub(super) fn take_in(
        &mut self,
        delta: &[u8],
        live: impl Fn(NodeId) -> Option<Incarnation>,
    ) -> Result<Result<(), GiveWay>, Malformed> {
        let changes = self.facts.apply(Delta::decode(delta)?);
        self.stale |= !changes.is_empty();
        Ok(self.follow(changes, live))
    }

    /// Forgets a node that is over, and has the others forget it that are not in session with it.
    pub(super) fn forget(&mut self, grave: Grave) {
        self.stale |= self.facts.bury(grave);
    }

    pub(super) fn say_state(&mut self, state: State) {
        let mut value = Vec::new();
        state.encode(self.now_hlc(), &mut value);
        // A namespace has room for far more than what a node says of itself.
        self.stale |= self.facts.set(&Key::State.to_bytes(), &value).unwrap_or(false);
        self.at_work |= state == State::Up;
    }

    pub(super) fn set_ready(&mut self, slot: Slot, is_ready: bool) {
        let changed = if is_ready { self.ready.insert(slot) } else { self.ready.remove(slot) };
        self.unsaid[slot.index() / CHUNK] |= changed;
    }

    /// Says of no slot that it is ready, or of all that are again.
    pub(super) fn withhold(&mut self, withheld: bool) {
        if self.withheld != withheld {
            self.withheld = withheld;
            self.unsaid.fill(true);
        }
    }

    /// Says which slots are ready, where that changed.
    pub(super) fn say_ready(&mut self) {
        for chunk in 0..self.unsaid.len() {
            if std::mem::take(&mut self.unsaid[chunk]) {
                let nothing = SlotSet::new(SLOTS);
                let ready = if self.withheld { &nothing } else { &self.ready };
                let piece = PublishedSlots { at: self.now_hlc(), slots: ready.chunk(chunk) };
                let mut value = Vec::new();
                piece.encode(&mut value);
                self.stale |= self.facts.set(&Key::Ready(chunk as u8).to_bytes(), &value).unwrap_or(false);
            }
        }
    }

    /// Who is in reach, for the verdicts; carries out what follows from it. How many verdicts were spoken against somebody.
    pub(super) fn judge(&mut self, reach: impl Iterator<Item = (NodeId, bool)>) -> usize {
        let mut spoken = 0;
        let now = Now { ms: self.clock.monotonic_us() / 1000, unix_ms: self.clock.version_ms() };
        for (node, is_reached) in reach {
            let input = if is_reached { Input::Reachable(node) } else { Input::Unreachable(node) };
            self.judge.handle(input, now);
        }
        self.judge.handle(Input::View(&self.view), now);
        while let Some(output) = self.judge.poll_output() {
            if let Output::Say(node, statement) = output {
                tracing::info!(node = %node.short(), verdict = ?statement.verdict, strikes = statement.strikes, "verdict");
                spoken += usize::from(!matches!(statement.verdict, Verdict::Up | Verdict::Back));
            }
            match output.write(&mut self.facts) {
                Ok(changed) => self.stale |= changed,
                Err(full) => tracing::warn!(?full, "a fact finds no room"),
            }
        }
        spoken
    }

    /// Derives the view anew if facts changed; true if it did.
    pub(super) fn refresh(&mut self) -> bool {
        std::mem::take(&mut self.stale) && {
            self.view = Arc::new(View::derive(&self.facts, SLOTS));
            self.viewed = self.facts.nodes().map(|(id, said)| (id, (said.incarnation(), said.version()))).collect();
            true
        }
    }

    fn follow(&mut self, changes: Vec<Change>, live: impl Fn(NodeId) -> Option<Incarnation>) -> Result<(), GiveWay> {
        for change in changes {
            match change {
                Change::Buried(grave) if live(grave.node) != Some(grave.incarnation) => {
                    self.stale |= self.facts.bury(grave);
                }
                Change::Myself(heard) => self.heard_of_myself(heard)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Facts of a former boot go round. They are outbid, or this boot has to end: peers greet an incarnation, so it
    /// cannot change while the node runs.
    fn heard_of_myself(&mut self, heard: Incarnation) -> Result<(), GiveWay> {
        let me = Boot { incarnation: self.facts.incarnation(), at_work: self.at_work };
        match heard_of_myself(me, heard, None) {
            Answer::Ignore | Answer::Stay => Ok(()),
            Answer::Raise(_) | Answer::GiveWay => Err(GiveWay(format!(
                "node id {} is known under incarnation {}, which is later than this boot's {}: \
                 another node runs under the same id, or the clock of this machine was set back",
                self.facts.me(),
                heard.0,
                me.incarnation.0
            ))),
        }
    }

    fn now_hlc(&self) -> Hlc {
        Hlc::at_unix_ms(self.clock.version_ms())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ring::member::{Descriptor, Partition};

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_node_that_withholds_its_slots_says_that_it_has_none_and_then_all_again() {
        let (me, slot) = (NodeId::from_seed(1), Slot::of(b"key"));
        let descriptor = Descriptor {
            format: 1,
            replicas: 2,
            slots: SLOTS as u16,
            vnodes: 256,
            headroom: 50,
            partition: Partition::Majority,
        };
        let meta = Meta {
            name: "a".into(),
            version: "1".into(),
            host: "h".into(),
            port: 1,
            cluster_port: 2,
            peer_port: 3,
            admin_port: 4,
            announce_host: String::new(),
            announce_port: 0,
            announce_cluster_port: 0,
            zone: "z".into(),
            weight: 1,
            joined_unix_ms: 0,
            descriptor,
        };
        let clock = Arc::new(ManualClock::new(1_000));
        let mut gossip = Gossip::new(me, Incarnation(1), &meta, Config::for_replicas(2), clock.clone());
        let mut says_ready = |withheld| {
            clock.advance(Duration::from_millis(1));
            gossip.withhold(withheld);
            gossip.set_ready(slot, true);
            gossip.say_ready();
            gossip.refresh();
            gossip.view().member(me).is_some_and(|me| me.ready.contains(slot))
        };
        assert_eq!([false, true, true, false].map(&mut says_ready), [true, false, false, true]);
    }
}

//! What a copy lacks, who sent it, and who was asked for it.

use crate::{
    context::SlotContext,
    dot::Dot,
    id::{Peer, PeerSet},
};

/// What arrived and was not incorporated by a copy that counts, be it in an earlier tenure.
#[derive(Debug, Default)]
pub(super) struct Missing {
    up_to: SlotContext,
    senders: PeerSet,
    /// Who was asked for its copy after it had last sent something that is missing.
    asked: PeerSet,
    /// A mutation: whoever was asked is not asked again.
    pub(super) asked_once: bool,
}

impl Missing {
    /// An effect from this peer is not in.
    pub(super) fn effect(&mut self, from: Peer, dot: Dot) {
        self.up_to.advance(dot.origin, dot.hlc);
        self.sent_by(from);
    }

    /// This peer has all of that, and not all of it is here.
    pub(super) fn all_of(&mut self, from: Peer, seen: &SlotContext) {
        self.up_to.join(seen);
        self.sent_by(from);
    }

    fn sent_by(&mut self, from: Peer) {
        self.senders.insert(from);
        if !self.asked_once {
            self.asked.remove(from);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.up_to.is_empty()
    }

    /// Whether a copy with this context has everything.
    pub(super) fn is_in(&self, seen: &SlotContext) -> bool {
        seen.dominates(&self.up_to)
    }

    /// Who is to be asked for its copy.
    pub(super) fn unasked(&self) -> PeerSet {
        self.senders.difference(self.asked)
    }

    /// This peer is asked.
    pub(super) fn ask(&mut self, from: Peer) {
        self.asked.insert(from);
    }

    /// Answers that are on their way are not for the next copy: it asks again.
    pub(super) fn ask_anew(&mut self) {
        self.asked = PeerSet::EMPTY;
    }

    /// Nothing is missing.
    pub(super) fn clear(&mut self) {
        *self = Missing { asked_once: self.asked_once, ..Missing::default() };
    }
}

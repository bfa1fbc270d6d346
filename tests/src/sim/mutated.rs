//! Mistakes that are made around the code of production, and not in it: see [`Mutation`].

use ring::{dot::Dot, effect::Cause, id::Peer, replica::Role, slot::Slot};

use super::{mutation::Mutation, world::World};

impl World {
    /// Whether a copy removes single entries on its own account.
    pub(super) fn reclaims_alone(&self, cause: Cause, role: Role) -> bool {
        let wrong = match cause {
            Cause::Evict => Mutation::Thin,
            _ => Mutation::CopiesExpire,
        };
        self.mutation == Some(wrong) && role == Role::Following
    }

    /// A session ended: what changes from now on the peer lacks. What was on its way nobody thinks of.
    pub(super) fn mark_clean(&mut self, at: usize, other: usize) {
        if self.mutation == Some(Mutation::CompareDirtyOnly) {
            let node = &mut self.nodes[at];
            node.clean[other] = node.copies.slots.iter().map(|copy| Some(copy.digest())).collect();
        }
    }

    /// Whether a compare record is left out because the slot is not dirty.
    pub(super) fn leaves_out_compare(&mut self, at: usize, slot: Slot, to: Peer) -> bool {
        if self.mutation != Some(Mutation::CompareDirtyOnly) {
            return false;
        }
        let node = &mut self.nodes[at];
        let now = Some(node.copies.slots[slot.index()].digest());
        std::mem::replace(&mut node.clean[to.index()][slot.index()], now) == now
    }

    /// Who acts finds origins of which all copies that it counts on have the same, and that nobody writes under any more.
    /// From then on they count as known everywhere.
    pub(super) fn retire_origins(&mut self, at: usize) {
        if self.mutation != Some(Mutation::OriginsRetired) {
            return;
        }
        for slot in self.every_slot().filter(|&slot| self.nodes[at].acts(slot)) {
            let acting = &self.nodes[at].copies.slots[slot.index()];
            let current = |dot: Dot| self.nodes.iter().any(|node| node.copies.slots[slot.index()].is_of(dot.origin));
            let agreed = |dot: Dot| {
                let same =
                    |peer: Peer| self.nodes[peer.index()].copies.slots[slot.index()].seen().seen(dot.origin) == dot.hlc;
                acting.counting().iter().all(same)
            };
            let known = acting.seen().iter().map(|(origin, hlc)| Dot::new(hlc, origin));
            let over: Vec<_> = known.filter(|&dot| !current(dot) && agreed(dot)).map(|dot| (slot, dot)).collect();
            self.retired.extend(over);
        }
        for &(slot, dot) in &self.retired {
            self.nodes[at].copies.slots[slot.index()].claim(dot);
        }
    }
}

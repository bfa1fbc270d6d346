//! What the control machine may do to this node's copies.

use crate::{
    replica::{Entries, Replica},
    slot::Slot,
};

/// This node's copies, one at a time, each under one hold of its lock.
pub trait Slots {
    /// The entries of a slot.
    type Entries: Entries;

    /// Runs `f` on the copy of a slot, with nothing else running on it meanwhile.
    fn with<R>(&mut self, slot: Slot, f: impl FnOnce(&mut Replica<Self::Entries>) -> R) -> R;
}

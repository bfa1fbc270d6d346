//! What must hold, one property a file. The simulator asks after every step that could break it.

mod apart;
mod atomic;
mod causality;
mod clocks;
mod content;
mod convergence;
mod coverage;
mod durability;
mod fold;
mod hand_over;
mod origins;
mod quorum;
mod ready;
mod release;
mod resurrection;
mod single_executor;

use std::fmt;

use ring::slot::Slot;

pub use apart::{acts_alone, alone_though_apart};
pub use clocks::clock_is_right;
pub use content::what_nothing_removed_is_held;
pub use convergence::{convergence, nothing_missing, still};
pub use durability::{is_on_enough_copies, nothing_lost, survives};
pub use hand_over::hand_over;
pub use origins::{dots_rise, origin_is_new};
pub use quorum::{everything_holds, quorum_available, quorum_visible};
pub use ready::ready_is_honest;
pub use release::{forgets_what_was_granted, grants_what_it_has};
pub use single_executor::{sees_what_was_executed, single_executor};

use crate::sim::World;

/// A property that does not hold, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The property.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

impl Violation {
    /// A violation of this property.
    pub fn new(invariant: &'static str, seen: String) -> Violation {
        Violation { invariant, seen }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.seen)
    }
}

/// Everything that must hold of one copy at any time.
pub fn of_copy(world: &World, node: usize, slot: Slot) -> Result<(), Violation> {
    let copy = &world.nodes[node].copies.slots[slot.index()];
    if !copy.role().holds() {
        return Ok(());
    }
    fold::fold(node, copy)?;
    coverage::held_is_covered(node, copy)?;
    coverage::covered_is_incorporated(world, node, copy)?;
    causality::causality(world, node, copy)?;
    atomic::atomic(world, node, copy)?;
    resurrection::no_resurrection(world, node, copy)
}

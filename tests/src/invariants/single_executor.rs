//! No two nodes that are in session execute for a slot, and who executes has seen what those executed that it is in
//! session with.

use ring::{id::Peer, slot::Slot};

use super::Violation;
use crate::sim::World;

/// Nobody begins to act beside a node that it is in session with.
pub fn single_executor(world: &World, node: usize, slot: Slot) -> Result<(), Violation> {
    let beside =
        |other: &usize| *other != node && world.in_whole_session(node, *other) && world.nodes[*other].acts(slot);
    match (0..world.nodes.len()).find(beside) {
        None => Ok(()),
        Some(other) => Err(Violation::new(
            "single executor",
            format!("n{node} acts for {slot:?} and so does n{other}, and they are in session"),
        )),
    }
}

/// A command executes on top of all that was executed by nodes that this one has been in session with ever since, as
/// long as they have the copy in which they executed it.
pub fn sees_what_was_executed(world: &World, node: usize, number: usize) -> Result<(), Violation> {
    let write = &world.writes[number];
    let missing = world.writes[..number].iter().enumerate().find(|&(earlier, other)| {
        let (by, boot) = other.by;
        other.slot == write.slot
            && other.beside.contains(Peer(node as u8))
            && world.nodes[by].boot == boot
            && world.nodes[by].copies.slots[write.slot.index()].is_of(other.dot.origin)
            && !write.past.contains(earlier)
    });
    match missing {
        None => Ok(()),
        Some((_, other)) => Err(Violation::new(
            "sees what was executed",
            format!(
                "n{node} executed {:?} without {:?} of n{}, which it was in session with",
                write.dot, other.dot, other.by.0
            ),
        )),
    }
}

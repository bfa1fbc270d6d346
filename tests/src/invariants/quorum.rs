//! A write that was acknowledged by a quorum is where the quorum says, and is seen by who acts next.

use ring::{id::Peer, slot::Slot};

use super::Violation;
use crate::sim::World;

/// As long as nothing breaks, who acts counts on as many copies as there should be, itself among them.
pub fn quorum_available(world: &World, node: usize, slot: Slot, counting: usize) -> Result<(), Violation> {
    if !world.nothing_broke() || counting >= world.faults.replicas {
        return Ok(());
    }
    Err(Violation::new("quorum available", format!("n{node} acts for {slot:?} and counts on {counting} copies")))
}

/// Who says that it has everything that somebody waited for has it, unless it has another copy by now.
pub fn everything_holds(world: &World, number: usize, node: usize) -> Result<(), Violation> {
    let wait = &world.waits[number];
    let copy = &world.nodes[node].copies.slots[wait.slot.index()];
    let is_same = wait.copies[node] == (world.nodes[node].boot, copy.origin());
    if !is_same || !copy.role().is_ready() {
        return Ok(());
    }
    match wait.past.beyond(&copy.entries().ghost) {
        None => Ok(()),
        Some(write) => Err(Violation::new(
            "quorum holds",
            format!("n{node} acknowledged everything of {:?} without {:?}", wait.slot, world.writes[write].dot),
        )),
    }
}

/// Whoever begins to act, in session with everybody that runs, has every promised write of nodes that it was in session
/// with ever since they executed it, or until they crashed.
pub fn quorum_visible(world: &World, node: usize, slot: Slot) -> Result<(), Violation> {
    let meets = |other: usize| other == node || !world.nodes[other].up || world.in_whole_session(node, other);
    if !(0..world.nodes.len()).all(meets) {
        return Ok(());
    }
    let ghost = &world.nodes[node].copies.slots[slot.index()].entries().ghost;
    let missing = world.writes.iter().enumerate().find(|&(number, write)| {
        let near = write.beside.contains(Peer(node as u8)) || write.by == (node, world.nodes[node].boot);
        write.slot == slot && write.is_promised() && near && !ghost.contains(number)
    });
    match missing {
        None => Ok(()),
        Some((_, write)) => Err(Violation::new(
            "quorum visible",
            format!("n{node} acts for {slot:?} without {:?}, which {} copies acknowledged", write.dot, write.quorum),
        )),
    }
}

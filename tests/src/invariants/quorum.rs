//! A write that was acknowledged by a quorum is where the quorum says, and is seen by who acts next.

use ring::slot::Slot;

use super::Violation;
use crate::sim::World;

/// As long as nothing breaks, who acts counts on as many copies as there should be, itself among them.
pub fn quorum_available(world: &World, node: usize, slot: Slot, counting: usize) -> Result<(), Violation> {
    if !world.nothing_broke() || counting >= world.faults.replicas {
        return Ok(());
    }
    Err(Violation::new("quorum available", format!("n{node} acts for {slot:?} and counts on {counting} copies")))
}

/// At the moment of the acknowledgement that many copies have the write, as long as none crashed.
pub fn quorum_holds(world: &World, number: usize) -> Result<(), Violation> {
    let write = &world.writes[number];
    if world.counts.crashes > 0 {
        return Ok(());
    }
    let has = |node: &&crate::sim::SimNode| {
        let copy = &node.copies.slots[write.slot.index()];
        copy.role().holds() && copy.entries().ghost.contains(number)
    };
    let copies = world.nodes.iter().filter(has).count();
    // A spoilt copy may have had it, and is pulled again.
    if copies + world.counts.doubts >= write.quorum {
        return Ok(());
    }
    Err(Violation::new(
        "quorum holds",
        format!("{:?} was acknowledged for {} copies, {copies} have it", write.dot, write.quorum),
    ))
}

/// Who says that it has everything that somebody waited for has it, or has handed it on, as long as nothing crashed.
pub fn everything_holds(world: &World, number: usize, node: usize) -> Result<(), Violation> {
    let wait = &world.waits[number];
    let copy = &world.nodes[node].copies.slots[wait.slot.index()];
    if world.counts.crashes > 0 || !copy.role().is_ready() {
        return Ok(());
    }
    match wait.past.iter().find(|&write| !copy.entries().ghost.contains(write)) {
        None => Ok(()),
        Some(write) => Err(Violation::new(
            "quorum holds",
            format!("n{node} acknowledged everything of {:?} without {:?}", wait.slot, world.writes[write].dot),
        )),
    }
}

/// After at most one crash, with all survivors linked, whoever begins to act has every write acknowledged by two.
pub fn quorum_visible(world: &World, node: usize, slot: Slot) -> Result<(), Violation> {
    if world.counts.crashes + world.counts.doubts > 1
        || world.counts.opened_empty > 0
        || world.counts.breaks > 0
        || !world.connected()
    {
        return Ok(());
    }
    let ghost = &world.nodes[node].copies.slots[slot.index()].entries().ghost;
    let missing = world.writes.iter().enumerate().find(|(number, write)| {
        write.slot == slot && write.acknowledged && write.quorum >= 2 && !ghost.contains(*number)
    });
    match missing {
        None => Ok(()),
        Some((_, write)) => Err(Violation::new(
            "quorum visible",
            format!("n{node} acts for {slot:?} without {:?}, which two copies acknowledged", write.dot),
        )),
    }
}

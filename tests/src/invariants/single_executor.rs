//! Without any damage no two nodes that know each other execute for a slot, and who executes has seen every
//! acknowledged write.

use ring::slot::Slot;

use super::Violation;
use crate::sim::World;

/// Nobody begins to act beside a node that it is in session with, as long as nothing broke.
pub fn single_executor(world: &World, node: usize, slot: Slot) -> Result<(), Violation> {
    if world.counts.crashes + world.counts.breaks > 0 {
        return Ok(());
    }
    let met = |other: usize| world.nodes[node].sessions[other].open && world.nodes[other].sessions[node].open;
    let beside = |other: &usize| *other != node && met(*other) && world.nodes[*other].acts(slot);
    match (0..world.nodes.len()).find(beside) {
        None => Ok(()),
        Some(other) => Err(Violation::new(
            "single executor",
            format!("n{node} acts for {slot:?} and so does n{other}; nothing ever broke"),
        )),
    }
}

/// A command executes on top of every acknowledged write of its slot, as long as nothing broke.
pub fn sees_acknowledged(world: &World, node: usize, number: usize) -> Result<(), Violation> {
    if !world.nothing_broke() {
        return Ok(());
    }
    let write = &world.writes[number];
    let missing = world.writes[..number]
        .iter()
        .enumerate()
        .find(|(earlier, other)| other.slot == write.slot && other.acknowledged && !write.past.contains(*earlier));
    match missing {
        None => Ok(()),
        Some((_, other)) => Err(Violation::new(
            "sees acknowledged",
            format!(
                "n{node} executed {:?} without {:?}, which was acknowledged; nothing ever broke",
                write.dot, other.dot
            ),
        )),
    }
}

//! Who says that it is ready has what was executed so far, or it is on its way to it.

use ring::{replica::Role, slot::Slot};

use super::Violation;
use crate::sim::World;

/// At the moment when a pull ends, as long as nothing broke: every write that the acting node has incorporated is in
/// this copy or in a lane to it. Otherwise the copy would lag behind without anybody knowing. A node that met the acting
/// one only while it pulled is compared with it as soon as both know that it is ready.
pub fn ready_is_honest(world: &World, node: usize, slot: Slot, since: usize) -> Result<(), Violation> {
    if !world.nothing_broke() {
        return Ok(());
    }
    let here = &world.nodes[node].copies.slots[slot.index()].entries().ghost;
    let mut arrives = *here;
    (0..world.nodes.len()).filter(|&other| other != node).for_each(|other| arrives.join(&world.shipped(other, node)));
    for (other, acting) in world.nodes.iter().enumerate() {
        let copy = &acting.copies.slots[slot.index()];
        let known = |from: usize, to: usize| {
            let session = &world.nodes[from].sessions[to];
            session.open && session.since < since
        };
        if other == node || copy.role() != Role::Acting || !known(node, other) || !known(other, node) {
            continue;
        }
        let missing = copy.entries().ghost.iter().find(|&write| !arrives.contains(write));
        if let Some(write) = missing {
            return Err(Violation::new(
                "ready is honest",
                format!(
                    "n{node} is ready for {slot:?} and n{other}, which acts, never told it of {:?}",
                    world.writes[write].dot
                ),
            ));
        }
    }
    Ok(())
}

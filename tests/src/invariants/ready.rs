//! Who says that it is ready has what was executed so far by nodes that it is in session with, or it is on its way to it.

use ring::{id::Peer, replica::Role, slot::Slot};

use super::Violation;
use crate::sim::World;

/// At the moment when a pull ends: every write that the acting node has executed while both were in session, and as long
/// as nothing ever broke every write that it has incorporated, is in this copy or in a lane to it. Otherwise the copy
/// would lag behind without anybody knowing. A node that met the acting one only while it pulled is compared with it as
/// soon as both know that it is ready, and so is one that pulled from another one that acted, with which the next one was
/// not in session.
pub fn ready_is_honest(world: &World, node: usize, slot: Slot, since: usize) -> Result<(), Violation> {
    let here = &world.nodes[node].copies.slots[slot.index()].entries().ghost;
    let mut arrives = *here;
    (0..world.nodes.len()).filter(|&other| other != node).for_each(|other| arrives.join(&world.shipped(other, node)));
    for (other, acting) in world.nodes.iter().enumerate() {
        let copy = &acting.copies.slots[slot.index()];
        let known = |from: usize, to: usize| {
            let session = &world.nodes[from].sessions[to];
            session.open && session.since < since
        };
        let whole = world.in_whole_session(node, other) && known(node, other) && known(other, node);
        if other == node || copy.role() != Role::Acting || !whole {
            continue;
        }
        let alone = world.observer.last_hand_over[slot.index()] < since && !world.is_split(slot);
        // What came to the acting one from others it tells in another way: by its digest.
        let told = |write: usize| {
            let write = &world.writes[write];
            let near = write.by == (other, acting.boot) && write.beside.contains(Peer(node as u8));
            world.nothing_broke() || near && alone
        };
        let missing = copy.entries().ghost.iter().find(|&write| told(write) && !arrives.contains(write));
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

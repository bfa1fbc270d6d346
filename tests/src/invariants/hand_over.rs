//! Between the answer of a node that it has stopped and the first command of the next one it executes nothing, and what it
//! had then the next one has.

use ring::slot::Slot;

use super::Violation;
use crate::sim::World;

/// Asked when a node begins to act: each node that it is in session with has answered it.
pub fn hand_over(world: &World, node: usize, slot: Slot) -> Result<(), Violation> {
    let mut others = (0..world.nodes.len()).filter(|&other| other != node && world.in_whole_session(node, other));
    others.try_for_each(|other| of_one(world, node, other, slot))
}

fn of_one(world: &World, node: usize, other: usize, slot: Slot) -> Result<(), Violation> {
    let fail =
        |what: String| Err(Violation::new("hand over", format!("n{node} acts for {slot:?} and n{other} {what}")));
    let session = world.session_name(other, node);
    let Some(answer) = world.observer.answer(other, node, slot).filter(|answer| answer.session == session) else {
        return fail("never said that it has stopped".into());
    };
    let by = (other, world.nodes[other].boot);
    if let Some(later) = world.writes[answer.writes..].iter().find(|write| write.slot == slot && write.by == by) {
        return fail(format!("executed {:?} when it had stopped", later.dot));
    }
    match answer.had.beyond(&world.nodes[node].copies.slots[slot.index()].entries().ghost) {
        None => Ok(()),
        Some(write) => fail(format!("had {:?}, which it has not", world.writes[write].dot)),
    }
}

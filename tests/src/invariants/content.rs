//! What is incorporated and was neither removed nor overwritten is there to be read.
//!
//! The ghost of a copy says what went into it; this says that it did not fall out again. A key has one certain version
//! if one write of it had seen all others; where writes of a key are concurrent a copy may have lost either.

use ring::slot::Slot;

use super::Violation;
use crate::sim::World;

/// Asked at the end of a run in which no entry was lost on purpose.
pub fn what_nothing_removed_is_held(world: &World) -> Result<(), Violation> {
    if world.counts.lost > 0 {
        return Ok(());
    }
    world.every_slot().try_for_each(|slot| {
        let owners = world.owners(slot).iter();
        owners.copied().try_for_each(|owner| of_slot(world, owner, slot))
    })
}

fn of_slot(world: &World, node: usize, slot: Slot) -> Result<(), Violation> {
    let model = world.nodes[node].copies.slots[slot.index()].entries();
    for (number, write) in model.ghost.iter().map(|number| (number, &world.writes[number])) {
        let is_last = |key: &&Vec<u8>| {
            model
                .ghost
                .iter()
                .all(|other| other == number || !world.writes[other].touches(key) || write.past.contains(other))
        };
        let gone = |key: &&Vec<u8>| model.entries.get(*key) != Some(&write.dot);
        if let Some(key) = write.puts.iter().find(|key| gone(key) && is_last(key)) {
            return Err(Violation::new(
                "what nothing removed is held",
                format!("n{node} {slot:?} holds {:?} as {key:?} and not {:?}", model.entries.get(key), write.dot),
            ));
        }
    }
    Ok(())
}

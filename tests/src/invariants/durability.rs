//! A write that was acknowledged on as many copies as it asked for survives fewer crashes than that of nodes that hold it,
//! counted from the last moment at which all targets of its slot were ready and held it; and any number of broken links,
//! moves, joins and leaves. Whatever it asked for, it is there as long as not all copies went with crashes. A copy that was
//! forgotten because it was spoilt is worth a crash: one node alone allowed it.
//!
//! The count begins with the write and not with its acknowledgement. A target may allow another copy to go and crash, and
//! only then the client be told: that other copy, of which the acknowledgement is, still goes.

use ring::slot::Slot;

use super::Violation;
use crate::sim::World;

/// At the moment of the acknowledgement that many copies have the write, but for those that went with a crash since.
pub fn is_on_enough_copies(world: &World, number: usize) -> Result<(), Violation> {
    let write = &world.writes[number];
    let copies = world.holders(number).count();
    if copies + write.deaths >= write.quorum {
        return Ok(());
    }
    let seen = format!(
        "{:?} was acknowledged for {} copies, {copies} have it and {} went with a crash",
        write.dot, write.quorum, write.deaths
    );
    Err(Violation::new("quorum holds", seen))
}

/// Asked whenever a node forgets a copy: what was promised about the slot is still kept, and nothing is lost at all.
pub fn survives(world: &World, slot: Slot) -> Result<(), Violation> {
    let of_slot = world.writes.iter().enumerate().filter(|(_, write)| write.slot == slot);
    of_slot.filter(|(_, write)| !write.gone).try_for_each(|(number, write)| {
        if world.holders(number).next().is_none() {
            return Err(Violation::new("nothing lost", format!("the last copy of {:?} is forgotten", write.dot)));
        }
        if write.is_promised() { is_on_enough_copies(world, number) } else { Ok(()) }
    })
}

/// Asked at the end, when everything has settled: all targets have every write that did not go with its last copy, promised
/// or not.
pub fn nothing_lost(world: &World) -> Result<(), Violation> {
    for (number, write) in world.writes.iter().enumerate().filter(|(_, write)| !write.gone) {
        for &owner in world.owners(write.slot) {
            if !world.nodes[owner].copies.slots[write.slot.index()].entries().ghost.contains(number) {
                let seen = format!(
                    "{:?} of {:?} for {} copies is not at n{owner}, and {} copies went with a crash",
                    write.dot, write.slot, write.quorum, write.deaths
                );
                return Err(Violation::new("nothing lost", seen));
            }
        }
    }
    Ok(())
}

//! Nothing acknowledged is lost inside what was promised: a write on k copies survives fewer than k crashes, and any
//! number of broken links, moves, joins and leaves.

use super::Violation;
use crate::sim::World;

/// Asked at the end, when everything has settled.
pub fn nothing_lost(world: &World) -> Result<(), Violation> {
    // A copy that was forgotten because it was spoilt is worth a crash where there are others; alone it loses nothing.
    let crashes = match world.counts.crashes {
        0 => 0,
        crashes => crashes + world.counts.doubts,
    };
    for (number, write) in world.writes.iter().enumerate() {
        if !write.acknowledged || crashes >= write.quorum {
            continue;
        }
        for &owner in world.owners(write.slot) {
            if !world.nodes[owner].copies.slots[write.slot.index()].entries().ghost.contains(number) {
                return Err(Violation::new(
                    "nothing lost",
                    format!(
                        "{:?} of {:?} for {} copies is not at n{owner} after {crashes} crashes",
                        write.dot, write.slot, write.quorum
                    ),
                ));
            }
        }
    }
    Ok(())
}

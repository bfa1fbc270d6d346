//! A version that an incorporated effect removed or replaced is not held.

use ring::replica::Replica;

use super::Violation;
use crate::sim::{Model, World};

pub(super) fn no_resurrection(world: &World, node: usize, copy: &Replica<Model>) -> Result<(), Violation> {
    for number in copy.entries().ghost.iter() {
        for (key, removed) in &world.writes[number].removes {
            if copy.entries().entries.get(key) == Some(removed) {
                return Err(Violation::new(
                    "no resurrection",
                    format!(
                        "n{node} {:?} holds {removed:?}, which {:?} removed",
                        copy.slot(),
                        world.writes[number].dot
                    ),
                ));
            }
        }
    }
    Ok(())
}

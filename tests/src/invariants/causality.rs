//! Whatever the executor of an effect had incorporated is incorporated wherever the effect is.

use ring::replica::Replica;

use super::Violation;
use crate::sim::{Model, World};

pub(super) fn causality(world: &World, node: usize, copy: &Replica<Model>) -> Result<(), Violation> {
    let ghost = &copy.entries().ghost;
    for number in ghost.iter() {
        if let Some(missing) = world.writes[number].past.iter().find(|&past| !ghost.contains(past)) {
            return Err(Violation::new(
                "causality",
                format!(
                    "n{node} {:?} has {:?} but not {:?}, on which it builds",
                    copy.slot(),
                    world.writes[number].dot,
                    world.writes[missing].dot
                ),
            ));
        }
    }
    Ok(())
}

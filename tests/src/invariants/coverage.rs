//! A context tells the truth: it covers what is held, and what it covers was incorporated.

use ring::replica::Replica;

use super::Violation;
use crate::sim::{Model, World};

pub(super) fn held_is_covered(node: usize, copy: &Replica<Model>) -> Result<(), Violation> {
    match copy.entries().entries.iter().find(|&(_, &dot)| !copy.seen().covers(dot)) {
        None => Ok(()),
        Some((key, dot)) => Err(Violation::new(
            "held is covered",
            format!("n{node} {:?} holds {key:?} as {dot:?}, which {:?} does not cover", copy.slot(), copy.seen()),
        )),
    }
}

pub(super) fn covered_is_incorporated(world: &World, node: usize, copy: &Replica<Model>) -> Result<(), Violation> {
    let claimed = world.writes.iter().enumerate().filter(|(_, write)| write.slot == copy.slot());
    for (number, write) in claimed {
        if copy.seen().covers(write.dot) && !copy.entries().ghost.contains(number) {
            return Err(Violation::new(
                "covered is incorporated",
                format!("n{node} {:?} claims {:?} and never got it", copy.slot(), write.dot),
            ));
        }
    }
    Ok(())
}

//! Where two nodes do not reach each other but all others, one acts for each slot that anybody is ready for, and
//! everybody finds it.

use ring::slot::Slot;

use super::Violation;
use crate::sim::World;

/// Commands are passed on so often at most.
const MOST_HOPS: usize = 2;

/// Asked when everything else has healed.
pub fn alone_though_apart(world: &World) -> Result<(), Violation> {
    world.every_slot().try_for_each(|slot| {
        let up = || (0..world.nodes.len()).filter(|&at| world.nodes[at].up);
        let acting: Vec<usize> = up().filter(|&at| world.nodes[at].acts(slot)).collect();
        let is_held = up().any(|at| world.nodes[at].copies.slots[slot.index()].role().is_ready());
        if acting.len() > 1 || (is_held && acting.is_empty()) {
            return wrong(world, slot, &format!("n{acting:?} act"));
        }
        match acting.first() {
            None => Ok(()),
            Some(&acting) => match up().find(|&at| !finds(world, slot, at, acting)) {
                None => Ok(()),
                Some(lost) => wrong(world, slot, &format!("n{lost} does not find n{acting}")),
            },
        }
    })
}

/// Asked of who begins to act, when it has settled who acts: nobody else does.
pub fn acts_alone(world: &World, node: usize, slot: Slot) -> Result<(), Violation> {
    match (0..world.nodes.len()).find(|&other| other != node && world.nodes[other].acts(slot)) {
        None => Ok(()),
        Some(other) => wrong(world, slot, &format!("n{node} begins to act beside n{other}")),
    }
}

fn finds(world: &World, slot: Slot, from: usize, acting: usize) -> bool {
    let mut at = from;
    for _ in 0..=MOST_HOPS {
        if at == acting {
            return true;
        }
        match world.nodes[at].route[slot.index()] {
            Some(next) if world.nodes[at].sessions[next.index()].open => at = next.index(),
            _ => return false,
        }
    }
    at == acting
}

fn wrong(world: &World, slot: Slot, what: &str) -> Result<(), Violation> {
    let roles: Vec<_> = world.nodes.iter().map(|node| node.copies.slots[slot.index()].role()).collect();
    let seen = format!("{slot:?}: {what}; targets {:?}, roles {roles:?}", world.owners(slot));
    Err(Violation::new("alone though apart", seen))
}

//! When nothing breaks any more, exactly the targets hold each slot, all alike, and the first of them acts;
//! whoever leaves has left, and nobody asks for anything any more.

use ring::{
    id::Peer,
    replica::{Replica, Role},
    slot::Slot,
};

use super::Violation;
use crate::sim::{Model, World};

/// Asked at the end: roles have settled and all copies know the same, without any round of compare. Of concurrent
/// versions different copies may still hold different ones.
pub fn nothing_missing(world: &World) -> Result<(), Violation> {
    world.every_slot().try_for_each(|slot| {
        let copies = settled(world, slot)?;
        let alike = |pair: &[&Replica<Model>]| pair[0].seen() == pair[1].seen();
        agree(world, slot, copies.windows(2).all(alike), "is not known in full everywhere")
    })?;
    all_left(world)
}

/// Asked after that: all copies are equal.
pub fn convergence(world: &World) -> Result<(), Violation> {
    world.every_slot().try_for_each(|slot| {
        let copies = settled(world, slot)?;
        let alike = |pair: &[&Replica<Model>]| {
            pair[0].digest() == pair[1].digest()
                && pair[0].entries().entries == pair[1].entries().entries
                && pair[0].seen() == pair[1].seen()
        };
        let whole = copies.iter().all(|copy| copy.counts());
        agree(world, slot, whole && copies.windows(2).all(alike), "differs between its copies")
    })?;
    all_left(world)
}

/// Asked after that: copies that agree have nothing to say to each other.
pub fn still(fetches: usize) -> Result<(), Violation> {
    match fetches {
        0 => Ok(()),
        _ => Err(Violation::new("still", format!("{fetches} snapshots were fetched after everything had settled"))),
    }
}

/// The copies of a slot, if exactly its targets hold it and the first of them acts.
fn settled(world: &World, slot: Slot) -> Result<Vec<&Replica<Model>>, Violation> {
    let owners = world.owners(slot);
    let as_wanted = world.nodes.iter().enumerate().all(|(node, at)| {
        let wanted = match owners.iter().position(|&owner| owner == node) {
            Some(0) => Role::Acting,
            Some(_) => Role::Following,
            None => Role::Absent,
        };
        at.copies.slots[slot.index()].role() == wanted
    });
    agree(world, slot, as_wanted, "has not settled")?;
    let first = owners.first().map(|&owner| Peer(owner as u8));
    let routed = world.nodes.iter().filter(|node| node.up).all(|node| node.route[slot.index()] == first);
    agree(world, slot, routed, "is not found by everybody")?;
    Ok(owners.iter().map(|&owner| &world.nodes[owner].copies.slots[slot.index()]).collect())
}

fn agree(world: &World, slot: Slot, holds: bool, what: &str) -> Result<(), Violation> {
    if holds {
        return Ok(());
    }
    let roles: Vec<Role> = world.nodes.iter().map(|node| node.copies.slots[slot.index()].role()).collect();
    let seen = format!("{slot:?} {what}: targets {:?}, roles {roles:?}", world.owners(slot));
    Err(Violation::new("convergence", seen))
}

fn all_left(world: &World) -> Result<(), Violation> {
    match world.all_left() {
        true => Ok(()),
        false => Err(Violation::new("convergence", "a node that leaves has not left".into())),
    }
}

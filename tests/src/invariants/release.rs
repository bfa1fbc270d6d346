//! A copy is forgotten only when everybody asked has granted it, and who grants it is ready and has what the copy had.

use ring::{id::Peer, replica::Role, slot::Slot};

use super::Violation;
use crate::sim::{Ask, World};

/// Asked when a node grants.
pub fn grants_what_it_has(world: &World, node: usize, slot: Slot, ask: &Ask) -> Result<(), Violation> {
    let copy = &world.nodes[node].copies.slots[slot.index()];
    if ask.to_spare.contains(Peer(node as u8)) {
        return Ok(());
    }
    let may = if ask.mends { copy.role() == Role::Acting } else { copy.role().is_ready() };
    let fail = |what: String| Err(Violation::new("release is safe", format!("n{node} {slot:?} {what}")));
    if !may {
        return fail(format!("is {:?} and lets another copy go", copy.role()));
    }
    match ask.had.beyond(&copy.entries().ghost) {
        None => Ok(()),
        Some(write) => fail(format!("lets a copy go that has {:?}, and has it not", world.writes[write].dot)),
    }
}

/// Asked when a node forgets; `ask` is what it asked last.
pub fn forgets_what_was_granted(node: usize, slot: Slot, ask: Option<&Ask>) -> Result<(), Violation> {
    match ask {
        Some(ask) if ask.asked.difference(ask.granted).is_empty() => Ok(()),
        _ => Err(Violation::new("release is safe", format!("n{node} forgets {slot:?} after {ask:?}"))),
    }
}

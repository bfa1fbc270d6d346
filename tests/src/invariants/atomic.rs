//! A copy shows all of an effect or nothing: what one operation of it left is there together with what the others left,
//! unless something else that the copy has incorporated changed it.

use ring::replica::Replica;

use super::Violation;
use crate::sim::{Model, World};

pub(super) fn atomic(world: &World, node: usize, copy: &Replica<Model>) -> Result<(), Violation> {
    let (model, reclaimed) = (copy.entries(), world.counts.lost > 0);
    let several = model.ghost.iter().map(|number| (number, &world.writes[number]));
    for (number, write) in several.filter(|(_, write)| write.puts.len() > 1 && !reclaimed) {
        let shows = |key: &&Vec<u8>| model.entries.get(*key) == Some(&write.dot);
        let changed =
            |key: &&Vec<u8>| model.ghost.iter().any(|other| other != number && world.writes[other].touches(key));
        let missing = write.puts.iter().find(|key| !shows(key) && !changed(key));
        if let Some(key) = missing {
            return Err(Violation::new(
                "effects are atomic",
                format!("n{node} {:?} has {:?} without its {key:?}", copy.slot(), write.dot),
            ));
        }
    }
    Ok(())
}

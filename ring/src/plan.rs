//! What a change of the table costs: which copies move, from whom to whom, and how many had to.
//!
//! A plan is for people and for tests. The nodes do not follow it: each pulls what the new table says it should hold,
//! from whoever holds it then. What the plan says is what they will have done when they are finished.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{id::NodeId, slot::Slot, table::Table};

/// The difference between two tables of one ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    moves: Vec<Move>,
    released: usize,
    promoted: usize,
    ideal_milli: u64,
}

/// One copy of one slot that its new owner does not have yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Move {
    /// A node that has a copy by the old table; none if nobody has.
    pub from: Option<NodeId>,
    /// The node that gets one.
    pub to: NodeId,
    /// The slot.
    pub slot: Slot,
}

impl Plan {
    /// What has to happen for `old` to become `new`.
    ///
    /// # Panics
    ///
    /// If the two are rings of different numbers of slots: that is another cluster, not a change of this one.
    pub fn between(old: &Table, new: &Table) -> Plan {
        assert_eq!(old.slots().len(), new.slots().len(), "both tables are of one ring");
        let mut moves: Vec<Move> = new.slots().flat_map(|slot| moves(old, new, slot)).collect();
        moves.sort_unstable();
        let released = |slot| old.owners(slot).filter(move |&node| new.rank(slot, node).is_none()).count();
        Plan {
            moves,
            released: old.slots().map(released).sum(),
            promoted: new.slots().filter(|&slot| is_promotion(old, new, slot)).count(),
            ideal_milli: ideal_milli(old, new),
        }
    }

    /// The copies that move, by source, then by destination, then by slot.
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// The slots that each node gets from each other.
    pub fn routes(&self) -> BTreeMap<(Option<NodeId>, NodeId), Vec<Slot>> {
        let mut routes: BTreeMap<_, Vec<Slot>> = BTreeMap::new();
        for Move { from, to, slot } in self.moves.iter().copied() {
            routes.entry((from, to)).or_default().push(slot);
        }
        routes
    }

    /// How many copies are no longer wanted where they are.
    pub const fn released(&self) -> usize {
        self.released
    }

    /// In how many slots the first place goes to a node that has had a copy: a change of roles, not of places.
    pub const fn promoted(&self) -> usize {
        self.promoted
    }

    /// How many bytes move when each slot is as large as this function says.
    pub fn bytes(&self, of_slot: impl Fn(Slot) -> u64) -> u64 {
        self.moves.iter().fold(0, |sum, copy| sum.saturating_add(of_slot(copy.slot)))
    }

    /// The fewest copies that could move, in thousandths: what each node's fair share grew by.
    ///
    /// For a node that joins `N` others of its weight that is its own fair share, `copies · slots / (N + 1)`.
    pub const fn ideal_milli(&self) -> u64 {
        self.ideal_milli
    }

    /// Copies moved for each copy that had to, in thousandths; none if nothing had to move.
    pub const fn moved_per_ideal_permille(&self) -> Option<u64> {
        (self.moves.len() as u64 * 1_000_000).checked_div(self.ideal_milli)
    }
}

/// The copies of this slot that move.
fn moves(old: &Table, new: &Table, slot: Slot) -> impl Iterator<Item = Move> {
    let from = source(old, new, slot);
    let arrives = move |&to: &NodeId| old.rank(slot, to).is_none();
    new.owners(slot).filter(arrives).map(move |to| Move { from, to, slot })
}

/// Whom to copy from: an owner that remains one, else an owner that remains a node, else any owner.
fn source(old: &Table, new: &Table, slot: Slot) -> Option<NodeId> {
    let stays = |node: &NodeId| new.rank(slot, *node).is_some();
    let remains = |node: &NodeId| new.load(*node).is_some();
    let mut owners = old.owners(slot);
    owners.clone().find(stays).or_else(|| owners.clone().find(remains)).or_else(|| owners.next())
}

fn is_promotion(old: &Table, new: &Table, slot: Slot) -> bool {
    let first = new.first(slot);
    first != old.first(slot) && first.is_some_and(|node| old.rank(slot, node).is_some())
}

fn ideal_milli(old: &Table, new: &Table) -> u64 {
    let fair = |table: &Table, node| table.share(node).map_or(0, |share| share.copies_milli(table.slots().len()));
    new.nodes().iter().map(|node| fair(new, node.id).saturating_sub(fair(old, node.id))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Placed, Settings};
    use alloc::{collections::BTreeSet, format, string::String};
    use proptest::prelude::*;

    fn nodes(seeds: core::ops::Range<u64>) -> Vec<Placed> {
        seeds.map(|seed| Placed { id: NodeId::from_seed(seed), zone: String::new(), weight: 1 }).collect()
    }

    fn plan(old: &[Placed], new: &[Placed], settings: &Settings) -> Plan {
        Plan::between(&Table::compute(old, settings), &Table::compute(new, settings))
    }

    #[test]
    fn equal_tables_need_nothing() {
        let plan = plan(&nodes(0..5), &nodes(0..5), &Settings::new(2));
        assert_eq!((plan.moves().len(), plan.released(), plan.promoted(), plan.ideal_milli()), (0, 0, 0, 0));
        assert_eq!(plan.moved_per_ideal_permille(), None);
    }

    #[test]
    fn a_join_moves_the_joiners_share_and_little_else() {
        let (old, new) = (nodes(0..5), nodes(0..6));
        let plan = plan(&old, &new, &Settings::new(2));
        // Sixths of 32768, in thousandths, less the fifths rounded down.
        assert_eq!(plan.ideal_milli() / 1000, 5461);
        assert!(plan.moved_per_ideal_permille().is_some_and(|ratio| ratio <= 1250), "{plan:?}");
        assert_eq!(plan.released(), plan.moves().len());
        let elsewhere = plan.moves().iter().filter(|copy| copy.to != new[5].id).count();
        assert!(elsewhere * 4 < plan.moves().len());
    }

    #[test]
    fn sources_are_nodes_that_stay() {
        let (old, new) = (nodes(0..5), nodes(1..5));
        let leaver = Some(old[0].id);
        assert!(
            plan(&old, &new, &Settings::new(2)).moves().iter().all(|copy| copy.from.is_some() && copy.from != leaver)
        );
        // With one copy there is no other source than the one who leaves.
        let single = plan(&old, &new, &Settings::new(1));
        assert!(single.moves().iter().any(|copy| copy.from == leaver));
    }

    #[test]
    fn the_first_nodes_have_no_source() {
        let plan = plan(&[], &nodes(0..2), &Settings::new(2));
        assert_eq!((plan.moves().len(), plan.released()), (32768, 0));
        assert!(plan.moves().iter().all(|copy| copy.from.is_none()));
        assert_eq!(plan.moved_per_ideal_permille(), Some(1000));
    }

    #[test]
    fn bytes_are_those_of_the_slots_that_move() {
        let plan = plan(&nodes(0..2), &nodes(0..3), &Settings { slots: 4, ..Settings::new(1) });
        let sum: u64 = plan.moves().iter().map(|copy| 10 + u64::from(copy.slot.number())).sum();
        assert_eq!(plan.bytes(|slot| 10 + u64::from(slot.number())), sum);
        assert_eq!(plan.bytes(|_| u64::MAX), if plan.moves().is_empty() { 0 } else { u64::MAX });
    }

    proptest! {
        #[test]
        fn the_old_owners_less_the_released_and_with_the_moved_are_the_new(
            old in prop::collection::btree_set(0u64..12, 0..8), new in prop::collection::btree_set(0u64..12, 0..8),
            replicas in (1usize..4, 1usize..4)
        ) {
            let table = |seeds: &BTreeSet<u64>, replicas| {
                let node = |&seed: &u64| Placed { id: NodeId::from_seed(seed), zone: format!("{}", seed % 3), weight: 1 };
                let settings = Settings { slots: 64, vnodes: 8, ..Settings::new(replicas) };
                Table::compute(&seeds.iter().map(node).collect::<Vec<_>>(), &settings)
            };
            let (old, new) = (table(&old, replicas.0), table(&new, replicas.1));
            let plan = Plan::between(&old, &new);
            let held = |table: &Table| -> BTreeSet<(Slot, NodeId)> {
                table.slots().flat_map(|slot| table.owners(slot).map(move |node| (slot, node))).collect()
            };
            let (before, after) = (held(&old), held(&new));
            let moved: BTreeSet<_> = plan.moves().iter().map(|copy| (copy.slot, copy.to)).collect();
            prop_assert_eq!(moved.len(), plan.moves().len());
            prop_assert_eq!(&moved, &after.difference(&before).copied().collect());
            prop_assert_eq!(plan.released(), before.difference(&after).count());
            prop_assert_eq!(plan.routes().values().map(Vec::len).sum::<usize>(), plan.moves().len());
            for copy in plan.moves() {
                match copy.from {
                    Some(from) => prop_assert!(before.contains(&(copy.slot, from))),
                    None => prop_assert_eq!(old.depth(), 0),
                }
            }
        }
    }
}

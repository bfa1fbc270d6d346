//! The deadlines of one slot, in order.
//!
//! `(deadline, hash of the key)`, kept beside the index: whatever is due is found without looking at anything else, a
//! changed deadline leaves nothing stale behind, and a slot without deadlines pays nothing. (A timing wheel would be
//! cheaper to insert into but keeps an item for each deadline that was ever replaced; Redis' sampling visits live keys
//! over and over and leaves a share of the dead ones.)
//!
//! A slot has a few dozen as a rule: a sorted list of 16 bytes each, in which an insert moves less than it would cost
//! to walk a tree. A slot with more than [`MAX_LIST`] has a B-tree.

use std::collections::BTreeSet;

use super::entry::size_class;

/// Longer lists become trees: an insert moves 8 KiB at most.
const MAX_LIST: usize = 512;
/// Trees that shrink below this become lists again.
const MIN_TREE: usize = MAX_LIST / 4;
/// What one element of a B-tree takes: nodes of up to eleven, a good half to two thirds full.
const TREE_ELEMENT_BYTES: usize = 28;

/// Deadlines with the hashes of their keys.
#[derive(Debug)]
pub(super) enum Deadlines {
    List(Vec<(u64, u64)>),
    Tree(BTreeSet<(u64, u64)>),
}

impl Deadlines {
    pub(super) const fn new() -> Deadlines {
        Deadlines::List(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Deadlines::List(list) => list.len(),
            Deadlines::Tree(tree) => tree.len(),
        }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        match self {
            Deadlines::List(list) => size_class(list.capacity() * 16),
            Deadlines::Tree(tree) => tree.len() * TREE_ELEMENT_BYTES,
        }
    }

    /// The earliest deadline with its key's hash.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        match self {
            // The list runs backwards, so that the first, which goes first, goes from its end.
            Deadlines::List(list) => list.last().copied(),
            Deadlines::Tree(tree) => tree.first().copied(),
        }
    }

    pub(super) fn insert(&mut self, deadline: u64, hash: u64) {
        let element = (deadline, hash);
        match self {
            Deadlines::List(list) if list.len() < MAX_LIST => {
                if list.len() == list.capacity() {
                    list.reserve_exact((list.len() / 4).max(4));
                }
                if let Err(at) = list.binary_search_by(|other| element.cmp(other)) {
                    list.insert(at, element);
                }
            }
            Deadlines::List(list) => {
                let tree = list.drain(..).chain([element]).collect();
                *self = Deadlines::Tree(tree);
            }
            Deadlines::Tree(tree) => drop(tree.insert(element)),
        }
    }

    pub(super) fn remove(&mut self, deadline: u64, hash: u64) {
        let element = (deadline, hash);
        match self {
            Deadlines::List(list) => {
                if let Ok(at) = list.binary_search_by(|other| element.cmp(other)) {
                    list.remove(at);
                }
                if list.is_empty() || list.len() < list.capacity() / 4 {
                    list.shrink_to(list.len() * 2);
                }
            }
            Deadlines::Tree(tree) => {
                tree.remove(&element);
                if tree.len() < MIN_TREE {
                    *self = Deadlines::List(tree.iter().rev().copied().collect());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn deadlines_are_a_sorted_set(steps in prop::collection::vec((any::<bool>(), 0u64..900, 0u64..2), 0..3000), grow in 0u64..1200) {
            let (mut deadlines, mut twin) = (Deadlines::new(), BTreeSet::new());
            for number in 0..grow {
                deadlines.insert(number, 7);
                twin.insert((number, 7));
            }
            for (insert, deadline, hash) in steps {
                if insert {
                    deadlines.insert(deadline, hash);
                    twin.insert((deadline, hash));
                } else {
                    deadlines.remove(deadline, hash);
                    twin.remove(&(deadline, hash));
                }
                prop_assert_eq!((deadlines.first(), deadlines.len()), (twin.first().copied(), twin.len()));
            }
            while let Some((deadline, hash)) = deadlines.first() {
                prop_assert_eq!(twin.pop_first(), Some((deadline, hash)));
                deadlines.remove(deadline, hash);
            }
            prop_assert!(twin.is_empty());
            prop_assert_eq!(deadlines.allocated_bytes(), 0);
        }
    }
}

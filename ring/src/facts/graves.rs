//! Graves: which nodes are over, so that no laggard brings them back.
//!
//! A bounded set that merges as a lattice: of a node the highest incarnation counts, of all nodes the
//! [`MAX_GRAVES`] highest incarnations are kept. "The k greatest of the union" is commutative, associative and
//! idempotent, so any two nodes that exchanged their graves hold the same ones and none is passed round in circles.
//! Incarnations are boot times, so what is dropped is what booted longest ago.
//!
//! A dropped grave does no harm that lasts: should a laggard bring the node back, nobody reaches it, so it is declared
//! down, then removed, then buried again.

use alloc::collections::BTreeMap;

use crate::id::{Incarnation, NodeId};

/// How many graves are kept, so that they take at most 3.5 KiB of a digest.
pub const MAX_GRAVES: usize = 128;

/// A node that is over, up to this incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Grave {
    /// The highest incarnation that is over.
    pub incarnation: Incarnation,
    /// The node.
    pub node: NodeId,
}

/// All graves that are kept.
#[derive(Debug, Default)]
pub(crate) struct Graves(BTreeMap<NodeId, Incarnation>);

impl Graves {
    pub(crate) fn of(&self, node: NodeId) -> Option<Incarnation> {
        self.0.get(&node).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Grave> + '_ {
        self.0.iter().map(|(&node, &incarnation)| Grave { incarnation, node })
    }

    pub(crate) fn add(&mut self, grave: Grave) {
        let over = self.0.entry(grave.node).or_default();
        *over = grave.incarnation.max(*over);
        while self.0.len() > MAX_GRAVES
            && let Some(least) = self.iter().min()
        {
            self.0.remove(&least.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn graves() -> impl Strategy<Value = Vec<Grave>> {
        let grave = (0u64..200, 0u64..50);
        prop::collection::vec(
            grave.prop_map(|(node, incarnation)| Grave {
                incarnation: Incarnation(incarnation),
                node: NodeId::from_seed(node),
            }),
            0..200,
        )
    }

    fn merged<'a>(parts: impl IntoIterator<Item = &'a Vec<Grave>>) -> Vec<Grave> {
        let mut all = Graves::default();
        parts.into_iter().flatten().for_each(|&grave| all.add(grave));
        all.iter().collect()
    }

    proptest! {
        #[test]
        fn graves_merge_in_any_order_and_stay_few(a in graves(), b in graves(), c in graves()) {
            let all = merged([&a, &b, &c]);
            prop_assert!(all.len() <= MAX_GRAVES);
            prop_assert_eq!(&merged([&c, &a, &b]), &all);
            prop_assert_eq!(&merged([&merged([&a, &b]), &c]), &all);
            prop_assert_eq!(&merged([&a, &merged([&b, &c])]), &all);
            prop_assert_eq!(&merged([&all, &b]), &all);
        }
    }
}

//! Which of two sessions with one peer stays.
//!
//! Two nodes may dial each other at the same moment, or one may dial again while the other has not yet noticed that
//! the session before is dead. Both nodes then have to end the *same* one, without a word about it. So the choice is
//! a total order over values that both know, and each node, on its own, keeps the highest it has verified:
//!
//! | first difference | stays | because |
//! |---|---|---|
//! | incarnation of the peer | the higher | neither is up yet, and the later boot is the one that is meant |
//! | who dialled | the smaller node id | something must break the tie |
//! | attempt of that dialler | the higher | it would not have dialled if the earlier one were alive |
//!
//! The order alone leaves one case: the smaller node dialled, the link broke, only the larger noticed and dials again.
//! The greeting settles that one. The acceptor says which session it has with the dialler, and a dialler that has
//! proved itself and does not know that session is believed that it is gone.

use std::cmp::Ordering;

use ring::id::{Incarnation, NodeId};

/// A session's place in the order; the higher one stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rank {
    /// The peer's boot.
    pub(super) incarnation: Incarnation,
    /// Who dialled, this node or the peer.
    pub(super) dialler: NodeId,
    /// The dialler's count of its greetings.
    pub(super) attempt: u64,
}

impl Ord for Rank {
    fn cmp(&self, other: &Rank) -> Ordering {
        let incarnation = self.incarnation.cmp(&other.incarnation);
        // Reversed: of two diallers the smaller ranks higher.
        incarnation.then(other.dialler.cmp(&self.dialler)).then(self.attempt.cmp(&other.attempt))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Rank) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rank(incarnation: u64, dialler: u8, attempt: u64) -> Rank {
        Rank { incarnation: Incarnation(incarnation), dialler: NodeId::from_bytes([dialler; 20]), attempt }
    }

    #[test]
    fn the_table() {
        let held = rank(5, 2, 7);
        for (new, stays, row) in [
            (rank(6, 3, 0), true, "a later boot replaces whatever there was"),
            (rank(4, 1, 9), false, "an earlier boot replaces nothing"),
            (rank(5, 1, 1), true, "of two diallers the smaller stays"),
            (rank(5, 3, 9), false, "and the larger goes, whatever it counted"),
            (rank(5, 2, 8), true, "the same dialler had a reason to dial again"),
            (rank(5, 2, 6), false, "a greeting that was overtaken is stale"),
        ] {
            assert_eq!(new > held, stays, "{row}");
        }
    }

    proptest! {
        /// However the two nodes come to know the sessions, they end up with the same one.
        #[test]
        fn the_order_of_arrival_does_not_matter(
            ranks in prop::collection::vec((1u64..3, 1u8..3, 0u64..4), 1..8).prop_shuffle(),
            turn in 0usize..8,
        ) {
            let ranks: Vec<Rank> = ranks.into_iter().map(|(boot, dialler, attempt)| rank(boot, dialler, attempt)).collect();
            let keep = |held: Rank, new: Rank| if new > held { new } else { held };
            let mut turned = ranks.clone();
            turned.rotate_left(turn % ranks.len());
            prop_assert_eq!(ranks.into_iter().reduce(keep), turned.into_iter().reduce(keep));
        }
    }
}

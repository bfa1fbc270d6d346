//! The fold: a digest of a slot's contents that every change updates in constant time.
//!
//! The exclusive or of one number per entry, computed from the key and the dot. Adding and removing are the same
//! operation, order does not matter, and equal contents give equal folds; Riak's "Tictac" trees use the same trick.
//! It is a check against mistakes, not against an adversary.

use xxhash_rust::xxh3::xxh3_64;

use crate::dot::Dot;

/// The digest of the versions that a copy of a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fold(pub u64);

impl Fold {
    /// Adds a version that was not in, or takes out one that was.
    pub fn toggle(&mut self, key: &[u8], dot: Dot) {
        // Two odd multipliers and a shift spread time and origin over all bits, so that neighbouring dots of one key
        // do not cancel out.
        let time = dot.hlc.bits().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let origin = dot.origin.0.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        let mixed = (xxh3_64(key) ^ time).wrapping_add(origin.rotate_left(31));
        self.0 ^= (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hlc::Hlc, id::Origin};

    #[test]
    fn order_does_not_matter_and_twice_is_never() {
        let dot = |hlc, origin| Dot::new(Hlc::from_bits(hlc).unwrap(), Origin(origin));
        let mut fold = Fold::default();
        fold.toggle(b"a", dot(1, 1));
        fold.toggle(b"b", dot(2, 1));
        let mut other = Fold::default();
        other.toggle(b"b", dot(2, 1));
        other.toggle(b"a", dot(1, 1));
        assert_eq!(fold, other);
        other.toggle(b"b", dot(2, 1));
        assert_ne!(fold, other);
        other.toggle(b"a", dot(1, 1));
        assert_eq!(other, Fold::default());
    }

    #[test]
    fn versions_of_one_key_differ() {
        let mut seen = alloc::collections::BTreeSet::new();
        for hlc in 0..200 {
            for origin in 0..20 {
                let mut fold = Fold::default();
                fold.toggle(b"key", Dot::new(Hlc::from_bits(hlc << 12).unwrap(), Origin(origin)));
                assert!(seen.insert(fold.0));
            }
        }
    }
}

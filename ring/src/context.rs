//! The slot context: what a copy of a slot has incorporated, in a few bytes.
//!
//! A context says, per origin, up to which time *every* effect of that origin in this slot is incorporated. With it
//! an absent entry speaks: *absent and covered* means "I had it, and it was overwritten or removed"; *absent and not
//! covered* means "I never got it". Deletes, expiry and eviction therefore leave nothing behind, no tombstone, no
//! grace period, and yet no repair brings an old value back. This is the observed-remove set without tombstones
//! (ORSWOT) and the server-wide clock of DottedDB (SRDS 2017), applied per slot, with ordered lanes in place of
//! their bitmaps.
//!
//! # Laws
//!
//! * **Prefix.** `seen[o] = t` claims *all* effects of `o` in this slot with a time up to `t`. It moves only over an
//!   effect whose `prev` is exactly `seen[o]` (contiguity) or by a join with a copy that makes the same claim.
//! * **Causality.** An effect is admitted only over a context that dominates its `after`: whatever its executor had
//!   incorporated when it executed is incorporated here first.
//! * **Held implies covered.** A copy covers the dot of every entry that it holds.
//! * **Join.** An entry that one side holds and the other does not survives exactly if the other side does not cover
//!   its dot. Contexts join by the pointwise maximum. Join is commutative and idempotent.
//! * **Equality.** Two copies are equal exactly if their contexts and their folds are.

use alloc::vec::Vec;
use core::{cmp::Ordering, fmt};

use xxhash_rust::xxh3::Xxh3;

use crate::{dot::Dot, hlc::Hlc, id::Origin};

/// Per origin, the time up to which all its effects in the slot are incorporated.
///
/// A sorted list: a slot knows a handful of origins, one per boot or tenure of its owners. Look-ups are logarithmic,
/// joins and comparisons linear in their number.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SlotContext(Vec<(Origin, Hlc)>);

impl SlotContext {
    /// The context of a copy that has seen nothing.
    pub const fn new() -> SlotContext {
        SlotContext(Vec::new())
    }

    /// Up to when this origin's effects are incorporated; [`Hlc::ZERO`] for an origin never heard of.
    pub fn seen(&self, origin: Origin) -> Hlc {
        self.find(origin).map_or(Hlc::ZERO, |at| self.0[at].1)
    }

    /// Whether the write with this dot is incorporated.
    pub fn covers(&self, dot: Dot) -> bool {
        self.seen(dot.origin) >= dot.hlc
    }

    /// Whether everything that `other` claims is incorporated here as well.
    pub fn dominates(&self, other: &SlotContext) -> bool {
        self.dominates_all(&other.0)
    }

    /// [`SlotContext::dominates`] for loose pairs, in any order.
    pub fn dominates_all(&self, pairs: &[(Origin, Hlc)]) -> bool {
        pairs.iter().all(|&(origin, hlc)| self.seen(origin) >= hlc)
    }

    /// Raises one origin's time; true if it was lower.
    pub fn advance(&mut self, origin: Origin, hlc: Hlc) -> bool {
        match self.find(origin) {
            Ok(at) if self.0[at].1 < hlc => self.0[at].1 = hlc,
            Err(at) if hlc > Hlc::ZERO => self.0.insert(at, (origin, hlc)),
            _ => return false,
        }
        true
    }

    /// The pointwise maximum of both contexts.
    pub fn join(&mut self, other: &SlotContext) {
        for &(origin, hlc) in &other.0 {
            self.advance(origin, hlc);
        }
    }

    /// The latest time that the context knows of.
    pub fn latest(&self) -> Hlc {
        self.0.iter().map(|&(_, hlc)| hlc).max().unwrap_or_default()
    }

    /// The origins with their times, in order of the origins.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Origin, Hlc)> + '_ {
        self.0.iter().copied()
    }

    /// How many origins the context names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A digest of the context: equal for equal contexts, and different ones differ but for a chance of 2^-64.
    pub fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for (origin, hlc) in self.iter() {
            hasher.update(&origin.0.to_le_bytes());
            hasher.update(&hlc.bits().to_le_bytes());
        }
        hasher.digest()
    }

    fn find(&self, origin: Origin) -> Result<usize, usize> {
        self.0.binary_search_by(|&(candidate, _)| candidate.cmp(&origin))
    }
}

impl FromIterator<(Origin, Hlc)> for SlotContext {
    fn from_iter<I: IntoIterator<Item = (Origin, Hlc)>>(pairs: I) -> SlotContext {
        let mut context = SlotContext::new();
        for (origin, hlc) in pairs {
            context.advance(origin, hlc);
        }
        context
    }
}

impl PartialOrd for SlotContext {
    /// The order of knowledge: `Less` if the other dominates, `None` if each knows something that the other lacks.
    fn partial_cmp(&self, other: &SlotContext) -> Option<Ordering> {
        match (self.dominates(other), other.dominates(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl fmt::Debug for SlotContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Which version a join of two copies keeps of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The one that this copy holds.
    Mine,
    /// The one that the other copy holds.
    Theirs,
    /// None: whoever lacks the version knew it and saw it go.
    Neither,
}

/// The join rule for one entry: a version survives if both hold it or if the side that lacks it does not cover it;
/// of two survivors the later dot stays.
pub fn join_rule(mine: Option<Dot>, theirs: Option<Dot>, my_seen: &SlotContext, their_seen: &SlotContext) -> Keep {
    if mine == theirs {
        return if mine.is_some() { Keep::Mine } else { Keep::Neither };
    }
    let mine = mine.filter(|&dot| !their_seen.covers(dot));
    let theirs = theirs.filter(|&dot| !my_seen.covers(dot));
    match (mine, theirs) {
        (None, None) => Keep::Neither,
        (mine, theirs) if mine > theirs => Keep::Mine,
        _ => Keep::Theirs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn pairs() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0u64..5, 0u64..6), 0..8)
    }

    fn context(pairs: &[(u64, u64)]) -> SlotContext {
        pairs.iter().map(|&(origin, hlc)| (Origin(origin), Hlc::from_bits(hlc).unwrap())).collect()
    }

    fn twin(pairs: &[(u64, u64)]) -> BTreeMap<u64, u64> {
        let mut twin = BTreeMap::new();
        for &(origin, hlc) in pairs.iter().filter(|&&(_, hlc)| hlc > 0) {
            let seen = twin.entry(origin).or_insert(0);
            *seen = hlc.max(*seen);
        }
        twin
    }

    proptest! {
        #[test]
        fn a_context_is_a_map_of_maxima(a in pairs(), b in pairs(), origin in 0u64..6, hlc in 1u64..7) {
            let (ca, cb, ta, tb) = (context(&a), context(&b), twin(&a), twin(&b));
            let dot = Dot::new(Hlc::from_bits(hlc).unwrap(), Origin(origin));
            prop_assert_eq!(ca.covers(dot), ta.get(&origin).is_some_and(|&seen| seen >= hlc));
            prop_assert_eq!(ca.dominates(&cb), tb.iter().all(|(o, h)| ta.get(o) >= Some(h)));
            prop_assert_eq!(ca == cb, ca.digest() == cb.digest());
            let mut joined = ca.clone();
            joined.join(&cb);
            let both: Vec<_> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(&joined, &context(&both));
            prop_assert!(joined >= ca && joined >= cb);
            let mut other = cb.clone();
            other.join(&ca);
            prop_assert_eq!(joined, other);
        }

        #[test]
        fn the_join_rule_does_not_depend_on_the_side(mine in prop::option::of((1u64..6, 0u64..3)), theirs in prop::option::of((1u64..6, 0u64..3)), a in pairs(), b in pairs()) {
            let dot = |pair: Option<(u64, u64)>| pair.map(|(hlc, origin)| Dot::new(Hlc::from_bits(hlc).unwrap(), Origin(origin)));
            let (mine, theirs, a, b) = (dot(mine), dot(theirs), context(&a), context(&b));
            let version = |keep, mine: Option<Dot>, theirs: Option<Dot>| match keep { Keep::Mine => mine, Keep::Theirs => theirs, Keep::Neither => None };
            prop_assert_eq!(
                version(join_rule(mine, theirs, &a, &b), mine, theirs),
                version(join_rule(theirs, mine, &b, &a), theirs, mine)
            );
        }
    }
}

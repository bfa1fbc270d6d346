//! Fair shares, and the bounds on loads that follow from them.
//!
//! By weight alone a node deserves `copies · weight / all weights` of all copies. But no node can hold two copies of
//! one slot, and where there are zones enough no zone does. Whoever deserves more than one copy of each slot gets
//! exactly that, and the rest is shared among the others by weight, again and again until it fits: water filled into
//! vessels of different widths and equal height.

use alloc::{vec, vec::Vec};

use super::{Placed, Settings};

/// What a node should hold, as an exact fraction: `part / whole` copies of *every* slot, and first in
/// `first_part / first_whole` of the slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    part: u64,
    whole: u64,
    first_part: u64,
    first_whole: u64,
}

impl Share {
    /// Copies out of a ring of this many slots, in thousandths of a copy, rounded down.
    pub const fn copies_milli(self, slots: usize) -> u64 {
        slots as u64 * 1000 * self.part / self.whole
    }

    /// Slots to be first in, in thousandths of a slot, rounded down.
    pub const fn first_milli(self, slots: usize) -> u64 {
        slots as u64 * 1000 * self.first_part / self.first_whole
    }
}

/// Per node, how much it may hold and how little.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) shares: Vec<Share>,
    /// Of copies held.
    pub(super) copies: Vec<Range>,
    /// Of slots a node is first in.
    pub(super) first: Vec<Range>,
}

/// A load's bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// At least; 0 where weights are equal.
    pub(super) floor: u32,
    /// What is fair, rounded down: whoever holds more can spare something.
    pub(super) fair: u32,
    /// At most.
    pub(super) cap: u32,
}

impl Bounds {
    /// The bounds of these nodes when each slot has `depth` copies.
    pub(super) fn of(nodes: &[Placed], zones: &[u16], depth: usize, settings: &Settings) -> Bounds {
        let shares = shares(nodes, zones, depth as u64);
        let floors = nodes.windows(2).any(|pair| pair[0].weight != pair[1].weight);
        let range = |part, whole| Range::of(part, whole, settings, floors);
        Bounds {
            copies: shares.iter().map(|share| range(share.part, share.whole)).collect(),
            first: shares.iter().map(|share| range(share.first_part, share.first_whole)).collect(),
            shares,
        }
    }
}

impl Range {
    /// Bounds around `part / whole` of all slots.
    ///
    /// The cap is rounded down, so that the tolerance is kept exactly; but never below the fair share rounded up,
    /// since on a ring of few slots not everyone could stay below that.
    fn of(part: u64, whole: u64, settings: &Settings, floors: bool) -> Range {
        let (slots, tolerance) = (settings.slots as u64, u64::from(settings.tolerance_permille));
        let scaled = |permille: u64| slots * permille * part;
        let cap = (scaled(1000 + tolerance) / (1000 * whole)).max((slots * part).div_ceil(whole));
        let floor = scaled(1000u64.saturating_sub(tolerance)).div_ceil(1000 * whole);
        let fair = slots * part / whole;
        Range { floor: if floors { floor.min(fair) as u32 } else { 0 }, fair: fair as u32, cap: cap as u32 }
    }
}

/// The fair share of each node.
fn shares(nodes: &[Placed], zones: &[u16], depth: u64) -> Vec<Share> {
    let weight = |node: usize| u64::from(nodes[node].weight);
    let all: u64 = (0..nodes.len()).map(weight).sum();
    let vessels = vessels(zones, depth);
    let mut widths = vec![0; nodes.len()];
    vessels.iter().enumerate().for_each(|(node, &vessel)| widths[vessel] += weight(node));
    let water = Water::poured(&widths, depth);
    let share = |(node, &vessel): (usize, &usize)| {
        let (part, whole) =
            if water.full[vessel] { (weight(node), widths[vessel]) } else { (weight(node) * water.left, water.width) };
        Share { part, whole, first_part: weight(node), first_whole: all }
    };
    vessels.iter().enumerate().map(share).collect()
}

/// What can hold at most one copy of a slot, per node: its zone if there are as many zones as copies, else itself.
fn vessels(zones: &[u16], depth: u64) -> Vec<usize> {
    let count = zones.iter().max().map_or(0, |&last| u64::from(last) + 1);
    let by_zone = count >= depth;
    zones.iter().enumerate().map(|(node, &zone)| if by_zone { usize::from(zone) } else { node }).collect()
}

/// Copies poured into vessels that hold at most one copy of each slot.
struct Water {
    /// Vessels that hold a copy of each slot.
    full: Vec<bool>,
    /// Copies of each slot left for the others.
    left: u64,
    /// The sum of the others' widths.
    width: u64,
}

impl Water {
    /// Fills whatever deserves more than it can hold, until nothing does.
    ///
    /// What is full deserved at least the average, so the average of the rest never rises, and the order in which
    /// vessels are filled does not matter.
    fn poured(widths: &[u64], depth: u64) -> Water {
        let mut water = Water { full: vec![false; widths.len()], left: depth, width: widths.iter().sum() };
        while let Some(vessel) = water.brimming(widths) {
            water.full[vessel] = true;
            water.left -= 1;
            water.width -= widths[vessel];
        }
        water
    }

    /// A vessel, not full yet, whose part of what is left is a copy of each slot or more.
    fn brimming(&self, widths: &[u64]) -> Option<usize> {
        let brims = |vessel: &usize| !self.full[*vessel] && widths[*vessel] * self.left >= self.width;
        if self.left == 0 { None } else { (0..widths.len()).filter(|&vessel| widths[vessel] > 0).find(brims) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use alloc::string::ToString;

    fn copies(weights: &[(u32, &str)], depth: usize) -> Vec<u64> {
        let place = |(at, &(weight, zone)): (usize, &(u32, &str))| Placed {
            id: NodeId::from_bytes([at as u8; 20]),
            zone: zone.to_string(),
            weight,
        };
        let nodes: Vec<Placed> = weights.iter().enumerate().map(place).collect();
        let zones = super::super::zones(&nodes);
        shares(&nodes, &zones, depth as u64).into_iter().map(|share| share.copies_milli(16) / 1000).collect()
    }

    #[test]
    fn shares_follow_weights_up_to_a_copy_of_each_slot() {
        assert_eq!(copies(&[(1, "a"), (1, "a"), (2, "a")], 1), [4, 4, 8]);
        assert_eq!(copies(&[(1, "a"), (1, "a"), (2, "a")], 2), [8, 8, 16]);
        assert_eq!(copies(&[(1, "a"), (1, "a"), (6, "a")], 2), [8, 8, 16]);
        assert_eq!(copies(&[(1, "a"), (3, "a"), (100, "a")], 3), [16, 16, 16]);
    }

    #[test]
    fn no_zone_deserves_two_copies_where_there_are_zones_enough() {
        assert_eq!(copies(&[(1, "a"), (1, "a"), (1, "a"), (1, "b")], 2), [5, 5, 5, 16]);
        assert_eq!(copies(&[(1, "a"), (1, "a"), (1, "b"), (1, "b"), (1, "c")], 3), [8, 8, 8, 8, 16]);
        assert_eq!(copies(&[(1, "a"), (1, "a"), (1, "b"), (1, "c"), (1, "c")], 1), [3, 3, 3, 3, 3]);
    }

    #[test]
    fn bounds_lie_around_the_fair_share() {
        let settings = Settings::new(1);
        let range = Range::of(1, 3, &settings, true);
        assert_eq!((range.floor, range.fair, range.cap), (5189, 5461, 5734));
        assert_eq!(Range::of(1, 3, &settings, false).floor, 0);
        let tiny = Range::of(1, 3, &Settings { slots: 4, ..settings }, true);
        assert_eq!((tiny.floor, tiny.fair, tiny.cap), (1, 1, 2));
    }
}

//! Filling the table: owners by the walk, then caps, then floors, then who is first.
//!
//! The corrections go through the slots from the last to the first and stop as soon as everyone is within bounds. A
//! fixed order is what keeps tables alike when a node joins: where a node's surplus shrinks by three slots, it keeps
//! the same slots as before and three more.

use alloc::{vec, vec::Vec};

use super::{
    Load,
    share::{Bounds, Range},
    walk::Walks,
};

/// A table in the making.
pub(super) struct Draft<'a> {
    walks: &'a Walks,
    zones: &'a [u16],
    depth: usize,
    pub(super) owners: Vec<u16>,
    pub(super) loads: Vec<Load>,
}

/// What a correction is about.
#[derive(Clone, Copy)]
enum Until {
    /// Nobody is above its cap: who is gives to anyone who has room.
    NobodyAboveCap,
    /// Nobody is below its floor: who is takes from anyone who can spare something.
    NobodyBelowFloor,
}

impl Until {
    fn gives(self, load: u32, range: Range) -> bool {
        match self {
            Until::NobodyAboveCap => load > range.cap,
            Until::NobodyBelowFloor => load > range.fair,
        }
    }

    fn takes(self, load: u32, range: Range) -> bool {
        match self {
            Until::NobodyAboveCap => load < range.cap,
            Until::NobodyBelowFloor => load < range.floor,
        }
    }

    /// Whether this node keeps the correction going.
    fn wanting(self, load: u32, range: Range) -> bool {
        match self {
            Until::NobodyAboveCap => self.gives(load, range),
            Until::NobodyBelowFloor => self.takes(load, range),
        }
    }
}

impl<'a> Draft<'a> {
    /// The owners of every slot, in order, within the bounds where that can be.
    pub(super) fn fill(walks: &'a Walks, zones: &'a [u16], depth: usize, bounds: &Bounds) -> Draft<'a> {
        let owners = Vec::with_capacity(walks.slots() * depth);
        let mut draft = Draft { walks, zones, depth, owners, loads: vec![Load::default(); zones.len()] };
        draft.deal();
        for until in [Until::NobodyAboveCap, Until::NobodyBelowFloor] {
            draft.even_copies(until, &bounds.copies);
        }
        draft.count_first();
        for until in [Until::NobodyAboveCap, Until::NobodyBelowFloor] {
            draft.even_first(until, &bounds.first);
        }
        draft
    }

    /// Gives each slot the owners that its walk meets: one of each zone, then anyone.
    fn deal(&mut self) {
        let zones = self.zones.iter().max().map_or(0, |&last| usize::from(last) + 1);
        for slot in 0..self.walks.slots() {
            self.meet(slot, zones.min(self.depth), |draft, row, node| {
                !row.iter().any(|&owner| draft.zone(owner) == draft.zone(node))
            });
            self.meet(slot, self.depth, |_, row, node| !row.contains(&node));
        }
    }

    /// Walks until the last row has this many owners, adding those that may join it.
    fn meet(&mut self, slot: usize, wanted: usize, may_join: impl Fn(&Self, &[u16], u16) -> bool) {
        let (walks, from) = (self.walks, slot * self.depth);
        let mut walk = walks.from(slot);
        while self.owners.len() - from < wanted {
            let Some(node) = walk.next() else { return };
            if may_join(self, &self.owners[from..], node) {
                self.owners.push(node);
                self.loads[usize::from(node)].copies += 1;
            }
        }
    }

    /// Moves copies from those that give to those that take.
    fn even_copies(&mut self, until: Until, ranges: &[Range]) {
        let wanting = |draft: &Self, node: u16| until.wanting(draft.load(node).copies, ranges[usize::from(node)]);
        let mut open = self.nodes().filter(|&node| wanting(self, node)).count();
        for slot in (0..self.walks.slots()).rev() {
            for rank in (0..self.depth).rev() {
                if open == 0 {
                    return;
                }
                let giver = self.row(slot)[rank];
                if !until.gives(self.load(giver).copies, ranges[usize::from(giver)]) {
                    continue;
                }
                if let Some(taker) = self.taker(slot, rank, until, ranges) {
                    self.hand_on(slot, rank, taker);
                    let settled = match until {
                        Until::NobodyAboveCap => giver,
                        Until::NobodyBelowFloor => taker,
                    };
                    open -= usize::from(!wanting(self, settled));
                }
            }
        }
    }

    /// The next node of the slot's walk that may take the place of the owner of this rank.
    ///
    /// Asking every node first keeps the walk from going all around the ring in vain.
    fn taker(&self, slot: usize, rank: usize, until: Until, ranges: &[Range]) -> Option<u16> {
        let row = self.row(slot);
        let may = |node: &u16| {
            until.takes(self.load(*node).copies, ranges[usize::from(*node)])
                && !row.contains(node)
                && self.keeps_zones(row, rank, *node)
        };
        if self.nodes().any(|node| may(&node)) { self.walks.from(slot).find(may) } else { None }
    }

    /// Whether the slot is in as many zones as before when this node replaces the owner of this rank.
    fn keeps_zones(&self, row: &[u16], rank: usize, node: u16) -> bool {
        let among_others = |zone| (0..row.len()).any(|other| other != rank && self.zone(row[other]) == zone);
        !among_others(self.zone(node)) || among_others(self.zone(row[rank]))
    }

    /// Replaces an owner; the new one comes last.
    fn hand_on(&mut self, slot: usize, rank: usize, taker: u16) {
        let giver = self.row(slot)[rank];
        let row = self.row_mut(slot);
        row[rank..].rotate_left(1);
        row[row.len() - 1] = taker;
        self.loads[usize::from(giver)].copies -= 1;
        self.loads[usize::from(taker)].copies += 1;
    }

    fn count_first(&mut self) {
        for slot in 0..self.walks.slots() {
            if let Some(&first) = self.row(slot).first() {
                self.loads[usize::from(first)].first += 1;
            }
        }
    }

    /// Lets owners change places, where the first gives and another takes.
    fn even_first(&mut self, until: Until, ranges: &[Range]) {
        let range = |node: u16| ranges[usize::from(node)];
        let wanting = |draft: &Self, node: u16| until.wanting(draft.load(node).first, range(node));
        let mut open = self.nodes().filter(|&node| wanting(self, node)).count();
        for slot in (0..self.walks.slots()).rev() {
            if open == 0 || self.depth < 2 {
                return;
            }
            let giver = self.row(slot)[0];
            if !until.gives(self.load(giver).first, range(giver)) {
                continue;
            }
            let takes = |&node: &u16| until.takes(self.load(node).first, range(node));
            let Some(rank) = self.row(slot)[1..].iter().position(takes).map(|at| at + 1) else { continue };
            let taker = self.row(slot)[rank];
            self.row_mut(slot)[..=rank].rotate_right(1);
            self.loads[usize::from(giver)].first -= 1;
            self.loads[usize::from(taker)].first += 1;
            let settled = match until {
                Until::NobodyAboveCap => giver,
                Until::NobodyBelowFloor => taker,
            };
            open -= usize::from(!wanting(self, settled));
        }
    }

    fn nodes(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.zones.len() as u16
    }

    fn zone(&self, node: u16) -> u16 {
        self.zones[usize::from(node)]
    }

    fn load(&self, node: u16) -> Load {
        self.loads[usize::from(node)]
    }

    fn row(&self, slot: usize) -> &[u16] {
        &self.owners[slot * self.depth..(slot + 1) * self.depth]
    }

    fn row_mut(&mut self, slot: usize) -> &mut [u16] {
        &mut self.owners[slot * self.depth..(slot + 1) * self.depth]
    }
}

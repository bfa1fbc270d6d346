//! The rules of the table once more, word for word and slowly: the naive twin.
//!
//! It shares nothing with the table but tokens and settings. It sorts the ring anew for every walk, counts loads anew
//! for every question and looks for shares by trying sets of full vessels.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use super::{Placed, Settings};
use crate::{id::NodeId, token::Token};

pub(super) struct Twin<'a> {
    nodes: Vec<&'a Placed>,
    settings: Settings,
    depth: usize,
    rows: Vec<Vec<usize>>,
}

/// A share as a fraction of one copy of each slot.
type Fraction = (u64, u64);

impl<'a> Twin<'a> {
    pub(super) fn compute(members: &'a [Placed], settings: &Settings) -> Vec<Vec<NodeId>> {
        let mut nodes: Vec<&Placed> = members.iter().collect();
        nodes.sort_by_key(|node| node.id);
        let depth = settings.replicas.min(nodes.len());
        let mut twin = Twin { nodes, settings: *settings, depth, rows: Vec::new() };
        twin.rows = (0..settings.slots).map(|slot| twin.dealt(slot)).collect();
        let copies: Vec<Fraction> = (0..twin.nodes.len()).map(|node| twin.copies_share(node)).collect();
        let first: Vec<Fraction> = (0..twin.nodes.len()).map(|node| twin.first_share(node)).collect();
        twin.relieve(&copies);
        twin.feed(&copies);
        twin.relieve_first(&first);
        twin.feed_first(&first);
        let names = |row: &Vec<usize>| row.iter().map(|&node| twin.nodes[node].id).collect();
        twin.rows.iter().map(names).collect()
    }

    /// Every node, in the order in which the slot's walk meets it first.
    fn walk(&self, slot: usize) -> Vec<usize> {
        let place = Token::of_slot(slot, self.settings.slots).0;
        let mut ring = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            for number in 0..node.weight * self.settings.vnodes {
                ring.push((Token::of_vnode(&node.id, number).0.wrapping_sub(place), at));
            }
        }
        ring.sort();
        let mut met = Vec::new();
        for (_, node) in ring {
            if !met.contains(&node) {
                met.push(node);
            }
        }
        met
    }

    fn dealt(&self, slot: usize) -> Vec<usize> {
        let (walk, mut row) = (self.walk(slot), Vec::new());
        for &node in &walk {
            if row.len() < self.depth && !self.zones(&row).contains(self.zone(node)) {
                row.push(node);
            }
        }
        for &node in &walk {
            if row.len() < self.depth && !row.contains(&node) {
                row.push(node);
            }
        }
        row
    }

    fn relieve(&mut self, shares: &[Fraction]) {
        for slot in (0..self.rows.len()).rev() {
            for rank in (0..self.depth).rev() {
                let giver = self.rows[slot][rank];
                if self.copies(giver) > self.cap(shares[giver]) {
                    self.replace(slot, rank, |twin, node| twin.copies(node) < twin.cap(shares[node]));
                }
            }
        }
    }

    fn feed(&mut self, shares: &[Fraction]) {
        for slot in (0..self.rows.len()).rev() {
            for rank in (0..self.depth).rev() {
                let giver = self.rows[slot][rank];
                if self.copies(giver) > self.fair(shares[giver]) {
                    self.replace(slot, rank, |twin, node| twin.copies(node) < twin.floor(shares[node]));
                }
            }
        }
    }

    fn replace(&mut self, slot: usize, rank: usize, takes: impl Fn(&Self, usize) -> bool) {
        let row = self.rows[slot].clone();
        for node in self.walk(slot) {
            let mut after = row.clone();
            after.remove(rank);
            after.push(node);
            if takes(self, node) && !row.contains(&node) && self.zones(&after).len() >= self.zones(&row).len() {
                self.rows[slot] = after;
                return;
            }
        }
    }

    fn relieve_first(&mut self, shares: &[Fraction]) {
        for slot in (0..self.rows.len()).rev() {
            let Some(&giver) = self.rows[slot].first() else { return };
            if self.firsts(giver) > self.cap(shares[giver]) {
                self.promote(slot, |twin, node| twin.firsts(node) < twin.cap(shares[node]));
            }
        }
    }

    fn feed_first(&mut self, shares: &[Fraction]) {
        for slot in (0..self.rows.len()).rev() {
            let Some(&giver) = self.rows[slot].first() else { return };
            if self.firsts(giver) > self.fair(shares[giver]) {
                self.promote(slot, |twin, node| twin.firsts(node) < twin.floor(shares[node]));
            }
        }
    }

    fn promote(&mut self, slot: usize, takes: impl Fn(&Self, usize) -> bool) {
        if let Some(rank) = (1..self.depth).find(|&rank| takes(self, self.rows[slot][rank])) {
            let node = self.rows[slot].remove(rank);
            self.rows[slot].insert(0, node);
        }
    }

    fn cap(&self, (part, whole): Fraction) -> u64 {
        let fair_times = self.settings.slots as u64 * part;
        let within = fair_times * (1000 + u64::from(self.settings.tolerance_permille)) / (1000 * whole);
        within.max(fair_times.div_ceil(whole))
    }

    fn fair(&self, (part, whole): Fraction) -> u64 {
        self.settings.slots as u64 * part / whole
    }

    fn floor(&self, (part, whole): Fraction) -> u64 {
        if self.nodes.iter().all(|node| node.weight == self.nodes[0].weight) {
            return 0;
        }
        let less = 1000u64.saturating_sub(u64::from(self.settings.tolerance_permille));
        (self.settings.slots as u64 * part * less).div_ceil(1000 * whole).min(self.fair((part, whole)))
    }

    /// A node's share of copies: the vessels from the widest to the narrowest are full as long as they must be.
    fn copies_share(&self, node: usize) -> Fraction {
        let by_zone = self.zones(&(0..self.nodes.len()).collect::<Vec<_>>()).len() >= self.depth;
        let vessel = |node: usize| {
            if by_zone { self.nodes.iter().position(|other| other.zone == self.nodes[node].zone) } else { Some(node) }
        };
        let weight = |node: usize| u64::from(self.nodes[node].weight);
        let mut widths = vec![0; self.nodes.len()];
        (0..self.nodes.len()).for_each(|node| widths[vessel(node).unwrap()] += weight(node));
        let mut widest: Vec<usize> = (0..widths.len()).collect();
        widest.sort_by_key(|&vessel| core::cmp::Reverse(widths[vessel]));
        let (mut left, mut rest) = (self.depth as u64, widths.iter().sum::<u64>());
        for wide in widest {
            if left == 0 || widths[wide] * left < rest {
                break;
            }
            if vessel(node) == Some(wide) {
                return (weight(node), widths[wide]);
            }
            left -= 1;
            rest -= widths[wide];
        }
        (weight(node) * left, rest)
    }

    fn first_share(&self, node: usize) -> Fraction {
        (u64::from(self.nodes[node].weight), self.nodes.iter().map(|node| u64::from(node.weight)).sum())
    }

    fn copies(&self, node: usize) -> u64 {
        self.rows.iter().filter(|row| row.contains(&node)).count() as u64
    }

    fn firsts(&self, node: usize) -> u64 {
        self.rows.iter().filter(|row| row.first() == Some(&node)).count() as u64
    }

    fn zone(&self, node: usize) -> &str {
        &self.nodes[node].zone
    }

    fn zones(&self, row: &[usize]) -> BTreeSet<&str> {
        row.iter().map(|&node| self.zone(node)).collect()
    }
}

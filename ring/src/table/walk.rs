//! The clockwise walk: all vnodes in the order of their tokens, and where each slot's walk begins.

use alloc::vec::Vec;

use super::{Placed, Settings};
use crate::token::Token;

/// The walks of every slot. The tokens themselves are not needed once they are sorted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Walks {
    /// The node of each vnode, clockwise.
    vnodes: Vec<u16>,
    /// Per slot, the first vnode at its place or behind it.
    starts: Vec<u32>,
}

impl Walks {
    /// Sorts the vnodes of these nodes, which come by identity: so vnodes on one token stand by identity as well.
    pub(super) fn of(nodes: &[Placed], settings: &Settings) -> Walks {
        let vnodes = |node: &Placed| node.weight.saturating_mul(settings.vnodes.max(1));
        let mut tokens = Vec::with_capacity(nodes.iter().map(|node| vnodes(node) as usize).sum());
        for (at, node) in nodes.iter().enumerate() {
            tokens.extend((0..vnodes(node)).map(|number| (Token::of_vnode(&node.id, number), at as u16)));
        }
        tokens.sort_unstable();
        Walks { starts: starts(&tokens, settings.slots), vnodes: tokens.into_iter().map(|(_, node)| node).collect() }
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.starts.len()
    }

    /// The nodes that the slot's walk meets, once around the ring: each as often as it has vnodes.
    pub(super) fn from(&self, slot: usize) -> impl Iterator<Item = u16> {
        let (before, after) = self.vnodes.split_at(self.starts[slot] as usize);
        after.iter().chain(before).copied()
    }

    /// The nodes that the slot's walk meets, each once; it ends when all `nodes` are met.
    pub(super) fn distinct(&self, slot: usize, nodes: usize) -> impl Iterator<Item = u16> {
        let mut met = alloc::vec![false; nodes];
        self.from(slot).filter(move |&node| !core::mem::replace(&mut met[usize::from(node)], true)).take(nodes)
    }
}

/// Where each slot's walk begins: one pass over both, since both are in order.
fn starts(tokens: &[(Token, u16)], slots: usize) -> Vec<u32> {
    let mut start = 0;
    let first_at = |slot| {
        let place = Token::of_slot(slot, slots);
        start += tokens[start..].iter().take_while(|(token, _)| *token < place).count();
        start as u32
    };
    (0..slots).map(first_at).collect()
}

//! The model of a store: one slot's entries as a map, with the ghost of what happened to them.

use std::collections::BTreeMap;

use ring::{
    context::{Keep, SlotContext, join_rule},
    dot::Dot,
    effect::Op,
    fold::Fold,
    replica::Entries,
};

/// How many writes one run can have at most.
pub(super) const MOST_WRITES: usize = 256;

/// A set of writes, by number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ghost([u64; MOST_WRITES / 64]);

impl Ghost {
    /// Whether the write is in the set.
    pub fn contains(&self, write: usize) -> bool {
        self.0[write / 64] >> (write % 64) & 1 == 1
    }

    /// Adds a write.
    pub fn insert(&mut self, write: usize) {
        self.0[write / 64] |= 1 << (write % 64);
    }

    /// Adds all of another set.
    pub fn join(&mut self, other: &Ghost) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// All writes that there can be.
    pub(super) fn all() -> Ghost {
        Ghost([u64::MAX; MOST_WRITES / 64])
    }

    /// Removes all that another set does not have.
    pub(super) fn intersect(&mut self, other: &Ghost) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine &= theirs);
    }

    /// One that is in this set and not in the other.
    pub fn beyond(&self, other: &Ghost) -> Option<usize> {
        self.iter().find(|&write| !other.contains(write))
    }

    /// The writes, by number.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().zip((0..).step_by(64)).flat_map(|(&bits, first)| {
            let mut left = bits;
            std::iter::from_fn(move || {
                let next = (left != 0).then(|| first + left.trailing_zeros() as usize);
                left &= left.wrapping_sub(1);
                next
            })
        })
    }
}

/// The numbers of writes by their dots; copies look their effects up here.
pub type Writes = std::rc::Rc<std::cell::RefCell<BTreeMap<(u16, Dot), usize>>>;

/// One slot's entries: the version of each key, and the ghost.
#[derive(Clone, Debug)]
pub struct Model {
    /// The slot.
    pub slot: u16,
    /// The version of each key that the copy holds.
    pub entries: BTreeMap<Vec<u8>, Dot>,
    /// Every effect that the copy has incorporated, whether or not anything of it is left.
    pub ghost: Ghost,
    /// See [`Writes`].
    pub writes: Writes,
}

impl Model {
    /// An empty slot.
    pub fn new(slot: u16, writes: Writes) -> Model {
        Model { slot, entries: BTreeMap::new(), ghost: Ghost::default(), writes }
    }

    /// Loses an entry without a trace in the ghost.
    pub fn lose(&mut self, key: &[u8], fold: &mut Fold) {
        self.replace(key, None, fold);
    }

    fn replace(&mut self, key: &[u8], version: Option<Dot>, fold: &mut Fold) {
        let before = match version {
            Some(dot) => self.entries.insert(key.to_vec(), dot),
            None => self.entries.remove(key),
        };
        before.into_iter().chain(version).for_each(|dot| fold.toggle(key, dot));
    }
}

impl Entries for Model {
    type Snapshot = (BTreeMap<Vec<u8>, Dot>, Ghost);

    fn apply(&mut self, dot: Dot, op: &Op<'_>, fold: &mut Fold) {
        if let Some(&write) = self.writes.borrow().get(&(self.slot, dot)) {
            self.ghost.insert(write);
        }
        match op {
            Op::Put { key, .. } => {
                if self.entries.get(*key).is_none_or(|&held| held < dot) {
                    self.replace(key, Some(dot), fold);
                }
            }
            Op::Drop { key, saw, .. } => {
                if self.entries.get(*key) == Some(saw) {
                    self.replace(key, None, fold);
                }
            }
            Op::Clear { seen } => {
                let gone: Vec<_> =
                    self.entries.iter().filter(|(_, dot)| seen.covers(**dot)).map(|(key, _)| key.clone()).collect();
                gone.iter().for_each(|key| self.replace(key, None, fold));
            }
        }
    }

    fn snapshot(&self) -> Self::Snapshot {
        (self.entries.clone(), self.ghost)
    }

    fn join(
        &mut self,
        (theirs, ghost): Self::Snapshot,
        my_seen: &SlotContext,
        their_seen: &SlotContext,
        fold: &mut Fold,
    ) {
        let keys: Vec<_> = self.entries.keys().chain(theirs.keys()).cloned().collect();
        for key in keys {
            let (mine, other) = (self.entries.get(&key).copied(), theirs.get(&key).copied());
            match join_rule(mine, other, my_seen, their_seen) {
                Keep::Mine => {}
                Keep::Theirs if mine == other => {}
                Keep::Theirs => self.replace(&key, other, fold),
                Keep::Neither if mine.is_some() => self.replace(&key, None, fold),
                Keep::Neither => {}
            }
        }
        self.ghost.join(&ghost);
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.ghost = Ghost::default();
    }
}

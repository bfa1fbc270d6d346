//! The entries of a slot as a map from keys to versions: the simplest store that keeps the laws.

use std::collections::BTreeMap;

use ring::{
    context::{Keep, SlotContext, join_rule},
    dot::Dot,
    effect::Op,
    fold::Fold,
    replica::Entries,
};

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Map(pub(crate) BTreeMap<Vec<u8>, Dot>);

impl Map {
    #[allow(dead_code, reason = "the test of one copy asks")]
    pub(crate) fn fold(&self) -> Fold {
        let mut fold = Fold::default();
        self.0.iter().for_each(|(key, &dot)| fold.toggle(key, dot));
        fold
    }

    fn set(&mut self, key: &[u8], version: Option<Dot>, fold: &mut Fold) {
        let before = match version {
            Some(dot) => self.0.insert(key.to_vec(), dot),
            None => self.0.remove(key),
        };
        before.into_iter().chain(version).for_each(|dot| fold.toggle(key, dot));
    }
}

impl Entries for Map {
    type Snapshot = BTreeMap<Vec<u8>, Dot>;

    fn apply(&mut self, dot: Dot, op: &Op<'_>, fold: &mut Fold) {
        match op {
            Op::Put { key, .. } if self.0.get(*key).is_none_or(|&held| held < dot) => self.set(key, Some(dot), fold),
            Op::Drop { key, saw, .. } if self.0.get(*key) == Some(saw) => self.set(key, None, fold),
            Op::Put { .. } | Op::Drop { .. } => {}
            Op::Clear { seen } => {
                let covered: Vec<_> =
                    self.0.iter().filter(|(_, dot)| seen.covers(**dot)).map(|(key, _)| key.clone()).collect();
                covered.iter().for_each(|key| self.set(key, None, fold));
            }
        }
    }

    fn snapshot(&self) -> Self::Snapshot {
        self.0.clone()
    }

    fn join(&mut self, theirs: Self::Snapshot, my_seen: &SlotContext, their_seen: &SlotContext, fold: &mut Fold) {
        let keys: Vec<_> = self.0.keys().chain(theirs.keys()).cloned().collect();
        for key in keys {
            let (mine, other) = (self.0.get(&key).copied(), theirs.get(&key).copied());
            let kept = match join_rule(mine, other, my_seen, their_seen) {
                Keep::Mine => mine,
                Keep::Theirs => other,
                Keep::Neither => None,
            };
            if kept != mine {
                self.set(&key, kept, fold);
            }
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

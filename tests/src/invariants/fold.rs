//! The fold is the fold of what is held.

use ring::{fold::Fold, replica::Replica};

use super::Violation;
use crate::sim::Model;

pub(super) fn fold(node: usize, copy: &Replica<Model>) -> Result<(), Violation> {
    let mut fold = Fold::default();
    copy.entries().entries.iter().for_each(|(key, &dot)| fold.toggle(key, dot));
    if fold == copy.fold() {
        return Ok(());
    }
    Err(Violation::new("fold", format!("n{node} {:?} keeps {:?}, its entries give {fold:?}", copy.slot(), copy.fold())))
}

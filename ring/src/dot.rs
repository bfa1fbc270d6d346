//! Dots: versions of writes.

use core::fmt;

use crate::{hlc::Hlc, id::Origin};

/// The version of a write: when, by whom. Dots of one slot are totally ordered and no two writes share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Dot {
    /// When the write was executed; decides first.
    pub hlc: Hlc,
    /// The tenure that executed it; decides between writes of the same time on two sides of a split.
    pub origin: Origin,
}

impl Dot {
    /// The dot of a write by `origin` at `hlc`.
    pub const fn new(hlc: Hlc, origin: Origin) -> Dot {
        Dot { hlc, origin }
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{:?}", self.hlc, self.origin)
    }
}

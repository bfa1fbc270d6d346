//! Effects that wait, in order of arrival, with a bound.

use alloc::{boxed::Box, collections::VecDeque};

#[derive(Debug)]
pub(super) struct Parked {
    effects: VecDeque<Box<[u8]>>,
    bytes: usize,
    limit_bytes: usize,
}

impl Parked {
    pub(super) fn new(limit_bytes: usize) -> Parked {
        Parked { effects: VecDeque::new(), bytes: 0, limit_bytes }
    }

    /// Keeps the effect if there is room.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = self.bytes + bytes.len() <= self.limit_bytes;
        if fits {
            self.keep(bytes.into());
        }
        fits
    }

    pub(super) fn keep(&mut self, bytes: Box<[u8]>) {
        self.bytes += bytes.len();
        self.effects.push_back(bytes);
    }

    pub(super) fn take(&mut self) -> VecDeque<Box<[u8]>> {
        self.bytes = 0;
        core::mem::take(&mut self.effects)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

//! A set of slots: a bitmap of fixed size.
//!
//! A ring has a fixed number of slots, so a set of them is one bit a slot: 2 KiB for 16384. Membership is one load,
//! union and difference walk 256 words. Sets travel in pieces of [`CHUNK`] slots, because a node that fills up
//! becomes ready slot by slot and then has to send 128 bytes, not 2 KiB, for each step.
//!
//! ```text
//! encoding   0 · the bitmap, 8 bytes for each begun 64 slots
//!            1 · u16 n · n × (u16 first · u16 last), rising, neither touching nor overlapping
//! ```
//!
//! The shorter of the two is written; either is read.

use alloc::{boxed::Box, vec, vec::Vec};
use core::{fmt, ops::RangeInclusive};

use crate::{
    codec::{Malformed, Reader},
    slot::{SLOTS, Slot},
};

/// How many slots one piece of a set has, when it travels.
pub const CHUNK: usize = 1024;

const RAW: u8 = 0;
const RANGES: u8 = 1;

/// Some of the slots of a ring.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SlotSet {
    slots: usize,
    words: Box<[u64]>,
}

impl SlotSet {
    /// The empty set over a ring of `slots` slots, at most [`SLOTS`].
    pub fn new(slots: usize) -> SlotSet {
        assert!(slots <= SLOTS, "a ring has at most {SLOTS} slots");
        SlotSet { slots, words: vec![0; slots.div_ceil(64)].into() }
    }

    /// The set of all slots of a ring of `slots` slots.
    pub fn full(slots: usize) -> SlotSet {
        let mut set = SlotSet::new(slots);
        set.words.fill(u64::MAX);
        if let Some(last) = set.words.last_mut() {
            *last &= used_bits(slots);
        }
        set
    }

    /// How many slots the ring has.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Whether the slot is in the set. A slot that the ring does not have is in no set.
    pub fn contains(&self, slot: Slot) -> bool {
        self.words.get(slot.index() / 64).is_some_and(|word| word >> (slot.index() % 64) & 1 == 1)
    }

    /// Adds a slot of the ring; true if it was not there.
    pub fn insert(&mut self, slot: Slot) -> bool {
        assert!(slot.index() < self.slots, "the ring has no slot {slot}");
        let word = &mut self.words[slot.index() / 64];
        let before = *word;
        *word |= 1 << (slot.index() % 64);
        before != *word
    }

    /// Takes a slot out; true if it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let was_there = self.contains(slot);
        if was_there {
            self.words[slot.index() / 64] &= !(1 << (slot.index() % 64));
        }
        was_there
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// How many slots are in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no slot is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Adds all slots of another set over the same ring.
    pub fn union_with(&mut self, other: &SlotSet) {
        self.combine(other, |mine, theirs| mine | theirs);
    }

    /// Keeps only what is in the other set as well.
    pub fn intersect_with(&mut self, other: &SlotSet) {
        self.combine(other, |mine, theirs| mine & theirs);
    }

    /// Takes out all slots of another set.
    pub fn subtract(&mut self, other: &SlotSet) {
        self.combine(other, |mine, theirs| mine & !theirs);
    }

    /// The slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut rest = word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Slot::new((at * 64 + bit) as u16)
            })
        })
    }

    /// The longest runs of neighbouring slots, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + '_ {
        let mut slots = self.iter().map(Slot::number).peekable();
        core::iter::from_fn(move || {
            let first = slots.next()?;
            let mut last = first;
            while let Some(next) = slots.next_if(|&next| next == last + 1) {
                last = next;
            }
            Some(first..=last)
        })
    }

    /// How many pieces a set over `slots` slots has.
    pub const fn chunks(slots: usize) -> usize {
        slots.div_ceil(CHUNK)
    }

    /// Piece number `chunk`, as a set of its own that counts from 0.
    pub fn chunk(&self, chunk: usize) -> SlotSet {
        let slots = chunk_slots(self.slots, chunk);
        let first = chunk * CHUNK / 64;
        SlotSet { slots, words: self.words[first..first + slots.div_ceil(64)].into() }
    }

    /// Puts piece number `chunk` in place of what was there. A piece of another size is of another ring: false.
    pub fn set_chunk(&mut self, chunk: usize, piece: &SlotSet) -> bool {
        if chunk >= SlotSet::chunks(self.slots) || piece.slots != chunk_slots(self.slots, chunk) {
            return false;
        }
        let first = chunk * CHUNK / 64;
        self.words[first..first + piece.words.len()].copy_from_slice(&piece.words);
        true
    }

    /// Appends the set.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let ranges: Vec<_> = self.ranges().take(self.words.len() * 2).collect();
        if 2 + ranges.len() * 4 >= self.words.len() * 8 {
            out.push(RAW);
            self.words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
            return;
        }
        out.push(RANGES);
        out.extend_from_slice(&(ranges.len() as u16).to_le_bytes());
        for range in ranges {
            out.extend_from_slice(&range.start().to_le_bytes());
            out.extend_from_slice(&range.end().to_le_bytes());
        }
    }

    /// Reads a set over `slots` slots, which must take all the bytes.
    pub fn decode(bytes: &[u8], slots: usize) -> Result<SlotSet, Malformed> {
        let mut reader = Reader(bytes);
        let set = match reader.u8()? {
            RAW => decode_raw(&mut reader, slots)?,
            RANGES => decode_ranges(&mut reader, slots)?,
            _ => return Err(Malformed("unknown encoding of slots")),
        };
        reader.end()?;
        Ok(set)
    }

    fn combine(&mut self, other: &SlotSet, with: impl Fn(u64, u64) -> u64) {
        assert_eq!(self.slots, other.slots, "sets of different rings");
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine = with(*mine, *theirs);
        }
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ranges()).finish()
    }
}

/// The bits of the last word that stand for slots of the ring.
fn used_bits(slots: usize) -> u64 {
    if slots.is_multiple_of(64) { u64::MAX } else { (1 << (slots % 64)) - 1 }
}

fn chunk_slots(slots: usize, chunk: usize) -> usize {
    slots.saturating_sub(chunk * CHUNK).min(CHUNK)
}

fn decode_raw(reader: &mut Reader<'_>, slots: usize) -> Result<SlotSet, Malformed> {
    let mut set = SlotSet::new(slots);
    for word in &mut set.words {
        *word = reader.u64()?;
    }
    match set.words.last() {
        Some(last) if last & !used_bits(slots) != 0 => Err(Malformed("slot out of range")),
        _ => Ok(set),
    }
}

fn decode_ranges(reader: &mut Reader<'_>, slots: usize) -> Result<SlotSet, Malformed> {
    let mut set = SlotSet::new(slots);
    let mut least = 0;
    for _ in 0..reader.count(slots, 4)? {
        let (first, last) = (reader.u16()?, reader.u16()?);
        if first < least || last < first || usize::from(last) >= slots {
            return Err(Malformed("range of slots out of order"));
        }
        (first..=last).filter_map(Slot::new).for_each(|slot| {
            set.insert(slot);
        });
        // `last` is below `slots`, at most 2^14: no overflow. Ranges that touch would be one range.
        least = last + 2;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    /// Sizes around the edges of words and chunks.
    fn size() -> impl Strategy<Value = usize> {
        prop::sample::select(vec![1, 16, 63, 64, 65, 1023, 1024, 1025, 2100, SLOTS])
    }

    fn numbers() -> impl Strategy<Value = (usize, BTreeSet<u16>)> {
        size().prop_flat_map(|slots| {
            let runs = prop::collection::vec((0..slots as u16, 0u16..100), 0..8);
            let singles = prop::collection::vec(0..slots as u16, 0..40);
            (runs, singles).prop_map(move |(runs, singles)| {
                let run = |(first, len): (u16, u16)| first..(first + len).min(slots as u16);
                (slots, runs.into_iter().flat_map(run).chain(singles).collect())
            })
        })
    }

    fn set(slots: usize, numbers: &BTreeSet<u16>) -> SlotSet {
        let mut set = SlotSet::new(slots);
        for &number in numbers {
            assert!(set.insert(Slot::new(number).unwrap()));
            assert!(!set.insert(Slot::new(number).unwrap()));
        }
        set
    }

    fn contents(set: &SlotSet) -> BTreeSet<u16> {
        set.iter().map(Slot::number).collect()
    }

    proptest! {
        #[test]
        fn a_slot_set_is_a_set_of_numbers((slots, mut twin) in numbers(), probe in 0u16..SLOTS as u16) {
            let mut set = set(slots, &twin);
            prop_assert_eq!(contents(&set), twin.clone());
            prop_assert_eq!((set.len(), set.is_empty()), (twin.len(), twin.is_empty()));
            let probe = Slot::new(probe).unwrap();
            prop_assert_eq!(set.contains(probe), twin.contains(&probe.number()));
            prop_assert_eq!(set.remove(probe), twin.remove(&probe.number()));
            prop_assert_eq!(contents(&set), twin.clone());
            prop_assert_eq!(set.ranges().flatten().collect::<BTreeSet<u16>>(), twin);
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
            set.clear();
            prop_assert!(set.is_empty());
        }

        #[test]
        fn sets_combine_as_sets_of_numbers_do((slots, a) in numbers(), b in prop::collection::btree_set(0u16..SLOTS as u16, 0..200)) {
            let b: BTreeSet<u16> = b.into_iter().filter(|&number| usize::from(number) < slots).collect();
            let check = |combine: fn(&mut SlotSet, &SlotSet), expected: BTreeSet<u16>| {
                let mut combined = set(slots, &a);
                combine(&mut combined, &set(slots, &b));
                assert_eq!(contents(&combined), expected);
            };
            check(SlotSet::union_with, &a | &b);
            check(SlotSet::intersect_with, &a & &b);
            check(SlotSet::subtract, &a - &b);
        }

        #[test]
        fn a_set_is_read_as_it_was_written_whole_or_in_chunks((slots, twin) in numbers()) {
            let set = set(slots, &twin);
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            prop_assert!(bytes.len() <= 1 + slots.div_ceil(64) * 8);
            prop_assert_eq!(&SlotSet::decode(&bytes, slots).unwrap(), &set);
            let mut again = SlotSet::full(slots);
            prop_assert_eq!(again.len(), slots);
            for chunk in 0..SlotSet::chunks(slots) {
                prop_assert!(again.set_chunk(chunk, &set.chunk(chunk)));
            }
            prop_assert_eq!(again, set);
        }

        #[test]
        fn noise_is_refused_or_a_set_of_this_ring(slots in size(), bytes in prop::collection::vec(any::<u8>(), 0..200), tag in 0u8..3) {
            let tagged: Vec<u8> = core::iter::once(tag).chain(bytes).collect();
            if let Ok(set) = SlotSet::decode(&tagged, slots) {
                prop_assert!(set.iter().all(|slot| slot.index() < slots));
            }
        }
    }

    #[test]
    fn a_chunk_of_another_ring_is_refused() {
        let mut set = SlotSet::new(1030);
        assert!(!set.set_chunk(1, &SlotSet::new(7)));
        assert!(!set.set_chunk(2, &SlotSet::new(0)));
        assert!(set.set_chunk(1, &SlotSet::full(6)));
        assert_eq!(set.ranges().collect::<Vec<_>>(), [1024..=1029]);
    }
}

//! The index of one slot: from a key's hash to its entry.
//!
//! One open-addressing table while the slot is small, as almost all are: a million keys are 61 to a slot. A slot
//! may also hold millions, under one hash tag; then extendible hashing (Fagin et al., 1979) splits it into segments
//! of bounded size, found by a prefix of the hash. No insert ever moves more than one segment, and a walk in the
//! order of that prefix meets every entry that stays exactly once, however the index grows meanwhile.
//!
//! ```text
//! hash     ttttttt pppp………pppp bbbb     t: tag in the table, p: prefix, decides the segment, b: bucket in the table
//! order  = pppp………pppp bbbb ttttttt     the hash rotated by the tag: segments are ranges of it
//! ```
//!
//! The hash is seeded, so that nobody can choose keys that collide.

use hashbrown::{HashTable, hash_table::OccupiedEntry};

use super::entry::{Entry, size_class};

/// A full table of this many entries is split instead of grown: 512 buckets at 7/8.
const SEGMENT_ENTRIES: usize = 448;
/// Tables of so few buckets are not worth shrinking.
const MIN_BUCKETS: usize = 16;
const TAG_BITS: u32 = 7;
/// Hashes with a longer common prefix do not occur; a table that met them would grow instead.
const MAX_DEPTH: u32 = 32;
/// A position of a walk is so many upper bits of the order: small enough to travel in a cursor beside a slot.
pub(super) const POSITION_BITS: u32 = 48;

/// The hash of a key.
pub(super) fn hash_key(seed: u64, key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, seed)
}

/// Where an entry is, until the next insert or removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    segment: u32,
    bucket: u32,
}

/// The entries of one slot by key.
#[derive(Debug)]
pub(super) struct Index {
    seed: u64,
    len: usize,
    table_bytes: usize,
    segments: Segments,
}

#[derive(Debug)]
enum Segments {
    One(HashTable<Entry>),
    Many(Box<Directory>),
}

#[derive(Debug)]
struct Directory {
    segments: Vec<Segment>,
    /// For each prefix of `depth` bits, its segment.
    map: Vec<u32>,
    depth: u32,
}

#[derive(Debug)]
struct Segment {
    table: HashTable<Entry>,
    /// How many bits of prefix its entries share.
    depth: u32,
}

impl Index {
    pub(super) fn new(seed: u64) -> Index {
        Index { seed, len: 0, table_bytes: 0, segments: Segments::One(HashTable::new()) }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many bytes the tables take.
    pub(super) fn allocated_bytes(&self) -> usize {
        let directory = match &self.segments {
            Segments::One(_) => 0,
            Segments::Many(directory) => {
                directory.segments.capacity() * size_of::<Segment>() + directory.map.capacity() * 4
            }
        };
        self.table_bytes + directory
    }

    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        self.find_by(hash, |entry| entry.key() == key)
    }

    pub(super) fn find_by(&self, hash: u64, is: impl Fn(&Entry) -> bool) -> Option<Place> {
        let (segment, table) = match &self.segments {
            Segments::One(table) => (0, table),
            Segments::Many(directory) => {
                let segment = directory.segment_of(hash);
                (segment, &directory.segments[segment as usize].table)
            }
        };
        table.find_bucket_index(hash, is).map(|bucket| Place { segment, bucket: bucket as u32 })
    }

    pub(super) fn entry(&self, place: Place) -> &Entry {
        self.table(place.segment).get_bucket(place.bucket as usize).expect("a place is used before the index changes")
    }

    pub(super) fn entry_mut(&mut self, place: Place) -> &mut Entry {
        let bucket = place.bucket as usize;
        self.table_mut(place.segment).get_bucket_mut(bucket).expect("a place is used before the index changes")
    }

    /// Adds an entry whose key is not in yet.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry) {
        self.make_room(hash);
        let seed = self.seed;
        let segment = self.segment_of(hash);
        self.change(segment, |table| {
            table.insert_unique(hash, entry, |entry| hash_key(seed, entry.key()));
        });
        self.len += 1;
    }

    pub(super) fn remove(&mut self, place: Place) -> Entry {
        let seed = self.seed;
        let entry = self.change(place.segment, |table| {
            let found = table.get_bucket_entry(place.bucket as usize);
            let (entry, _) =
                found.map(OccupiedEntry::remove).unwrap_or_else(|_| panic!("a place is used before the index changes"));
            if table.num_buckets() > MIN_BUCKETS && table.len() < table.num_buckets() / 8 {
                table.shrink_to(table.len() * 2, |entry| hash_key(seed, entry.key()));
            }
            entry
        });
        self.len -= 1;
        if self.len == 0 {
            *self = Index::new(self.seed);
        }
        entry
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        (0..self.segment_count()).flat_map(|segment| self.table(segment).iter())
    }

    /// Shows entries in the order of their hashes, from a position on, until `count` were shown; returns the position
    /// to go on from, 0 at the end. What is in from the first call to the last is shown exactly once.
    pub(super) fn walk(&self, position: u64, count: usize, mut show: impl FnMut(&Entry)) -> u64 {
        let mut position = position & ((1 << POSITION_BITS) - 1);
        let mut shown = 0;
        loop {
            let (segment, end) = self.segment_at(position);
            let mut found = self.ordered(segment, position);
            found.sort_unstable_by_key(|&(at, _)| at);
            let mut found = found.into_iter().peekable();
            while let Some((at, entry)) = found.next() {
                show(entry);
                shown += 1;
                // Entries of one position are shown together: the next call starts behind it.
                if shown >= count && found.peek().is_none_or(|&(next, _)| next != at) {
                    return (at + 1) & ((1 << POSITION_BITS) - 1);
                }
            }
            position = end;
            if position == 0 {
                return 0;
            }
        }
    }

    /// Any entry; every one is about as likely.
    pub(super) fn random(&self, random: u64) -> Option<Place> {
        if self.len == 0 {
            return None;
        }
        let segment = match &self.segments {
            Segments::One(_) => 0,
            Segments::Many(directory) => {
                let start = (random >> 32) as usize % directory.map.len();
                let at = (start..directory.map.len()).chain(0..start);
                at.map(|at| directory.map[at])
                    .find(|&segment| !directory.segments[segment as usize].table.is_empty())?
            }
        };
        let table = self.table(segment);
        let start = random as u32 as usize % table.num_buckets();
        let mut buckets = (start..table.num_buckets()).chain(0..start);
        buckets
            .find(|&bucket| table.get_bucket(bucket).is_some())
            .map(|bucket| Place { segment, bucket: bucket as u32 })
    }

    /// Splits the segment that is to take one more entry, where it is full.
    fn make_room(&mut self, hash: u64) {
        let segment = self.segment_of(hash);
        let table = self.table(segment);
        if table.len() < SEGMENT_ENTRIES || table.len() < table.capacity() {
            return;
        }
        if let Segments::One(table) = &mut self.segments {
            let first = Segment { table: std::mem::take(table), depth: 0 };
            self.segments = Segments::Many(Box::new(Directory { segments: vec![first], map: vec![0], depth: 0 }));
        }
        if let Segments::Many(directory) = &mut self.segments
            && directory.segments[segment as usize].depth < MAX_DEPTH
        {
            let before = directory.segments[segment as usize].table.allocation_size();
            let after = directory.split(segment, order(hash), self.seed);
            self.table_bytes = self.table_bytes - size_class(before) + after;
        }
    }

    /// Changes a table and keeps count of its bytes.
    fn change<R>(&mut self, segment: u32, change: impl FnOnce(&mut HashTable<Entry>) -> R) -> R {
        let table = self.table_mut(segment);
        let before = table.allocation_size();
        let result = change(table);
        let after = table.allocation_size();
        if before != after {
            self.table_bytes = self.table_bytes - size_class(before) + size_class(after);
        }
        result
    }

    /// The entries of a segment from a position on, with their positions.
    fn ordered(&self, segment: u32, from: u64) -> Vec<(u64, &Entry)> {
        let position = |entry: &Entry| order(hash_key(self.seed, entry.key())) >> (64 - POSITION_BITS);
        self.table(segment).iter().map(|entry| (position(entry), entry)).filter(|&(at, _)| at >= from).collect()
    }

    /// The segment that holds a position, and the position where the next one starts; 0 behind the last.
    fn segment_at(&self, position: u64) -> (u32, u64) {
        let Segments::Many(directory) = &self.segments else { return (0, 0) };
        let segment = directory.segment_of_order(position << (64 - POSITION_BITS));
        let width = POSITION_BITS - directory.segments[segment as usize].depth;
        (segment, (((position >> width) + 1) << width) & ((1 << POSITION_BITS) - 1))
    }

    fn segment_of(&self, hash: u64) -> u32 {
        match &self.segments {
            Segments::One(_) => 0,
            Segments::Many(directory) => directory.segment_of(hash),
        }
    }

    fn segment_count(&self) -> u32 {
        match &self.segments {
            Segments::One(_) => 1,
            Segments::Many(directory) => directory.segments.len() as u32,
        }
    }

    fn table(&self, segment: u32) -> &HashTable<Entry> {
        match &self.segments {
            Segments::One(table) => table,
            Segments::Many(directory) => &directory.segments[segment as usize].table,
        }
    }

    fn table_mut(&mut self, segment: u32) -> &mut HashTable<Entry> {
        match &mut self.segments {
            Segments::One(table) => table,
            Segments::Many(directory) => &mut directory.segments[segment as usize].table,
        }
    }
}

impl Directory {
    fn segment_of(&self, hash: u64) -> u32 {
        self.segment_of_order(order(hash))
    }

    fn segment_of_order(&self, order: u64) -> u32 {
        self.map[prefix(order, self.depth)]
    }

    /// Splits a segment, to which a hash of this order belongs, by the next bit; returns the bytes of both halves.
    fn split(&mut self, segment: u32, order_within: u64, seed: u64) -> usize {
        let depth = self.segments[segment as usize].depth;
        if depth == self.depth {
            self.map = self.map.iter().flat_map(|&segment| [segment, segment]).collect();
            self.depth += 1;
        }
        let hash = |entry: &Entry| hash_key(seed, entry.key());
        let mut halves = [0, 1].map(|_| HashTable::with_capacity(SEGMENT_ENTRIES / 2));
        for entry in std::mem::take(&mut self.segments[segment as usize].table) {
            let hash_of_entry = hash(&entry);
            let half = order(hash_of_entry) >> (63 - depth) & 1;
            halves[half as usize].insert_unique(hash_of_entry, entry, hash);
        }
        let bytes = halves.iter().map(|half| size_class(half.allocation_size())).sum();
        let [lower, upper] = halves;
        self.segments[segment as usize] = Segment { table: lower, depth: depth + 1 };
        let new = self.segments.len() as u32;
        self.segments.push(Segment { table: upper, depth: depth + 1 });
        // The prefixes of the old segment are neighbours; the upper half of them is the new one's.
        let count = 1 << (self.depth - depth);
        let start = prefix(order_within, depth) * count;
        self.map[start + count / 2..start + count].fill(new);
        bytes
    }
}

fn order(hash: u64) -> u64 {
    hash.rotate_left(TAG_BITS)
}

/// The upper bits of an order, as a number.
fn prefix(order: u64, bits: u32) -> usize {
    if bits == 0 { 0 } else { (order >> (64 - bits)) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{
            entry::{Content, PackedDot, PackedOrigin, Source},
            uses::Uses,
        },
        types::Kind,
    };
    use ring::hlc::Hlc;
    use std::collections::{HashMap, HashSet};

    fn entry(key: u32) -> Entry {
        let content = Content { kind: Kind::String, value: Source::Copied(b"v"), deadline: 0 };
        let dot = PackedDot { hlc: Hlc::ZERO, origin: PackedOrigin::Index(0) };
        Entry::new(&key.to_le_bytes(), content, dot, Uses::at(0))
    }

    fn key(entry: &Entry) -> u32 {
        u32::from_le_bytes(entry.key().try_into().unwrap())
    }

    fn place(index: &Index, key: u32) -> Option<Place> {
        let key = key.to_le_bytes();
        index.find(hash_key(index.seed(), &key), &key)
    }

    fn insert(index: &mut Index, key: u32) {
        index.insert(hash_key(index.seed(), &key.to_le_bytes()), entry(key));
    }

    fn check_bytes(index: &Index) {
        let tables = (0..index.segment_count()).map(|segment| size_class(index.table(segment).allocation_size()));
        assert_eq!(index.table_bytes, tables.sum::<usize>());
    }

    #[test]
    fn an_index_is_a_map_through_growing_and_shrinking() {
        let mut index = Index::new(1);
        let mut twin = HashMap::new();
        let mut random = 1u64;
        for step in 0..60_000u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let chosen = (random >> 33) as u32 % 6000;
            let growing = step % 30_000 < 20_000;
            match place(&index, chosen) {
                Some(at) if !growing => assert_eq!(Some(key(&index.remove(at))), twin.remove(&chosen)),
                Some(at) => assert_eq!(twin.get(&chosen), Some(&key(index.entry(at)))),
                None if growing => {
                    insert(&mut index, chosen);
                    assert_eq!(twin.insert(chosen, chosen), None);
                }
                None => assert!(!twin.contains_key(&chosen)),
            }
            assert_eq!(index.len(), twin.len());
        }
        check_bytes(&index);
        let shown: HashSet<u32> = index.iter().map(key).collect();
        assert_eq!(shown, twin.keys().copied().collect());
        assert!(index.segment_count() > 8);
        for key in twin.into_keys() {
            let at = place(&index, key).unwrap();
            index.remove(at);
        }
        assert_eq!((index.segment_count(), index.allocated_bytes()), (1, 0));
    }

    #[test]
    fn a_walk_shows_everything_once_and_what_stays_even_while_the_index_grows_and_shrinks() {
        for churn in [false, true] {
            let mut index = Index::new(2);
            (0..3000).for_each(|key| insert(&mut index, key));
            let mut seen: HashMap<u32, u32> = HashMap::new();
            let (mut position, mut round) = (0, 0);
            loop {
                position = index.walk(position, 10, |entry| *seen.entry(key(entry)).or_default() += 1);
                if position == 0 {
                    break;
                }
                if churn {
                    (0..20).for_each(|n| insert(&mut index, 10_000 + round * 20 + n));
                    if let Some(at) = place(&index, round * 3) {
                        index.remove(at);
                    }
                }
                round += 1;
            }
            let stays = |key: &u32| !churn || !key.is_multiple_of(3);
            assert!((0..3000).filter(stays).all(|key| seen.get(&key) == Some(&1)), "churn: {churn}");
            assert!(seen.values().all(|&times| times == 1));
        }
    }

    #[test]
    fn any_entry_can_be_drawn() {
        let mut index = Index::new(3);
        assert_eq!(index.random(0), None);
        (0..1000).for_each(|key| insert(&mut index, key));
        let mut drawn = HashSet::new();
        for n in 0..100_000u64 {
            drawn.insert(key(index.entry(index.random(hash_key(9, &n.to_le_bytes())).unwrap())));
        }
        assert_eq!(drawn.len(), 1000);
    }
}

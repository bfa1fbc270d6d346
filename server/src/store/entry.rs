//! One entry: key, value, version and what eviction and expiry need, in one allocation where the value is small.
//!
//! ```text
//! u8 flags (4 bits kind, DEADLINE, WIDE, COUNTS) · u24 what is known of its uses, with COUNTS: see `uses`
//! u64: 56 bits hlc, 8 bits index into the slot's table of origins
//! [u64 origin, if WIDE: the table was full] [u64 deadline, if DEADLINE]
//! u8 key length, or 255 and u32 · key · value
//! ```
//!
//! An entry without deadline so carries 13 bytes beside key and value: 16 + 64 bytes fit into an allocation of 96. A
//! value of [`LARGE_BYTES`] or more lies behind a shared pointer instead, so that it is sent to other nodes and to
//! clients without being copied, and outlives its entry for as long as that takes.

use bytes::Bytes;
use ring::{hlc::Hlc, id::Origin};

use super::{
    prefetch::{LINE_BYTES, prefetch},
    uses::Uses,
};
use crate::types::{Kind, Value};

/// How much of an entry is fetched beforehand: the rest of a larger one the processor fetches by itself, in order.
const PREFETCHED_BYTES: usize = 4 * LINE_BYTES;

/// From this size on a value is shared instead of copied.
pub(super) const LARGE_BYTES: usize = 16 << 10;

const KIND: u8 = 0x0F;
const DEADLINE: u8 = 0x10;
const WIDE: u8 = 0x20;
const LONG_KEY: u8 = 255;
const DOT_AT: usize = 4;
const HEAD: usize = 12;
const HLC_BITS: u32 = 56;

/// A dot as an entry keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PackedDot {
    pub(super) hlc: Hlc,
    pub(super) origin: PackedOrigin,
}

/// An origin by its place in the slot's table, or itself where the table had no place left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PackedOrigin {
    Index(u8),
    Wide(Origin),
}

/// What an entry is made of, besides its key.
#[derive(Clone, Debug)]
pub(super) struct Content<'a> {
    pub(super) kind: Kind,
    pub(super) value: Source<'a>,
    /// Milliseconds since the Unix epoch; 0 is never.
    pub(super) deadline: u64,
}

/// Where the bytes of a new value come from.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    Copied(&'a [u8]),
    Shared(Bytes),
}

impl Source<'_> {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Source::Copied(bytes) => bytes,
            Source::Shared(bytes) => bytes,
        }
    }

    /// The value by reference, if it is to be large; at most one copy is made.
    pub(super) fn share(&mut self) -> Option<&Bytes> {
        if self.as_slice().len() < LARGE_BYTES {
            return None;
        }
        if let Source::Copied(bytes) = self {
            *self = Source::Shared(Bytes::copy_from_slice(bytes));
        }
        match self {
            Source::Shared(bytes) => Some(bytes),
            Source::Copied(_) => None,
        }
    }
}

/// An entry.
#[derive(Debug)]
pub(super) struct Entry(Repr);

#[derive(Debug)]
enum Repr {
    /// Everything in one allocation.
    Small(Box<[u8]>),
    /// The value apart.
    Large(Box<Large>),
}

#[derive(Debug)]
struct Large {
    /// All but the value.
    head: Box<[u8]>,
    value: Bytes,
}

impl Entry {
    pub(super) fn new(key: &[u8], mut content: Content<'_>, dot: PackedDot, uses: Uses) -> Entry {
        let head = head_len(key, &content, dot);
        let Some(value) = content.value.share().cloned() else {
            let mut bytes = vec![0; head + content.value.as_slice().len()];
            fill(&mut bytes, key, &content, dot, uses);
            return Entry(Repr::Small(bytes.into_boxed_slice()));
        };
        let mut bytes = vec![0; head];
        fill_head(&mut bytes, key, &content, dot, uses);
        Entry(Repr::Large(Box::new(Large { head: bytes.into_boxed_slice(), value })))
    }

    /// Takes new content into the old allocation where it fits exactly.
    pub(super) fn overwrite(&mut self, key: &[u8], content: &Content<'_>, dot: PackedDot, uses: Uses) -> bool {
        let len = content.value.as_slice().len();
        match &mut self.0 {
            Repr::Small(bytes) if len < LARGE_BYTES && bytes.len() == head_len(key, content, dot) + len => {
                fill(bytes, key, content, dot, uses);
                true
            }
            _ => false,
        }
    }

    /// The same entry with another deadline and version.
    pub(super) fn with_deadline(&self, deadline: u64, dot: PackedDot, uses: Uses) -> Entry {
        let value = match self.value() {
            Value::Small(bytes) => Source::Copied(bytes),
            Value::Large(bytes) => Source::Shared(bytes.clone()),
        };
        Entry::new(self.key(), Content { kind: self.kind(), value, deadline }, dot, uses)
    }

    /// Says that this entry is about to be looked at: its head, its key and the beginning of its value.
    pub(super) fn prefetch(&self) {
        match &self.0 {
            Repr::Small(bytes) => {
                for line in (0..bytes.len().min(PREFETCHED_BYTES)).step_by(LINE_BYTES) {
                    prefetch(bytes.as_ptr().wrapping_add(line));
                }
            }
            Repr::Large(large) => prefetch((&raw const **large).cast()),
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        let (start, len) = self.key_place();
        &self.head()[start..start + len]
    }

    pub(super) fn value(&self) -> Value<'_> {
        match &self.0 {
            Repr::Small(bytes) => {
                let (start, len) = self.key_place();
                Value::Small(&bytes[start + len..])
            }
            Repr::Large(large) => Value::Large(&large.value),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::from_number(self.head()[0] & KIND).expect("an entry is made of a known kind")
    }

    pub(super) fn dot(&self) -> PackedDot {
        let packed = u64_at(self.head(), DOT_AT);
        let hlc = Hlc::from_bits(packed & ((1 << HLC_BITS) - 1)).expect("56 bits were masked");
        let origin = match self.head()[0] & WIDE {
            0 => PackedOrigin::Index((packed >> HLC_BITS) as u8),
            _ => PackedOrigin::Wide(Origin(u64_at(self.head(), HEAD))),
        };
        PackedDot { hlc, origin }
    }

    /// When the value ends; 0 is never.
    pub(super) fn deadline(&self) -> u64 {
        let head = self.head();
        if head[0] & DEADLINE == 0 {
            return 0;
        }
        u64_at(head, HEAD + 8 * usize::from(head[0] & WIDE != 0))
    }

    pub(super) fn uses(&self) -> Uses {
        Uses::of_word(self.first_word())
    }

    /// Takes note of a use. Writes only what differs, so that reading a hot entry does not dirty its line.
    pub(super) fn note_use(&mut self, used: impl FnOnce(Uses) -> Uses) {
        let word = self.first_word();
        let noted = used(Uses::of_word(word)).in_word(word);
        if noted != word {
            let head = match &mut self.0 {
                Repr::Small(bytes) => bytes,
                Repr::Large(large) => &mut large.head,
            };
            head[..4].copy_from_slice(&noted.to_le_bytes());
        }
    }

    /// Puts other bytes in the place of a large value.
    pub(super) fn exchange(&mut self, value: Bytes) -> Bytes {
        match &mut self.0 {
            Repr::Large(large) => std::mem::replace(&mut large.value, value),
            Repr::Small(_) => value,
        }
    }

    /// How many bytes the allocator gives for it, without its place in the index.
    pub(super) fn allocated_bytes(&self) -> usize {
        match &self.0 {
            Repr::Small(bytes) => size_class(bytes.len()),
            Repr::Large(large) => {
                // A shared pointer counts its references in 24 bytes of its own.
                size_class(size_of::<Large>())
                    + size_class(large.head.len())
                    + size_class(large.value.len())
                    + size_class(24)
            }
        }
    }

    /// The flags and what is known of the uses.
    fn first_word(&self) -> u32 {
        u32::from_le_bytes(*self.head().first_chunk().expect("an entry's head is complete"))
    }

    fn head(&self) -> &[u8] {
        match &self.0 {
            Repr::Small(bytes) => bytes,
            Repr::Large(large) => &large.head,
        }
    }

    fn key_place(&self) -> (usize, usize) {
        let head = self.head();
        let at = HEAD + 8 * ((head[0] & (DEADLINE | WIDE)).count_ones() as usize);
        match head[at] {
            LONG_KEY => (at + 5, u32::from_le_bytes([head[at + 1], head[at + 2], head[at + 3], head[at + 4]]) as usize),
            len => (at + 1, usize::from(len)),
        }
    }
}

/// What the allocator gives when asked for so many bytes: jemalloc's size classes, four to a doubling.
pub(super) fn size_class(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.next_multiple_of(16);
    }
    bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2))
}

fn head_len(key: &[u8], content: &Content<'_>, dot: PackedDot) -> usize {
    let wide = matches!(dot.origin, PackedOrigin::Wide(_));
    let key_len = if key.len() < usize::from(LONG_KEY) { 1 } else { 5 };
    HEAD + 8 * usize::from(wide) + 8 * usize::from(content.deadline != 0) + key_len + key.len()
}

fn fill(bytes: &mut [u8], key: &[u8], content: &Content<'_>, dot: PackedDot, uses: Uses) {
    let rest = fill_head(bytes, key, content, dot, uses);
    rest.copy_from_slice(content.value.as_slice());
}

/// Writes all but the value and returns the room for it.
fn fill_head<'b>(bytes: &'b mut [u8], key: &[u8], content: &Content<'_>, dot: PackedDot, uses: Uses) -> &'b mut [u8] {
    let mut flags = content.kind as u8;
    let index = match dot.origin {
        PackedOrigin::Index(index) => index,
        PackedOrigin::Wide(_) => {
            flags |= WIDE;
            0
        }
    };
    if content.deadline != 0 {
        flags |= DEADLINE;
    }
    let mut rest = put(bytes, &uses.in_word(u32::from(flags)).to_le_bytes());
    rest = put(rest, &(dot.hlc.bits() | u64::from(index) << HLC_BITS).to_le_bytes());
    if let PackedOrigin::Wide(origin) = dot.origin {
        rest = put(rest, &origin.0.to_le_bytes());
    }
    if content.deadline != 0 {
        rest = put(rest, &content.deadline.to_le_bytes());
    }
    rest = match u8::try_from(key.len()) {
        Ok(len) if len != LONG_KEY => put(rest, &[len]),
        _ => put(put(rest, &[LONG_KEY]), &(key.len() as u32).to_le_bytes()),
    };
    put(rest, key)
}

fn put<'b>(room: &'b mut [u8], bytes: &[u8]) -> &'b mut [u8] {
    let (head, rest) = room.split_at_mut(bytes.len());
    head.copy_from_slice(bytes);
    rest
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("an entry's head is complete"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_takes_two_words_in_the_index_and_little_beside_its_bytes() {
        assert_eq!(size_of::<Entry>(), 16);
        let content = Content { kind: Kind::String, value: Source::Copied(&[7; 64]), deadline: 0 };
        let dot = PackedDot { hlc: Hlc::ZERO, origin: PackedOrigin::Index(0) };
        assert_eq!(Entry::new(&[1; 16], content, dot, Uses::at(0)).allocated_bytes(), 96);
    }

    #[test]
    fn size_classes_are_those_of_jemalloc() {
        for (asked, given) in
            [(0, 0), (1, 16), (16, 16), (93, 96), (129, 160), (161, 192), (257, 320), (4096, 4096), (4097, 5120)]
        {
            assert_eq!(size_class(asked), given, "{asked}");
        }
    }

    fn dot() -> impl Strategy<Value = PackedDot> {
        let origin = prop_oneof![
            any::<u8>().prop_map(PackedOrigin::Index),
            any::<u64>().prop_map(|origin| PackedOrigin::Wide(Origin(origin)))
        ];
        (0u64..1 << 56, origin).prop_map(|(bits, origin)| PackedDot { hlc: Hlc::from_bits(bits).unwrap(), origin })
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => prop::collection::vec(any::<u8>(), 0..40),
            1 => (200usize..400).prop_map(|len| vec![3; len]),
            1 => (LARGE_BYTES - 2..LARGE_BYTES + 2).prop_map(|len| vec![4; len]),
        ]
    }

    fn check(entry: &Entry, key: &[u8], value: &[u8], deadline: u64, dot: PackedDot, uses: Uses) {
        assert_eq!((entry.key(), entry.value().as_slice(), entry.deadline()), (key, value, deadline));
        assert_eq!((entry.dot(), entry.uses(), entry.kind()), (dot, uses, Kind::String));
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_made(key in bytes(), value in bytes(), other in bytes(), deadline in prop_oneof![Just(0), any::<u64>()], dot in dot(), later in dot(), uses: u32) {
            let (uses, other_uses) = (Uses::of_word(uses), Uses::of_word(!uses));
            let content = |value| Content { kind: Kind::String, value: Source::Copied(value), deadline };
            let mut entry = Entry::new(&key, content(&value), dot, uses);
            check(&entry, &key, &value, deadline, dot, uses);
            prop_assert_eq!(matches!(entry.value(), Value::Large(_)), value.len() >= LARGE_BYTES);
            check(&entry.with_deadline(17, later, other_uses), &key, &value, 17, later, other_uses);
            entry.note_use(|noted| if noted == uses { other_uses } else { noted });
            check(&entry, &key, &value, deadline, dot, other_uses);
            if entry.overwrite(&key, &content(&other), later, uses) {
                check(&entry, &key, &other, deadline, later, uses);
            } else {
                check(&entry, &key, &value, deadline, dot, other_uses);
            }
        }
    }
}

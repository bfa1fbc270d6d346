//! One node's facts, as the author has them or as a copy.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::fmt;

use super::{
    Change,
    wire::{Fact, Section},
};
use crate::id::{Incarnation, NodeId};

/// How many keys a namespace has at most: what a node says about itself, and two facts about each other node.
pub const MAX_KEYS: usize = 600;

/// How long a key is at most.
pub const MAX_KEY_BYTES: usize = 64;

/// How long a value is at most: the whole bitmap of ready slots would fit.
pub const MAX_VALUE_BYTES: usize = 4096;

/// How many bytes a whole namespace takes at most when it is encoded. The usual one takes 3 KiB; the one that says
/// something about 255 other nodes takes 50.
pub const MAX_NAMESPACE_BYTES: usize = 64 << 10;

/// A fact is too large, or there is no room for one more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the facts of a node are limited in size and number")
    }
}

impl core::error::Error for Full {}

/// What one node says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    incarnation: Incarnation,
    version: u64,
    floor: u64,
    bytes: usize,
    entries: BTreeMap<Box<[u8]>, Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    version: u64,
    value: Box<[u8]>,
}

impl Namespace {
    /// A copy that holds nothing yet.
    pub(super) fn new(incarnation: Incarnation) -> Namespace {
        Namespace { incarnation, version: 0, floor: 0, bytes: 0, entries: BTreeMap::new() }
    }

    /// The namespace of a node that has said nothing yet. That it is there is news already, hence version 1.
    pub(super) fn authored(incarnation: Incarnation) -> Namespace {
        Namespace { version: 1, ..Namespace::new(incarnation) }
    }

    /// The boot of the node that says all this.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Up to which version this is complete.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What is said under the key.
    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(|entry| &*entry.value)
    }

    /// All keys and values, in order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(key, entry)| (&**key, &*entry.value))
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Full> {
        if self.value(key) == Some(value) {
            return Ok(false);
        }
        self.put(Fact { version: self.version + 1, key: key.into(), value: value.into() })?;
        self.version += 1;
        Ok(true)
    }

    pub(super) fn withdraw(&mut self, key: &[u8]) -> bool {
        let was_said = self.take_out(key);
        if was_said {
            self.version += 1;
            self.floor = self.version;
        }
        was_said
    }

    pub(super) fn raise(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
    }

    /// How many bytes a copy at this version lacks.
    pub(super) fn bytes_since(&self, known: u64) -> usize {
        if known < self.floor {
            return self.bytes;
        }
        let newer = self.entries.iter().filter(|(_, entry)| entry.version > known);
        newer.map(|(key, entry)| Fact::encoded_len(key, &entry.value)).sum()
    }

    /// What a copy at version `known` lacks, as far as it fits. `None` if nothing is missing, or nothing fits.
    pub(super) fn section(&self, node: NodeId, known: u64, limit_bytes: usize) -> Option<Section> {
        let whole = known < self.floor;
        let mut left = limit_bytes.checked_sub(Section::HEAD_BYTES)?;
        if known >= self.version || (whole && self.bytes > left) {
            return None;
        }
        let from = if whole { 0 } else { known };
        let mut newer: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.version > from).collect();
        newer.sort_unstable_by_key(|(_, entry)| entry.version);
        let mut section = Section {
            node,
            incarnation: self.incarnation,
            floor: self.floor,
            from,
            to: self.version,
            facts: Vec::new(),
        };
        for (key, entry) in newer {
            let Some(rest) = left.checked_sub(Fact::encoded_len(key, &entry.value)) else {
                section.to = section.facts.last()?.version;
                break;
            };
            left = rest;
            section.facts.push(Fact { version: entry.version, key: key.clone(), value: entry.value.clone() });
        }
        Some(section)
    }

    /// Takes in a section of this incarnation, if it begins where this copy ends or before.
    pub(super) fn absorb(&mut self, section: Section, changes: &mut Vec<Change>) -> Result<(), Full> {
        let stale = self.version < section.floor;
        if section.to <= self.version || section.from > self.version || (stale && section.from > 0) {
            return Ok(());
        }
        let node = section.node;
        if stale {
            self.keep_only(&section, |key| changes.push(Change::Withdrawn(node, key)));
            self.floor = section.floor;
        }
        for fact in section.facts {
            if fact.version <= self.version {
                continue;
            }
            let (version, key) = (fact.version, fact.key.clone());
            let is_news = self.value(&key) != Some(&*fact.value);
            self.put(fact)?;
            if is_news {
                changes.push(Change::Set(node, key));
            }
            self.version = version;
        }
        self.version = section.to;
        Ok(())
    }

    /// Drops every key that a whole namespace does not name any more.
    fn keep_only(&mut self, section: &Section, mut dropped: impl FnMut(Box<[u8]>)) {
        let mut named: Vec<&[u8]> = section.facts.iter().map(|fact| &*fact.key).collect();
        named.sort_unstable();
        let unnamed: Vec<_> =
            self.entries.keys().filter(|key| named.binary_search(&&***key).is_err()).cloned().collect();
        for key in unnamed {
            self.take_out(&key);
            dropped(key);
        }
    }

    fn put(&mut self, fact: Fact) -> Result<(), Full> {
        let before = self.entries.get(&fact.key).map_or(0, |entry| Fact::encoded_len(&fact.key, &entry.value));
        let bytes = self.bytes - before + Fact::encoded_len(&fact.key, &fact.value);
        let sizes = fact.key.len() <= MAX_KEY_BYTES && fact.value.len() <= MAX_VALUE_BYTES;
        let room = bytes <= MAX_NAMESPACE_BYTES && (before > 0 || self.entries.len() < MAX_KEYS);
        if !sizes || !room {
            return Err(Full);
        }
        self.bytes = bytes;
        self.entries.insert(fact.key, Entry { version: fact.version, value: fact.value });
        Ok(())
    }

    fn take_out(&mut self, key: &[u8]) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.bytes -= Fact::encoded_len(key, &entry.value);
        true
    }
}

//! What travels: digests and deltas, and their bytes.
//!
//! ```text
//! digest   u16 n · n × row · u16 m · m × grave
//! row      20 bytes node · u64 incarnation · u64 version
//! grave    20 bytes node · u64 incarnation
//! delta    u16 n · n × section
//! section  20 bytes node · u64 incarnation · u64 floor · u64 from · u64 to · u16 n · n × fact
//! fact     u64 version · u16 key length · u16 value length · key · value
//! ```

use alloc::{boxed::Box, vec::Vec};

use super::{Grave, MAX_GRAVES, MAX_KEY_BYTES, MAX_KEYS, MAX_NAMESPACES, MAX_VALUE_BYTES};
use crate::{
    codec::{Malformed, Reader},
    id::{Incarnation, NodeId},
};

/// What a node holds of all nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// One row per node whose facts it holds, itself included.
    pub rows: Vec<Row>,
    /// The nodes that are over.
    pub graves: Vec<Grave>,
}

/// Up to where one node's facts are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The node.
    pub node: NodeId,
    /// Its boot.
    pub incarnation: Incarnation,
    /// Up to which version its facts are complete.
    pub version: u64,
}

/// What another node lacks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// At most one section per node.
    pub sections: Vec<Section>,
}

/// A node's facts that changed after version `from` and up to version `to`, complete, in order of their versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// The node.
    pub node: NodeId,
    /// Its boot.
    pub incarnation: Incarnation,
    /// The version of its last removal of a key.
    pub floor: u64,
    /// The copy that can take this in is at this version or above.
    pub from: u64,
    /// The version that it is at afterwards.
    pub to: u64,
    /// The facts.
    pub facts: Vec<Fact>,
}

/// One thing that a node says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The version of the namespace that it came with.
    pub version: u64,
    /// What it is about.
    pub key: Box<[u8]>,
    /// What it says.
    pub value: Box<[u8]>,
}

impl Digest {
    /// Appends the digest.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.rows.len());
        for row in &self.rows {
            put_node(out, row.node, row.incarnation);
            out.extend_from_slice(&row.version.to_le_bytes());
        }
        put_count(out, self.graves.len());
        self.graves.iter().for_each(|grave| put_node(out, grave.node, grave.incarnation));
    }

    /// Reads a digest, which must take all the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Digest, Malformed> {
        let mut reader = Reader(bytes);
        let row = |reader: &mut Reader<'_>| {
            Ok(Row { node: reader.node()?, incarnation: reader.incarnation()?, version: reader.u64()? })
        };
        let rows = (0..reader.count(MAX_NAMESPACES, 36)?).map(|_| row(&mut reader)).collect::<Result<_, _>>()?;
        let grave = |reader: &mut Reader<'_>| Ok(Grave { node: reader.node()?, incarnation: reader.incarnation()? });
        let graves = (0..reader.count(MAX_GRAVES, 28)?).map(|_| grave(&mut reader)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Digest { rows, graves })
    }
}

impl Delta {
    pub(super) const HEAD_BYTES: usize = 2;

    /// Whether nothing is in it, so that it need not be sent.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// How many bytes the delta takes.
    pub fn encoded_len(&self) -> usize {
        Delta::HEAD_BYTES + self.sections.iter().map(Section::encoded_len).sum::<usize>()
    }

    /// Appends the delta.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.sections.len());
        self.sections.iter().for_each(|section| section.encode(out));
    }

    /// Reads a delta, which must take all the bytes, and checks all of it.
    pub fn decode(bytes: &[u8]) -> Result<Delta, Malformed> {
        let mut reader = Reader(bytes);
        let count = reader.count(MAX_NAMESPACES, Section::HEAD_BYTES)?;
        let sections = (0..count).map(|_| Section::read(&mut reader)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Delta { sections })
    }
}

impl Section {
    pub(super) const HEAD_BYTES: usize = 54;

    pub(super) fn encoded_len(&self) -> usize {
        let facts = self.facts.iter().map(|fact| Fact::encoded_len(&fact.key, &fact.value));
        Section::HEAD_BYTES + facts.sum::<usize>()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_node(out, self.node, self.incarnation);
        [self.floor, self.from, self.to].iter().for_each(|version| out.extend_from_slice(&version.to_le_bytes()));
        put_count(out, self.facts.len());
        for fact in &self.facts {
            out.extend_from_slice(&fact.version.to_le_bytes());
            put_count(out, fact.key.len());
            put_count(out, fact.value.len());
            out.extend_from_slice(&fact.key);
            out.extend_from_slice(&fact.value);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Section, Malformed> {
        let (node, incarnation) = (reader.node()?, reader.incarnation()?);
        let (floor, from, to) = (reader.u64()?, reader.u64()?, reader.u64()?);
        if from >= to || floor > to || (0 < from && from < floor) {
            return Err(Malformed("versions out of order"));
        }
        let mut before = from;
        let mut facts = Vec::new();
        for _ in 0..reader.count(MAX_KEYS, Fact::HEAD_BYTES)? {
            let fact = Fact::read(reader)?;
            if fact.version <= before || fact.version > to {
                return Err(Malformed("versions out of order"));
            }
            before = fact.version;
            facts.push(fact);
        }
        Ok(Section { node, incarnation, floor, from, to, facts })
    }
}

impl Fact {
    const HEAD_BYTES: usize = 12;

    pub(super) fn encoded_len(key: &[u8], value: &[u8]) -> usize {
        Fact::HEAD_BYTES + key.len() + value.len()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Fact, Malformed> {
        let (version, key, value) = (reader.u64()?, usize::from(reader.u16()?), usize::from(reader.u16()?));
        if key > MAX_KEY_BYTES || value > MAX_VALUE_BYTES {
            return Err(Malformed("fact above the limit"));
        }
        Ok(Fact { version, key: reader.take(key)?.into(), value: reader.take(value)?.into() })
    }
}

fn put_node(out: &mut Vec<u8>, node: NodeId, incarnation: Incarnation) {
    out.extend_from_slice(node.as_bytes());
    out.extend_from_slice(&incarnation.0.to_le_bytes());
}

/// A count or a length; the limits of what is counted are all far below 2^16.
fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u16).to_le_bytes());
}

//! Reading and writing the binary form of what nodes send each other: little-endian numbers, lengths in front.
//!
//! A reader never panics and never allocates more than the bytes at hand can fill.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    dot::Dot,
    hlc::Hlc,
    id::{Incarnation, NodeId, Origin},
    slot::Slot,
};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed bytes from a peer: {}", self.0)
    }
}

impl core::error::Error for Malformed {}

/// A place in bytes that came from elsewhere.
#[derive(Clone, Debug)]
pub struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the front.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed("cut short"))?;
        self.0 = rest;
        Ok(head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("flag out of range")),
        }
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    /// A slot.
    pub fn slot(&mut self) -> Result<Slot, Malformed> {
        Slot::new(self.u16()?).ok_or(Malformed("slot out of range"))
    }

    /// A time.
    pub fn hlc(&mut self) -> Result<Hlc, Malformed> {
        Hlc::from_bits(self.u64()?).ok_or(Malformed("time out of range"))
    }

    /// A dot.
    pub fn dot(&mut self) -> Result<Dot, Malformed> {
        Ok(Dot::new(self.hlc()?, Origin(self.u64()?)))
    }

    /// A node's identity.
    pub fn node(&mut self) -> Result<NodeId, Malformed> {
        Ok(NodeId::from_bytes(self.array()?))
    }

    /// A boot.
    pub fn incarnation(&mut self) -> Result<Incarnation, Malformed> {
        let incarnation = Incarnation(self.u64()?);
        if incarnation > Incarnation::MAX { Err(Malformed("incarnation out of range")) } else { Ok(incarnation) }
    }

    /// A count of things that take at least `least_bytes` each, and of which there may be `most`.
    pub fn count(&mut self, most: usize, least_bytes: usize) -> Result<usize, Malformed> {
        let count = usize::from(self.u16()?);
        if count > most {
            return Err(Malformed("more than the limit"));
        }
        if count * least_bytes > self.0.len() { Err(Malformed("cut short")) } else { Ok(count) }
    }

    /// All bytes must have been read.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes left over")) }
    }

    /// Pairs of origin and time with their number in front.
    pub fn pairs(&mut self) -> Result<Vec<(Origin, Hlc)>, Malformed> {
        let len = self.u16()? as usize;
        if len * 16 > self.0.len() {
            return Err(Malformed("cut short"));
        }
        (0..len).map(|_| Ok((Origin(self.u64()?), self.hlc()?))).collect()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed("cut short"))?;
        self.0 = rest;
        Ok(*head)
    }
}

/// Appends bytes with their length in front.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a dot.
pub fn put_dot(out: &mut Vec<u8>, dot: Dot) {
    out.extend_from_slice(&dot.hlc.bits().to_le_bytes());
    out.extend_from_slice(&dot.origin.0.to_le_bytes());
}

/// Appends pairs of origin and time with their number in front.
pub fn put_pairs(out: &mut Vec<u8>, len: usize, pairs: impl Iterator<Item = (Origin, Hlc)>) {
    out.extend_from_slice(&(len as u16).to_le_bytes());
    for (origin, hlc) in pairs {
        out.extend_from_slice(&origin.0.to_le_bytes());
        out.extend_from_slice(&hlc.bits().to_le_bytes());
    }
}

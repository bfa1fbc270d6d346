//! The keys of a member's facts, and the piece of its ready slots that goes under one of them.

use alloc::{boxed::Box, format, vec::Vec};
use core::fmt;

use crate::{
    codec::{Malformed, Reader},
    hlc::Hlc,
    id::NodeId,
    slot_set::{CHUNK, SlotSet},
};

/// What a fact is about. Keys are text, so that a trace can be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    /// `meta`: name, addresses, zone, weight ([`super::Meta`]).
    Meta,
    /// `state`: [`super::State`].
    State,
    /// `ready/3`: the ready slots among those from 3 × 1024 on ([`PublishedSlots`]).
    Ready(u8),
    /// `verdict/…`: what this node knows to be said about another ([`super::Statement`]).
    Verdict(NodeId),
    /// `unreach/…`: this node cannot reach another; the value is its incarnation.
    Unreach(NodeId),
}

impl Key {
    /// The key as bytes.
    pub fn to_bytes(self) -> Box<[u8]> {
        format!("{self}").into_bytes().into()
    }

    /// Reads a key. Nothing for a key that this version does not know: it is carried all the same.
    pub fn parse(bytes: &[u8]) -> Option<Key> {
        match bytes {
            b"meta" => return Some(Key::Meta),
            b"state" => return Some(Key::State),
            _ => {}
        }
        let (about, name) = core::str::from_utf8(bytes).ok()?.split_once('/')?;
        match about {
            "ready" => name.parse().ok().map(Key::Ready).filter(|key| *key.to_bytes() == *bytes),
            "verdict" => NodeId::parse(name).map(Key::Verdict),
            "unreach" => NodeId::parse(name).map(Key::Unreach),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Meta => f.write_str("meta"),
            Key::State => f.write_str("state"),
            Key::Ready(chunk) => write!(f, "ready/{chunk}"),
            Key::Verdict(node) => write!(f, "verdict/{node}"),
            Key::Unreach(node) => write!(f, "unreach/{node}"),
        }
    }
}

/// One piece of a node's ready slots, as the node publishes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedSlots {
    /// When it was published.
    pub at: Hlc,
    /// The ready slots of the piece, counted from its first slot.
    pub slots: SlotSet,
}

impl PublishedSlots {
    /// Appends the piece.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.bits().to_le_bytes());
        self.slots.encode(out);
    }

    /// Reads piece number `chunk` of a set over `slots` slots.
    pub fn decode(bytes: &[u8], chunk: u8, slots: usize) -> Result<PublishedSlots, Malformed> {
        let first = usize::from(chunk) * CHUNK;
        if first >= slots {
            return Err(Malformed("slot out of range"));
        }
        let mut reader = Reader(bytes);
        let at = reader.hlc()?;
        Ok(PublishedSlots { at, slots: SlotSet::decode(reader.0, CHUNK.min(slots - first))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::MAX_KEY_BYTES;
    use proptest::prelude::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let node = NodeId::from_seed(7);
        for key in [Key::Meta, Key::State, Key::Ready(0), Key::Ready(15), Key::Verdict(node), Key::Unreach(node)] {
            assert!(key.to_bytes().len() <= MAX_KEY_BYTES);
            assert_eq!(Key::parse(&key.to_bytes()), Some(key));
        }
    }

    #[test]
    fn a_key_has_one_spelling() {
        for unknown in ["", "met", "ready/", "ready/+1", "ready/01", "ready/300", "verdict/12", "load"] {
            assert_eq!(Key::parse(unknown.as_bytes()), None, "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_no_key_and_no_piece(bytes in prop::collection::vec(any::<u8>(), 0..60), chunk in 0u8..20) {
            let _ = (Key::parse(&bytes), PublishedSlots::decode(&bytes, chunk, 16384));
        }
    }
}

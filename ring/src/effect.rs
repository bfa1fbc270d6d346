//! Effects: what a command did to one slot, as it travels to the other copies.
//!
//! Results travel, not commands: a copy that applies an effect needs no clock, no random number and no knowledge of
//! commands, and reaches the executor's state exactly. One command leaves at most one effect, so a copy shows all of
//! a command or nothing.
//!
//! An effect is encoded once and travels as opaque bytes. All numbers are little-endian:
//!
//! ```text
//! effect  u16 slot · u64 hlc · u64 origin · u64 prev · u16 n · n × (u64 origin · u64 hlc) · op …
//! op      1 put    u32 key length · key · u8 kind · u64 deadline (0: none) · u32 value length · value
//!         2 drop   u32 key length · key · u64 hlc · u64 origin · u8 cause
//!         3 clear  u16 n · n × (u64 origin · u64 hlc)
//! ```

use alloc::vec::Vec;

use crate::{
    codec::{Malformed, Reader, put_bytes, put_dot, put_pairs},
    context::SlotContext,
    dot::Dot,
    hlc::Hlc,
    id::Origin,
    slot::Slot,
};

/// Who an effect is and what it builds on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The slot it belongs to.
    pub slot: Slot,
    /// The version it writes.
    pub dot: Dot,
    /// The time of the same origin's previous effect in this slot, [`Hlc::ZERO`] for its first.
    pub prev: Hlc,
    /// The origins of which the executor had learnt since its own previous effect here, with how far; empty in normal
    /// operation. The effect may build on anything that they name.
    pub after: Vec<(Origin, Hlc)>,
}

/// Why an entry went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A command removed it.
    Delete,
    /// Its deadline passed.
    Expire,
    /// Memory was short.
    Evict,
}

/// One change. The set is closed: every command is expressed in these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// The key now has this value; a copy that holds a later version keeps it.
    Put {
        /// The key.
        key: &'a [u8],
        /// What the bytes of the value mean; the store's matter.
        kind: u8,
        /// The value.
        value: &'a [u8],
        /// When the value ends, in milliseconds since the Unix epoch; 0 is never.
        deadline: u64,
    },
    /// The version `saw` of the key is gone; any other version stays.
    Drop {
        /// The key.
        key: &'a [u8],
        /// The version that the executor removed.
        saw: Dot,
        /// Why.
        cause: Cause,
    },
    /// Every version that this context covers is gone.
    Clear {
        /// The executor's context.
        seen: SlotContext,
    },
}

impl Header {
    /// How many bytes the header takes.
    pub fn encoded_len(&self) -> usize {
        28 + 16 * self.after.len()
    }

    /// Appends the header; the operations follow it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.slot.number().to_le_bytes());
        put_dot(out, self.dot);
        out.extend_from_slice(&self.prev.bits().to_le_bytes());
        put_pairs(out, self.after.len(), self.after.iter().copied());
    }
}

impl Op<'_> {
    const PUT: u8 = 1;
    const DROP: u8 = 2;
    const CLEAR: u8 = 3;

    /// How many bytes the operation takes.
    pub fn encoded_len(&self) -> usize {
        match self {
            Op::Put { key, value, .. } => 1 + 4 + key.len() + 1 + 8 + 4 + value.len(),
            Op::Drop { key, .. } => 1 + 4 + key.len() + 16 + 1,
            Op::Clear { seen } => 1 + 2 + 16 * seen.len(),
        }
    }

    /// Appends the operation.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(out);
        if let Op::Put { value, .. } = self {
            out.extend_from_slice(value);
        }
    }

    /// Appends all but the bytes of a value, which end the operation: a large one may then follow by reference.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        match self {
            Op::Put { key, kind, value, deadline } => {
                out.push(Op::PUT);
                put_bytes(out, key);
                out.push(*kind);
                out.extend_from_slice(&deadline.to_le_bytes());
                out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            }
            Op::Drop { key, saw, cause } => {
                out.push(Op::DROP);
                put_bytes(out, key);
                put_dot(out, *saw);
                out.push(match cause {
                    Cause::Delete => 0,
                    Cause::Expire => 1,
                    Cause::Evict => 2,
                });
            }
            Op::Clear { seen } => {
                out.push(Op::CLEAR);
                put_pairs(out, seen.len(), seen.iter());
            }
        }
    }
}

/// An effect as it arrived: the header read, the operations checked and still in place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EffectRef<'a> {
    /// Who it is and what it builds on.
    pub header: Header,
    ops: &'a [u8],
}

impl<'a> EffectRef<'a> {
    /// Reads an effect and checks all of it, so that applying it later cannot fail. Linear in its length.
    pub fn decode(bytes: &'a [u8]) -> Result<EffectRef<'a>, Malformed> {
        let mut reader = Reader::new(bytes);
        let slot = reader.slot()?;
        let dot = reader.dot()?;
        let prev = reader.hlc()?;
        if prev >= dot.hlc {
            return Err(Malformed("not later than its predecessor"));
        }
        let after = reader.pairs()?;
        let effect = EffectRef { header: Header { slot, dot, prev, after }, ops: reader.rest() };
        while !reader.is_empty() {
            read_op(&mut reader)?;
        }
        Ok(effect)
    }

    /// The operations, in order.
    pub fn ops(&self) -> impl Iterator<Item = Op<'a>> + use<'a> {
        let mut reader = Reader::new(self.ops);
        // `decode` has read every operation once, so none is malformed here and the walk ends with the bytes.
        core::iter::from_fn(move || if reader.is_empty() { None } else { read_op(&mut reader).ok() })
    }
}

fn read_op<'a>(reader: &mut Reader<'a>) -> Result<Op<'a>, Malformed> {
    Ok(match reader.u8()? {
        Op::PUT => {
            let key = reader.bytes()?;
            let kind = reader.u8()?;
            let deadline = reader.u64()?;
            Op::Put { key, kind, deadline, value: reader.bytes()? }
        }
        Op::DROP => {
            let key = reader.bytes()?;
            let saw = reader.dot()?;
            let cause = match reader.u8()? {
                0 => Cause::Delete,
                1 => Cause::Expire,
                2 => Cause::Evict,
                _ => return Err(Malformed("unknown cause")),
            };
            Op::Drop { key, saw, cause }
        }
        Op::CLEAR => Op::Clear { seen: reader.pairs()?.into_iter().collect() },
        _ => return Err(Malformed("unknown operation")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hlc() -> impl Strategy<Value = Hlc> {
        (0u64..1 << 56).prop_map(|bits| Hlc::from_bits(bits).unwrap())
    }

    fn dot() -> impl Strategy<Value = Dot> {
        (hlc(), any::<u64>()).prop_map(|(hlc, origin)| Dot::new(hlc, Origin(origin)))
    }

    #[derive(Clone, Debug)]
    enum Owned {
        Put(Vec<u8>, u8, Vec<u8>, u64),
        Drop(Vec<u8>, Dot, Cause),
        Clear(Vec<(u64, Hlc)>),
    }

    impl Owned {
        fn op(&self) -> Op<'_> {
            match self {
                Owned::Put(key, kind, value, deadline) => Op::Put { key, kind: *kind, value, deadline: *deadline },
                Owned::Drop(key, saw, cause) => Op::Drop { key, saw: *saw, cause: *cause },
                Owned::Clear(pairs) => {
                    Op::Clear { seen: pairs.iter().map(|&(origin, hlc)| (Origin(origin), hlc)).collect() }
                }
            }
        }
    }

    fn op() -> impl Strategy<Value = Owned> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        prop_oneof![
            (bytes(), any::<u8>(), bytes(), any::<u64>()).prop_map(|(k, t, v, d)| Owned::Put(k, t, v, d)),
            (bytes(), dot(), prop_oneof![Just(Cause::Delete), Just(Cause::Expire), Just(Cause::Evict)])
                .prop_map(|(k, d, c)| Owned::Drop(k, d, c)),
            prop::collection::vec((any::<u64>(), hlc()), 0..4).prop_map(Owned::Clear),
        ]
    }

    fn encoded() -> impl Strategy<Value = (Header, Vec<Owned>, Vec<u8>)> {
        let after = prop::collection::vec((any::<u64>().prop_map(Origin), hlc()), 0..3);
        (0u16..16384, dot(), after, prop::collection::vec(op(), 0..4)).prop_map(|(slot, mut dot, after, ops)| {
            dot.hlc = dot.hlc.max(Hlc::from_bits(1).unwrap());
            let prev = Hlc::from_bits(dot.hlc.bits() / 2).unwrap();
            let header = Header { slot: Slot::new(slot).unwrap(), dot, prev, after };
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            assert_eq!(bytes.len(), header.encoded_len());
            for owned in &ops {
                let before = bytes.len();
                owned.op().encode(&mut bytes);
                assert_eq!(bytes.len() - before, owned.op().encoded_len());
            }
            (header, ops, bytes)
        })
    }

    proptest! {
        #[test]
        fn an_effect_is_read_as_it_was_written((header, ops, bytes) in encoded()) {
            let effect = EffectRef::decode(&bytes).unwrap();
            prop_assert_eq!(&effect.header, &header);
            prop_assert_eq!(effect.ops().collect::<Vec<_>>(), ops.iter().map(Owned::op).collect::<Vec<_>>());
        }

        #[test]
        fn a_cut_or_damaged_effect_is_an_error_or_another_effect((_, _, mut bytes) in encoded(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let cut = at.index(bytes.len());
            if let Ok(effect) = EffectRef::decode(&bytes[..cut]) {
                prop_assert_eq!(effect.ops().map(|op| op.encoded_len()).sum::<usize>() <= cut, true);
            }
            bytes[cut] = with;
            if let Ok(effect) = EffectRef::decode(&bytes) {
                effect.ops().for_each(drop);
            }
        }

        #[test]
        fn noise_is_refused_or_harmless(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(effect) = EffectRef::decode(&bytes) {
                effect.ops().for_each(drop);
            }
        }
    }
}

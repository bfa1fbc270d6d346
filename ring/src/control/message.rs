//! What two nodes say to each other about one slot.
//!
//! Messages travel over the control stream of a pair of nodes, in order, many in one batch. Every question is
//! answered or the stream ends; there is no time-out in the conversation itself.

use alloc::vec::Vec;

use crate::{
    codec::{Malformed, Reader, put_pairs},
    context::SlotContext,
    fold::Fold,
    id::NodeId,
    replica::Digest,
    slot::Slot,
};

/// One message about one slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The slot.
    pub slot: Slot,
    /// What is said.
    pub body: Body,
}

/// What is said about the slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// "I am about to act and have this: stop, and tell me what you have." Whose copy differs marks the lane too.
    Acquire {
        /// The attempt: tells one from another.
        id: u64,
        /// What the copy of the asker is.
        mine: Digest,
    },
    /// The answer: from now on nothing executes here.
    Stopped {
        /// The attempt.
        id: u64,
        /// What the copy here holds, if there is one.
        holds: Option<Held>,
        /// Who is registered here for effects.
        pullers: Vec<NodeId>,
    },
    /// The other answer: I am about to act myself and my node id is the smaller one.
    Refused {
        /// The attempt.
        id: u64,
    },
    /// "I act." Said to everybody by who begins to, and to a peer whose session begins.
    Acting,
    /// "Whatever I said before, I do not act." To everybody by who stops, and to whoever answered an attempt that was given
    /// up: what another one said meanwhile may have arrived before what this one said earlier.
    ActsNoMore,
    /// "We both acted; I have stopped, stop as well." Also said by one that hears two who do not hear each other.
    BothStop,
    /// "Who acts, as far as you know?", to one that reaches holders that the asker does not reach.
    WhoActs {
        /// The question.
        id: u64,
    },
    /// The answer.
    ActsThere {
        /// The question.
        id: u64,
        /// Who acts, if the answerer knows one in reach.
        acting: Option<NodeId>,
    },
    /// "Ship me the slot's effects from now on."
    Register,
    /// The answer: effects flow from now on; a snapshot taken after this one misses nothing.
    Registered,
    /// The other answer: ask the node that acts, if the answerer knows one.
    NotActing {
        /// Who acts, as far as the answerer knows.
        acting: Option<NodeId>,
    },
    /// "This is what my copy has." Whoever lacks something fetches it.
    Compare {
        /// The context.
        seen: SlotContext,
        /// The fold.
        fold: Fold,
        /// Whether the receiver should say the same in return if it has more.
        answer: bool,
    },
    /// "May I forget the slot? My copy has this."
    MayRelease {
        /// The attempt.
        id: u64,
        /// The context of the copy that would go.
        seen: SlotContext,
    },
    /// "May I forget the slot?", to who acts and is no target: whether it can do without this copy.
    MaySpare {
        /// The attempt.
        id: u64,
    },
    /// The answer to these two, and to [`Body::MayMend`].
    Release {
        /// The attempt.
        id: u64,
        /// Whether the answerer is ready and has all of it, and can do without.
        granted: bool,
    },
    /// "Your copy is not what its context says: forget it and pull it again." Said by who acts.
    PullAnew,
    /// "My copy is not what its context says, and I act: act in my place."
    TakeOver,
    /// "May I forget my copy, to pull it again? It has this." Asked of who acts; the answer is [`Body::Release`].
    MayMend {
        /// The attempt.
        id: u64,
        /// The context of the copy that would go.
        seen: SlotContext,
    },
}

/// What a copy holds: its whole context, which says what another one lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The context.
    pub seen: SlotContext,
    /// The fold.
    pub fold: Fold,
}

impl Held {
    /// The same, to compare.
    pub fn digest(&self) -> Digest {
        Digest { seen: self.seen.digest(), fold: self.fold }
    }
}

impl Message {
    /// Appends the message in its binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.slot.number().to_le_bytes());
        match &self.body {
            Body::Acquire { id, mine } => {
                put_id(out, 1, *id);
                out.extend_from_slice(&mine.seen.to_le_bytes());
                out.extend_from_slice(&mine.fold.0.to_le_bytes());
            }
            Body::Stopped { id, holds, pullers } => {
                put_id(out, 2, *id);
                out.push(holds.is_some().into());
                if let Some(Held { seen, fold }) = holds {
                    put_pairs(out, seen.len(), seen.iter());
                    out.extend_from_slice(&fold.0.to_le_bytes());
                }
                out.push(pullers.len() as u8);
                pullers.iter().for_each(|puller| out.extend_from_slice(puller.as_bytes()));
            }
            Body::Refused { id } => put_id(out, 3, *id),
            Body::Acting => out.push(4),
            Body::BothStop => out.push(5),
            Body::Register => out.push(6),
            Body::Registered => out.push(7),
            Body::NotActing { acting } => {
                out.push(8);
                put_node(out, *acting);
            }
            Body::Compare { seen, fold, answer } => {
                out.push(9);
                put_pairs(out, seen.len(), seen.iter());
                out.extend_from_slice(&fold.0.to_le_bytes());
                out.push((*answer).into());
            }
            Body::MayRelease { id, seen } => {
                put_id(out, 10, *id);
                put_pairs(out, seen.len(), seen.iter());
            }
            Body::Release { id, granted } => {
                put_id(out, 11, *id);
                out.push((*granted).into());
            }
            Body::MaySpare { id } => put_id(out, 12, *id),
            Body::ActsNoMore => out.push(13),
            Body::PullAnew => out.push(14),
            Body::TakeOver => out.push(18),
            Body::WhoActs { id } => put_id(out, 16, *id),
            Body::ActsThere { id, acting } => {
                put_id(out, 17, *id);
                put_node(out, *acting);
            }
            Body::MayMend { id, seen } => {
                put_id(out, 15, *id);
                put_pairs(out, seen.len(), seen.iter());
            }
        }
    }

    /// Reads one message from the front of the reader.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Message, Malformed> {
        let slot = reader.slot()?;
        let body = match reader.u8()? {
            1 => Body::Acquire { id: reader.u64()?, mine: Digest { seen: reader.u64()?, fold: Fold(reader.u64()?) } },
            2 => Body::Stopped {
                id: reader.u64()?,
                holds: match reader.flag()? {
                    true => Some(Held { seen: reader.pairs()?.into_iter().collect(), fold: Fold(reader.u64()?) }),
                    false => None,
                },
                pullers: {
                    let len = reader.u8()?;
                    (0..len).map(|_| reader.node()).collect::<Result<_, _>>()?
                },
            },
            3 => Body::Refused { id: reader.u64()? },
            4 => Body::Acting,
            5 => Body::BothStop,
            6 => Body::Register,
            7 => Body::Registered,
            8 => Body::NotActing { acting: read_node(reader)? },
            9 => Body::Compare {
                seen: reader.pairs()?.into_iter().collect(),
                fold: Fold(reader.u64()?),
                answer: reader.flag()?,
            },
            10 => Body::MayRelease { id: reader.u64()?, seen: reader.pairs()?.into_iter().collect() },
            11 => Body::Release { id: reader.u64()?, granted: reader.flag()? },
            12 => Body::MaySpare { id: reader.u64()? },
            13 => Body::ActsNoMore,
            14 => Body::PullAnew,
            18 => Body::TakeOver,
            16 => Body::WhoActs { id: reader.u64()? },
            17 => Body::ActsThere { id: reader.u64()?, acting: read_node(reader)? },
            15 => Body::MayMend { id: reader.u64()?, seen: reader.pairs()?.into_iter().collect() },
            _ => return Err(Malformed("unknown message")),
        };
        Ok(Message { slot, body })
    }
}

fn put_node(out: &mut Vec<u8>, node: Option<NodeId>) {
    out.push(node.is_some().into());
    node.iter().for_each(|node| out.extend_from_slice(node.as_bytes()));
}

fn read_node(reader: &mut Reader<'_>) -> Result<Option<NodeId>, Malformed> {
    Ok(if reader.flag()? { Some(reader.node()?) } else { None })
}

fn put_id(out: &mut Vec<u8>, tag: u8, id: u64) {
    out.push(tag);
    out.extend_from_slice(&id.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hlc::Hlc, id::Origin};
    use proptest::prelude::*;

    fn node() -> impl Strategy<Value = NodeId> {
        any::<u64>().prop_map(NodeId::from_seed)
    }

    fn context() -> impl Strategy<Value = SlotContext> {
        prop::collection::vec((any::<u64>(), 1u64..1 << 56), 0..5)
            .prop_map(|pairs| pairs.into_iter().map(|(o, h)| (Origin(o), Hlc::from_bits(h).unwrap())).collect())
    }

    fn body() -> impl Strategy<Value = Body> {
        let digest = || (any::<u64>(), any::<u64>()).prop_map(|(seen, fold)| Digest { seen, fold: Fold(fold) });
        let held = || (context(), any::<u64>()).prop_map(|(seen, fold)| Held { seen, fold: Fold(fold) });
        prop_oneof![
            (any::<u64>(), digest()).prop_map(|(id, mine)| Body::Acquire { id, mine }),
            any::<u64>().prop_map(|id| Body::MaySpare { id }),
            (any::<u64>(), prop::option::of(held()), prop::collection::vec(node(), 0..4))
                .prop_map(|(id, holds, pullers)| Body::Stopped { id, holds, pullers }),
            prop_oneof![
                any::<u64>().prop_map(|id| Body::Refused { id }),
                any::<u64>().prop_map(|id| Body::WhoActs { id }),
                (any::<u64>(), prop::option::of(node())).prop_map(|(id, acting)| Body::ActsThere { id, acting })
            ],
            prop_oneof![
                Just(Body::Acting),
                Just(Body::ActsNoMore),
                Just(Body::BothStop),
                Just(Body::Register),
                Just(Body::Registered),
                Just(Body::PullAnew),
                Just(Body::TakeOver)
            ],
            prop::option::of(node()).prop_map(|acting| Body::NotActing { acting }),
            (context(), any::<u64>(), any::<bool>()).prop_map(|(seen, fold, answer)| Body::Compare {
                seen,
                fold: Fold(fold),
                answer
            }),
            (any::<u64>(), context()).prop_map(|(id, seen)| Body::MayRelease { id, seen }),
            (any::<u64>(), context()).prop_map(|(id, seen)| Body::MayMend { id, seen }),
            (any::<u64>(), any::<bool>()).prop_map(|(id, granted)| Body::Release { id, granted }),
        ]
    }

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(messages in prop::collection::vec((0u16..16384, body()), 0..5)) {
            let messages: Vec<_> = messages.into_iter().map(|(slot, body)| Message { slot: Slot::new(slot).unwrap(), body }).collect();
            let mut bytes = Vec::new();
            messages.iter().for_each(|message| message.encode(&mut bytes));
            let mut reader = Reader::new(&bytes);
            for message in &messages {
                prop_assert_eq!(&Message::decode(&mut reader).unwrap(), message);
            }
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn noise_is_refused_or_harmless(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Message::decode(&mut Reader::new(&bytes));
        }
    }
}

//! What nodes tell each other of how they stand, for those who operate the cluster.
//!
//! ```text
//!   question  u8 kind · of a copy: name of the key
//!   answer    of a copy: u8 role · u64 keys · u64 bytes · u64 digest of seen · u64 fold · u16 origins ·
//!                        (u64 origin · u64 hlc)* · u8 whether there is an entry · entry
//!             entry:     u64 hlc · u64 origin · u8 kind · u64 bytes · u64 deadline · u64 idle seconds · u8 whether
//!                        uses are counted · u8 how often
//!             sizes:     u64 bytes for each slot
//!             lags:      (node id · u8 connected · u64 bytes · u64 batches · u64 p50 · u64 p99 · u64 longest · u64 oldest)*
//! ```

use bytes::{Buf, Bytes, TryGetError};
use ring::{
    codec::Malformed,
    context::SlotContext,
    fold::Fold,
    hlc::Hlc,
    id::{NodeId, Origin},
    replica::{Digest, Role},
    slot::SLOTS,
};

use crate::{
    resp::Output,
    store::{CopyFigures, EntryFigures},
    types::Kind,
};

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    /// What the copy of the slot in the frame's head is, and what it has under this name.
    Copy(Bytes),
    /// The bytes of each slot that the node acts for.
    Sizes,
    /// How long effects are on their way to the node's peers.
    Lags,
}

/// How long effects are on their way to one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LagTold {
    pub(crate) node: NodeId,
    pub(crate) is_connected: bool,
    pub(crate) waiting_bytes: u64,
    pub(crate) batches: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
    pub(crate) oldest_us: u64,
}

const ROLES: [Role; 5] = [Role::Absent, Role::Pulling, Role::Following, Role::Acting, Role::Releasing];

impl Question {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Question::Copy(name) => [&[0], &name[..]].concat(),
            Question::Sizes => vec![1],
            Question::Lags => vec![2],
        }
    }

    pub(crate) fn decode(mut body: Bytes) -> Result<Question, Malformed> {
        match (body.try_get_u8().map_err(short)?, body.is_empty()) {
            (0, _) => Ok(Question::Copy(body)),
            (1, true) => Ok(Question::Sizes),
            (2, true) => Ok(Question::Lags),
            _ => Err(Malformed("an unknown question")),
        }
    }
}

pub(crate) fn encode_copy(copy: &CopyFigures, out: &mut Output) {
    let CopyFigures { role, keys, bytes, digest, seen, entry } = copy;
    let role = ROLES.iter().position(|other| other == role).expect("all roles are listed");
    out.raw(&[role as u8]);
    [*keys, *bytes, digest.seen, digest.fold.0].iter().for_each(|number| out.raw(&number.to_le_bytes()));
    // A context has far fewer origins.
    out.raw(&(seen.len() as u16).to_le_bytes());
    for (origin, hlc) in seen.iter() {
        out.raw(&origin.0.to_le_bytes());
        out.raw(&hlc.bits().to_le_bytes());
    }
    out.raw(&[entry.is_some().into()]);
    if let Some(EntryFigures { hlc, origin, kind, value_bytes, deadline, idle_seconds, frequency }) = entry {
        out.raw(&hlc.bits().to_le_bytes());
        out.raw(&origin.0.to_le_bytes());
        out.raw(&[*kind as u8]);
        [value_bytes, deadline, idle_seconds].iter().for_each(|number| out.raw(&number.to_le_bytes()));
        out.raw(&[frequency.is_some().into(), frequency.unwrap_or(0)]);
    }
}

pub(crate) fn decode_copy(body: &Bytes) -> Result<CopyFigures, Malformed> {
    let mut body = body.clone();
    let role = *ROLES.get(usize::from(body.try_get_u8().map_err(short)?)).ok_or(Malformed("an unknown role"))?;
    let mut number = || body.try_get_u64_le().map_err(short);
    let (keys, bytes) = (number()?, number()?);
    let digest = Digest { seen: number()?, fold: Fold(number()?) };
    let mut seen = SlotContext::new();
    for _ in 0..body.try_get_u16_le().map_err(short)? {
        let origin = Origin(body.try_get_u64_le().map_err(short)?);
        seen.advance(origin, hlc(&mut body)?);
    }
    let entry = match flag(&mut body)? {
        false => None,
        true => Some(EntryFigures {
            hlc: hlc(&mut body)?,
            origin: Origin(body.try_get_u64_le().map_err(short)?),
            kind: Kind::from_number(body.try_get_u8().map_err(short)?).ok_or(Malformed("unknown kind of value"))?,
            value_bytes: body.try_get_u64_le().map_err(short)?,
            deadline: body.try_get_u64_le().map_err(short)?,
            idle_seconds: body.try_get_u64_le().map_err(short)?,
            frequency: {
                let is_counted = flag(&mut body)?;
                let frequency = body.try_get_u8().map_err(short)?;
                is_counted.then_some(frequency)
            },
        }),
    };
    end(&body)?;
    Ok(CopyFigures { role, keys, bytes, digest, seen, entry })
}

pub(crate) fn encode_sizes(sizes: &[u64], out: &mut Output) {
    sizes.iter().for_each(|size| out.raw(&size.to_le_bytes()));
}

pub(crate) fn decode_sizes(body: &Bytes) -> Result<Vec<u64>, Malformed> {
    let mut body = body.clone();
    let sizes = (0..SLOTS).map(|_| body.try_get_u64_le().map_err(short)).collect::<Result<_, _>>()?;
    end(&body)?;
    Ok(sizes)
}

pub(crate) fn encode_lags(lags: &[LagTold], out: &mut Output) {
    for LagTold { node, is_connected, waiting_bytes, batches, p50_us, p99_us, max_us, oldest_us } in lags {
        out.raw(node.as_bytes());
        out.raw(&[(*is_connected).into()]);
        let numbers = [waiting_bytes, batches, p50_us, p99_us, max_us, oldest_us];
        numbers.iter().for_each(|number| out.raw(&number.to_le_bytes()));
    }
}

pub(crate) fn decode_lags(body: &Bytes) -> Result<Vec<LagTold>, Malformed> {
    let (mut body, mut lags) = (body.clone(), Vec::new());
    while body.has_remaining() {
        let mut node = [0; 20];
        body.try_copy_to_slice(&mut node).map_err(short)?;
        let is_connected = flag(&mut body)?;
        let mut number = || body.try_get_u64_le().map_err(short);
        lags.push(LagTold {
            node: NodeId::from_bytes(node),
            is_connected,
            waiting_bytes: number()?,
            batches: number()?,
            p50_us: number()?,
            p99_us: number()?,
            max_us: number()?,
            oldest_us: number()?,
        });
    }
    Ok(lags)
}

fn hlc(body: &mut Bytes) -> Result<Hlc, Malformed> {
    Hlc::from_bits(body.try_get_u64_le().map_err(short)?).ok_or(Malformed("a time that is too large"))
}

fn flag(body: &mut Bytes) -> Result<bool, Malformed> {
    match body.try_get_u8().map_err(short)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("neither yes nor no")),
    }
}

fn end(body: &Bytes) -> Result<(), Malformed> {
    if body.is_empty() { Ok(()) } else { Err(Malformed("an answer that is too long")) }
}

fn short(_: TryGetError) -> Malformed {
    Malformed("an answer that ends early")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hlcs() -> impl Strategy<Value = Hlc> {
        (0u64..1 << 56).prop_map(|bits| Hlc::from_bits(bits).unwrap())
    }

    prop_compose! {
        fn entries()(
            hlc in hlcs(), origin: u64, kind in 0u8..2, value_bytes: u64, deadline: u64, idle_seconds: u64,
            frequency: Option<u8>,
        ) -> EntryFigures {
            let kind = Kind::from_number(kind).unwrap();
            EntryFigures { hlc, origin: Origin(origin), kind, value_bytes, deadline, idle_seconds, frequency }
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_read_as_it_was_written(
            role in prop::sample::select(ROLES.to_vec()), numbers: [u64; 4],
            seen in prop::collection::vec((any::<u64>(), hlcs()), 0..4), entry in prop::option::of(entries()),
            lags in prop::collection::vec((any::<u64>(), any::<bool>(), any::<[u64; 6]>()), 0..4),
        ) {
            let [keys, bytes, digest, fold] = numbers;
            let seen = seen.into_iter().map(|(origin, hlc)| (Origin(origin), hlc)).collect();
            let copy = CopyFigures { role, keys, bytes, digest: Digest { seen: digest, fold: Fold(fold) }, seen, entry };
            let mut out = Output::default();
            encode_copy(&copy, &mut out);
            prop_assert_eq!(decode_copy(&out.into_bytes()).unwrap(), copy);

            let lags: Vec<_> = lags.into_iter().map(|(node, is_connected, numbers)| {
                let [waiting_bytes, batches, p50_us, p99_us, max_us, oldest_us] = numbers;
                let node = NodeId::from_seed(node);
                LagTold { node, is_connected, waiting_bytes, batches, p50_us, p99_us, max_us, oldest_us }
            }).collect();
            let mut out = Output::default();
            encode_lags(&lags, &mut out);
            prop_assert_eq!(decode_lags(&out.into_bytes()).unwrap(), lags);
        }

        #[test]
        fn questions_are_read_as_they_were_written(name: Vec<u8>) {
            for question in [Question::Copy(name.clone().into()), Question::Sizes, Question::Lags] {
                prop_assert_eq!(Question::decode(question.encode().into()).unwrap(), question);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            let _ = (decode_copy(&bytes).is_ok(), decode_lags(&bytes).is_ok(), decode_sizes(&bytes).is_ok());
            let _ = Question::decode(bytes).is_ok();
        }
    }

    #[test]
    fn sizes_are_those_of_all_slots() {
        let sizes: Vec<u64> = (0..SLOTS as u64).collect();
        let mut out = Output::default();
        encode_sizes(&sizes, &mut out);
        let bytes = out.into_bytes();
        assert_eq!(decode_sizes(&bytes).unwrap(), sizes);
        assert!(decode_sizes(&bytes.slice(..bytes.len() - 1)).is_err());
        assert!(decode_sizes(&[&bytes[..], &[0]].concat().into()).is_err());
    }
}

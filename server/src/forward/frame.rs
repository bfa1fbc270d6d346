//! What travels on a link between two nodes: requests one way, replies the other.
//!
//! ```text
//!  request  │ length u32 │ id u32 │ kind u8 │ flags u8 │ mode u8 │ hops u8 │ slot u16 │ deadline_ms u32 │ body
//!  reply    │ length u32 │ id u32 │ status u8 │ body
//! ```
//!
//! Numbers are little-endian; the length counts what follows it. The body of a command is the request as an array of
//! strings, as the client sent it or would have; the body of its reply is a reply in the version of the protocol that
//! the client speaks. Nothing is translated on the way.
//!
//! Consecutive requests of one connection for one slot form a *group*: all but the last carry [`MORE`]. Groups exist
//! for order. If one request of a group cannot be executed, the rest of the group must not be either, or a later
//! request would overtake an earlier one.
//!
//! A length is checked before a byte of the frame is waited for, and memory for a frame grows as its bytes come.

use bytes::{Buf, BytesMut};
use ring::slot::Slot;

use crate::session::Mode;

/// The largest frame: the longest string of Redis, the largest request around it, and room for headers.
pub(crate) const MAX_FRAME_BYTES: usize = (1 << 30) + (64 << 10);

/// A frame above this goes by a link of its own, so that others do not wait behind it.
pub(crate) const LARGE_BYTES: usize = 256 << 10;

/// The next frame belongs to the same group.
pub(crate) const MORE: u8 = 1;
/// This link is for large frames: replies may be of any size.
pub(crate) const BULK: u8 = 1 << 1;

const REQUEST_HEADER_BYTES: usize = 14;
const REPLY_HEADER_BYTES: usize = 5;

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// To execute a command on the slot.
    Command = 0,
    /// To execute a command on each slot of a set; the body starts with the set.
    Every = 1,
    /// To go on with a `SCAN` from its cursor, over the slots that the receiver acts for.
    Scan = 2,
    /// To wait until the writes of a set of slots are acknowledged; the body is the set and how often.
    Wait = 3,
    /// Whether somebody reads at all; there is no body, and the answer has none.
    Ping = 4,
    /// To compare the copies of a set of slots that the receiver acts for, which is the body.
    Verify = 5,
    /// To tell how the receiver stands: the body is a question.
    Tell = 6,
}

/// The header of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// How the client's requests are executed.
    pub(crate) mode: Mode,
    /// How many nodes have passed the request on.
    pub(crate) hops: u8,
    pub(crate) slot: Slot,
    /// How long the sender will go on trying.
    pub(crate) deadline_ms: u32,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// It was executed; the body is the reply.
    Executed = 0,
    /// It was not executed, nor was anything behind it in its group.
    NotExecuted = 1,
    /// Whether it was executed is not known.
    Indeterminate = 2,
    /// Its reply is too large for this link. It changed nothing, and nothing behind it in its group was executed.
    TooLarge = 3,
}

/// A frame that no node of this version sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed frame: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Head {
    /// Appends a request.
    pub(crate) fn write(&self, body: &[&[u8]], out: &mut Vec<u8>) {
        let body_bytes: usize = body.iter().map(|part| part.len()).sum();
        out.extend_from_slice(&((REQUEST_HEADER_BYTES + body_bytes) as u32).to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, self.flags, self.mode.bits(), self.hops]);
        out.extend_from_slice(&self.slot.number().to_le_bytes());
        out.extend_from_slice(&self.deadline_ms.to_le_bytes());
        body.iter().for_each(|part| out.extend_from_slice(part));
    }

    /// Takes the header off a request.
    pub(crate) fn read(frame: &mut impl Buf) -> Result<Head, Malformed> {
        if frame.remaining() < REQUEST_HEADER_BYTES {
            return Err(Malformed("a request shorter than its header"));
        }
        let id = frame.get_u32_le();
        let kind = match frame.get_u8() {
            0 => Kind::Command,
            1 => Kind::Every,
            2 => Kind::Scan,
            3 => Kind::Wait,
            4 => Kind::Ping,
            5 => Kind::Verify,
            6 => Kind::Tell,
            _ => return Err(Malformed("unknown kind of request")),
        };
        let flags = frame.get_u8();
        if flags & !(MORE | BULK) != 0 {
            return Err(Malformed("unknown flags"));
        }
        let mode = Mode::from_bits(frame.get_u8()).ok_or(Malformed("unknown mode"))?;
        let hops = frame.get_u8();
        let slot = Slot::new(frame.get_u16_le()).ok_or(Malformed("there is no such slot"))?;
        Ok(Head { id, kind, flags, mode, hops, slot, deadline_ms: frame.get_u32_le() })
    }
}

/// The header of a reply whose body has so many bytes.
pub(crate) fn reply_head(id: u32, status: Status, body_bytes: usize) -> [u8; 4 + REPLY_HEADER_BYTES] {
    let mut head = [0; 4 + REPLY_HEADER_BYTES];
    head[..4].copy_from_slice(&((REPLY_HEADER_BYTES + body_bytes) as u32).to_le_bytes());
    head[4..8].copy_from_slice(&id.to_le_bytes());
    head[8] = status as u8;
    head
}

/// Takes the header off a reply.
pub(crate) fn read_reply(frame: &mut impl Buf) -> Result<(u32, Status), Malformed> {
    if frame.remaining() < REPLY_HEADER_BYTES {
        return Err(Malformed("a reply shorter than its header"));
    }
    let id = frame.get_u32_le();
    let status = match frame.get_u8() {
        0 => Status::Executed,
        1 => Status::NotExecuted,
        2 => Status::Indeterminate,
        3 => Status::TooLarge,
        _ => return Err(Malformed("unknown status of a reply")),
    };
    Ok((id, status))
}

/// Takes the next frame off what has come, without its length, if it is complete.
pub(crate) fn next(input: &mut BytesMut) -> Result<Option<BytesMut>, Malformed> {
    let Some(length) = input.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(Malformed("a frame larger than any"));
    }
    if input.len() - 4 < length {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn heads() -> impl Strategy<Value = Head> {
        let kinds = [Kind::Command, Kind::Every, Kind::Scan, Kind::Wait, Kind::Ping, Kind::Verify, Kind::Tell];
        let kind = prop::sample::select(kinds.to_vec());
        (any::<u32>(), kind, 0u8..4, 0u8..128, any::<u8>(), 0u16..16384, any::<u32>()).prop_map(
            |(id, kind, flags, mode, hops, slot, deadline_ms)| Head {
                id,
                kind,
                flags,
                mode: Mode::from_bits(mode).unwrap(),
                hops,
                slot: Slot::new(slot).unwrap(),
                deadline_ms,
            },
        )
    }

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..40)
    }

    /// Feeds the bytes in pieces and takes all frames.
    fn frames(bytes: &[u8], piece: usize) -> Vec<BytesMut> {
        let (mut input, mut frames) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            input.extend_from_slice(piece);
            while let Some(frame) = next(&mut input).unwrap() {
                frames.push(frame);
            }
        }
        assert!(input.is_empty());
        frames
    }

    proptest! {
        #[test]
        fn requests_are_read_as_they_are_written(
            requests in prop::collection::vec((heads(), bodies(), bodies()), 0..5),
            piece in 1usize..60,
        ) {
            let mut bytes = Vec::new();
            for (head, first, second) in &requests { head.write(&[first, second], &mut bytes); }
            let read: Vec<_> = frames(&bytes, piece).into_iter().map(|mut frame| {
                (Head::read(&mut frame).unwrap(), frame.to_vec())
            }).collect();
            let written: Vec<_> = requests.into_iter().map(|(head, one, two)| (head, [one, two].concat())).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn replies_are_read_as_they_are_written(id in any::<u32>(), number in 0usize..4, body in bodies()) {
            let status = [Status::Executed, Status::NotExecuted, Status::Indeterminate, Status::TooLarge][number];
            let bytes = [&reply_head(id, status, body.len())[..], &body].concat();
            let mut frame = frames(&bytes, 3).remove(0);
            prop_assert_eq!(read_reply(&mut frame), Ok((id, status)));
            prop_assert_eq!(&frame[..], &body[..]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Head::read(&mut Bytes::copy_from_slice(&bytes));
            let _ = read_reply(&mut Bytes::copy_from_slice(&bytes));
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = next(&mut input) { prop_assert!(frame.len() < bytes.len()); }
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_by_its_length() {
        let mut input = BytesMut::from(&(MAX_FRAME_BYTES as u32 + 1).to_le_bytes()[..]);
        assert_eq!(next(&mut input), Err(Malformed("a frame larger than any")));
    }
}

//! What travels on a link between two nodes: requests one way, replies the other.
//!
//! ```text
//!  request  │ check u32 │ length u32 │ body check u32 │ id u32 │ kind u8 │ flags u8 │ mode u8 │ hops u8 │ slot u16 │
//!           │ deadline_ms u32 │ body
//!  reply    │ check u32 │ length u32 │ body check u32 │ id u32 │ status u8 │ body
//! ```
//!
//! Numbers are little-endian; the length is that of the body. The body of a command is the request as an array of
//! strings, as the client sent it or would have; the body of its reply is a reply in the version of the protocol that
//! the client speaks. Nothing is translated on the way.
//!
//! **Damage is seen at once.** The check is of the rest of the head, so that nobody waits for as many bytes as a damaged
//! length says, or gets the reply of another; the body's own check keeps damage out of values and out of what a client
//! reads. Both are the low half of XXH3-64. TCP's checksum alone lets one of some 65,000 damaged segments pass (Stone and
//! Partridge, "When the CRC and TCP checksum disagree", SIGCOMM 2000). A frame that was damaged ends its link.
//!
//! Consecutive requests of one connection for one slot form a *group*: all but the last carry [`MORE`]. Groups exist
//! for order. If one request of a group cannot be executed, the rest of the group must not be either, or a later
//! request would overtake an earlier one.
//!
//! A length is checked before a byte of the frame is waited for, and memory for a frame grows as its bytes come.

use bytes::{Buf, BytesMut};
use ring::slot::Slot;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::{resp::Output, session::Mode};

/// The largest body of a frame: the longest string of Redis, and room for the largest request around it.
pub(crate) const MAX_FRAME_BYTES: usize = (1 << 30) + (64 << 10);

/// A frame above this goes by a link of its own, so that others do not wait behind it.
pub(crate) const LARGE_BYTES: usize = 256 << 10;

/// The next frame belongs to the same group.
pub(crate) const MORE: u8 = 1;
/// This link is for large frames: replies may be of any size.
pub(crate) const BULK: u8 = 1 << 1;

/// What both heads begin with.
const CHECKS_BYTES: usize = 12;
/// The fields behind that.
pub(super) const REQUEST_FIELDS: usize = 14;
pub(super) const REPLY_FIELDS: usize = 5;
const REQUEST_HEAD_BYTES: usize = CHECKS_BYTES + REQUEST_FIELDS;
const REPLY_HEAD_BYTES: usize = CHECKS_BYTES + REPLY_FIELDS;

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

/// The head of a request.
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
        let start = out.len();
        let mut head = [0; REQUEST_HEAD_BYTES];
        head[12..16].copy_from_slice(&self.id.to_le_bytes());
        head[16..20].copy_from_slice(&[self.kind as u8, self.flags, self.mode.bits(), self.hops]);
        head[20..22].copy_from_slice(&self.slot.number().to_le_bytes());
        head[22..].copy_from_slice(&self.deadline_ms.to_le_bytes());
        out.extend_from_slice(&head);
        body.iter().for_each(|part| out.extend_from_slice(part));
        let (head, body) = out[start..].split_at_mut(REQUEST_HEAD_BYTES);
        seal(head, body.len(), check(body));
    }

    /// Reads the head of a request.
    fn read(head: [u8; REQUEST_HEAD_BYTES]) -> Result<Head, Malformed> {
        let mut fields = &head[CHECKS_BYTES..];
        let id = fields.get_u32_le();
        let kind = match fields.get_u8() {
            0 => Kind::Command,
            1 => Kind::Every,
            2 => Kind::Scan,
            3 => Kind::Wait,
            4 => Kind::Ping,
            5 => Kind::Verify,
            6 => Kind::Tell,
            _ => return Err(Malformed("unknown kind of request")),
        };
        let flags = fields.get_u8();
        if flags & !(MORE | BULK) != 0 {
            return Err(Malformed("unknown flags"));
        }
        let mode = Mode::from_bits(fields.get_u8()).ok_or(Malformed("unknown mode"))?;
        let hops = fields.get_u8();
        let slot = Slot::new(fields.get_u16_le()).ok_or(Malformed("there is no such slot"))?;
        Ok(Head { id, kind, flags, mode, hops, slot, deadline_ms: fields.get_u32_le() })
    }
}

/// The head of a reply with this body.
pub(crate) fn reply_head(id: u32, status: Status, body: &Output) -> [u8; REPLY_HEAD_BYTES] {
    let mut head = [0; REPLY_HEAD_BYTES];
    head[12..16].copy_from_slice(&id.to_le_bytes());
    head[16] = status as u8;
    let check = match body.as_single() {
        Some(bytes) => check(bytes),
        None => {
            let mut hash = Xxh3Default::new();
            body.pieces().for_each(|piece| hash.update(piece));
            hash.digest() as u32
        }
    };
    seal(&mut head, body.len(), check);
    head
}

/// Takes the next request off what has come, if it is complete.
pub(crate) fn next_request(input: &mut BytesMut) -> Result<Option<(Head, BytesMut)>, Malformed> {
    let Some((head, body)) = next(input)? else { return Ok(None) };
    Ok(Some((Head::read(head)?, body)))
}

/// Takes the next reply off what has come, if it is complete.
pub(crate) fn next_reply(input: &mut BytesMut) -> Result<Option<(u32, Status, BytesMut)>, Malformed> {
    let Some((head, body)) = next::<REPLY_HEAD_BYTES>(input)? else { return Ok(None) };
    let mut fields = &head[CHECKS_BYTES..];
    let id = fields.get_u32_le();
    let status = match fields.get_u8() {
        0 => Status::Executed,
        1 => Status::NotExecuted,
        2 => Status::Indeterminate,
        3 => Status::TooLarge,
        _ => return Err(Malformed("unknown status of a reply")),
    };
    Ok(Some((id, status, body)))
}

/// Completes a head whose fields are there.
fn seal(head: &mut [u8], body_bytes: usize, body_check: u32) {
    head[4..8].copy_from_slice(&(body_bytes as u32).to_le_bytes());
    head[8..12].copy_from_slice(&body_check.to_le_bytes());
    let sum = check(&head[4..]);
    head[..4].copy_from_slice(&sum.to_le_bytes());
}

/// Frames as they would be sent, made of frames without checks: the length of what follows, that many bytes of fields, the
/// body. What is cut off is left out. A fuzzer does not find checks that hold by chance.
#[cfg(any(test, fuzzing))]
pub(super) fn sealed(mut input: &[u8], fields: usize) -> BytesMut {
    let mut frames = BytesMut::new();
    while let Some((length, rest)) = input.split_first_chunk::<4>()
        && let Some((frame, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        && let Some((fields, body)) = frame.split_at_checked(fields)
    {
        let mut head = [&[0; CHECKS_BYTES], fields].concat();
        seal(&mut head, body.len(), check(body));
        frames.extend_from_slice(&head);
        frames.extend_from_slice(body);
        input = rest;
    }
    frames
}

fn check(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}

/// Takes the next frame off what has come, if it is complete: its head, and its body.
fn next<const HEAD: usize>(input: &mut BytesMut) -> Result<Option<([u8; HEAD], BytesMut)>, Malformed> {
    let Some(&head) = input.first_chunk::<HEAD>() else { return Ok(None) };
    let mut checks = &head[..];
    let sum = checks.get_u32_le();
    if sum != check(checks) {
        return Err(Malformed("a damaged head"));
    }
    let (length, body_sum) = (checks.get_u32_le() as usize, checks.get_u32_le());
    if length > MAX_FRAME_BYTES {
        return Err(Malformed("a frame larger than any"));
    }
    if input.len() - HEAD < length {
        return Ok(None);
    }
    input.advance(HEAD);
    let body = input.split_to(length);
    if body_sum != check(&body) {
        return Err(Malformed("a damaged body"));
    }
    Ok(Some((head, body)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::{Protocol, Reply};

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

    type Next<T> = fn(&mut BytesMut) -> Result<Option<T>, Malformed>;

    /// Feeds the bytes in pieces and takes all frames.
    fn frames<T>(bytes: &[u8], piece: usize, next: Next<T>) -> Result<Vec<T>, Malformed> {
        let (mut input, mut frames) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            input.extend_from_slice(piece);
            while let Some(frame) = next(&mut input)? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    fn reply(id: u32, status: Status, body: Output) -> Vec<u8> {
        [&reply_head(id, status, &body)[..], &body.to_vec()].concat()
    }

    proptest! {
        #[test]
        fn requests_are_read_as_they_are_written(
            requests in prop::collection::vec((heads(), bodies(), bodies()), 0..5),
            piece in 1usize..60,
        ) {
            let mut bytes = Vec::new();
            for (head, first, second) in &requests { head.write(&[first, second], &mut bytes); }
            let read = frames(&bytes, piece, next_request).unwrap();
            let written: Vec<_> =
                requests.into_iter().map(|(head, one, two)| (head, BytesMut::from(&[one, two].concat()[..]))).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn replies_are_read_as_they_are_written(
            id in any::<u32>(), number in 0usize..4, small in bodies(), large in 0usize..40_000,
        ) {
            let status = [Status::Executed, Status::NotExecuted, Status::Indeterminate, Status::TooLarge][number];
            // A large value is a piece of its own in the output.
            let mut body = Output::default();
            body.raw(&small);
            body.reply(Reply::Shared(vec![7; large].into()), Protocol::Resp2);
            let sent = body.to_vec();
            let read = frames(&reply(id, status, body), 1000, next_reply).unwrap();
            prop_assert_eq!(read, [(id, status, BytesMut::from(&sent[..]))]);
        }

        #[test]
        fn one_damaged_bit_is_seen_when_its_part_is_there(
            head in heads(), body in bodies(), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let mut request = Vec::new();
            head.write(&[&body, b""], &mut request);
            let mut answer = Output::default();
            answer.raw(&body);
            let mut reply = reply(head.id, Status::Executed, answer);
            let place = at.index(request.len());
            request[place] ^= 1 << bit;
            let seen_after = if place < REQUEST_HEAD_BYTES { REQUEST_HEAD_BYTES } else { request.len() };
            prop_assert!(frames(&request[..seen_after], 1, next_request).is_err());
            let place = at.index(reply.len());
            reply[place] ^= 1 << bit;
            let seen_after = if place < REPLY_HEAD_BYTES { REPLY_HEAD_BYTES } else { reply.len() };
            prop_assert!(frames(&reply[..seen_after], 1, next_reply).is_err());
        }

        #[test]
        fn any_fields_and_any_body_are_read_or_refused(fields in any::<[u8; 14]>(), body in bodies()) {
            let naked = |fields: &[u8]| {
                [&((fields.len() + body.len()) as u32).to_le_bytes()[..], fields, &body].concat()
            };
            let read = next_request(&mut sealed(&naked(&fields), REQUEST_FIELDS));
            prop_assert!(matches!(read, Ok(Some(_))) || read.is_err_and(|Malformed(why)| !why.contains("damaged")));
            let read = next_reply(&mut sealed(&naked(&fields[..REPLY_FIELDS]), REPLY_FIELDS));
            prop_assert!(matches!(read, Ok(Some(_))) || read == Err(Malformed("unknown status of a reply")));
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_by_its_length() {
        let mut head = [0; REPLY_HEAD_BYTES];
        seal(&mut head, MAX_FRAME_BYTES + 1, 0);
        assert_eq!(next_reply(&mut BytesMut::from(&head[..])), Err(Malformed("a frame larger than any")));
    }
}

//! Requests about many slots, asked of one node.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use ring::{
    codec::Malformed,
    id::Peer,
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
};
use tokio::time::timeout;

use super::{
    flight::{Address, Answer, Flight},
    frame::{Head, Kind},
    link::{Outgoing, Refused},
    tell::Question,
};
use crate::{
    command::Command,
    resp::{Output, Protocol, Reply, Request, encode_request},
    router::Router,
    session::Mode,
};

/// A sweep of one node takes no longer than this, or counts as failed. `KEYS` may have millions to look at.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(60);

/// A node says how it stands within this time, or is left out.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) const FIRST_SLOT: Slot = Slot::new(0).expect("there is a first slot");

/// A request about the whole keyspace.
#[derive(Clone, Copy)]
pub(crate) struct WholeRequest<'a> {
    pub(crate) command: &'static Command,
    pub(crate) request: Request<'a>,
    pub(crate) mode: Mode,
}

/// What became of a question to another node.
pub(crate) enum Asked {
    /// Its answer.
    Answered(Bytes),
    /// There is none, and there will be none: it was not executed.
    Failed,
    /// Whether it was executed is not known.
    Lost,
}

/// What a command on many slots of one node came to.
pub(crate) struct Swept {
    /// The slots that it was not executed on.
    pub(crate) unserved: SlotSet,
    /// The sum of replies that are integers.
    pub(crate) sum: i64,
    /// How many elements `replies` has.
    pub(crate) elements: usize,
    /// The elements of replies that are arrays.
    pub(crate) replies: Output,
    /// The first error.
    pub(crate) error: Option<Reply<'static>>,
}

/// A piece of a `SCAN`.
#[derive(Default)]
pub(crate) struct ScanStep {
    /// Where to go on; 0 at the end.
    pub(crate) next: u64,
    /// How many keys were looked at.
    pub(crate) looked_at: u32,
    /// How many keys were found.
    pub(crate) elements: u32,
    /// Those keys.
    pub(crate) replies: Output,
    /// What went wrong.
    pub(crate) error: Option<Reply<'static>>,
}

impl Default for Swept {
    fn default() -> Swept {
        Swept { unserved: SlotSet::new(SLOTS), sum: 0, elements: 0, replies: Output::default(), error: None }
    }
}

impl Swept {
    pub(crate) fn failed(error: Reply<'static>) -> Swept {
        Swept { error: Some(error), ..Swept::default() }
    }

    /// Appends it to a frame.
    pub(crate) fn encode(self, out: &mut Output) {
        if let Some(error) = self.error {
            return encode_error(error, out);
        }
        let mut set = Vec::new();
        self.unserved.encode(&mut set);
        out.raw(&[OK]);
        out.raw(&(set.len() as u32).to_le_bytes());
        out.raw(&set);
        out.raw(&self.sum.to_le_bytes());
        out.raw(&(self.elements as u32).to_le_bytes());
        out.append(self.replies);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Swept, Malformed> {
        let mut body = body.clone();
        if let Some(error) = decode_error(&mut body)? {
            return Ok(Swept::failed(error));
        }
        let set_bytes = body.try_get_u32_le().map_err(short)? as usize;
        if set_bytes > body.len() {
            return Err(Malformed("a set of slots that ends early"));
        }
        let unserved = SlotSet::decode(&body.split_to(set_bytes), SLOTS)?;
        let sum = body.try_get_i64_le().map_err(short)?;
        let elements = body.try_get_u32_le().map_err(short)? as usize;
        let mut replies = Output::default();
        replies.raw(&body);
        Ok(Swept { unserved, sum, elements, replies, error: None })
    }
}

impl ScanStep {
    pub(crate) fn failed(error: Reply<'static>) -> ScanStep {
        ScanStep { error: Some(error), ..ScanStep::default() }
    }

    /// Appends it to a frame.
    pub(crate) fn encode(self, out: &mut Output) {
        if let Some(error) = self.error {
            return encode_error(error, out);
        }
        out.raw(&[OK]);
        out.raw(&self.next.to_le_bytes());
        out.raw(&self.looked_at.to_le_bytes());
        out.raw(&self.elements.to_le_bytes());
        out.append(self.replies);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<ScanStep, Malformed> {
        let mut body = body.clone();
        if let Some(error) = decode_error(&mut body)? {
            return Ok(ScanStep::failed(error));
        }
        let next = body.try_get_u64_le().map_err(short)?;
        let looked_at = body.try_get_u32_le().map_err(short)?;
        let elements = body.try_get_u32_le().map_err(short)?;
        let mut replies = Output::default();
        replies.raw(&body);
        Ok(ScanStep { next, looked_at, elements, replies, error: None })
    }
}

const OK: u8 = 0;
const ERROR: u8 = 1;

fn encode_error(error: Reply<'static>, out: &mut Output) {
    out.raw(&[ERROR]);
    out.reply(error, Protocol::Resp2);
}

/// The error, if it is one; else the body is behind its first byte.
fn decode_error(body: &mut Bytes) -> Result<Option<Reply<'static>>, Malformed> {
    match body.try_get_u8().map_err(short)? {
        OK => Ok(None),
        ERROR if body.first() == Some(&b'-') && body.ends_with(b"\r\n") => Ok(Some(Reply::Encoded(body.clone()))),
        _ => Err(Malformed("neither a result nor an error")),
    }
}

fn short(_: bytes::TryGetError) -> Malformed {
    Malformed("an answer that ends early")
}

impl Router {
    /// Asks a peer to run a command on slots of its own.
    pub(crate) async fn ask_sweep(&self, peer: Peer, client: u64, whole: WholeRequest<'_>, slots: &SlotSet) -> Asked {
        let (mut set, mut body) = (vec![0; 4], Vec::new());
        slots.encode(&mut set);
        let set_bytes = (set.len() - 4) as u32;
        set[..4].copy_from_slice(&set_bytes.to_le_bytes());
        encode_request(whole.request.args_from(0), &mut body, &mut Vec::new());
        let head = head(Kind::Every, whole.mode, FIRST_SLOT, SWEEP_TIMEOUT);
        // What all keys of a node answer may be large.
        self.ask(peer, client, true, head, [&set, &body], SWEEP_TIMEOUT).await
    }

    /// Asks a peer to go on with a `SCAN`.
    pub(crate) async fn ask_scan(
        &self,
        peer: Peer,
        client: u64,
        whole: WholeRequest<'_>,
        slot: Slot,
        cursor: u64,
    ) -> Asked {
        let mut body = Vec::new();
        encode_request(whole.request.args_from(0), &mut body, &mut Vec::new());
        let head = head(Kind::Scan, whole.mode, slot, SWEEP_TIMEOUT);
        self.ask(peer, client, false, head, [&cursor.to_le_bytes(), &body], SWEEP_TIMEOUT).await
    }

    /// Asks a peer how many of its peers have everything of these slots, when as many have it as are wanted or the
    /// time is over.
    pub(crate) async fn ask_wait(
        &self,
        peer: Peer,
        client: u64,
        slots: &SlotSet,
        wanted: u32,
        time: Duration,
    ) -> Asked {
        let mut set = Vec::new();
        slots.encode(&mut set);
        let head = head(Kind::Wait, Mode::FIRST, FIRST_SLOT, time);
        self.ask(peer, client, false, head, [&wanted.to_le_bytes(), &set], time + SWEEP_TIMEOUT).await
    }

    /// Asks a peer to compare the copies of its slots.
    pub(crate) async fn ask_verify(&self, peer: Peer, client: u64, slots: &SlotSet) -> Asked {
        let mut set = Vec::new();
        slots.encode(&mut set);
        let head = head(Kind::Verify, Mode::FIRST, FIRST_SLOT, SWEEP_TIMEOUT);
        self.ask(peer, client, false, head, [&set, &[]], SWEEP_TIMEOUT).await
    }

    /// Asks a peer how it stands.
    pub(crate) async fn ask_tell(&self, peer: Peer, client: u64, slot: Slot, question: &Question) -> Asked {
        let head = head(Kind::Tell, Mode::FIRST, slot, TELL_TIMEOUT);
        self.ask(peer, client, false, head, [&question.encode(), &[]], TELL_TIMEOUT).await
    }

    async fn ask(
        &self,
        peer: Peer,
        client: u64,
        is_large: bool,
        head: Head,
        body: [&[u8]; 2],
        patience: Duration,
    ) -> Asked {
        let Some(links) = self.cluster().links.of(peer) else { return Asked::Failed };
        let (flight, mut arrivals): (Arc<Flight>, _) = (Flight::new(), Vec::new());
        let asking = async {
            while arrivals.is_empty() {
                let request = Outgoing { head, body, address: Address { request: 0, attempt: 0 } };
                match links.append(client, is_large, &flight, [request].into_iter()) {
                    Err(Refused::Closed) => return Asked::Failed,
                    // Nothing arrives but that there is room.
                    Err(Refused::Full) => flight.arrivals(&mut arrivals).await,
                    Ok(()) => {
                        links.flush(client, is_large);
                        while arrivals.is_empty() {
                            flight.arrivals(&mut arrivals).await;
                        }
                    }
                }
            }
            match arrivals.pop() {
                Some((_, Answer::Executed(body))) => Asked::Answered(body),
                Some((_, Answer::Lost)) => Asked::Lost,
                _ => Asked::Failed,
            }
        };
        timeout(patience, asking).await.unwrap_or(Asked::Lost)
    }
}

fn head(kind: Kind, mode: Mode, slot: Slot, time: Duration) -> Head {
    Head { id: 0, kind, flags: 0, mode, hops: 1, slot, deadline_ms: time.as_millis() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn answers_are_read_as_they_are_written(
            slots in prop::collection::vec(0u16..16384, 0..9), sum: i64, elements in 0usize..9, next: u64, looked_at: u32,
            bytes in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let (mut swept, mut out) = (Swept { sum, elements, ..Swept::default() }, Output::default());
            slots.iter().for_each(|&slot| assert!(swept.unserved.insert(Slot::new(slot).unwrap()) || slots.len() > 1));
            let unserved = swept.unserved.clone();
            swept.replies.raw(&bytes);
            swept.encode(&mut out);
            let read = Swept::decode(&out.into_bytes()).unwrap();
            prop_assert_eq!((read.unserved, read.sum, read.elements), (unserved, sum, elements));
            prop_assert_eq!(read.replies.to_vec(), bytes.clone());

            let mut step = ScanStep { next, looked_at, elements: elements as u32, ..ScanStep::default() };
            let mut out = Output::default();
            step.replies.raw(&bytes);
            step.encode(&mut out);
            let read = ScanStep::decode(&out.into_bytes()).unwrap();
            prop_assert_eq!((read.next, read.looked_at, read.elements as usize), (next, looked_at, elements));
            prop_assert_eq!(read.replies.to_vec(), bytes);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = Bytes::from(bytes);
            let _ = (Swept::decode(&bytes).is_ok(), ScanStep::decode(&bytes).is_ok());
        }
    }
}

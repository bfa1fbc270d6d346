//! One lane: effects to one peer in order, its effects to us, and acknowledgements both ways.
//!
//! ```text
//!   store outbox ─ drain ─► data frames (id: batch, 0 in the middle of one) ─► peer
//!   acks ◄────────────────── ack frames (id: batch, payload: slots that do not count) ◄─ peer
//! ```
//!
//! The bytes of all data frames of a direction, one behind the other, are the stream of records that the store's
//! outbox describes; a record may span frames, so one of 512 MiB needs no message of that size.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use ring::{
    codec::{Malformed, Reader},
    context::SlotContext,
    control::Input,
    fold::Fold,
    id::{Origin, Peer},
    replica::Digest,
    slot::Slot,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Duration, interval},
};

use super::{Report, Reports, acks::Acks};
use crate::{
    clock::Clock,
    peer::{Frame, Half, SessionId},
    store::{Mark, Store, TAG_COMPARE, TAG_EFFECT, TAG_SEEN},
};

const DATA: u8 = 1;
const ACK: u8 = 2;

/// About how much is taken from the store at a time, and at most sent in one frame.
const BATCH_BYTES: usize = 256 << 10;
const FRAME_BYTES: usize = 1 << 20;

/// The largest record: a value of 512 MiB with its key and a head.
const MOST_RECORD_BYTES: usize = 1100 << 20;

/// While slots do not count their state is told again this often.
const RECHECK: Duration = Duration::from_millis(20);

/// What both directions of a lane need.
#[derive(Clone)]
pub struct Lane {
    /// Whose lane it is.
    pub peer: Peer,
    /// Which session it belongs to.
    pub session: SessionId,
    /// The entries.
    pub store: Arc<Store>,
    /// What peers have acknowledged.
    pub acks: Arc<Acks>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where gaps and breaks are reported.
    pub reports: Reports,
}

/// Batches on their way, with what they contain of each shard.
type Unacknowledged = Arc<Mutex<VecDeque<(u64, Vec<Mark>)>>>;

impl Lane {
    /// Sends and receives until the session ends.
    pub async fn run(self, half: Half, wake: Arc<Notify>) {
        let unacknowledged = Unacknowledged::default();
        let why = tokio::select! {
            why = self.clone().send(half.send.clone(), unacknowledged.clone(), wake) => why,
            why = self.clone().receive(half.receive, half.send, unacknowledged) => why,
        };
        // A control task that is gone has no use for it.
        let _ = self.reports.send(Report::Broken(self.session, why)).await;
    }

    async fn send(self, to: mpsc::Sender<Frame>, unacknowledged: Unacknowledged, wake: Arc<Notify>) -> String {
        let mut number = 0;
        loop {
            let Some(batch) = self.store.drain(self.peer, BATCH_BYTES) else {
                wake.notified().await;
                continue;
            };
            number += 1;
            unacknowledged.lock().push_back((number, batch.marks));
            let mut pieces = frames(batch.bytes).into_iter().peekable();
            while let Some(payload) = pieces.next() {
                let id = if pieces.peek().is_none() { number } else { 0 };
                if to.send(Frame { kind: DATA, id, payload }).await.is_err() {
                    return "the lane is closed".to_owned();
                }
            }
        }
    }

    async fn receive(
        self,
        mut from: mpsc::Receiver<Frame>,
        to: mpsc::Sender<Frame>,
        unacknowledged: Unacknowledged,
    ) -> String {
        let mut incoming = Incoming { lane: self, pending: BytesMut::new(), not_counting: Vec::new(), taken_in: 0 };
        let mut recheck = interval(RECHECK);
        loop {
            let answered = tokio::select! {
                frame = from.recv() => match frame {
                    None => return "the lane is closed".to_owned(),
                    Some(Frame { kind: DATA, id, payload }) => incoming.data(id, &payload).await,
                    Some(Frame { kind: ACK, id, payload }) => {
                        incoming.acknowledged(id, &payload, &unacknowledged).map(|()| false)
                    }
                    Some(Frame { kind, .. }) => return format!("the peer sent a frame of unknown kind {kind}"),
                },
                _ = recheck.tick(), if !incoming.not_counting.is_empty() => Ok(true),
            };
            let is_due = match answered {
                Ok(is_due) => is_due,
                Err(error) => return error.to_string(),
            };
            if is_due && to.send(incoming.acknowledgement()).await.is_err() {
                return "the lane is closed".to_owned();
            }
        }
    }
}

/// The pieces of a batch as payloads: small ones together, large ones cut.
fn frames(pieces: Vec<Bytes>) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut together = BytesMut::new();
    for mut piece in pieces {
        if together.len() + piece.len() <= FRAME_BYTES {
            if together.is_empty() && piece.len() >= FRAME_BYTES / 4 {
                frames.push(piece);
            } else {
                together.extend_from_slice(&piece);
            }
            continue;
        }
        if !together.is_empty() {
            frames.push(together.split().freeze());
        }
        while piece.len() > FRAME_BYTES {
            frames.push(piece.split_to(FRAME_BYTES));
        }
        together.extend_from_slice(&piece);
    }
    if !together.is_empty() {
        frames.push(together.freeze());
    }
    frames
}

/// The receiving side of a lane.
struct Incoming {
    lane: Lane,
    pending: BytesMut,
    /// Slots that took in an effect and do not count yet.
    not_counting: Vec<Slot>,
    /// The last batch that is taken in as a whole.
    taken_in: u64,
}

impl Incoming {
    /// Takes a frame in; true if a batch is complete and is to be acknowledged.
    async fn data(&mut self, id: u64, payload: &[u8]) -> Result<bool, Malformed> {
        self.pending.extend_from_slice(payload);
        while let Some(record) = self.next_record()? {
            if let Some(input) = self.record(record.0, &record.1)? {
                // If the control task is gone the node ends.
                let _ = self.lane.reports.send(Report::Input(self.lane.session, input)).await;
            }
        }
        if id != 0 {
            self.taken_in = id;
        }
        Ok(id != 0)
    }

    fn next_record(&mut self) -> Result<Option<(u8, Bytes)>, Malformed> {
        let Some(&[tag, a, b, c, d]) = self.pending.first_chunk() else { return Ok(None) };
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > MOST_RECORD_BYTES {
            return Err(Malformed("a record beyond the limit"));
        }
        if self.pending.len() < 5 + len {
            return Ok(None);
        }
        self.pending.advance(5);
        Ok(Some((tag, self.pending.split_to(len).freeze())))
    }

    fn record(&mut self, tag: u8, body: &[u8]) -> Result<Option<Input>, Malformed> {
        let from = self.lane.peer;
        match tag {
            TAG_EFFECT => {
                let (slot, received, counts) = self.lane.store.receive(body, self.lane.clock.unix_ms())?;
                self.note(slot, counts);
                Ok(received.is_uncertain().then_some(Input::Gap { slot, from }))
            }
            TAG_COMPARE => {
                let mut reader = Reader::new(body);
                let slot = reader.slot()?;
                let digest = Digest { seen: reader.u64()?, fold: Fold(reader.u64()?) };
                let differs = self.lane.store.with_replica(slot, |copy| copy.role().holds() && copy.digest() != digest);
                Ok(differs.then_some(Input::Differs { slot, from }))
            }
            TAG_SEEN => {
                let mut reader = Reader::new(body);
                let slot = reader.slot()?;
                let mut seen = SlotContext::new();
                while !reader.is_empty() {
                    seen.advance(Origin(reader.u64()?), reader.hlc()?);
                }
                let (lacks, counts) = self.lane.store.heard_of(slot, &seen, self.lane.clock.unix_ms())?;
                self.note(slot, counts);
                Ok(lacks.then_some(Input::Gap { slot, from }))
            }
            _ => Err(Malformed("a record of unknown kind")),
        }
    }

    fn note(&mut self, slot: Slot, counts: bool) {
        if !counts && !self.not_counting.contains(&slot) {
            self.not_counting.push(slot);
        }
    }

    fn acknowledgement(&mut self) -> Frame {
        let store = &self.lane.store;
        self.not_counting.retain(|&slot| !store.with_replica(slot, |copy| copy.counts()));
        let payload = self.not_counting.iter().flat_map(|slot| slot.number().to_le_bytes()).collect();
        Frame { kind: ACK, id: self.taken_in, payload }
    }

    fn acknowledged(&self, id: u64, payload: &[u8], unacknowledged: &Unacknowledged) -> Result<(), Malformed> {
        let mut reader = Reader::new(payload);
        let mut not_counting = Vec::new();
        while !reader.is_empty() {
            not_counting.push(reader.slot()?);
        }
        let mut marks = Vec::new();
        {
            let mut waiting = unacknowledged.lock();
            while waiting.front().is_some_and(|&(number, _)| number <= id) {
                marks.extend(waiting.pop_front().into_iter().flat_map(|(_, marks)| marks));
            }
        }
        self.lane.acks.acknowledge(self.lane.peer, marks, &not_counting);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_the_bytes_in_order_and_none_is_too_large() {
        let sizes = [10, 20, FRAME_BYTES / 2, 3 * FRAME_BYTES + 7, 1, FRAME_BYTES, 5];
        let pieces: Vec<Bytes> = sizes.iter().enumerate().map(|(at, &len)| Bytes::from(vec![at as u8; len])).collect();
        let all: Vec<u8> = pieces.concat();
        let frames = frames(pieces);
        assert!(frames.iter().all(|frame| !frame.is_empty() && frame.len() <= FRAME_BYTES));
        assert_eq!(frames.concat(), all);
    }
}

//! One lane: effects to one peer in order, its effects to us, and acknowledgements both ways.
//!
//! ```text
//!   store outbox ─ drain ─► data frames (id: batch, 0 in the middle of one) ─► peer
//!   acks ◄────────────────── ack frames (id: batch, payload: slots that do not count) ◄─ peer
//! ```
//!
//! A frame costs both nodes some wake-ups and system calls, more than the effects in it. So the first after a pause leaves
//! at once and the next ones gather for a millisecond, and acknowledgements follow each other by five, unless somebody
//! waits for them: then batches are sent as they come and ask to be acknowledged at once.
//!
//! The bytes of all data frames of a direction, one behind the other, are the stream of records that the store's
//! outbox describes; a record may span frames, so one of 512 MiB needs no message of that size.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use ring::{
    codec::{Malformed, Reader},
    context::SlotContext,
    control::Input,
    fold::Fold,
    id::{Origin, Peer},
    replica::Digest,
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Duration, MissedTickBehavior, interval, sleep},
};

use super::{
    End, Report, Reports,
    acks::Acks,
    audits::{Answer, Audits},
};
use crate::{
    clock::Clock,
    peer::{Frame, Half, SessionId},
    store::{
        Batch, Claim, Drained, Finding, LaneId, Mark, Store, TAG_CLAIM, TAG_COMPARE, TAG_EFFECT, TAG_FINDING, TAG_MARK,
        TAG_SEEN, read_finding,
    },
};

const DATA: u8 = 1;
const ACK: u8 = 2;
/// Like [`DATA`], and somebody waits for the acknowledgement.
const URGENT: u8 = 3;

/// About how much is taken from the store at a time, and at most sent in one frame.
const BATCH_BYTES: usize = 256 << 10;
const FRAME_BYTES: usize = 1 << 20;

/// The largest record: a value of 512 MiB with its key and a head.
const MOST_RECORD_BYTES: usize = 1100 << 20;

/// While slots do not count it is looked this often whether one does now, and told if so.
const RECHECK: Duration = Duration::from_millis(20);

/// How long effects wait for others if nobody waits for them, and how far acknowledgements are apart.
const GATHER: Duration = Duration::from_millis(1);
const GATHER_ACKS: Duration = Duration::from_millis(5);

/// What both directions of a lane need.
#[derive(Clone)]
pub struct Lane {
    /// Whose lane it is.
    pub peer: Peer,
    /// Which session it belongs to.
    pub session: SessionId,
    /// The control machine was told that the session is over, and gives up what this lane brought and is not in.
    pub is_over: Arc<AtomicBool>,
    /// The entries.
    pub store: Arc<Store>,
    /// What peers have acknowledged.
    pub acks: Arc<Acks>,
    /// What peers answer to claims.
    pub audits: Arc<Audits>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where gaps and breaks are reported.
    pub reports: Reports,
}

/// Batches on their way, with what they contain of each shard.
struct Unacknowledged {
    peer: Peer,
    acks: Arc<Acks>,
    clock: Arc<dyn Clock>,
    batches: Mutex<VecDeque<Sent>>,
}

struct Sent {
    number: u64,
    marks: Vec<Mark>,
    bytes: usize,
}

impl Unacknowledged {
    fn sent(&self, number: u64, batch: &mut Batch) {
        let bytes = batch.len_bytes();
        self.acks.sent(self.peer, bytes);
        self.acks.lags().sent(self.peer, number, self.clock.monotonic_us());
        self.batches.lock().push_back(Sent { number, marks: std::mem::take(&mut batch.marks), bytes });
    }

    /// What was acknowledged up to this batch.
    fn arrived(&self, number: u64) -> Vec<Mark> {
        let (mut marks, mut bytes) = (Vec::new(), 0);
        let mut batches = self.batches.lock();
        while let Some(sent) = batches.pop_front_if(|sent| sent.number <= number) {
            marks.extend(sent.marks);
            bytes += sent.bytes;
        }
        self.acks.arrived(self.peer, bytes);
        self.acks.lags().arrived(self.peer, number, self.clock.monotonic_us());
        marks
    }
}

impl Drop for Unacknowledged {
    fn drop(&mut self) {
        self.acks.lags().lost(self.peer);
        self.arrived(u64::MAX);
    }
}

impl Lane {
    /// Sends and receives until the session ends.
    pub async fn run(self, lane: LaneId, half: Half, wake: Arc<Notify>) {
        let (peer, acks, clock) = (self.peer, self.acks.clone(), self.clock.clone());
        let unacknowledged = &Unacknowledged { peer, acks, clock, batches: Mutex::default() };
        let why = tokio::select! {
            why = self.clone().send(lane, half.send.clone(), unacknowledged, wake) => why,
            why = self.clone().receive(half.receive, half.send, unacknowledged) => why,
        };
        // A control task that is gone has no use for it.
        let _ = self.reports.send(Report::Over(self.session, why)).await;
    }

    async fn send(
        self,
        lane: LaneId,
        to: mpsc::Sender<Frame>,
        unacknowledged: &Unacknowledged,
        wake: Arc<Notify>,
    ) -> End {
        let mut number = 0;
        loop {
            let mut batch = match self.store.drain(lane, BATCH_BYTES) {
                Drained::Batch(batch) => batch,
                Drained::Nothing => {
                    wake.notified().await;
                    continue;
                }
                Drained::Closed => {
                    // Whoever sends now may have been meant by what woke this one.
                    wake.notify_one();
                    return End::Closed("the session is over");
                }
            };
            number += 1;
            let is_full = batch.len_bytes() >= BATCH_BYTES;
            unacknowledged.sent(number, &mut batch);
            let kind = if self.acks.hurry() { URGENT } else { DATA };
            let mut pieces = frames(batch.bytes).into_iter().peekable();
            while let Some(payload) = pieces.next() {
                let id = if pieces.peek().is_none() { number } else { 0 };
                if to.send(Frame { kind, id, payload }).await.is_err() {
                    return End::Closed("the lane is closed");
                }
            }
            if !is_full {
                tokio::select! {
                    () = sleep(GATHER) => {}
                    () = self.acks.hurried() => {}
                }
            }
        }
    }

    async fn receive(
        self,
        mut from: mpsc::Receiver<Frame>,
        to: mpsc::Sender<Frame>,
        unacknowledged: &Unacknowledged,
    ) -> End {
        let mut incoming = Incoming {
            lane: self,
            pending: BytesMut::new(),
            not_counting: SlotSet::new(SLOTS),
            taken_in: 0,
            acknowledged: 0,
        };
        let mut recheck = interval(RECHECK);
        let mut gathered = interval(GATHER_ACKS);
        gathered.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let answered = tokio::select! {
                frame = from.recv() => match frame {
                    None => return End::Closed("the lane is closed"),
                    Some(Frame { kind: kind @ (DATA | URGENT), id, payload }) => {
                        incoming.data(id, &payload).await.map(|()| kind == URGENT && id != 0)
                    }
                    Some(Frame { kind: ACK, id, payload }) => {
                        incoming.acknowledged(id, &payload, unacknowledged).map(|()| false)
                    }
                    Some(Frame { kind, .. }) => {
                        return End::Nonsense(format!("the peer sent a frame of unknown kind {kind}"));
                    }
                },
                _ = gathered.tick(), if incoming.acknowledged < incoming.taken_in => Ok(true),
                _ = recheck.tick(), if !incoming.not_counting.is_empty() => Ok(incoming.recheck()),
            };
            let is_due = match answered {
                Ok(is_due) => is_due,
                Err(error) => return error.into(),
            };
            if !is_due {
                continue;
            }
            let acknowledgement = incoming.acknowledgement();
            // Asked after the copies were: if one counts because what it misses was given up, this says so.
            if incoming.lane.is_over.load(Ordering::Acquire) {
                return End::Closed("the session is over");
            }
            if to.send(acknowledgement).await.is_err() {
                return End::Closed("the lane is closed");
            }
        }
    }
}

/// The pieces of a batch as payloads: small ones together, large ones cut.
fn frames(pieces: Vec<Bytes>) -> Vec<Bytes> {
    if pieces.len() == 1 && pieces[0].len() <= FRAME_BYTES {
        return pieces;
    }
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
    /// The beginning of a record that goes on in the next frame.
    pending: BytesMut,
    /// Slots that took in an effect and do not count yet.
    not_counting: SlotSet,
    /// The last batch that is taken in as a whole.
    taken_in: u64,
    /// The last one that was acknowledged.
    acknowledged: u64,
}

impl Incoming {
    /// Takes a frame in.
    async fn data(&mut self, id: u64, payload: &[u8]) -> Result<(), Malformed> {
        let mut reports = Vec::new();
        if self.pending.is_empty() {
            let used = self.records(payload, &mut reports)?;
            self.pending.extend_from_slice(&payload[used..]);
        } else {
            let mut pending = std::mem::take(&mut self.pending);
            pending.extend_from_slice(payload);
            let used = self.records(&pending, &mut reports)?;
            // Nothing is left of most, and then the memory of a large record is given back.
            if used < pending.len() {
                pending.advance(used);
                self.pending = pending;
            }
        }
        for input in reports {
            // If the control task is gone the node ends.
            let _ = self.lane.reports.send(Report::Input(input)).await;
        }
        if id != 0 {
            self.taken_in = id;
        }
        Ok(())
    }

    /// Takes in the whole records at the beginning; how many bytes these are.
    fn records(&mut self, bytes: &[u8], reports: &mut Vec<Input>) -> Result<usize, Malformed> {
        let mut used = 0;
        while let Some(&[tag, a, b, c, d]) = bytes[used..].first_chunk() {
            let len = u32::from_le_bytes([a, b, c, d]) as usize;
            if len > MOST_RECORD_BYTES {
                return Err(Malformed("a record beyond the limit"));
            }
            let Some(body) = bytes.get(used + 5..used + 5 + len) else { break };
            reports.extend(self.record(tag, body)?);
            used += 5 + len;
        }
        Ok(used)
    }

    fn record(&mut self, tag: u8, body: &[u8]) -> Result<Option<Input>, Malformed> {
        let from = self.lane.peer;
        match tag {
            TAG_EFFECT => {
                let (slot, received, counts) = self.lane.store.receive(from, body, self.lane.clock.unix_ms())?;
                self.note(slot, counts);
                Ok(received.is_uncertain().then_some(Input::Gap { slot }))
            }
            TAG_COMPARE => {
                let mut reader = Reader::new(body);
                let slot = reader.slot()?;
                let digest = Digest { seen: reader.u64()?, fold: Fold(reader.u64()?) };
                let differs = self.lane.store.with_replica(slot, |copy| copy.role().holds() && copy.digest() != digest);
                Ok(differs.then_some(Input::Differs { slot, from }))
            }
            TAG_MARK => {
                let mut reader = Reader::new(body);
                Ok(Some(Input::Marked { slot: reader.slot()?, from, id: reader.u64()? }))
            }
            TAG_SEEN => {
                let mut reader = Reader::new(body);
                let slot = reader.slot()?;
                let mut seen = SlotContext::new();
                while !reader.is_empty() {
                    seen.advance(Origin(reader.u64()?), reader.hlc()?);
                }
                let (lacks, counts) = self.lane.store.heard_of(from, slot, &seen, self.lane.clock.unix_ms())?;
                self.note(slot, counts);
                Ok(lacks.then_some(Input::Gap { slot }))
            }
            TAG_CLAIM => {
                let (slot, claim) = Claim::read(body)?;
                let finding = self.lane.store.check_claim(from, slot, &claim);
                // The others are for who acts to decide.
                let differs = matches!(finding, Finding::Context | Finding::Entries);
                Ok(differs.then_some(Input::Differs { slot, from }))
            }
            TAG_FINDING => {
                let (slot, round, finding, content) = read_finding(body)?;
                let answer = Answer { slot, peer: from, found: Some((finding, content)) };
                self.lane.audits.answered(round, answer);
                Ok(None)
            }
            _ => Err(Malformed("a record of unknown kind")),
        }
    }

    fn note(&mut self, slot: Slot, counts: bool) {
        if !counts {
            self.not_counting.insert(slot);
        }
    }

    /// Whether a copy that did not count does now.
    fn recheck(&mut self) -> bool {
        let store = &self.lane.store;
        let counts: Vec<Slot> =
            self.not_counting.iter().filter(|&slot| store.with_replica(slot, |copy| copy.counts())).collect();
        for &slot in &counts {
            self.not_counting.remove(slot);
        }
        !counts.is_empty()
    }

    fn acknowledgement(&mut self) -> Frame {
        self.recheck();
        self.acknowledged = self.taken_in;
        let payload = self.not_counting.iter().flat_map(|slot| slot.number().to_le_bytes()).collect();
        Frame { kind: ACK, id: self.taken_in, payload }
    }

    fn acknowledged(&self, id: u64, payload: &[u8], unacknowledged: &Unacknowledged) -> Result<(), Malformed> {
        let mut reader = Reader::new(payload);
        let mut not_counting = Vec::new();
        while !reader.is_empty() {
            not_counting.push(reader.slot()?);
        }
        self.lane.acks.acknowledge(self.lane.peer, unacknowledged.arrived(id), &not_counting);
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

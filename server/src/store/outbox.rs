//! What a shard has to tell its peers, in the order in which it happened.
//!
//! ```text
//!   commands ─► shard 0: buffer for p1 ┐                         ┌► lane to p1
//!               shard 0: buffer for p2 │  dirty shards, bytes,   │
//!   commands ─► shard 1: buffer for p1 ├─ window, per peer ──────┤
//!               shard 1: buffer for p2 ┘        (Lanes)          └► lane to p2
//! ```
//!
//! A buffer is filled under its shard's lock by whoever executes, so that a slot's effects lie in it in the order of
//! their dots, and is emptied by the one sender of its peer. Each record is framed: `u8 tag · u32 length · bytes`,
//! numbers little-endian. Tag 1 is an effect; tag 2 is a comparison, `u16 slot · u64 digest of seen · u64 fold`, which
//! says how the copy stood between the two effects that it lies between; tag 3 is what the copy has incorporated, `u16
//! slot · (u64 origin · u64 hlc)*`, by which a peer knows whether it has all of it; tag 4 is a place in the lane, `u16 slot ·
//! u64 attempt`; tags 5 and 6 are those of an audit, see [`super::audit`]. Small values are copied once per peer,
//! large ones travel by reference.
//!
//! A lane never skips. When a peer has more than the window waiting in all shards together, its lane overflows:
//! nothing more is taken in, what waits is freed when the lane is closed, and after opening it again the copies are
//! compared. A dead peer so costs at most the window.
//!
//! # What a peer has got
//!
//! A shard numbers the effects that it ships, to whomever. A [`Mark`] says that a peer was sent all of its effects of
//! a shard with a number above `after` and up to `seq`; `after` is where the lane was opened, so an effect that was
//! lost with a former lane never counts as sent with the next one.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use ring::{
    context::SlotContext,
    effect::{Header, Op},
    id::{MAX_PEERS, Peer, PeerSet},
    slot::Slot,
};

use super::{Events, SHARDS};

/// A frame with an effect.
pub const TAG_EFFECT: u8 = 1;
/// A frame with a comparison.
pub const TAG_COMPARE: u8 = 2;

/// A frame with what a copy has incorporated.
pub const TAG_SEEN: u8 = 3;

/// A frame with a place in the lane, for who is about to act.
pub const TAG_MARK: u8 = 4;

/// A frame with everything that a copy is between two effects, to be compared.
pub const TAG_CLAIM: u8 = 5;

/// A frame with what came of that.
pub const TAG_FINDING: u8 = 6;

/// Small records are collected up to this size before they become a piece of their own.
const PIECE_BYTES: usize = 64 << 10;
const FRAME_HEAD: usize = 5;

/// An emptied tail keeps its memory up to this size.
const KEPT_TAIL_BYTES: usize = 1 << 10;

/// Up to where a peer was sent a shard's effects: all of its own with a number in `after < number <= seq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The shard.
    pub shard: u16,
    /// The number of the shard's last effect when the lane was opened.
    pub after: u64,
    /// The number of the last effect that went.
    pub seq: u64,
}

/// What a sender took for its peer: whole frames, in order per shard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// The bytes, to be sent one behind the other.
    pub bytes: Vec<Bytes>,
    /// How far the batch goes in each shard that it has something of.
    pub marks: Vec<Mark>,
    /// Small records on their way to become the next of `bytes`.
    small: BytesMut,
}

impl Batch {
    /// How many bytes the batch has.
    pub fn len_bytes(&self) -> usize {
        self.bytes.iter().map(Bytes::len).sum::<usize>() + self.small.len()
    }

    fn push(&mut self, parts: Vec<Bytes>) {
        self.seal();
        self.bytes.extend(parts);
    }

    fn push_small(&mut self, records: &[u8]) {
        self.small.extend_from_slice(records);
        if self.small.len() >= PIECE_BYTES {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.bytes.push(self.small.split().freeze());
        }
    }
}

/// What the peers have waiting, over all shards.
#[derive(Debug)]
pub(super) struct Lanes {
    window_bytes: usize,
    lanes: Box<[Lane]>,
}

/// A lane as it was opened once: whoever sends for one that was closed since gets nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneId {
    peer: Peer,
    opening: u64,
}

/// One peer's share.
#[derive(Debug, Default)]
struct Lane {
    /// How often it was opened. Locked while something is taken out: so the sender of a former opening, which may be in
    /// the middle of that on another thread, takes nothing of a later one, and no wake-up that is meant for another.
    openings: Mutex<u64>,
    waiting_bytes: AtomicUsize,
    overflowed: AtomicBool,
    /// The sender was woken and has not yet found everything empty.
    awake: AtomicBool,
    dirty: [AtomicU64; SHARDS / 64],
    /// The shard that the next batch starts with.
    next_shard: AtomicUsize,
}

impl Lane {
    /// Takes from one dirty shard after the other, beginning behind the one that the last batch ended with: one that
    /// always has a batch ready holds up no other.
    fn take_batch(&self, max_bytes: usize, mut take: impl FnMut(usize, usize, &mut Batch) -> Taken) -> Option<Batch> {
        let (mut batch, mut taken_bytes) = (Batch::default(), 0);
        let start = self.next_shard.load(Ordering::Relaxed) % SHARDS;
        let behind = !0u64 << (start % 64);
        let words = self.dirty.len();
        // The word of the start comes twice: from there on, and then up to there.
        'batch: for step in 0..=words {
            let word = (start / 64 + step) % words;
            let looked_at = match step {
                0 => behind,
                _ if step == words => !behind,
                _ => !0,
            };
            let mut bits = self.dirty[word].fetch_and(!looked_at, Ordering::SeqCst) & looked_at;
            while bits != 0 {
                if taken_bytes >= max_bytes {
                    self.dirty[word].fetch_or(bits, Ordering::SeqCst);
                    break 'batch;
                }
                let shard = word * 64 + bits.trailing_zeros() as usize;
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                let taken = take(shard, max_bytes - taken_bytes, &mut batch);
                taken_bytes += taken.bytes;
                if taken.more {
                    self.dirty[word].fetch_or(bit, Ordering::SeqCst);
                }
                self.next_shard.store(shard + 1, Ordering::Relaxed);
            }
        }
        self.waiting_bytes.fetch_sub(taken_bytes, Ordering::Relaxed);
        batch.seal();
        (taken_bytes > 0).then_some(batch)
    }
}

/// What a lane had.
#[derive(PartialEq, Eq, Debug)]
pub enum Drained {
    /// Something.
    Batch(Batch),
    /// Nothing waits.
    Nothing,
    /// It was closed, and was opened again since.
    Closed,
}

impl Lanes {
    pub(super) fn new(window_bytes: usize) -> Lanes {
        Lanes { window_bytes, lanes: (0..MAX_PEERS).map(|_| Lane::default()).collect() }
    }

    pub(super) fn waiting_bytes(&self, peer: Peer) -> usize {
        self.lanes[peer.index()].waiting_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn overflowed(&self, peer: Peer) -> bool {
        self.lanes[peer.index()].overflowed.load(Ordering::Acquire)
    }

    /// Makes a lane ready to be opened; it is closed in every shard.
    pub(super) fn reset(&self, peer: Peer) -> LaneId {
        let lane = &self.lanes[peer.index()];
        let mut openings = lane.openings.lock();
        *openings += 1;
        lane.dirty.iter().for_each(|word| word.store(0, Ordering::SeqCst));
        lane.awake.store(false, Ordering::SeqCst);
        lane.overflowed.store(false, Ordering::Release);
        LaneId { peer, opening: *openings }
    }

    /// Puts together what waits for a peer, up to `max_bytes` or one record, shard by shard; `take` empties one
    /// shard's buffer into the batch, up to a size, and says whether something is left.
    pub(super) fn drain(
        &self,
        LaneId { peer, opening }: LaneId,
        max_bytes: usize,
        mut take: impl FnMut(Peer, usize, usize, &mut Batch) -> Taken,
    ) -> Drained {
        let lane = &self.lanes[peer.index()];
        let openings = lane.openings.lock();
        if *openings != opening {
            return Drained::Closed;
        }
        if self.overflowed(peer) {
            return Drained::Nothing;
        }
        loop {
            if let Some(batch) = lane.take_batch(max_bytes, |shard, bytes, batch| take(peer, shard, bytes, batch)) {
                return Drained::Batch(batch);
            }
            // Whoever makes a shard dirty from here on finds the sender asleep and wakes it; who did so before is seen.
            lane.awake.store(false, Ordering::SeqCst);
            let missed = lane.dirty.iter().any(|word| word.load(Ordering::SeqCst) != 0);
            if !missed || lane.awake.swap(true, Ordering::SeqCst) {
                return Drained::Nothing;
            }
        }
    }

    /// A lane as it was opened last.
    #[cfg(test)]
    pub(super) fn current(&self, peer: Peer) -> LaneId {
        LaneId { peer, opening: *self.lanes[peer.index()].openings.lock() }
    }

    /// Takes note that so many bytes were dropped.
    fn dropped(&self, peer: Peer, bytes: usize) {
        self.lanes[peer.index()].waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Reserves room in the window; none if the lane overflows by it, or has.
    fn reserve(&self, peer: Peer, bytes: usize, events: &dyn Events) -> bool {
        let lane = &self.lanes[peer.index()];
        if lane.overflowed.load(Ordering::Acquire) {
            return false;
        }
        let before = lane.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before + bytes > self.window_bytes || bytes > u32::MAX as usize {
            lane.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            if !lane.overflowed.swap(true, Ordering::AcqRel) {
                events.overflowed(peer);
            }
            return false;
        }
        true
    }

    fn mark_dirty(&self, peer: Peer, shard: usize, events: &dyn Events) {
        let lane = &self.lanes[peer.index()];
        let bit = 1 << (shard % 64);
        let before = lane.dirty[shard / 64].fetch_or(bit, Ordering::SeqCst);
        if before & bit == 0 && !lane.awake.swap(true, Ordering::SeqCst) {
            events.wake(peer);
        }
    }
}

/// The longest body of a record that is no effect and no context.
const RECORD_BYTES: usize = 40;

/// A short record, as it is sent.
#[derive(Debug)]
pub(super) struct Record {
    bytes: [u8; FRAME_HEAD + RECORD_BYTES],
    len: usize,
}

impl Record {
    /// A record about a slot, without anything more.
    pub(super) fn new(tag: u8, slot: Slot) -> Record {
        let mut record = Record { bytes: [0; FRAME_HEAD + RECORD_BYTES], len: FRAME_HEAD };
        record.bytes[0] = tag;
        record.with(slot.number().to_le_bytes())
    }

    /// Appends to the body.
    #[must_use]
    pub(super) fn with<const N: usize>(mut self, part: [u8; N]) -> Record {
        self.bytes[self.len..self.len + N].copy_from_slice(&part);
        self.len += N;
        self.bytes[1..FRAME_HEAD].copy_from_slice(&((self.len - FRAME_HEAD) as u32).to_le_bytes());
        self
    }

    fn frame(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What was taken from one buffer.
pub(super) struct Taken {
    pub(super) bytes: usize,
    pub(super) more: bool,
}

/// One shard's buffers.
#[derive(Debug)]
pub(super) struct Outbox {
    shard: usize,
    seq: u64,
    open: PeerSet,
    buffers: Vec<Buffer>,
}

/// What one shard has for one peer.
#[derive(Debug, Default)]
struct Buffer {
    /// The shard's number when the lane was opened.
    after: u64,
    /// Small records on their way to become a piece, and the number of the last of them.
    tail: BytesMut,
    tail_seq: u64,
    pieces: VecDeque<Piece>,
    bytes: usize,
}

/// Whole records.
#[derive(Debug)]
struct Piece {
    parts: Vec<Bytes>,
    bytes: usize,
    seq: u64,
}

impl Outbox {
    pub(super) fn new(shard: usize) -> Outbox {
        Outbox { shard, seq: 0, open: PeerSet::EMPTY, buffers: Vec::new() }
    }

    pub(super) fn open(&mut self, peer: Peer) {
        if self.buffers.len() <= peer.index() {
            self.buffers.resize_with(peer.index() + 1, Buffer::default);
        }
        self.buffers[peer.index()] = Buffer { after: self.seq, ..Buffer::default() };
        self.open.insert(peer);
    }

    /// The peers whose lanes are open.
    pub(super) fn open_peers(&self) -> PeerSet {
        self.open
    }

    /// The number of the last effect shipped.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Frees what waits for a peer and takes in nothing more.
    pub(super) fn close(&mut self, peer: Peer, lanes: &Lanes) {
        if self.open.remove(peer) {
            let buffer = std::mem::take(&mut self.buffers[peer.index()]);
            lanes.dropped(peer, buffer.bytes);
        }
    }

    /// Ships an effect to these peers, where their lanes are open; returns the peers that will get it.
    pub(super) fn ship(
        &mut self,
        effect: &EffectWriter,
        peers: PeerSet,
        lanes: &Lanes,
        events: &dyn Events,
    ) -> PeerSet {
        self.seq += 1;
        let mut reached = peers.intersection(self.open);
        for peer in reached.iter() {
            if lanes.reserve(peer, effect.len(), events) {
                self.buffers[peer.index()].append(effect, self.seq);
                lanes.mark_dirty(peer, self.shard, events);
            } else {
                reached.remove(peer);
            }
        }
        reached
    }

    /// Puts a record of its own between the effects to a peer; false if its lane is closed.
    pub(super) fn record(&mut self, peer: Peer, record: &Record, lanes: &Lanes, events: &dyn Events) -> bool {
        let bytes = record.frame();
        if !self.open.contains(peer) || !lanes.reserve(peer, bytes.len(), events) {
            return false;
        }
        self.buffers[peer.index()].append_small(bytes, self.seq);
        lanes.mark_dirty(peer, self.shard, events);
        true
    }

    /// Tells peers what the copy has incorporated, under a number of its own: whoever acknowledges that, and counts, has
    /// all of it, whenever its lane was opened. Returns the peers that will get it.
    pub(super) fn tell_seen(
        &mut self,
        peers: PeerSet,
        slot: Slot,
        seen: &SlotContext,
        lanes: &Lanes,
        events: &dyn Events,
    ) -> PeerSet {
        self.seq += 1;
        let len = 2 + 16 * seen.len();
        let mut record = Vec::with_capacity(FRAME_HEAD + len);
        record.push(TAG_SEEN);
        // A context has far fewer origins than this could not say.
        record.extend_from_slice(&(len as u32).to_le_bytes());
        record.extend_from_slice(&slot.number().to_le_bytes());
        for (origin, hlc) in seen.iter() {
            record.extend_from_slice(&origin.0.to_le_bytes());
            record.extend_from_slice(&hlc.bits().to_le_bytes());
        }
        let mut reached = peers.intersection(self.open);
        for peer in reached.iter() {
            if lanes.reserve(peer, record.len(), events) {
                self.buffers[peer.index()].append_small(&record, self.seq);
                lanes.mark_dirty(peer, self.shard, events);
            } else {
                reached.remove(peer);
            }
        }
        reached
    }

    /// Moves what waits for a peer to a batch: pieces until `max_bytes` are reached, at least one.
    pub(super) fn take(&mut self, peer: Peer, max_bytes: usize, batch: &mut Batch) -> Taken {
        let mut taken = Taken { bytes: 0, more: false };
        if !self.open.contains(peer) {
            return taken;
        }
        let buffer = &mut self.buffers[peer.index()];
        let mut seq = None;
        while taken.bytes < max_bytes {
            let bytes = if let Some(piece) = buffer.pieces.pop_front() {
                batch.push(piece.parts);
                seq = Some(piece.seq);
                piece.bytes
            } else if !buffer.tail.is_empty() {
                // Small records of many shards become one piece, and each shard keeps its memory for the next ones.
                batch.push_small(&buffer.tail);
                seq = Some(buffer.tail_seq);
                buffer.clear_tail()
            } else {
                break;
            };
            taken.bytes += bytes;
            buffer.bytes -= bytes;
        }
        batch.marks.extend(seq.map(|seq| Mark { shard: self.shard as u16, after: buffer.after, seq }));
        taken.more = buffer.bytes > 0;
        taken
    }
}

impl Buffer {
    fn append(&mut self, effect: &EffectWriter, seq: u64) {
        if effect.shared.is_empty() {
            return self.append_small(&effect.bytes, seq);
        }
        self.seal();
        let mut parts = Vec::with_capacity(2 * effect.shared.len() + 1);
        // The copied parts are slices of one allocation.
        let copied = Bytes::copy_from_slice(&effect.bytes);
        let mut from = 0;
        for (at, value) in &effect.shared {
            parts.push(copied.slice(from..*at));
            parts.push(value.clone());
            from = *at;
        }
        if from < copied.len() {
            parts.push(copied.slice(from..));
        }
        self.pieces.push_back(Piece { parts, bytes: effect.len(), seq });
        self.bytes += effect.len();
    }

    fn append_small(&mut self, record: &[u8], seq: u64) {
        self.tail.extend_from_slice(record);
        self.tail_seq = seq;
        self.bytes += record.len();
        if self.tail.len() >= PIECE_BYTES {
            self.seal();
        }
    }

    /// Empties the tail; how many bytes it had.
    fn clear_tail(&mut self) -> usize {
        let bytes = self.tail.len();
        self.tail.clear();
        if self.tail.capacity() > KEPT_TAIL_BYTES {
            self.tail = BytesMut::new();
        }
        bytes
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let part = self.tail.split().freeze();
            self.pieces.push_back(Piece { bytes: part.len(), parts: vec![part], seq: self.tail_seq });
        }
    }
}

/// Encodes the one effect of a command, once for all peers. Kept per shard, so that its memory is used again.
#[derive(Debug, Default)]
pub(super) struct EffectWriter {
    bytes: Vec<u8>,
    /// Large values, each with the place in `bytes` where it belongs.
    shared: Vec<(usize, Bytes)>,
}

impl EffectWriter {
    pub(super) fn start(&mut self, header: &Header) {
        self.bytes.clear();
        self.shared.clear();
        self.bytes.extend_from_slice(&[TAG_EFFECT, 0, 0, 0, 0]);
        header.encode(&mut self.bytes);
    }

    pub(super) fn push(&mut self, op: &Op<'_>) {
        op.encode(&mut self.bytes);
    }

    /// Adds a put whose value goes by reference; `op` shows the same value.
    pub(super) fn push_shared(&mut self, op: &Op<'_>, value: Bytes) {
        op.encode_head(&mut self.bytes);
        self.shared.push((self.bytes.len(), value));
    }

    /// Completes the frame.
    pub(super) fn finish(&mut self) {
        // A longer effect than the field can say overflows every lane, see `Lanes::reserve`.
        let len = (self.len() - FRAME_HEAD) as u32;
        self.bytes[1..FRAME_HEAD].copy_from_slice(&len.to_le_bytes());
        if self.bytes.capacity() > PIECE_BYTES && self.bytes.len() < PIECE_BYTES / 4 {
            self.bytes.shrink_to(PIECE_BYTES);
        }
    }

    /// Lets go of the large values.
    pub(super) fn release(&mut self) {
        self.shared.clear();
    }

    fn len(&self) -> usize {
        self.bytes.len() + self.shared.iter().map(|(_, value)| value.len()).sum::<usize>()
    }
}

//! Snapshots: all entries of a slot at one moment, and how they travel.
//!
//! A snapshot is taken under one hold of the shard's lock: small entries are copied, already encoded, into pieces of
//! up to a megabyte; large values are taken by reference. A slot may hold more than fits into one message, so a
//! snapshot travels as a stream of chunks of at most [`CHUNK_BYTES`]. All numbers are little-endian:
//!
//! ```text
//! stream   u8 version = 1 · u16 slot · u16 n · n × (u64 origin · u64 hlc) · record … · u8 0 · u64 entries · u64 fold
//! record   u8 1 · u8 kind · u64 hlc · u64 origin · u64 deadline · u32 key length · u32 value length · key · value
//! ```
//!
//! The reader trusts nothing: lengths are followed only as far as bytes arrive, the whole is bounded by a limit, every
//! version has to be covered by the context that it comes with (else the join would take the context's word for
//! writes that it does not stand for), and the count and the fold at the end have to be those of what was read.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use ring::{codec::Malformed, context::SlotContext, dot::Dot, fold::Fold, hlc::Hlc, id::Origin, slot::Slot};

use super::{
    entries::SlotEntries,
    entry::{LARGE_BYTES, Source},
};
use crate::types::{Kind, MAX_STRING_BYTES, Value};

/// No chunk of a snapshot is larger.
pub const CHUNK_BYTES: usize = 1 << 20;

const VERSION: u8 = 1;
const RECORD: u8 = 1;
const END: u8 = 0;
const RECORD_HEAD: usize = 1 + 1 + 8 + 8 + 8 + 4 + 4;
const TRAILER: usize = 1 + 8 + 8;
const STREAM_HEAD: usize = 1 + 2 + 2;

/// All entries of a slot at one moment.
///
/// The pieces are records, one behind the other; a record whose value is large ends its piece, and the value is the
/// next piece.
#[derive(Clone, Debug, Default)]
pub struct SlotSnapshot {
    pieces: Vec<Bytes>,
    len: usize,
    bytes: usize,
    fold: Fold,
}

/// An entry of a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotEntry<'a> {
    pub(super) key: &'a [u8],
    pub(super) kind: Kind,
    pub(super) dot: Dot,
    pub(super) deadline: u64,
    pub(super) value: Source<'a>,
}

impl SlotSnapshot {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes its records have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn of(entries: &SlotEntries) -> SlotSnapshot {
        let mut builder = Builder::default();
        for entry in entries.index().iter() {
            let value = match entry.value() {
                Value::Small(bytes) => Source::Copied(bytes),
                Value::Large(bytes) => Source::Shared(bytes.clone()),
            };
            let dot = entries.dot(entry);
            builder.push(&SnapshotEntry {
                key: entry.key(),
                kind: entry.kind(),
                dot,
                deadline: entry.deadline(),
                value,
            });
        }
        builder.finish()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = SnapshotEntry<'_>> {
        let mut pieces = self.pieces.iter();
        let mut rest: &[u8] = &[];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                rest = pieces.next()?;
            }
            let head = RecordHead::read(rest).expect("a snapshot's records were checked or made here");
            let (key, behind) = rest[RECORD_HEAD..].split_at(head.key_len);
            let value = if head.value_len >= LARGE_BYTES {
                rest = &[];
                Source::Shared(pieces.next().cloned().unwrap_or_default())
            } else {
                let (value, behind) = behind.split_at(head.value_len);
                rest = behind;
                Source::Copied(value)
            };
            Some(SnapshotEntry { key, kind: head.kind, dot: head.dot, deadline: head.deadline, value })
        })
    }

    /// The snapshot as it travels, with the context that was taken with it.
    pub fn chunks(self, slot: Slot, seen: &SlotContext) -> Chunks {
        let mut head = Vec::with_capacity(STREAM_HEAD + 16 * seen.len());
        head.push(VERSION);
        head.extend_from_slice(&slot.number().to_le_bytes());
        head.extend_from_slice(&(seen.len() as u16).to_le_bytes());
        for (origin, hlc) in seen.iter() {
            head.extend_from_slice(&origin.0.to_le_bytes());
            head.extend_from_slice(&hlc.bits().to_le_bytes());
        }
        let mut end = Vec::with_capacity(TRAILER);
        end.push(END);
        end.extend_from_slice(&(self.len as u64).to_le_bytes());
        end.extend_from_slice(&self.fold.0.to_le_bytes());
        let mut pieces = VecDeque::from(self.pieces);
        pieces.push_front(head.into());
        pieces.push_back(end.into());
        Chunks { pieces }
    }
}

/// A snapshot on its way out. Small pieces are put together, large ones cut, both outside of the shard's lock.
#[derive(Debug)]
pub struct Chunks {
    pieces: VecDeque<Bytes>,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut first = self.pieces.pop_front()?;
        if first.len() > CHUNK_BYTES {
            let chunk = first.split_to(CHUNK_BYTES);
            self.pieces.push_front(first);
            return Some(chunk);
        }
        if self.pieces.front().is_none_or(|next| first.len() + next.len() > CHUNK_BYTES) {
            return Some(first);
        }
        let mut chunk = BytesMut::from(&first[..]);
        while let Some(next) = self.pieces.pop_front() {
            if chunk.len() + next.len() > CHUNK_BYTES {
                self.pieces.push_front(next);
                break;
            }
            chunk.extend_from_slice(&next);
        }
        Some(chunk.freeze())
    }
}

/// Reads a snapshot from its chunks, however they are cut.
#[derive(Debug)]
pub struct SnapshotReader {
    limit_bytes: usize,
    read_bytes: usize,
    pending: BytesMut,
    stage: Stage,
    slot: Option<Slot>,
    seen: SlotContext,
    builder: Builder,
}

#[derive(Debug)]
enum Stage {
    Start,
    Records,
    /// The record is in; so much of its large value is missing, and what is there grows with what arrives.
    LargeValue(RecordHead, BytesMut),
    End,
}

impl SnapshotReader {
    /// A reader that refuses a snapshot of more bytes than that.
    pub fn new(limit_bytes: usize) -> SnapshotReader {
        SnapshotReader {
            limit_bytes,
            read_bytes: 0,
            pending: BytesMut::new(),
            stage: Stage::Start,
            slot: None,
            seen: SlotContext::new(),
            builder: Builder::default(),
        }
    }

    /// Takes the next chunk in.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Malformed> {
        self.read_bytes = self.read_bytes.saturating_add(chunk.len());
        if self.read_bytes > self.limit_bytes {
            return Err(Malformed("snapshot too large"));
        }
        self.pending.extend_from_slice(chunk);
        while self.step()? {}
        Ok(())
    }

    /// The slot, the context and the entries, if the snapshot is complete.
    pub fn finish(self) -> Result<(Slot, SlotContext, SlotSnapshot), Malformed> {
        match (self.stage, self.slot) {
            (Stage::End, Some(slot)) if self.pending.is_empty() => Ok((slot, self.seen, self.builder.finish())),
            (Stage::End, _) => Err(Malformed("bytes behind the end of a snapshot")),
            _ => Err(Malformed("snapshot cut short")),
        }
    }

    /// Reads one part, if all of it is there.
    fn step(&mut self) -> Result<bool, Malformed> {
        match &mut self.stage {
            Stage::Start => self.start(),
            Stage::Records => self.record(),
            Stage::LargeValue(head, value) => {
                let missing = head.value_len - value.len();
                value.extend_from_slice(&self.pending.split_to(missing.min(self.pending.len())));
                if value.len() < head.value_len {
                    return Ok(false);
                }
                self.builder.push_large(std::mem::take(value).freeze());
                self.stage = Stage::Records;
                Ok(true)
            }
            Stage::End => Ok(false),
        }
    }

    fn start(&mut self) -> Result<bool, Malformed> {
        let Some(&[version, slot_low, slot_high, count_low, count_high]) = self.pending.first_chunk::<STREAM_HEAD>()
        else {
            return Ok(false);
        };
        if version != VERSION {
            return Err(Malformed("snapshot of an unknown version"));
        }
        let slot = Slot::new(u16::from_le_bytes([slot_low, slot_high])).ok_or(Malformed("slot out of range"))?;
        let count = usize::from(u16::from_le_bytes([count_low, count_high]));
        if self.pending.len() < STREAM_HEAD + 16 * count {
            return Ok(false);
        }
        self.pending.advance(STREAM_HEAD);
        for _ in 0..count {
            let origin = Origin(self.pending.get_u64_le());
            let hlc = Hlc::from_bits(self.pending.get_u64_le()).ok_or(Malformed("time out of range"))?;
            self.seen.advance(origin, hlc);
        }
        self.slot = Some(slot);
        self.stage = Stage::Records;
        Ok(true)
    }

    fn record(&mut self) -> Result<bool, Malformed> {
        match self.pending.first() {
            None => return Ok(false),
            Some(&END) => return self.end(),
            Some(&RECORD) => {}
            Some(_) => return Err(Malformed("unknown record")),
        }
        if self.pending.len() < RECORD_HEAD {
            return Ok(false);
        }
        let head = RecordHead::read(&self.pending)?;
        if !self.seen.covers(head.dot) {
            return Err(Malformed("a version that its context does not cover"));
        }
        let large = head.value_len >= LARGE_BYTES;
        let len = RECORD_HEAD + head.key_len + if large { 0 } else { head.value_len };
        if self.pending.len() < len {
            return Ok(false);
        }
        let record = self.pending.split_to(len);
        self.builder.push_record(&record, &head);
        if large {
            self.stage = Stage::LargeValue(head, BytesMut::new());
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<bool, Malformed> {
        if self.pending.len() < TRAILER {
            return Ok(false);
        }
        self.pending.advance(1);
        if self.pending.get_u64_le() != self.builder.snapshot.len as u64 {
            return Err(Malformed("entries are missing"));
        }
        if self.pending.get_u64_le() != self.builder.snapshot.fold.0 {
            return Err(Malformed("entries are not those of the fold"));
        }
        self.stage = Stage::End;
        Ok(true)
    }
}

/// The fixed part of a record.
#[derive(Debug)]
struct RecordHead {
    kind: Kind,
    dot: Dot,
    deadline: u64,
    key_len: usize,
    value_len: usize,
}

impl RecordHead {
    fn read(bytes: &[u8]) -> Result<RecordHead, Malformed> {
        let mut rest = bytes.get(1..RECORD_HEAD).ok_or(Malformed("cut short"))?;
        let kind = Kind::from_number(rest.get_u8()).ok_or(Malformed("unknown kind"))?;
        let hlc = Hlc::from_bits(rest.get_u64_le()).ok_or(Malformed("time out of range"))?;
        let dot = Dot::new(hlc, Origin(rest.get_u64_le()));
        let deadline = rest.get_u64_le();
        let (key_len, value_len) = (rest.get_u32_le() as usize, rest.get_u32_le() as usize);
        if key_len > MAX_STRING_BYTES || value_len > MAX_STRING_BYTES {
            return Err(Malformed("string too long"));
        }
        Ok(RecordHead { kind, dot, deadline, key_len, value_len })
    }
}

/// Puts records into pieces.
#[derive(Debug, Default)]
struct Builder {
    piece: BytesMut,
    snapshot: SlotSnapshot,
}

impl Builder {
    fn push(&mut self, entry: &SnapshotEntry<'_>) {
        let value = entry.value.as_slice();
        self.make_room(RECORD_HEAD + entry.key.len() + value.len().min(LARGE_BYTES));
        self.piece.extend_from_slice(&[RECORD, entry.kind as u8]);
        for number in [entry.dot.hlc.bits(), entry.dot.origin.0, entry.deadline] {
            self.piece.extend_from_slice(&number.to_le_bytes());
        }
        self.piece.extend_from_slice(&(entry.key.len() as u32).to_le_bytes());
        self.piece.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.piece.extend_from_slice(entry.key);
        self.count(entry.key, entry.dot, RECORD_HEAD + entry.key.len());
        match &entry.value {
            Source::Shared(value) if value.len() >= LARGE_BYTES => self.push_large(value.clone()),
            value => {
                self.piece.extend_from_slice(value.as_slice());
                self.snapshot.bytes += value.as_slice().len();
            }
        }
    }

    /// Adds a record as it was read, without a large value.
    fn push_record(&mut self, record: &[u8], head: &RecordHead) {
        self.make_room(record.len());
        self.piece.extend_from_slice(record);
        self.count(&record[RECORD_HEAD..RECORD_HEAD + head.key_len], head.dot, record.len());
    }

    /// Adds the large value of the record before.
    fn push_large(&mut self, value: Bytes) {
        self.seal();
        self.snapshot.bytes += value.len();
        self.snapshot.pieces.push(value);
    }

    fn count(&mut self, key: &[u8], dot: Dot, bytes: usize) {
        self.snapshot.len += 1;
        self.snapshot.bytes += bytes;
        self.snapshot.fold.toggle(key, dot);
    }

    fn make_room(&mut self, bytes: usize) {
        if self.piece.len() + bytes > CHUNK_BYTES {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if !self.piece.is_empty() {
            self.snapshot.pieces.push(std::mem::take(&mut self.piece).freeze());
        }
    }

    fn finish(mut self) -> SlotSnapshot {
        self.seal();
        self.snapshot
    }
}

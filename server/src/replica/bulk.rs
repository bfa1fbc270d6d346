//! Snapshots of slots, asked for and sent over one stream.
//!
//! ```text
//!   request  id: fetch, payload: slot          chunk  id: fetch, payload: bytes of the snapshot
//!   urgent   id: fetch, payload: slot          end    id: fetch
//!                                              none   id: fetch: the slot is not held here
//! ```
//!
//! Requests of a peer are answered one after the other by a task of their own, so that reading never waits for
//! writing: two nodes that send each other snapshots cannot block each other. While somebody waits to act for a slot
//! nobody serves it, so what that takes overtakes everything else, between any two chunks of it, and at any rate.

use std::{collections::HashMap, pin::pin, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use ring::{
    codec::{Malformed, Reader},
    control::{FetchId, Input, Urgency},
    id::Origin,
    replica::Joined,
    slot::Slot,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, sleep},
};

use super::{End, Report, Reports};
use crate::{
    clock::Clock,
    peer::{Frame, Half, SessionId},
    store::{Chunks, SnapshotReader, Store},
};

const REQUEST: u8 = 1;
const CHUNK: u8 = 2;
const END: u8 = 3;
const NONE: u8 = 4;
const URGENT: u8 = 5;

/// How many requests of a peer wait at most: one a slot and a repair of each beside it.
const MOST_REQUESTS: usize = 2 * ring::slot::SLOTS;

/// The largest snapshot of one slot that is taken in.
const MOST_SNAPSHOT_BYTES: usize = 16 << 30;

/// How fast snapshots may be sent, in bytes per second; `None`: as fast as they go.
pub type Rate = watch::Receiver<Option<u64>>;

/// A snapshot that was asked for.
#[derive(Debug)]
struct Wanted {
    slot: Slot,
    origin: Origin,
    reader: SnapshotReader,
}

/// The snapshots that are on their way from one peer.
#[derive(Clone, Debug, Default)]
pub struct Fetches(Arc<Mutex<HashMap<FetchId, Wanted>>>);

/// What both directions need.
#[derive(Clone)]
pub struct Bulk {
    /// Which session it belongs to.
    pub session: SessionId,
    /// The entries.
    pub store: Arc<Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where what was fetched is reported.
    pub reports: Reports,
    /// How fast snapshots are sent.
    pub rate: Rate,
}

/// Asks for a snapshot.
pub fn request((fetch, urgency): (FetchId, Urgency), slot: Slot, origin: Origin, fetches: &Fetches) -> Frame {
    let reader = SnapshotReader::new(MOST_SNAPSHOT_BYTES);
    fetches.0.lock().insert(fetch, Wanted { slot, origin, reader });
    let kind = match urgency {
        Urgency::Usual => REQUEST,
        Urgency::Served => URGENT,
    };
    Frame { kind, id: fetch.0, payload: Bytes::copy_from_slice(&slot.number().to_le_bytes()) }
}

impl Bulk {
    /// Answers and takes in until the session ends. What `ask` gives is sent as well.
    pub async fn run(self, half: Half, ask: mpsc::UnboundedReceiver<Frame>, fetches: Fetches) {
        let (usual, usuals) = mpsc::channel(MOST_REQUESTS);
        let (urgent, urgents) = mpsc::channel(MOST_REQUESTS);
        let answers = Answers { bulk: self.clone(), to: half.send.clone(), urgents };
        let why = tokio::select! {
            why = self.clone().receive(half.receive, Queues { usual, urgent }, fetches) => why,
            _ = answers.run(usuals) => CLOSED,
            why = pass_on(ask, half.send) => why,
        };
        // A control task that is gone has no use for it.
        let _ = self.reports.send(Report::Over(self.session, why)).await;
    }

    async fn receive(self, mut from: mpsc::Receiver<Frame>, queues: Queues, fetches: Fetches) -> End {
        while let Some(frame) = from.recv().await {
            let done = match frame.kind {
                REQUEST | URGENT => Reader::new(&frame.payload).slot().and_then(|slot| {
                    let queue = if frame.kind == URGENT { &queues.urgent } else { &queues.usual };
                    let room = queue.try_send((frame.id, slot));
                    room.map_err(|_| Malformed("more requests than slots")).map(|()| None)
                }),
                CHUNK => fetches.chunk(FetchId(frame.id), &frame.payload).map(|()| None),
                END => self.install(FetchId(frame.id), &fetches),
                NONE => Ok(fetches.take(FetchId(frame.id)).map(|_| (FetchId(frame.id), None))),
                _ => Err(Malformed("a bulk frame of unknown kind")),
            };
            match done {
                Ok(None) => {}
                Ok(Some((fetch, joined))) => {
                    let report = Report::Input(Input::Fetched { fetch, joined });
                    // If the control task is gone the node ends.
                    let _ = self.reports.send(report).await;
                }
                Err(error) => return error.into(),
            }
        }
        CLOSED
    }

    fn install(&self, fetch: FetchId, fetches: &Fetches) -> Result<Option<(FetchId, Option<Joined>)>, Malformed> {
        let Some(wanted) = fetches.take(fetch) else { return Ok(None) };
        let (slot, seen, entries) = wanted.reader.finish()?;
        if slot != wanted.slot {
            return Err(Malformed("a snapshot of another slot"));
        }
        let joined = self.store.join(slot, wanted.origin, &seen, entries, self.clock.unix_ms())?;
        Ok(Some((fetch, joined)))
    }

    /// How long sending that much takes at the rate. Pauses below a millisecond are not worth a timer.
    fn pause_for(&self, bytes: usize) -> Duration {
        let Some(rate) = *self.rate.borrow() else { return Duration::ZERO };
        let pause = Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1));
        if pause < Duration::from_millis(1) { Duration::ZERO } else { pause }
    }
}

/// Requests of the peer, by how long they may wait.
struct Queues {
    usual: mpsc::Sender<Request>,
    urgent: mpsc::Sender<Request>,
}

/// The fetch and the slot.
type Request = (u64, Slot);

/// Sends what the peer asks for.
struct Answers {
    bulk: Bulk,
    to: mpsc::Sender<Frame>,
    urgents: mpsc::Receiver<Request>,
}

impl Answers {
    /// Works until the stream is closed.
    async fn run(mut self, mut usuals: mpsc::Receiver<Request>) -> Result<(), Closed> {
        loop {
            tokio::select! {
                biased;
                Some(request) = self.urgents.recv() => self.send_urgent(request).await?,
                Some(request) = usuals.recv() => self.send_usual(request).await?,
                else => return Err(Closed),
            }
        }
    }

    async fn send_urgent(&self, (id, slot): Request) -> Result<(), Closed> {
        let snapshot = self.snapshot(slot);
        let kind = if snapshot.is_some() { END } else { NONE };
        for payload in snapshot.into_iter().flatten() {
            self.send(CHUNK, id, payload).await?;
        }
        self.send(kind, id, Bytes::new()).await
    }

    async fn send_usual(&mut self, (id, slot): Request) -> Result<(), Closed> {
        let snapshot = self.snapshot(slot);
        let kind = if snapshot.is_some() { END } else { NONE };
        for payload in snapshot.into_iter().flatten() {
            let pause = self.bulk.pause_for(payload.len());
            self.send(CHUNK, id, payload).await?;
            self.pause(pause).await?;
        }
        self.send(kind, id, Bytes::new()).await
    }

    /// Lets that much time pass, and whatever is urgent go first.
    async fn pause(&mut self, pause: Duration) -> Result<(), Closed> {
        while let Ok(request) = self.urgents.try_recv() {
            self.send_urgent(request).await?;
        }
        if pause.is_zero() {
            return Ok(());
        }
        let mut over = pin!(sleep(pause));
        loop {
            tokio::select! {
                biased;
                () = &mut over => return Ok(()),
                Some(request) = self.urgents.recv() => self.send_urgent(request).await?,
            }
        }
    }

    fn snapshot(&self, slot: Slot) -> Option<Chunks> {
        let store = &self.bulk.store;
        let taken = store.with_replica(slot, |copy| copy.role().holds().then(|| copy.snapshot()));
        taken.map(|(seen, entries)| entries.chunks(slot, &seen))
    }

    async fn send(&self, kind: u8, id: u64, payload: Bytes) -> Result<(), Closed> {
        self.to.send(Frame { kind, id, payload }).await.map_err(|_| Closed)
    }
}

/// The stream is gone.
struct Closed;

const CLOSED: End = End::Closed("the bulk stream is closed");

async fn pass_on(mut ask: mpsc::UnboundedReceiver<Frame>, to: mpsc::Sender<Frame>) -> End {
    while let Some(frame) = ask.recv().await {
        if to.send(frame).await.is_err() {
            break;
        }
    }
    CLOSED
}

impl Fetches {
    fn chunk(&self, fetch: FetchId, bytes: &[u8]) -> Result<(), Malformed> {
        match self.0.lock().get_mut(&fetch) {
            Some(wanted) => wanted.reader.push(bytes),
            None => Err(Malformed("a snapshot that nobody asked for")),
        }
    }

    fn take(&self, fetch: FetchId) -> Option<Wanted> {
        self.0.lock().remove(&fetch)
    }
}

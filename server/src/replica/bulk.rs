//! Snapshots of slots, asked for and sent over one stream.
//!
//! ```text
//!   request  id: fetch, payload: slot          chunk  id: fetch, payload: bytes of the snapshot
//!   end      id: fetch                         none   id: fetch: the slot is not held here
//! ```
//!
//! Requests of a peer are answered one after the other by a task of their own, so that reading never waits for
//! writing: two nodes that send each other snapshots cannot block each other.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use ring::{
    codec::{Malformed, Reader},
    control::{FetchId, Input},
    id::Origin,
    replica::Joined,
    slot::Slot,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, sleep},
};

use super::{Report, Reports};
use crate::{
    clock::Clock,
    peer::{Frame, Half, SessionId},
    store::{SnapshotReader, Store},
};

const REQUEST: u8 = 1;
const CHUNK: u8 = 2;
const END: u8 = 3;
const NONE: u8 = 4;

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
pub fn request(fetch: FetchId, slot: Slot, origin: Origin, fetches: &Fetches) -> Frame {
    let reader = SnapshotReader::new(MOST_SNAPSHOT_BYTES);
    fetches.0.lock().insert(fetch, Wanted { slot, origin, reader });
    Frame { kind: REQUEST, id: fetch.0, payload: Bytes::copy_from_slice(&slot.number().to_le_bytes()) }
}

impl Bulk {
    /// Answers and takes in until the session ends. What `ask` gives is sent as well.
    pub async fn run(self, half: Half, ask: mpsc::UnboundedReceiver<Frame>, fetches: Fetches) {
        let (queue, requests) = mpsc::channel(MOST_REQUESTS);
        let why = tokio::select! {
            why = self.clone().receive(half.receive, queue, fetches) => why,
            why = self.clone().answer(requests, half.send.clone()) => why,
            why = pass_on(ask, half.send) => why,
        };
        // A control task that is gone has no use for it.
        let _ = self.reports.send(Report::Broken(self.session, why)).await;
    }

    async fn receive(
        self,
        mut from: mpsc::Receiver<Frame>,
        queue: mpsc::Sender<(u64, Slot)>,
        fetches: Fetches,
    ) -> String {
        while let Some(frame) = from.recv().await {
            let done = match frame.kind {
                REQUEST => Reader::new(&frame.payload).slot().and_then(|slot| {
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
                Err(error) => return error.to_string(),
            }
        }
        "the bulk stream is closed".to_owned()
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

    async fn answer(self, mut requests: mpsc::Receiver<(u64, Slot)>, to: mpsc::Sender<Frame>) -> String {
        while let Some((id, slot)) = requests.recv().await {
            let snapshot = self.store.with_replica(slot, |copy| copy.role().holds().then(|| copy.snapshot()));
            let kind = if snapshot.is_some() { END } else { NONE };
            if let Some((seen, entries)) = snapshot {
                for payload in entries.chunks(slot, &seen) {
                    let pause = self.pause_for(payload.len());
                    if to.send(Frame { kind: CHUNK, id, payload }).await.is_err() {
                        break;
                    }
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                }
            }
            if to.send(Frame { kind, id, payload: Bytes::new() }).await.is_err() {
                break;
            }
        }
        "the bulk stream is closed".to_owned()
    }

    /// How long sending that much takes at the rate. Pauses below a millisecond are not worth a timer.
    fn pause_for(&self, bytes: usize) -> Duration {
        let Some(rate) = *self.rate.borrow() else { return Duration::ZERO };
        let pause = Duration::from_micros(bytes as u64 * 1_000_000 / rate.max(1));
        if pause < Duration::from_millis(1) { Duration::ZERO } else { pause }
    }
}

async fn pass_on(mut ask: mpsc::UnboundedReceiver<Frame>, to: mpsc::Sender<Frame>) -> String {
    while let Some(frame) = ask.recv().await {
        if to.send(frame).await.is_err() {
            break;
        }
    }
    "the bulk stream is closed".to_owned()
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

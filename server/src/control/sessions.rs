//! Sessions with other nodes: what is said on their control streams, and what becomes of them.
//!
//! A session begins with an exchange of facts. Only when the peer's first delta is in does the control machine hear of
//! it: it then knows what the peer holds. Streams keep their order, so whatever the machine says to the peer arrives
//! there behind our own delta, when the peer's machine has heard of us. Lane and bulk stream are read from then on only:
//! the machine would take what they bring for the last words of a peer that is gone.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use ring::{
    codec::Reader,
    control::{Input, Message},
    id::{Incarnation, MAX_PEERS, NodeId, Peer},
    slot::SLOTS,
    slot_set::SlotSet,
    suspicion,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::AbortHandle,
};

use super::{
    Task,
    leaving::{DEPART, DEPARTING},
};
use crate::{
    peer::{Frame, Half, Session, SessionId},
    replica::{
        bulk::{Bulk, Fetches},
        lane::Lane,
    },
};

const HEARTBEAT: u8 = 1;
const DIGEST: u8 = 2;
const DELTA: u8 = 3;
const MESSAGES: u8 = 4;
/// Whom the sender is in session with: their identities, one behind the other.
const REACH: u8 = 7;

/// Messages of a batch are collected up to this size before they become a frame.
const MESSAGES_BYTES: usize = 128 << 10;

/// So much may wait for a peer that does not take what it is sent; beyond it the session ends. All roles of all slots
/// are told in about one mebibyte.
const WAITING_BYTES: usize = 16 << 20;

/// A session that is up.
pub(super) struct Active {
    pub(super) id: SessionId,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) address: String,
    pub(super) peer: Peer,
    /// The streams that are not read yet, since the peer's first delta is not in.
    unread: Option<Unread>,
    /// Up to which version the peer goes by what this node says.
    pub(super) knows: u64,
    /// The number of the peer's latest heartbeat that was taken in.
    heartbeat: u64,
    /// Something arrived since the last look.
    pub(super) heard: Arc<AtomicBool>,
    /// The machine was told that the session is over: what this node has taken in counts no more.
    is_over: Arc<AtomicBool>,
    pub(super) ask: mpsc::UnboundedSender<Frame>,
    pub(super) fetches: Fetches,
    control: mpsc::Sender<Frame>,
    /// The batch of messages that is being put together.
    outgoing: Vec<u8>,
    /// Frames that the stream did not take yet, and how much memory they hold.
    waiting: VecDeque<Frame>,
    waiting_bytes: usize,
    tasks: Vec<AbortHandle>,
}

/// What reads the streams of a session, to be started.
struct Unread {
    lane: (Lane, Half),
    bulk: (Bulk, Half),
    asked: mpsc::UnboundedReceiver<Frame>,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Active {
    /// Whether the peer's first delta is in.
    pub(super) fn greeted(&self) -> bool {
        self.unread.is_none()
    }

    /// Sends a frame, behind everything that waits already.
    fn send(&mut self, kind: u8, payload: Bytes) {
        self.end_batch();
        self.put(Frame { kind, id: 0, payload });
    }

    /// Puts a message into the batch.
    pub(super) fn say(&mut self, message: &Message) {
        message.encode(&mut self.outgoing);
        if self.outgoing.len() >= MESSAGES_BYTES {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        if !self.outgoing.is_empty() {
            let payload = std::mem::take(&mut self.outgoing).into();
            self.put(Frame { kind: MESSAGES, id: 0, payload });
        }
    }

    fn put(&mut self, frame: Frame) {
        self.waiting_bytes += frame.payload.len() + size_of::<Frame>();
        self.waiting.push_back(frame);
    }

    /// Sends what waits as far as the stream takes it. A peer that is slow is waited for, until too much waits for it:
    /// whether it is there at all suspicion decides. False: too much waits, or the stream is gone.
    fn flush(&mut self) -> bool {
        self.end_batch();
        while let Some(frame) = self.waiting.pop_front() {
            let bytes = frame.payload.len() + size_of::<Frame>();
            match self.control.try_send(frame) {
                Ok(()) => self.waiting_bytes -= bytes,
                Err(TrySendError::Full(frame)) => {
                    self.waiting.push_front(frame);
                    break;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        self.waiting_bytes <= WAITING_BYTES
    }
}

impl Task {
    pub(super) fn session_up(&mut self, session: Session) {
        let Some(peer) = self.directory.admit(session.peer) else {
            tracing::warn!(node = %session.peer.short(), "no more than {} nodes can be known", MAX_PEERS);
            return self.peering.close(session.id, "too many nodes");
        };
        tracing::info!(node = %session.peer.short(), address = session.address, "in session");
        let (ask, asked) = mpsc::unbounded_channel();
        let is_over = Arc::<AtomicBool>::default();
        let lane = Lane {
            peer,
            is_over: is_over.clone(),
            session: session.id,
            store: self.store.clone(),
            acks: self.acks.clone(),
            audits: self.audits.clone(),
            clock: self.clock.clone(),
            reports: self.reports.clone(),
        };
        let bulk = Bulk {
            session: session.id,
            store: self.store.clone(),
            clock: self.clock.clone(),
            reports: self.reports.clone(),
            rate: self.rate.subscribe(),
        };
        let unread = Unread { lane: (lane, session.lane), bulk: (bulk, session.bulk), asked };
        let heard = Arc::<AtomicBool>::default();
        let pump = tokio::spawn(pump(session.id, session.control.receive, heard.clone(), self.frames.clone()));
        let mut active = Active {
            id: session.id,
            node: session.peer,
            incarnation: session.incarnation,
            address: session.address,
            peer,
            unread: Some(unread),
            knows: 0,
            heartbeat: 0,
            heard,
            is_over,
            ask,
            fetches: Fetches::default(),
            control: session.control.send,
            outgoing: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            tasks: vec![pump.abort_handle()],
        };
        self.dialling.met(active.node);
        self.life.session_began(active.node, peer);
        self.identity_taken = None;
        self.suspicion.handle(suspicion::Input::Heard(active.node), self.now_ms());
        self.lapse.met(active.node, self.now_ms());
        active.send(DIGEST, self.gossip.digest());
        self.sessions.insert(active.peer, active);
    }

    /// Both have said what they know: the machine hears of the session.
    fn greet(&mut self, peer: Peer) {
        self.refresh_view();
        let Some(active) = self.sessions.get_mut(&peer) else { return };
        let (id, session, fetches) = (active.node, active.id, active.fetches.clone());
        let Some(Unread { lane: (lane, lane_half), bulk: (bulk, bulk_half), asked }) = active.unread.take() else {
            return;
        };
        let ready = match self.gossip.view().member(id) {
            Some(member) if member.standing().is_live() => member.ready.clone(),
            _ => SlotSet::new(SLOTS),
        };
        let opened = self.store.open_lane(peer);
        self.acks.begin(peer);
        self.audits.met(peer, id);
        let peering = self.peering.clone();
        self.links.connect(peer, move || {
            let peering = peering.clone();
            Box::pin(async move { Ok(peering.open_raw_link(session).await?.stream) })
        });
        self.known_ready.insert(peer, ready.clone());
        self.machine.handle(Input::SessionUp { peer, id, ready }, &mut self.copies);
        let readers = [
            self.data.spawn(lane.run(opened, lane_half, self.wakes[peer.index()].clone())).abort_handle(),
            self.data.spawn(bulk.run(bulk_half, asked, fetches)).abort_handle(),
        ];
        if let Some(active) = self.sessions.get_mut(&peer) {
            active.tasks.extend(readers);
        }
    }

    pub(super) fn session_down(&mut self, session: SessionId, why: &str) {
        let Some(peer) = self.sessions.values().find(|active| active.id == session).map(|active| active.peer) else {
            return;
        };
        let Some(active) = self.sessions.remove(&peer) else { return };
        tracing::info!(node = %active.node.short(), why, "session over");
        self.life.session_ended(active.node);
        self.suspicion.handle(suspicion::Input::Forget(active.node), self.now_ms());
        self.lapse.lost(active.node, self.now_ms());
        self.store.close_lane(peer);
        self.acks.forget(peer);
        self.audits.forget(peer);
        self.links.disconnect(peer);
        active.is_over.store(true, Ordering::Release);
        if active.greeted() {
            self.machine.handle(Input::SessionDown { peer }, &mut self.copies);
        }
    }

    /// Ends a session from here.
    pub(super) fn end_session(&mut self, session: SessionId, why: &str) {
        self.peering.close(session, why);
        self.session_down(session, why);
    }

    /// Ends a session in which the peer said what no peer says.
    pub(super) fn end_for_nonsense(&mut self, session: SessionId, why: &str) {
        self.peering.close_for_nonsense(session, why);
        self.session_down(session, why);
    }

    pub(super) fn frame(&mut self, session: SessionId, frame: &Frame) {
        let Some(active) = self.sessions.values().find(|active| active.id == session) else { return };
        let peer = active.peer;
        let done = match frame.kind {
            HEARTBEAT => self.heartbeat(peer, &frame.payload),
            DIGEST => self.digest(peer, &frame.payload),
            DELTA => self.delta(peer, &frame.payload),
            MESSAGES => self.messages(peer, &frame.payload),
            REACH => self.reach(peer, &frame.payload),
            DEPARTING => {
                self.departing(peer);
                Ok(())
            }
            DEPART => {
                self.depart(session);
                Ok(())
            }
            kind => Err(format!("a control frame of unknown kind {kind}")),
        };
        if let Err(why) = done {
            self.end_for_nonsense(session, &why);
        }
    }

    /// Tells everybody that this node runs, which of their heartbeats it has taken in, and how much of what they say it
    /// goes by.
    pub(super) fn beat(&mut self, number: u64) {
        for active in self.sessions.values_mut() {
            // Before the machine has heard of the session it may have more to say about who acts.
            let heartbeat = if active.greeted() { active.heartbeat } else { 0 };
            let mut payload = [number, heartbeat].map(u64::to_le_bytes).concat();
            if let Some((incarnation, version)) = self.gossip.viewed(active.node) {
                payload.extend_from_slice(&incarnation.0.to_le_bytes());
                payload.extend_from_slice(&version.to_le_bytes());
            }
            active.send(HEARTBEAT, payload.into());
        }
    }

    fn heartbeat(&mut self, peer: Peer, payload: &[u8]) -> Result<(), String> {
        let Some(active) = self.sessions.get_mut(&peer) else { return Ok(()) };
        let mut reader = Reader::new(payload);
        let mut number = || reader.u64().map_err(|error| error.to_string());
        let (heartbeat, answered) = (number()?, number()?);
        active.heartbeat = heartbeat;
        let node = active.node;
        if !reader.is_empty() {
            let mut number = || reader.u64().map_err(|error| error.to_string());
            let (incarnation, version) = (Incarnation(number()?), number()?);
            if incarnation == self.gossip.incarnation() {
                active.knows = version;
            }
        }
        self.lapse.answered(node, answered, self.now_ms());
        Ok(())
    }

    fn digest(&mut self, peer: Peer, payload: &[u8]) -> Result<(), String> {
        let sessions = &self.sessions;
        let live = |node| sessions.values().find(|active| active.node == node).map(|active| active.incarnation);
        match self.gossip.answer(payload, live).map_err(|error| error.to_string())? {
            Ok(delta) => {
                self.send(peer, DELTA, delta);
                Ok(())
            }
            Err(give_way) => {
                self.give_way = Some(give_way);
                Ok(())
            }
        }
    }

    fn delta(&mut self, peer: Peer, payload: &[u8]) -> Result<(), String> {
        let sessions = &self.sessions;
        let live = |node| sessions.values().find(|active| active.node == node).map(|active| active.incarnation);
        if let Err(give_way) = self.gossip.take_in(payload, live).map_err(|error| error.to_string())? {
            self.give_way = Some(give_way);
        }
        if self.sessions.get(&peer).is_some_and(|active| !active.greeted()) {
            self.greet(peer);
        }
        Ok(())
    }

    fn messages(&mut self, from: Peer, payload: &[u8]) -> Result<(), String> {
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            let message = Message::decode(&mut reader).map_err(|error| error.to_string())?;
            self.machine.handle(Input::Message { from, message }, &mut self.copies);
        }
        Ok(())
    }

    fn reach(&mut self, peer: Peer, payload: &[u8]) -> Result<(), String> {
        let (mut reader, mut nodes) = (Reader::new(payload), Vec::new());
        while !reader.is_empty() {
            nodes.push(reader.node().map_err(|error| error.to_string())?);
        }
        if nodes.len() > MAX_PEERS {
            return Err("in session with more nodes than there can be".to_owned());
        }
        self.machine.handle(Input::Reach { peer, nodes }, &mut self.copies);
        Ok(())
    }

    /// Everybody hears whom this node is in session with.
    pub(super) fn say_reach(&mut self, nodes: &[NodeId]) {
        let payload: Bytes = nodes.iter().flat_map(|node| *node.as_bytes()).collect::<Vec<u8>>().into();
        let greeted = self.sessions.values_mut().filter(|active| active.greeted());
        greeted.for_each(|active| active.send(REACH, payload.clone()));
    }

    pub(super) fn send(&mut self, to: Peer, kind: u8, payload: Bytes) {
        if let Some(active) = self.sessions.get_mut(&to) {
            active.send(kind, payload);
        }
    }

    pub(super) fn send_everybody(&mut self, kind: u8, payload: &Bytes) {
        self.sessions.values_mut().for_each(|active| active.send(kind, payload.clone()));
    }

    /// What this node has newly said goes to everybody at once.
    pub(super) fn push_news(&mut self) {
        if let Some(news) = self.gossip.news(self.told) {
            self.told = self.gossip.version();
            self.send_everybody(DELTA, &news);
        }
    }

    /// One peer after the other is asked what it knows: whatever was not pushed, of others for example, gets round.
    pub(super) fn exchange(&mut self) {
        let mut peers: Vec<Peer> = self.sessions.keys().copied().collect();
        peers.sort_unstable();
        if !peers.is_empty() {
            self.turn = (self.turn + 1) % peers.len();
            let digest = self.gossip.digest();
            self.send(peers[self.turn], DIGEST, digest);
        }
    }

    /// Sends what was said since the last time, in the order in which it was said.
    pub(super) fn flush(&mut self) {
        let stuck: Vec<SessionId> =
            self.sessions.values_mut().filter_map(|active| (!active.flush()).then_some(active.id)).collect();
        for session in stuck {
            self.end_session(session, "the peer does not take what it is sent");
        }
    }
}

/// Brings what a peer says to the one queue of the control task.
async fn pump(
    session: SessionId,
    mut from: mpsc::Receiver<Frame>,
    heard: Arc<AtomicBool>,
    to: mpsc::Sender<(SessionId, Frame)>,
) {
    while let Some(frame) = from.recv().await {
        heard.store(true, Ordering::Relaxed);
        if to.send((session, frame)).await.is_err() {
            return;
        }
    }
}

/// The store as the control machine sees it.
pub(super) struct Copies(pub(super) Arc<crate::store::Store>);

impl ring::control::Slots for Copies {
    type Entries = crate::store::SlotEntries;

    fn with<R>(
        &mut self,
        slot: ring::slot::Slot,
        f: impl FnOnce(&mut ring::replica::Replica<Self::Entries>) -> R,
    ) -> R {
        self.0.with_replica(slot, f)
    }
}

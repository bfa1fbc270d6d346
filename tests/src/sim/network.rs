//! Links between nodes: per direction five queues that keep their order and lose everything when the link breaks.

use std::collections::VecDeque;

use ring::{
    context::SlotContext,
    control::{FetchId, Message, Urgency},
    dot::Dot,
    id::{NodeId, Origin},
    replica::Digest,
    slot::Slot,
    slot_set::SlotSet,
};

use super::model::Ghost;

/// What a session carries, each in order by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stream {
    /// Effects and compare records.
    Lane,
    /// Greetings, messages, ready bits.
    Control,
    /// Snapshots.
    Bulk,
    /// Snapshots that overtake others.
    Urgent,
    /// Acknowledgements of what came by the lane of the other direction.
    Acks,
}

/// All streams.
pub(super) const STREAMS: [Stream; 5] = [Stream::Lane, Stream::Control, Stream::Bulk, Stream::Urgent, Stream::Acks];

impl Stream {
    /// What a snapshot of this urgency and the request for it travel on.
    pub(super) fn of(urgency: Urgency) -> Stream {
        match urgency {
            Urgency::Usual => Stream::Bulk,
            Urgency::Served => Stream::Urgent,
        }
    }
}

/// A snapshot as it travels.
pub(super) type Snapshot = (SlotContext, (std::collections::BTreeMap<Vec<u8>, Dot>, Ghost));

/// What a digest was the digest of: an observer knows.
pub(super) type Content = std::rc::Rc<(SlotContext, std::collections::BTreeMap<Vec<u8>, Dot>)>;

/// What travels.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    /// The first of a session.
    Hello { id: NodeId, ready: SlotSet },
    /// What the sender is ready for now.
    Ready { ready: SlotSet },
    /// Whom the sender is in session with.
    Reach { nodes: Vec<NodeId> },
    /// A message of the control machine.
    Control(Message),
    /// An effect at this position of the lane.
    Effect { session: u64, position: u64, bytes: Vec<u8> },
    /// What the sender has incorporated, at this position of the lane: the receiver is to have it too.
    Seen { session: u64, position: u64, slot: Slot, seen: SlotContext },
    /// A place in the lane, for an attempt to act.
    Mark { slot: Slot, id: u64 },
    /// A digest at its place in the lane.
    Compare { slot: Slot, digest: Digest, of: Content },
    /// Everything up to this position is taken in; these slots do not count.
    Ack { position: (u64, u64), not_counting: Vec<Slot> },
    /// "Send me a snapshot."
    Fetch { fetch: FetchId, slot: Slot, origin: Origin, urgency: Urgency },
    /// Here it is.
    Snapshot { fetch: FetchId, slot: Slot, origin: Origin, urgency: Urgency, content: Option<Snapshot> },
}

/// All queues of a cluster.
#[derive(Debug)]
pub(super) struct Network {
    nodes: usize,
    queues: Vec<VecDeque<Packet>>,
    /// Which queues have something, to pick one without a search.
    filled: Vec<usize>,
    place: Vec<usize>,
    /// Until which step each queue stands still.
    stalled: Vec<usize>,
    up: Vec<bool>,
}

const NOWHERE: usize = usize::MAX;

impl Network {
    /// A full mesh of links that are up.
    pub(super) fn new(nodes: usize) -> Network {
        let queues = nodes * nodes * STREAMS.len();
        Network {
            nodes,
            queues: vec![VecDeque::new(); queues],
            filled: Vec::new(),
            place: vec![NOWHERE; queues],
            stalled: vec![0; queues],
            up: vec![true; nodes * nodes],
        }
    }

    /// Whether the link is up.
    pub(super) fn is_up(&self, a: usize, b: usize) -> bool {
        self.up[a.min(b) * self.nodes + a.max(b)]
    }

    /// Raises a link, or breaks it.
    pub(super) fn set_up(&mut self, a: usize, b: usize, up: bool) {
        self.up[a.min(b) * self.nodes + a.max(b)] = up;
    }

    /// Loses what one node has sent to another, but for the first `keep` packets of each stream that data threads read:
    /// what is received already is taken in.
    pub(super) fn lose(&mut self, from: usize, to: usize, keep: usize) {
        for stream in STREAMS {
            self.keep(from, to, stream, if stream == Stream::Control { 0 } else { keep });
        }
    }

    /// Loses what one node has said to another and the other has not heard.
    pub(super) fn lose_control(&mut self, from: usize, to: usize) {
        self.keep(from, to, Stream::Control, 0);
    }

    /// Loses all but the first `keep` packets of a stream.
    pub(super) fn keep(&mut self, from: usize, to: usize, stream: Stream, keep: usize) {
        let queue = self.index(from, to, stream);
        self.queues[queue].truncate(keep);
        self.mark(queue);
    }

    /// Takes the first packets of a stream out of a link that is about to break.
    pub(super) fn take_first(&mut self, from: usize, to: usize, stream: Stream, many: usize) -> Vec<Packet> {
        let queue = self.index(from, to, stream);
        let taken = self.queues[queue].drain(..many).collect();
        self.mark(queue);
        taken
    }

    /// Puts packets first that were on their way when the link broke.
    pub(super) fn put_first(&mut self, from: usize, to: usize, stream: Stream, packets: Vec<Packet>) {
        let queue = self.index(from, to, stream);
        packets.into_iter().rev().for_each(|packet| self.queues[queue].push_front(packet));
        self.mark(queue);
    }

    /// How many packets of a stream are on their way.
    pub(super) fn len(&self, from: usize, to: usize, stream: Stream) -> usize {
        self.queues[self.index(from, to, stream)].len()
    }

    /// Puts a packet on its way.
    pub(super) fn send(&mut self, from: usize, to: usize, stream: Stream, packet: Packet) {
        if self.is_up(from, to) {
            let queue = self.index(from, to, stream);
            self.queues[queue].push_back(packet);
            self.mark(queue);
        }
    }

    /// How many queues have something.
    pub(super) fn busy(&self) -> usize {
        self.filled.len()
    }

    /// Lets the stream from one node to another stand still; nothing of it is lost.
    pub(super) fn stall(&mut self, from: usize, to: usize, stream: Stream, until: usize) {
        let queue = self.index(from, to, stream);
        self.stalled[queue] = until;
    }

    /// Whether one of the queues that have something stands still.
    pub(super) fn is_stalled(&self, pick: usize, step: usize) -> bool {
        self.stalled[self.filled[pick]] > step
    }

    /// Whether a session begins of which the receiver has not heard. Its other streams are read from then on only: the
    /// machine would take what they bring for the last words of a peer that is gone.
    pub(super) fn begins(&self, from: usize, to: usize) -> bool {
        let control = self.index(from, to, Stream::Control);
        matches!(self.queues[control].front(), Some(Packet::Hello { .. }))
    }

    /// The effects on their way from one node to another.
    pub(super) fn effects(&self, from: usize, to: usize) -> impl Iterator<Item = &[u8]> {
        self.queues[self.index(from, to, Stream::Lane)].iter().filter_map(|packet| match packet {
            Packet::Effect { bytes, .. } => Some(&bytes[..]),
            _ => None,
        })
    }

    /// Whether a stream stands still.
    pub(super) fn stands_still(&self, from: usize, to: usize, stream: Stream, step: usize) -> bool {
        self.stalled[self.index(from, to, stream)] > step
    }

    /// Takes the first packet of a stream if a copy takes it in.
    pub(super) fn take_data(&mut self, from: usize, to: usize, stream: Stream) -> Option<Packet> {
        let asks = |packet: &Packet| matches!(packet, Packet::Fetch { .. });
        match self.queues[self.index(from, to, stream)].front() {
            Some(packet) if !asks(packet) => self.take_from(from, to, stream),
            _ => None,
        }
    }

    /// Takes the first packet of a stream.
    pub(super) fn take_from(&mut self, from: usize, to: usize, stream: Stream) -> Option<Packet> {
        let queue = self.index(from, to, stream);
        let packet = self.queues[queue].pop_front();
        self.mark(queue);
        packet
    }

    /// From whom one of the queues that have something leads to whom, and which stream it is.
    pub(super) fn ends(&self, pick: usize) -> (usize, usize, Stream) {
        let pair = self.filled[pick] / STREAMS.len();
        (pair / self.nodes, pair % self.nodes, STREAMS[self.filled[pick] % STREAMS.len()])
    }

    /// Takes the first packet of one of the queues that have something.
    pub(super) fn take(&mut self, pick: usize) -> Packet {
        let queue = self.filled[pick];
        let packet = self.queues[queue].pop_front().expect("only queues that have something are listed");
        self.mark(queue);
        packet
    }

    fn index(&self, from: usize, to: usize, stream: Stream) -> usize {
        (from * self.nodes + to) * STREAMS.len() + stream as usize
    }

    fn mark(&mut self, queue: usize) {
        match (self.queues[queue].is_empty(), self.place[queue]) {
            (false, NOWHERE) => {
                self.place[queue] = self.filled.len();
                self.filled.push(queue);
            }
            (true, place) if place != NOWHERE => {
                self.filled.swap_remove(place);
                if let Some(&moved) = self.filled.get(place) {
                    self.place[moved] = place;
                }
                self.place[queue] = NOWHERE;
            }
            _ => {}
        }
    }
}

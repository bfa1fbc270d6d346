//! Which writes have reached which peers: what `W` and `WAIT` wait for.
//!
//! Per peer and shard stands up to which effect the peer has everything and counts. A wait looks there first and else
//! leaves a waker that the next acknowledgement of the shard calls. What a peer said in a former session is worth
//! nothing in the next: [`Acks::forget`] starts it again.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence},
};

use parking_lot::Mutex;
use ring::{
    id::{MAX_PEERS, Peer, PeerSet},
    slot::Slot,
};
use tokio::sync::{Notify, watch};

use super::lags::Lags;
use crate::store::{Mark, SHARDS, Ticket};

/// What peers have acknowledged.
#[derive(Debug)]
pub struct Acks {
    /// Per peer and shard, up to which effect everything of this session is acknowledged, and behind which it began.
    reached: Box<[AtomicU64]>,
    after: Box<[AtomicU64]>,
    /// Slots of which a peer said that its copy does not count.
    not_counting: Mutex<HashSet<(Peer, Slot)>>,
    shards: Box<[watch::Sender<()>]>,
    in_session: Mutex<PeerSet>,
    /// Per peer, bytes that were sent to it and are not acknowledged.
    on_their_way: Box<[AtomicU64]>,
    /// How long that takes.
    lags: Lags,
    /// Every write is waited for.
    always: bool,
    /// How many wait, and what wakes the senders of lanes when one more does.
    waiting: AtomicUsize,
    hurry: Notify,
}

/// Counts one who waits, for as long as it does.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Acks {
    /// Nothing is acknowledged. `always` says that every write is going to be waited for.
    pub fn new(always: bool) -> Acks {
        Acks {
            reached: (0..MAX_PEERS * SHARDS).map(|_| AtomicU64::new(0)).collect(),
            after: (0..MAX_PEERS * SHARDS).map(|_| AtomicU64::new(0)).collect(),
            not_counting: Mutex::default(),
            shards: (0..SHARDS).map(|_| watch::Sender::new(())).collect(),
            in_session: Mutex::default(),
            on_their_way: (0..MAX_PEERS).map(|_| AtomicU64::new(0)).collect(),
            lags: Lags::default(),
            always,
            waiting: AtomicUsize::new(0),
            hurry: Notify::new(),
        }
    }

    /// A peer has everything of these shards up to these effects; copies of these slots do not count.
    pub fn acknowledge(&self, peer: Peer, marks: impl IntoIterator<Item = Mark>, not_counting: &[Slot]) {
        {
            let mut excluded = self.not_counting.lock();
            excluded.retain(|&(who, slot)| who != peer || not_counting.contains(&slot));
            excluded.extend(not_counting.iter().map(|&slot| (peer, slot)));
        }
        for Mark { shard, after, seq } in marks {
            // First where the session began: whoever sees the new end must not see the former beginning.
            self.after[index(peer, shard)].store(after, Ordering::Release);
            self.reached[index(peer, shard)].fetch_max(seq, Ordering::AcqRel);
        }
        // Whoever begins to wait says so before it looks, and in one order with the marks above: either it sees them, or it
        // is seen here.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        // Marks of earlier acknowledgements may count only now, so every shard that is waited for looks again.
        for shard in &self.shards {
            if shard.receiver_count() > 0 {
                shard.send_replace(());
            }
        }
    }

    /// Bytes are sent to a peer.
    pub fn sent(&self, peer: Peer, bytes: usize) {
        self.on_their_way[peer.index()].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that were sent are acknowledged, or will never be.
    pub fn arrived(&self, peer: Peer, bytes: usize) {
        self.on_their_way[peer.index()].fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// How long what is sent to peers takes.
    pub fn lags(&self) -> &Lags {
        &self.lags
    }

    /// Bytes that were sent to a peer and are not acknowledged.
    pub fn on_their_way_bytes(&self, peer: Peer) -> u64 {
        self.on_their_way[peer.index()].load(Ordering::Relaxed)
    }

    /// A session with a peer begins: its acknowledgements are waited for.
    pub fn begin(&self, peer: Peer) {
        self.in_session.lock().insert(peer);
    }

    /// The session with a peer is over: nobody waits for it any longer.
    pub fn forget(&self, peer: Peer) {
        self.in_session.lock().remove(peer);
        for shard in 0..SHARDS as u16 {
            self.reached[index(peer, shard)].store(0, Ordering::Release);
        }
        self.not_counting.lock().retain(|&(who, _)| who != peer);
        for shard in &self.shards {
            shard.send_replace(());
        }
    }

    /// Whether somebody waits for acknowledgements, so that they should come soon.
    pub fn hurry(&self) -> bool {
        self.always || self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns as soon as [`Acks::hurry`] is true.
    pub async fn hurried(&self) {
        loop {
            let begun = self.hurry.notified();
            tokio::pin!(begun);
            // Registered before looking, so that whoever begins to wait in between is not missed.
            begun.as_mut().enable();
            if self.hurry() {
                return;
            }
            begun.await;
        }
    }

    /// How many peers have acknowledged a write so far. It says something of them only while this node's own copy is the
    /// one that took the write in ([`Store::still_holds`](crate::store::Store::still_holds)), asked afterwards.
    pub fn count(&self, ticket: &Ticket) -> usize {
        let excluded = self.not_counting.lock();
        let has = |peer: &Peer| {
            let at = index(*peer, ticket.shard);
            self.reached[at].load(Ordering::Acquire) >= ticket.seq
                && self.after[at].load(Ordering::Acquire) < ticket.seq
                && !excluded.contains(&(*peer, ticket.slot))
        };
        ticket.sent_to.iter().filter(has).count()
    }

    /// Waits until so many peers have acknowledged a write, whether that can be foreseen or not, as `WAIT` does: a node
    /// that joins may have it one day.
    pub async fn acknowledged(&self, ticket: &Ticket, wanted: usize) {
        self.reached(ticket, wanted).await;
        // Nobody is hurried any more: those who can have been asked.
        let mut changes = self.shards[usize::from(ticket.shard)].subscribe();
        while self.count(ticket) < wanted && changes.changed().await.is_ok() {}
    }

    /// Waits until so many peers have acknowledged a write, or so many cannot any more because their sessions are over.
    /// Peers that keep silent are waited for without end: bound it by a time-out. [`Acks::count`] then says how many
    /// have acknowledged.
    pub async fn reached(&self, ticket: &Ticket, wanted: usize) {
        if self.count(ticket) >= wanted {
            return;
        }
        let mut changes = self.shards[usize::from(ticket.shard)].subscribe();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        fence(Ordering::SeqCst);
        self.hurry.notify_waiters();
        while self.count(ticket) < wanted {
            let waited_for = ticket.sent_to.intersection(*self.in_session.lock());
            if waited_for.len() < wanted {
                return;
            }
            // The sender lives as long as `self`, so there is always another change to wait for.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

fn index(peer: Peer, shard: u16) -> usize {
    peer.index() * SHARDS + usize::from(shard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::{hlc::Hlc, id::Origin};

    fn ticket(seq: u64, sent_to: &[u8]) -> Ticket {
        let slot = Slot::new(3).unwrap();
        let sent_to: PeerSet = sent_to.iter().map(|&peer| Peer(peer)).collect();
        Ticket { slot, shard: 0, seq, sent_to, hlc: Hlc::ZERO, tenure: Origin(1) }
    }

    fn mark(seq: u64) -> Mark {
        Mark { shard: 0, after: 0, seq }
    }

    #[test]
    fn what_was_lost_with_a_former_session_is_not_reached() {
        let acks = Acks::new(false);
        acks.acknowledge(Peer(1), [Mark { shard: 0, after: 5, seq: 8 }], &[]);
        assert_eq!((acks.count(&ticket(5, &[1])), acks.count(&ticket(6, &[1]))), (0, 1));
    }

    #[tokio::test]
    async fn a_write_is_reached_when_counting_copies_have_it() {
        let acks = std::sync::Arc::new(Acks::new(false));
        let ticket = ticket(5, &[1, 2]);
        (1..=3).for_each(|peer| acks.begin(Peer(peer)));
        acks.acknowledge(Peer(1), [mark(4)], &[]);
        acks.acknowledge(Peer(3), [mark(9)], &[]);
        assert_eq!(acks.count(&ticket), 0);
        acks.acknowledge(Peer(1), [mark(5)], &[ticket.slot]);
        assert_eq!(acks.count(&ticket), 0, "its copy does not count");
        let waiting = tokio::spawn({
            let acks = acks.clone();
            async move { acks.reached(&ticket, 2).await }
        });
        acks.acknowledge(Peer(1), [], &[]);
        acks.acknowledge(Peer(2), [mark(6)], &[]);
        waiting.await.unwrap();
        acks.forget(Peer(2));
        assert_eq!(acks.count(&ticket), 1);
        // Only one of the two is left: two can no longer be reached.
        acks.reached(&ticket, 2).await;
    }
}

//! How long effects are on their way to a peer: from the moment when they are sent until its acknowledgement is here.
//!
//! That is more than the copy lags behind, by the way back and by the up to 5 ms that acknowledgements wait for each other.

use std::collections::VecDeque;

use parking_lot::Mutex;
use ring::id::{MAX_PEERS, Peer};

/// Of so many batches it is known how long they took.
const MOST_DELAYS: usize = 1024;

/// The lags of all peers.
#[derive(Debug)]
pub struct Lags(Box<[Mutex<Lag>]>);

#[derive(Debug, Default)]
struct Lag {
    /// When batches were sent that are not acknowledged, in order.
    sent_us: VecDeque<(u64, u64)>,
    /// How long the last ones took.
    delays_us: VecDeque<u32>,
}

/// The lag of one peer at a moment, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lagging {
    /// How many batches the delays are those of.
    pub batches: usize,
    /// The median.
    pub p50_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
    /// How long ago the oldest batch was sent that is not acknowledged; 0 if there is none.
    pub oldest_us: u64,
}

impl Default for Lags {
    fn default() -> Lags {
        Lags((0..MAX_PEERS).map(|_| Mutex::default()).collect())
    }
}

impl Lags {
    /// A batch is sent.
    pub fn sent(&self, peer: Peer, batch: u64, now_us: u64) {
        self.of(peer).lock().sent_us.push_back((batch, now_us));
    }

    /// Everything up to this batch is acknowledged.
    pub fn arrived(&self, peer: Peer, batch: u64, now_us: u64) {
        let mut lag = self.of(peer).lock();
        while let Some((_, sent_us)) = lag.sent_us.pop_front_if(|(number, _)| *number <= batch) {
            if lag.delays_us.len() == MOST_DELAYS {
                lag.delays_us.pop_front();
            }
            lag.delays_us.push_back(u32::try_from(now_us.saturating_sub(sent_us)).unwrap_or(u32::MAX));
        }
    }

    /// What is on its way is lost with the session.
    pub fn lost(&self, peer: Peer) {
        self.of(peer).lock().sent_us.clear();
    }

    /// How it stands.
    pub fn look(&self, peer: Peer, now_us: u64) -> Lagging {
        let lag = self.of(peer).lock();
        let mut delays: Vec<u32> = lag.delays_us.iter().copied().collect();
        let oldest_us = lag.sent_us.front().map_or(0, |&(_, sent_us)| now_us.saturating_sub(sent_us));
        drop(lag);
        delays.sort_unstable();
        // The smallest that so many of a hundred are not above.
        let percentile = |of: usize| delays.get((delays.len() * of).div_ceil(100).saturating_sub(1));
        let us = |delay: Option<&u32>| delay.map_or(0, |&us| us.into());
        Lagging {
            batches: delays.len(),
            p50_us: us(percentile(50)),
            p99_us: us(percentile(99)),
            max_us: us(delays.last()),
            oldest_us,
        }
    }

    fn of(&self, peer: Peer) -> &Mutex<Lag> {
        &self.0[peer.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_those_of_what_was_acknowledged() {
        let (lags, peer) = (Lags::default(), Peer(3));
        assert_eq!(lags.look(peer, 5), Lagging::default());
        (1..=200).for_each(|batch| lags.sent(peer, batch, 1000 * batch));
        // Batch n took 201 - n milliseconds.
        lags.arrived(peer, 100, 201_000);
        (101..200).for_each(|batch| lags.arrived(peer, batch, 201_000));
        let expected = Lagging { batches: 199, p50_us: 101_000, p99_us: 199_000, max_us: 200_000, oldest_us: 300_000 };
        assert_eq!(lags.look(peer, 500_000), expected);
        assert_eq!(lags.look(Peer(4), 500_000), Lagging::default());
        lags.lost(peer);
        assert_eq!(lags.look(peer, 500_000).oldest_us, 0);
    }

    #[test]
    fn only_the_last_are_remembered() {
        let (lags, peer) = (Lags::default(), Peer(3));
        for batch in 0..3 * MOST_DELAYS as u64 {
            lags.sent(peer, batch, 0);
            lags.arrived(peer, batch, batch);
        }
        let seen = lags.look(peer, 0);
        assert_eq!((seen.batches, seen.max_us), (MOST_DELAYS, 3 * MOST_DELAYS as u64 - 1));
        assert!(seen.p50_us > 2 * MOST_DELAYS as u64);
    }
}

//! Making room.
//!
//! ```text
//! a command that needs memory ── make_room ──┐
//! every few milliseconds ─────── evict_some ─┴─► shard by shard: some candidates, the first of them goes
//! ```
//!
//! A shard draws a few candidates and lets the first of them by the policy's order go, as Redis does: with eight
//! samples of a hundred thousand keys those that go are as good as always in the older half, and nothing has to
//! be kept in order. Which keys may go and which goes first says the [`Policy`].
//!
//! Only slots that this node acts for give room, and what goes leaves as an effect like any command's removal, so that
//! all copies of a slot stay equal: a copy that forgot entries on its own account would delete them everywhere at the
//! next join. The bytes of the other slots count towards the limit all the same.

use std::sync::atomic::Ordering;

use super::{
    SHARDS, SLOTS_PER_SHARD, Store,
    index::Place,
    memory::{Memory, OutOfMemory},
    shard::{Random, Shard},
    uses::Tracking,
};
use crate::types::{Order, Policy};

/// No lock is held for more evictions than this.
const EVICTIONS_PER_HOLD: usize = 8;
/// No shard gives more than one and this share of its entries before the others do: what goes should be old compared
/// with all, and not only with its neighbours.
const SHARE_PER_HOLD: u64 = 64;
/// One command evicts no more than this for its own sake, a millisecond or two; then it is executed, and what is left
/// to do is left to the next one and to [`Store::evict_some`].
const MAX_EVICTIONS: usize = 1_000;

/// What an eviction cycle did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evicted {
    /// How many entries it removed.
    pub removed: usize,
    /// The budget ended before the work did.
    pub more: bool,
}

/// How making room ended.
enum Ended {
    /// There is room.
    Enough,
    /// The budget was used up.
    Budget,
    /// There is nothing left that may go.
    Nothing,
}

impl Store {
    /// Evicts until the memory is below its limit, as far as one command may take. To be called, without a slot lent,
    /// before a command that needs memory; `Err` says that it is to be refused: memory is short, and nothing may go.
    pub fn make_room(&self, now_unix_ms: u64) -> Result<(), OutOfMemory> {
        if !self.memory.is_short() {
            return Ok(());
        }
        match self.evict(now_unix_ms, MAX_EVICTIONS) {
            (_, Ended::Enough | Ended::Budget) => Ok(()),
            (_, Ended::Nothing) => Err(OutOfMemory),
        }
    }

    /// Evicts about `budget` entries while the memory is above its limit: what came in from other nodes, what a lower
    /// limit leaves over, what was too much for one command.
    pub fn evict_some(&self, now_unix_ms: u64, budget: usize) -> Evicted {
        if !self.memory.is_short() {
            return Evicted { removed: 0, more: false };
        }
        let (removed, ended) = self.evict(now_unix_ms, budget);
        Evicted { removed, more: matches!(ended, Ended::Budget) }
    }

    /// Goes from shard to shard until there is room, the budget is used up or no shard has anything to give.
    fn evict(&self, now: u64, budget: usize) -> (usize, Ended) {
        let Some(choice) = Choice::by(&self.memory) else { return (0, Ended::Nothing) };
        // Whoever comes meanwhile begins at another shard. From there on everybody goes on alone: of two threads that
        // shared their turns each would see some shards only, and could take those that the other emptied for all.
        let first = self.next_eviction.fetch_add(1, Ordering::Relaxed);
        let (mut evicted, mut visited, mut empty) = (0, 0, 0);
        let ended = loop {
            if empty == SHARDS {
                break Ended::Nothing;
            }
            if evicted >= budget {
                break Ended::Budget;
            }
            let limit = EVICTIONS_PER_HOLD.min(budget - evicted);
            let shard = &self.shards[first.wrapping_add(visited) % SHARDS].0;
            let (here, ended) = self.evict_from(&mut shard.lock(), now, choice, limit);
            evicted += here;
            visited += 1;
            match ended {
                Ended::Enough => break Ended::Enough,
                Ended::Budget => empty = 0,
                Ended::Nothing if here > 0 => empty = 1,
                Ended::Nothing => empty += 1,
            }
        };
        // Whoever comes later goes on where this ended, so that all shards give alike.
        self.next_eviction.fetch_add(visited.saturating_sub(1), Ordering::Relaxed);
        (evicted, ended)
    }

    /// Evicts up to `limit` entries of a shard.
    fn evict_from(&self, shard: &mut Shard, now: u64, choice: Choice, limit: usize) -> (usize, Ended) {
        let limit = limit.min((1 + shard.totals.acting_keys / SHARE_PER_HOLD) as usize);
        for evicted in 0..limit {
            // What the shard kept to itself may be all that is too much, or too little.
            shard.report_bytes(&self.memory);
            if !self.memory.is_short() {
                return (evicted, Ended::Enough);
            }
            let Some((at, place)) = shard.choose(choice, self.version_ms(now)) else {
                return (evicted, Ended::Nothing);
            };
            let entries = shard.slots[at].entries();
            let hash = entries.hash(entries.entry(place).key());
            let slot = shard.slots[at].slot();
            self.run(shard, slot, now, |txn| txn.evict(hash, place));
        }
        shard.report_bytes(&self.memory);
        (limit, if self.memory.is_short() { Ended::Budget } else { Ended::Enough })
    }
}

/// How it is chosen what goes.
#[derive(Clone, Copy)]
struct Choice {
    order: Order,
    spares_lasting: bool,
    samples: u8,
    tracking: Tracking,
}

impl Choice {
    fn by(memory: &Memory) -> Option<Choice> {
        let policy: Policy = memory.policy();
        let order = policy.order()?;
        // Where any may go the first that is drawn does.
        let samples = if order == Order::Any { 1 } else { memory.tuning().samples };
        Some(Choice { order, spares_lasting: policy.spares_lasting(), samples, tracking: memory.tracking() })
    }
}

impl Shard {
    /// Tells the sum of all bytes that this shard kept to itself.
    pub(super) fn report_bytes(&mut self, memory: &Memory) {
        memory.report_all(&mut self.unreported_bytes);
    }

    /// Of a few entries that may go, the first; none if none may.
    fn choose(&mut self, choice: Choice, now: u64) -> Option<(usize, Place)> {
        if choice.order == Order::NearestDeadline {
            return self.nearest_deadline(choice.samples);
        }
        let candidates = (0..choice.samples).filter_map(|_| {
            let at = self.random_slot(choice.spares_lasting)?;
            let entries = self.slots[at].entries();
            let place = if choice.spares_lasting {
                entries.random_with_deadline(&mut self.random)?
            } else {
                entries.index().random(self.random.next())?
            };
            let uses = entries.entry(place).uses();
            let idle_ms = uses.idle_ms(now);
            let rank = match choice.order {
                Order::LeastFrequent => (u8::MAX - choice.tracking.counter(uses, now), idle_ms),
                Order::LeastRecent | Order::Any | Order::NearestDeadline => (0, idle_ms),
            };
            Some((rank, (at, place)))
        });
        candidates.max_by_key(|&(rank, _)| rank).map(|(_, found)| found)
    }

    /// The nearest deadline of a few slots: each knows its own, so that it need not be drawn.
    fn nearest_deadline(&mut self, samples: u8) -> Option<(usize, Place)> {
        let candidates = (0..samples).filter_map(|_| {
            let at = self.random_slot(true)?;
            Some((self.slots[at].entries().earliest_deadline()?, at))
        });
        let (_, at) = candidates.min()?;
        self.slots[at].entries().due(u64::MAX).map(|(_, place)| (at, place))
    }

    /// A slot that this node acts for, with the likelihood of its share of entries, or of entries with a deadline.
    fn random_slot(&mut self, with_deadline: bool) -> Option<usize> {
        let Shard { random, totals, acting_keys, acting_expires, .. } = self;
        if with_deadline {
            by_share(acting_expires, totals.acting_expires, random)
        } else {
            by_share(acting_keys, totals.acting_keys, random)
        }
    }
}

/// One of the places, with the likelihood of its share of the sum.
fn by_share(shares: &[u32; SLOTS_PER_SHARD], sum: u64, random: &mut Random) -> Option<usize> {
    let mut left = random.next().checked_rem(sum)?;
    shares.iter().position(|&share| match left.checked_sub(u64::from(share)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

//! Removing what is due.
//!
//! It happens only in slots that this node acts for, and leaves as effects like any command's removal: as with
//! eviction, a copy that forgot entries on its own account would delete them everywhere at the next join.

use std::sync::atomic::Ordering;

use ring::replica::Role;

use super::{SHARDS, SLOTS_PER_SHARD, Store, shard::Shard};

/// No lock is held for more expired entries than this.
const EXPIRIES_PER_HOLD: usize = 64;

/// What an expiry cycle did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired {
    /// How many entries it removed.
    pub removed: usize,
    /// The budget ended before the work did.
    pub more: bool,
}

impl Store {
    /// Removes entries whose deadline has come, about `budget` of them, going on where the last cycle ended.
    pub fn expire_some(&self, now_unix_ms: u64, budget: usize) -> Expired {
        let mut removed = 0;
        let mut idle = 0;
        while idle < SHARDS {
            if removed >= budget {
                return Expired { removed, more: true };
            }
            let number = self.next_expiry.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let mut shard = self.shards[number].0.lock();
            let here = self.expire_shard(&mut shard, now_unix_ms, EXPIRIES_PER_HOLD.min(budget - removed));
            removed += here;
            idle = if here == 0 { idle + 1 } else { 0 };
        }
        Expired { removed, more: false }
    }

    fn expire_shard(&self, shard: &mut Shard, now: u64, limit: usize) -> usize {
        if shard.earliest_deadline > now {
            return 0;
        }
        let mut removed = 0;
        let mut earliest = u64::MAX;
        for at in 0..SLOTS_PER_SHARD {
            let replica = &shard.slots[at];
            let due = replica.entries().earliest_deadline().filter(|_| replica.role() == Role::Acting);
            if due.is_some_and(|deadline| deadline <= now) && removed < limit {
                let slot = replica.slot();
                removed += self.run(shard, slot, now, |txn| txn.expire(limit - removed)).0;
            }
            let replica = &shard.slots[at];
            let left = replica.entries().earliest_deadline().filter(|_| replica.role() == Role::Acting);
            earliest = earliest.min(left.unwrap_or(u64::MAX));
        }
        shard.earliest_deadline = earliest;
        removed
    }
}

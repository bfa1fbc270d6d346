//! What is asked about a slot or an entry as a whole, by those who want to know how the cluster stands.

use ring::{
    context::SlotContext,
    hlc::Hlc,
    id::Origin,
    replica::{Digest, Role},
    slot::{SLOTS, Slot},
};

use super::{Store, txn::view};
use crate::types::Kind;

/// What one copy of a slot is at a moment, and what it has of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyFigures {
    /// What the node does with it.
    pub role: Role,
    /// Entries, those past their deadline included.
    pub keys: u64,
    /// What they take.
    pub bytes: u64,
    /// By which it is compared.
    pub digest: Digest,
    /// What it has incorporated.
    pub seen: SlotContext,
    /// The entry of the key.
    pub entry: Option<EntryFigures>,
}

/// What one entry is at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryFigures {
    /// When it was written, in the time of versions.
    pub hlc: Hlc,
    /// By whom: a node's tenure of the slot.
    pub origin: Origin,
    /// What it is.
    pub kind: Kind,
    /// How long its value is.
    pub value_bytes: u64,
    /// When it ends, in milliseconds since 1970; 0 is never.
    pub deadline: u64,
    /// For how many seconds it was not used, as far as this node knows.
    pub idle_seconds: u64,
    /// How often it is used, as a logarithm, if that is counted.
    pub frequency: Option<u8>,
}

impl Store {
    /// What this node's copy of a slot is, and what it has under a name; an entry past its deadline is none.
    pub fn copy_figures(&self, slot: Slot, name: &[u8], now_unix_ms: u64) -> CopyFigures {
        let (tracking, version_now) = (self.memory.tracking(), self.version_ms(now_unix_ms));
        let shard = self.shard(slot);
        let replica = shard.slot(slot);
        let entries = replica.entries();
        let entry = view(entries, now_unix_ms, name).map(|entry| {
            let (dot, uses) = (entries.dot(entry), entry.uses());
            EntryFigures {
                hlc: dot.hlc,
                origin: dot.origin,
                kind: entry.kind(),
                value_bytes: entry.value().as_slice().len() as u64,
                deadline: entry.deadline(),
                idle_seconds: uses.idle_ms(version_now) / 1000,
                frequency: tracking.is_counted().then(|| tracking.counter(uses, version_now)),
            }
        });
        CopyFigures {
            role: replica.role(),
            keys: entries.len() as u64,
            bytes: entries.bytes() as u64,
            digest: replica.digest(),
            seen: replica.seen().clone(),
            entry,
        }
    }

    /// The bytes of the slots that this node acts for, 0 for the others, in order.
    pub fn acting_bytes(&self) -> Vec<u64> {
        let mut bytes = Vec::with_capacity(SLOTS);
        for shard in &self.shards {
            let shard = shard.0.lock();
            let of = |acts: bool, bytes: usize| if acts { bytes as u64 } else { 0 };
            bytes.extend(shard.slots.iter().map(|slot| of(slot.role() == Role::Acting, slot.entries().bytes())));
        }
        bytes
    }
}

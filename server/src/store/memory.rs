//! How much memory the entries take, how much they may, and what happens beyond that.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::{SHARDS, Store, uses::Tracking};
use crate::types::{Policy, Tuning};

/// No room, and none to be made: the command is not to be executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl OutOfMemory {
    /// The error as a client reads it.
    pub const TEXT: &'static str = "OOM command not allowed when used memory > 'maxmemory'.";
}

/// The limit, and how it is kept.
impl Store {
    /// How many bytes the entries and their indexes take, as the allocator gives them.
    pub fn memory_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.0.lock().totals.bytes).sum()
    }

    /// Takes note that something else than entries which counts towards the limit, as the buffers of clients do, takes
    /// so many bytes more, or less where it is negative. As in Redis, entries make room for it. Cheap, but one line of
    /// the processor's cache for all: to be told in portions.
    pub fn note_other_bytes(&self, change: i64) {
        self.memory.other_bytes.fetch_add(change, Relaxed);
    }

    /// How many bytes there are of what [`Store::note_other_bytes`] was told of.
    pub fn other_bytes(&self) -> u64 {
        self.memory.other_bytes()
    }

    /// How many bytes entries and everything else that counts may take; 0 is no limit.
    pub fn max_memory_bytes(&self) -> u64 {
        self.memory.max_bytes()
    }

    /// What happens beyond that.
    pub fn policy(&self) -> Policy {
        self.memory.policy()
    }

    /// Sets both. A lower limit is come down to by [`Store::evict_some`], and by commands that need memory.
    pub fn limit_memory(&self, max_bytes: u64, policy: Policy) {
        self.memory.limit(max_bytes, policy);
        self.shards.iter().for_each(|shard| shard.0.lock().report_bytes(&self.memory));
    }

    /// How closely the policy is kept to.
    pub fn tuning(&self) -> Tuning {
        self.memory.tuning()
    }

    /// Sets that.
    pub fn tune(&self, tuning: Tuning) {
        self.memory.tune(tuning);
    }
}

/// The sum over all shards, its limit, and what commands have to know of the policy: all on one line of the cache,
/// which every command looks at in any case.
///
/// Shards report their changes in portions while there is a limit, so that writers on different cores do not pass this
/// line around for each command; the sum is wrong by less than a 128th of the limit. Without a limit nothing is
/// reported and the exact sum is asked for where it is shown.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Memory {
    reported_bytes: AtomicI64,
    other_bytes: AtomicI64,
    max_bytes: AtomicU64,
    portion_bytes: AtomicI64,
    tracking: AtomicU64,
    policy: AtomicU8,
    samples: AtomicU8,
    /// Held by whoever changes more than one of these.
    changing: Mutex<()>,
}

impl Memory {
    pub(super) fn new(max_bytes: u64, policy: Policy) -> Memory {
        let tuning = Tuning::default();
        let memory = Memory {
            reported_bytes: AtomicI64::new(0),
            other_bytes: AtomicI64::new(0),
            max_bytes: AtomicU64::new(0),
            portion_bytes: AtomicI64::new(0),
            tracking: AtomicU64::new(Tracking::new(policy, tuning).word()),
            policy: AtomicU8::new(policy as u8),
            samples: AtomicU8::new(tuning.samples),
            changing: Mutex::new(()),
        };
        memory.limit(max_bytes, policy);
        memory
    }

    fn limit(&self, max_bytes: u64, policy: Policy) {
        let _one_at_a_time = self.changing.lock();
        let portion = if max_bytes == 0 { i64::MAX } else { (max_bytes / (SHARDS as u64 * 128)).min(64 << 10) as i64 };
        self.max_bytes.store(max_bytes, Relaxed);
        self.portion_bytes.store(portion, Relaxed);
        self.policy.store(policy as u8, Relaxed);
        self.track(self.tuning());
    }

    fn tune(&self, tuning: Tuning) {
        let _one_at_a_time = self.changing.lock();
        self.samples.store(tuning.samples.max(1), Relaxed);
        self.track(tuning);
    }

    fn track(&self, tuning: Tuning) {
        self.tracking.store(Tracking::new(self.policy(), tuning).word(), Relaxed);
    }

    fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Relaxed)
    }

    pub(super) fn policy(&self) -> Policy {
        Policy::ALL[usize::from(self.policy.load(Relaxed))]
    }

    pub(super) fn tuning(&self) -> Tuning {
        let tracking = self.tracking();
        Tuning {
            samples: self.samples.load(Relaxed),
            log_factor: tracking.log_factor(),
            decay_minutes: tracking.decay_minutes(),
        }
    }

    /// How uses of entries are noted.
    pub(super) fn tracking(&self) -> Tracking {
        Tracking::of_word(self.tracking.load(Relaxed))
    }

    /// Whether the limit is exceeded.
    pub(super) fn is_short(&self) -> bool {
        let max = self.max_bytes();
        max != 0 && (self.reported_bytes.load(Relaxed).max(0) as u64).saturating_add(self.other_bytes()) > max
    }

    fn other_bytes(&self) -> u64 {
        self.other_bytes.load(Relaxed).max(0) as u64
    }

    /// Takes over what a shard has not yet reported, if it is worth it.
    pub(super) fn report(&self, unreported: &mut i64) {
        if unreported.abs() > self.portion_bytes.load(Relaxed) {
            self.report_all(unreported);
        }
    }

    pub(super) fn report_all(&self, unreported: &mut i64) {
        if *unreported != 0 {
            self.reported_bytes.fetch_add(std::mem::take(unreported), Relaxed);
        }
    }
}

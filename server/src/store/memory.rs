//! How much memory the entries take, and how much they may.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// What happens when memory is short.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Commands that need memory are refused.
    #[default]
    NoEviction,
    /// Of a few entries drawn at random the one that was not used for the longest time goes.
    AllKeysLru,
}

impl Policy {
    /// The policy with this name, by Redis' names.
    pub fn parse(name: &str) -> Option<Policy> {
        [Policy::NoEviction, Policy::AllKeysLru].into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// Redis' name.
    pub fn name(self) -> &'static str {
        match self {
            Policy::NoEviction => "noeviction",
            Policy::AllKeysLru => "allkeys-lru",
        }
    }
}

/// No room, and none to be made: the command is not to be executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl OutOfMemory {
    /// The error as a client reads it.
    pub const TEXT: &'static str = "OOM command not allowed when used memory > 'maxmemory'.";
}

/// The sum over all shards, and its limit.
///
/// Shards report their changes in portions while there is a limit, so that writers on different cores do not pass one
/// cache line around for each command; the sum is wrong by less than a 128th of the limit. Without a limit nothing is
/// reported and the exact sum is asked for where it is shown.
#[derive(Debug)]
pub(super) struct Memory {
    reported_bytes: AtomicI64,
    max_bytes: AtomicU64,
    portion_bytes: AtomicI64,
    evicts: AtomicBool,
}

impl Memory {
    pub(super) fn new(shards: usize, max_bytes: u64, policy: Policy) -> Memory {
        let zero = || AtomicI64::new(0);
        let memory = Memory {
            reported_bytes: zero(),
            max_bytes: AtomicU64::new(0),
            portion_bytes: zero(),
            evicts: AtomicBool::new(false),
        };
        memory.limit(shards, max_bytes, policy);
        memory
    }

    pub(super) fn limit(&self, shards: usize, max_bytes: u64, policy: Policy) {
        let portion = if max_bytes == 0 { i64::MAX } else { (max_bytes / (shards as u64 * 128)).min(64 << 10) as i64 };
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
        self.portion_bytes.store(portion, Ordering::Relaxed);
        self.evicts.store(policy == Policy::AllKeysLru, Ordering::Relaxed);
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn policy(&self) -> Policy {
        if self.evicts.load(Ordering::Relaxed) { Policy::AllKeysLru } else { Policy::NoEviction }
    }

    /// Whether the limit is exceeded.
    pub(super) fn is_short(&self) -> bool {
        let max = self.max_bytes();
        max != 0 && self.reported_bytes.load(Ordering::Relaxed).max(0) as u64 > max
    }

    /// Takes over what a shard has not yet reported, if it is worth it.
    pub(super) fn report(&self, unreported: &mut i64) {
        if unreported.abs() > self.portion_bytes.load(Ordering::Relaxed) {
            self.report_all(unreported);
        }
    }

    pub(super) fn report_all(&self, unreported: &mut i64) {
        self.reported_bytes.fetch_add(std::mem::take(unreported), Ordering::Relaxed);
    }
}

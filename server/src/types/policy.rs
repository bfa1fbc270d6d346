//! What goes when memory is short: the policies of Redis, by their names.

use std::ops::RangeInclusive;

/// What happens at the limit of memory.
///
/// A name that Redis does not have is refused and not taken for a near one: what a cache throws away is not to be
/// guessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Policy {
    /// Of the keys with a deadline, those go that were not used for long.
    VolatileLru,
    /// Of the keys with a deadline, those go that are seldom used.
    VolatileLfu,
    /// Any key with a deadline goes.
    VolatileRandom,
    /// Keys go whose deadline is near.
    VolatileTtl,
    /// Keys go that were not used for long.
    AllKeysLru,
    /// Keys go that are seldom used.
    AllKeysLfu,
    /// Any key goes.
    AllKeysRandom,
    /// Nothing goes: commands that need memory are refused.
    #[default]
    NoEviction,
}

/// Which of the keys that may go goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The one that was not used for the longest time.
    LeastRecent,
    /// The one that is used least often.
    LeastFrequent,
    /// Any.
    Any,
    /// The one with the nearest deadline.
    NearestDeadline,
}

impl Policy {
    /// All, in the order in which Redis lists them; each at the place of its number.
    pub const ALL: [Policy; 8] = [
        Policy::VolatileLru,
        Policy::VolatileLfu,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
        Policy::AllKeysLru,
        Policy::AllKeysLfu,
        Policy::AllKeysRandom,
        Policy::NoEviction,
    ];

    /// Redis' name.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::VolatileLru => "volatile-lru",
            Policy::VolatileLfu => "volatile-lfu",
            Policy::VolatileRandom => "volatile-random",
            Policy::VolatileTtl => "volatile-ttl",
            Policy::AllKeysLru => "allkeys-lru",
            Policy::AllKeysLfu => "allkeys-lfu",
            Policy::AllKeysRandom => "allkeys-random",
            Policy::NoEviction => "noeviction",
        }
    }

    /// The policy of this name, in whatever case.
    pub fn parse(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// All names with commas between them, as an error lists them.
    pub fn names() -> String {
        Policy::ALL.map(Policy::name).join(", ")
    }

    /// Which key goes first; none if nothing goes.
    pub const fn order(self) -> Option<Order> {
        match self {
            Policy::NoEviction => None,
            Policy::VolatileLru | Policy::AllKeysLru => Some(Order::LeastRecent),
            Policy::VolatileLfu | Policy::AllKeysLfu => Some(Order::LeastFrequent),
            Policy::VolatileRandom | Policy::AllKeysRandom => Some(Order::Any),
            Policy::VolatileTtl => Some(Order::NearestDeadline),
        }
    }

    /// Whether keys without a deadline stay, come what may.
    pub const fn spares_lasting(self) -> bool {
        matches!(self, Policy::VolatileLru | Policy::VolatileLfu | Policy::VolatileRandom | Policy::VolatileTtl)
    }

    /// Whether it is counted how often keys are used, instead of noted when.
    pub const fn counts_uses(self) -> bool {
        matches!(self, Policy::VolatileLfu | Policy::AllKeysLfu)
    }
}

/// How closely a policy keeps to its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuning {
    /// Of so many keys drawn at random the first in the policy's order goes.
    pub samples: u8,
    /// How hard it is for a key that is used often to be counted once more: a counter of `n` above its initial value
    /// grows with the probability `1 / (n * log_factor + 1)`.
    pub log_factor: u32,
    /// After so many minutes without a use a counter falls by one; 0: it never does.
    pub decay_minutes: u32,
}

impl Tuning {
    /// What [`Tuning::samples`] may be.
    pub const SAMPLES: RangeInclusive<u64> = 1..=64;
    /// What [`Tuning::log_factor`] and [`Tuning::decay_minutes`] may be, as in Redis.
    pub const COUNTING: RangeInclusive<u64> = 0..=i32::MAX as u64;
}

/// More samples than the five of Redis, which keeps the best candidates of earlier draws beside them.
impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { samples: 8, log_factor: 10, decay_minutes: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_the_name_of_redis_and_stands_at_its_number() {
        let names = "volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, \
                     allkeys-random, noeviction";
        assert_eq!(Policy::names(), names);
        for (number, policy) in Policy::ALL.into_iter().enumerate() {
            assert_eq!(policy as usize, number);
            assert_eq!(Policy::parse(&policy.name().to_uppercase()), Some(policy));
            assert_eq!(policy.spares_lasting(), policy.name().starts_with("volatile-"));
            assert_eq!(policy.counts_uses(), policy.order() == Some(Order::LeastFrequent));
        }
        for name in ["", "lru", "allkeys", "allkeys-lru ", "allkeys-s3fifo", "volatile-lrm"] {
            assert_eq!(Policy::parse(name), None, "{name}");
        }
    }
}

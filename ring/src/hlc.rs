//! Hybrid logical clock: a time that never runs backwards and is above everything it has heard of.
//!
//! Physical milliseconds in the upper bits, a counter in the lower twelve (Kulkarni et al., "Logical Physical
//! Clocks", 2014). A tick takes the physical time if it is ahead and else counts on; when the counter is full it
//! carries into the milliseconds. A write that follows an observed write therefore always has the higher time,
//! whatever the clocks of the two nodes say.

use core::fmt;

const COUNTER_BITS: u32 = 12;
const BITS: u32 = 56;

/// Milliseconds between the Unix epoch and the start of this clock, 2020-01-01T00:00:00Z.
pub const EPOCH_UNIX_MS: u64 = 1_577_836_800_000;

/// A hybrid logical time: 44 bits of milliseconds since 2020, 12 bits of counter, 56 bits in all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(u64);

impl Hlc {
    /// Before every tick.
    pub const ZERO: Hlc = Hlc(0);

    /// After every tick: in the year 2577.
    pub const LAST: Hlc = Hlc((1 << BITS) - 1);

    /// The time with this packed value, if it fits into 56 bits.
    pub const fn from_bits(bits: u64) -> Option<Hlc> {
        if bits >> BITS == 0 { Some(Hlc(bits)) } else { None }
    }

    /// The packed value, below 2^56.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The time's milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> u64 {
        (self.0 >> COUNTER_BITS) + EPOCH_UNIX_MS
    }

    /// The first time of this millisecond since the Unix epoch; times before 2020 count as 2020.
    pub const fn at_unix_ms(unix_ms: u64) -> Hlc {
        Hlc((unix_ms.saturating_sub(EPOCH_UNIX_MS) << COUNTER_BITS) & ((1 << BITS) - 1))
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> COUNTER_BITS, self.0 & ((1 << COUNTER_BITS) - 1))
    }
}

/// The clock of one shard: its last time, moved on under the shard's lock.
///
/// One clock a shard, not one a node, so that no cache line is shared by all writers. A dot is therefore unique
/// per slot and origin, and no more is needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct HlcClock {
    last: Hlc,
}

impl HlcClock {
    /// The next time: above every earlier tick and everything observed, and not below the physical time.
    pub fn tick(&mut self, now_unix_ms: u64) -> Hlc {
        self.last = Hlc::at_unix_ms(now_unix_ms).max(Hlc(self.last.0 + 1));
        self.last
    }

    /// Takes note of a time heard from elsewhere: later ticks are above it.
    pub fn observe(&mut self, heard: Hlc) {
        self.last = self.last.max(heard);
    }

    /// The last time given out or observed.
    pub fn last(&self) -> Hlc {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut clock = HlcClock::default();
        let now = EPOCH_UNIX_MS + 5;
        let first = clock.tick(now);
        let last = (0..4096).map(|_| clock.tick(now)).last().unwrap();
        assert_eq!((first.unix_ms(), last.unix_ms()), (now, now + 1));
    }

    proptest! {
        #[test]
        fn ticks_rise_and_are_above_what_was_heard(steps in prop::collection::vec((0u64..1 << 40, any::<bool>()), 1..50)) {
            let mut clock = HlcClock::default();
            let mut highest = Hlc::ZERO;
            for (time, hear) in steps {
                if hear {
                    clock.observe(Hlc::at_unix_ms(EPOCH_UNIX_MS + time));
                    highest = highest.max(Hlc::at_unix_ms(EPOCH_UNIX_MS + time));
                } else {
                    let tick = clock.tick(EPOCH_UNIX_MS + time);
                    prop_assert!(tick > highest);
                    prop_assert!(tick.unix_ms() >= EPOCH_UNIX_MS + time);
                    prop_assert!(Hlc::from_bits(tick.bits()) == Some(tick));
                    highest = tick;
                }
            }
        }
    }
}

//! What an entry keeps of its uses: when it was last used or, under a policy that counts, how often.
//!
//! ```text
//! in the first word of an entry, 24 bits and one of the flags, COUNTS
//! not COUNTS   u24 time of the last use, in steps of 256 ms, modulo 2^24: it wraps after 49 days
//! COUNTS       u8 counter · u16 minute of the last use, modulo 2^16: it wraps after 45 days
//! ```
//!
//! The counter is that of Redis (Morris, 1978): it grows with a probability that falls as it grows, so that eight bits
//! tell a hundred uses from a million, and it falls with every minute without a use, so that what was popular once
//! does not stay for ever.
//!
//! The flag says how the bits are to be read, whatever the policy is now. So a change of the policy visits no entry:
//! where a count is asked for and a time was noted, the entry counts as one that was made at that time, and where a
//! time is asked for and a count was noted, the minute is the time. The next use notes what the policy wants.

use super::{
    shard::Random,
    txn::{SlotTxn, view},
};
use crate::types::{Policy, Tuning};

/// The bits of an entry's first word that are not [`Uses`].
const OTHERS: u32 = !(TIME | COUNTS);
const TIME: u32 = 0xFFFF_FF00;
const COUNTS: u32 = 0x40;
const COUNTER_AT: u32 = 8;
const MINUTE_AT: u32 = 16;

/// The counter of an entry that was just made: it is not the first to go before it could be used.
const INITIAL: u8 = 5;
const MINUTE_MS: u64 = 60_000;
/// How exactly times are noted.
const STEP_MS: u32 = !TIME + 1;
/// Times so far ahead are taken for now: threads and nodes do not read the clock at the same moment, and what was used
/// a moment ago must not pass for the oldest of all.
const AHEAD_MS: u32 = 24 * 60 * MINUTE_MS as u32;
/// No entry is known to be unused for longer.
const LONGEST_IDLE_MS: u64 = (u32::MAX - AHEAD_MS - STEP_MS) as u64;

/// A note of the uses of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Uses(u32);

impl Uses {
    /// The last use was at this time.
    pub(super) fn at(unix_ms: u64) -> Uses {
        Uses(unix_ms as u32 & TIME)
    }

    /// The last use was so long before this time.
    fn idle(now: u64, idle_ms: u64) -> Uses {
        Uses::at(now.wrapping_sub(idle_ms.min(LONGEST_IDLE_MS)))
    }

    fn counted(now: u64, counter: u8) -> Uses {
        Uses(COUNTS | u32::from(counter) << COUNTER_AT | u32::from(minute(now)) << MINUTE_AT)
    }

    /// The note in an entry's first word.
    pub(super) fn of_word(word: u32) -> Uses {
        Uses(word & !OTHERS)
    }

    /// An entry's first word with this note.
    pub(super) fn in_word(self, word: u32) -> u32 {
        word & OTHERS | self.0
    }

    /// What becomes of the note when a copy that follows takes in a new version: it hears of writes, not of reads. A
    /// count stays, and goes on when this node acts.
    pub(super) fn replaced(old: Option<Uses>, unix_ms: u64) -> Uses {
        old.filter(|old| old.counts()).unwrap_or(Uses::at(unix_ms))
    }

    /// How long ago the last use was, in milliseconds; rather too much than too little.
    pub(super) fn idle_ms(self, now: u64) -> u64 {
        if self.counts() {
            let minutes = minute(now).wrapping_sub((self.0 >> MINUTE_AT) as u16);
            let is_ahead = minutes > u16::MAX - (u64::from(AHEAD_MS) / MINUTE_MS) as u16;
            return if is_ahead { 0 } else { u64::from(minutes) * MINUTE_MS };
        }
        let idle = (now as u32).wrapping_sub(self.0);
        if idle > u32::MAX - AHEAD_MS { 0 } else { u64::from(idle) }
    }

    fn counts(self) -> bool {
        self.0 & COUNTS != 0
    }

    /// The counter now, after what it lost since the last use.
    fn counter(self, now: u64, decay_minutes: u32) -> u8 {
        let counter = if self.counts() { (self.0 >> COUNTER_AT) as u8 } else { INITIAL };
        let lost = (self.idle_ms(now) / MINUTE_MS).checked_div(u64::from(decay_minutes)).unwrap_or(0);
        counter.saturating_sub(lost.min(u64::from(u8::MAX)) as u8)
    }
}

fn minute(unix_ms: u64) -> u16 {
    (unix_ms / MINUTE_MS) as u16
}

/// How uses are noted: one word, so that a command has all of it by one load.
///
/// ```text
/// u1 SILENT · u1 COUNTED · u31 decay in minutes · u31 log factor
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tracking(u64);

impl Tracking {
    /// Uses are not noted.
    const SILENT: u64 = 1 << 63;
    /// Uses are counted; otherwise their time is noted.
    const COUNTED: u64 = 1 << 62;
    const NUMBER_BITS: u32 = 31;
    const NUMBER: u64 = (1 << Tracking::NUMBER_BITS) - 1;

    pub(super) fn new(policy: Policy, tuning: Tuning) -> Tracking {
        let counted = if policy.counts_uses() { Tracking::COUNTED } else { 0 };
        let [decay, factor] =
            [tuning.decay_minutes, tuning.log_factor].map(|number| u64::from(number).min(Tracking::NUMBER));
        Tracking(counted | decay << Tracking::NUMBER_BITS | factor)
    }

    /// The same, for who leaves no trace.
    fn silenced(self) -> Tracking {
        Tracking(self.0 | Tracking::SILENT)
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    pub(super) fn of_word(word: u64) -> Tracking {
        Tracking(word)
    }

    pub(super) fn log_factor(self) -> u32 {
        (self.0 & Tracking::NUMBER) as u32
    }

    pub(super) fn decay_minutes(self) -> u32 {
        (self.0 >> Tracking::NUMBER_BITS & Tracking::NUMBER) as u32
    }

    pub(super) fn is_counted(self) -> bool {
        self.0 & Tracking::COUNTED != 0
    }

    /// The note of a new entry.
    pub(super) fn made(self, now: u64) -> Uses {
        if self.is_counted() { Uses::counted(now, INITIAL) } else { Uses::at(now) }
    }

    /// The note of an entry after one more use.
    #[inline]
    pub(super) fn used(self, old: Uses, now: u64, random: &mut Random) -> Uses {
        if self.0 & Tracking::SILENT != 0 {
            return old;
        }
        if !self.is_counted() {
            return Uses::at(now);
        }
        let counter = self.counter(old, now);
        Uses::counted(now, counter.saturating_add(u8::from(self.grows(counter, random))))
    }

    /// The note of an entry that gets a new value.
    pub(super) fn written(self, old: Option<Uses>, now: u64, random: &mut Random) -> Uses {
        old.map_or_else(|| self.made(now), |old| self.used(old, now, random))
    }

    /// An entry's counter.
    pub(super) fn counter(self, uses: Uses, now: u64) -> u8 {
        uses.counter(now, self.decay_minutes())
    }

    fn grows(self, counter: u8, random: &mut Random) -> bool {
        let chances = u64::from(counter.saturating_sub(INITIAL)) * u64::from(self.log_factor()) + 1;
        (u128::from(random.next()) * u128::from(chances)) >> 64 == 0
    }
}

/// What is known of the uses of keys. None of it is an effect: each node knows what it saw itself.
impl SlotTxn<'_> {
    /// Whether the policy of eviction counts how often keys are used, instead of noting when.
    pub fn counts_frequency(&self) -> bool {
        self.tracking.is_counted()
    }

    /// For how many seconds a key was not used, in steps of a quarter of a second, and of a minute where uses were
    /// counted then; it begins again after 48 days. None if there is no such key. Without a trace.
    pub fn idle_seconds(&self, key: &[u8]) -> Option<u64> {
        view(self.replica.entries(), self.now, &self.access.database.name(key))
            .map(|entry| entry.uses().idle_ms(self.version_now) / 1000)
    }

    /// How often a key is used, as a logarithm from 0 to 255; none if there is no such key. Without a trace.
    pub fn frequency(&self, key: &[u8]) -> Option<u8> {
        view(self.replica.entries(), self.now, &self.access.database.name(key))
            .map(|entry| self.tracking.counter(entry.uses(), self.version_now))
    }

    /// Notes that a key was not used for so many seconds, at most 48 days. False if there is no such key.
    pub fn set_idle(&mut self, key: &[u8], seconds: u64) -> bool {
        self.note(key, Uses::idle(self.version_now, seconds.saturating_mul(1000)))
    }

    /// Notes how often a key is used. False if there is no such key.
    pub fn set_frequency(&mut self, key: &[u8], frequency: u8) -> bool {
        self.note(key, Uses::counted(self.version_now, frequency))
    }

    /// Forgets how a key was used, as if it had been made now. False if there is no such key.
    pub fn forget_uses(&mut self, key: &[u8]) -> bool {
        self.note(key, self.tracking().made(self.version_now))
    }

    pub(super) fn note(&mut self, key: &[u8], uses: Uses) -> bool {
        let found = self.live(&self.access.database.name(key));
        if let Some((_, place)) = found {
            self.replica.entries_mut().0.note_use(place, |_| uses);
        }
        found.is_some()
    }

    /// How this command's uses are noted.
    pub(super) fn tracking(&self) -> Tracking {
        if self.access.leaves_no_trace { self.tracking.silenced() } else { self.tracking }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000_000;
    const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

    fn tracking(policy: Policy, log_factor: u32, decay_minutes: u32) -> Tracking {
        Tracking::new(policy, Tuning { samples: 8, log_factor, decay_minutes })
    }

    #[test]
    fn a_counter_is_the_logarithm_that_redis_documents() {
        // Counters after so many uses, by factor, as in Redis' documentation of `lfu-log-factor`.
        let documented = [(0, [104, 255, 255]), (1, [18, 49, 255]), (10, [10, 18, 142]), (100, [8, 11, 49])];
        let mut random = Random::new(7);
        for (factor, counters) in documented {
            for (uses, wanted) in [100, 1000, 100_000].into_iter().zip(counters) {
                let tracking = tracking(Policy::AllKeysLfu, factor, 1);
                let rounds = if uses == 100_000 { 5 } else { 100 };
                let of_round = |_| {
                    let used = |uses, _| tracking.used(uses, NOW, &mut random);
                    u32::from(tracking.counter((0..uses).fold(tracking.made(NOW), used), NOW))
                };
                let mean = (0..rounds).map(of_round).sum::<u32>() / rounds;
                assert!(mean.abs_diff(wanted) <= 2 + wanted / 10, "{uses} uses, factor {factor}: {mean}, not {wanted}");
            }
        }
    }

    #[test]
    fn a_counter_falls_while_nobody_comes() {
        let uses = Uses::counted(NOW, 100);
        for (decay, after, wanted) in
            [(1, 0, 100), (1, 1, 99), (1, 60, 40), (1, 5000, 0), (10, 60, 94), (0, 40_000, 100)]
        {
            let tracking = tracking(Policy::VolatileLfu, 10, decay);
            assert_eq!(tracking.counter(uses, NOW + after * MINUTE_MS), wanted, "{decay} {after}");
        }
        let used = tracking(Policy::AllKeysLfu, 10, 1).used(uses, NOW + 30 * MINUTE_MS, &mut Random::new(1));
        assert!((70..=71).contains(&used.counter(NOW + 30 * MINUTE_MS, 1)));
    }

    #[test]
    fn what_one_policy_noted_the_other_understands() {
        let (lru, lfu) = (tracking(Policy::AllKeysLru, 10, 1), tracking(Policy::AllKeysLfu, 10, 1));
        let timed = lru.made(NOW);
        assert_eq!((lfu.counter(timed, NOW + 1000), lfu.counter(timed, NOW + 3 * MINUTE_MS)), (INITIAL, INITIAL - 3));
        assert_eq!(lfu.used(timed, NOW, &mut Random::new(1)), Uses::counted(NOW, INITIAL + 1));
        let counted = lfu.made(NOW);
        assert_eq!(counted.idle_ms(NOW + 7 * MINUTE_MS), 7 * MINUTE_MS);
        assert_eq!(lru.used(counted, NOW, &mut Random::new(1)), Uses::at(NOW));
        assert_eq!(Uses::replaced(Some(counted), NOW + 9), counted);
        assert_eq!(Uses::replaced(Some(timed), NOW + 999), Uses::at(NOW + 999));
    }

    #[test]
    fn whoever_leaves_no_trace_leaves_none() {
        for policy in [Policy::AllKeysLru, Policy::AllKeysLfu] {
            let silent = tracking(policy, 10, 1).silenced();
            let old = silent.made(NOW);
            assert_eq!(silent.used(old, NOW + DAY_MS, &mut Random::new(1)), old);
        }
    }

    proptest! {
        #[test]
        fn a_time_is_known_for_weeks_and_never_from_the_future(now in NOW..2 * NOW, idle in 0..48 * DAY_MS, ahead in 0..DAY_MS - MINUTE_MS) {
            let timed = Uses::at(now).idle_ms(now + idle);
            prop_assert!((idle..idle + 256).contains(&timed), "{timed} {idle}");
            prop_assert!(Uses::at(now + ahead).idle_ms(now) < 256);
            let (counted, minutes) = (Uses::counted(now, 9), idle.min(44 * DAY_MS));
            prop_assert!(counted.idle_ms(now + minutes).abs_diff(minutes) <= MINUTE_MS);
            prop_assert_eq!(Uses::counted(now + ahead, 9).idle_ms(now), 0);
            let seconds = idle / 1000;
            prop_assert_eq!(Uses::idle(now, seconds * 1000).idle_ms(now) / 1000, seconds);
        }

        #[test]
        fn a_word_keeps_its_other_bits(word: u32, now: u64, counter: u8) {
            for uses in [Uses::at(now), Uses::counted(now, counter)] {
                let with = uses.in_word(word);
                prop_assert_eq!(Uses::of_word(with), uses);
                prop_assert_eq!(with & OTHERS, word & OTHERS);
                prop_assert_eq!(uses.in_word(with), with);
            }
            prop_assert!(Uses::idle(now, u64::MAX).idle_ms(now) > 48 * DAY_MS);
        }

        #[test]
        fn tracking_is_one_word(counts: bool, log_factor: u32, decay: u32) {
            let policy = if counts { Policy::AllKeysLfu } else { Policy::NoEviction };
            let kept = Tracking::of_word(tracking(policy, log_factor, decay).word());
            prop_assert_eq!(kept.is_counted(), counts);
            let most = i32::MAX as u32;
            prop_assert_eq!((kept.log_factor(), kept.decay_minutes()), (log_factor.min(most), decay.min(most)));
        }
    }
}

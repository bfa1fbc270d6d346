//! What happens a second, from samples of counters: the mean over the last sixteen, as in Redis.

use std::collections::VecDeque;

/// So many samples are kept.
const SAMPLES: usize = 16;

/// What was counted until some moment, or happened a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Volume {
    /// Commands that were executed.
    pub calls: u64,
    /// Bytes from clients.
    pub input_bytes: u64,
    /// Bytes to clients.
    pub output_bytes: u64,
}

/// The latest samples.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<(u64, Volume)>,
}

impl Rates {
    /// Takes a sample in: what was counted until now.
    pub fn sample(&mut self, now_us: u64, counted: Volume) {
        // The counters start again at zero when somebody resets them.
        if self.samples.back().is_some_and(|(_, last)| last.calls > counted.calls) {
            self.samples.clear();
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now_us, counted));
    }

    /// What happened a second between the first and the last sample; nothing with fewer than two.
    pub fn per_second(&self) -> Volume {
        let (Some((from_us, first)), Some((to_us, last))) = (self.samples.front(), self.samples.back()) else {
            return Volume::default();
        };
        let elapsed_us = u128::from(to_us.saturating_sub(*from_us)).max(1);
        let rate = |first: u64, last: u64| (u128::from(last.saturating_sub(first)) * 1_000_000 / elapsed_us) as u64;
        Volume {
            calls: rate(first.calls, last.calls),
            input_bytes: rate(first.input_bytes, last.input_bytes),
            output_bytes: rate(first.output_bytes, last.output_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(calls: u64) -> Volume {
        Volume { calls, input_bytes: calls * 10, output_bytes: calls * 5 }
    }

    #[test]
    fn a_rate_is_the_mean_of_the_latest_samples() {
        let mut rates = Rates::default();
        assert_eq!(rates.per_second(), Volume::default());
        for tenth in 0..100 {
            // A hundred a second, and at last a thousand.
            rates.sample(tenth * 100_000, volume(if tenth < 50 { tenth * 10 } else { 500 + (tenth - 50) * 100 }));
        }
        assert_eq!(rates.per_second(), volume(1000));
        rates.sample(10_000_000, volume(0));
        assert_eq!(rates.per_second(), Volume::default(), "the counters were reset");
        rates.sample(10_500_000, volume(5));
        assert_eq!(rates.per_second(), volume(10));
    }
}

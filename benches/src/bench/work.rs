//! Which command a connection sends next.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution as _, Zipf};

use super::keyspace::Keyspace;
use super::options::{Distribution, Options};

/// A command under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    /// A read, and the version that was acknowledged when it was sent.
    Get { key: u32, floor: u32 },
    /// A write of this version.
    Set { key: u32, version: u32 },
}

/// The commands of one connection, in order.
pub(super) struct Work {
    keyspace: Arc<Keyspace>,
    source: Source,
    left: u64,
}

enum Source {
    /// Every key of this connection once.
    Load { next: u32, stride: u32 },
    /// Every acknowledged key of this connection's share once.
    Verify { next: u32, stride: u32, acked_before: Option<u64> },
    /// Reads of any key, writes of this connection's keys.
    Mixed { own: u32, stride: u32, get_ratio: f64, keys: Keys, random: SmallRng },
}

enum Keys {
    Uniform,
    Zipf(Zipf<f64>),
}

impl Work {
    /// Writes every key that belongs to connection `own` of `stride`.
    pub(super) fn load(keyspace: Arc<Keyspace>, own: u32, stride: u32) -> Work {
        Work { keyspace, source: Source::Load { next: own, stride }, left: u64::MAX }
    }

    /// Reads connection `own`'s share of the acknowledged keys.
    pub(super) fn verify(keyspace: Arc<Keyspace>, own: u32, stride: u32, acked_before: Option<u64>) -> Work {
        Work { keyspace, source: Source::Verify { next: own, stride, acked_before }, left: u64::MAX }
    }

    /// Mixed load as the options say.
    pub(super) fn mixed(keyspace: Arc<Keyspace>, own: u32, options: &Options) -> Work {
        let stride = u32::try_from(options.connections).expect("not more connections than keys");
        let keys = match options.distribution {
            Distribution::Uniform => Keys::Uniform,
            Distribution::Zipf(exponent) => Keys::Zipf(
                Zipf::new(f64::from(keyspace.keys()), exponent).expect("keys and exponent were checked to be positive"),
            ),
        };
        let random = SmallRng::seed_from_u64(options.seed.wrapping_mul(0x9E37_79B9).wrapping_add(u64::from(own)));
        let left = options.requests.map_or(u64::MAX, |total| share(total, u64::from(own), u64::from(stride)));
        Work { keyspace, source: Source::Mixed { own, stride, get_ratio: options.get_ratio, keys, random }, left }
    }

    /// No command is left.
    fn end(&mut self) {
        self.left = 0;
    }

    /// The most commands that may still come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next command, or `None` if there is none left.
    pub(super) fn next(&mut self) -> Option<Command> {
        self.left = self.left.checked_sub(1)?;
        let keyspace = &*self.keyspace;
        let command = match &mut self.source {
            Source::Load { next, stride } => step(next, *stride, keyspace.keys()).map(|key| write(keyspace, key)),
            Source::Verify { next, stride, acked_before } => {
                let acked_before = *acked_before;
                std::iter::from_fn(|| step(next, *stride, keyspace.keys()))
                    .find(|key| was_acked(keyspace, *key, acked_before))
                    .map(|key| read(keyspace, key))
            }
            Source::Mixed { own, stride, get_ratio, keys, random } => {
                let key = keys.draw(keyspace.keys(), random);
                Some(if random.random_bool(*get_ratio) {
                    read(keyspace, key)
                } else {
                    write(keyspace, owned(key, *own, *stride, keyspace.keys()))
                })
            }
        };
        if command.is_none() {
            self.end();
        }
        command
    }
}

impl Keys {
    fn draw(&self, keys: u32, random: &mut SmallRng) -> u32 {
        match self {
            Keys::Uniform => random.random_range(0..keys),
            Keys::Zipf(ranks) => (ranks.sample(random) as u32).clamp(1, keys) - 1,
        }
    }
}

fn read(keyspace: &Keyspace, key: u32) -> Command {
    Command::Get { key, floor: keyspace.acked(key) }
}

fn write(keyspace: &Keyspace, key: u32) -> Command {
    Command::Set { key, version: keyspace.issue(key) }
}

fn step(next: &mut u32, stride: u32, keys: u32) -> Option<u32> {
    let key = *next;
    (key < keys).then(|| {
        *next = key.saturating_add(stride);
        key
    })
}

fn was_acked(keyspace: &Keyspace, key: u32, before_ms: Option<u64>) -> bool {
    use std::sync::atomic::Ordering::Relaxed;
    let cell = keyspace.cell(key);
    let acked_at_ms = keyspace.run + u64::from(cell.acked_at_ms.load(Relaxed));
    cell.acked.load(Relaxed) > 0 && before_ms.is_none_or(|before_ms| acked_at_ms < before_ms)
}

/// The key of connection `own` in the same group of `stride` keys; the last group may lack it, then the one before.
fn owned(key: u32, own: u32, stride: u32, keys: u32) -> u32 {
    let candidate = key - key % stride + own;
    if candidate < keys { candidate } else { candidate - stride }
}

/// What one of `parts` does of a total, so that the parts add up to it.
fn share(total: u64, part: u64, parts: u64) -> u64 {
    total / parts + u64::from(part < total % parts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    fn commands(mut work: Work) -> Vec<Command> {
        std::iter::from_fn(|| work.next()).collect()
    }

    #[test]
    fn loading_writes_each_key_once() {
        let keyspace = Arc::new(Keyspace::new("k", 103, 64));
        let all: Vec<Command> = (0..10).flat_map(|own| commands(Work::load(Arc::clone(&keyspace), own, 10))).collect();
        let keys: BTreeSet<u32> = all
            .iter()
            .map(|command| match command {
                Command::Set { key, version: 1 } => *key,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((all.len(), keys.len()), (103, 103));
    }

    #[test]
    fn verifying_reads_the_keys_acknowledged_before_a_moment() {
        let keyspace = Arc::new(Keyspace::new("k", 20, 64));
        for key in 0..10 {
            keyspace.acknowledge(key, 1, keyspace.run + u64::from(key) * 100);
        }
        let all = commands(Work::verify(Arc::clone(&keyspace), 0, 1, None));
        assert_eq!(all.len(), 10);
        let early = commands(Work::verify(Arc::clone(&keyspace), 0, 1, Some(keyspace.run + 300)));
        assert_eq!(early, (0..3).map(|key| Command::Get { key, floor: 1 }).collect::<Vec<_>>());
    }

    #[test]
    fn each_key_has_one_writer() {
        let keyspace = Arc::new(Keyspace::new("k", 103, 64));
        for distribution in ["uniform", "zipf:1.1"] {
            let arguments = format!("b --connections 10 --get-ratio 0 --requests 999 --distribution {distribution}");
            let options = Options::try_parse_from(arguments.split(' ')).expect("valid");
            let per_connection: Vec<Vec<Command>> =
                (0..10).map(|own| commands(Work::mixed(Arc::clone(&keyspace), own, &options))).collect();
            assert_eq!(per_connection.iter().map(Vec::len).sum::<usize>(), 999);
            for (own, commands) in per_connection.iter().enumerate() {
                for command in commands {
                    let Command::Set { key, .. } = command else { panic!("{command:?}") };
                    assert_eq!(*key as usize % 10, own);
                    assert!(*key < 103);
                }
            }
        }
    }

    #[test]
    fn zipf_prefers_low_numbers() {
        let keyspace = Arc::new(Keyspace::new("k", 1000, 64));
        let options = Options::try_parse_from(
            "b --connections 1 --get-ratio 1 --requests 10000 --distribution zipf:1".split(' '),
        )
        .expect("valid");
        let first = commands(Work::mixed(keyspace, 0, &options))
            .iter()
            .filter(|command| matches!(command, Command::Get { key: 0, .. }))
            .count();
        // 1 / H(1000) = 13.4 % of 10,000.
        assert!((1200..1500).contains(&first), "{first}");
    }
}

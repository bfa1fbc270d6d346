//! The command line, as typed and then checked.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};

use super::keyspace::SMALLEST_VALUE;

/// The most commands one connection may have under way.
const MAX_PIPELINE: usize = 10_000;

/// Generates load for a Redis-compatible cache and checks what it reads.
#[derive(Parser, Clone, Debug)]
#[command(name = "circlet-bench", version, max_term_width = 100)]
pub(super) struct Options {
    /// Addresses to connect to (host:port, comma separated or repeated); connections are spread over them
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:6379")]
    pub(super) target: Vec<String>,
    /// Connections in total
    #[arg(long, default_value_t = 50)]
    pub(super) connections: usize,
    /// Commands sent at once on a connection; with --rate the most that may be under way on one
    #[arg(long, default_value_t = 1)]
    pub(super) pipeline: usize,
    /// Number of keys
    #[arg(long, default_value_t = 100_000)]
    pub(super) keys: u32,
    /// What each key starts with, before its number
    #[arg(long, default_value = "key:")]
    pub(super) prefix: String,
    /// How keys are chosen: `uniform` or `zipf:<s>` with an exponent s > 0
    #[arg(long, default_value = "uniform")]
    pub(super) distribution: Distribution,
    /// Share of commands that are GET; the others are SET
    #[arg(long, default_value_t = 0.9)]
    pub(super) get_ratio: f64,
    /// Bytes of each value
    #[arg(long, default_value_t = 64)]
    pub(super) value_size: usize,
    /// Seconds of mixed load (10 if neither this nor --requests is given); SIGINT and SIGTERM end it earlier
    #[arg(long)]
    pub(super) duration: Option<f64>,
    /// Commands of mixed load in total
    #[arg(long)]
    pub(super) requests: Option<u64>,
    /// Commands that should start per second, over all connections (open loop); without it each connection sends as
    /// soon as it has its replies (closed loop). Paces the mixed load, and --load-only
    #[arg(long)]
    pub(super) rate: Option<f64>,
    /// Threads of the generator
    #[arg(long, default_value_t = 1)]
    pub(super) threads: usize,
    /// Seed of the choice of keys and commands
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Where a connection is made again that the server closed
    #[arg(long, value_enum, default_value_t = Reconnect::Elsewhere)]
    pub(super) reconnect: Reconnect,
    /// Milliseconds after which a command without a reply, or a connection that cannot be made, is an error
    #[arg(long, default_value_t = 5000)]
    pub(super) timeout_ms: u64,
    /// Password for AUTH
    #[arg(long)]
    pub(super) password: Option<String>,
    /// File of acknowledged versions: read at the start (except by --load-only), written at the end (except by
    /// --verify-only)
    #[arg(long)]
    pub(super) state: Option<PathBuf>,
    /// Write every key once before the mixed load
    #[arg(long)]
    pub(super) load: bool,
    /// Write every key once and end
    #[arg(long, conflicts_with_all = ["verify_only", "load"])]
    pub(super) load_only: bool,
    /// After the rest read every acknowledged key through each target
    #[arg(long)]
    pub(super) verify: bool,
    /// Only read every key acknowledged in the --state file through each target
    #[arg(long, requires = "state", conflicts_with = "load")]
    pub(super) verify_only: bool,
    /// With --verify-only: check only keys whose last acknowledgement came before this time (milliseconds since 1970)
    #[arg(long, requires = "verify_only")]
    pub(super) acked_before: Option<u64>,
    /// A missing key is not lost: the cache evicts, or something deletes
    #[arg(long)]
    pub(super) expect_misses: bool,
    /// Errors that are still no reason for exit code 1
    #[arg(long, default_value_t = 0)]
    pub(super) allow_errors: u64,
    /// Print the summary as one JSON object to standard output; everything else goes to standard error
    #[arg(long)]
    pub(super) json: bool,
    /// No line per second
    #[arg(long)]
    pub(super) quiet: bool,
}

/// Where a connection is made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Reconnect {
    /// At the next target of the list
    Elsewhere,
    /// At the same target
    Same,
    /// Nowhere: a closed connection is an error and stays closed
    Never,
}

/// How keys are chosen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Distribution {
    Uniform,
    Zipf(f64),
}

impl Options {
    /// The options as they are meant, or which one makes no sense.
    pub(super) fn checked(mut self) -> Result<Options, String> {
        let bound = |holds: bool, problem: &str| if holds { Ok(()) } else { Err(problem.to_owned()) };
        let positive = |value: Option<f64>| value.is_none_or(|value| value.is_finite() && value > 0.0);
        bound(!self.target.is_empty(), "--target: at least one address")?;
        bound(self.connections >= 1, "--connections: at least 1")?;
        bound((1..=MAX_PIPELINE).contains(&self.pipeline), "--pipeline: 1 to 10000")?;
        bound(self.keys as usize >= self.connections, "--keys: at least one key per connection")?;
        bound((0.0..=1.0).contains(&self.get_ratio), "--get-ratio: 0 to 1")?;
        bound(self.value_size >= SMALLEST_VALUE, "--value-size: at least 48, room for key and version")?;
        bound(self.value_size <= 512 << 20, "--value-size: at most 512 MiB")?;
        bound(positive(self.duration), "--duration: more than 0")?;
        bound(positive(self.rate), "--rate: more than 0")?;
        bound(self.threads >= 1, "--threads: at least 1")?;
        bound(self.timeout_ms >= 1, "--timeout-ms: at least 1")?;
        self.threads = self.threads.min(self.connections);
        if self.duration.is_none() && self.requests.is_none() {
            self.duration = Some(10.0);
        }
        Ok(self)
    }
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Distribution, String> {
        if text == "uniform" {
            return Ok(Distribution::Uniform);
        }
        text.strip_prefix("zipf:")
            .and_then(|exponent| exponent.parse::<f64>().ok())
            .filter(|exponent| exponent.is_finite() && *exponent > 0.0)
            .map(Distribution::Zipf)
            .ok_or_else(|| format!("'{text}' is neither 'uniform' nor 'zipf:<s>' with s > 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<Options, String> {
        Options::try_parse_from([&["circlet-bench"], arguments].concat())
            .map_err(|error| error.to_string())
            .and_then(Options::checked)
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        for (arguments, named) in [
            (&["--pipeline", "0"][..], "--pipeline"),
            (&["--keys", "10"], "--keys"),
            (&["--get-ratio", "1.5"], "--get-ratio"),
            (&["--get-ratio", "NaN"], "--get-ratio"),
            (&["--value-size", "47"], "--value-size"),
            (&["--rate", "0"], "--rate"),
            (&["--duration", "inf"], "--duration"),
            (&["--distribution", "zipf:-1"], "zipf"),
            (&["--verify-only"], "--state"),
        ] {
            let problem = check(arguments).expect_err("refused");
            assert!(problem.contains(named), "{arguments:?}: {problem}");
        }
    }

    #[test]
    fn targets_may_be_listed_or_repeated() {
        let options = check(&["--target", "a:1,b:2", "--target", "c:3"]).expect("valid");
        assert_eq!(options.target, ["a:1", "b:2", "c:3"]);
        assert_eq!(options.duration, Some(10.0));
    }
}

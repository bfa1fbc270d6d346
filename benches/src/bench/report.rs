//! What is printed: a line per second, the summary as text or JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::options::Options;
use super::record::{Latencies, Tally};

/// The result of one phase.
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) seconds: f64,
    pub(super) latencies: Latencies,
    pub(super) tally: Tally,
    pub(super) gap_ns: u64,
}

/// The results of all phases.
#[derive(Default)]
pub(super) struct Summary {
    outcomes: Vec<Outcome>,
}

impl Summary {
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Nothing lost, stale or wrong, not more errors than allowed, and at least one command that succeeded.
    pub(super) fn passed(&self, options: &Options) -> bool {
        let bad_reads: u64 = self.outcomes.iter().map(|outcome| outcome.tally.bad_reads()).sum();
        let errors: u64 = self.outcomes.iter().map(|outcome| outcome.tally.errors()).sum();
        let idle = self.outcomes.iter().any(|outcome| outcome.tally.succeeded == 0);
        bad_reads == 0 && errors <= options.allow_errors && !idle
    }

    pub(super) fn print(&self, options: &Options) {
        let passed = self.passed(options);
        for outcome in &self.outcomes {
            line(options, &text(outcome));
        }
        line(options, if passed { "passed" } else { "FAILED" });
        if options.json {
            let phases = self.outcomes.iter().map(PhaseJson::from).collect();
            let json = serde_json::to_string(&SummaryJson { passed, phases });
            println!("{}", json.expect("plain numbers and strings"));
        }
    }
}

/// The line of one second.
pub(super) fn second(options: &Options, second: u32, latencies: &Latencies, errors: u64) {
    line(
        options,
        &format!(
            "{second:4} s {:9} op/s {errors:7} errors   p50 {:8.3}  p99 {:8.3}  max {:8.3} ms",
            latencies.count(),
            millis(latencies.at_quantile_us(0.5)),
            millis(latencies.at_quantile_us(0.99)),
            millis(latencies.max_us()),
        ),
    );
}

/// Text goes to standard output, unless that is for JSON.
fn line(options: &Options, text: &str) {
    if options.json {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}

fn text(outcome: &Outcome) -> String {
    let (tally, latencies) = (&outcome.tally, &outcome.latencies);
    let quantiles: Vec<String> = QUANTILES
        .iter()
        .map(|(name, quantile)| format!("{name} {:.3}", millis(latencies.at_quantile_us(*quantile))))
        .collect();
    let errors: Vec<String> = tally.errors.iter().map(|(code, count)| format!(", {code} {count}")).collect();
    let mut text = format!(
        "{}: {} commands in {:.2} s, {:.0} op/s\n  latency ms: {} max {:.3} mean {:.3}\n  \
         longest gap between two successes: {:.0} ms anywhere, {:.0} ms on one connection\n  \
         reads {}: lost {}, stale {}, wrong {}, missing without fault {}\n  \
         errors {}{}; NOREPLICAS {}; connections made again {}; not started {}",
        outcome.name,
        tally.succeeded,
        outcome.seconds,
        tally.succeeded as f64 / outcome.seconds,
        quantiles.join(" "),
        millis(latencies.max_us()),
        latencies.mean_us() / 1000.0,
        outcome.gap_ns as f64 / 1e6,
        tally.connection_gap_ns as f64 / 1e6,
        tally.reads,
        tally.lost,
        tally.stale,
        tally.wrong,
        tally.misses,
        tally.errors(),
        errors.concat(),
        tally.noreplicas,
        tally.moved,
        tally.not_started,
    );
    for example in &tally.examples {
        text.push_str("\n  e.g. ");
        text.push_str(example);
    }
    text
}

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    passed: bool,
    phases: Vec<PhaseJson<'a>>,
}

#[derive(Serialize)]
struct PhaseJson<'a> {
    name: &'a str,
    seconds: f64,
    commands: u64,
    commands_per_second: f64,
    latency_us: BTreeMap<&'static str, u64>,
    gap_ms: f64,
    connection_gap_ms: f64,
    reads: u64,
    misses: u64,
    lost: u64,
    stale: u64,
    wrong: u64,
    errors: u64,
    errors_by_code: &'a BTreeMap<String, u64>,
    noreplicas: u64,
    reconnects: u64,
    not_started: u64,
    examples: &'a [String],
}

impl<'a> From<&'a Outcome> for PhaseJson<'a> {
    fn from(outcome: &'a Outcome) -> PhaseJson<'a> {
        let (tally, latencies) = (&outcome.tally, &outcome.latencies);
        let quantiles = QUANTILES.iter().map(|(name, quantile)| (*name, latencies.at_quantile_us(*quantile)));
        PhaseJson {
            name: &outcome.name,
            seconds: outcome.seconds,
            commands: tally.succeeded,
            commands_per_second: tally.succeeded as f64 / outcome.seconds,
            latency_us: quantiles.chain([("max", latencies.max_us())]).collect(),
            gap_ms: outcome.gap_ns as f64 / 1e6,
            connection_gap_ms: tally.connection_gap_ns as f64 / 1e6,
            reads: tally.reads,
            misses: tally.misses,
            lost: tally.lost,
            stale: tally.stale,
            wrong: tally.wrong,
            errors: tally.errors(),
            errors_by_code: &tally.errors,
            noreplicas: tally.noreplicas,
            reconnects: tally.moved,
            not_started: tally.not_started,
            examples: &tally.examples,
        }
    }
}

//! Runs many histories of the simulator and says what broke.
//!
//! ```text
//! circlet-sim --histories 100000          the rules as they are: 0 violations expected
//! circlet-sim --mutations                 each rule put out of force: how many seeds until it is noticed
//! circlet-sim --trace 4711                one history, line by line
//! circlet-sim --histories 1000000 --results sim.jsonl
//!                                         the same as the first, a chunk at a time: each leaves a line in the file, and
//!                                         what is in it for this code is not run again
//! ```

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use circlet_tests::{
    results::Results,
    sim::{Counts, Mutation, Run, World},
};
use clap::Parser;
use serde_json::{Map, Value, json};

/// Runs many histories of the simulator and says what broke.
#[derive(Parser, Clone, Debug)]
struct Arguments {
    /// How many histories to run.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Append the result of each chunk to this file, and leave out what is there for this code. With `--mutations` that of
    /// each rule.
    #[arg(long)]
    results: Option<PathBuf>,
    /// With `--results`: how many histories in a chunk.
    #[arg(long, default_value_t = 50_000)]
    chunk: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Put each rule out of force in turn and look for the first seed that notices.
    #[arg(long)]
    mutations: bool,
    /// Run this seed alone and print what happens.
    #[arg(long)]
    trace: Option<u64>,
    /// With `--trace`: put the rule of this name out of force.
    #[arg(long)]
    mutation: Option<String>,
}

/// How these results are called in the file.
const KIND: &str = "simulator";

#[derive(Default)]
struct Tally {
    histories: u64,
    counts: Counts,
    /// Per invariant: the seeds that violated it, with what was seen.
    violations: BTreeMap<&'static str, Vec<(u64, String)>>,
}

impl Tally {
    fn add(&mut self, run: &Run) {
        self.histories += 1;
        self.counts += run.counts;
        if let Some(violation) = &run.violation {
            let of_it = self.violations.entry(violation.invariant).or_default();
            of_it.push((run.seed, violation.seen.clone()));
        }
    }

    fn merge(&mut self, other: Tally) {
        self.histories += other.histories;
        self.counts += other.counts;
        for (invariant, seeds) in other.violations {
            let all = self.violations.entry(invariant).or_default();
            all.extend(seeds);
            all.sort_unstable();
        }
    }

    /// The result of a chunk.
    fn line(&self, first: u64, elapsed: Duration) -> Value {
        let counts: Map<_, _> = self.counts.named().map(|(what, count)| (what.to_owned(), count.into())).collect();
        let violations = self.violations.iter().flat_map(|(invariant, seeds)| {
            seeds.iter().map(move |(seed, seen)| {
                let see = format!("circlet-sim --trace {seed}");
                json!({ "seed": seed, "invariant": invariant, "seen": seen, "see": see })
            })
        });
        json!({
            "first": first,
            "histories": self.histories,
            "seconds": elapsed.as_secs(),
            "counts": counts,
            "violations": violations.collect::<Vec<_>>(),
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.trace {
        return trace(seed, arguments.mutation.as_deref());
    }
    if arguments.mutations {
        return mutations(&arguments);
    }
    if let Some(path) = &arguments.results {
        return match run_chunks(&arguments, path) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                ExitCode::FAILURE
            }
        };
    }
    let started = Instant::now();
    let tally = run_many(&arguments, None);
    report(&arguments, &tally, started.elapsed());
    if tally.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_many(arguments: &Arguments, mutation: Option<Mutation>) -> Tally {
    let workers: Vec<_> = (0..arguments.threads)
        .map(|worker| {
            let arguments = arguments.clone();
            thread::spawn(move || {
                let mut tally = Tally::default();
                let seeds = arguments.first..arguments.first + arguments.histories;
                for seed in seeds.skip(worker as usize).step_by(arguments.threads as usize) {
                    tally.add(&World::run(seed, mutation, false));
                }
                tally
            })
        })
        .collect();
    let mut total = Tally::default();
    for worker in workers {
        total.merge(worker.join().expect("a worker of the simulator does not panic"));
    }
    total
}

/// Runs the chunks that have no result yet; how many histories of all violated something.
fn run_chunks(arguments: &Arguments, path: &Path) -> io::Result<usize> {
    let mut results = Results::open(path)?;
    println!("the code is {}", results.tree());
    let end = arguments.first + arguments.histories;
    for first in (arguments.first..end).step_by(arguments.chunk.max(1) as usize) {
        let histories = arguments.chunk.clamp(1, end - first);
        let is_known = |line: &Value| line["first"] == first && line["histories"] == histories;
        if results.of_kind(KIND).any(is_known) {
            continue;
        }
        let started = Instant::now();
        let tally = run_many(&Arguments { first, histories, ..arguments.clone() }, None);
        results.append(KIND, tally.line(first, started.elapsed()))?;
    }
    let all = |name: &str| results.of_kind(KIND).filter_map(|line| line[name].as_u64()).sum::<u64>();
    let violations: Vec<_> = results.of_kind(KIND).filter_map(|line| line["violations"].as_array()).flatten().collect();
    println!("{} histories in all, {} violations", all("histories"), violations.len());
    violations.iter().for_each(|violation| println!("  {violation}"));
    Ok(violations.len())
}

fn report(arguments: &Arguments, tally: &Tally, elapsed: Duration) {
    let per_minute_and_core = tally.histories as f64 / elapsed.as_secs_f64() * 60.0 / arguments.threads as f64;
    println!("{} histories: {}; {per_minute_and_core:.0} histories per minute and core", tally.histories, tally.counts);
    println!("violations: {}", tally.violations.values().map(Vec::len).sum::<usize>());
    for (invariant, seeds) in &tally.violations {
        let first: Vec<_> = seeds.iter().take(8).map(|(seed, _)| seed).collect();
        println!("  {invariant}: {}; see it with `circlet-sim --trace SEED`: {first:?}", seeds.len());
    }
}

/// Prints a table in Markdown, and a line that sums it up.
fn mutations(arguments: &Arguments) -> ExitCode {
    let all = Mutation::all();
    let mut escaped = 0;
    println!("| rule put out of force | seeds until noticed | noticed by |");
    println!("|---|---:|---|");
    let mut results = match arguments.results.as_deref().map(Results::open).transpose() {
        Ok(results) => results,
        Err(error) => {
            eprintln!("the results: {error}");
            return ExitCode::FAILURE;
        }
    };
    for &(name, mutation) in &all {
        let seeds = arguments.first..arguments.first + arguments.histories;
        let found = seeds.enumerate().find_map(|(nth, seed)| {
            let run = World::run(seed, Some(mutation), false);
            run.violation.map(|violation| (nth + 1, seed, violation.invariant))
        });
        match found {
            Some((seeds, _, invariant)) => println!("| {name} | {seeds} | {invariant} |"),
            None => {
                escaped += 1;
                println!("| {name} | not in {} | |", arguments.histories);
            }
        }
        let see = found.map(|(_, seed, _)| format!("circlet-sim --trace {seed} --mutation '{name}'"));
        let line = json!({
            "rule": name,
            "first": arguments.first,
            "seeds": found.map(|(seeds, ..)| seeds),
            "invariant": found.map(|(.., invariant)| invariant),
            "see": see,
        });
        if let Some(Err(error)) = results.as_mut().map(|results| results.append("mutation", line)) {
            eprintln!("the results: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!("\n{} of {} rules are missed when they are out of force", all.len() - escaped, all.len());
    if escaped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn trace(seed: u64, name: Option<&str>) -> ExitCode {
    let mutation = match name {
        None => None,
        Some(name) => match Mutation::all().into_iter().find(|(known, _)| *known == name) {
            Some((_, mutation)) => Some(mutation),
            None => {
                eprintln!("no rule is called {name:?}");
                return ExitCode::from(2);
            }
        },
    };
    let run = World::run(seed, mutation, true);
    run.trace.iter().for_each(|line| println!("{line}"));
    match run.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("violated: {violation}");
            ExitCode::FAILURE
        }
    }
}

//! Runs many histories of the simulator and says what broke.
//!
//! ```text
//! circlet-sim --histories 100000          the rules as they are: 0 violations expected
//! circlet-sim --mutations                 each rule put out of force: how many seeds until it is noticed
//! circlet-sim --trace 4711                one history, line by line
//! ```

use std::{
    collections::BTreeMap,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use circlet_tests::sim::{Counts, Mutation, Run, World};
use clap::Parser;

/// Runs many histories of the simulator and says what broke.
#[derive(Parser, Clone, Debug)]
struct Arguments {
    /// How many histories to run.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
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

#[derive(Default)]
struct Tally {
    histories: u64,
    counts: Counts,
    /// Per invariant: the seeds that violated it.
    violations: BTreeMap<&'static str, Vec<u64>>,
}

impl Tally {
    fn add(&mut self, run: &Run) {
        self.histories += 1;
        self.counts += run.counts;
        if let Some(violation) = &run.violation {
            self.violations.entry(violation.invariant).or_default().push(run.seed);
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.trace {
        return trace(seed, arguments.mutation.as_deref());
    }
    if arguments.mutations {
        return mutations(&arguments);
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

fn report(arguments: &Arguments, tally: &Tally, elapsed: Duration) {
    let per_minute_and_core = tally.histories as f64 / elapsed.as_secs_f64() * 60.0 / arguments.threads as f64;
    println!("{} histories: {}; {per_minute_and_core:.0} histories per minute and core", tally.histories, tally.counts);
    println!("violations: {}", tally.violations.values().map(Vec::len).sum::<usize>());
    for (invariant, seeds) in &tally.violations {
        let first = &seeds[..seeds.len().min(8)];
        println!("  {invariant}: {}; see it with `circlet-sim --trace SEED`: {first:?}", seeds.len());
    }
}

/// Prints a table in Markdown, and a line that sums it up.
fn mutations(arguments: &Arguments) -> ExitCode {
    let all = Mutation::all();
    let mut escaped = 0;
    println!("| rule put out of force | seeds until noticed | noticed by |");
    println!("|---|---:|---|");
    for &(name, mutation) in &all {
        let seeds = arguments.first..arguments.first + arguments.histories;
        let found = seeds.enumerate().find_map(|(nth, seed)| {
            let run = World::run(seed, Some(mutation), false);
            run.violation.map(|violation| (nth + 1, violation.invariant))
        });
        match found {
            Some((seeds, invariant)) => println!("| {name} | {seeds} | {invariant} |"),
            None => {
                escaped += 1;
                println!("| {name} | not in {} | |", arguments.histories);
            }
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

//! Real faults on real nodes, in network namespaces: what clients saw, what was lost, how long it took.
//!
//! ```text
//! tests/chaos.sh                                     each fault once, on three nodes
//! tests/chaos.sh --fault kill --repeat 20 --acks 2   one fault, twenty times
//! ```
//!
//! It has to run as root in a network namespace of its own, which `tests/chaos.sh` makes.

use std::{path::PathBuf, process::ExitCode};

use circlet_tests::{
    chaos::{Fault, Outcome, Partition, Setup, run, table},
    results::Results,
};
use clap::{Parser, ValueEnum};

/// Real faults on real nodes.
#[derive(Parser)]
struct Arguments {
    /// The program that is a node.
    #[arg(long, env = "CIRCLET_BINARY")]
    binary: PathBuf,
    /// Which faults; all unless given.
    #[arg(long, value_delimiter = ',')]
    fault: Vec<Fault>,
    /// How often each.
    #[arg(long, default_value_t = 1)]
    repeat: u64,
    /// Nodes at the beginning.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=9))]
    nodes: u64,
    /// Copies of each slot.
    #[arg(long, default_value_t = 2)]
    replicas: usize,
    /// Copies that a write waits for.
    #[arg(long, default_value_t = 1)]
    acks: usize,
    /// What nodes do when they are split.
    #[arg(long, value_enum, default_value_t = Partition::Available)]
    partition: Partition,
    /// Keys that lie there and are not written any more.
    #[arg(long, default_value_t = 20_000)]
    lying: usize,
    /// Clients that write and read.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// What the clients of the first run do follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The history of the last run goes here, as JSON lines.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Each run adds a line of JSON to this file.
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    match try_main(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn try_main(arguments: &Arguments) -> Result<bool, String> {
    let faults: &[Fault] = if arguments.fault.is_empty() { Fault::value_variants() } else { &arguments.fault };
    let wrong = |path: &PathBuf, error: std::io::Error| format!("{}: {error}", path.display());
    let mut results = match &arguments.results {
        Some(path) => Some((path, Results::open(path).map_err(|error| wrong(path, error))?)),
        None => None,
    };
    let mut runs: Vec<(String, String, String, Outcome)> = Vec::new();
    for (number, &fault) in (0..arguments.repeat).flat_map(|_| faults).enumerate() {
        let setup = Setup {
            binary: arguments.binary.clone(),
            nodes: arguments.nodes as usize,
            replicas: arguments.replicas,
            acks: arguments.acks,
            partition: arguments.partition,
            lying: arguments.lying,
            clients: arguments.clients,
            seed: arguments.seed + number as u64,
            history: arguments.history.clone(),
        };
        let outcome = run(&setup, fault)?;
        let (name, partition) = (fault.name(), arguments.partition.name());
        println!("{name}: {}", if outcome.is_clean() { "held" } else { "FAILED" });
        outcome.said.iter().for_each(|(text, count)| println!("    {count} × {text}"));
        outcome.findings.problems.iter().for_each(|problem| println!("    {problem}"));
        if let Some((path, results)) = &mut results {
            let mut line = outcome.json();
            line["fault"] = name.as_str().into();
            line["seed"] = setup.seed.into();
            line["nodes"] = setup.nodes.into();
            line["replicas"] = setup.replicas.into();
            line["acks"] = setup.acks.into();
            line["partition"] = partition.into();
            results.append("chaos", line).map_err(|error| wrong(path, error))?;
        }
        let shape = format!("{}/{}/{}", setup.nodes, setup.replicas, setup.acks);
        runs.push((name, shape, partition.to_owned(), outcome));
    }
    println!("{}", table(&runs));
    let held = runs.iter().filter(|(.., outcome)| outcome.is_clean()).count();
    println!("{held} passed, {} failed", runs.len() - held);
    Ok(held == runs.len())
}

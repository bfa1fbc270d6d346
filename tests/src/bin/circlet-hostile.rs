//! What nobody should do to a server, done to real nodes: `circlet-hostile traffic` and `circlet-hostile memory`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use circlet_tests::hostile::{memory, traffic};
use clap::{Parser, Subcommand};

/// Hostile clients and peers.
#[derive(Parser)]
struct Arguments {
    /// The program that is a node.
    #[arg(long, env = "CIRCLET_BINARY")]
    binary: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Mutated valid traffic against every port of a running cluster.
    Traffic {
        /// For how long.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// What all of it follows from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Clients and peers that make a node hold as much as it will.
    Memory {
        /// How long a peer stays away under writes.
        #[arg(long, default_value_t = 300)]
        away_seconds: u64,
    },
}

fn main() -> ExitCode {
    let Arguments { binary, what } = Arguments::parse();
    let held = match what {
        What::Traffic { seconds, seed } => traffic::run(&binary, Duration::from_secs(seconds), seed),
        What::Memory { away_seconds } => memory::run(&binary, Duration::from_secs(away_seconds)),
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

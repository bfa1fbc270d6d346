//! The differential run: the same random commands to circlet and to Valkey, and their replies compared.
//!
//! ```text
//! tests/differential.sh                                       one node, then three, a million commands in all
//! circlet-differential --valkey VALKEY-SERVER --seed 7        one run; CIRCLET is the circlet beside it
//!     --nodes 3 --commands 100000                             through changing nodes
//!     --families strings,keys                                 only these
//!     --skip-unknown                                          leave out what circlet does not know yet, and count it
//!     --databases 1                                           commands only in so many databases
//!     --self-test                                             a second Valkey in the place of circlet: nothing may differ
//!     --report FILE                                           all counts and examples, in Markdown
//! ```
//!
//! Exit codes: 0 no difference, 1 a difference, 2 wrong arguments or a server that does not start. The commands follow
//! from the seed alone (and, where a payload of `DUMP` is restored, from the replies), so that a run can be repeated.
//!
//! A run is a sequence of batches. A batch goes to a random node and to Valkey at the same time, each on one
//! connection, and its replies are awaited before the next batch is sent; so both servers see the same commands in the
//! same order although several connections, of both versions of the protocol, are open to every node. Commands that
//! change the connection stay on one of their own. Replies are compared as they are on the wire; where they may differ
//! `differences` says so, and counts how often each rule was applied.
//!
//! There are few keys and values (`keyspace`), one command of eight is damaged (`damage`), and nothing depends on
//! clocks (`times`): deadlines are far away or past. After a difference both servers are emptied; until then replies
//! that it may have changed are not compared (`taint`).

mod command;
mod damage;
mod differences;
mod engine;
mod generate;
mod judge;
mod keyspace;
mod link;
mod payload;
mod reply;
mod servers;
mod slots;
mod structure;
mod taint;
mod tally;
#[cfg(test)]
mod tests;
mod times;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};

pub use command::Family;
use engine::Engine;
use servers::{Rival, Valkey};

/// Sends the same random commands to circlet and to Valkey and compares their replies.
#[derive(Parser, Clone, Debug)]
pub struct Options {
    /// The reference: the program `valkey-server`.
    #[arg(long)]
    pub valkey: PathBuf,
    /// The program `circlet`; without it, the one beside this program.
    #[arg(long)]
    pub circlet: Option<PathBuf>,
    /// From which all commands follow.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many commands, at least.
    #[arg(long, default_value_t = 100_000)]
    pub commands: u64,
    /// Nodes of circlet: one with one copy of everything, or three with two.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub nodes: u8,
    /// Only these families of commands.
    #[arg(long, value_delimiter = ',')]
    pub families: Vec<Family>,
    /// In how many databases.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub databases: u32,
    /// Leave out commands that circlet does not know, and count them.
    #[arg(long)]
    pub skip_unknown: bool,
    /// A second Valkey in the place of circlet: whatever differs then is a mistake of the run itself.
    #[arg(long)]
    pub self_test: bool,
    /// Where to write everything that was counted.
    #[arg(long)]
    pub report: Option<PathBuf>,
}

impl Options {
    /// The families of the run.
    fn families(&self) -> Vec<Family> {
        if self.families.is_empty() { Family::value_variants().to_vec() } else { self.families.clone() }
    }

    /// The program circlet.
    fn circlet(&self) -> Result<PathBuf, String> {
        match &self.circlet {
            Some(path) => Ok(path.clone()),
            None => Ok(std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("circlet")),
        }
    }
}

/// Runs, prints what was found, and gives the exit code.
pub fn run(options: &Options) -> ExitCode {
    match run_or_fail(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("circlet-differential: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run_or_fail(options: &Options) -> Result<bool, String> {
    let started = Instant::now();
    let mut valkey = Valkey::start(&options.valkey, options.databases)?;
    let mut rival = Rival::start(options)?;
    let nodes = rival.addresses();
    let mut engine = Engine::connect(options, &nodes, valkey.address).map_err(|error| error.to_string())?;
    let result = engine.run(options.commands);
    let tally = &mut engine.tally;
    if let Err(error) = &result {
        let running = rival.running();
        let details =
            format!("{error}; Valkey runs: {}; {running} of {} nodes run\n", valkey.is_running(), nodes.len());
        tally.trouble("a connection failed", "–", details);
    }
    let head = format!("seed {}, {} node(s): {}", options.seed, options.nodes, tally.summary());
    let text = format!("{head}\n{}{}", tally.rules(), tally.complaints());
    println!("{text}\n{:.0} s; {head}", started.elapsed().as_secs_f64());
    if let Some(path) = &options.report {
        let report = format!("# Differential run\n\n{text}{}", tally.coverage());
        std::fs::write(path, report).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(tally.is_clean())
}

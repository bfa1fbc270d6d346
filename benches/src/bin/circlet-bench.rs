//! The load generator: `circlet-bench --help`, and [`circlet_benches::bench`] for what it measures and how.

use std::process::ExitCode;

fn main() -> ExitCode {
    circlet_benches::bench::run_cli()
}

//! The load generator once more: building the tests of this package builds what they drive.

use std::process::ExitCode;

fn main() -> ExitCode {
    circlet_benches::bench::run_cli()
}

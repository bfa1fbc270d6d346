//! Sends the same random commands to circlet and to Valkey and compares their replies; see
//! [`circlet_tests::differential`].

use std::process::ExitCode;

use circlet_tests::differential::{Options, run};
use clap::Parser;

fn main() -> ExitCode {
    run(&Options::parse())
}

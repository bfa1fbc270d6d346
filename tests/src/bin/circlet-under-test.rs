//! The binary `circlet` once more: building the tests of this package builds the node that they start.

use std::process::ExitCode;

/// The allocator of the real one, so that what is tested is what is shipped.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let seed = getrandom::u64().expect("the operating system gives random numbers");
    server::start::run(std::env::args_os(), seed)
}

//! The binary `circlet`.

use std::{env, io::Write, process::ExitCode};

/// A cache lives for weeks on small allocations of all sizes. jemalloc keeps fragmentation steady and counts its bytes.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // The only seed that is made; everything random follows from it.
    match getrandom::u64() {
        Ok(seed) => server::start::run(env::args_os(), seed),
        Err(error) => {
            // Nothing is left to do if standard error is closed.
            let _ = writeln!(std::io::stderr(), "the operating system gives no random numbers: {error}");
            ExitCode::FAILURE
        }
    }
}

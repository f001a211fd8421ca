//! The command `merkql-sim`.

use std::process::ExitCode;

/// A seed is mostly small allocations, on a thread of its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    merkql_sim::cli::main()
}

//! The command `merkql-sim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    merkql_sim::cli::main()
}

//! The command `merkql-jepsen`: judges histories of event logs, converts them, and explains anomalies.

mod args;
mod check;
mod convert;
mod explain;
mod input;
mod report;

use std::io;
use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser;
use merkql_jepsen::notation::ReadError;

/// The history has an anomaly.
const ANOMALIES: u8 = 1;
/// The history can't be read, it has nothing to judge, or what was asked for can't be done.
const UNREADABLE: u8 = 2;

/// Why the command can't do what was asked.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{path}: {error}")]
    Read { path: String, error: ReadError },
    #[error("{path}: nothing to judge: {lacking}")]
    Nothing { path: String, lacking: String },
    #[error("{path}: {error}")]
    Write { path: String, error: io::Error },
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Convert(args) => convert::run(&args).map(|()| true),
        Command::Explain(args) => explain::run(&args).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(ANOMALIES),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("merkql-jepsen: {error}");
            ExitCode::from(UNREADABLE)
        }
    }
}

/// Whoever read the output has had enough of it, as `head` does.
fn is_closed_pipe(error: &CommandError) -> bool {
    matches!(error, CommandError::Write { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
}

//! The command `merkql`: looks after logs from outside.

#[path = "merkql/output.rs"]
mod output;
#[path = "merkql/repair.rs"]
mod repair;
#[path = "merkql/verify.rs"]
mod verify;

use clap::{Parser, Subcommand};
use merkql::broker::BrokerConfig;
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks after logs of merkql: the directories in which a broker keeps `.merkql`.
#[derive(Debug, Parser)]
#[command(name = "merkql", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(verify::Verify),
    Repair(repair::Repair),
}

/// Which log.
#[derive(Debug, Clone, clap::Args)]
struct Dir {
    /// The log's directory: the one that a broker is opened with, which holds `.merkql`.
    #[arg(long, env = "MERKQL_DIR", value_name = "DIR")]
    dir: PathBuf,
}

impl Dir {
    /// The log's own limits are its user's, and unknown here: nothing that the log
    /// remembers is forgotten for one that is smaller.
    fn config(&self) -> BrokerConfig {
        BrokerConfig { max_producers: usize::MAX, ..BrokerConfig::new(&self.dir) }
    }

    /// What went wrong, with what may be meant.
    fn explain(&self, error: &merkql::Error) -> String {
        let is_inside = self.dir.file_name().is_some_and(|name| name == ".merkql");
        match error {
            merkql::Error::NotALog { .. } if is_inside => {
                let outer = self.dir.parent().unwrap_or(&self.dir);
                format!("{error} (the directory above it is meant: --dir {})", outer.display())
            }
            error => error.to_string(),
        }
    }
}

/// How a command ends; scripts rely on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Nothing is wrong.
    Clean,
    /// Something is wrong, and was told.
    Findings,
    /// Nothing can be said: no log, in use, or the file system refuses.
    Unreadable,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Clean => 0,
            Status::Findings => 1,
            Status::Unreadable => 2,
        })
    }
}

fn main() -> ExitCode {
    let status = match Cli::parse().command {
        Command::Verify(verify) => verify.run(),
        Command::Repair(repair) => repair.run(),
    };
    status.into()
}

//! The command line: one file a subcommand, and what they share.
//!
//! Every subcommand takes `--json FILE|-`, which is written on failure too; with
//! `-` the result goes to standard output and everything for people to standard
//! error. Exit status: 0 clean, 1 an anomaly or a harness that tested nothing,
//! 2 wrong usage.

mod canaries;
mod drawing;
mod exhaust;
mod faults;
mod hostile;
mod output;
mod real;
mod replay;
mod run;
mod scenario;
mod shrink;
mod story;

use clap::{Args, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// What a subcommand comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Everything is as it should be.
    Clean,
    /// An anomaly was found, or nothing was tested.
    Anomaly,
    /// The arguments make no sense, or a file cannot be read or written.
    Usage,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Clean => Self::SUCCESS,
            Status::Anomaly => Self::from(1),
            Status::Usage => Self::from(2),
        }
    }
}

/// Breaks merkql on purpose: runs it on a simulated disk that lies and dies on
/// command, and lets the checkers judge what its clients saw.
#[derive(Debug, Parser)]
#[command(name = "merkql-sim", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  merkql-sim                            the default campaign
  merkql-sim run --seeds 10000          a longer one
  merkql-sim replay 17 --trace ops      what happened in seed 17, step by step
  merkql-sim real --kills 300           processes killed on the real file system
  merkql-sim hostile                    directories changed by somebody who means harm
  merkql-sim faults                     what can go wrong

Exit status: 0 clean, 1 an anomaly or a harness that tested nothing, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds on all cores, and sums up what happened in them.
    Run(run::Args),
    /// Carries out scenarios from files, and compares what came of each with what it expects.
    Scenario(scenario::Args),
    /// Makes a failing seed a scenario, and that as small as it still fails.
    Shrink(shrink::Args),
    /// Crashes a short scenario at every operation, with everything that may survive.
    Exhaust(exhaust::Args),
    /// Changes whole directories as somebody would who means harm, and sees what opening, reading and proving make of it.
    Hostile(hostile::Args),
    /// Plants bugs, and sees that the checkers meant for them catch them.
    Canaries(canaries::Args),
    /// Kills processes that have the log open on a real file system, and judges what they saw.
    Real(real::Args),
    /// A process that `real` starts.
    #[command(hide = true)]
    RealChild,
    /// Runs one seed again, and tells what happened step by step.
    Replay(replay::Args),
    /// Lists the faults that the simulator knows, with their classes and meanings.
    Faults(faults::Args),
}

/// Carries out what the arguments of the process ask for.
pub fn main() -> ExitCode {
    let command = match command() {
        Ok(command) => command,
        Err(error) => {
            // Help and version are no mistake, and go to standard output.
            let status = if error.use_stderr() { Status::Usage } else { Status::Clean };
            return match error.print() {
                Ok(()) => status.into(),
                Err(_) => Status::Usage.into(),
            };
        }
    };
    let status = match command {
        Command::Run(args) => run::run(&args),
        Command::Scenario(args) => scenario::run(&args),
        Command::Shrink(args) => shrink::run(&args),
        Command::Exhaust(args) => exhaust::run(&args),
        Command::Hostile(args) => hostile::run(&args),
        Command::Canaries(args) => canaries::run(&args),
        Command::Real(args) => real::run(&args),
        Command::RealChild => real::child(),
        Command::Replay(args) => replay::run(&args),
        Command::Faults(args) => faults::run(&args),
    };
    status.into()
}

/// The subcommand of the process's arguments; the default campaign without any.
fn command() -> Result<Command, clap::Error> {
    if let Some(command) = Cli::try_parse()?.command {
        return Ok(command);
    }
    let matches =
        run::Args::augment_args(clap::Command::new("run")).try_get_matches_from(["run"])?;
    Ok(Command::Run(run::Args::from_arg_matches(&matches)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_contradict_nothing() {
        Cli::command().debug_assert();
    }
}

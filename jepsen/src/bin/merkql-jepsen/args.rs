//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use merkql_jepsen::Name;
use merkql_jepsen::notation::Format;

/// Judges histories of event logs.
#[derive(Debug, Parser)]
#[command(version, about, long_about = LONG_ABOUT, after_long_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const LONG_ABOUT: &str = "\
Judges histories of event logs: logs of records in partitions, as Kafka and merkql have them.

A history says who did what, when, and how it ended. This command finds the anomalies in it: all that Jepsen's Kafka
workload knows, with its meaning, and those of logs that prove their records. Each comes with a sentence that says what
happened and with the operations that prove it.";

/// The example's verdict is a file of its own, so that a test can hold it against what the command says.
const AFTER_HELP: &str = concat!(
    "A history of ten lines:\n\n",
    include_str!("example.jsonl"),
    "\nIts verdict, with exit status 1:\n\n",
    include_str!("example-verdict.txt"),
    "\n",
    include_str!("help.txt")
);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge a history: exit status 0 if it has no anomaly, 1 if it has any, 2 if it can't be read or has nothing to judge
    Check(CheckArgs),
    /// Write a history in the other notation
    Convert(ConvertArgs),
    /// Say what an anomaly is, with an example; without a name, list all of them
    Explain(ExplainArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    /// The history; `-` reads standard input
    pub(crate) file: String,
    /// The history's notation [default: by the file's extension, else by its content]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatArg>,
    /// Judge only these anomalies, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) only: Vec<Name>,
    /// Write the verdict as JSON to a file, or with `-` to standard output in place of the report
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConvertArgs {
    /// The history; `-` reads standard input
    pub(crate) file: String,
    /// The history's notation [default: by the file's extension, else by its content]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatArg>,
    /// The notation to write [default: the other one]
    #[arg(long, value_enum)]
    pub(crate) to: Option<FormatArg>,
    /// Where to write it [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// The anomaly's name
    pub(crate) name: Option<Name>,
}

/// A notation, as the command line names it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FormatArg {
    /// Extensible data notation, as Jepsen writes it
    Edn,
    /// One JSON object a line
    Jsonl,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Edn => Self::Edn,
            FormatArg::Jsonl => Self::JsonLines,
        }
    }
}

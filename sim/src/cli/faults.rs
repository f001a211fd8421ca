//! `merkql-sim faults`: the catalogue.

use super::Status;
use super::output::Output;
use crate::fault::{Class, FaultKind};
use serde::Serialize;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  merkql-sim faults              the catalogue, as a table
  merkql-sim faults --json -     the same for programs

Class R: recoverable, nothing acknowledged is lost, and recovery needs no help.
Class D: to be detected, never served wrong and never dropped in silence.";

/// A row of the catalogue.
#[derive(Serialize)]
struct Row {
    code: &'static str,
    name: &'static str,
    class: Class,
    meaning: String,
}

pub(crate) fn run(args: &Args) -> Status {
    let row = |kind: &FaultKind| Row {
        code: kind.code(),
        name: kind.name(),
        class: kind.class(),
        // The catalogue's sentences are wrapped in the code.
        meaning: kind.meaning().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let rows: Vec<Row> = FaultKind::ALL.iter().map(row).collect();
    let cells = rows.iter().map(|row| {
        let class = match row.class {
            Class::R => "recoverable",
            Class::D => "detected",
        };
        [row.code, row.name, class, &row.meaning].map(str::to_owned).to_vec()
    });
    args.output.table(&["", "fault", "class", "meaning"], &cells.collect::<Vec<_>>());
    args.output.end(&rows, Status::Clean)
}

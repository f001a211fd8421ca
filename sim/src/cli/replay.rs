//! `merkql-sim replay`: one seed again, told step by step.

use super::Status;
use super::drawing::Drawing;
use super::output::{Output, usage};
use super::story::{Detail, Story, in_full};
use crate::campaign::silence::quietly;
use crate::canary::Canary;
use crate::generate::scenario;
use crate::scenario::Scenario;
use crate::world::{Manner, Run, execute};
use merkql_jepsen::{Verdict, Witness};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many anomalies of one name are proved, unless all is to be told.
const WITNESSES_MAX: usize = 3;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The seed.
    seed: u64,
    /// Tells also what the clients did (`ops`), what the log did to its files (`io`), or everything.
    #[arg(long, value_enum, value_name = "DETAIL")]
    trace: Option<Detail>,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  merkql-sim replay 17                      its steps, strikes, crashes and anomalies
  merkql-sim replay 17 --trace ops          also what clients did and were told
  merkql-sim replay 17 --trace io           also what the log wrote and synced
  merkql-sim replay 17 --profile strict     as `run --profile strict` has run it

The options that draw the seed must be those of the campaign that found it: it
prints the command.";

/// The result for programs.
#[derive(Serialize)]
struct Json<'r> {
    seed: u64,
    about: &'r str,
    outcome: String,
    trace_hash: String,
    client_ops: u64,
    io_ops: u64,
    crashes: usize,
    recoveries: u64,
    struck: Vec<u32>,
    marks: &'r BTreeMap<&'static str, u64>,
    verdict: &'r Verdict,
}

pub(crate) fn run(args: &Args) -> Status {
    let canary = match args.drawing.canary() {
        Ok(canary) => canary,
        Err(message) => return usage(&message),
    };
    match quietly(|| replayed(args, canary)) {
        Ok((scenario, run, verdict)) => told(args, &scenario, &run, &verdict),
        Err(panic) => {
            args.output.line(format!("seed {} is broken: {panic}", args.seed));
            let result = BTreeMap::from([("broken", panic)]);
            args.output.end(&result, Status::Anomaly)
        }
    }
}

fn replayed(args: &Args, canary: Option<Canary>) -> (Scenario, Run, Verdict) {
    let scenario = scenario(args.seed, &args.drawing.options());
    let run = execute(&scenario, &Manner { keeps_events: true, canary });
    let verdict = run.judge();
    (scenario, run, verdict)
}

fn told(args: &Args, scenario: &Scenario, run: &Run, verdict: &Verdict) -> Status {
    let output = &args.output;
    output.line(&scenario.about);
    Story::new(scenario, run, args.trace).tell(|line| output.line(line));
    let outcome = run.outcome(verdict).to_string();
    output.line("");
    output.line(format!(
        "{outcome}: {} client operations, {} I/O operations, {} crashes, {} recoveries, trace hash {:016x}",
        run.client_ops,
        run.io_ops,
        run.crashes.len(),
        run.recoveries,
        run.trace_hash
    ));
    for (name, witnesses) in &verdict.anomalies {
        let shown = if args.trace == Some(Detail::All) { usize::MAX } else { WITNESSES_MAX };
        for witness in witnesses.iter().take(shown) {
            output.line("");
            output.line(format!("{name}: {}", witness.sentence));
            prove(output, run, witness);
        }
        if witnesses.len() > shown {
            let more = witnesses.len() - shown;
            output.line(format!("  and {more} more: --trace all tells them, too"));
        }
    }
    let json = Json {
        seed: args.seed,
        about: &scenario.about,
        outcome,
        trace_hash: format!("{:016x}", run.trace_hash),
        client_ops: run.client_ops,
        io_ops: run.io_ops,
        crashes: run.crashes.len(),
        recoveries: run.recoveries,
        struck: run.struck.iter().copied().collect(),
        marks: &run.marks,
        verdict,
    };
    output.end(&json, if verdict.is_valid() { Status::Clean } else { Status::Anomaly })
}

/// Prints the operations that prove an anomaly.
fn prove(output: &Output, run: &Run, witness: &Witness) {
    let operations = run.history.operations();
    for operation in witness.operations.iter().filter_map(|at| operations.get(*at)) {
        output.line(format!("  {}", in_full(operation)));
    }
}

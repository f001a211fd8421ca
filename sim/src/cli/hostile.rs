//! `merkql-sim hostile`: directories changed by somebody who knows the formats.

use super::Status;
use super::output::{Output, note, usage};
use crate::campaign::cores;
use crate::hostile::{Case, Hostile, Outcome, Report, Templates};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How many cases there are if nobody says.
const CASES: u64 = 20_000;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How many directories are changed [default: 20000, or as many as the minutes allow].
    #[arg(long, value_name = "N", conflicts_with = "case")]
    cases: Option<u64>,
    /// The seed of the first; the others follow.
    #[arg(long, value_name = "S", default_value_t = 0, conflicts_with = "case")]
    seed: u64,
    /// How many run at a time [default: one for each core].
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// After how many minutes no more of them are begun.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
    /// Runs the case of this seed alone, and tells what happened.
    #[arg(long, value_name = "SEED")]
    case: Option<u64>,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Every case takes a directory that a log has left - closed, killed or cut off from
power -, changes a field, a range, a file or a folder of it, half of the fields with
a checksum that is made right again, opens it, reads and proves everything, appends
to it and opens it again. No panic, no hang, no large allocation, nothing served that
was not written, and nothing gone that is not told.

Examples:
  merkql-sim hostile
  merkql-sim hostile --cases 200000
  merkql-sim hostile --case 4711        one of them again, with its story

Exit status: 0 all is well, 1 a case failed, 2 wrong usage.";

pub(crate) fn run(args: &Args) -> Status {
    if let Err(message) = args.output.probe() {
        return usage(&message);
    }
    match args.case {
        Some(seed) => one(args, seed),
        None => many(args),
    }
}

fn one(args: &Args, seed: u64) -> Status {
    let case = match Templates::make() {
        Ok(templates) => templates.case(seed),
        Err(message) => return broken(args, &message),
    };
    tell_case(args, &case);
    let status = if case.is_failed() { Status::Anomaly } else { Status::Clean };
    args.output.end(&case, status)
}

fn many(args: &Args) -> Status {
    let cases = args.cases.unwrap_or(if args.minutes.is_some() { u64::MAX } else { CASES });
    let hostile = Hostile {
        start: args.seed,
        cases,
        jobs: args.jobs.map_or_else(cores, usize::from),
        time: args.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
    };
    let bar = ProgressBar::new(cases);
    // The template is a constant; a default style would do no harm.
    let shape = "{bar:30} {pos}/{len} cases, {per_sec}, {elapsed} gone, {eta} left, {msg}";
    bar.set_style(ProgressStyle::with_template(shape).unwrap_or(ProgressStyle::default_bar()));
    let report = hostile.run(|report| {
        bar.set_position(report.cases);
        bar.set_message(format!("{} failed", report.failed));
    });
    bar.finish_and_clear();
    match report {
        Ok(report) => tell(args, &report),
        Err(message) => broken(args, &message),
    }
}

fn broken(args: &Args, message: &str) -> Status {
    args.output.line(message);
    args.output.end(&serde_json::json!({ "error": message }), Status::Anomaly)
}

fn tell(args: &Args, report: &Report) -> Status {
    let head: Vec<&str> =
        ["change"].into_iter().chain(Outcome::ALL.iter().map(|outcome| outcome.name())).collect();
    let row = |name: &str, count: &dyn Fn(Outcome) -> u64| {
        let counts = Outcome::ALL.iter().map(|outcome| count(*outcome).to_string());
        [name.to_owned()].into_iter().chain(counts).collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = report
        .outcomes
        .iter()
        .map(|(name, counts)| {
            row(name, &|outcome| counts.get(outcome.name()).copied().unwrap_or_default())
        })
        .collect();
    rows.push(row("all", &|outcome| report.count(outcome)));
    args.output.table(&head, &rows);
    let line = |text: String| args.output.line(text);
    let Report { cases, failed, most_operations, largest_read, seconds, .. } = report;
    let speed = report.cases_per_second();
    line(format!("{cases} cases in {seconds:.0} s, {speed:.0} a second; {failed} failed"));
    line(format!("at most {most_operations} operations a case, {largest_read} bytes read at once"));
    if let Some(memory) = peak_memory() {
        line(format!("{} MiB of memory at most", memory >> 20));
    }
    for case in &report.failures {
        tell_case(args, case);
        let program = std::env::args().next().unwrap_or_else(|| "merkql-sim".to_owned());
        line(format!("  again: {program} hostile --case {}", case.seed));
    }
    if *cases == 0 {
        note("no case was run");
    }
    let is_clean = *failed == 0 && *cases > 0;
    args.output.end(report, if is_clean { Status::Clean } else { Status::Anomaly })
}

fn tell_case(args: &Args, case: &Case) {
    let line = |text: String| args.output.line(text);
    line(format!("case {}, directory {:?}: {}", case.seed, case.template, case.outcome.name()));
    for change in &case.changes {
        line(format!("  changed: {change}"));
    }
    if let Some(error) = &case.error {
        line(format!("  error: {error}"));
    }
    for silent in &case.silent {
        line(format!("  gone: {silent}"));
    }
    for failure in &case.failures {
        line(format!("  FAILED: {failure}"));
    }
}

/// The most memory that this process has had, where the system tells it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

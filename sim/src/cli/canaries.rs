//! `merkql-sim canaries`: plants bugs, and sees that they are caught.

use super::Status;
use super::output::Output;
use crate::campaign::cores;
use crate::canary::{ALL, Canary, Caught, Place, SEEDS_MAX, find, hunt};
use merkql_jepsen::Name;
use serde::Serialize;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    /// Within how many seeds each has to be caught.
    #[arg(long, value_name = "N", default_value_t = SEEDS_MAX)]
    seeds: u64,
    /// Plants this one alone; may be given again.
    #[arg(long, value_name = "NAME", value_parser = parse)]
    only: Vec<Canary>,
    /// How many seeds are run at a time; all cores if it is not said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

fn parse(name: &str) -> Result<Canary, String> {
    find(name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|canary| canary.name()).collect();
        format!("the canaries are {}", names.join(", "))
    })
}

/// A line of the result.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    r#where: Place,
    /// What has to catch it; "this or that" where what a power cut keeps decides.
    expected_by: String,
    caught_by: Option<&'static str>,
    seeds: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    canaries: Vec<Line>,
}

fn names(of: &[Name]) -> Vec<&'static str> {
    of.iter().map(|name| name.as_str()).collect()
}

impl From<&Caught> for Line {
    fn from(caught: &Caught) -> Self {
        Self {
            name: caught.canary.name(),
            r#where: caught.canary.place(),
            expected_by: names(caught.canary.expected_by()).join(" or "),
            caught_by: caught.caught_by.map(Name::as_str),
            seeds: caught.seeds,
        }
    }
}

/// Why a hunt counts as failed, if it does.
fn failure(caught: &Caught) -> Option<String> {
    let name = caught.canary.name();
    if caught.canary.place() == Place::Core && !caught.asked {
        return Some(format!("{name}: the log never came by the place where it is planted"));
    }
    match caught.caught_by {
        None => Some(format!("{name}: not caught within {} seeds", caught.seeds)),
        Some(_) if caught.as_expected() => None,
        Some(_) => {
            let (found, expected) = (names(&caught.anomalies), names(caught.canary.expected_by()));
            Some(format!(
                "{name}: seed {} shows {}, which is not {}",
                caught.seeds - 1,
                found.join(", "),
                expected.join(" or ")
            ))
        }
    }
}

pub(crate) fn run(args: &Args) -> Status {
    let jobs = args.jobs.map_or_else(cores, usize::from);
    let canaries = if args.only.is_empty() { ALL } else { args.only.as_slice() };
    let line = |cells: [&str; 5]| {
        let [name, place, expected, caught, seeds] = cells;
        args.output.line(format!("{name:<30} {place:<7} {expected:<33} {caught:<22} {seeds:>5}"));
    };
    line(["canary", "where", "expected by", "caught by", "seeds"]);
    let mut hunted = Vec::new();
    for canary in canaries {
        let caught = hunt(*canary, args.seeds, jobs);
        line([
            canary.name(),
            &canary.place().to_string(),
            &names(canary.expected_by()).join(" or "),
            caught.caught_by.map_or("-", Name::as_str),
            &caught.seeds.to_string(),
        ]);
        hunted.push(caught);
    }
    let failures: Vec<String> = hunted.iter().filter_map(failure).collect();
    let count = hunted.len();
    args.output.line(format!("{} of {count} canaries caught as expected", count - failures.len()));
    for failure in &failures {
        args.output.line(failure);
    }
    let report = Report { canaries: hunted.iter().map(Line::from).collect() };
    match args.output.write_json(&report) {
        Err(message) => {
            args.output.line(message);
            Status::Usage
        }
        Ok(()) if failures.is_empty() => Status::Clean,
        Ok(()) => Status::Anomaly,
    }
}

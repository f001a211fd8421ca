//! `merkql-sim exhaust`: a short scenario, broken everywhere.

use super::Status;
use super::output::{Output, probe_file, usage};
use crate::exhaust::{Limits, Report, exhaust};
use crate::profile::Profile;
use crate::scenario::Scenario;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Instant;

/// How many failures are shown.
const SHOWN_MAX: usize = 5;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The scenario. Its own strikes stay as they are.
    file: PathBuf,
    /// What power cuts may keep: strict, ext4, posix or hostile [default: as the scenario says].
    #[arg(long, value_name = "NAME")]
    profile: Option<Profile>,
    /// How often each recovery is broken again.
    #[arg(long, value_name = "N", default_value_t = Limits::default().depth)]
    depth: u32,
    /// How many sets of survivors of one crash at most.
    #[arg(long, value_name = "N", default_value_t = Limits::default().survivors)]
    survivors: usize,
    /// How many of a crash inside a recovery.
    #[arg(long, value_name = "N", default_value_t = Limits::default().nested)]
    nested: usize,
    /// Begins with this step, and leaves alone what comes before.
    #[arg(long, value_name = "STEP")]
    from: Option<u32>,
    /// How many threads there are [default: one for each core].
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Where the first scenario goes that fails.
    #[arg(short, long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  merkql-sim exhaust scenarios/short-commit.toml
  merkql-sim exhaust short.toml --profile ext4 --depth 2 --survivors 200
  merkql-sim exhaust short.toml -o failed.toml && merkql-sim shrink failed.toml

Exit status: 0 every state recovered, 1 one failed, 2 wrong usage.";

pub(crate) fn run(args: &Args) -> Status {
    let scenario = match super::scenario::read(&args.file) {
        Ok(scenario) => scenario,
        Err(message) => return usage(&message),
    };
    if let Err(message) = ready(args, &scenario) {
        return usage(&message);
    }
    let limits = Limits {
        survivors: args.survivors,
        nested: args.nested,
        depth: args.depth,
        jobs: args.jobs.map_or_else(crate::campaign::cores, usize::from),
        from: args.from.map(crate::scenario::During::Step),
    };
    let profile = args.profile.unwrap_or(scenario.settings.profile);
    let bar = ProgressBar::new(0);
    // The template is a constant; a default style would do no harm.
    let shape = "{bar:30} {pos}/{len} points, {elapsed} gone, {eta} left, {msg}";
    bar.set_style(ProgressStyle::with_template(shape).unwrap_or(ProgressStyle::default_bar()));
    let began = now();
    let report = exhaust(&scenario, profile, &limits, &|done, of, states| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(format!("{states} states"));
    });
    bar.finish_and_clear();
    match report {
        Ok(report) => {
            let seconds = (now() - began).as_secs_f64();
            args.output.line(format!("{}, {profile} profile:", args.file.display()));
            tell(args, &report, seconds)
        }
        Err(message) => {
            args.output.line(format!("{}: {message}", args.file.display()));
            args.output.end(&serde_json::json!({ "error": message }), Status::Anomaly)
        }
    }
}

/// Sees to it before long work that it makes sense, and that its result can be
/// written. Fails with a message.
fn ready(args: &Args, scenario: &Scenario) -> Result<(), String> {
    if let Some(from) = args.from.filter(|from| scenario.steps.iter().all(|step| step.id != *from))
    {
        return Err(format!("--from {from}: the scenario has no step of this number"));
    }
    args.output.probe()?;
    args.output_file.as_deref().map_or(Ok(()), probe_file)
}

fn tell(args: &Args, report: &Report, seconds: f64) -> Status {
    let Report { points, states, nested_states, cut, alike, failed, failures } = report;
    let line = |text: String| args.output.line(text);
    line(format!("  {points} points to crash at, {states} states, {seconds:.1} s"));
    line(format!("  {nested_states} of them with another crash during recovery"));
    line(format!("  {alike} recoveries were like another, and were not broken again"));
    line(format!("  {cut} sets of survivors were cut off by the limits"));
    line(format!("  {failed} states failed"));
    for failure in failures.iter().take(SHOWN_MAX) {
        for complaint in &failure.complaints {
            line(format!("    {complaint}"));
        }
        for strike in &failure.scenario.strikes {
            line(format!("      with {:?}", strike.what));
            line(format!("      at {:?}", strike.at));
        }
    }
    if let (Some(file), Some(failure)) = (&args.output_file, failures.first()) {
        let text = failure.scenario.to_toml().map_err(|error| error.to_string());
        let written = text
            .and_then(|text| super::shrink::write(file, &text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            return usage(&format!("cannot write {}: {error}", file.display()));
        }
    }
    args.output.end(report, if *failed == 0 { Status::Clean } else { Status::Anomaly })
}

fn now() -> Instant {
    Instant::now()
}

//! `merkql-sim shrink`: a failing seed becomes a small scenario.

use super::Status;
use super::drawing::Drawing;
use super::output::{Output, probe_file, usage};
use crate::generate;
use crate::scenario::Scenario;
use crate::shrink::{Limits, Shrunk, Size, shrink_anomaly};
use crate::world::Manner;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The seed; or a file with a scenario that fails.
    #[arg(value_name = "SEED|FILE")]
    from: String,
    /// Where the small scenario goes; standard output if it is not said.
    #[arg(short, long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Gives up after so many candidates, with the smallest so far.
    #[arg(long, value_name = "N", default_value_t = Limits::default().attempts)]
    attempts: u64,
    /// Gives up after so many seconds, with the smallest so far.
    #[arg(long, value_name = "S", default_value_t = Limits::default().time.as_secs())]
    seconds: u64,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  merkql-sim shrink 17                         prints the small scenario
  merkql-sim shrink 17 -o scenarios/lost.toml  keeps it
  merkql-sim shrink lost.toml --seconds 600    tries harder

Exit status: 0 the result was carried out and fails as the original did, 1 there is
nothing to shrink, 2 wrong usage.";

/// The result for programs.
#[derive(Serialize)]
struct Json<'a> {
    attempts: u64,
    is_done: bool,
    before: Size,
    after: Size,
    anomalies: &'a [String],
    scenario: &'a str,
}

pub(crate) fn run(args: &Args) -> Status {
    let original = match args.from.parse() {
        Ok(seed) => Ok(generate::scenario(seed, &args.drawing.options())),
        Err(_) => super::scenario::read(Path::new(&args.from)),
    };
    let (original, canary) = match (original, args.drawing.canary()) {
        (Ok(original), Ok(canary)) => (original, canary),
        (Err(message), _) | (_, Err(message)) => return usage(&message),
    };
    let target = args.output_file.as_deref().map_or(Ok(()), probe_file);
    if let Err(message) = args.output.probe().and(target) {
        return usage(&message);
    }
    let manner = Manner { canary, ..Manner::default() };
    let limits = Limits { attempts: args.attempts, time: Duration::from_secs(args.seconds) };
    let bar = ProgressBar::new_spinner();
    // The template is a constant; a default style would do no harm.
    let shape = "{spinner} {elapsed} {msg}";
    bar.set_style(ProgressStyle::with_template(shape).unwrap_or(ProgressStyle::default_spinner()));
    let shrunk = shrink_anomaly(&original, &manner, &limits, &mut |attempts, size| {
        bar.set_message(format!("{attempts} candidates, {}", describe(size)));
        bar.tick();
    });
    bar.finish_and_clear();
    match shrunk {
        Ok(shrunk) => tell(args, &original, &shrunk),
        Err(message) => {
            args.output.line(format!("{} cannot be shrunk: {message}", args.from));
            args.output.end(&serde_json::json!({ "error": message }), Status::Anomaly)
        }
    }
}

fn describe(size: Size) -> String {
    let Size { steps, strikes, text } = size;
    format!("{steps} steps, {strikes} strikes, {text} characters")
}

fn tell(args: &Args, original: &Scenario, shrunk: &Shrunk) -> Status {
    let Shrunk { scenario, attempts, is_done } = shrunk;
    let text = match scenario.to_toml() {
        Ok(text) => text,
        Err(error) => return usage(&error.to_string()),
    };
    if let Some(file) = &args.output_file {
        if let Err(error) = write(file, &text) {
            return usage(&format!("cannot write {}: {error}", file.display()));
        }
    } else {
        args.output.line(&text);
    }
    let (before, after) = (Size::of(original), Size::of(scenario));
    let names = &scenario.expect.anomalies;
    let note = |line: String| super::output::note(&line);
    note(format!("from {} to {}", describe(before), describe(after)));
    note(format!("{attempts} candidates{}", if *is_done { "" } else { ", given up early" }));
    note(format!("the text was read again and carried out: it has {}", names.join(", ")));
    let json = Json {
        attempts: *attempts,
        is_done: *is_done,
        before,
        after,
        anomalies: names,
        scenario: &text,
    };
    args.output.end(&json, Status::Clean)
}

pub(super) fn write(file: &Path, text: &str) -> io::Result<()> {
    std::fs::write(file, text)
}

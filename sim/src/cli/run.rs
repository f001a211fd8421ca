//! `merkql-sim run`: a campaign.

use super::Status;
use super::drawing::Drawing;
use super::output::{Output, usage};
use crate::campaign::{Campaign, DEMANDING_SEEDS, Report, Shard};
use crate::fault::FaultKind;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How many seeds are shown with one anomaly, or broken; the JSON has more of them.
const SHOWN_MAX: usize = 4;
/// How often a log file, which shows no bar, gets a line.
const LINE_EVERY: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How many seeds; 1000, or with --minutes as many as there is time for.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    start_seed: u64,
    /// How many seeds run at a time [default: one for each core].
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Begins no more seeds after so much time on the wall's clock.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Runs only this part of the seeds, such as 2/4.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Runs each seed twice, and names the first operation that differs.
    #[arg(long)]
    check_determinism: bool,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  merkql-sim run                                    1000 seeds, all profiles
  merkql-sim run --minutes 60 --json night.json     as many as an hour has time for
  merkql-sim run --profile ext4 --ops 300           longer runs, on ext4 alone
  merkql-sim run --seeds 4000 --shard 2/4           the second of four machines
  merkql-sim run --seeds 50 --check-determinism     each seed twice";

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(number, of)| {
        Some(Shard { number: number.parse().ok()?, of: of.parse().ok()? })
    });
    parts
        .filter(|shard| (1..=shard.of).contains(&shard.number))
        .ok_or_else(|| format!("{text} is no part such as 2/4, counted from 1"))
}

/// The result for programs.
#[derive(Serialize)]
struct Json<'r> {
    start_seed: u64,
    shard: String,
    jobs: usize,
    ops: u32,
    profile: &'static str,
    #[serde(flatten)]
    report: &'r Report,
}

pub(crate) fn run(args: &Args) -> Status {
    let campaign = match campaign(args) {
        Ok(campaign) => campaign,
        Err(message) => return usage(&message),
    };
    if let Err(message) = args.output.probe() {
        return usage(&message);
    }
    let mut progress = Progress::new(&campaign);
    let report = campaign.run(|report| progress.show(report));
    progress.bar.finish_and_clear();
    let output = &args.output;
    print_totals(output, &report);
    print_faults(output, &report);
    print_marks(output, &report);
    print_findings(output, &report);
    let json = Json {
        start_seed: campaign.start,
        shard: format!("{}/{}", campaign.shard.number, campaign.shard.of),
        jobs: campaign.jobs,
        ops: campaign.options.ops,
        profile: campaign.options.profile.map_or("swarm", crate::profile::Profile::name),
        report: &report,
    };
    output.end(&json, if report.is_clean { Status::Clean } else { Status::Anomaly })
}

fn campaign(args: &Args) -> Result<Campaign, String> {
    let defaults = Campaign::default();
    let time = match args.minutes {
        Some(minutes) => Some(
            Duration::try_from_secs_f64(minutes * 60.0)
                .map_err(|error| format!("--minutes {minutes}: {error}"))?,
        ),
        None => None,
    };
    let unbounded = if time.is_some() { None } else { defaults.seeds };
    Ok(Campaign {
        start: args.start_seed,
        seeds: args.seeds.or(unbounded),
        shard: args.shard.unwrap_or(defaults.shard),
        jobs: args.jobs.map_or(defaults.jobs, usize::from),
        time,
        options: args.drawing.options(),
        canary: args.drawing.canary()?,
        checks_determinism: args.check_determinism,
        replay: args.drawing.replay(),
        patience: defaults.patience,
    })
}

/// How far a campaign has come, on standard error.
struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    last_line: Instant,
}

impl Progress {
    fn new(campaign: &Campaign) -> Self {
        let bar = match campaign.count() {
            Some(count) => ProgressBar::new(count),
            None => ProgressBar::no_length(),
        };
        let shape = "{bar:30} {pos}/{len} seeds, {rate} a second, {eta} left, {msg}";
        // The template is a constant; a default style would do no harm.
        let style = ProgressStyle::with_template(shape).unwrap_or(ProgressStyle::default_bar());
        bar.set_style(style.with_key("rate", |state: &ProgressState, to: &mut dyn fmt::Write| {
            // A terminal's line that cannot be written has nobody to tell it to.
            write!(to, "{:.1}", state.per_sec()).unwrap_or_default();
        }));
        bar.set_message("anomalies: 0");
        let is_terminal = io::stderr().is_terminal();
        Self { bar, is_terminal, last_line: Instant::now() }
    }

    fn show(&mut self, report: &Report) {
        let anomalies: u64 = report.anomaly_counts.values().sum();
        self.bar.set_position(report.seeds);
        if report.failed_seeds > 0 {
            let broken = report.broken_seeds;
            self.bar.set_message(format!("anomalies: {anomalies}, broken seeds: {broken}"));
        }
        if !self.is_terminal && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let seeds = report.seeds;
            drop(writeln!(io::stderr(), "seeds: {seeds}, anomalies: {anomalies}"));
        }
    }
}

fn print_totals(output: &Output, report: &Report) {
    let rows = [
        vec!["seeds".to_owned(), report.seeds.to_string()],
        vec!["client operations".to_owned(), report.client_ops.to_string()],
        vec!["I/O operations".to_owned(), report.io_ops.to_string()],
        vec!["crashes".to_owned(), report.crashes.to_string()],
        vec!["recoveries".to_owned(), report.recoveries.to_string()],
    ];
    output.table(&["total", ""], &rows);
    let outcomes = report.outcomes.iter();
    let outcomes = outcomes.map(|(name, count)| vec![name.clone(), count.to_string()]);
    output.table(&["outcome", "seeds"], &outcomes.collect::<Vec<_>>());
}

fn print_faults(output: &Output, report: &Report) {
    let row = |kind: &FaultKind| {
        let counts = report.counts_of(*kind);
        let numbers = [counts.armed, counts.fired, counts.mattered];
        let names = [kind.code(), kind.name()].map(str::to_owned);
        names.into_iter().chain(numbers.map(|number| number.to_string())).collect()
    };
    let rows: Vec<Vec<String>> = FaultKind::ALL.iter().map(row).collect();
    output.table(&["", "fault", "armed", "fired", "mattered"], &rows);
}

fn print_marks(output: &Output, report: &Report) {
    output.table(&["mark", "reached"], &counted(&report.marks));
}

fn print_findings(output: &Output, report: &Report) {
    if !report.excused.is_empty() {
        output.table(&["excused", "times"], &counted(&report.excused));
    }
    if !report.anomaly_counts.is_empty() {
        output.table(&["anomaly", "times"], &counted(&report.anomaly_counts));
    }
    for name in report.anomaly_counts.keys() {
        // One of each seed: further ones mostly follow from it.
        let mut of_name: Vec<_> = report.anomalies.iter().filter(|it| it.name == *name).collect();
        of_name.dedup_by_key(|anomaly| anomaly.seed);
        for anomaly in of_name.into_iter().take(SHOWN_MAX) {
            output.line(format!("seed {}: {name}: {}", anomaly.seed, anomaly.sentence));
            output.line(format!("  {} --trace ops", anomaly.replay));
        }
    }
    for broken in report.broken.iter().take(SHOWN_MAX) {
        output.line(format!("seed {} is broken: {}", broken.seed, broken.why));
        output.line(format!("  {} --trace ops", broken.replay));
    }
    print_untested(output, report);
    print_verdict(output, report);
}

fn counted(counts: &BTreeMap<&'static str, u64>) -> Vec<Vec<String>> {
    counts.iter().map(|(name, count)| vec![(*name).to_owned(), count.to_string()]).collect()
}

fn print_untested(output: &Output, report: &Report) {
    let word = if report.is_demanding() { "error" } else { "warning" };
    for missing in &report.untested {
        output.line(format!("{word}: {missing}"));
    }
    if report.untested.is_empty() {
        return;
    }
    if report.is_demanding() {
        output.line("A harness that tests nothing must not be green: this campaign fails.");
    } else {
        let few = format!("With {DEMANDING_SEEDS} seeds or more this would be an error.");
        output.line(few);
    }
}

fn print_verdict(output: &Output, report: &Report) {
    let hash = &report.trace_hash;
    let rate = report.seeds_per_second;
    output.line(format!("{rate:.1} seeds a second, trace hash {hash}"));
    let anomalies: u64 = report.anomaly_counts.values().sum();
    output.line(if report.is_clean {
        "Clean: no anomalies.".to_owned()
    } else if report.failed_seeds > 0 {
        format!("Not clean: {} seeds failed, {anomalies} anomalies.", report.failed_seeds)
    } else {
        "Not clean: not everything was tested.".to_owned()
    });
}

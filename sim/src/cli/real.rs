//! `merkql-sim real`: processes that are killed on the real file system.

use super::Status;
use super::output::Output;

#[derive(Debug, Clone, clap::Args)]
#[cfg_attr(not(unix), allow(dead_code, reason = "without signals nothing can be done"))]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    /// How many processes are killed.
    #[arg(long, value_name = "N", default_value_t = 100)]
    kills: u64,
    /// No new round, of ten kills, is begun after so long.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Threads that send; every fourth under a producer id.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    writers: u32,
    /// Members of groups, two in each; an auditor is there in any case.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=64))]
    readers: u32,
    /// Where directories for the log are made and removed again; the system's place for such by default.
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
    /// What moments and calls are drawn from; drawn itself by default.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Keeps all directories and histories, not only those that have an anomaly.
    #[arg(long)]
    keep: bool,
    /// Gives the log old files in between, so that the checkers have something to find.
    #[arg(long, hide = true)]
    roll_back: bool,
}

#[cfg(not(unix))]
pub(crate) fn run(args: &Args) -> Status {
    args.output.line("`real` is not available here: it needs Unix's signals.");
    Status::Usage
}

#[cfg(not(unix))]
pub(crate) fn child() -> Status {
    Status::Usage
}

#[cfg(unix)]
pub(crate) use on_unix::{child, run};

#[cfg(unix)]
mod on_unix {
    use super::{Args, Output, Status};
    use crate::real::{self, Plan, Report};
    use indicatif::ProgressBar;
    use merkql_jepsen::Witness;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    /// How many witnesses of an anomaly are shown.
    const WITNESSES_MAX: usize = 3;

    /// The hidden subcommand: the process that is killed.
    pub(crate) fn child() -> Status {
        match real::child() {
            Ok(()) => Status::Clean,
            Err(error) => {
                // Standard output is for the parent.
                Output { json: Some("-".to_owned()) }.line(error);
                Status::Usage
            }
        }
    }

    pub(crate) fn run(args: &Args) -> Status {
        let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        if !dir.is_dir() {
            args.output.line(format!("{} is no directory", dir.display()));
            return Status::Usage;
        }
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let plan = Plan {
            kills: args.kills,
            time_max: args.seconds.map(Duration::from_secs),
            writers: args.writers,
            readers: args.readers,
            dir,
            seed: args.seed.unwrap_or_else(|| u64::from(now().subsec_nanos())),
            keeps: args.keep,
            rolls_back: args.roll_back,
        };
        let bar = ProgressBar::new_spinner();
        let report = real::run(&plan, |report| bar.set_message(progress(report)));
        bar.finish_and_clear();
        show(&report, &args.output);
        match args.output.write_json(&report) {
            Ok(()) => status(&report),
            Err(error) => {
                args.output.line(error);
                Status::Usage
            }
        }
    }

    fn progress(report: &Report) -> String {
        let Report { kills, acknowledged, read, .. } = report;
        format!("{kills} kills, {acknowledged} records acknowledged, {read} read")
    }

    fn status(report: &Report) -> Status {
        let is_clean = report.anomalies.is_empty()
            && report.error.is_none()
            && report.tested_nothing().is_none();
        if is_clean { Status::Clean } else { Status::Anomaly }
    }

    fn show(report: &Report, output: &Output) {
        output.line(format!("seed          {}", report.seed));
        for (name, value) in report.rows() {
            output.line(format!("{name:<13} {value}"));
        }
        for (name, witnesses) in &report.anomalies {
            output.line(format!("\n{name} ({})", witnesses.len()));
            for Witness { sentence, .. } in witnesses.iter().take(WITNESSES_MAX) {
                output.line(format!("  {sentence}"));
            }
            if witnesses.len() > WITNESSES_MAX {
                output.line(format!("  … and {} more", witnesses.len() - WITNESSES_MAX));
            }
        }
        for kept in &report.kept {
            output.line(format!("\nkept: {}, {}", kept.log.display(), kept.history.display()));
            output.line(format!("  to judge it again: {}", kept.check));
        }
        if let Some(error) = &report.error {
            output.line(format!("\nstopped: {error}"));
        }
        if let Some(reason) = report.tested_nothing() {
            output.line(format!("\nthis run proves nothing: {reason}"));
        }
    }
}

//! `merkql-sim scenario`: scenarios from files, and whether they come to what
//! they expect.

use super::Status;
use super::output::Output;
use crate::scenario::{Report, Scenario, verify};
use crate::world::{Manner, execute};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Args {
    /// The scenarios, as TOML.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What came of a file.
#[derive(Debug, Serialize)]
struct Entry {
    file: String,
    /// Why it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    #[serde(flatten)]
    report: Option<Report>,
}

/// Reads a scenario. The message names the file, and line and column if it is
/// the text that is wrong.
pub(super) fn read(file: &Path) -> Result<Scenario, String> {
    let name = file.display();
    let text = read_text(file).map_err(|error| format!("{name}: {error}"))?;
    Scenario::from_toml(&text).map_err(|error| match error.place() {
        Some((line, column)) => format!("{name}:{line}:{column}: {}", error.message()),
        None => format!("{name}: {}", error.message()),
    })
}

fn read_text(file: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(file)
}

pub(crate) fn run(args: &Args) -> Status {
    let mut status = Status::Clean;
    let mut entries = Vec::new();
    for file in &args.files {
        let entry = entry(file);
        let (word, of_entry) = match (&entry.unreadable, &entry.report) {
            (None, Some(report)) if report.complaints.is_empty() => ("ok", Status::Clean),
            (None, _) => ("FAILED", Status::Anomaly),
            (Some(_), _) => ("ERROR", Status::Usage),
        };
        print(&args.output, word, &entry);
        status = worse(status, of_entry);
        entries.push(entry);
    }
    let failed = entries.iter().filter(|entry| entry.is_bad()).count();
    args.output.line(format!("{} scenarios, {failed} failed", entries.len()));
    args.output.end(&entries, status)
}

impl Entry {
    fn is_bad(&self) -> bool {
        self.report.as_ref().is_none_or(|report| !report.complaints.is_empty())
    }
}

fn entry(file: &Path) -> Entry {
    let name = file.display().to_string();
    match read(file) {
        Ok(scenario) => {
            let report = verify(&scenario, &execute(&scenario, &Manner::default()));
            Entry { file: name, unreadable: None, report: Some(report) }
        }
        Err(message) => Entry { file: name, unreadable: Some(message), report: None },
    }
}

fn print(output: &Output, word: &str, entry: &Entry) {
    let Some(report) = &entry.report else {
        let message = entry.unreadable.as_deref().unwrap_or_default();
        return output.line(format!("{word:6} {message}"));
    };
    output.line(format!("{word:6} {}: {}", entry.file, report.outcome));
    if report.complaints.is_empty() {
        return;
    }
    for complaint in &report.complaints {
        output.line(format!("         {complaint}"));
    }
    for witness in &report.witnesses {
        output.line(format!("         found: {witness}"));
    }
    let errors: Vec<&str> = report.errors.iter().copied().collect();
    output.line(format!("         errors that calls met: {}", errors.join(", ")));
}

/// A file that cannot be read weighs more than one that fails.
fn worse(a: Status, b: Status) -> Status {
    match (a, b) {
        (Status::Usage, _) | (_, Status::Usage) => Status::Usage,
        (Status::Anomaly, _) | (_, Status::Anomaly) => Status::Anomaly,
        _ => Status::Clean,
    }
}

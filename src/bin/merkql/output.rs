//! Where results go: text for people, JSON for programs, progress to those who watch.

#![allow(clippy::disallowed_methods, reason = "the result is written beside the log, not into it")]

use crate::Status;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

/// How results are told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Output {
    /// Writes the result as JSON to this file; `-` is standard output, and text then goes to standard error.
    #[arg(long, value_name = "FILE|-")]
    json: Option<String>,
    /// Shows no progress.
    #[arg(long, short)]
    quiet: bool,
}

impl Output {
    /// Prints a line for people.
    pub(crate) fn line(&self, line: impl AsRef<str>) {
        let text = line.as_ref();
        let written = if self.json.as_deref() == Some("-") {
            writeln!(io::stderr(), "{text}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
        // A reader that has gone away wants to see no more.
        drop(written);
    }

    /// Sees to it before long work that its result can be written; says why if not.
    pub(crate) fn can_write(&self) -> bool {
        let Some(target) = self.json.as_deref().filter(|target| *target != "-") else {
            return true;
        };
        let opened = File::options().append(true).create(true).open(target);
        opened.map_err(|error| failed(&format!("cannot write {target}: {error}"))).is_ok()
    }

    /// A bar of bytes on standard error, where that is a terminal.
    pub(crate) fn bar(&self) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
        let style = ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar());
        ProgressBar::new(0).with_style(style)
    }

    /// Says on standard error, where that is a terminal, that something is going on.
    pub(crate) fn spinner(&self, what: &'static str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(what);
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }

    /// Writes the result for programs, if it was asked for, and passes the status on if
    /// that went well.
    pub(crate) fn end(&self, result: &Value, status: Status) -> Status {
        let Some(target) = &self.json else { return status };
        let written = if target == "-" {
            writeln!(io::stdout(), "{result:#}")
        } else {
            File::create(target).and_then(|mut file| writeln!(file, "{result:#}"))
        };
        match written {
            Ok(()) => status,
            Err(error) => {
                failed(&format!("cannot write {target}: {error}"));
                Status::Unreadable
            }
        }
    }
}

/// A count with its noun: "1 record", "2 records".
pub(crate) fn count(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Says why there is no result.
pub(crate) fn failed(reason: &str) {
    drop(writeln!(io::stderr(), "merkql: {reason}"));
}

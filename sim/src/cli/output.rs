//! Where results go: text for people, JSON for programs.

use super::Status;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The option that all subcommands share.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Output {
    /// Writes the result as JSON to this file; `-` is standard output, and text then goes to standard error.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<String>,
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

    /// Prints a table, each column as wide as it needs to be; numbers stand at
    /// the right.
    pub(crate) fn table(&self, head: &[&str], rows: &[Vec<String>]) {
        let columns = head.iter().enumerate().map(|(column, title)| {
            let cells = || rows.iter().filter_map(move |row| row.get(column));
            let width = cells().map(|cell| cell.chars().count()).max().unwrap_or_default();
            let is_number = cells().all(|cell| cell.starts_with(|c: char| c.is_ascii_digit()));
            (width.max(title.chars().count()), is_number)
        });
        let columns: Vec<(usize, bool)> = columns.collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(&columns).map(|(cell, (width, is_number))| {
                if *is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.line(line(&mut head.iter().copied()));
        for row in rows {
            self.line(line(&mut row.iter().map(String::as_str)));
        }
        self.line("");
    }

    /// Sees to it before long work that its result can be written. Fails with a message.
    pub(crate) fn probe(&self) -> Result<(), String> {
        match self.json.as_deref() {
            None | Some("-") => Ok(()),
            Some(target) => {
                let opened = File::options().append(true).create(true).open(target);
                opened.map(drop).map_err(|error| format!("cannot write {target}: {error}"))
            }
        }
    }

    /// Writes the result for programs, if it was asked for. Fails with a message.
    pub(crate) fn write_json(&self, result: &impl Serialize) -> Result<(), String> {
        let Some(target) = &self.json else { return Ok(()) };
        let write = |mut to: Box<dyn Write>| -> io::Result<()> {
            serde_json::to_writer_pretty(&mut to, result)?;
            writeln!(to)
        };
        let written = if target == "-" {
            write(Box::new(io::stdout()))
        } else {
            File::create(Path::new(target)).and_then(|file| write(Box::new(file)))
        };
        written.map_err(|error| format!("cannot write {target}: {error}"))
    }

    /// Writes the result, and passes the status on if that went well.
    pub(crate) fn end(&self, result: &impl Serialize, status: Status) -> Status {
        match self.write_json(result) {
            Ok(()) => status,
            Err(message) => usage(&message),
        }
    }
}

/// Sees to it before long work that a file can be written, and leaves none behind
/// where there was none. Fails with a message.
pub(crate) fn probe_file(file: &Path) -> Result<(), String> {
    let was_there = file.exists();
    let opened = File::options().append(true).create(true).open(file);
    let probed = opened.and_then(|_| if was_there { Ok(()) } else { std::fs::remove_file(file) });
    probed.map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Says what is wrong with the arguments.
pub(crate) fn usage(message: &str) -> Status {
    // Nobody is left to be told if this fails.
    drop(writeln!(io::stderr(), "error: {message}"));
    Status::Usage
}

/// Tells something on standard error, where it is in nobody's way.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

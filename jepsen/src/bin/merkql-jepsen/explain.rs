//! `explain`: what an anomaly is.

use std::io::{self, Write};

use merkql_jepsen::history::History;
use merkql_jepsen::notation::Format;
use merkql_jepsen::{Name, check};

use crate::CommandError;
use crate::args::ExplainArgs;

/// Explains one anomaly, or lists all.
pub(crate) fn run(args: &ExplainArgs) -> Result<(), CommandError> {
    let out = io::stdout().lock();
    let written = match args.name {
        Some(name) => explain(name, out),
        None => list(out),
    };
    written.map_err(|error| CommandError::Write { path: "standard output".into(), error })
}

fn list(mut out: impl Write) -> io::Result<()> {
    for name in Name::ALL {
        writeln!(out, "{name:<24}{}", name.title())?;
    }
    writeln!(out, "\n`merkql-jepsen explain NAME` says exactly what one is, with an example.")
}

fn explain(name: Name, mut out: impl Write) -> io::Result<()> {
    writeln!(out, "{name}: {}\n", name.title())?;
    writeln!(out, "{}", wrap(name.definition()))?;
    writeln!(out, "A history that has it:\n\n{}", name.example())?;
    if let Ok(history) = History::parse(name.example(), Format::JsonLines) {
        for witness in check(&history).witnesses() {
            writeln!(out, "  {}: {}", witness.name, witness.sentence)?;
        }
    }
    writeln!(out, "\nOne that hasn't:\n\n{}", name.near_miss())
}

/// Breaks each paragraph into lines that fit a terminal.
fn wrap(text: &str) -> String {
    const COLUMNS_MAX: usize = 100;
    let mut wrapped = String::new();
    for paragraph in text.split("\n\n") {
        let mut column = 0;
        for word in paragraph.split_whitespace() {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > COLUMNS_MAX {
                wrapped.push('\n');
                column = 0;
            } else if column > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += width;
        }
        wrapped.push_str("\n\n");
    }
    wrapped.truncate(wrapped.trim_end().len());
    wrapped.push('\n');
    wrapped
}

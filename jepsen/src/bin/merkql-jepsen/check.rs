//! `check`: the verdict on a history.

use std::fs;
use std::io::{self, Write};

use merkql_jepsen::{Verdict, check, check_only};

use crate::args::CheckArgs;
use crate::{CommandError, input, report};

/// Judges the history, and says whether it has no anomaly.
pub(crate) fn run(args: &CheckArgs) -> Result<bool, CommandError> {
    let (history, _) = input::read(&args.file, args.format)?;
    let verdict =
        if args.only.is_empty() { check(&history) } else { check_only(&history, &args.only) };
    let failed = |path: &str| {
        let path = path.to_owned();
        |error| CommandError::Write { path, error }
    };
    if let Some(path) = args.json.as_deref().filter(|path| *path != "-") {
        fs::File::create(path)
            .and_then(|file| write_json(&verdict, io::BufWriter::new(file)))
            .map_err(failed(path))?;
    }
    let out = io::stdout().lock();
    let written = match args.json.as_deref() {
        Some("-") => write_json(&verdict, out),
        _ => report::write(&history, &verdict, out),
    };
    read_as_far_as_wanted(written).map_err(failed("standard output"))?;
    Ok(verdict.is_valid())
}

/// Whoever stops reading the verdict, as `head` does, doesn't change it.
fn read_as_far_as_wanted(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn write_json(verdict: &Verdict, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, verdict)?;
    writeln!(out)?;
    out.flush()
}

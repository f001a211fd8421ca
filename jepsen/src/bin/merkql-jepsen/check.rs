//! `check`: the verdict on a history.

use std::fs;
use std::io::{self, Write};

use merkql_jepsen::{Verdict, check, check_only};

use crate::args::CheckArgs;
use crate::{CommandError, input, report};

/// Judges the history, and says whether it has no anomaly. Where nothing can be judged there is no verdict.
pub(crate) fn run(args: &CheckArgs) -> Result<bool, CommandError> {
    refuse_to_overwrite(args)?;
    let (history, _) = input::read(&args.file, args.format)?;
    let verdict =
        if args.only.is_empty() { check(&history) } else { check_only(&history, &args.only) };
    if verdict.judged_nothing() {
        return Err(CommandError::Nothing {
            path: args.file.clone(),
            lacking: report::lacking(&history),
        });
    }
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

/// The verdict must not take the place of the history that it is on.
fn refuse_to_overwrite(args: &CheckArgs) -> Result<(), CommandError> {
    let Some(path) = args.json.as_deref().filter(|path| *path != "-") else { return Ok(()) };
    let same = fs::canonicalize(path).ok().zip(fs::canonicalize(&args.file).ok());
    if same.is_some_and(|(verdict, history)| verdict == history) {
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "it is the history itself");
        return Err(CommandError::Write { path: path.to_owned(), error });
    }
    Ok(())
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

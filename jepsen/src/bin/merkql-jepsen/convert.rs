//! `convert`: a history in the other notation.

use std::fs::File;
use std::io::{self, BufWriter};

use merkql_jepsen::notation::Format;

use crate::args::ConvertArgs;
use crate::{CommandError, input};

/// Reads the history and writes it again.
pub(crate) fn run(args: &ConvertArgs) -> Result<(), CommandError> {
    let (history, format) = input::read(&args.file, args.format)?;
    let other = match format {
        Format::Edn => Format::JsonLines,
        Format::JsonLines => Format::Edn,
    };
    let format = args.to.map_or(other, Format::from);
    let written = match &args.output {
        Some(path) => {
            File::create(path).and_then(|file| history.write(BufWriter::new(file), format))
        }
        None => history.write(BufWriter::new(io::stdout().lock()), format),
    };
    written.map_err(|error| CommandError::Write {
        path: args.output.clone().unwrap_or_else(|| "standard output".into()),
        error,
    })
}

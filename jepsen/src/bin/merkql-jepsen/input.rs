//! Finding and reading a history.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use merkql_jepsen::history::History;
use merkql_jepsen::notation::{Format, ReadError};

use crate::CommandError;
use crate::args::FormatArg;

/// Large enough that the content's first bytes tell the notation even behind a long comment, and that reads are few.
const BUFFER_BYTES: usize = 1 << 20;

/// Reads a history from a file or from standard input, and says in which notation it was.
pub(crate) fn read(
    path: &str,
    format: Option<FormatArg>,
) -> Result<(History, Format), CommandError> {
    let read = || -> Result<(History, Format), ReadError> {
        if path == "-" {
            return read_from(
                BufReader::with_capacity(BUFFER_BYTES, io::stdin()),
                format.map(Format::from),
            );
        }
        let by_extension = Path::new(path)
            .extension()
            .and_then(|extension| Format::from_extension(extension.to_str()?));
        let source = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
        read_from(source, format.map(Format::from).or(by_extension))
    };
    read().map_err(|error| CommandError::Read { path: path.to_owned(), error })
}

fn read_from(
    mut source: impl BufRead,
    format: Option<Format>,
) -> Result<(History, Format), ReadError> {
    let format = match format {
        Some(format) => format,
        None => Format::from_content(source.fill_buf()?),
    };
    Ok((History::read(source, format)?, format))
}

//! Histories as text: JSON lines and EDN, in and out.
//!
//! JSON lines have one operation a line. EDN has operations one after another, or in one list; comments, discarded elements and
//! tagged records are understood. Both are read by one lexer, one parser and one decoder, so that they mean the same, and an
//! error names the line, the column and what was expected.
//!
//! A map that has a key twice is refused, for nobody could say which of its values counts. A byte order mark before the text
//! counts for nothing.
//!
//! What JSON can't say is a string there: a keyword is `":a"`, anything else `"#edn #{1 2}"` with its EDN text. Whole-number
//! keys of JSON objects are numbers.

mod decode;
mod encode;
mod error;
mod fields;
mod lexer;
mod parser;
mod sink;
mod steps;
mod values;

use std::io::{self, BufRead, Write};

pub use error::ReadError;

use crate::history::{History, Operation};
use decode::Decoded;
use error::Misfit;
use lexer::{Notation, Token};
use parser::Parser;
use sink::Sink;

/// Some programs put it before a text in UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// How a history is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Extensible data notation, as Jepsen writes it.
    Edn,
}

impl Format {
    /// The format that a file's extension promises.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            "edn" => Some(Self::Edn),
            _ => None,
        }
    }

    /// The format that a history's first bytes show: a JSON object begins with `{"`, and nothing else that a history may be does.
    /// A list of such objects is JSON as well, though not a history.
    pub fn from_content(head: &[u8]) -> Self {
        let head = head.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(head);
        let mut bytes = head.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).peekable();
        let _list = bytes.next_if_eq(&b'[');
        match (bytes.next(), bytes.next()) {
            (Some(b'{'), Some(b'"' | b'}')) | (None, _) => Self::JsonLines,
            _ => Self::Edn,
        }
    }
}

impl History {
    /// Reads a history. JSON lines are read one by one, EDN as a whole.
    pub fn read(mut source: impl BufRead, format: Format) -> Result<Self, ReadError> {
        match format {
            Format::JsonLines => read_json_lines(source),
            Format::Edn => {
                let mut bytes = Vec::new();
                source.read_to_end(&mut bytes)?;
                read_edn(without_mark(checked_utf8(&bytes, 1)?))
            }
        }
    }

    /// Reads a history from text.
    pub fn parse(text: &str, format: Format) -> Result<Self, ReadError> {
        Self::read(text.as_bytes(), format)
    }

    /// Writes the history, one operation a line in both formats.
    pub fn write(&self, mut out: impl Write, format: Format) -> io::Result<()> {
        let mut line = String::new();
        for operation in self.operations() {
            line.clear();
            write_operation(&mut line, operation, format);
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        out.flush()
    }
}

/// Appends one operation as it stands in a history of that format, without the end of the line.
pub fn write_operation(out: &mut String, operation: &Operation, format: Format) {
    encode::operation(&mut Sink::new(out, notation(format)), operation);
}

fn notation(format: Format) -> Notation {
    match format {
        Format::JsonLines => Notation::Json,
        Format::Edn => Notation::Edn,
    }
}

fn read_json_lines(mut source: impl BufRead) -> Result<History, ReadError> {
    let mut history = History::default();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if source.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let mut text = checked_utf8(&bytes, line)?;
        if line == 1 {
            text = without_mark(text);
        }
        if text.trim().is_empty() {
            continue;
        }
        let decoded = json_line(text).map_err(|misfit| misfit.locate(text, line))?;
        push(&mut history, decoded);
    }
    Ok(history)
}

/// Reads the operation on a line. A text that is JSON, but not one operation a line, is told what it should be.
fn json_line(text: &str) -> Result<Decoded, Misfit> {
    let mut parser = Parser::new(text, Notation::Json);
    if parser.peek()? == Token::OpenList {
        let at = parser.position();
        return Err(Misfit::new(at, "one operation a line, each a map, found a list"));
    }
    let decoded = decode::operation(&mut parser).and_then(|decoded| parser.end().map(|()| decoded));
    let end = text.trim_end().len();
    decoded.map_err(|misfit| match misfit {
        Misfit { at, expected } if at >= end => {
            Misfit::new(end, format!("the whole operation on one line, and here {expected}"))
        }
        other => other,
    })
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

fn read_edn(text: &str) -> Result<History, ReadError> {
    let mut history = History::default();
    let mut parser = Parser::new(text, Notation::Edn);
    let result = match parser.peek() {
        Ok(Token::OpenList) => parser
            .list("a list of operations", |parser| {
                push(&mut history, decode::operation(parser)?);
                Ok(())
            })
            .and_then(|()| parser.end()),
        Ok(_) => read_forms(&mut parser, &mut history),
        Err(misfit) => Err(misfit),
    };
    result.map(|()| history).map_err(|misfit| misfit.locate(text, 1))
}

fn read_forms(parser: &mut Parser<'_>, history: &mut History) -> Result<(), Misfit> {
    while parser.peek()? != Token::End {
        push(history, decode::operation(parser)?);
    }
    Ok(())
}

fn push(history: &mut History, decoded: Decoded) {
    match decoded.index {
        Some(index) => history.push_numbered(Operation { index, ..decoded.operation }),
        None => history.push(decoded.operation),
    }
}

fn checked_utf8(bytes: &[u8], first_line: usize) -> Result<&str, ReadError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let text = std::str::from_utf8(valid).unwrap_or_default();
        Misfit::new(valid.len(), "text in UTF-8").locate(text, first_line)
    })
}

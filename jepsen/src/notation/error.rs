//! What can be wrong with a history's text.

use std::io;

/// Why a history can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The text isn't a history.
    #[error("line {line}, column {column}: expected {expected}")]
    Unexpected {
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
        /// What should have stood there, and what did.
        expected: String,
    },
    /// The text can't be had.
    #[error("the history can't be read: {0}")]
    Io(#[from] io::Error),
}

/// What should have stood at a place in a text, which has no line number yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The place, in bytes.
    pub(crate) at: usize,
    /// What should have stood there, and what did.
    pub(crate) expected: String,
}

impl Misfit {
    pub(crate) fn new(at: usize, expected: impl Into<String>) -> Self {
        Self { at, expected: expected.into() }
    }

    /// The error with its line and column, where `text` begins on line `first_line`.
    pub(crate) fn locate(self, text: &str, first_line: usize) -> ReadError {
        let before = text.get(..self.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let newlines = before.bytes().filter(|byte| *byte == b'\n').count();
        ReadError::Unexpected {
            line: first_line + newlines,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
            expected: self.expected,
        }
    }
}

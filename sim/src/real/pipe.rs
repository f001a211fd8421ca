//! The pipe from a child: lines that are operations, and a few words.

use merkql_jepsen::history::{History, Operation};
use merkql_jepsen::notation::{Format, write_operation};
use std::io::{self, BufRead, Write};
use std::sync::mpsc::Sender;

/// What a child says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// A line of the history.
    Operation(Box<Operation>),
    /// It is about to open the log.
    Opening,
    /// The log is open.
    Opened,
    /// The log takes no writes any more and has to be opened again, so it ends.
    Latched,
    /// The log said that it is damaged and did not open, so it ends.
    Refused,
    /// It has done all it was to do, and ends.
    Done,
    /// A line that its death has cut off: it says nothing.
    Torn,
    /// What no child says.
    Nonsense(String),
}

const WORDS: [(&str, Said); 5] = [
    ("opening", Said::Opening),
    ("opened", Said::Opened),
    ("latched", Said::Latched),
    ("refused", Said::Refused),
    ("done", Said::Done),
];

/// Writes a word down.
pub(crate) fn say(to: &mut impl Write, said: &Said) -> io::Result<()> {
    let word = WORDS.iter().find(|(_, word)| word == said).map_or("", |(word, _)| word);
    to.write_all(format!("{word}\n").as_bytes())
}

/// Writes an operation down, whole and at once, so that it is out of the
/// process's memory when this returns.
pub(crate) fn write_down(to: &mut impl Write, operation: &Operation) -> io::Result<()> {
    let mut line = String::new();
    write_operation(&mut line, operation, Format::JsonLines);
    line.push('\n');
    to.write_all(line.as_bytes())
}

/// Hands on what is said until nobody speaks or nobody listens any more.
pub(crate) fn listen(mut from: impl BufRead, to: &Sender<Said>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let said = match from.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => understood(&line),
            Err(error) => Said::Nonsense(error.to_string()),
        };
        let is_last = matches!(said, Said::Torn | Said::Nonsense(_));
        if to.send(said).is_err() || is_last {
            return;
        }
    }
}

fn understood(line: &[u8]) -> Said {
    let Some(line) = line.strip_suffix(b"\n") else { return Said::Torn };
    let text = String::from_utf8_lossy(line);
    if let Some((_, word)) = WORDS.iter().find(|(word, _)| *word == text) {
        return word.clone();
    }
    let read = History::parse(&text, Format::JsonLines).ok();
    let operation = read.and_then(|history| history.operations().first().cloned());
    operation
        .map_or_else(|| Said::Nonsense(text.into()), |operation| Said::Operation(operation.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use merkql_jepsen::history::{Action, Datum, Kind, Process};
    use std::sync::mpsc;

    fn heard(bytes: &[u8]) -> Vec<Said> {
        let (sender, receiver) = mpsc::channel();
        listen(bytes, &sender);
        drop(sender);
        receiver.into_iter().collect()
    }

    fn operation() -> Operation {
        Operation::new(Process::Client(7), Kind::Invoke, Action::Close(Datum::Nil)).at(3)
    }

    #[test]
    fn what_is_written_down_is_heard() {
        let mut pipe = Vec::new();
        say(&mut pipe, &Said::Opening).unwrap();
        write_down(&mut pipe, &operation()).unwrap();
        say(&mut pipe, &Said::Done).unwrap();
        let operation = Said::Operation(operation().into());
        assert_eq!(heard(&pipe), [Said::Opening, operation, Said::Done]);
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_is_torn() {
        let mut first = Vec::new();
        write_down(&mut first, &operation()).unwrap();
        let whole = Said::Operation(operation().into());
        for cut in 0..first.len() {
            let mut pipe = first.clone();
            pipe.extend_from_slice(&first[..cut]);
            let torn = (cut > 0).then_some(Said::Torn);
            let expected: Vec<Said> = [whole.clone()].into_iter().chain(torn).collect();
            assert_eq!(heard(&pipe), expected, "cut after {cut} bytes");
        }
    }

    #[test]
    fn a_whole_line_that_means_nothing_is_no_torn_one() {
        assert_eq!(heard(b"{\"f\":\n"), [Said::Nonsense("{\"f\":".into())]);
        assert_eq!(heard(b"\n"), [Said::Nonsense(String::new())]);
    }
}

//! Texts to histories, and back.

use merkql_jepsen::history::{History, Operation};
use merkql_jepsen::notation::Format;

pub(crate) fn json(text: &str) -> History {
    History::parse(text, Format::JsonLines).expect("a history in JSON lines")
}

pub(crate) fn edn(text: &str) -> History {
    History::parse(text, Format::Edn).expect("a history in EDN")
}

pub(crate) fn written(history: &History, format: Format) -> String {
    let mut out = Vec::new();
    history.write(&mut out, format).expect("writing to memory");
    String::from_utf8(out).expect("histories are text")
}

pub(crate) fn one(history: &History) -> &Operation {
    match history.operations() {
        [operation] => operation,
        other => panic!("one operation, not {}", other.len()),
    }
}

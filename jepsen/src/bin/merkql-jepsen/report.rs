//! The verdict as a text for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use merkql_jepsen::history::{Action, History, MicroOp, Operation};
use merkql_jepsen::notation::{Format, write_operation};
use merkql_jepsen::{Verdict, Witness};

/// How many witnesses of one anomaly are shown; the JSON has all.
const WITNESSES_MAX: usize = 8;
/// How much of an operation is shown.
const CHARACTERS_MAX: usize = 240;
/// How many functions are named that no checker knows.
const IGNORED_MAX: usize = 8;
/// From how many records on an operation is cut down to those that a witness is about.
const RECORDS_MAX: usize = 8;

/// Writes the verdict: what was found, how often, and what proves it.
pub(crate) fn write(history: &History, verdict: &Verdict, mut out: impl Write) -> io::Result<()> {
    for (name, witnesses) in &verdict.anomalies {
        writeln!(out, "{name} ({}): {}", witnesses.len(), name.title())?;
        for witness in witnesses.iter().take(WITNESSES_MAX) {
            writeln!(out, "  {}", witness.sentence)?;
            for operation in
                witness.operations.iter().filter_map(|at| history.operations().get(*at))
            {
                writeln!(out, "    {}", line(operation, witness))?;
            }
        }
        if witnesses.len() > WITNESSES_MAX {
            writeln!(out, "  … and {} more", witnesses.len() - WITNESSES_MAX)?;
        }
        writeln!(out)?;
    }
    for (name, count) in &verdict.excused {
        writeln!(out, "excused: {name} ({count})")?;
    }
    if let Some(ignored) = ignored(history) {
        writeln!(out, "ignored: {ignored}")?;
    }
    let operations = match verdict.operations {
        1 => "1 operation".to_owned(),
        count => format!("{count} operations"),
    };
    if verdict.is_valid() {
        writeln!(out, "valid: {operations}, no anomaly")
    } else {
        let names: Vec<&str> = verdict.anomalies.keys().map(|name| name.as_str()).collect();
        writeln!(out, "INVALID: {operations}, {}", names.join(", "))
    }
}

/// The functions that no checker knows, and how often each is there. A slip in a name shows here, and so does a nemesis' function that
/// shares a name with one that is known.
fn ignored(history: &History) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in history.operations() {
        if let Action::Other { function, .. } = &operation.action {
            *counts.entry(function).or_default() += 1;
        }
    }
    let mut named: Vec<String> = counts
        .iter()
        .take(IGNORED_MAX)
        .map(|(function, count)| format!("{function} ({count})"))
        .collect();
    if counts.len() > IGNORED_MAX {
        named.push("…".into());
    }
    (!named.is_empty()).then(|| named.join(", "))
}

/// What a history lacks of which nothing is judged.
pub(crate) fn lacking(history: &History) -> String {
    let none = match history.len() {
        0 => return "it has no operation".into(),
        1 => "its only operation is none".into(),
        count => format!("none of its {count} operations is one"),
    };
    let unknown = ignored(history)
        .map_or_else(String::new, |ignored| format!("; no checker knows its {ignored}"));
    format!(
        "{none} that a checker could find wrong, such as the answer to a client's send or poll, or a proof{unknown}"
    )
}

/// An operation on one line, cut to what the witness is about.
fn line(operation: &Operation, witness: &Witness) -> String {
    let mut shown = operation.clone();
    if let Action::Send(steps) | Action::Poll(steps) | Action::Txn(steps) = &mut shown.action
        && records(steps) > RECORDS_MAX
    {
        cut(steps, witness);
    }
    let mut line = String::new();
    write_operation(&mut line, &shown, Format::JsonLines);
    match line.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

fn records(steps: &[MicroOp]) -> usize {
    let count = |step: &MicroOp| match step {
        MicroOp::Poll(Some(keys)) => keys.iter().map(|(_, polled)| polled.len()).sum(),
        MicroOp::Poll(None) => 0,
        MicroOp::Send { .. } => 1,
    };
    steps.iter().map(count).sum()
}

/// Leaves only records with an offset or a value that the witness names.
fn cut(steps: &mut Vec<MicroOp>, witness: &Witness) {
    for step in steps.iter_mut() {
        if let MicroOp::Poll(Some(keys)) = step {
            keys.retain(|(key, _)| witness.key.as_ref().is_none_or(|wanted| wanted == key));
            for (_, polled) in keys.iter_mut() {
                polled.retain(|record| {
                    witness.values.contains(&record.value)
                        || record.offset.is_some_and(|offset| witness.offsets.contains(&offset))
                });
            }
        }
    }
    steps.retain(|step| match step {
        MicroOp::Send { value, .. } => witness.values.contains(value),
        MicroOp::Poll(keys) => keys.as_ref().is_some_and(|keys| !keys.is_empty()),
    });
}

#![doc = include_str!("../../anomalies/unavailable.md")]

use rustc_hash::FxHashMap;

use super::{Finding, Findings};
use crate::analysis::{Analysis, Ranges, flatten};
use crate::anomaly::Name;
use crate::history::{Action, Key, Kind, MicroOp, Operation, Span};

/// What was damaged so far.
#[derive(Default)]
struct Damaged<'h> {
    /// What was damaged of each key; all of it where a damage names no ranges.
    keys: FxHashMap<&'h Key, Ranges>,
    whole_log: bool,
    last_at: Option<usize>,
}

impl<'h> Damaged<'h> {
    fn note(&mut self, position: usize, operation: &'h Operation) {
        if let (Action::Damage(damage), true) = (&operation.action, operation.kind != Kind::Fail) {
            self.last_at = Some(position);
            match &damage.spans {
                Some(spans) => {
                    for (key, span) in flatten(spans) {
                        self.keys.entry(key).or_default().add(span, position);
                    }
                }
                None => self.whole_log = true,
            }
        }
    }

    fn touches(&self, key: &Key) -> bool {
        self.whole_log || self.keys.contains_key(key)
    }

    /// Whether any damage reaches a record that the error names. One that names none is about the key.
    fn reaches(&self, key: &Key, named: &[Span]) -> bool {
        self.whole_log
            || self.keys.get(key).is_some_and(|harmed| {
                named.is_empty() || named.iter().any(|named| harmed.overlap(*named))
            })
    }
}

/// Looks for errors about damage where nothing was damaged.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut damaged = Damaged::default();
    for (position, operation) in analysis.operations() {
        damaged.note(position, operation);
        if operation.kind == Kind::Invoke {
            continue;
        }
        match &operation.action {
            Action::Detected(detected) if operation.kind != Kind::Fail => {
                let unharmed = |(key, named): &&(Key, Vec<Span>)| !damaged.reaches(key, named);
                for (key, _) in detected.spans.iter().filter(unharmed) {
                    report_key(analysis, findings, position, key, damaged.last_at);
                }
            }
            Action::Refused(_) if !damaged.whole_log => {
                let sentence = format!(
                    "the log refused to open ({}), though nothing that belongs to all of it was damaged",
                    analysis.name(position)
                );
                findings.report(
                    Name::Unavailable,
                    Finding::new(sentence, damaged.last_at.into_iter().chain([position])),
                );
            }
            _ if damaged.last_at.is_some() && failed_by_damage(operation) => {
                let keys = keys(operation);
                if let Some(key) =
                    keys.first().filter(|_| !keys.iter().any(|key| damaged.touches(key)))
                {
                    report_key(analysis, findings, position, key, damaged.last_at);
                }
            }
            _ => {}
        }
    }
}

fn failed_by_damage(operation: &Operation) -> bool {
    let error = operation.attachments.as_ref().and_then(|attachments| attachments.error_kind());
    matches!(operation.kind, Kind::Fail | Kind::Info)
        && matches!(error, Some("corrupt" | "unavailable"))
}

/// The keys that a call names. A poll names none, for it may return any that the consumer has.
fn keys(operation: &Operation) -> Vec<&Key> {
    match &operation.action {
        Action::Send(steps) | Action::Txn(steps) => {
            // One poll among the steps, and the call may be about any key.
            steps.iter().map(MicroOp::sent_key).collect::<Option<_>>().unwrap_or_default()
        }
        Action::Root(root) => vec![&root.key],
        Action::Proof(proof) => vec![&proof.key],
        Action::Consistency(proof) => vec![&proof.key],
        Action::Commit(commit) | Action::Committed(commit) => {
            commit.offsets.iter().map(|(key, _)| key).collect()
        }
        _ => Vec::new(),
    }
}

fn report_key(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    position: usize,
    key: &Key,
    damage: Option<usize>,
) {
    let sentence = format!(
        "key {key} answered with an error about damage ({}), though nothing of what it names was damaged",
        analysis.name(position)
    );
    findings.report(
        Name::Unavailable,
        Finding::new(sentence, damage.into_iter().chain([position])).key(key),
    );
}

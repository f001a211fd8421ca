#![doc = include_str!("../../anomalies/nonmonotonic-send.md")]

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Finding, Findings};
use crate::analysis::{Analysis, KeyId, Reason, Touch, by_key};
use crate::anomaly::Name;
use crate::history::{Action, Process};

/// The last record that a process sent to each key, and the operation that sent it.
type LastSends = FxHashMap<KeyId, (Touch, usize)>;

/// Looks at the last record that a process sent to a key in one operation, and the first in the next one.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut producers: FxHashMap<&Process, LastSends> = FxHashMap::default();
    for (position, operation) in analysis.completions() {
        if !operation.may_have_happened() {
            continue;
        }
        match &operation.action {
            Action::Send(_) | Action::Txn(_) => {
                let last_sends = producers.entry(&operation.process).or_default();
                send(analysis, findings, position, last_sends);
            }
            // As in Jepsen, dropping a key makes a process forget what it sent there too.
            Action::Assign(keys) | Action::Subscribe(keys) => {
                if let Some(last_sends) = producers.get_mut(&operation.process) {
                    let kept: FxHashSet<KeyId> =
                        keys.iter().filter_map(|key| analysis.effects.key_id(key)).collect();
                    last_sends.retain(|key, _| kept.contains(key));
                }
            }
            _ => {}
        }
    }
}

fn send(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    position: usize,
    last_sends: &mut LastSends,
) {
    for run in by_key(analysis.effects.writes(position)) {
        let ([first, .., last] | [first @ last]) = run else {
            continue;
        };
        if let Some((before, sent_at)) = last_sends.insert(first.key, (*last, position))
            && analysis.logs.distance(before.record, first.record) < 1
        {
            if analysis.has_moved(before.record) || analysis.has_moved(first.record) {
                findings.excuse(Name::NonmonotonicSend, Reason::UndecidableTail);
                continue;
            }
            report(analysis, findings, (&before, sent_at), (first, position));
        }
    }
}

fn report(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    before: (&Touch, usize),
    after: (&Touch, usize),
) {
    let key = analysis.key_of(after.0.record);
    let sentence = format!(
        "{} sent {} to key {key} ({}) and later {} ({}), which doesn't come after it",
        analysis.operation(after.1).process,
        analysis.show(before.0.record),
        analysis.name(before.1),
        analysis.show(after.0.record),
        analysis.name(after.1),
    );
    let finding = Finding::new(sentence, [before.1, after.1])
        .key(key)
        .offsets(before.0.offset().into_iter().chain(after.0.offset()))
        .values([before.0, after.0].map(|touch| analysis.effects.record(touch.record).value));
    findings.report(Name::NonmonotonicSend, finding);
}

//! What a consumer passed over between two records, for the checkers that look at skips.

use super::{Finding, Findings};
use crate::analysis::{Analysis, Reason, RecordId, Step};
use crate::anomaly::Name;

/// How many of the records passed over a witness names.
const NAMED_MAX: usize = 8;

/// Reports a step that passed over records, unless all of them may have been missing by then.
pub(super) fn report(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    name: Name,
    step: &Step,
) {
    let mut excuse = Reason::Told;
    let mut skipped: Vec<RecordId> = Vec::new();
    for record in between(analysis, step) {
        match analysis.removal(record).filter(|removal| removal.since < step.to_at) {
            Some(removal) if skipped.is_empty() => excuse = removal.reason,
            Some(_) => {}
            None => skipped.push(record),
        }
        if skipped.len() == NAMED_MAX {
            break;
        }
    }
    let Some(first) = skipped.first() else {
        findings.excuse(name, excuse);
        return;
    };
    let key = analysis.key_of(*first);
    let passed: Vec<String> = skipped.iter().map(|record| analysis.show(*record)).collect();
    let passed = passed.join(", ");
    let (from, to) = (analysis.show(step.from.record), analysis.show(step.to.record));
    let sentence = if step.within_one() {
        format!(
            "{} polled {from} and then {to} from key {key}, passing over {passed}",
            analysis.name(step.to_at)
        )
    } else {
        let process = &analysis.operation(step.to_at).process;
        let (before, after) = (analysis.name(step.from_at), analysis.name(step.to_at));
        format!(
            "{process} left key {key} at {from} ({before}) and went on at {to} ({after}), passing over {passed}"
        )
    };
    let finding = Finding::new(sentence, [step.from_at, step.to_at])
        .key(key)
        .offsets(step.from.offset().into_iter().chain(step.to.offset()))
        .values(skipped.iter().map(|record| analysis.effects.record(*record).value));
    findings.report(name, finding);
}

/// Reports a step that went back, or stayed.
pub(super) fn report_backwards(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    name: Name,
    step: &Step,
) {
    let key = analysis.key_of(step.to.record);
    let (from, to) = (analysis.show(step.from.record), analysis.show(step.to.record));
    let sentence = if step.within_one() {
        format!(
            "{} polled {from} and then {to} from key {key}, which doesn't come after it",
            analysis.name(step.to_at)
        )
    } else {
        let process = &analysis.operation(step.to_at).process;
        let (before, after) = (analysis.name(step.from_at), analysis.name(step.to_at));
        format!(
            "{process} left key {key} at {from} ({before}) and went on at {to} ({after}), which doesn't come after it"
        )
    };
    let finding = Finding::new(sentence, [step.from_at, step.to_at])
        .key(key)
        .offsets(step.from.offset().into_iter().chain(step.to.offset()))
        .values(
            [step.from.record, step.to.record].map(|record| analysis.effects.record(record).value),
        );
    findings.report(name, finding);
}

/// The records that stand in the log between the two of a step.
fn between<'a>(analysis: &'a Analysis<'_>, step: &Step) -> impl Iterator<Item = RecordId> + 'a {
    let index = |record| analysis.logs.place(record).index();
    let range = match (index(step.from.record), index(step.to.record)) {
        (Some(from), Some(to)) if from < to => from + 1..to,
        _ => 0..0,
    };
    analysis.logs.log(step.to.key)[range].iter().map(|entry| entry.record)
}

//! What a consumer passed over between two records, for the checkers that look at skips.

use std::ops::Range;

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
    let passed_over = between(analysis, step);
    let log = analysis.logs.log(step.to.key);
    let mut skipped: Vec<RecordId> = Vec::new();
    let mut from = passed_over.start;
    while skipped.len() < NAMED_MAX
        && let Some(index) = analysis
            .presence
            .next(step.to.key, from, step.to_at)
            .filter(|index| passed_over.contains(index))
    {
        skipped.push(log[index].record);
        from = index + 1;
    }
    let Some(first) = skipped.first() else {
        let last = passed_over.last().and_then(|index| analysis.removal(log[index].record));
        findings.excuse(name, last.map_or(Reason::Told, |removal| removal.reason));
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

/// Whether one of the records of a step was lost with a tail and sent again, so that
/// it has stood in two places.
pub(super) fn has_moved(analysis: &Analysis<'_>, step: &Step) -> bool {
    analysis.has_moved(step.from.record) || analysis.has_moved(step.to.record)
}

/// Where the records stand in the log that are between the two of a step.
fn between(analysis: &Analysis<'_>, step: &Step) -> Range<usize> {
    let index = |record| analysis.logs.place(record).index();
    match (index(step.from.record), index(step.to.record)) {
        (Some(from), Some(to)) if from < to => from + 1..to,
        _ => 0..0,
    }
}

#![doc = include_str!("../../anomalies/realtime-order.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, Reason, Touch, by_key};
use crate::anomaly::Name;
use crate::history::Kind;

/// The highest acknowledged offset of a key from some position on.
#[derive(Clone, Copy)]
struct Acknowledged {
    at: usize,
    touch: Touch,
    offset: u64,
}

/// Compares each acknowledged record with those that were acknowledged before its send began.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    // For each key, each time the highest acknowledged offset rose.
    let mut rises: Vec<Vec<Acknowledged>> = vec![Vec::new(); analysis.effects.key_count()];
    for (position, operation) in analysis.completions() {
        if operation.kind != Kind::Ok {
            continue;
        }
        for run in by_key(analysis.effects.writes(position)) {
            let lowest = run
                .iter()
                .filter(|touch| touch.offset().is_some())
                .min_by_key(|touch| touch.offset());
            let highest = run
                .iter()
                .filter(|touch| touch.offset().is_some())
                .max_by_key(|touch| touch.offset());
            let (Some(lowest), Some(highest)) = (lowest, highest) else {
                continue;
            };
            let rises = &mut rises[lowest.key.number()];
            if let Some(invoked) = analysis.timeline.invocation(position) {
                let before = rises.partition_point(|rise| rise.at < invoked);
                if let Some(earlier) = before.checked_sub(1).map(|last| rises[last]) {
                    judge(analysis, findings, &earlier, position, lowest);
                }
            }
            let offset = highest.offset().unwrap_or_default();
            if rises.last().is_none_or(|last| last.offset < offset) {
                rises.push(Acknowledged { at: position, touch: *highest, offset });
            }
        }
    }
}

fn judge(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    earlier: &Acknowledged,
    position: usize,
    later: &Touch,
) {
    let Some(offset) = later.offset().filter(|offset| *offset < earlier.offset) else {
        return;
    };
    if analysis.removals.undecidable(later.key, offset, (earlier.at, position)) {
        findings.excuse(Name::RealtimeOrder, Reason::UndecidableTail);
        return;
    }
    let key = analysis.effects.key(later.key);
    let sentence = format!(
        "{} was acknowledged at offset {} of key {key} ({}) before {} was sent ({}), which went to offset {offset}",
        analysis.show(earlier.touch.record),
        earlier.offset,
        analysis.name(earlier.at),
        analysis.show(later.record),
        analysis.name(position),
    );
    let finding = Finding::new(sentence, [earlier.at, position])
        .key(key)
        .offsets([earlier.offset, offset])
        .values(
            [earlier.touch.record, later.record]
                .map(|record| analysis.effects.record(record).value),
        );
    findings.report(Name::RealtimeOrder, finding);
}

#![doc = include_str!("../../anomalies/duplicate.md")]

use std::collections::BTreeMap;

use super::{Finding, Findings};
use crate::analysis::{Analysis, Reason, RecordId};
use crate::anomaly::Name;

/// Reports every record that was seen at more than one offset.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let twice = |record: &RecordId| {
        let place = analysis.logs.place(*record);
        place.first_index() != place.last_index()
    };
    let duplicates: Vec<RecordId> =
        analysis.effects.records().map(|(record, _)| record).filter(twice).collect();
    if duplicates.is_empty() {
        return;
    }
    let mut seen = offsets(analysis, &duplicates);
    for record in duplicates {
        let Some(at) = seen.remove(&record) else {
            continue;
        };
        if moved_by_tails(analysis, record, &at) {
            findings.excuse(Name::Duplicate, Reason::UndecidableTail);
            continue;
        }
        let key = analysis.key_of(record);
        let places =
            at.iter().map(|(offset, seen)| format!("{offset} ({})", analysis.name(seen.first)));
        let places: Vec<String> = places.collect();
        let sentence = format!(
            "{} stands in key {key} at offsets {}",
            analysis.show(record),
            places.join(" and ")
        );
        findings.report(
            Name::Duplicate,
            Finding::new(sentence, at.values().map(|seen| seen.first))
                .key(key)
                .offsets(at.keys().copied())
                .values([analysis.effects.record(record).value]),
        );
    }
}

/// When a record was seen at an offset.
#[derive(Clone, Copy)]
struct Seen {
    first: usize,
    last: usize,
}

/// Whether the record was lost with a tail from each place before it turned up in
/// the next: then somebody has sent it again.
fn moved_by_tails(analysis: &Analysis<'_>, record: RecordId, at: &BTreeMap<u64, Seen>) -> bool {
    let mut places: Vec<(u64, Seen)> = at.iter().map(|(offset, seen)| (*offset, *seen)).collect();
    places.sort_by_key(|(_, seen)| seen.first);
    let key = analysis.effects.record(record).key;
    places.windows(2).all(|pair| {
        let [(offset, before), (_, after)] = pair else { return true };
        analysis.removals.undecidable(key, *offset, (before.last, after.first))
    })
}

/// For each of these records every offset at which it was seen, and when.
fn offsets(
    analysis: &Analysis<'_>,
    records: &[RecordId],
) -> BTreeMap<RecordId, BTreeMap<u64, Seen>> {
    let mut seen: BTreeMap<RecordId, BTreeMap<u64, Seen>> =
        records.iter().map(|record| (*record, BTreeMap::new())).collect();
    for (position, _) in analysis.completions() {
        let writes =
            if analysis.logs.committed(position) { analysis.effects.writes(position) } else { &[] };
        for touch in writes.iter().chain(analysis.effects.reads(position)) {
            if let (Some(offset), Some(offsets)) = (touch.offset(), seen.get_mut(&touch.record)) {
                let first = Seen { first: position, last: position };
                offsets.entry(offset).or_insert(first).last = position;
            }
        }
    }
    seen
}

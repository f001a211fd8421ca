#![doc = include_str!("../../anomalies/duplicate.md")]

use std::collections::BTreeMap;

use super::{Finding, Findings};
use crate::analysis::{Analysis, RecordId};
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
        let key = analysis.key_of(record);
        let places: Vec<String> =
            at.iter().map(|(offset, by)| format!("{offset} ({})", analysis.name(*by))).collect();
        let sentence = format!(
            "{} stands in key {key} at offsets {}",
            analysis.show(record),
            places.join(" and ")
        );
        findings.report(
            Name::Duplicate,
            Finding::new(sentence, at.values().copied())
                .key(key)
                .offsets(at.keys().copied())
                .values([analysis.effects.record(record).value]),
        );
    }
}

/// For each of these records every offset at which it was seen, with the first operation that saw it there.
fn offsets(
    analysis: &Analysis<'_>,
    records: &[RecordId],
) -> BTreeMap<RecordId, BTreeMap<u64, usize>> {
    let mut seen: BTreeMap<RecordId, BTreeMap<u64, usize>> =
        records.iter().map(|record| (*record, BTreeMap::new())).collect();
    for (position, _) in analysis.completions() {
        let writes =
            if analysis.logs.committed(position) { analysis.effects.writes(position) } else { &[] };
        for touch in writes.iter().chain(analysis.effects.reads(position)) {
            if let (Some(offset), Some(offsets)) = (touch.offset(), seen.get_mut(&touch.record)) {
                offsets.entry(offset).or_insert(position);
            }
        }
    }
    seen
}

#![doc = include_str!("../../anomalies/lost-write.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, RecordId};
use crate::anomaly::Name;

/// How far a key was read.
#[derive(Clone, Copy)]
struct Bound {
    index: usize,
    /// The record that was read there.
    record: RecordId,
    /// The operation that read it.
    reader: usize,
}

/// Reports every committed record that stands in the log before one that was read, and was itself read by nobody.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let bounds = bounds(analysis);
    for (id, record) in analysis.effects.records() {
        // A record that stands at several offsets need only be read at one of them, so its last place decides.
        let place = analysis.logs.place(id);
        let (Some(bound), Some(last), Some(writer)) =
            (bounds[record.key.number()], place.last_index(), record.writer)
        else {
            continue;
        };
        if record.ok_reader.is_some() || last > bound.index || !analysis.logs.committed(writer) {
            continue;
        }
        if let Some(removal) = analysis.removal(id) {
            findings.excuse(Name::LostWrite, removal.reason);
            continue;
        }
        let key = analysis.key_of(id);
        let offset = place
            .first_index()
            .and_then(|index| analysis.logs.log(record.key).get(index))
            .map(|entry| entry.offset);
        let sentence = format!(
            "{} was sent to key {key} ({}) and nobody polled it, though {} was polled from behind it ({})",
            analysis.show(id),
            analysis.name(writer),
            analysis.show(bound.record),
            analysis.name(bound.reader),
        );
        let finding = Finding::new(sentence, [writer, bound.reader])
            .key(key)
            .offsets(offset)
            .values([record.value]);
        findings.report(Name::LostWrite, finding);
    }
}

/// For each key the highest index that must have been read: a record that was read stands at least at its first place.
fn bounds(analysis: &Analysis<'_>) -> Vec<Option<Bound>> {
    let mut bounds: Vec<Option<Bound>> = vec![None; analysis.effects.key_count()];
    for (id, record) in analysis.effects.records() {
        let (Some(reader), Some(index)) = (record.ok_reader, analysis.logs.place(id).first_index())
        else {
            continue;
        };
        let bound = &mut bounds[record.key.number()];
        if bound.is_none_or(|bound| index > bound.index) {
            *bound = Some(Bound { index, record: id, reader });
        }
    }
    bounds
}

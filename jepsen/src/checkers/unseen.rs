#![doc = include_str!("../../anomalies/unseen.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, RecordId};
use crate::anomaly::Name;

/// How many of a key's records a witness names.
const NAMED_MAX: usize = 8;

/// Reports for each key the acknowledged records that no `ok` operation polled.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut unseen: Vec<Vec<(RecordId, usize)>> = vec![Vec::new(); analysis.effects.key_count()];
    for (id, record) in analysis.effects.records() {
        let (Some(writer), None) = (record.ok_writer, record.ok_reader) else {
            continue;
        };
        match analysis.removal(id) {
            Some(removal) => findings.excuse(Name::Unseen, removal.reason),
            None => unseen[record.key.number()].push((id, writer)),
        }
    }
    for records in unseen {
        let Some((first, _)) = records.first() else {
            continue;
        };
        let key = analysis.key_of(*first);
        let named = &records[..records.len().min(NAMED_MAX)];
        let values: Vec<String> = named
            .iter()
            .map(|(id, writer)| format!("{} ({})", analysis.show(*id), analysis.name(*writer)))
            .collect();
        let more = if records.len() > named.len() { ", …" } else { "" };
        let (were, count) =
            if records.len() == 1 { ("record was", 1) } else { ("records were", records.len()) };
        let sentence = format!(
            "{count} acknowledged {were} never polled from key {key}: {}{more}",
            values.join(", ")
        );
        let finding = Finding::new(sentence, named.iter().map(|(_, writer)| *writer))
            .key(key)
            .offsets(named.iter().filter_map(|(id, _)| offset(analysis, *id)))
            .values(named.iter().map(|(id, _)| analysis.effects.record(*id).value));
        findings.report(Name::Unseen, finding);
    }
}

fn offset(analysis: &Analysis<'_>, record: RecordId) -> Option<u64> {
    let index = analysis.logs.place(record).first_index()?;
    Some(analysis.logs.log(analysis.effects.record(record).key).get(index)?.offset)
}

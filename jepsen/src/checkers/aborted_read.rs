#![doc = include_str!("../../anomalies/aborted-read.md")]

use super::{Finding, Findings};
use crate::analysis::Analysis;
use crate::anomaly::Name;
use crate::history::Kind;

/// Reports every record that an `ok` operation polled although an operation that sent it failed.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for (reader, operation) in analysis.completions() {
        if operation.kind != Kind::Ok {
            continue;
        }
        for touch in analysis.effects.reads(reader) {
            let record = analysis.effects.record(touch.record);
            let Some(writer) = record.failed_writer else {
                continue;
            };
            let key = analysis.key_of(touch.record);
            let sentence = format!(
                "{} was polled from key {key} ({}), but the operation that sent it had failed ({})",
                analysis.show(touch.record),
                analysis.name(reader),
                analysis.name(writer),
            );
            let finding = Finding::new(sentence, [writer, reader])
                .key(key)
                .offsets(touch.offset())
                .values([record.value]);
            findings.report(Name::AbortedRead, finding);
        }
    }
}

#![doc = include_str!("../../anomalies/precommitted-read.md")]

use rustc_hash::FxHashSet;

use super::{Finding, Findings};
use crate::analysis::{Analysis, RecordId};
use crate::anomaly::Name;

/// Reports every transaction that polled a record of its own, once however many there are, as Jepsen does.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for (position, _) in analysis.completions() {
        let (writes, reads) = (analysis.effects.writes(position), analysis.effects.reads(position));
        if writes.is_empty() || reads.is_empty() {
            continue;
        }
        let own: FxHashSet<RecordId> = writes.iter().map(|touch| touch.record).collect();
        let Some(touch) = reads.iter().find(|touch| own.contains(&touch.record)) else {
            continue;
        };
        let key = analysis.key_of(touch.record);
        let sentence = format!(
            "{} sent {} to key {key} and polled it before it was committed",
            analysis.name(position),
            analysis.show(touch.record),
        );
        let finding = Finding::new(sentence, [position])
            .key(key)
            .offsets(touch.offset())
            .values([analysis.effects.record(touch.record).value]);
        findings.report(Name::PrecommittedRead, finding);
    }
}

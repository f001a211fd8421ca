#![doc = include_str!("../../anomalies/offset-reuse.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, KeyId, Reason};
use crate::anomaly::Name;

/// Looks at offsets with two records, of which one was last seen before a crash and the other first seen after it.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for key in (0..analysis.effects.key_count()).map(KeyId::new) {
        for entry in analysis.logs.log(key) {
            for pair in entry.conflict.as_deref().unwrap_or_default().windows(2) {
                let [before, after] = pair else { continue };
                let Some(crash) = analysis.timeline.crash_between(before.last, after.first) else {
                    continue;
                };
                if analysis.removals.undecidable(key, entry.offset, (before.last, after.first)) {
                    findings.excuse(Name::OffsetReuse, Reason::UndecidableTail);
                    continue;
                }
                let name = analysis.effects.key(key);
                let sentence = format!(
                    "offset {} of key {name} held {} ({}), and after a crash ({}) it holds {} ({})",
                    entry.offset,
                    analysis.show(before.record),
                    analysis.name(before.last),
                    analysis.name(crash),
                    analysis.show(after.record),
                    analysis.name(after.first),
                );
                let finding = Finding::new(sentence, [before.last, crash, after.first])
                    .key(name)
                    .offsets([entry.offset])
                    .values(
                        [before.record, after.record]
                            .map(|record| analysis.effects.record(record).value),
                    );
                findings.report(Name::OffsetReuse, finding);
            }
        }
    }
}

#![doc = include_str!("../../anomalies/offset-reuse.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, KeyId, Reason};
use crate::anomaly::Name;

/// Looks at offsets with several records, of which one was seen before a crash and the next one for the first time after it.
///
/// Neighbours are enough: where a crash lies between the first sightings of any two records, it lies between those of two that
/// follow each other.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for key in (0..analysis.effects.key_count()).map(KeyId::new) {
        for entry in analysis.logs.log(key) {
            for pair in entry.conflict.as_deref().unwrap_or_default().windows(2) {
                let [before, after] = pair else { continue };
                let crash_before = |seen| analysis.timeline.crash_between(seen, after.first);
                // A record may be seen again after the crash, and then its first sighting is the one before.
                let Some((seen, crash)) = [before.last, before.first]
                    .into_iter()
                    .find_map(|seen| Some((seen, crash_before(seen)?)))
                else {
                    continue;
                };
                // What was lost with a tail can't be seen again, so the last sighting counts here.
                if analysis.removals.undecidable(key, entry.offset, (before.last, after.first)) {
                    findings.excuse(Name::OffsetReuse, Reason::UndecidableTail);
                    continue;
                }
                let name = analysis.effects.key(key);
                let sentence = format!(
                    "offset {} of key {name} held {} ({}), and after a crash ({}) it holds {} ({})",
                    entry.offset,
                    analysis.show(before.record),
                    analysis.name(seen),
                    analysis.name(crash),
                    analysis.show(after.record),
                    analysis.name(after.first),
                );
                let finding = Finding::new(sentence, [seen, crash, after.first])
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

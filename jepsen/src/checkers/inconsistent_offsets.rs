#![doc = include_str!("../../anomalies/inconsistent-offsets.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, KeyId, Reason};
use crate::anomaly::Name;

/// Reports every offset at which two records were seen.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for key in (0..analysis.effects.key_count()).map(KeyId::new) {
        for entry in analysis.logs.log(key) {
            let Some(sightings) = &entry.conflict else {
                continue;
            };
            let excused = sightings.windows(2).all(|pair| match pair {
                [before, after] => {
                    analysis.removals.undecidable(key, entry.offset, (before.last, after.first))
                }
                _ => false,
            });
            if excused {
                findings.excuse(Name::InconsistentOffsets, Reason::UndecidableTail);
                continue;
            }
            let seen: Vec<String> = sightings
                .iter()
                .map(|sighting| {
                    format!(
                        "{} ({})",
                        analysis.show(sighting.record),
                        analysis.name(sighting.first)
                    )
                })
                .collect();
            let name = analysis.effects.key(key);
            let sentence =
                format!("offset {} of key {name} holds {}", entry.offset, seen.join(" and "));
            findings.report(
                Name::InconsistentOffsets,
                Finding::new(sentence, sightings.iter().map(|sighting| sighting.first))
                    .key(name)
                    .offsets([entry.offset])
                    .values(
                        sightings
                            .iter()
                            .map(|sighting| analysis.effects.record(sighting.record).value),
                    ),
            );
        }
    }
}

#![doc = include_str!("../../anomalies/silent-corruption.md")]

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Finding, Findings};
use crate::analysis::{Analysis, KeyId, Reason, RecordId};
use crate::anomaly::Name;
use crate::merkle::Hash;

/// Compares the hashes that operations carry for one record, and looks for records that nobody sent.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for key in (0..analysis.effects.key_count()).map(KeyId::new) {
        hashes(analysis, findings, key);
    }
    if analysis.declared.all_sends {
        unknown_records(analysis, findings);
    }
}

/// A record's first hash is its sender's, if the sender gave one. Other records at the same offset are other anomalies.
fn hashes(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>, id: KeyId) {
    let key = analysis.effects.key(id);
    for (offset, run) in analysis.hashes.of(key) {
        let mut firsts: FxHashMap<Option<RecordId>, (Hash, usize)> = FxHashMap::default();
        for (_, seen) in run {
            let (hash, first_at) = *firsts.entry(seen.record).or_insert((seen.hash, seen.at));
            if hash == seen.hash {
                continue;
            }
            // One that was lost with a tail and sent again has another timestamp.
            let between = (first_at.min(seen.at), first_at.max(seen.at));
            if analysis.removals.undecidable(id, offset, between) {
                findings.excuse(Name::SilentCorruption, Reason::UndecidableTail);
                continue;
            }
            let record =
                seen.record.map_or_else(|| "the record".into(), |record| analysis.show(record));
            let sentence = format!(
                "{record} at offset {offset} of key {key} has hash {hash} ({}), and was served with bytes of hash {} ({})",
                analysis.name(first_at),
                seen.hash,
                analysis.name(seen.at),
            );
            let finding = Finding::new(sentence, [first_at, seen.at]).key(key).offsets([offset]);
            findings.report(Name::SilentCorruption, finding);
        }
    }
}

/// Where every send is recorded, a polled record that nobody sent is made up.
fn unknown_records(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut reported = FxHashSet::default();
    for (position, _) in analysis.completions() {
        for touch in analysis.effects.reads(position) {
            let record = analysis.effects.record(touch.record);
            if record.attempted || !reported.insert(touch.record) {
                continue;
            }
            let key = analysis.key_of(touch.record);
            let sentence = format!(
                "{} was polled from key {key} ({}), and nobody ever sent it",
                analysis.show(touch.record),
                analysis.name(position),
            );
            let finding = Finding::new(sentence, [position])
                .key(key)
                .offsets(touch.offset())
                .values([record.value]);
            findings.report(Name::SilentCorruption, finding);
        }
    }
}

#![doc = include_str!("../../anomalies/undeleted.md")]

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Finding, Findings};
use crate::analysis::{Analysis, FullRead, KeyId, Ranges, Reason, RecordId, Touch, flatten};
use crate::anomaly::Name;
use crate::history::{Action, Datum, Kind};

/// What is gone at some position of the history.
#[derive(Debug, Default)]
struct State {
    gone: FxHashMap<KeyId, Ranges>,
    /// What was, before a tail was lost without a trace, and the removal perhaps with it.
    doubtful: FxHashMap<KeyId, Ranges>,
    reported: FxHashSet<(KeyId, u64)>,
}

impl State {
    fn doubt(&mut self) {
        for (key, gone) in self.gone.drain() {
            let doubtful = self.doubtful.entry(key).or_default();
            gone.into_iter().for_each(|(span, at)| doubtful.add(span, at));
        }
    }
}

/// Looks at every read with what was gone when it began, and at full reads for what tombstones had ended.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut state = State::default();
    for (position, operation) in analysis.operations() {
        match (&operation.action, operation.kind) {
            (Action::Removed(spans), Kind::Ok | Kind::Info) => {
                for (key, span) in flatten(spans) {
                    if let Some(key) = analysis.effects.key_id(key) {
                        state.gone.entry(key).or_default().add(span, position);
                    }
                }
            }
            (Action::UndecidableTail(_), Kind::Ok | Kind::Info) => state.doubt(),
            (Action::Poll(_) | Action::Txn(_), kind) => {
                // A read is judged by what was gone when it began.
                let ended = match kind {
                    Kind::Invoke => analysis.timeline.completion(position),
                    _ => analysis.timeline.invocation(position).is_none().then_some(position),
                };
                if let Some(ended) = ended {
                    read(analysis, findings, &mut state, (position, ended));
                }
            }
            _ => {}
        }
    }
    for full in &analysis.full_reads.reads {
        outlived(analysis, findings, full);
    }
}

fn read(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    state: &mut State,
    (began, ended): (usize, usize),
) {
    let lost_meanwhile = analysis.removals.undecidable_between(began, ended);
    for touch in analysis.effects.reads(ended) {
        let Touch { key, record, .. } = *touch;
        let Some(offset) = touch.offset() else { continue };
        let said = |gone: &FxHashMap<KeyId, Ranges>| gone.get(&key)?.at(offset);
        let Some(at) = said(&state.gone) else {
            if said(&state.doubtful).is_some() {
                findings.excuse(Name::Undeleted, Reason::UndecidableTail);
            }
            continue;
        };
        if lost_meanwhile {
            findings.excuse(Name::Undeleted, Reason::UndecidableTail);
        } else if state.reported.insert((key, offset)) {
            let name = analysis.effects.key(key);
            let sentence = format!(
                "{} at offset {offset} of key {name} was gone for good ({}), and a later read returned it ({})",
                analysis.show(record),
                analysis.name(at),
                analysis.name(ended),
            );
            let finding = Finding::new(sentence, [at, ended])
                .key(name)
                .offsets([offset])
                .values([analysis.effects.record(record).value]);
            findings.report(Name::Undeleted, finding);
        }
    }
}

/// Looks for records that a full read returned without the tombstone that ended them.
fn outlived(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>, read: &FullRead) {
    let removals = &analysis.removals;
    if !removals.is_compacted(read.key)
        || removals.compacted_between(read.key, read.began, read.ended)
        || removals.has_tails(read.key)
    {
        return;
    }
    // Of each record key the last record that was returned, and the tombstone behind it that was not.
    let mut last: FxHashMap<&Datum, (RecordId, Option<RecordId>)> = FxHashMap::default();
    for entry in analysis.logs.log(read.key).iter().take_while(|entry| entry.offset < read.end) {
        let Some(known_by) = analysis.record_keys.of(entry.record) else { continue };
        let record = analysis.effects.record(entry.record);
        if analysis.full_reads.returned(read, entry.record) {
            last.insert(known_by.key, (entry.record, None));
        } else if let Some((_, ended_by)) = last.get_mut(known_by.key)
            && known_by.is_tombstone
            && record.ok_writer.is_some_and(|writer| writer < read.began)
        {
            *ended_by = Some(entry.record);
        }
    }
    let mut found: Vec<(RecordId, RecordId)> =
        last.into_values().filter_map(|(record, ended_by)| Some((record, ended_by?))).collect();
    found.sort_unstable();
    for (record, tombstone) in found {
        let writer = analysis.effects.record(tombstone).ok_writer;
        let key = analysis.key_of(record);
        let sentence = format!(
            "a full read of key {key} ({}) returned {}, and not the tombstone {} that had ended it ({})",
            analysis.name(read.ended),
            analysis.show(record),
            analysis.show(tombstone),
            writer.map_or_else(String::new, |writer| analysis.name(writer)),
        );
        let finding = Finding::new(sentence, writer.into_iter().chain([read.ended]))
            .key(key)
            .values([record, tombstone].map(|record| analysis.effects.record(record).value));
        findings.report(Name::Undeleted, finding);
    }
}

#![doc = include_str!("../../anomalies/vanished-read.md")]

use rustc_hash::FxHashSet;

use super::{Finding, Findings};
use crate::analysis::{Analysis, Entry, FullRead, RecordId};
use crate::anomaly::Name;
use crate::history::Kind;

/// The highest offset of a key that was polled up to some position.
#[derive(Clone, Copy)]
struct Polled {
    at: usize,
    offset: u64,
    record: RecordId,
}

/// Looks for polled records behind the ends that were seen after a crash, and for ones that full reads didn't return.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut reported = FxHashSet::default();
    let mut report = |record: RecordId, polled_at: usize, crash: usize, missed_at: usize| {
        if !reported.insert(record) {
            return;
        }
        if let Some(removal) = analysis.removal(record) {
            findings.excuse(Name::VanishedRead, removal.reason);
            return;
        }
        let key = analysis.key_of(record);
        let sentence = format!(
            "{} was polled from key {key} ({}), and after a crash ({}) it is gone ({})",
            analysis.show(record),
            analysis.name(polled_at),
            analysis.name(crash),
            analysis.name(missed_at),
        );
        let finding = Finding::new(sentence, [polled_at, crash, missed_at])
            .key(key)
            .values([analysis.effects.record(record).value]);
        findings.report(Name::VanishedRead, finding);
    };
    let rises = rises(analysis);
    for seen in &analysis.full_reads.ends {
        let Some(crash) = analysis.timeline.last_crash_before(seen.call.0) else {
            continue;
        };
        let rises = &rises[seen.key.number()];
        let before = rises.partition_point(|polled| polled.at < crash);
        if let Some(polled) =
            before.checked_sub(1).map(|last| rises[last]).filter(|polled| polled.offset >= seen.end)
        {
            report(polled.record, polled.at, crash, seen.call.1);
        }
    }
    for read in &analysis.full_reads.reads {
        let Some(crash) = analysis.timeline.last_crash_before(read.began) else {
            continue;
        };
        for (record, polled_at) in missed(analysis, read, crash) {
            report(record, polled_at, crash, read.ended);
        }
    }
}

/// The records that were polled before the crash, and that the full read should have returned and didn't.
fn missed<'a>(
    analysis: &'a Analysis<'_>,
    read: &'a FullRead,
    crash: usize,
) -> impl Iterator<Item = (RecordId, usize)> + 'a {
    let within = analysis.logs.log(read.key).iter().take_while(|entry| entry.offset < read.end);
    // A record that was met at another offset is a duplicate, and not gone.
    let met = |entry: &&Entry| {
        read.offsets.contains(&entry.offset) || read.records.contains(&entry.record)
    };
    within.filter(move |entry| !met(entry)).filter_map(move |entry| {
        let polled_at = analysis.effects.record(entry.record).ok_reader.filter(|at| *at < crash)?;
        Some((entry.record, polled_at))
    })
}

/// For each key, each time the highest polled offset rose.
fn rises(analysis: &Analysis<'_>) -> Vec<Vec<Polled>> {
    let mut rises: Vec<Vec<Polled>> = vec![Vec::new(); analysis.effects.key_count()];
    if analysis.full_reads.ends.is_empty() {
        return rises;
    }
    for (at, operation) in analysis.completions() {
        if operation.kind != Kind::Ok {
            continue;
        }
        for touch in analysis.effects.reads(at) {
            let Some(offset) = touch.offset() else { continue };
            let rises = &mut rises[touch.key.number()];
            if rises.last().is_none_or(|last| last.offset < offset) {
                rises.push(Polled { at, offset, record: touch.record });
            }
        }
    }
    rises
}

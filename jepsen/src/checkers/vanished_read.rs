#![doc = include_str!("../../anomalies/vanished-read.md")]

use rustc_hash::FxHashSet;

use super::{Finding, Findings};
use crate::analysis::{Analysis, Entry, FullRead, KeyId, NextTree, RecordId};
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
    let mut unreported: Vec<Option<NextTree<usize>>> =
        (0..analysis.effects.key_count()).map(|_| None).collect();
    for read in &analysis.full_reads.reads {
        let Some(crash) = analysis.timeline.last_crash_before(read.began) else {
            continue;
        };
        let unreported =
            unreported[read.key.number()].get_or_insert_with(|| first_polls(analysis, read.key));
        for (record, polled_at) in missed(analysis, unreported, read, crash) {
            report(record, polled_at, crash, read.ended);
        }
    }
}

/// For each entry of a log how early its record was polled: the larger, the earlier, and the least if never.
fn first_polls(analysis: &Analysis<'_>, key: KeyId) -> NextTree<usize> {
    let first =
        |entry: &Entry| analysis.effects.record(entry.record).ok_reader.map_or(0, how_early);
    NextTree::new(analysis.logs.log(key).iter().map(first))
}

fn how_early(position: usize) -> usize {
    usize::MAX - position
}

/// Takes the records that were polled before the crash, and that the full read should have returned and didn't.
fn missed(
    analysis: &Analysis<'_>,
    unreported: &mut NextTree<usize>,
    read: &FullRead,
    crash: usize,
) -> Vec<(RecordId, usize)> {
    let log = analysis.logs.log(read.key);
    let mut missed = Vec::new();
    // What the same reader had missed at an earlier end was taken then.
    let mut from = log.partition_point(|entry| entry.offset < read.end_before);
    while let Some(index) = unreported.next(from, how_early(crash).saturating_add(1))
        && let Some(entry) = log.get(index).filter(|entry| entry.offset < read.end)
    {
        from = index + 1;
        // A record that was met at another offset is a duplicate, and not gone.
        if analysis.full_reads.returned_at(read, entry.offset)
            || analysis.full_reads.returned(read, entry.record)
        {
            continue;
        }
        unreported.clear(index);
        missed.extend(
            analysis.effects.record(entry.record).ok_reader.map(|polled| (entry.record, polled)),
        );
    }
    missed
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

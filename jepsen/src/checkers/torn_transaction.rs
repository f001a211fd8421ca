#![doc = include_str!("../../anomalies/torn-transaction.md")]

use rustc_hash::FxHashSet;

use super::{Finding, Findings, torn_commit};
use crate::analysis::{Analysis, FullRead, RecordId, Touch};
use crate::anomaly::Name;
use crate::history::{Action, Kind};

/// A record that must be visible, for another one of its transaction was polled.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// The operation that sent both.
    transaction: usize,
    /// The one that was polled, and by which operation.
    seen: RecordId,
    seen_at: usize,
    /// The one that must be visible from then on.
    record: RecordId,
    /// The lowest end that its log can have, where its offset is known.
    end_min: Option<u64>,
}

/// Looks for records that must be visible, because another one was polled or their transaction's commit was read.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    torn_commit::check(analysis, findings);
    if analysis.full_reads.reads.is_empty() && analysis.full_reads.ends.is_empty() {
        return;
    }
    let mut reported = FxHashSet::default();
    let mut report = |due: &Due, missed_at: usize| {
        if !reported.insert((due.transaction, due.record)) {
            return;
        }
        if let Some(removal) = analysis.removal(due.record) {
            findings.excuse(Name::TornTransaction, removal.reason);
            return;
        }
        findings.report(Name::TornTransaction, finding(analysis, due, missed_at));
    };
    let dues = dues(analysis);
    let latest_reads = latest_reads(analysis);
    for due in dues.iter().flatten() {
        if let Some(read) = full_read_without(analysis, &latest_reads, due) {
            report(due, read.ended);
        }
    }
    let rises: Vec<Vec<Due>> = dues.into_iter().map(rises).collect();
    for seen in &analysis.full_reads.ends {
        let rises = &rises[seen.key.number()];
        let before = rises.partition_point(|due| due.seen_at < seen.call.0);
        let Some(due) = before.checked_sub(1).map(|last| &rises[last]) else {
            continue;
        };
        let was_visible =
            analysis.effects.record(due.record).ok_reader.is_some_and(|at| at < seen.call.0);
        if due.end_min > Some(seen.end) && !was_visible {
            report(due, seen.call.1);
        }
    }
}

/// For each key the records that must be visible, in the order in which they came due.
fn dues(analysis: &Analysis<'_>) -> Vec<Vec<Due>> {
    let mut dues: Vec<Vec<Due>> = vec![Vec::new(); analysis.effects.key_count()];
    for (position, operation) in analysis.completions() {
        let whole = match operation.action {
            Action::Txn(_) => true,
            Action::Send(_) => analysis.declared.atomic_batches,
            _ => false,
        };
        let writes = analysis.effects.writes(position);
        if !whole || operation.kind == Kind::Fail || writes.len() < 2 {
            continue;
        }
        let reader = |touch: &Touch| {
            analysis.effects.record(touch.record).ok_reader.map(|at| (at, touch.record))
        };
        let began = analysis.timeline.start(position);
        // One that was sent before says nothing of this attempt: it may have been lost with a tail since.
        let is_first = |touch: &&Touch| {
            analysis.effects.record(touch.record).sent_from.is_none_or(|from| from >= began)
        };
        let own = writes.iter().filter(|touch| !analysis.was_sent_again(position, touch.record));
        let own = own.filter(is_first);
        let Some((seen_at, seen)) = own.filter_map(reader).min() else {
            continue;
        };
        for touch in writes.iter().filter(|touch| reader(touch).is_none_or(|(at, _)| at > seen_at))
        {
            dues[touch.key.number()].push(Due {
                transaction: position,
                seen,
                seen_at,
                record: touch.record,
                end_min: offset(analysis, touch).and_then(|offset| offset.checked_add(1)),
            });
        }
    }
    for dues in &mut dues {
        dues.sort_by_key(|due| due.seen_at);
    }
    dues
}

/// Where the record went: as its send says, or as others saw it.
fn offset(analysis: &Analysis<'_>, touch: &Touch) -> Option<u64> {
    let seen = analysis
        .logs
        .place(touch.record)
        .first_index()
        .and_then(|index| analysis.logs.log(touch.key).get(index));
    touch.offset().or(seen.map(|entry| entry.offset))
}

/// For each key the full reads that began later than all that ended before them.
pub(super) fn latest_reads<'a>(analysis: &'a Analysis<'_>) -> Vec<Vec<&'a FullRead>> {
    let mut latest: Vec<Vec<&FullRead>> = vec![Vec::new(); analysis.effects.key_count()];
    for read in &analysis.full_reads.reads {
        let latest = &mut latest[read.key.number()];
        if latest.last().is_none_or(|last| last.began < read.began) {
            latest.push(read);
        }
    }
    latest
}

/// The first full read that began when the record had to be visible, of a record that nobody ever polled.
fn full_read_without<'a>(
    analysis: &Analysis<'_>,
    latest_reads: &[Vec<&'a FullRead>],
    due: &Due,
) -> Option<&'a FullRead> {
    first_read_without(analysis, latest_reads, due.record, due.seen_at)
}

/// The first full read that began after a position, of a record that nobody ever polled.
pub(super) fn first_read_without<'a>(
    analysis: &Analysis<'_>,
    latest_reads: &[Vec<&'a FullRead>],
    record: RecordId,
    after: usize,
) -> Option<&'a FullRead> {
    let record = analysis.effects.record(record);
    if record.ok_reader.is_some() {
        return None;
    }
    let reads = &latest_reads[record.key.number()];
    reads.get(reads.partition_point(|read| read.began <= after)).copied()
}

/// Only those that raise the end that a log must have.
fn rises(dues: Vec<Due>) -> Vec<Due> {
    let mut rises: Vec<Due> = Vec::new();
    for due in dues {
        if due.end_min > rises.last().and_then(|last| last.end_min) {
            rises.push(due);
        }
    }
    rises
}

fn finding(analysis: &Analysis<'_>, due: &Due, missed_at: usize) -> Finding {
    let (seen_key, due_key) = (analysis.key_of(due.seen), analysis.key_of(due.record));
    let sentence = format!(
        "{} sent {} to key {seen_key} and {} to key {due_key}; the first was polled ({}), but later the second was not there ({})",
        analysis.name(due.transaction),
        analysis.show(due.seen),
        analysis.show(due.record),
        analysis.name(due.seen_at),
        analysis.name(missed_at),
    );
    Finding::new(sentence, [due.transaction, due.seen_at, missed_at])
        .key(due_key)
        .values([due.seen, due.record].map(|record| analysis.effects.record(record).value))
}

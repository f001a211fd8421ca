//! The other half of `torn-transaction`: a transaction's offsets are committed, and its records are not there.

use rustc_hash::FxHashMap;

use super::torn_transaction::{first_read_without, latest_reads};
use super::{Finding, Findings};
use crate::analysis::{Analysis, FullRead, RecordId, commits_of};
use crate::anomaly::Name;
use crate::history::{Action, Datum, Key, Kind};

/// A committed offset: the group, the key, and the offset.
type Committed<'h> = (&'h Datum, &'h Key, u64);

/// A record that is missing, by the read that went without it.
struct Missing {
    transaction: usize,
    record: RecordId,
    read: usize,
}

/// Holds each committed offset that was read against the transactions that may have committed it.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let candidates = candidates(analysis);
    if candidates.is_empty() {
        return;
    }
    let latest_reads = latest_reads(analysis);
    for (committed, read_at) in first_reads(analysis) {
        let Some(operations) = candidates.get(&committed) else { continue };
        let missing: Option<Vec<Missing>> = operations
            .iter()
            .map(|operation| missing_of(analysis, &latest_reads, *operation, read_at))
            .collect();
        // One that is whole explains the offset.
        let Some(first) = missing.as_ref().and_then(|missing| missing.first()) else { continue };
        let removal = |missing: &Missing| analysis.removal(missing.record);
        if let Some(removal) = missing.iter().flatten().find_map(removal) {
            findings.excuse(Name::TornTransaction, removal.reason);
            continue;
        }
        findings.report(Name::TornTransaction, finding(analysis, committed, read_at, first));
    }
}

/// The operations that may have committed an offset.
fn candidates<'h>(analysis: &Analysis<'h>) -> FxHashMap<Committed<'h>, Vec<usize>> {
    let mut candidates: FxHashMap<Committed<'h>, Vec<usize>> = FxHashMap::default();
    let has_transaction = analysis.operations().any(|(_, operation)| {
        !operation.action.micro_ops().is_empty() && commits_of(operation).next().is_some()
    });
    if !has_transaction {
        return candidates;
    }
    for (position, operation) in analysis.operations() {
        let open =
            operation.kind == Kind::Invoke && analysis.timeline.completion(position).is_none();
        if !open && !operation.may_have_happened() {
            continue;
        }
        for commit in commits_of(operation) {
            for (key, offset) in &commit.offsets {
                if let Some(offset) = offset {
                    candidates.entry((&commit.group, key, *offset)).or_default().push(position);
                }
            }
        }
    }
    candidates
}

/// The first read of each committed offset, in the order of the history.
fn first_reads<'h>(analysis: &Analysis<'h>) -> Vec<(Committed<'h>, usize)> {
    let mut seen: FxHashMap<Committed<'h>, usize> = FxHashMap::default();
    for (position, operation) in analysis.operations() {
        let (Action::Committed(read), Kind::Ok) = (&operation.action, operation.kind) else {
            continue;
        };
        for (key, offset) in &read.offsets {
            if let Some(offset) = offset {
                seen.entry((&read.group, key, *offset)).or_insert(position);
            }
        }
    }
    let mut reads: Vec<_> = seen.into_iter().collect();
    reads.sort_unstable_by_key(|((group, key, offset), position)| {
        (*position, group.to_string(), key.to_string(), *offset)
    });
    reads
}

/// A record of the operation that is not there; none if nothing says so.
fn missing_of(
    analysis: &Analysis<'_>,
    latest_reads: &[Vec<&FullRead>],
    operation: usize,
    read_at: usize,
) -> Option<Missing> {
    analysis.effects.writes(operation).iter().find_map(|touch| {
        let read = first_read_without(analysis, latest_reads, touch.record, read_at)?;
        Some(Missing { transaction: operation, record: touch.record, read: read.ended })
    })
}

fn finding(
    analysis: &Analysis<'_>,
    (group, key, offset): Committed<'_>,
    read_at: usize,
    missing: &Missing,
) -> Finding {
    let due_key = analysis.key_of(missing.record);
    let sentence = format!(
        "{} sent {} to key {due_key} and committed offset {offset} of key {key} for group {group}; the offset was read ({}), but later the record was not there ({})",
        analysis.name(missing.transaction),
        analysis.show(missing.record),
        analysis.name(read_at),
        analysis.name(missing.read),
    );
    Finding::new(sentence, [missing.transaction, read_at, missing.read])
        .key(due_key)
        .values([analysis.effects.record(missing.record).value])
}

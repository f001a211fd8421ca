#![doc = include_str!("../../anomalies/lost-commit.md")]
#![doc = ""]
#![doc = include_str!("../../anomalies/commit-regression.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, CommitCall, Reason};
use crate::anomaly::Name;
use crate::history::{Action, Datum, Key, Kind};

/// Compares every read of committed offsets with the commits that were acknowledged before it.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for (position, operation) in analysis.operations() {
        if let (Action::Committed(read), Kind::Ok) = (&operation.action, operation.kind) {
            for (key, offset) in &read.offsets {
                judge(analysis, findings, position, (&read.group, key), *offset);
            }
        }
    }
}

fn judge(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    position: usize,
    of: (&Datum, &Key),
    found: Option<u64>,
) {
    let (group, key) = of;
    let read = (analysis.timeline.start(position), position);
    let Some(possible) = analysis.commits.possible(&analysis.timeline, group, key, read) else {
        return;
    };
    if possible.offsets.contains(&found) {
        return;
    }
    let lowest = possible.offsets.iter().flatten().min();
    let went_back = found.is_some_and(|found| lowest.is_some_and(|lowest| found < *lowest));
    let name = if went_back { Name::CommitRegression } else { Name::LostCommit };
    let committed_at = possible.last.acknowledged.unwrap_or(possible.last.invoked);
    if analysis.removals.deleted_before(key, position) {
        findings.excuse(name, Reason::Told);
    } else if analysis.removals.undecidable_between(committed_at, position) {
        findings.excuse(name, Reason::UndecidableTail);
    } else {
        findings.report(name, finding(analysis, position, of, found, &possible.last));
    }
}

fn finding(
    analysis: &Analysis<'_>,
    position: usize,
    of: (&Datum, &Key),
    found: Option<u64>,
    last: &CommitCall,
) -> Finding {
    let (group, key) = of;
    let committed_at = last.acknowledged.unwrap_or(last.invoked);
    let said = last.offset.map_or_else(
        || "removed its committed offset".into(),
        |offset| format!("committed offset {offset}"),
    );
    let read = found.map_or_else(|| "none".into(), |offset| format!("offset {offset}"));
    let sentence = format!(
        "group {group} {said} of key {key} ({}), and a later read of it found {read} ({})",
        analysis.name(committed_at),
        analysis.name(position),
    );
    Finding::new(sentence, [committed_at, position])
        .key(key)
        .offsets(last.offset.into_iter().chain(found))
}

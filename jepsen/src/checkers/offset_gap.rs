#![doc = include_str!("../../anomalies/offset-gap.md")]

use rustc_hash::FxHashSet;

use super::{Finding, Findings};
use crate::analysis::{Analysis, KeyId, Reason, Step, steps};
use crate::anomaly::Name;
use crate::history::Span;

/// Looks at the offsets of every two records that a consumer polled one after the other.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    if !analysis.declared.dense_offsets {
        return;
    }
    let mut reported: FxHashSet<(KeyId, Span)> = FxHashSet::default();
    steps(analysis.history, &analysis.effects, |step| {
        let Some(gap) = gap(analysis, &step) else {
            return;
        };
        let may_be_a_rebalance =
            step.subscribed && !step.within_one() && !analysis.records_rebalances;
        if step.rebalanced || may_be_a_rebalance || analysis.removals.cover(step.to.key, gap) {
            findings.excuse(Name::OffsetGap, Reason::Told);
        } else if reported.insert((step.to.key, gap)) {
            let key = analysis.effects.key(step.to.key);
            let sentence = format!(
                "{} polled {} at offset {} of key {key} and next {} at offset {}, and no record was ever seen between them",
                analysis.operation(step.to_at).process,
                analysis.show(step.from.record),
                gap.from - 1,
                analysis.show(step.to.record),
                gap.to,
            );
            let finding = Finding::new(sentence, [step.from_at, step.to_at])
                .key(key)
                .offsets([gap.from - 1, gap.to]);
            findings.report(Name::OffsetGap, finding);
        }
    });
}

/// The offsets between the two records of a step, if there are any and nobody ever saw a record there. Records that were seen
/// there make it a skip.
fn gap(analysis: &Analysis<'_>, step: &Step) -> Option<Span> {
    let (from, to) = (step.from.offset()?, step.to.offset()?);
    let gap = Span { from: from.checked_add(1)?, to };
    let index = |offset| analysis.logs.index_at(step.to.key, offset).ok();
    let neighbours = gap.from < gap.to && index(to)? == index(from)? + 1;
    neighbours.then_some(gap)
}

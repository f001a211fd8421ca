#![doc = include_str!("../../anomalies/poll-skip.md")]
#![doc = ""]
#![doc = include_str!("../../anomalies/nonmonotonic-poll.md")]

use super::{Findings, skipped};
use crate::analysis::{Analysis, Reason, steps};
use crate::anomaly::Name;

/// Looks at where each consumer left each key, and where it went on.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    steps(analysis.history, &analysis.effects, |step| {
        let distance = analysis.logs.distance(step.from.record, step.to.record);
        if step.within_one() || distance == 1 {
            return;
        }
        let name = if distance > 1 { Name::PollSkip } else { Name::NonmonotonicPoll };
        let may_be_a_rebalance = step.subscribed && !analysis.records_rebalances;
        if skipped::has_moved(analysis, &step) {
            findings.excuse(name, Reason::UndecidableTail);
        } else if step.rebalanced || may_be_a_rebalance {
            findings.excuse(name, Reason::Told);
        } else if distance > 1 {
            skipped::report(analysis, findings, name, &step);
        } else {
            skipped::report_backwards(analysis, findings, name, &step);
        }
    });
}

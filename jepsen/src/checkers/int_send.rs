#![doc = include_str!("../../anomalies/int-send-skip.md")]
#![doc = ""]
#![doc = include_str!("../../anomalies/int-nonmonotonic-send.md")]

use super::{Finding, Findings};
use crate::analysis::{Analysis, Reason, Touch, by_key};
use crate::anomaly::Name;

/// Looks at every two records that one operation sent to a key one after the other.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    for (position, _) in analysis.completions() {
        for run in by_key(analysis.effects.writes(position)) {
            for pair in run.windows(2) {
                let [before, after] = pair else { continue };
                judge(analysis, findings, position, before, after);
            }
        }
    }
}

fn judge(
    analysis: &Analysis<'_>,
    findings: &mut Findings<'_, '_>,
    position: usize,
    before: &Touch,
    after: &Touch,
) {
    let distance = analysis.logs.distance(before.record, after.record);
    let sent_again = |touch: &Touch| analysis.was_sent_again(position, touch.record);
    if distance == 1 || sent_again(before) || sent_again(after) {
        return;
    }
    if analysis.has_moved(before.record) || analysis.has_moved(after.record) {
        let name = if distance < 1 { Name::IntNonmonotonicSend } else { Name::IntSendSkip };
        findings.excuse(name, Reason::UndecidableTail);
        return;
    }
    let key = analysis.key_of(after.record);
    let (first, second) = (analysis.show(before.record), analysis.show(after.record));
    let sends = format!("{} sent {first} and then {second} to key {key}", analysis.name(position));
    let value = |touch: &Touch| analysis.effects.record(touch.record).value;
    if distance < 1 {
        let sentence = format!("{sends}, but the second doesn't come after the first");
        let finding =
            Finding::new(sentence, [position]).key(key).values([value(before), value(after)]);
        findings.report(Name::IntNonmonotonicSend, finding);
    } else if analysis.declared.atomic_batches {
        let index = analysis.logs.place(before.record).index().map_or(0, |index| index + 1);
        let Some(other) = analysis.logs.log(after.key).get(index) else {
            return;
        };
        let writer = analysis.effects.record(other.record).writer;
        let sentence = format!("{sends}, but {} stands between them", analysis.show(other.record));
        let finding = Finding::new(sentence, writer.into_iter().chain([position]))
            .key(key)
            .values([value(before), value(after)]);
        findings.report(Name::IntSendSkip, finding);
    } else {
        // Where batches aren't atomic, other producers' records may come between.
        findings.excuse(Name::IntSendSkip, Reason::Told);
    }
}

#![doc = include_str!("../../anomalies/double-delivery.md")]

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Finding, Findings};
use crate::analysis::{Analysis, KeyId, Reason, Touch};
use crate::anomaly::Name;
use crate::history::{Action, Attachments, Datum, Key, Kind, Operation, Process};

/// A member of a group.
#[derive(Debug)]
struct Member<'h> {
    group: &'h Datum,
    /// Keys in which it moved its position by itself since it got them.
    sought: FxHashSet<KeyId>,
}

/// How far a group has been delivered a key.
#[derive(Clone, Copy)]
struct Delivered {
    offset: u64,
    at: usize,
}

/// Everything that is known while walking through the history.
struct Walk<'a, 'h> {
    analysis: &'a Analysis<'h>,
    members: FxHashMap<&'h Process, Member<'h>>,
    delivered: FxHashMap<(&'h Datum, KeyId), Delivered>,
}

/// Follows what each group is delivered, and compares it with what the group had committed.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let mut walk =
        Walk { analysis, members: FxHashMap::default(), delivered: FxHashMap::default() };
    for (position, operation) in analysis.completions() {
        if matches!(operation.action, Action::Poll(_) | Action::Txn(_)) {
            walk.forget_rebalanced(operation);
            if operation.kind == Kind::Ok {
                walk.poll(findings, position, operation);
            }
        } else if operation.may_have_happened() {
            walk.note(operation);
        }
    }
}

impl<'h> Walk<'_, 'h> {
    fn note(&mut self, operation: &'h Operation) {
        match &operation.action {
            Action::Subscribe(_) => self.subscribe(operation),
            // Consumers that were assigned their keys share nothing with a group but its name.
            Action::Assign(_) | Action::Crash(_) | Action::Close(_) => {
                self.members.remove(&operation.process);
            }
            Action::Seek(offsets) => {
                if let Some(member) = self.members.get_mut(&operation.process) {
                    member.sought.extend(
                        offsets.iter().filter_map(|(key, _)| self.analysis.effects.key_id(key)),
                    );
                }
            }
            Action::Rebalance(rebalance) => {
                self.forget(
                    &operation.process,
                    rebalance.assigned.iter().chain(&rebalance.revoked),
                );
            }
            _ => {}
        }
    }

    /// To subscribe again in the same group moves no position.
    fn subscribe(&mut self, operation: &'h Operation) {
        let group =
            operation.attachments.as_ref().and_then(|attachments| attachments.group.as_ref());
        let member = self.members.remove(&operation.process);
        let Some(group) = group else { return };
        let member = member
            .filter(|member| member.group == group)
            .unwrap_or_else(|| Member { group, sought: FxHashSet::default() });
        self.members.insert(&operation.process, member);
    }

    fn forget<'k>(&mut self, process: &Process, keys: impl Iterator<Item = &'k Key>) {
        if let Some(member) = self.members.get_mut(process) {
            for key in keys.filter_map(|key| self.analysis.effects.key_id(key)) {
                member.sought.remove(&key);
            }
        }
    }

    fn forget_rebalanced(&mut self, operation: &Operation) {
        let log = operation
            .attachments
            .as_deref()
            .and_then(|attachments: &Attachments| attachments.rebalance_log.as_deref());
        self.forget(
            &operation.process,
            log.unwrap_or_default().iter().flat_map(|event| &event.keys),
        );
    }

    fn poll(&mut self, findings: &mut Findings<'_, '_>, position: usize, operation: &'h Operation) {
        let Some(member) = self.members.get(&operation.process) else {
            return;
        };
        for touch in self.analysis.effects.reads(position) {
            let Some(offset) = touch.offset() else { continue };
            let delivered = self.delivered.get(&(member.group, touch.key)).copied();
            match delivered.filter(|delivered| offset <= delivered.offset) {
                None => {
                    self.delivered
                        .insert((member.group, touch.key), Delivered { offset, at: position });
                }
                Some(before) if before.at < position && !member.sought.contains(&touch.key) => {
                    self.judge(findings, position, member.group, touch, before);
                }
                Some(_) => {}
            }
        }
    }

    /// Judges a record that the group had been delivered before. It is as it should be unless the group had committed past it
    /// before the poll began.
    fn judge(
        &self,
        findings: &mut Findings<'_, '_>,
        position: usize,
        group: &Datum,
        touch: &Touch,
        before: Delivered,
    ) {
        let analysis = self.analysis;
        let Some(offset) = touch.offset() else { return };
        let Some(invoked) = analysis.timeline.invocation(position) else {
            return;
        };
        let key = analysis.effects.key(touch.key);
        let Some(possible) =
            analysis.commits.possible(&analysis.timeline, group, key, (invoked, position))
        else {
            return;
        };
        let committed_past = possible
            .offsets
            .iter()
            .all(|committed| committed.is_some_and(|committed| committed > offset));
        let Some(first_read) =
            analysis.effects.record(touch.record).ok_reader.filter(|at| *at < position)
        else {
            return;
        };
        if !committed_past {
            return;
        }
        let committed_at = possible.last.acknowledged.unwrap_or(possible.last.invoked);
        // A tail takes commits with it, of whatever key.
        if analysis.removals.undecidable(touch.key, offset, (before.at, position))
            || analysis.removals.undecidable_between(committed_at, position)
        {
            findings.excuse(Name::DoubleDelivery, Reason::UndecidableTail);
            return;
        }
        let sentence = format!(
            "group {group} was delivered {} at offset {offset} of key {key} ({}), committed past it ({}), and was delivered it again ({})",
            analysis.show(touch.record),
            analysis.name(first_read),
            analysis.name(committed_at),
            analysis.name(position),
        );
        let finding = Finding::new(sentence, [first_read, committed_at, position])
            .key(key)
            .offsets([offset])
            .values([analysis.effects.record(touch.record).value]);
        findings.report(Name::DoubleDelivery, finding);
    }
}

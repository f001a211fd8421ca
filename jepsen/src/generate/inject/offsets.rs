//! Anomalies made by moving a key's records to other offsets.

use rand::RngExt;

use super::draft::{Draft, Placed, polled};
use crate::history::{
    Action, Attachments, FinalPolls, Key, Kind, MicroOp, OffsetMap, Operation, Span, SpanMap,
};

/// Every record of a key moves up by one, and a reader finds one of them at the free offset below as well.
pub(super) fn duplicate(draft: &mut Draft<'_>) -> Option<Placed> {
    let key = any_whole_key(draft)?;
    let records: Vec<_> = draft
        .survey
        .keys
        .get(&key)?
        .records
        .values()
        .filter(|record| record.sent_at.is_some() && !record.polled_at.is_empty())
        .collect();
    let candidates: Vec<_> =
        records.iter().map(|record| (record.value.clone(), record.sent_at)).collect();
    let (value, sent_at) = draft.any(&candidates)?;
    shift(draft, &key, 0);
    let reader = draft.fresh_client();
    let position = draft.rng.random_range(sent_at? + 1..=draft.history.len());
    draft.poll(position, &reader, &key, &[(0, &value)]);
    Some(Placed::in_key(key))
}

/// Every record of a key moves up by one, and a transaction of which another record was polled had put one at the free offset below,
/// which nobody polls.
pub(super) fn lost_write(draft: &mut Draft<'_>) -> Option<Placed> {
    let key = any_whole_key(draft)?;
    let others: Vec<Key> = draft.survey.keys().into_iter().filter(|other| *other != key).collect();
    let other = draft.any(&others)?;
    shift(draft, &key, 0);
    let (lost, seen) = (draft.fresh_record(), draft.fresh_record());
    let (producer, reader) = (draft.fresh_client(), draft.fresh_client());
    let invoked =
        vec![MicroOp::send(other.clone(), seen.clone()), MicroOp::send(key.clone(), lost.clone())];
    let ended =
        vec![MicroOp::send(other.clone(), seen.clone()), MicroOp::sent(key.clone(), 0, lost)];
    let position = draft.any_position();
    draft.call(position, &producer, Action::Txn(invoked), (Kind::Info, Action::Txn(ended)));
    let (other_end, at_end) = (draft.survey.end(&other), draft.history.len());
    draft.call(
        at_end,
        &reader,
        Action::Poll(vec![MicroOp::poll()]),
        (Kind::Ok, polled(&other, &[(other_end, &seen)])),
    );
    Some(Placed::in_key(key))
}

/// The records of a key from some offset on move up by one.
pub(super) fn offset_gap(draft: &mut Draft<'_>) -> Option<Placed> {
    let key = any_whole_key(draft)?;
    let end = draft.survey.end(&key);
    if end < 2 {
        return None;
    }
    let from = draft.rng.random_range(1..end);
    shift(draft, &key, from);
    Some(Placed::in_key(key))
}

/// A key with records of which nothing was ever removed.
fn any_whole_key(draft: &mut Draft<'_>) -> Option<Key> {
    let whole =
        |key: &Key| draft.survey.keys.get(key).is_some_and(|survey| survey.removed.is_empty());
    let keys: Vec<Key> = draft.survey.keys().into_iter().filter(whole).collect();
    draft.any(&keys)
}

/// Moves a key's records from an offset on up by one, wherever the history speaks of them. Roots, proofs and hashes of the key would no longer fit, and
/// are taken away.
fn shift(draft: &mut Draft<'_>, key: &Key, from: u64) {
    let move_up = Move { key, from };
    for position in 0..draft.history.len() {
        let mut operation = draft.operation(position).clone();
        move_up.operation(&mut operation);
        if operation != *draft.operation(position) {
            draft.replace(position, operation);
        }
    }
}

struct Move<'k> {
    key: &'k Key,
    from: u64,
}

impl Move<'_> {
    fn offset(&self, offset: &mut u64) {
        if *offset >= self.from {
            *offset += 1;
        }
    }

    /// The offset behind a record: it stays behind that record.
    fn end(&self, end: &mut u64) {
        if *end > self.from {
            *end += 1;
        }
    }

    fn operation(&self, operation: &mut Operation) {
        match &mut operation.action {
            Action::Send(steps) | Action::Poll(steps) | Action::Txn(steps) => {
                for step in steps {
                    self.step(step);
                }
            }
            Action::Commit(commit) | Action::Committed(commit) => {
                self.committed(&mut commit.offsets);
            }
            Action::Seek(offsets)
            | Action::Retain(offsets)
            | Action::UndecidableTail(offsets)
            | Action::FinalPolls(FinalPolls::Done(offsets)) => {
                self.ends(offsets);
            }
            Action::Compact(spans) => self.spans(spans),
            Action::Detected(detected) => self.spans(&mut detected.spans),
            Action::Damage(damage) => {
                if let Some(spans) = &mut damage.spans {
                    self.spans(spans);
                }
            }
            Action::Root(root) if root.key == *self.key => root.answer = None,
            Action::Proof(proof) if proof.key == *self.key => proof.answer = None,
            Action::Consistency(proof) if proof.key == *self.key => proof.answer = None,
            _ => {}
        }
        if let Some(attachments) = operation.attachments.take() {
            let mut attachments = *attachments;
            self.attachments(&mut attachments);
            *operation = operation.clone().with(attachments);
        }
    }

    fn step(&self, step: &mut MicroOp) {
        match step {
            MicroOp::Send { key, offset: Some(offset), .. } if key == self.key => {
                self.offset(offset);
            }
            MicroOp::Poll(Some(keys)) => {
                for (_, polled) in keys.iter_mut().filter(|(key, _)| key == self.key) {
                    polled
                        .iter_mut()
                        .filter_map(|record| record.offset.as_mut())
                        .for_each(|offset| self.offset(offset));
                }
            }
            _ => {}
        }
    }

    fn attachments(&self, attachments: &mut Attachments) {
        attachments.hashes.retain(|(key, _)| key != self.key);
        self.ends(&mut attachments.ends);
        if let Some(commits) = &mut attachments.commits {
            self.committed(&mut commits.offsets);
        }
    }

    fn ends(&self, offsets: &mut OffsetMap) {
        offsets.iter_mut().filter(|(key, _)| key == self.key).for_each(|(_, end)| self.end(end));
    }

    fn committed(&self, offsets: &mut [(Key, Option<u64>)]) {
        let mine = offsets.iter_mut().filter(|(key, _)| key == self.key);
        mine.filter_map(|(_, offset)| offset.as_mut()).for_each(|offset| self.end(offset));
    }

    fn spans(&self, spans: &mut SpanMap) {
        for Span { from, to } in
            spans.iter_mut().filter(|(key, _)| key == self.key).flat_map(|(_, spans)| spans)
        {
            self.offset(from);
            self.end(to);
        }
    }
}

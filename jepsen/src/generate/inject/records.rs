//! Anomalies made by changing what operations say of records and of committed offsets.

use super::draft::{Draft, Placed, polled};
use super::survey::{Run, run_mut, runs};
use crate::analysis::{Analysis, Step, steps};
use crate::history::{Action, Attachments, Datum, Key, Kind, MicroOp, Operation, Polled};

/// One poll sees another record at an offset, one that a crashed send may have put there.
pub(super) fn inconsistent_offsets(draft: &mut Draft<'_>) -> Option<Placed> {
    let analysis = Analysis::new(draft.history);
    // With a crash in between it would look as if the offset had been used again.
    let crashed_since_first_seen = |run: &Run, offset| {
        let key = analysis.effects.key_id(&run.key)?;
        let entry = analysis.logs.log(key).get(analysis.logs.index_at(key, offset).ok()?)?;
        let first_seen = analysis.logs.place(entry.record).first_seen?;
        analysis.timeline.crash_between(first_seen, run.position)
    };
    let site = any_record(draft, |draft, run, _, offset| {
        let record = draft.survey.record(&run.key, offset);
        let sent_first =
            record.and_then(|record| record.sent_at).is_some_and(|sent_at| sent_at < run.position);
        let polled_later =
            record.is_some_and(|record| record.polled_at.iter().any(|at| *at > run.position));
        sent_first && polled_later && crashed_since_first_seen(run, offset).is_none()
    });
    let (run, at) = site?;
    let other = draft.fresh_record();
    let producer = draft.fresh_client();
    let send = Action::Send(vec![MicroOp::send(run.key.clone(), other.clone())]);
    draft.call(run.position, &producer, send.clone(), (Kind::Info, send));
    let mut operation = draft.operation(run.position).clone();
    run_mut(&mut operation, &run)?.get_mut(at)?.value = other;
    draft.replace(run.position, operation);
    Some(Placed::in_key(run.key))
}

/// A crashed send whose records were polled turns out to have failed.
pub(super) fn aborted_read(draft: &mut Draft<'_>) -> Option<Placed> {
    let analysis = Analysis::new(draft.history);
    let was_polled = |position: &usize| {
        let writes = analysis.effects.writes(*position);
        writes.iter().any(|touch| analysis.effects.record(touch.record).ok_reader.is_some())
    };
    let uncertain = |position: &usize| analysis.operation(*position).kind == Kind::Info;
    let sites: Vec<usize> = (0..draft.history.len()).filter(uncertain).filter(was_polled).collect();
    if let Some(position) = draft.any(&sites) {
        let mut operation = draft.operation(position).clone();
        operation.kind = Kind::Fail;
        draft.replace(position, operation);
        return Some(Placed::without_key());
    }
    // No crashed send was polled: one that failed is polled behind the last record.
    let keys = draft.survey.keys();
    let key = draft.any(&keys)?;
    let (record, producer, reader) =
        (draft.fresh_record(), draft.fresh_client(), draft.fresh_client());
    let send = Action::Send(vec![MicroOp::send(key.clone(), record.clone())]);
    let (end, last) = (draft.survey.end(&key), draft.history.len());
    draft.call(last, &producer, send.clone(), (Kind::Fail, send));
    draft.poll(last, &reader, &key, &[(end, &record)]);
    Some(Placed::in_key(key))
}

/// A send also polls what it has just sent, by a client that never polled that key.
pub(super) fn precommitted_read(draft: &mut Draft<'_>) -> Option<Placed> {
    let polls = |operation: &Operation, key: &Key| {
        operation.action.micro_ops().iter().any(|step| match step {
            MicroOp::Poll(keys) => keys.iter().flatten().any(|(polled, _)| polled == key),
            MicroOp::Send { .. } => false,
        })
    };
    let all = draft.history.operations();
    let sites: Vec<usize> = (0..all.len())
        .filter(|at| all[*at].kind == Kind::Ok && matches!(all[*at].action, Action::Send(_)))
        .collect();
    let position = draft.any(&sites)?;
    let mut operation = draft.operation(position).clone();
    let Action::Send(mut steps) = operation.action else {
        return None;
    };
    let MicroOp::Send { key, offset: Some(offset), value } = steps.first()?.clone() else {
        return None;
    };
    let fresh = draft.fresh_client();
    let is_reader =
        all.iter().any(|other| other.process == operation.process && polls(other, &key));
    let Action::Poll(own) = polled(&key, &[(offset, &value)]) else {
        return None;
    };
    let invocation = draft.history.operations()[..position]
        .iter()
        .rposition(|other| other.process == operation.process && other.kind == Kind::Invoke)?;
    let mut invoked = draft.operation(invocation).clone();
    let Action::Send(mut invoked_steps) = invoked.action else {
        return None;
    };
    invoked_steps.push(MicroOp::poll());
    steps.extend(own);
    invoked.action = Action::Txn(invoked_steps);
    operation.action = Action::Txn(steps);
    if is_reader {
        // The client would be seen to jump, so that another one takes the call over.
        invoked.process = fresh.clone();
        operation.process = fresh;
    }
    draft.replace(invocation, invoked);
    draft.replace(position, operation);
    Some(Placed::in_key(key))
}

/// One poll leaves out a record between two others.
pub(super) fn int_poll_skip(draft: &mut Draft<'_>) -> Option<Placed> {
    let (run, at) = any_record(draft, |draft, run, at, offset| {
        let inside = at > 0 && at + 1 < run.length;
        inside
            && !draft.survey.is_removed(&run.key, offset)
            && draft.survey.is_polled_elsewhere(&run.key, offset, run.position)
    })?;
    edit_run(draft, &run, |polled| {
        polled.remove(at);
    })
}

/// One poll returns a record twice.
pub(super) fn int_nonmonotonic_poll(draft: &mut Draft<'_>) -> Option<Placed> {
    let (run, at) = any_record(draft, |_, _, _, _| true)?;
    edit_run(draft, &run, |polled| {
        if let Some(record) = polled.get(at).cloned() {
            polled.insert(at, record);
        }
    })
}

/// A consumer's next poll leaves out its first record.
pub(super) fn poll_skip(draft: &mut Draft<'_>) -> Option<Placed> {
    let sites: Vec<Run> = next_polls(draft)
        .into_iter()
        .filter(|(run, step)| {
            let Some(offset) = step.to.offset() else {
                return false;
            };
            let elsewhere = draft.survey.is_polled_elsewhere(&run.key, offset, run.position);
            run.length > 1 && elsewhere && !draft.survey.is_removed(&run.key, offset)
        })
        .map(|(run, _)| run)
        .collect();
    let run = draft.any(&sites)?;
    edit_run(draft, &run, |polled| {
        polled.remove(0);
    })
}

/// A consumer's next poll begins with the record that its last one ended with.
pub(super) fn nonmonotonic_poll(draft: &mut Draft<'_>) -> Option<Placed> {
    let sites: Vec<(Run, Polled)> = next_polls(draft)
        .into_iter()
        .filter(|(_, step)| !step.subscribed)
        .filter_map(|(run, step)| {
            // What retention took in between is not to come back.
            let offset = step.from.offset()?;
            if draft.survey.is_removed(&run.key, offset) {
                return None;
            }
            let value = draft.survey.record(&run.key, offset)?.value.clone();
            Some((run, Polled { offset: Some(offset), value }))
        })
        .collect();
    let (run, last) = draft.any(&sites)?;
    edit_run(draft, &run, |polled| polled.insert(0, last))
}

/// The runs with which a consumer goes on in a key in a later operation, each with that step.
fn next_polls(draft: &Draft<'_>) -> Vec<(Run, Step)> {
    let analysis = Analysis::new(draft.history);
    let runs =
        runs(draft.history, |_, operation| !draft.survey.is_final_reader(&operation.process));
    let mut found = Vec::new();
    steps(draft.history, &analysis.effects, |step| {
        let key = analysis.effects.key(step.to.key);
        let first = runs.partition_point(|run| run.position < step.to_at);
        let at_step = runs[first..].iter().take_while(|run| run.position == step.to_at);
        if let Some(run) = at_step
            .into_iter()
            .find(|run| run.key == *key)
            .filter(|_| !step.within_one() && !step.rebalanced)
        {
            found.push((run.clone(), step));
        }
    });
    found
}

/// Two records of one operation change places in what it says.
pub(super) fn int_nonmonotonic_send(draft: &mut Draft<'_>) -> Option<Placed> {
    let all = draft.history.operations();
    let two_of_a_key = |operation: &Operation| -> Option<(usize, usize)> {
        let keys: Vec<(usize, &Key)> = sent_keys(operation.action.micro_ops());
        let mut pairs = keys
            .iter()
            .enumerate()
            .flat_map(|(nth, left)| keys[nth + 1..].iter().map(move |right| (left, right)));
        let (left, right) = pairs.find(|(left, right)| left.1 == right.1)?;
        let count = keys.iter().filter(|(_, key)| *key == left.1).count();
        (operation.kind == Kind::Ok && count == 2).then_some((left.0, right.0))
    };
    let sites: Vec<(usize, usize, usize)> = all
        .iter()
        .enumerate()
        .filter_map(|(at, operation)| {
            two_of_a_key(operation).map(|(left, right)| (at, left, right))
        })
        .collect();
    let (position, left, right) = draft.any(&sites)?;
    let mut operation = draft.operation(position).clone();
    let (Action::Send(steps) | Action::Txn(steps)) = &mut operation.action else {
        return None;
    };
    steps.swap(left, right);
    draft.replace(position, operation);
    Some(Placed::without_key())
}

fn sent_keys(steps: &[MicroOp]) -> Vec<(usize, &Key)> {
    steps.iter().enumerate().filter_map(|(at, step)| Some((at, step.sent_key()?))).collect()
}

/// Two sends of which one began after the other was acknowledged, to neighbouring offsets, change places.
pub(super) fn realtime_order(draft: &mut Draft<'_>) -> Option<Placed> {
    let analysis = Analysis::new(draft.history);
    // A removal that came before its record was sent, as it then looks, excuses nothing.
    let single = |position: usize| {
        let writes = analysis.effects.writes(position);
        writes.len() == 1
            && writes.iter().all(|touch| analysis.removal(touch.record).is_none())
            && matches!(analysis.operation(position).action, Action::Send(_))
    };
    let mut sites: Vec<(usize, usize)> = Vec::new();
    for key in draft.survey.keys.values() {
        for (offset, record) in &key.records {
            let next = key.records.get(&(offset + 1)).and_then(|next| next.sent_at);
            let (Some(first), Some(second)) = (record.sent_at, next) else {
                continue;
            };
            let in_turn =
                analysis.timeline.invocation(second).is_some_and(|invoked| first < invoked);
            let of_two = analysis.operation(first).process != analysis.operation(second).process;
            if in_turn && of_two && single(first) && single(second) {
                sites.push((first, second));
            }
        }
    }
    let (first, second) = draft.any(&sites)?;
    let invocations = (analysis.timeline.invocation(first)?, analysis.timeline.invocation(second)?);
    exchange(draft, first, second);
    exchange(draft, invocations.0, invocations.1);
    Some(Placed::without_key())
}

/// Exchanges what two operations did, and leaves who did it and when.
fn exchange(draft: &mut Draft<'_>, left: usize, right: usize) {
    let (mut new_left, mut new_right) =
        (draft.operation(left).clone(), draft.operation(right).clone());
    std::mem::swap(&mut new_left.action, &mut new_right.action);
    std::mem::swap(&mut new_left.attachments, &mut new_right.attachments);
    draft.replace(left, new_left);
    draft.replace(right, new_right);
}

/// A read of a committed offset finds none.
pub(super) fn lost_commit(draft: &mut Draft<'_>) -> Option<Placed> {
    misread(draft, None)
}

/// A read of a committed offset finds the first one of all.
pub(super) fn commit_regression(draft: &mut Draft<'_>) -> Option<Placed> {
    misread(draft, Some(0))
}

/// A read of a committed offset finds something that it can't.
fn misread(draft: &mut Draft<'_>, found: Option<u64>) -> Option<Placed> {
    let analysis = Analysis::new(draft.history);
    let impossible = |(position, operation): (usize, &Operation)| -> Option<usize> {
        let Action::Committed(read) = &operation.action else {
            return None;
        };
        let (key, _) = read.offsets.first()?;
        let call = (analysis.timeline.invocation(position)?, position);
        let possible = analysis.commits.possible(&analysis.timeline, &read.group, key, call)?;
        let lowest = possible.offsets.iter().min().copied().flatten();
        (operation.kind == Kind::Ok && !possible.offsets.contains(&None) && lowest > Some(0))
            .then_some(position)
    };
    let sites: Vec<usize> = analysis.operations().filter_map(impossible).collect();
    let position = draft.any(&sites)?;
    let mut operation = draft.operation(position).clone();
    let Action::Committed(read) = &mut operation.action else {
        return None;
    };
    let (key, offset) = read.offsets.first_mut()?;
    *offset = found;
    let key = key.clone();
    draft.replace(position, operation);
    Some(Placed::in_key(key))
}

/// A call that ended badly turns out to have panicked.
pub(super) fn panic(draft: &mut Draft<'_>) -> Option<Placed> {
    let all = draft.history.operations();
    let bad = |at: &usize| {
        matches!(all[*at].kind, Kind::Fail | Kind::Info) && !all[*at].action.micro_ops().is_empty()
    };
    let sites: Vec<usize> = (0..all.len()).filter(bad).collect();
    let position = draft.any(&sites)?;
    let mut operation = draft.operation(position).clone();
    let mut attachments =
        operation.attachments.take().map_or_else(Attachments::default, |kept| *kept);
    attachments.error =
        Some(Datum::seq(vec![Datum::str("panic"), Datum::str("index out of bounds")]));
    draft.replace(position, operation.with(attachments));
    Some(Placed::without_key())
}

/// Any record of any run that fits, but not of those that read everything at the end. The last two arguments of `fits` are the
/// record's place in the run and its offset.
fn any_record(
    draft: &mut Draft<'_>,
    fits: impl Fn(&Draft<'_>, &Run, usize, u64) -> bool,
) -> Option<(Run, usize)> {
    let mut sites = Vec::new();
    for run in runs(draft.history, |_, operation| !draft.survey.is_final_reader(&operation.process))
    {
        let mut operation = draft.operation(run.position).clone();
        let polled = run_mut(&mut operation, &run)?;
        for (at, record) in polled.iter().enumerate() {
            if record.offset.is_some_and(|offset| fits(draft, &run, at, offset)) {
                sites.push((run.clone(), at));
            }
        }
    }
    draft.any(&sites)
}

fn edit_run(
    draft: &mut Draft<'_>,
    run: &Run,
    change: impl FnOnce(&mut Vec<Polled>),
) -> Option<Placed> {
    let mut operation = draft.operation(run.position).clone();
    change(run_mut(&mut operation, run)?);
    draft.replace(run.position, operation);
    Some(Placed::in_key(run.key.clone()))
}

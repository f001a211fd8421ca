//! Anomalies made by adding a short episode, with clients that are new to the history.

use rand::RngExt;

use super::draft::{Draft, Placed, polled};
use super::survey::{KeySurvey, RecordSurvey};
use crate::history::{
    Action, Attachments, Commit, Damage, Datum, Detected, FaultClass, FinalPolls, Key, Kind,
    MicroOp, Process, Rebalance, Span,
};

/// A record is acknowledged behind everything that was polled.
pub(super) fn unseen(draft: &mut Draft<'_>) -> Option<Placed> {
    let (key, end) = any_end(draft)?;
    let (producer, record) = (draft.fresh_client(), draft.fresh_record());
    let last = draft.history.len();
    draft.send(last, &producer, (&key, end, &record));
    Some(Placed::in_key(key))
}

/// Two clients send at the same time, and the records of one come between those of the other.
pub(super) fn int_send_skip(draft: &mut Draft<'_>) -> Option<Placed> {
    let (key, end) = any_end(draft)?;
    let last = draft.history.len();
    let (batcher, other, reader) =
        (draft.fresh_client(), draft.fresh_client(), draft.fresh_client());
    let records = [draft.fresh_record(), draft.fresh_record(), draft.fresh_record()];
    let [first, between, second] = &records;
    draft.insert(
        last,
        &other,
        Kind::Invoke,
        Action::Send(vec![MicroOp::send(key.clone(), between.clone())]),
    );
    let invoked = [first, second].map(|record| MicroOp::send(key.clone(), record.clone()));
    let ended = [(end, first), (end + 2, second)]
        .map(|(offset, record)| MicroOp::sent(key.clone(), offset, record.clone()));
    draft.call(
        last,
        &batcher,
        Action::Send(invoked.into()),
        (Kind::Ok, Action::Send(ended.into())),
    );
    draft.insert(
        last,
        &other,
        Kind::Ok,
        Action::Send(vec![MicroOp::sent(key.clone(), end + 1, between.clone())]),
    );
    draft.poll(last, &reader, &key, &[(end, first), (end + 1, between), (end + 2, second)]);
    Some(Placed::in_key(key))
}

/// A producer's record that got no answer turns up behind its next one.
pub(super) fn nonmonotonic_send(draft: &mut Draft<'_>) -> Option<Placed> {
    let (key, end) = any_end(draft)?;
    let last = draft.history.len();
    let (producer, reader) = (draft.fresh_client(), draft.fresh_client());
    let (first, second) = (draft.fresh_record(), draft.fresh_record());
    let send = Action::Send(vec![MicroOp::send(key.clone(), first.clone())]);
    draft.call(last, &producer, send.clone(), (Kind::Info, send));
    draft.send(last, &producer, (&key, end, &second));
    draft.poll(last, &reader, &key, &[(end, &second), (end + 1, &first)]);
    Some(Placed::in_key(key))
}

/// The last record of a key is lost in a crash, and another one takes its offset.
pub(super) fn offset_reuse(draft: &mut Draft<'_>) -> Option<Placed> {
    let (key, end) = any_end(draft)?;
    let last = draft.history.len();
    for record in [draft.fresh_record(), draft.fresh_record()] {
        let (producer, reader) = (draft.fresh_client(), draft.fresh_client());
        draft.send(last, &producer, (&key, end, &record));
        draft.poll(last, &reader, &key, &[(end, &record)]);
        draft.insert(last, &Process::nemesis(), Kind::Info, Action::Crash(Datum::Nil));
    }
    Some(Placed::in_key(key))
}

/// The last record of a key is polled and then lost in a crash.
pub(super) fn vanished_read(draft: &mut Draft<'_>) -> Option<Placed> {
    let (key, end) = any_end(draft)?;
    let last = draft.history.len();
    let (producer, early, late) =
        (draft.fresh_client(), draft.fresh_client(), draft.fresh_client());
    let record = draft.fresh_record();
    draft.send(last, &producer, (&key, end, &record));
    draft.poll(last, &early, &key, &[(end, &record)]);
    draft.insert(last, &Process::nemesis(), Kind::Info, Action::Crash(Datum::Nil));
    empty_poll(draft, last, &late, &key, end);
    Some(Placed::in_key(key))
}

/// Two members of a new group poll the same record, one after the group has committed past it.
pub(super) fn double_delivery(draft: &mut Draft<'_>) -> Option<Placed> {
    let polled = |survey: &KeySurvey| -> Vec<(u64, Datum, usize)> {
        let is_there = |offset: u64| !survey.removed.iter().any(|span| span.contains(offset));
        let first = |(offset, record): (&u64, &RecordSurvey)| {
            is_there(*offset).then_some(())?;
            Some((*offset, record.value.clone(), *record.polled_at.first()?))
        };
        survey.records.iter().filter_map(first).collect()
    };
    let sites: Vec<(Key, (u64, Datum, usize))> = draft
        .survey
        .keys
        .iter()
        .flat_map(|(key, survey)| polled(survey).into_iter().map(|record| (key.clone(), record)))
        .collect();
    let (key, (offset, record, polled_at)) = draft.any(&sites)?;
    let position = draft.rng.random_range(polled_at + 1..=draft.history.len());
    let group = draft.fresh_record();
    let commit = Action::Commit(Box::new(Commit {
        group: group.clone(),
        offsets: vec![(key.clone(), Some(offset + 1))],
        rest: Vec::new(),
    }));
    for commits in [true, false] {
        let member = draft.fresh_client();
        let in_group = Attachments { group: Some(group.clone()), ..Attachments::default() };
        draft.insert(position, &member, Kind::Invoke, Action::Subscribe(vec![key.clone()]));
        draft.insert_with(
            position,
            &member,
            Kind::Ok,
            Action::Subscribe(vec![key.clone()]),
            in_group,
        );
        draft.poll(position, &member, &key, &[(offset, &record)]);
        if commits {
            draft.plain_call(position, &member, &commit);
            draft.plain_call(position, &member, &Action::Close(Datum::Nil));
        }
    }
    Some(Placed::in_key(key))
}

/// A transaction that got no answer is half visible.
pub(super) fn torn_transaction(draft: &mut Draft<'_>) -> Option<Placed> {
    let (key, end) = any_end(draft)?;
    let others: Vec<Key> = draft.survey.keys().into_iter().filter(|other| *other != key).collect();
    let other = draft.any(&others)?;
    let other_end = draft.survey.end(&other);
    let last = draft.history.len();
    let (producer, early, late) =
        (draft.fresh_client(), draft.fresh_client(), draft.fresh_client());
    let (seen, missing) = (draft.fresh_record(), draft.fresh_record());
    let invoked = vec![
        MicroOp::send(other.clone(), seen.clone()),
        MicroOp::send(key.clone(), missing.clone()),
    ];
    let ended = vec![
        MicroOp::sent(other.clone(), other_end, seen.clone()),
        MicroOp::sent(key.clone(), end, missing),
    ];
    draft.call(last, &producer, Action::Txn(invoked), (Kind::Info, Action::Txn(ended)));
    draft.poll(last, &early, &other, &[(other_end, &seen)]);
    empty_poll(draft, last, &late, &key, end);
    Some(Placed::in_key(key))
}

/// A poll that finds nothing, for the key ends there.
fn empty_poll(draft: &mut Draft<'_>, position: usize, client: &Process, key: &Key, end: u64) {
    let at_end = Attachments { ends: vec![(key.clone(), end)], ..Attachments::default() };
    draft.insert(position, client, Kind::Invoke, Action::Poll(vec![MicroOp::poll()]));
    draft.insert_with(
        position,
        client,
        Kind::Ok,
        Action::Poll(vec![MicroOp::Poll(Some(Vec::new()))]),
        at_end,
    );
}

/// Two members of a new group are given the same key.
pub(super) fn double_owner(draft: &mut Draft<'_>) -> Option<Placed> {
    let keys = draft.survey.keys();
    let key = draft.any(&keys)?;
    let position = draft.any_position();
    let group = draft.fresh_record();
    let (old, new) = (draft.fresh_client(), draft.fresh_client());
    let given = Action::Rebalance(Box::new(Rebalance {
        group,
        assigned: vec![key.clone()],
        revoked: Vec::new(),
        rest: Vec::new(),
    }));
    draft.plain_call(position, &old, &given);
    draft.plain_call(position, &new, &given);
    draft.call(
        position,
        &old,
        Action::Poll(vec![MicroOp::poll()]),
        (Kind::Ok, Action::Poll(vec![MicroOp::Poll(Some(Vec::new()))])),
    );
    Some(Placed::in_key(key))
}

/// A record of a new key is damaged, and a full read goes without it.
pub(super) fn undetected_damage(draft: &mut Draft<'_>) -> Option<Placed> {
    let position = draft.any_position();
    let key = Key::from(draft.fresh());
    let (producer, reader, auditor) =
        (draft.fresh_client(), draft.fresh_client(), draft.fresh_client());
    let (damaged, sound) = (draft.fresh_record(), draft.fresh_record());
    let id = u64::try_from(draft.fresh()).ok()?;
    draft.send(position, &producer, (&key, 0, &damaged));
    draft.send(position, &producer, (&key, 1, &sound));
    draft.poll(position, &reader, &key, &[(0, &damaged), (1, &sound)]);
    let damage = Action::Damage(Box::new(Damage {
        id,
        class: FaultClass::Detected,
        spans: Some(vec![(key.clone(), vec![Span::one(0)])]),
        rest: Vec::new(),
    }));
    draft.insert(position, &Process::nemesis(), Kind::Info, damage);
    let assign = Action::Assign(vec![key.clone()]);
    let from_start = Attachments { seek_to_beginning: true, ..Attachments::default() };
    draft.insert(position, &auditor, Kind::Invoke, assign.clone());
    draft.insert_with(position, &auditor, Kind::Ok, assign, from_start);
    draft.call(
        position,
        &auditor,
        Action::Poll(vec![MicroOp::poll()]),
        (Kind::Ok, polled(&key, &[(1, &sound)])),
    );
    let ends = Action::FinalPolls(FinalPolls::Done(vec![(key.clone(), 2)]));
    draft.call(
        position,
        &auditor,
        Action::FinalPolls(FinalPolls::Asked(vec![key.clone()])),
        (Kind::Ok, ends),
    );
    Some(Placed::in_key(key))
}

/// A record of a new key is gone for good, and polled once more.
#[expect(clippy::unnecessary_wraps, reason = "as all methods, of which others may find no place")]
pub(super) fn undeleted(draft: &mut Draft<'_>) -> Option<Placed> {
    let position = draft.any_position();
    let key = Key::from(draft.fresh());
    let (producer, early, late) =
        (draft.fresh_client(), draft.fresh_client(), draft.fresh_client());
    let (first, second) = (draft.fresh_record(), draft.fresh_record());
    draft.send(position, &producer, (&key, 0, &first));
    draft.send(position, &producer, (&key, 1, &second));
    let both = [(0, &first), (1, &second)];
    draft.poll(position, &early, &key, &both);
    draft.plain_call(position, &Process::nemesis(), &Action::Retain(vec![(key.clone(), 1)]));
    let removed = Action::Removed(vec![(key.clone(), vec![Span { from: 0, to: 1 }])]);
    draft.insert(position, &Process::nemesis(), Kind::Info, removed);
    draft.poll(position, &late, &key, &both);
    Some(Placed::in_key(key))
}

/// A key that nothing damaged answers that it is damaged, or after some damage to one key the log refuses to open.
pub(super) fn unavailable(draft: &mut Draft<'_>) -> Option<Placed> {
    let position = draft.any_position();
    let client = draft.fresh_client();
    if draft.rng.random_bool(0.5) {
        draft.insert(position, &client, Kind::Info, Action::Refused(Datum::Nil));
        return Some(Placed::without_key());
    }
    let sound: Vec<Key> =
        draft.survey.keys().into_iter().filter(|key| !draft.survey.damaged.contains(key)).collect();
    let key = draft.any(&sound)?;
    let offset = draft.rng.random_range(0..draft.survey.end(&key).max(1));
    let detected = Action::Detected(Box::new(Detected {
        damage: None,
        spans: vec![(key.clone(), vec![Span::one(offset)])],
        rest: Vec::new(),
    }));
    draft.insert(position, &client, Kind::Info, detected);
    Some(Placed::in_key(key))
}

/// A call that begins after the faults ended is never answered.
pub(super) fn stuck(draft: &mut Draft<'_>) -> Option<Placed> {
    let all = draft.history.operations();
    let (ended_at, end) =
        all.iter().enumerate().find_map(|(at, operation)| match &operation.action {
            Action::FaultsEnd(end) => Some((at, end)),
            _ => None,
        })?;
    let bound_ns = i64::try_from(end.bound_ns).ok()?;
    let last_ns = all.iter().filter_map(|operation| operation.time_ns).max()?;
    let keys = draft.survey.keys();
    let key = draft.any(&keys)?;
    let position = draft.rng.random_range(ended_at + 1..=all.len());
    let (client, record) = (draft.fresh_client(), draft.fresh_record());
    draft.insert(
        position,
        &client,
        Kind::Invoke,
        Action::Send(vec![MicroOp::send(key.clone(), record)]),
    );
    let last = all.len();
    draft.insert_at(
        last,
        &Process::nemesis(),
        (Kind::Info, Action::Close(Datum::Nil)),
        last_ns.saturating_add(bound_ns).saturating_add(1),
    );
    Some(Placed::in_key(key))
}

/// Any key, with the offset behind its last record.
fn any_end(draft: &mut Draft<'_>) -> Option<(Key, u64)> {
    let keys = draft.survey.keys();
    let key = draft.any(&keys)?;
    let end = draft.survey.end(&key);
    Some((key, end))
}

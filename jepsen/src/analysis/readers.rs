//! How each consumer moves through each log: every pair of records that it polled one after the other.

use rustc_hash::{FxHashMap, FxHashSet};

use super::effects::{Effects, KeyId, Touch, by_key};
use crate::history::{Action, Attachments, History, Key, Kind, MicroOp, Operation, Process};

/// Two records of a key that one consumer polled one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) from: Touch,
    /// The operation that polled it.
    pub(crate) from_at: usize,
    pub(crate) to: Touch,
    /// The operation that polled it: the same one, or a later one of the process.
    pub(crate) to_at: usize,
    /// Whether the key was rebalanced during the later operation.
    pub(crate) rebalanced: bool,
    /// Whether the consumer shared its topics with a group at either end, rather than having been assigned its keys.
    pub(crate) subscribed: bool,
}

impl Step {
    /// Whether one operation polled both.
    pub(crate) fn within_one(&self) -> bool {
        self.from_at == self.to_at
    }
}

/// What a consumer's last `ok` poll of a key left off with.
#[derive(Debug, Clone, Copy)]
struct Position {
    touch: Touch,
    /// The operation that polled it.
    at: usize,
    /// Whether the consumer shared its topics then.
    subscribed: bool,
}

/// Where one consumer stands.
#[derive(Debug, Default)]
struct Consumer {
    positions: FxHashMap<KeyId, Position>,
    subscribed: bool,
}

/// Walks through the history and shows every step.
///
/// A consumer's position in a key is where its last `ok` poll left it: what a failed or crashed poll returned is judged against
/// it, but leaves it. An assign or subscribe forgets the keys that it drops and no others; a seek and a rebalance forget the keys
/// that they name. So does an `ok` poll that answers with an empty list for a key, as in Jepsen; one that doesn't name the key
/// moves nothing.
pub(crate) fn steps(history: &History, effects: &Effects<'_>, mut show: impl FnMut(Step)) {
    let mut consumers: FxHashMap<&Process, Consumer> = FxHashMap::default();
    for (position, operation) in history.operations().iter().enumerate() {
        if !operation.process.is_client() || operation.kind == Kind::Invoke {
            continue;
        }
        match &operation.action {
            Action::Poll(_) | Action::Txn(_) => {
                let consumer = consumers.entry(&operation.process).or_default();
                poll(consumer, effects, position, operation, &mut show);
            }
            Action::Assign(_) | Action::Subscribe(_) | Action::Seek(_) | Action::Rebalance(_)
                if operation.may_have_happened() =>
            {
                let consumer = consumers.entry(&operation.process).or_default();
                forget(consumer, effects, operation);
            }
            _ => {}
        }
    }
}

fn poll(
    consumer: &mut Consumer,
    effects: &Effects<'_>,
    position: usize,
    operation: &Operation,
    show: &mut impl FnMut(Step),
) {
    let rebalanced = rebalanced_keys(effects, operation.attachments.as_deref());
    for run in by_key(effects.reads(position)) {
        let [first, ..] = run else {
            continue;
        };
        let is_rebalanced = rebalanced.contains(&first.key);
        let mut previous = consumer.positions.get(&first.key).copied();
        for touch in run {
            let here = Position { touch: *touch, at: position, subscribed: consumer.subscribed };
            if let Some(from) = previous {
                show(Step {
                    from: from.touch,
                    from_at: from.at,
                    to: *touch,
                    to_at: position,
                    rebalanced: is_rebalanced,
                    subscribed: from.subscribed || here.subscribed,
                });
            }
            previous = Some(here);
        }
        if operation.kind == Kind::Ok
            && let Some(last) = previous
        {
            consumer.positions.insert(first.key, last);
        }
    }
    for key in keys_without_records(effects, operation) {
        let read_now = consumer.positions.get(&key).is_some_and(|left| left.at == position);
        if !read_now {
            consumer.positions.remove(&key);
        }
    }
    // Where the key was lost and gained again, or the operation came to nothing, nobody knows where the consumer stands.
    let read_on = |key: &KeyId, at: usize| {
        operation.kind == Kind::Ok && at == position && rebalanced.contains(key)
    };
    if !rebalanced.is_empty() {
        consumer.positions.retain(|key, left| !rebalanced.contains(key) || read_on(key, left.at));
    }
}

/// The keys for which an `ok` poll answered with an empty list.
fn keys_without_records(effects: &Effects<'_>, operation: &Operation) -> Vec<KeyId> {
    let (Action::Poll(steps) | Action::Txn(steps)) = &operation.action else { return Vec::new() };
    let polled = steps.iter().filter_map(|step| match step {
        MicroOp::Poll(polled) if operation.kind == Kind::Ok => polled.as_ref(),
        _ => None,
    });
    let empty = polled.flatten().filter(|(_, records)| records.is_empty());
    empty.filter_map(|(key, _)| effects.key_id(key)).collect()
}

fn rebalanced_keys(effects: &Effects<'_>, attachments: Option<&Attachments>) -> FxHashSet<KeyId> {
    let log = attachments.and_then(|attachments| attachments.rebalance_log.as_deref());
    let keys = log.unwrap_or_default().iter().flat_map(|event| &event.keys);
    keys.filter_map(|key| effects.key_id(key)).collect()
}

fn forget(consumer: &mut Consumer, effects: &Effects<'_>, operation: &Operation) {
    let ids = |keys: &[Key]| -> FxHashSet<KeyId> {
        keys.iter().filter_map(|key| effects.key_id(key)).collect()
    };
    match &operation.action {
        Action::Assign(keys) | Action::Subscribe(keys) => {
            consumer.subscribed = matches!(operation.action, Action::Subscribe(_));
            let kept = ids(keys);
            let sought = operation
                .attachments
                .as_ref()
                .is_some_and(|attachments| attachments.seek_to_beginning);
            consumer.positions.retain(|key, _| kept.contains(key) && !sought);
        }
        Action::Seek(offsets) => {
            for (key, _) in offsets {
                if let Some(key) = effects.key_id(key) {
                    consumer.positions.remove(&key);
                }
            }
        }
        Action::Rebalance(rebalance) => {
            let touched = ids(&[rebalance.assigned.as_slice(), &rebalance.revoked].concat());
            consumer.positions.retain(|key, _| !touched.contains(key));
        }
        _ => {}
    }
}

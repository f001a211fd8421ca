//! A history being changed, with a note of what was changed.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::survey::Survey;
use crate::history::{
    Action, Attachments, Datum, History, Key, Kind, MicroOp, Operation, Polled, Process,
};

/// Changes to a history, not yet made.
#[derive(Debug)]
pub(super) struct Draft<'h> {
    pub(super) history: &'h History,
    pub(super) survey: Survey,
    pub(super) rng: ChaCha8Rng,
    changes: Changes,
    fresh: i64,
}

/// An anomaly that found its place.
#[derive(Debug)]
pub(super) struct Placed {
    /// The key that is concerned, if it is one.
    pub(super) key: Option<Key>,
}

impl Placed {
    pub(super) fn in_key(key: Key) -> Self {
        Self { key: Some(key) }
    }

    /// It concerns no key, or several.
    pub(super) fn without_key() -> Self {
        Self { key: None }
    }
}

/// What is to be changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Operations that take the place of others, by position.
    replaced: Vec<(usize, Operation)>,
    /// Operations to stand before the one at a position, in order.
    inserted: Vec<(usize, Operation)>,
}

impl<'h> Draft<'h> {
    pub(super) fn new(history: &'h History, rng: ChaCha8Rng) -> Self {
        Self { history, survey: Survey::new(history), rng, changes: Changes::default(), fresh: 0 }
    }

    pub(super) fn operation(&self, position: usize) -> &'h Operation {
        &self.history.operations()[position]
    }

    /// Any of these.
    pub(super) fn any<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.choose(&mut self.rng).cloned()
    }

    /// Any place in the history, its end included.
    pub(super) fn any_position(&mut self) -> usize {
        self.rng.random_range(0..=self.history.len())
    }

    /// A number that nothing in the history has: for processes, keys and records.
    pub(super) fn fresh(&mut self) -> i64 {
        self.fresh += 1;
        self.survey.number_max + self.fresh
    }

    /// A client that is new to the history.
    pub(super) fn fresh_client(&mut self) -> Process {
        Process::Client(self.fresh())
    }

    /// A record that is new to the history.
    pub(super) fn fresh_record(&mut self) -> Datum {
        Datum::Int(self.fresh())
    }

    /// Puts an operation in the place of another.
    pub(super) fn replace(&mut self, position: usize, operation: Operation) {
        self.changes.replaced.push((position, operation));
    }

    /// Puts an operation before the one at a position.
    pub(super) fn insert(
        &mut self,
        position: usize,
        process: &Process,
        kind: Kind,
        action: Action,
    ) {
        self.insert_with(position, process, kind, action, Attachments::default());
    }

    /// The same with attachments.
    pub(super) fn insert_with(
        &mut self,
        position: usize,
        process: &Process,
        kind: Kind,
        action: Action,
        attachments: Attachments,
    ) {
        let before = position.checked_sub(1).and_then(|before| self.operation(before).time_ns);
        let mut operation = Operation::new(process.clone(), kind, action).with(attachments);
        operation.time_ns =
            before.or_else(|| self.history.operations().first().and_then(|first| first.time_ns));
        self.changes.inserted.push((position, operation));
    }

    /// The same at a time of its own.
    pub(super) fn insert_at(
        &mut self,
        position: usize,
        process: &Process,
        what: (Kind, Action),
        time_ns: i64,
    ) {
        let operation = Operation::new(process.clone(), what.0, what.1).at(time_ns);
        self.changes.inserted.push((position, operation));
    }

    /// Puts a call before the operation at a position: its invocation, and right behind it how it ended.
    pub(super) fn call(
        &mut self,
        position: usize,
        process: &Process,
        invoked: Action,
        ended: (Kind, Action),
    ) {
        self.insert(position, process, Kind::Invoke, invoked);
        self.insert(position, process, ended.0, ended.1);
    }

    /// The same for a call that changes nothing in its value.
    pub(super) fn plain_call(&mut self, position: usize, process: &Process, action: &Action) {
        self.call(position, process, action.clone(), (Kind::Ok, action.clone()));
    }

    /// A send of one record to an offset, as a call.
    pub(super) fn send(&mut self, position: usize, process: &Process, record: (&Key, u64, &Datum)) {
        let (key, offset, value) = record;
        let invoked = Action::Send(vec![MicroOp::send(key.clone(), value.clone())]);
        let sent = Action::Send(vec![MicroOp::sent(key.clone(), offset, value.clone())]);
        self.call(position, process, invoked, (Kind::Ok, sent));
    }

    /// A poll of one key, as a call.
    pub(super) fn poll(
        &mut self,
        position: usize,
        process: &Process,
        key: &Key,
        records: &[(u64, &Datum)],
    ) {
        self.call(
            position,
            process,
            Action::Poll(vec![MicroOp::poll()]),
            (Kind::Ok, polled(key, records)),
        );
    }

    /// The changes alone, so that the history is free to be changed.
    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }
}

impl Changes {
    /// Makes the changes, and says at which positions something is new.
    pub(super) fn apply(self, history: &mut History) -> Vec<usize> {
        let Self { replaced, mut inserted } = self;
        inserted.sort_by_key(|(position, _)| *position);
        let mut touched = Vec::new();
        history.edit(|operations| {
            let mut was_replaced = vec![false; operations.len()];
            for (position, operation) in replaced {
                operations[position] = operation;
                was_replaced[position] = true;
            }
            let mut inserted = inserted.into_iter().peekable();
            let mut all = Vec::with_capacity(operations.len());
            for (position, operation) in operations.drain(..).enumerate() {
                while let Some((_, new)) = inserted.next_if(|(at, _)| *at <= position) {
                    touched.push(all.len());
                    all.push(new);
                }
                if was_replaced[position] {
                    touched.push(all.len());
                }
                all.push(operation);
            }
            for (_, new) in inserted {
                touched.push(all.len());
                all.push(new);
            }
            *operations = all;
        });
        touched
    }
}

/// The answer to a poll of one key.
pub(super) fn polled(key: &Key, records: &[(u64, &Datum)]) -> Action {
    let polled = records
        .iter()
        .map(|(offset, value)| Polled { offset: Some(*offset), value: (*value).clone() });
    Action::Poll(vec![MicroOp::Poll(Some(vec![(key.clone(), polled.collect())]))])
}

//! Writes down who did what, as a history that the checkers can judge.

use crate::disk::Digest;
use merkql::env::Clock;
use merkql_jepsen::history::{Action, Attachments, Datum, History, Kind, Operation, Process};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A history in the making, shared by everybody who does something.
#[derive(Clone)]
pub(crate) struct Recorder {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    processes: i64,
    errors: BTreeSet<&'static str>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a client that has no state yet.
    pub(crate) fn new_process(&self) -> Process {
        let mut state = self.state();
        state.processes += 1;
        Process::Client(state.processes - 1)
    }

    /// Writes down a line.
    pub(crate) fn push(&self, operation: Operation) {
        let time_ns = i64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(i64::MAX);
        self.state().history.push(operation.at(time_ns));
    }

    pub(crate) fn invoke(&self, process: &Process, action: Action) {
        self.push(Operation::new(process.clone(), Kind::Invoke, action));
    }

    pub(crate) fn ok(&self, process: &Process, action: Action, with: Attachments) {
        self.push(Operation::new(process.clone(), Kind::Ok, action).with(with));
    }

    /// The end of a call that was answered with an error: it failed, or nobody knows.
    pub(crate) fn not_ok(&self, process: &Process, kind: Kind, action: Action, error: Datum) {
        let with = Attachments { error: Some(error), ..Attachments::default() };
        self.push(Operation::new(process.clone(), kind, action).with(with));
    }

    /// Something that the nemesis, or nobody in particular, did or saw.
    pub(crate) fn note(&self, by: &str, action: Action) {
        self.push(Operation::new(Process::Named(by.into()), Kind::Info, action));
    }

    /// Writes down that an error of this kind was met.
    pub(crate) fn met(&self, error: &'static str) {
        self.state().errors.insert(error);
    }

    /// The kinds of error that were met.
    pub(crate) fn errors(&self) -> BTreeSet<&'static str> {
        self.state().errors.clone()
    }

    /// How many operations there are so far.
    pub(crate) fn len(&self) -> usize {
        self.state().history.len()
    }

    /// The operations from a position on.
    pub(crate) fn since(&self, position: usize) -> Vec<Operation> {
        self.state().history.operations().get(position..).unwrap_or_default().to_vec()
    }

    /// The history so far.
    pub(crate) fn take(&self) -> History {
        std::mem::take(&mut self.state().history)
    }
}

/// A number that follows from every operation of a history.
pub(crate) fn digest_of(history: &History) -> u64 {
    let mut digest = Digest::new();
    add_to(&mut digest, history.operations());
    digest.value()
}

/// Adds every operation to a digest.
pub(crate) fn add_to(digest: &mut Digest, operations: &[Operation]) {
    for operation in operations {
        digest.number(operation.time_ns.unwrap_or_default().unsigned_abs());
        // Every field of an operation is in its `Debug` form, and nothing else is.
        digest.bytes(format!("{operation:?}").as_bytes());
    }
}

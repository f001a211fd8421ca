//! Writes down who did what, as a history that the checkers can judge.

use crate::disk::Digest;
use merkql::env::Clock;
use merkql_jepsen::history::{Action, Attachments, Datum, History, Kind, Operation, Process};
use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A history in the making, shared by everybody who does something.
#[derive(Clone)]
pub(crate) struct Recorder {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    /// Says what has happened that nobody has written down yet.
    watch: Arc<OnceLock<Watch>>,
}

/// Somebody who has seen something.
type Watch = Box<dyn Fn() -> Vec<Operation> + Send + Sync>;

/// Somebody who takes operations, one at a time.
type Sink = Box<dyn FnMut(&Operation) + Send>;

#[derive(Default)]
struct State {
    history: History,
    /// Takes the operations instead of the history, where they are kept elsewhere.
    sink: Option<Sink>,
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
        Self { clock, state: Arc::default(), watch: Arc::default() }
    }

    /// One that keeps nothing: hands each operation on before the call is made,
    /// or after it has ended, one at a time and in their order. Clients that have
    /// no state yet are numbered from `first_process` on.
    #[cfg(unix)]
    pub(crate) fn streaming(
        clock: Arc<dyn Clock>,
        first_process: i64,
        sink: impl FnMut(&Operation) + Send + 'static,
    ) -> Self {
        let state =
            State { processes: first_process, sink: Some(Box::new(sink)), ..State::default() };
        Self { clock, state: Arc::new(Mutex::new(state)), watch: Arc::default() }
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

    /// Asks `watch` before each line that is written down for what has happened
    /// before it. There is one who watches at most: the first.
    pub(crate) fn watch(&self, watch: impl Fn() -> Vec<Operation> + Send + Sync + 'static) {
        self.watch.get_or_init(|| Box::new(watch));
    }

    /// Writes down what has happened and nobody has written down yet.
    pub(crate) fn catch_up(&self) {
        for operation in self.watch.get().map(|watch| watch()).unwrap_or_default() {
            self.write(operation);
        }
    }

    /// Writes down a line.
    pub(crate) fn push(&self, operation: Operation) {
        self.catch_up();
        self.write(operation);
    }

    fn write(&self, operation: Operation) {
        let time_ns = i64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(i64::MAX);
        let operation = operation.at(time_ns);
        let state = &mut *self.state();
        match &mut state.sink {
            Some(sink) => sink(&operation),
            None => state.history.push(operation),
        }
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

    /// Adds the operations from a position on to a digest. Returns how many
    /// operations there are in all.
    pub(crate) fn add_to(&self, digest: &mut Digest, position: usize) -> usize {
        let state = self.state();
        let operations = state.history.operations();
        operations.get(position..).hash(digest);
        operations.len()
    }

    /// How many operations there are so far.
    pub(crate) fn len(&self) -> usize {
        self.state().history.len()
    }

    /// Looks at the operations so far; nobody can add to them meanwhile.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&[Operation]) -> T) -> T {
        at(self.state().history.operations())
    }

    /// The history so far.
    pub(crate) fn take(&self) -> History {
        std::mem::take(&mut self.state().history)
    }
}

/// A number that follows from every operation of a history.
pub(crate) fn digest_of(history: &History) -> u64 {
    let mut digest = Digest::new();
    history.operations().hash(&mut digest);
    digest.value()
}

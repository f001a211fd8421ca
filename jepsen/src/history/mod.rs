//! Histories: who did what, when, and how it ended.
//!
//! A history is a list of operations as Jepsen's Kafka workload writes them. Each has an `index`, a `time` in nanoseconds, a
//! `process` (a number for a client, a name for anyone else), a `type` (`invoke`, `ok`, `fail` or `info`), a function `f` and a
//! `value`. `process`, `type` and `f` are required. A process does one thing at a time; a client that lost its state comes back
//! under a new number. An `info` operation may or may not have happened, and one whose effects are seen did.
//!
//! Only clients send, poll, do transactions, assign and subscribe, and the checkers know a client by its number. So a history in
//! which another name than `nemesis` does one of these is refused. A nemesis has functions of its own: one that shares its name
//! with a function below, but whose value has another shape, is ignored like all that nobody knows. A client's value must fit.
//!
//! A **key** stands for one partition, of one life of its topic: a topic that is deleted and created again takes new keys. A
//! **record** is known by its value; each send sends a value that no other send to that key does.
//!
//! # Jepsen's functions
//!
//! | `f` | value when invoked | value when `ok` | read by |
//! |---|---|---|---|
//! | `send` | `[["send", key, record], …]` | `[["send", key, [offset, record]], …]` | all of Jepsen's anomalies, `realtime-order`, `offset-reuse`, `torn-transaction` |
//! | `poll` | `[["poll"]]` | `[["poll", {key: [[offset, record], …]}]]` | all that look at records |
//! | `txn` | both kinds of steps | both kinds of steps | as send and poll |
//! | `assign` | `[key, …]` | the same | the positions of `poll-skip`, `nonmonotonic-poll`, `nonmonotonic-send`, `offset-gap` |
//! | `subscribe` | `[key, …]` | the same | as assign; `double-delivery`, `double-owner` |
//! | `crash` | anything | (it ends as `info`) | `offset-reuse`, `vanished-read`, `double-owner` |
//! | `debug-topic-partitions` | anything | anything | nobody |
//!
//! # Further functions
//!
//! In the last column of this table and the next, "all that miss records" are `lost-write`, `unseen`, `poll-skip`,
//! `int-poll-skip`, `offset-gap`, `vanished-read`, `torn-transaction` and `undetected-damage`: what may lawfully be missing is counted as
//! excused by them.
//!
//! | `f` | value when invoked | value when `ok` | read by |
//! |---|---|---|---|
//! | `open` | nil | `{dense_offsets, atomic_batches, rebalances, all_sends}`, each true or absent: what the log and the history promise | `offset-gap` and roots (dense offsets), `int-send-skip` and `torn-transaction` (atomic batches), `poll-skip` and `nonmonotonic-poll` (rebalances), `silent-corruption` (all sends); marks a restart for `offset-reuse` and `vanished-read` |
//! | `close` | nil | nil | `double-owner` |
//! | `commit` | `{group, offsets: {key: next offset, or nil to remove it}}` | the same | `lost-commit`, `commit-regression`, `double-delivery` |
//! | `committed` | `{group, offsets: {key: nil}}` | `{group, offsets: {key: offset, or nil for none}}` | `lost-commit`, `commit-regression` |
//! | `seek` | `{key: offset}` | the same | the positions of `poll-skip`, `nonmonotonic-poll`, `offset-gap`, `double-delivery` |
//! | `root` | `{key}` | `{key, size, root}` | `root-regression`, `inconsistent-roots` |
//! | `proof` | `{key, index}` | `{key, index, size, root, record, path}`; `record` is the record's hash | `proof-invalid`, `inconsistent-roots` |
//! | `consistency` | `{key, old_size, new_size}` | `{key, old_size, new_size, old_root, new_root, path}`; `old_root` is the one that was held | `root-regression`, `proof-invalid`, `inconsistent-roots` |
//! | `retain` | `{key: new start}` | the same | all that miss records |
//! | `compact` | `{key: [[from, to], …]}`: records that compaction may remove. Where `record-keys` tell, it may remove those alone that a later record of the same key had superseded before it ended, and tombstones | the same | all that miss records; `undeleted` |
//! | `delete` | `[key, …]` | the same | all that miss records, `lost-commit`, `commit-regression` |
//! | `final-polls` | `[key, …]` | `{key: end offset}`: since its last assign, which sought to the beginning, the process has polled these keys from their start to these ends | `vanished-read`, `torn-transaction`, `undetected-damage`, `stuck` |
//!
//! # Observations
//!
//! These stand alone or in pairs with an invocation; anything but `invoke` and `fail` counts.
//!
//! | `f` | value | read by |
//! |---|---|---|
//! | `rebalance` | `{group, assigned: [key, …], revoked: [key, …]}`: what the process was told | `double-owner`; the positions of `poll-skip` and others |
//! | `damage` | `{id, class: "R" or "D", spans: {key: [[from, to], …]}}`: what the nemesis damaged at rest, recoverable or to be detected. A key with no ranges is damaged wholly, one with nothing but an empty range was touched and none of its records was; no `spans` means something that belongs to the whole log | `undetected-damage`, `unavailable` |
//! | `detected` | `{damage: id, spans}`: a read or an open answered with a typed error that names these records; the id may be missing | `undetected-damage`, `unavailable`, all that miss records |
//! | `removed` | `{key: [[from, to], …]}`: records that are gone for good, because retention, the deletion of records or that of a topic was acknowledged; no read that begins later may return one. A key with no ranges is gone wholly. What may be missing meanwhile say `retain`, `compact` and `delete` | `undeleted` |
//! | `healed` | `{damage: id}`: a repair by itself was seen | `undetected-damage` |
//! | `refused` | anything: `open` answered with a typed error | `undetected-damage`, `unavailable` |
//! | `undecidable-tail` | `{key: first offset that may be gone}`: what was acknowledged before may be lost, and no log could tell | everything; what it excuses is counted under this name |
//! | `faults-end` | `{bound_ns}`: nothing is broken any more, and within this time things must get done | `stuck` |
//! | `panic` | a message | `panic` |
//!
//! # Further fields
//!
//! | field | on | value | read by |
//! |---|---|---|---|
//! | `hashes` | send, poll, txn | `{key: [[offset, hash], …]}`: SHA-256 of each record's canonical bytes, in hexadecimal | `silent-corruption`, `inconsistent-roots`, `proof-invalid` |
//! | `record-keys` | send, txn | `{key: [[record, its own key], [record, its own key, true], …]}`: what compaction knows the records by that are sent; the third says that it is a tombstone | `compact` and what it excuses, `undeleted` |
//! | `ends` | poll, txn | `{key: end offset}`: keys that the poll read to their end | `vanished-read`, `torn-transaction` |
//! | `commits` | poll, txn | `{group, offsets}`: offsets committed with the operation | as `commit` |
//! | `rebalance-log` | poll, txn | `[{keys: [key, …]}, …]` | positions, as `rebalance` |
//! | `group` | subscribe | the consumer group | `double-delivery`, `double-owner` |
//! | `seek-to-beginning?` | assign | true | positions, as `seek` |
//! | `error` | fail, info | a name, or a list that begins with one: `corrupt`, `unavailable` and `panic` mean something | `unavailable`, `panic` |
//!
//! All other fields and functions are kept by conversion and ignored by the checkers.

mod action;
mod attachments;
mod datum;
mod evidence;
mod operation;

pub use action::{Action, FinalPolls, MicroOp, Polled, PolledMap};
pub use attachments::{Attachments, RebalanceEvent};
pub use datum::Datum;
pub use evidence::{
    Commit, Consistency, ConsistencyProof, Damage, Declarations, Detected, FaultClass, FaultsEnd,
    Healed, Inclusion, InclusionProof, OffsetMap, Rebalance, RecordHashMap, RecordKey,
    RecordKeyMap, Rest, Root, Span, SpanMap, TreeHead,
};
pub use operation::{Key, Kind, Operation, Process};

/// Operations in the order in which they happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct History {
    operations: Vec<Operation>,
}

impl History {
    /// A history of these operations, numbered by position.
    pub fn new(operations: impl IntoIterator<Item = Operation>) -> Self {
        let mut history = Self { operations: operations.into_iter().collect() };
        history.renumber();
        history
    }

    /// The operations.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Appends an operation and gives it the number behind the last one's.
    pub fn push(&mut self, mut operation: Operation) {
        operation.index = self.operations.last().map_or(0, |last| last.index.saturating_add(1));
        self.operations.push(operation);
    }

    /// Appends an operation that has its number.
    pub(crate) fn push_numbered(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Changes the operations at will; their numbers then are their positions.
    pub fn edit<T>(&mut self, change: impl FnOnce(&mut Vec<Operation>) -> T) -> T {
        let result = change(&mut self.operations);
        self.renumber();
        result
    }

    fn renumber(&mut self) {
        for (position, operation) in self.operations.iter_mut().enumerate() {
            operation.index = position as u64;
        }
    }
}

impl FromIterator<Operation> for History {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self::new(operations)
    }
}

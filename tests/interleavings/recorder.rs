//! The history of one schedule.

use merkql::record::Record;
use merkql_jepsen::history::{
    Action, Attachments, Datum, History, Key, Kind, MicroOp, Operation, Polled, PolledMap, Process,
    RecordHashMap,
};
use merkql_jepsen::merkle::Hash;
use merkql_jepsen::notation::Format;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes down what the clients do, in the order in which they do it. Its lock is
/// not one of the scheduler's: nobody else runs between a note and the call that
/// it tells of.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    history: Mutex<History>,
    processes: AtomicI64,
}

impl Recorder {
    /// A number for a client that was not there before.
    pub(crate) fn new_process(&self) -> Process {
        Process::Client(self.processes.fetch_add(1, Ordering::Relaxed))
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an operation.
    pub(crate) fn note(&self, process: &Process, kind: Kind, action: Action) {
        self.history().push(Operation::new(process.clone(), kind, action));
    }

    /// Notes an operation that carries evidence.
    pub(crate) fn note_with(
        &self,
        process: &Process,
        kind: Kind,
        action: Action,
        attachments: Attachments,
    ) {
        self.history().push(Operation::new(process.clone(), kind, action).with(attachments));
    }

    /// Judges everything that was noted.
    pub(crate) fn judge(&self) {
        let history = self.history();
        let verdict = merkql_jepsen::check(&history);
        if verdict.is_valid() {
            return;
        }
        let mut lines = Vec::new();
        history.write(&mut lines, Format::JsonLines).expect("a vector takes everything");
        let found: Vec<String> = verdict
            .witnesses()
            .map(|found| format!("{}: {}", found.name, found.sentence))
            .collect();
        panic!("{}\n{}", found.join("\n"), String::from_utf8_lossy(&lines));
    }
}

/// The key of a topic; in these scenarios every topic has one partition.
pub(crate) fn key(topic: &str) -> Key {
    Key::from(topic)
}

/// The answer of a poll, with the hashes of its records.
pub(crate) fn answer(records: &[Record]) -> (Action, RecordHashMap) {
    let mut polled: PolledMap = Vec::new();
    for record in records {
        let key = key(&record.topic);
        let entry = Polled { offset: Some(record.offset), value: Datum::str(&record.value) };
        match polled.iter_mut().find(|(of, _)| *of == key) {
            Some((_, entries)) => entries.push(entry),
            None => polled.push((key, vec![entry])),
        }
    }
    (Action::Poll(vec![MicroOp::Poll(Some(polled))]), hashes(records))
}

/// The hashes of the records' canonical bytes.
pub(crate) fn hashes(records: &[Record]) -> RecordHashMap {
    let mut hashes: RecordHashMap = Vec::new();
    for record in records {
        let key = key(&record.topic);
        let entry = (record.offset, Hash::digest(&record.serialize()));
        match hashes.iter_mut().find(|(of, _)| *of == key) {
            Some((_, entries)) => entries.push(entry),
            None => hashes.push((key, vec![entry])),
        }
    }
    hashes
}

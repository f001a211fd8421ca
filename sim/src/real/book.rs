//! The history of a round, in the order in which its lines arrived, and what the
//! next life has to know of it.

use super::letter::{Letter, Orders, producer_of, remembered_send};
use merkql_jepsen::history::{Action, Attachments, Datum, History, Key, Kind, Operation, Process};
use std::collections::BTreeMap;
use std::time::Instant;

/// How many roots of a partition are remembered: the first, and the last ones.
const HEADS_MAX: usize = 4;

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Sends that were acknowledged.
    pub(crate) sends: u64,
    /// Records that they sent.
    pub(crate) acknowledged: u64,
    /// Records that polls returned.
    pub(crate) read: u64,
    /// Sends that were refused because the disk is full.
    pub(crate) refused_for_room: u64,
}

/// The history, and what follows from it.
#[derive(Debug)]
pub(crate) struct Book {
    history: History,
    began: Instant,
    writers: u32,
    /// Calls that have had no answer.
    open: BTreeMap<Process, Action>,
    /// How many sends of each producer id were answered.
    answered: BTreeMap<u64, u64>,
    heads: BTreeMap<Key, Vec<Operation>>,
    pub(crate) counts: Counts,
}

impl Book {
    pub(crate) fn new(writers: u32) -> Self {
        Self {
            history: History::default(),
            began: Instant::now(),
            writers,
            open: BTreeMap::new(),
            answered: BTreeMap::new(),
            heads: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The next line of the history.
    pub(crate) fn write(&mut self, operation: Operation) {
        if operation.kind == Kind::Invoke {
            self.open.insert(operation.process.clone(), operation.action.clone());
        } else {
            self.open.remove(&operation.process);
            self.learn(&operation);
        }
        let time_ns = i64::try_from(self.began.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.history.push(operation.at(time_ns));
    }

    /// What follows from the end of a call.
    fn learn(&mut self, operation: &Operation) {
        let is_ok = operation.kind == Kind::Ok;
        match &operation.action {
            Action::Send(steps) if is_ok => {
                self.counts.sends += 1;
                self.counts.acknowledged += steps.len() as u64;
                if let Some(id) = producer_of(&operation.process, self.writers) {
                    *self.answered.entry(id).or_default() += 1;
                }
            }
            Action::Send(_) => {
                let error = operation.attachments.as_ref().and_then(|with| with.error_kind());
                self.counts.refused_for_room += u64::from(error == Some("disk-full"));
            }
            Action::Poll(steps) if is_ok => {
                let polled = steps.iter().map(|step| match step {
                    merkql_jepsen::history::MicroOp::Poll(Some(keys)) => {
                        keys.iter().map(|(_, records)| records.len() as u64).sum()
                    }
                    _ => 0,
                });
                self.counts.read += polled.sum::<u64>();
            }
            Action::Root(root) if is_ok && root.answer.is_some() => {
                let heads = self.heads.entry(root.key.clone()).or_default();
                if heads.len() == HEADS_MAX {
                    heads.remove(1);
                }
                heads.push(operation.clone());
            }
            _ => {}
        }
    }

    /// Something that the nemesis did, or the process that hosts the log.
    pub(crate) fn note(&mut self, by: &str, action: Action) {
        self.write(Operation::new(Process::Named(by.into()), Kind::Info, action));
    }

    /// The process that hosts the log is no more: nobody knows what became of the
    /// calls that are open. Only the sends of producer ids can still be answered,
    /// for they are made again. Returns how many sends were open.
    pub(crate) fn died(&mut self) -> u64 {
        let mut sends = 0;
        for (process, action) in std::mem::take(&mut self.open) {
            let is_send = matches!(action, Action::Send(_));
            sends += u64::from(is_send);
            if is_send && producer_of(&process, self.writers).is_some() {
                self.open.insert(process, action);
                continue;
            }
            let error = Some(Datum::str("killed"));
            let with = Attachments { error, ..Attachments::default() };
            self.write(Operation::new(process, Kind::Info, action).with(with));
        }
        sends
    }

    /// What a life is told when it starts.
    pub(crate) fn letter(&self, orders: Orders) -> Letter {
        let sends = self.open.iter().filter_map(|(process, action)| match action {
            Action::Send(asked) => Some(remembered_send(process, asked)),
            _ => None,
        });
        let remembered = sends.chain(self.heads.values().flatten().cloned());
        let answered = self.answered.clone();
        Letter { orders: Orders { answered, ..orders }, remembered: remembered.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use merkql_jepsen::history::MicroOp;

    const NUMBERED: Process = Process::Client(3);
    const OTHER: Process = Process::Client(1000);

    fn send(offset: Option<u64>) -> Action {
        let (key, value) = (Key::from("single/0"), Datum::str("0.0"));
        Action::Send(vec![MicroOp::Send { key, offset, value }])
    }

    fn orders() -> Orders {
        Orders {
            dir: "log".into(),
            seed: 0,
            life: 1,
            purpose: super::super::letter::Purpose::Work,
            writers: 4,
            readers: 0,
            answered: BTreeMap::new(),
        }
    }

    #[test]
    fn a_kill_leaves_open_only_what_will_be_sent_again() {
        let mut book = Book::new(4);
        book.write(Operation::new(NUMBERED, Kind::Invoke, send(None)));
        book.write(Operation::new(NUMBERED, Kind::Ok, send(Some(0))));
        book.write(Operation::new(NUMBERED, Kind::Invoke, send(None)));
        book.write(Operation::new(OTHER, Kind::Invoke, send(None)));
        assert_eq!(book.died(), 2);
        let last = book.history().operations().last().unwrap();
        assert_eq!((&last.process, last.kind), (&OTHER, Kind::Info));
        let letter = book.letter(orders());
        assert_eq!(letter.orders.answered, BTreeMap::from([(3, 1)]));
        let open: Vec<_> = letter.remembered.operations().iter().map(|op| &op.process).collect();
        assert_eq!(open, [&NUMBERED]);
        let mut sent = Vec::new();
        letter.write(&mut sent).unwrap();
        let read = Letter::read(sent.as_slice()).unwrap();
        assert_eq!(read.remembered, letter.remembered);
        assert_eq!(read.orders.answered, letter.orders.answered);
    }
}

//! Producers that tell the history what they send.

use super::recorder::{hashes, key};
use super::run::Run;
use merkql::broker::{Broker, BrokerRef};
use merkql::producer::{PendingSend, Producer};
use merkql::record::{ProducerRecord, Record};
use merkql_jepsen::history::{Action, Attachments, Datum, Kind, MicroOp, Process};
use shuttle::future::block_on;
use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A producer that sends values nobody else sends.
pub(crate) struct Sender<'r> {
    run: &'r Run,
    producer: Producer,
    process: Process,
    batches: u32,
}

/// Of the batches that these records belong to, those that they hold only in part.
pub(crate) fn torn_batches(records: &[Record]) -> Vec<&str> {
    let mut batches: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records {
        let (batch, _) = record.value.rsplit_once(": ").expect("senders number their records");
        *batches.entry(batch).or_default() += 1;
    }
    let len = |batch: &str| batch.rsplit_once(" of ").and_then(|(_, len)| len.parse().ok());
    batches.retain(|batch, count| len(batch) != Some(*count));
    batches.into_keys().collect()
}

/// A send that was handed over.
pub(crate) struct Pending<'r> {
    run: &'r Run,
    sent: PendingSend,
    process: Process,
    steps: Vec<MicroOp>,
}

impl<'r> Sender<'r> {
    pub(crate) fn new(run: &'r Run, broker: &BrokerRef) -> Self {
        let process = run.recorder.new_process();
        Self { run, producer: Broker::producer(broker), process, batches: 0 }
    }

    /// A record for each of the topics, and the send of them as the history has it.
    fn records(
        &mut self,
        process: &Process,
        topics: &[&str],
    ) -> (Vec<ProducerRecord>, Vec<MicroOp>) {
        let mut records = Vec::new();
        let mut steps = Vec::new();
        self.batches += 1;
        let batch = format!("{}, batch {} of {}", self.process, self.batches, topics.len());
        for (number, topic) in topics.iter().enumerate() {
            let value = format!("{batch}: {number}");
            steps.push(MicroOp::send(key(topic), Datum::str(&value)));
            records.push(ProducerRecord::new(*topic, None, value));
        }
        self.run.recorder.note(process, Kind::Invoke, Action::Send(steps.clone()));
        (records, steps)
    }

    /// Sends a record to each of the topics, as one batch; returns whether it was
    /// acknowledged.
    pub(crate) fn send(&mut self, topics: &[&str]) -> bool {
        let process = self.process.clone();
        let (records, steps) = self.records(&process, topics);
        let sent = match records.as_slice() {
            [record] => self.producer.send(record).map(|record| vec![record]),
            records => self.producer.send_batch(records),
        };
        let acknowledged = note_sent(self.run, &process, steps, &sent);
        if !acknowledged {
            self.process = self.run.recorder.new_process();
        }
        acknowledged
    }

    /// Hands a record for each of the topics over; nothing if that is refused.
    pub(crate) fn enqueue(&mut self, topics: &[&str]) -> Option<Pending<'r>> {
        // Until it is waited for, its process does nothing else.
        let process = self.run.recorder.new_process();
        let (records, steps) = self.records(&process, topics);
        match self.producer.enqueue(&records) {
            Ok(sent) => Some(Pending { run: self.run, sent, process, steps }),
            refused => {
                note_sent(self.run, &process, steps, &refused.map(|_| Vec::new()));
                None
            }
        }
    }

    /// Writes what anybody has handed over; returns whether that was done.
    pub(crate) fn flush(&mut self) -> bool {
        let flushed = self.producer.flush();
        self.run.kind(&flushed) == Kind::Ok
    }
}

impl Pending<'_> {
    /// Waits for the acknowledgement; returns whether it came.
    pub(crate) fn wait(self) -> bool {
        note_sent(self.run, &self.process, self.steps, &self.sent.wait())
    }

    /// As [`Pending::wait`], with a future.
    pub(crate) fn block_on(self) -> bool {
        let sent = block_on(self.sent.into_future());
        note_sent(self.run, &self.process, self.steps, &sent)
    }

    /// Looks once whether it is written, and then goes away. Returns whether the
    /// future was still pending; then nobody learns what becomes of the send.
    pub(crate) fn give_up(self) -> bool {
        let mut future = self.sent.into_future();
        let polled = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(sent) => {
                note_sent(self.run, &self.process, self.steps, &sent);
                false
            }
            Poll::Pending => {
                let action = Action::Send(self.steps);
                self.run.recorder.note(&self.process, Kind::Info, action);
                true
            }
        }
    }
}

fn note_sent(
    run: &Run,
    process: &Process,
    mut steps: Vec<MicroOp>,
    sent: &merkql::Result<Vec<Record>>,
) -> bool {
    let kind = run.kind(sent);
    let records = sent.as_deref().unwrap_or_default();
    for (step, record) in steps.iter_mut().zip(records) {
        *step = MicroOp::sent(key(&record.topic), record.offset, Datum::str(&record.value));
    }
    let attachments = Attachments { hashes: hashes(records), ..Attachments::default() };
    run.recorder.note_with(process, kind, Action::Send(steps), attachments);
    kind == Kind::Ok
}

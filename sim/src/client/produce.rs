//! Sends: alone, together, handed over for later, under a producer id.

use super::Bench;
use super::errors::{datum_of as datum_of_error, kind_of, name_of};
use super::memory::{ProducerMemory, Sent};
use super::names::{Lives, datum_of, datum_to_be, record_key, record_of};
use super::tamper::Tamper;
use crate::scenario::RecordSpec;
use merkql::broker::Broker;
use merkql::producer::PendingSend;
use merkql::record::{BytesProducerRecord, BytesRecord};
use merkql::{Error, Result};
use merkql_jepsen::history::{Action, Attachments, Kind, MicroOp, Operation, Process};
use merkql_jepsen::merkle::Hash;

/// A send that was handed over, by whom, and what was written down about it.
#[derive(Debug)]
pub(crate) struct Pending {
    process: Process,
    asked: Vec<MicroOp>,
    /// The lives that topics were in.
    lives: Lives,
    send: PendingSend<BytesRecord>,
    /// The producer id that it went under, if under one.
    producer: Option<u64>,
}

/// What says to which partition a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Its key alone, if it has one.
    Key,
    /// The record itself.
    Partition,
}

/// Records and what a history says of them before they have an offset.
pub(crate) fn records(
    bench: &Bench,
    step: u32,
    specs: &[RecordSpec],
    by: Names,
) -> (Vec<BytesProducerRecord>, Vec<MicroOp>) {
    let mut records = Vec::new();
    let mut asked = Vec::new();
    for (place, spec) in specs.iter().enumerate() {
        let Some(topic) = bench.broker.topic(&spec.topic) else { continue };
        let number = usize::try_from(step).unwrap_or_default() + place;
        let partition = spec.partition % topic.num_partitions().max(1);
        let mut record = record_of((step, place), spec, record_key(&topic, partition, number));
        record.partition = (by == Names::Partition).then_some(partition);
        asked.push(MicroOp::send(bench.memory.key(&spec.topic, partition), datum_to_be(&record)));
        records.push(record);
    }
    (records, asked)
}

impl Bench {
    /// Sends records and waits.
    pub(crate) fn send(&self, process: &Process, step: u32, specs: &[RecordSpec]) -> Result<()> {
        let (records, asked) = records(self, step, specs, Names::Key);
        match self.hand_over(process, &records, &asked)? {
            Some(pending) => self.wait(pending),
            None => Ok(()),
        }
    }

    /// Hands records over. What is returned is to be waited for.
    pub(crate) fn send_later(&self, step: u32, specs: &[RecordSpec]) -> Result<Option<Pending>> {
        let (records, asked) = records(self, step, specs, Names::Key);
        self.hand_over(&self.recorder.new_process(), &records, &asked)
    }

    fn hand_over(
        &self,
        process: &Process,
        records: &[BytesProducerRecord],
        asked: &[MicroOp],
    ) -> Result<Option<Pending>> {
        if records.is_empty() {
            return Ok(None);
        }
        self.invoke_send(process, asked.to_vec(), records);
        let lives = self.memory.lives();
        let records = self.tamper.handed_over(records, asked);
        match Broker::producer(&self.broker).enqueue_bytes(records) {
            Ok(send) => {
                let (process, asked) = (process.clone(), asked.to_vec());
                Ok(Some(Pending { process, asked, lives, send, producer: None }))
            }
            Err(error) => {
                // Nothing was handed over.
                self.not_sent(process, Kind::Fail, asked, &error);
                Err(error)
            }
        }
    }

    /// Waits for what was handed over.
    pub(crate) fn wait(&self, pending: Pending) -> Result<()> {
        let Pending { process, asked, lives, send, producer } = pending;
        let answer = send.wait();
        if let Some(id) = producer {
            return self.answered(id, answer);
        }
        match answer {
            Ok(answer) => {
                self.sent(&process, &lives, &answer, Tamper::withheld(&asked, &answer));
                Ok(())
            }
            Err(error) => {
                self.not_sent(&process, kind_of(&error), &asked, &error);
                Err(error)
            }
        }
    }

    /// Nobody will wait for it any more.
    pub(crate) fn give_up(&self, pending: &Pending) {
        if pending.producer.is_none() {
            let error = super::errors::given_up();
            self.recorder.not_ok(
                &pending.process,
                Kind::Info,
                Action::Send(pending.asked.clone()),
                error,
            );
        }
    }

    /// Writes down what an acknowledged send was told, and what else was to be
    /// sent with it: nothing, if no bug is planted.
    fn sent(
        &self,
        process: &Process,
        lives: &Lives,
        answer: &[BytesRecord],
        withheld: Vec<MicroOp>,
    ) {
        let (mut steps, with) = placed(lives, answer);
        steps.extend(withheld);
        self.recorder.ok(process, Action::Send(steps), with);
        let now = self.memory.lives();
        let living = |record: &&BytesRecord| lives.of(&record.topic) == now.of(&record.topic);
        for record in answer.iter().filter(living) {
            let end = record.offset + 1;
            let place = (&*record.topic, record.partition);
            self.memory.note_retention(&self.recorder, place.0, place.1, end);
            self.memory.note_removed(&self.recorder, place.0, place.1, end);
        }
    }

    /// Writes down what is to be sent, and by which keys compaction will know it.
    fn invoke_send(&self, process: &Process, asked: Vec<MicroOp>, records: &[BytesProducerRecord]) {
        let with = Attachments {
            record_keys: self.memory.record_keys(&asked, records),
            ..Attachments::default()
        };
        let operation = Operation::new(process.clone(), Kind::Invoke, Action::Send(asked));
        self.recorder.push(operation.with(with));
    }

    fn not_sent(&self, process: &Process, kind: Kind, asked: &[MicroOp], error: &Error) {
        self.recorder.met(name_of(error));
        self.recorder.not_ok(process, kind, Action::Send(asked.to_vec()), datum_of_error(error));
    }

    /// Sends records under the next sequence of a producer id, after the last
    /// send of that id has got its answer.
    pub(crate) fn send_as(&self, id: u64, step: u32, specs: &[RecordSpec]) -> Result<()> {
        self.retry_unanswered(id)?;
        // Repeated, they go to the same partitions, however many there are by then.
        let (records, asked) = records(self, step, specs, Names::Partition);
        if records.is_empty() {
            return Ok(());
        }
        let (process, sequence) = {
            let mut state = self.memory.state();
            let producer = state.producers.entry(id).or_insert_with(|| ProducerMemory {
                process: self.recorder.new_process(),
                next_sequence: 0,
                last: None,
            });
            let sequence = producer.next_sequence;
            producer.last = Some(Sent {
                sequence,
                records: records.clone(),
                asked: asked.clone(),
                answer: None,
                is_ambiguous: false,
            });
            (producer.process.clone(), sequence)
        };
        self.invoke_send(&process, asked, &records);
        let producer = Broker::idempotent_producer(&self.broker, id);
        let answer = producer.enqueue_bytes(sequence, &records).and_then(PendingSend::wait);
        self.answered(id, answer)
    }

    /// Repeats the last send of a producer id.
    pub(crate) fn retry(&self, id: u64) -> Result<()> {
        let Some(last) = self.last_of(id) else { return Ok(()) };
        let Some(first) = last.answer else { return self.retry_unanswered(id) };
        let producer = Broker::idempotent_producer(&self.broker, id);
        let again = producer.send_bytes_batch(last.sequence, &last.records);
        let again = again.inspect_err(|error| self.recorder.met(name_of(error)))?;
        // The same answer tells nothing new. Another one is another fact: what was lost
        // with a tail is sent anew by it.
        if again != first {
            let process = self.recorder.new_process();
            self.invoke_send(&process, last.asked, &last.records);
            self.sent(&process, &self.memory.lives(), &again, Vec::new());
            let mut state = self.memory.state();
            let producer = state.producers.get_mut(&id);
            if let Some(last) = producer.and_then(|producer| producer.last.as_mut()) {
                last.answer = Some(again);
            }
        }
        Ok(())
    }

    fn last_of(&self, id: u64) -> Option<Sent> {
        self.memory.state().producers.get(&id)?.last.clone()
    }

    /// Repeats the last send of a producer id if it has had no answer.
    pub(crate) fn retry_unanswered(&self, id: u64) -> Result<()> {
        let Some(last) = self.last_of(id).filter(|last| last.answer.is_none()) else {
            return Ok(());
        };
        let producer = Broker::idempotent_producer(&self.broker, id);
        let answer = producer.send_bytes_batch(last.sequence, &last.records);
        let mut state = self.memory.state();
        state.retries.armed += 1;
        state.retries.fired += 1;
        state.retries.mattered += u64::from(answer.is_ok());
        drop(state);
        self.answered(id, answer)
    }

    /// Takes the answer to the last send of a producer id. One that leaves open
    /// what happened leaves the send open, too: it will be repeated.
    fn answered(&self, id: u64, answer: Result<Vec<BytesRecord>>) -> Result<()> {
        let mut state = self.memory.state();
        let Some(producer) = state.producers.get_mut(&id) else { return Ok(()) };
        let process = producer.process.clone();
        match answer {
            Ok(answer) => {
                producer.next_sequence += 1;
                if let Some(last) = &mut producer.last {
                    last.answer = Some(answer.clone());
                }
                drop(state);
                self.sent(&process, &self.memory.lives(), &answer, Vec::new());
                Ok(())
            }
            Err(error) if leaves_open(producer.last.as_mut(), &error) => {
                self.recorder.met(name_of(&error));
                Err(error)
            }
            Err(error) => {
                let last = producer.last.take();
                let was_ambiguous = last.as_ref().is_some_and(|last| last.is_ambiguous);
                // A log that has lost its tail knows less of a producer than it did.
                let has_forgotten = state.is_tail_lost && was_ambiguous;
                let kind = if has_forgotten { Kind::Info } else { Kind::Fail };
                drop(state);
                if has_forgotten {
                    self.ask_for_sequence(id);
                }
                let asked = last.map(|last| last.asked).unwrap_or_default();
                self.not_sent(&process, kind, &asked, &error);
                Err(error)
            }
        }
    }

    /// Goes on with the sequence that the log expects.
    fn ask_for_sequence(&self, id: u64) {
        let next_sequence = Broker::idempotent_producer(&self.broker, id).next_sequence();
        if let Some(producer) = self.memory.state().producers.get_mut(&id) {
            producer.next_sequence = next_sequence;
        }
    }

    /// Writes down that nobody knows what became of the sends that never had an answer.
    pub(crate) fn leave_open(&self) {
        let mut open = Vec::new();
        for producer in self.memory.state().producers.values_mut() {
            if let Some(last) = producer.last.take_if(|last| last.answer.is_none()) {
                open.push((producer.process.clone(), last.asked));
            }
        }
        for (process, asked) in open {
            let error = super::errors::given_up();
            self.recorder.not_ok(&process, Kind::Info, Action::Send(asked), error);
        }
    }
}

/// Records that have their places, as a history has them.
pub(crate) fn placed(lives: &Lives, answer: &[BytesRecord]) -> (Vec<MicroOp>, Attachments) {
    let mut steps = Vec::new();
    let mut with = Attachments::default();
    for record in answer {
        let key = lives.key(&record.topic, record.partition);
        let hash = (record.offset, Hash(record.hash().0));
        // A history's notations know no map that has a key twice.
        match with.hashes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, hashes)) => hashes.push(hash),
            None => with.hashes.push((key.clone(), vec![hash])),
        }
        steps.push(MicroOp::sent(key, record.offset, datum_of(record)));
    }
    (steps, with)
}

/// Whether nobody knows, after this error, what became of a send and of the
/// attempts before.
fn leaves_open(last: Option<&mut Sent>, error: &Error) -> bool {
    let Some(last) = last else { return false };
    last.is_ambiguous |= kind_of(error) == Kind::Info;
    // Such a refusal speaks of all attempts.
    let refused = matches!(error, Error::SequenceOutOfOrder { .. } | Error::UnknownProducer { .. });
    last.is_ambiguous && !refused
}

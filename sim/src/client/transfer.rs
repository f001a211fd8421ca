//! Consume, transform, produce: what a member polls goes to another topic, in one
//! transaction with the offsets up to which it was polled.
//!
//! What is sent follows from the record that it was made from, so one that was taken
//! over twice stands there twice, and is a duplicate. A transaction that has failed
//! for certain is made again under the next attempt's number: what it was to send
//! must never be seen.

use super::Bench;
use super::consume::Member;
use super::errors::{datum_of as datum_of_error, kind_of, name_of};
use super::names::{datum_to_be, record_key, taken_over};
use super::produce::placed;
use merkql::broker::Broker;
use merkql::record::{BytesProducerRecord, BytesRecord, RecordMetadata};
use merkql::{Error, Result};
use merkql_jepsen::history::{Action, Attachments, Commit, Datum, Kind, MicroOp, Operation};
use std::sync::Arc;

/// What a transaction is to do, and how a history has it.
struct Plan {
    records: Vec<BytesProducerRecord>,
    asked: Vec<MicroOp>,
    commit: Commit,
}

impl Bench {
    /// Takes records that the member has just polled over to a topic that exists.
    /// After an error it has to join anew: it stands behind what it did not take over.
    pub(crate) fn transfer(
        &self,
        member: &mut Member,
        inputs: &[BytesRecord],
        to: &str,
        abort: bool,
    ) -> Result<()> {
        let plan = self.plan(member, inputs, to);
        if plan.records.is_empty() && plan.commit.offsets.is_empty() {
            return Ok(());
        }
        let process = member.process.clone();
        let noted = |kind, steps| Operation::new(process.clone(), kind, Action::Txn(steps));
        let with = || Attachments {
            commits: Some(Box::new(plan.commit.clone())),
            ..Attachments::default()
        };
        self.recorder.push(noted(Kind::Invoke, plan.asked.clone()).with(with()));
        let done = if abort {
            self.begin_and_drop(member, &plan)
        } else if let Some(done) = self.tamper.committed_apart(&self.broker, member, &plan.records)
        {
            done
        } else {
            self.in_one_transaction(member, &plan)
        };
        match done {
            Ok(places) => {
                let answer = sent(&plan.records, &places);
                let (steps, hashes) = placed(&self.memory.lives(), &answer);
                let with = Attachments { hashes: hashes.hashes, ..with() };
                self.recorder.push(noted(Kind::Ok, steps).with(with));
                for record in &answer {
                    let end = record.offset + 1;
                    let (topic, partition) = (&*record.topic, record.partition);
                    self.memory.note_retention(&self.recorder, topic, partition, end);
                    self.memory.note_removed(&self.recorder, topic, partition, end);
                }
                self.read_committed(&member.process, &member.group, &member.consumer);
                Ok(())
            }
            Err(error) => {
                self.recorder.met(name_of(&error));
                let kind = if abort { Kind::Fail } else { kind_of(&error) };
                let error_datum = datum_of_error(&error);
                let with = Attachments { error: Some(error_datum), ..with() };
                self.recorder.push(noted(kind, plan.asked.clone()).with(with));
                if kind == Kind::Fail {
                    *self.memory.state().failures.entry(member.group.clone()).or_default() += 1;
                }
                Err(error)
            }
        }
    }

    fn plan(&self, member: &Member, inputs: &[BytesRecord], to: &str) -> Plan {
        let attempt = {
            let state = self.memory.state();
            state.failures.get(&member.group).copied().unwrap_or_default() + state.tails_lost
        };
        let topic = self.broker.topic(to);
        let mut records = Vec::new();
        let mut asked = Vec::new();
        for (number, input) in inputs.iter().enumerate() {
            let Some(topic) = &topic else { continue };
            let value = taken_over(&member.group, attempt, input);
            let spread = input.offset % u64::from(topic.num_partitions().max(1));
            let partition = u32::try_from(spread).unwrap_or_default();
            let mut record = BytesProducerRecord::without_key(to, value);
            record.key = record_key(topic, partition, number).map(String::into_bytes);
            asked.push(MicroOp::send(self.memory.key(to, partition), datum_to_be(&record)));
            records.push(record);
        }
        let offsets = member.consumer.assignment().into_iter().filter_map(|(topic, number)| {
            let position = member.consumer.position(&topic, number).ok()?;
            let committed = member.consumer.committed(&topic, number).ok()?;
            let moved = committed != Some(position);
            moved.then(|| (self.memory.key(&topic, number), Some(position)))
        });
        let offsets = offsets.collect();
        let commit = Commit { group: Datum::str(&member.group), offsets, rest: Vec::new() };
        Plan { records, asked, commit }
    }

    fn in_one_transaction(&self, member: &mut Member, plan: &Plan) -> Result<Vec<RecordMetadata>> {
        let mut transaction = self.broker.transaction();
        plan.records.iter().try_for_each(|record| transaction.send_bytes(record))?;
        transaction.send_offsets(&mut member.consumer)?;
        transaction.commit()
    }

    /// Begins the transaction, and thinks better of it.
    fn begin_and_drop(&self, member: &mut Member, plan: &Plan) -> Result<Vec<RecordMetadata>> {
        let mut transaction = self.broker.transaction();
        plan.records.iter().try_for_each(|record| transaction.send_bytes(record))?;
        transaction.send_offsets(&mut member.consumer)?;
        transaction.abort();
        Err(Error::Closed)
    }
}

/// The records in the places that they were given.
fn sent(records: &[BytesProducerRecord], places: &[RecordMetadata]) -> Vec<BytesRecord> {
    let record = |(record, place): (&BytesProducerRecord, &RecordMetadata)| BytesRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        topic: Arc::clone(&place.topic),
        partition: place.partition,
        offset: place.offset,
        timestamp: place.timestamp,
    };
    records.iter().zip(places).map(record).collect()
}

/// The two halves of a transaction, one after the other: what it must not be.
pub(crate) fn in_two_steps(
    broker: &merkql::broker::BrokerRef,
    member: &mut Member,
    records: &[BytesProducerRecord],
    offsets_first: bool,
) -> Result<Vec<RecordMetadata>> {
    if offsets_first {
        member.consumer.commit_sync()?;
    }
    let sent = Broker::producer(broker).send_bytes_batch(records)?;
    if !offsets_first {
        member.consumer.commit_sync()?;
    }
    let place = |record: BytesRecord| RecordMetadata {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
    };
    Ok(sent.into_iter().map(place).collect())
}

//! The client: carries out steps and keeps the model.

use super::World;
use super::model::{Model, Offsets, TopicModel, Unit};
use super::workload::Step;
use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::record::{ProducerRecord, Record};
use merkql_sim::random::{Stream, stream};
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a step was not carried out to its end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The log has refused or failed; what was under way is open in the model.
    Refused(Error),
    /// The log has answered what it must not.
    Wrong(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Wrong(what.into()))
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) model: Model,
    pub(crate) broker: Option<BrokerRef>,
    retention: Option<u64>,
    consumers: BTreeMap<&'static str, Consumer>,
    /// The last idempotent batch of each id, and how it was answered.
    last_sent: BTreeMap<u64, (u64, Vec<ProducerRecord>, Vec<Record>)>,
    random: Stream,
}

impl Client {
    pub(crate) fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            model: Model::default(),
            broker: None,
            retention: None,
            consumers: BTreeMap::new(),
            last_sent: BTreeMap::new(),
            random: stream(seed, "client"),
        }
    }

    /// Carries out steps until one fails.
    pub(crate) fn run(&mut self, steps: &[Step]) -> Result<(), Trouble> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn broker(&mut self) -> Result<BrokerRef, Trouble> {
        if self.broker.is_none() {
            self.broker = Some(self.world.open(self.retention)?);
        }
        match &self.broker {
            Some(broker) => Ok(broker.clone()),
            None => wrong("no broker"),
        }
    }

    /// Lets go of everything that holds the log open.
    pub(crate) fn let_go(&mut self) {
        self.consumers.clear();
        self.broker = None;
    }

    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Trouble> {
        self.world.clock.advance(Duration::from_millis(7));
        let broker = self.broker()?;
        match step {
            Step::Create { name, .. } if self.model.topics.contains_key(name) => Ok(()),
            Step::Create { name, partitions } => {
                let topic = TopicModel { partitions: *partitions, retention: self.retention };
                self.model.open_topic = Some((name.clone(), topic));
                broker.create_topic(name, *partitions)?;
                self.model.open_topic = None;
                self.model.topic_created(name, topic);
                Ok(())
            }
            Step::Send(records) => {
                self.model.open_units = vec![Unit { records: records.clone(), sent: None }];
                let answer = Broker::producer(&broker).send_batch(records)?;
                self.answered(records, answer, None)
            }
            Step::Together(batches) => self.together(&broker, batches),
            Step::Idempotent { id, records } => {
                let sequence = self.model.sequences.get(id).copied().unwrap_or_default();
                let sent = Some((*id, sequence));
                self.model.open_units = vec![Unit { records: records.clone(), sent }];
                let producer = Broker::idempotent_producer(&broker, *id);
                let answer = producer.send_batch(sequence, records)?;
                self.last_sent.insert(*id, (sequence, records.clone(), answer.clone()));
                self.answered(records, answer, sent)
            }
            Step::Repeat { id } => {
                let Some((sequence, records, first)) = self.last_sent.get(id).cloned() else {
                    return Ok(());
                };
                let producer = Broker::idempotent_producer(&broker, *id);
                let again = producer.send_batch(sequence, &records)?;
                let places = |records: &[Record]| -> Vec<_> {
                    records.iter().map(|r| (r.topic.clone(), r.partition, r.offset)).collect()
                };
                if places(&again) != places(&first) {
                    return wrong(format!("a repeated send was answered {again:?}, not {first:?}"));
                }
                Ok(())
            }
            Step::Consume { group } => self.consume(&broker, group),
            Step::Audit => self.audit(&broker),
            Step::Maintain => Ok(broker.maintain()?),
            Step::Reopen { retention } => {
                self.retention = *retention;
                self.consumers.clear();
                self.broker = None;
                Broker::close(&broker)?;
                drop(broker);
                self.broker().map(drop)
            }
            Step::DropAndOpen => {
                drop(broker);
                self.let_go();
                self.broker().map(drop)
            }
        }
    }

    /// Puts an acknowledged send, which is the first of the open ones, into the model.
    fn answered(
        &mut self,
        records: &[ProducerRecord],
        answer: Vec<Record>,
        sent: Option<(u64, u64)>,
    ) -> Result<(), Trouble> {
        self.model.open_units.remove(0);
        let same = records.len() == answer.len()
            && records.iter().zip(&answer).all(|(sent, stored)| {
                (&sent.topic, &sent.key, &sent.value) == (&stored.topic, &stored.key, &stored.value)
            });
        if !same {
            return wrong(format!("{records:?} was answered {answer:?}"));
        }
        self.model.stored(answer, sent).or_else(wrong)
    }

    fn together(
        &mut self,
        broker: &BrokerRef,
        batches: &[Vec<ProducerRecord>],
    ) -> Result<(), Trouble> {
        let unit = |records: &Vec<ProducerRecord>| Unit { records: records.clone(), sent: None };
        self.model.open_units = batches.iter().map(unit).collect();
        let producer = Broker::producer(broker);
        let pending: Vec<_> =
            batches.iter().map(|batch| producer.enqueue(batch)).collect::<Result<_, _>>()?;
        // One that fails leaves the others as they are.
        let mut failure = None;
        let mut unanswered = Vec::new();
        for (batch, pending) in batches.iter().zip(pending) {
            match pending.wait() {
                Ok(answer) => self.answered(batch, answer, None)?,
                Err(error) => {
                    unanswered.push(self.model.open_units.remove(0));
                    failure.get_or_insert(error);
                }
            }
        }
        self.model.open_units = unanswered;
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    fn consume(&mut self, broker: &BrokerRef, group: &'static str) -> Result<(), Trouble> {
        let topics: Vec<String> = self.model.topics.keys().cloned().collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let consumer = self.consumers.entry(group).or_insert_with(|| {
            let config = ConsumerConfig {
                group_id: group.to_owned(),
                auto_commit: false,
                offset_reset: OffsetReset::Earliest,
            };
            Broker::consumer(broker, config)
        });
        consumer.subscribe(&topics)?;
        let polled = consumer.poll(Duration::ZERO)?;
        let mut offsets: Offsets = Offsets::new();
        for record in polled {
            let place = (record.topic.clone(), record.partition);
            let known = self.model.logs.get(&place).and_then(|log| {
                log.records.get(usize::try_from(record.offset).unwrap_or(usize::MAX))
            });
            if known != Some(&record) {
                return wrong(format!("{record:?} was polled, but {known:?} was acknowledged"));
            }
            offsets.insert(place, record.offset + 1);
        }
        // Go back a little now and then, so that commits don't always sit at the end.
        for (place, next) in &mut offsets {
            if *next > 1 && self.random.random_bool(0.3) {
                *next -= 1;
                consumer.seek(&place.0, place.1, *next)?;
            }
        }
        let committed = self.model.committed.entry(group.to_owned()).or_default();
        let mut after = committed.clone();
        after.extend(offsets);
        self.model.open_commit = Some((group.to_owned(), after.clone()));
        consumer.commit_sync()?;
        self.model.open_commit = None;
        self.model.committed.insert(group.to_owned(), after);
        Ok(())
    }

    fn audit(&mut self, broker: &BrokerRef) -> Result<(), Trouble> {
        for place in self.model.logs.keys() {
            let Some(topic) = broker.topic(&place.0) else {
                return wrong(format!("topic {} is gone", place.0));
            };
            let Some(handle) = topic.partition(place.1) else {
                return wrong(format!("{place:?} is gone"));
            };
            let partition = handle.read()?;
            let size = partition.next_offset();
            let Some(root) = partition.merkle_root()? else { continue };
            self.model.roots.push((place.clone(), size, root));
            let offset = self.random.random_range(0..size);
            if let Some(proof) = partition.proof(offset)? {
                self.model.proofs.push((place.clone(), offset, proof));
            }
        }
        Ok(())
    }
}

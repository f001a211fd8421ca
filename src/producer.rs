//! Producers: sending records, durably.

use crate::broker::{Broker, BrokerRef};
use crate::compression::Compression;
use crate::error::{Error, Result};
use crate::partition::text_record;
use crate::partitioner::partition_of_key;
use crate::record::{ProducerRecord, Record};
use crate::storage::commit::{Numbered, Operation, Outcome, Ticket};
use crate::storage::draft::StagedRecords;
use crate::storage::entry::{PartitionKey, Placement};
use crate::storage::frame::{Body, Headers};
use crate::storage::options::BATCH_BYTES_MAX;
use crate::storage::producers::Sent;
use crate::storage::tables::TopicLog;
use crate::sync::atomic::Ordering;
use crate::topic::check_name;
use chrono::DateTime;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

/// Sends records. Cheap to clone, and usable from many threads at once: their
/// sends share the disk's syncs. (Kafka: `KafkaProducer`, with `acks=all`.)
#[derive(Debug, Clone)]
pub struct Producer {
    broker: BrokerRef,
}

impl Producer {
    pub(crate) fn new(broker: BrokerRef) -> Self {
        Self { broker }
    }

    /// Sends one record. When this returns, the record is durable, and readable.
    ///
    /// A key always takes its record to the same partition; records without one
    /// take the partitions in turn. After [`Error::NeedsReopen`], or the first
    /// error that caused it, the record may be there or not.
    pub fn send(&self, record: &ProducerRecord) -> Result<Record> {
        let mut sent = self.send_batch(std::slice::from_ref(record))?;
        sent.pop().ok_or(Error::Closed)
    }

    /// Sends records together: after any failure or crash either all of them
    /// are there or none, whatever topics and partitions they go to. One sync
    /// for all; 64 MiB at most. The results are in the order of `records`.
    pub fn send_batch(&self, records: &[ProducerRecord]) -> Result<Vec<Record>> {
        self.enqueue(records)?.wait()
    }

    /// Hands records over without waiting for the disk. They are written, as
    /// one unit like [`Producer::send_batch`]'s, by the next wait, send, flush
    /// or close, of whomever. Dropping what is returned does not cancel them.
    pub fn enqueue(&self, records: &[ProducerRecord]) -> Result<PendingSend> {
        enqueue(&self.broker, records, None)
    }

    /// Writes and syncs everything that was enqueued, by anybody. Whether an
    /// enqueued send has failed, its own `wait` tells.
    pub fn flush(&self) -> Result<()> {
        self.broker.store.check_open()?;
        self.broker.store.flush();
        self.broker.store.latch.check()
    }
}

/// Sends records under sequence numbers, so that a send without an answer, be it
/// for an error or a crash, can be repeated: the records are there once.
/// (Kafka: `enable.idempotence`.)
///
/// Sequences of an id go 0, 1, 2, …; each send or batch takes one. The last
/// eight of an id can be repeated, and give the offsets of the first time. How
/// many ids are remembered is [`crate::broker::BrokerConfig::max_producers`];
/// one that was forgotten and claims to have sent before is refused
/// ([`Error::UnknownProducer`]), never taken for new.
#[derive(Debug, Clone)]
pub struct IdempotentProducer {
    broker: BrokerRef,
    producer_id: u64,
}

impl IdempotentProducer {
    pub(crate) fn new(broker: BrokerRef, producer_id: u64) -> Self {
        Self { broker, producer_id }
    }

    /// The producer's id.
    pub fn id(&self) -> u64 {
        self.producer_id
    }

    /// The sequence after the last one that the log remembers of this id; 0 if
    /// it remembers none.
    pub fn next_sequence(&self) -> u64 {
        self.broker.store.tables().producers.next_sequence(self.producer_id)
    }

    /// Sends records together under `sequence`; a repetition returns what was
    /// stored the first time.
    pub fn send_batch(&self, sequence: u64, records: &[ProducerRecord]) -> Result<Vec<Record>> {
        self.enqueue(sequence, records)?.wait()
    }

    /// As [`Producer::enqueue`], under `sequence`.
    pub fn enqueue(&self, sequence: u64, records: &[ProducerRecord]) -> Result<PendingSend> {
        enqueue(&self.broker, records, Some((self.producer_id, sequence)))
    }
}

/// A send that was handed over and may not be on disk yet.
#[derive(Debug)]
#[must_use = "whether the records are durable is known only after `wait`"]
pub struct PendingSend {
    broker: Weak<Broker>,
    /// `None` for no records.
    ticket: Option<Arc<Ticket>>,
    /// The records as they were sent; their offsets count from the first of
    /// their partition in this send.
    records: Vec<Record>,
    /// The partition of each placement, in the operation's order.
    keys: Vec<PartitionKey>,
    /// Which of them each record goes to.
    slots: Vec<usize>,
}

impl PendingSend {
    /// Waits until the records are durable, and writes them if nobody else does.
    pub fn wait(mut self) -> Result<Vec<Record>> {
        let Some(ticket) = self.ticket.take() else { return Ok(Vec::new()) };
        let outcome = match self.broker.upgrade() {
            None => ticket.wait_for_close(),
            Some(broker) => broker.store.wait(&ticket),
        };
        match outcome? {
            Outcome::Written(placements) => Ok(self.place(&placements)),
            Outcome::Repeated(sent) => self.stored(&sent),
            Outcome::Topic(_) => Err(Error::Closed),
        }
    }

    fn place(self, placements: &[Placement]) -> Vec<Record> {
        let mut records = self.records;
        for (record, slot) in records.iter_mut().zip(self.slots) {
            record.offset += placements.get(slot).map_or(0, |placement| placement.base_offset);
        }
        records
    }

    /// The records as they were stored the first time. Where retention has
    /// removed one, its key and value are what was sent now.
    fn stored(self, sent: &Sent) -> Result<Vec<Record>> {
        let placements = &sent.placements;
        let timestamp = DateTime::from_timestamp_nanos(sent.timestamp_ns);
        let Some(broker) = self.broker.upgrade() else { return Err(Error::Closed) };
        let keys: Vec<_> = placements.iter().map(|placement| placement.key).collect();
        let counts = |slot| self.slots.iter().filter(|of| **of == slot).count() as u64;
        let same = keys == self.keys
            && placements
                .iter()
                .enumerate()
                .all(|(slot, placement)| placement.records == counts(slot));
        let mut stored = BTreeMap::new();
        let mut first_time = Vec::new();
        for placement in placements {
            let end = placement.base_offset.saturating_add(placement.records);
            let log = broker.store.tables().partition(placement.key).cloned();
            let Some(log) = log else { continue };
            log.read(&log.view(), placement.base_offset, end, usize::MAX, &mut |offset, body| {
                let record = text_record(&log, offset, body)?;
                first_time.push(record.clone());
                stored.insert((placement.key, offset), record);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        if !same {
            return Ok(first_time);
        }
        let mut records = Vec::with_capacity(self.slots.len());
        let slots = self.slots.clone();
        for (record, slot) in self.place(placements).into_iter().zip(slots) {
            let found = keys.get(slot).and_then(|key| stored.remove(&(*key, record.offset)));
            records.push(found.unwrap_or(Record { timestamp, ..record }));
        }
        Ok(records)
    }
}

/// Stages records as one operation. Everything about them is checked before
/// anything is changed.
fn enqueue(
    broker: &BrokerRef,
    records: &[ProducerRecord],
    sent: Option<(u64, u64)>,
) -> Result<PendingSend> {
    broker.store.check_open()?;
    broker.store.latch.check()?;
    let mut checked = None;
    for record in records {
        // The records of a batch mostly share their topic.
        if checked != Some(&record.topic) {
            check_name(&record.topic)?;
            checked = Some(&record.topic);
        }
        check_size(broker, record)?;
    }
    if let Some((producer_id, sequence)) = sent {
        check_sequence_before_creating(broker, records, producer_id, sequence)?;
    }
    let mut pending = PendingSend {
        broker: Arc::downgrade(broker),
        ticket: None,
        records: Vec::with_capacity(records.len()),
        keys: Vec::new(),
        slots: Vec::with_capacity(records.len()),
    };
    if records.is_empty() && sent.is_none() {
        return Ok(pending);
    }
    let timestamp_ns = broker.store.env.now_ns();
    let mut staged = stage(broker, records, sent, timestamp_ns, &mut pending)?;
    if broker.config.compression == Compression::Lz4 {
        staged.iter_mut().for_each(StagedRecords::compress);
    }
    pending.keys = staged.iter().map(|records| records.partition.key).collect();
    let numbered = |(producer_id, sequence)| Numbered { producer_id, sequence, timestamp_ns };
    let sent = sent.map(numbered);
    let operation = Operation::Write { records: staged, commits: None, sent };
    pending.ticket = Some(broker.store.stage(operation)?);
    Ok(pending)
}

/// The commit judges sequences, but a topic that a send creates is committed
/// before: so one that is to be refused must be refused here. What is pending
/// may hold the sequences before, and goes to the disk with the topic anyway.
fn check_sequence_before_creating(
    broker: &Broker,
    records: &[ProducerRecord],
    producer_id: u64,
    sequence: u64,
) -> Result<()> {
    let exists = |record: &ProducerRecord| broker.topic_log(&record.topic).is_some();
    if records.iter().all(exists) {
        return Ok(());
    }
    broker.store.flush();
    broker.store.tables().producers.judge(producer_id, sequence).map(drop)
}

fn check_size(broker: &Broker, record: &ProducerRecord) -> Result<()> {
    let size_bytes = (record.key.as_ref().map_or(0, String::len) + record.value.len()) as u64;
    let limit_bytes = broker.config.max_record_bytes;
    if size_bytes > limit_bytes {
        return Err(Error::RecordTooLarge { topic: record.topic.clone(), size_bytes, limit_bytes });
    }
    Ok(())
}

/// Sorts the records by partition, and notes in `pending` where each went.
fn stage(
    broker: &BrokerRef,
    records: &[ProducerRecord],
    sent: Option<(u64, u64)>,
    timestamp_ns: i64,
    pending: &mut PendingSend,
) -> Result<Vec<StagedRecords>> {
    let timestamp = DateTime::from_timestamp_nanos(timestamp_ns);
    let size_bytes: u64 = records.iter().map(framed_bytes).sum();
    if size_bytes > BATCH_BYTES_MAX {
        return Err(Error::BatchTooLarge { size_bytes, limit_bytes: BATCH_BYTES_MAX });
    }
    let mut staged: Vec<StagedRecords> = Vec::new();
    let mut slots: BTreeMap<PartitionKey, usize> = BTreeMap::new();
    let mut topic: Option<Arc<TopicLog>> = None;
    for (index, record) in (0..).zip(records) {
        let log = match &topic {
            Some(log) if *log.name == *record.topic => Arc::clone(log),
            _ => broker.topic_for_send(&record.topic)?,
        };
        let partition = choose_partition(&log, record, sent, index);
        let key = PartitionKey { incarnation: log.incarnation, partition };
        let Some(partition_log) = log.partitions.get(partition as usize) else {
            return Err(Error::UnknownPartition { topic: record.topic.clone(), partition });
        };
        let slot = *slots.entry(key).or_insert_with(|| {
            staged.push(StagedRecords::new(Arc::clone(partition_log)));
            staged.len() - 1
        });
        let Some(records) = staged.get_mut(slot) else { continue };
        pending.records.push(Record {
            key: record.key.clone(),
            value: record.value.clone(),
            topic: record.topic.clone(),
            partition,
            offset: records.records(),
            timestamp,
        });
        pending.slots.push(slot);
        records.push(&Body {
            timestamp_ns,
            key: record.key.as_deref().map(str::as_bytes),
            value: Some(record.value.as_bytes()),
            headers: Headers::default(),
        });
        topic = Some(log);
    }
    Ok(staged)
}

/// An upper bound of what the record takes in a block.
fn framed_bytes(record: &ProducerRecord) -> u64 {
    const OVERHEAD_BYTES: usize = 48;
    (record.key.as_ref().map_or(0, String::len) + record.value.len() + OVERHEAD_BYTES) as u64
}

/// A record with a sequence but no key goes by the sequence, so that its
/// repetition goes the same way.
fn choose_partition(
    log: &TopicLog,
    record: &ProducerRecord,
    sent: Option<(u64, u64)>,
    index: u64,
) -> u32 {
    let partitions = u32::try_from(log.partitions.len()).unwrap_or(u32::MAX).max(1);
    if let Some(key) = &record.key {
        return partition_of_key(key.as_bytes(), partitions);
    }
    let turn = match sent {
        Some((_, sequence)) => sequence.wrapping_add(index),
        None => log.turns.fetch_add(1, Ordering::Relaxed),
    };
    u32::try_from(turn % u64::from(partitions)).unwrap_or_default()
}

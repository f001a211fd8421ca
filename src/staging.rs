//! From records to one staged operation: checks, partitions, bodies.
//!
//! ```text
//! check   every record, against the topics that exist: changes nothing
//! create  topics that do not exist yet
//! sort    the records by partition, each encoded once
//! ```

use crate::broker::Broker;
use crate::compression::Compression;
use crate::error::{Error, Result};
use crate::outgoing::{Outgoing, OutgoingFields, Place};
use crate::partitioner::partition_of_key;
use crate::pending::{Slot, Unplaced};
use crate::storage::commit::Numbered;
use crate::storage::draft::StagedRecords;
use crate::storage::entry::PartitionKey;
use crate::storage::frame::{Body, Headers};
use crate::storage::options::BATCH_BYTES_MAX;
use crate::storage::partition::PartitionLog;
use crate::storage::producers::Judgement;
use crate::storage::tables::TopicLog;
use crate::sync::atomic::Ordering;
use crate::topic::check_name;
use chrono::DateTime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A producer's id, and the sequence of one of its sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequence {
    pub(crate) producer_id: u64,
    pub(crate) sequence: u64,
}

/// Records that are ready to be staged as one operation.
#[derive(Debug)]
pub(crate) struct Batch<R> {
    pub(crate) records: Vec<StagedRecords>,
    pub(crate) sent: Option<Numbered>,
    pub(crate) unplaced: Unplaced<R>,
}

/// Makes records ready. Everything about them is checked before anything is
/// changed; what may be changed here is that topics are created.
pub(crate) fn prepare<S: Outgoing>(
    broker: &Broker,
    records: &[S],
    sequence: Option<Sequence>,
    compression: Compression,
) -> Result<Batch<S::Stored>> {
    let mut checked = Checked::default();
    let mut size_bytes: u64 = 0;
    for record in records {
        let fields = record.fields();
        checked.check(broker, &fields)?;
        size_bytes = size_bytes.saturating_add(fields.framed_bytes());
    }
    check_batch_size(size_bytes)?;
    let timestamp_ns = broker.store.env.now_ns();
    let mut sorter = Sorter::new(timestamp_ns, sequence, checked.topic, records.len());
    if !checked.is_to_create || may_create(broker, sequence)? {
        records.iter().try_for_each(|record| sorter.add(broker, record))?;
    }
    let Sorter { mut staged, mut unplaced, .. } = sorter;
    if compression == Compression::Lz4 {
        staged.iter_mut().for_each(StagedRecords::compress);
    }
    unplaced.keys = staged.iter().map(|records| records.partition.key).collect();
    let numbered =
        |Sequence { producer_id, sequence }| Numbered { producer_id, sequence, timestamp_ns };
    Ok(Batch { records: staged, sent: sequence.map(numbered), unplaced })
}

/// The commit judges sequences, but a topic that a send creates is committed
/// before: so one that is to be refused must be refused here, and a repetition,
/// whose topic is gone, creates none. What is pending may hold the sequences
/// before, and goes to the disk with the topic anyway.
fn may_create(broker: &Broker, sequence: Option<Sequence>) -> Result<bool> {
    let Some(Sequence { producer_id, sequence }) = sequence else { return Ok(true) };
    broker.store.flush();
    let judged = broker.store.tables().producers.judge(producer_id, sequence)?;
    Ok(judged == Judgement::New)
}

/// All records of a batch stand in one block.
pub(crate) fn check_batch_size(size_bytes: u64) -> Result<()> {
    if size_bytes > BATCH_BYTES_MAX {
        return Err(Error::BatchTooLarge { size_bytes, limit_bytes: BATCH_BYTES_MAX });
    }
    Ok(())
}

/// What was found while records were checked. Changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// The topic of the last record: the records of a batch mostly share theirs.
    topic: Option<Arc<TopicLog>>,
    /// Whether a topic is to be created.
    is_to_create: bool,
}

impl Checked {
    /// Checks a record against the rules and against its topic.
    pub(crate) fn check(&mut self, broker: &Broker, record: &OutgoingFields<'_>) -> Result<()> {
        if self.topic.as_ref().is_none_or(|topic| *topic.name != *record.topic) {
            check_name(record.topic)?;
            self.topic = broker.topic_log(record.topic);
            self.is_to_create |= self.topic.is_none();
        }
        let (size_bytes, limit_bytes) = (record.size_bytes(), broker.config.max_record_bytes);
        if size_bytes > limit_bytes {
            let topic = record.topic.to_owned();
            return Err(Error::RecordTooLarge { topic, size_bytes, limit_bytes });
        }
        if let Some(timestamp) = record.timestamp
            && timestamp.timestamp_nanos_opt().is_none()
        {
            return Err(Error::InvalidTimestamp { timestamp });
        }
        match &self.topic {
            Some(log) => check_against_topic(log, record),
            None if !broker.config.auto_create_topics => {
                Err(Error::UnknownTopic { topic: record.topic.to_owned() })
            }
            None => check_partition(record, broker.config.default_partitions),
        }
    }
}

fn check_against_topic(log: &TopicLog, record: &OutgoingFields<'_>) -> Result<()> {
    if record.key.is_none() && log.settings.is_compacted() {
        return Err(Error::KeyRequired { topic: record.topic.to_owned() });
    }
    check_partition(record, partition_count(log))
}

fn check_partition(record: &OutgoingFields<'_>, partitions: u32) -> Result<()> {
    match record.partition {
        Some(partition) if partition >= partitions => Err(unknown_partition(record, partition)),
        _ => Ok(()),
    }
}

fn unknown_partition(record: &OutgoingFields<'_>, partition: u32) -> Error {
    Error::UnknownPartition { topic: record.topic.to_owned(), partition }
}

fn partition_count(log: &TopicLog) -> u32 {
    u32::try_from(log.partitions.len()).unwrap_or(u32::MAX)
}

/// Sorts records by partition, and notes where each went.
struct Sorter<R> {
    timestamp_ns: i64,
    sequence: Option<Sequence>,
    /// The topic of the last record.
    topic: Option<Arc<TopicLog>>,
    staged: Vec<StagedRecords>,
    slots: BTreeMap<PartitionKey, usize>,
    headers: Vec<u8>,
    unplaced: Unplaced<R>,
}

impl<R> Sorter<R> {
    fn new(
        timestamp_ns: i64,
        sequence: Option<Sequence>,
        topic: Option<Arc<TopicLog>>,
        count: usize,
    ) -> Self {
        Self {
            timestamp_ns,
            sequence,
            topic,
            staged: Vec::new(),
            slots: BTreeMap::new(),
            headers: Vec::new(),
            unplaced: Unplaced::with_capacity(count),
        }
    }

    fn add<S: Outgoing<Stored = R>>(&mut self, broker: &Broker, record: &S) -> Result<()> {
        let fields = record.fields();
        let log = match self.topic.take() {
            Some(log) if *log.name == *fields.topic => log,
            _ => broker.topic_for_send(fields.topic)?,
        };
        // The topic may be another than when it was looked at.
        check_against_topic(&log, &fields)?;
        let partition = self.choose_partition(&log, &fields);
        let Some(partition_log) = log.partitions.get(partition as usize) else {
            return Err(unknown_partition(&fields, partition));
        };
        let own_ns = fields.timestamp.and_then(|timestamp| timestamp.timestamp_nanos_opt());
        let timestamp_ns = own_ns.unwrap_or(self.timestamp_ns);
        let slot = self.slot(partition_log);
        if let Some(staged) = self.staged.get_mut(slot) {
            self.unplaced.records.push(record.stored(Place {
                topic: &log.name,
                partition,
                offset: staged.records(),
                timestamp: DateTime::from_timestamp_nanos(timestamp_ns),
            }));
            self.unplaced.slots.push(Slot { index: slot, has_own_timestamp: own_ns.is_some() });
            let headers = fields.headers.iter();
            let headers = headers.map(|header| (header.name.as_bytes(), header.value.as_deref()));
            let headers = Headers::encode(headers, &mut self.headers);
            staged.push(&Body { timestamp_ns, key: fields.key, value: fields.value, headers });
        }
        self.topic = Some(log);
        Ok(())
    }

    fn slot(&mut self, partition: &Arc<PartitionLog>) -> usize {
        let staged = &mut self.staged;
        *self.slots.entry(partition.key).or_insert_with(|| {
            staged.push(StagedRecords::new(Arc::clone(partition)));
            staged.len() - 1
        })
    }

    /// A record with a sequence but no key goes by the sequence, so that its
    /// repetition goes the same way.
    fn choose_partition(&self, log: &TopicLog, record: &OutgoingFields<'_>) -> u32 {
        if let Some(partition) = record.partition {
            return partition;
        }
        let partitions = partition_count(log).max(1);
        if let Some(key) = record.key {
            return partition_of_key(key, partitions);
        }
        let turn = match self.sequence {
            Some(of) => of.sequence.wrapping_add(self.unplaced.records.len() as u64),
            None => log.turns.fetch_add(1, Ordering::Relaxed),
        };
        u32::try_from(turn % u64::from(partitions)).unwrap_or_default()
    }
}

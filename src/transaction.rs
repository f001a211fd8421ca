//! Transactions: records and committed offsets, all or nothing.
//!
//! ```text
//! send, send_offsets   kept in memory, checked at once
//! commit               group locked ─► offsets still its own? ─► one block, one sync ─► group unlocked
//! ```
//!
//! The group's lock is held until the block is durable, so nobody takes a
//! partition over in between and begins at the offset before.

use crate::broker::{Broker, BrokerRef};
use crate::consumer::{Consumer, GivenOffsets};
use crate::error::{Error, Result};
use crate::outgoing::{Outgoing, OutgoingFields, Place};
use crate::pending::Unplaced;
use crate::record::{BytesProducerRecord, ProducerRecord, RecordMetadata};
use crate::staging::{Batch, Checked, Sequence, check_batch_size, prepare};
use crate::storage::commit::{Operation, Outcome};
use crate::storage::entry::Commit;
use crate::storage::producers::Judgement;
use crate::sync::lock;
use std::sync::Arc;

/// Records to any topics and partitions, together with the offsets up to which a
/// consumer has read what they were made from: after any failure or crash either
/// all of it is there or nothing, and readers see it at once. One sync; 64 MiB at
/// most. (Kafka: `beginTransaction` and what follows.)
///
/// Nothing is written before [`Transaction::commit`]. A transaction that is dropped
/// is aborted.
///
/// ```
/// # use merkql::broker::{Broker, BrokerConfig};
/// # use merkql::consumer::{ConsumerConfig, OffsetReset};
/// # use merkql::record::ProducerRecord;
/// # use std::time::Duration;
/// # fn main() -> merkql::error::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let broker = Broker::open(BrokerConfig::new(dir.path()))?;
/// # Broker::producer(&broker).send(&ProducerRecord::new("orders", None, "7"))?;
/// # let config = ConsumerConfig {
/// #     group_id: "billing".into(),
/// #     auto_commit: false,
/// #     offset_reset: OffsetReset::Earliest,
/// # };
/// # let mut consumer = Broker::consumer(&broker, config);
/// consumer.subscribe(&["orders"])?;
/// let orders = consumer.poll(Duration::from_millis(100))?;
/// let mut transaction = broker.transaction();
/// for order in &orders {
///     let bill = format!("bill for order {}", order.value);
///     transaction.send(&ProducerRecord::new("bills", order.key.clone(), bill))?;
/// }
/// transaction.send_offsets(&mut consumer)?;
/// let places = transaction.commit()?;
/// assert_eq!((&*places[0].topic, places[0].offset), ("bills", 0));
/// assert_eq!(consumer.committed("orders", 0)?, Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    broker: &'a BrokerRef,
    sequence: Option<Sequence>,
    records: Vec<Staged>,
    /// All records as they would stand on disk, at most.
    size_bytes: u64,
    offsets: Option<Offsets<'a>>,
}

/// What a consumer is to commit.
#[derive(Debug)]
struct Offsets<'a> {
    consumer: &'a mut Consumer,
    /// `None` for its positions.
    given: Option<GivenOffsets>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(broker: &'a BrokerRef, sequence: Option<Sequence>) -> Self {
        Self { broker, sequence, records: Vec::new(), size_bytes: 0, offsets: None }
    }

    /// Adds a record. What is wrong with it is told now, and the transaction then
    /// stays as it was.
    pub fn send(&mut self, record: &ProducerRecord) -> Result<()> {
        self.add(&record.fields(), || record.clone().into())
    }

    /// As [`Transaction::send`], in bytes.
    pub fn send_bytes(&mut self, record: &BytesProducerRecord) -> Result<()> {
        self.add(&record.fields(), || record.clone())
    }

    fn add(
        &mut self,
        fields: &OutgoingFields<'_>,
        record: impl FnOnce() -> BytesProducerRecord,
    ) -> Result<()> {
        self.broker.store.check_open()?;
        Checked::default().check(self.broker, fields)?;
        let size_bytes = self.size_bytes.saturating_add(fields.framed_bytes());
        check_batch_size(size_bytes)?;
        self.size_bytes = size_bytes;
        self.records.push(Staged(record()));
        Ok(())
    }

    /// Commits the consumer's positions with the records: what its polls have
    /// returned. One consumer a transaction, once. (Kafka: `sendOffsetsToTransaction`.)
    ///
    /// After an abort or an error the positions stay behind what was polled; seek to
    /// [`Consumer::committed`] to have it again.
    pub fn send_offsets(&mut self, consumer: &'a mut Consumer) -> Result<()> {
        self.set_offsets(consumer, None)
    }

    /// As [`Transaction::send_offsets`], but commits these offsets instead of the
    /// positions, each the next one to be read. All must be of partitions that are
    /// the consumer's at the time of the commit.
    pub fn send_offsets_of(
        &mut self,
        consumer: &'a mut Consumer,
        offsets: &[((&str, u32), u64)],
    ) -> Result<()> {
        let owned = |((topic, partition), offset): &((&str, u32), u64)| {
            (((*topic).to_owned(), *partition), *offset)
        };
        self.set_offsets(consumer, Some(offsets.iter().map(owned).collect()))
    }

    fn set_offsets(
        &mut self,
        consumer: &'a mut Consumer,
        given: Option<GivenOffsets>,
    ) -> Result<()> {
        consumer.check_belongs_to(self.broker)?;
        if self.offsets.is_some() {
            let reason = "a transaction takes the offsets of one consumer, once".to_owned();
            return Err(Error::InvalidOption { option: "send_offsets", reason });
        }
        self.offsets = Some(Offsets { consumer, given });
        Ok(())
    }

    /// Writes everything, and returns where the records stand, in the order in which
    /// they were sent. When this returns, all of it is durable, and readable.
    /// (Kafka: `commitTransaction`.)
    ///
    /// If the consumer does not own each partition any more whose offset it would
    /// commit, the whole transaction is refused with [`Error::NotAssigned`] and
    /// nothing is written: another member reads those records again. After
    /// [`Error::NeedsReopen`], or the first error that caused it, all of it may be
    /// there or nothing; one with a sequence can be committed again to find out
    /// ([`crate::producer::IdempotentProducer::transaction`]).
    pub fn commit(self) -> Result<Vec<RecordMetadata>> {
        let Self { broker, sequence, records, offsets, .. } = self;
        broker.store.check_open()?;
        broker.store.latch.check()?;
        let Some(Offsets { consumer, given }) = offsets else {
            let (outcome, unplaced) = write(broker, sequence, &records, None)?;
            return unplaced.resolve(Some(broker), outcome);
        };
        if let Some(repeated) = repeated(broker, sequence, &records)? {
            return Ok(repeated);
        }
        let group = consumer.group();
        let members = lock(&group);
        let commits = match &given {
            None => consumer.all_positions(&members)?,
            Some(offsets) => consumer.commits_of(&members, offsets)?,
        };
        let group_commits =
            (!commits.is_empty()).then(|| (consumer.group_id().to_owned(), commits.clone()));
        let (outcome, unplaced) = write(broker, sequence, &records, group_commits)?;
        drop(members);
        if matches!(outcome, Outcome::Written(_)) {
            consumer.note_committed(&commits);
        }
        unplaced.resolve(Some(broker), outcome)
    }

    /// Gives it up, as dropping it does. (Kafka: `abortTransaction`.)
    pub fn abort(self) {}
}

/// The result of the first time, if the sequence was committed before. Then it does
/// not matter who owns which partition now.
fn repeated(
    broker: &Broker,
    sequence: Option<Sequence>,
    records: &[Staged],
) -> Result<Option<Vec<RecordMetadata>>> {
    let Some(Sequence { producer_id, sequence: number }) = sequence else { return Ok(None) };
    let judged = broker.store.tables().producers.judge(producer_id, number);
    match judged {
        Ok(Judgement::Repeated(sent)) => {
            let batch = prepare(broker, records, sequence, broker.config.compression)?;
            batch.unplaced.stored(broker, &sent).map(Some)
        }
        // What is pending may come before: the commit judges.
        Ok(Judgement::New) | Err(_) => Ok(None),
    }
}

fn write(
    broker: &Broker,
    sequence: Option<Sequence>,
    records: &[Staged],
    commits: Option<(String, Vec<Commit>)>,
) -> Result<(Outcome, Unplaced<RecordMetadata>)> {
    let compression = broker.config.compression;
    let Batch { records, sent, unplaced } = prepare(broker, records, sequence, compression)?;
    if records.is_empty() && sent.is_none() && commits.is_none() {
        return Ok((Outcome::Written(Vec::new()), unplaced));
    }
    let outcome = broker.store.execute(Operation::Write { records, commits, sent })?;
    Ok((outcome, unplaced))
}

/// A record of a transaction, of which its sender learns where it stands.
#[derive(Debug)]
struct Staged(BytesProducerRecord);

impl Outgoing for Staged {
    type Stored = RecordMetadata;

    fn fields(&self) -> OutgoingFields<'_> {
        self.0.fields()
    }

    fn stored(&self, place: Place<'_>) -> RecordMetadata {
        RecordMetadata {
            topic: Arc::clone(place.topic),
            partition: place.partition,
            offset: place.offset,
            timestamp: place.timestamp,
        }
    }
}

//! Administration: the life of topics, what there is, and what groups have
//! committed. (Kafka: `Admin`.)
//!
//! ```
//! use merkql::broker::{Broker, BrokerConfig};
//! use merkql::record::ProducerRecord;
//!
//! # fn main() -> merkql::error::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path();
//! let broker = Broker::open(BrokerConfig::new(path))?;
//! Broker::producer(&broker).send(&ProducerRecord::new("events", None, "first"))?;
//! broker.add_partitions("events", 4)?;
//! broker.delete_records("events", 0, 1)?;
//! let events = broker.describe_topic("events")?;
//! assert_eq!((events.partitions[0].log_start, events.partitions.len()), (1, 4));
//! broker.delete_topic("events")?;
//! assert!(broker.topic("events").is_none());
//! # Ok(())
//! # }
//! ```

mod describe;
mod groups;

pub use describe::{PartitionDescription, TopicDescription};
pub use groups::{GroupDescription, GroupOffset, MemberDescription};

use crate::broker::Broker;
use crate::error::{Error, Result};
use crate::storage::commit::Operation;
use crate::storage::partition::PartitionLog;
use crate::storage::tables::Tables;
use crate::topic::check_partitions;
use std::sync::Arc;

impl Broker {
    /// Deletes a topic: its records, its proofs, and what groups have committed
    /// for it. Durable when it returns. [`Error::UnknownTopic`] if there is none.
    /// (Kafka: `deleteTopics`.)
    ///
    /// Whoever still holds the topic, or has sends to it under way, is told
    /// [`Error::TopicDeleted`]. One that is created under its name later is
    /// another topic, and begins at offset 0. The disk is freed in the course of
    /// later appends, or by [`Broker::maintain`].
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        self.store.check_open()?;
        let operation = Operation::DeleteTopic { name: name.to_owned() };
        self.store.execute(operation).map(drop)
    }

    /// Gives a topic more partitions, so that it has `total`. As many as it has
    /// are fine, fewer are [`Error::PartitionCountMismatch`]. Durable when it
    /// returns. (Kafka: `createPartitions`.)
    ///
    /// Records with a key may go to another partition from then on; those that
    /// are there stay where they are. A [`crate::topic::Topic`] that was obtained
    /// before goes on showing what it showed.
    pub fn add_partitions(&self, name: &str, total: u32) -> Result<()> {
        check_partitions(name, total)?;
        self.store.check_open()?;
        let operation = Operation::AddPartitions { name: name.to_owned(), partitions: total };
        self.store.execute(operation).map(drop)
    }

    /// Deletes the records of a partition below `before_offset`, which is the
    /// log's start from then on. Durable when it returns. An offset that is not
    /// above the present start is fine and does nothing, one past the end is
    /// [`Error::OffsetOutOfRange`]. (Kafka: `deleteRecords`.)
    ///
    /// The tree stays as it is: roots are the same, and what remains is proved as
    /// before. The disk is freed by whole segments, at the next checkpoint.
    pub fn delete_records(&self, topic: &str, partition: u32, before_offset: u64) -> Result<()> {
        self.store.check_open()?;
        let partition = find_partition(&self.store.tables(), topic, partition)?;
        self.store.execute(Operation::DeleteRecords { partition, before_offset }).map(drop)
    }
}

/// The partition of this name and number.
pub(crate) fn find_partition(
    tables: &Tables,
    topic: &str,
    partition: u32,
) -> Result<Arc<PartitionLog>> {
    let unknown = || Error::UnknownTopic { topic: topic.to_owned() };
    let log = tables.topics.get(topic).ok_or_else(unknown)?;
    let index = usize::try_from(partition).ok();
    let found = index.and_then(|index| log.partitions.get(index));
    let unknown = || Error::UnknownPartition { topic: topic.to_owned(), partition };
    found.cloned().ok_or_else(unknown)
}

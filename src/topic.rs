//! Topics.

use crate::error::{Error, Result};
use crate::partition::PartitionHandle;
use crate::partitioner::partition_of_key;
use crate::storage::settings::{PARTITIONS_MAX, TopicSettings};
use crate::storage::tables::TopicLog;
use std::sync::Arc;
use std::time::Duration;

/// The longest name of a topic, in bytes; Kafka's limit.
const NAME_BYTES_MAX: usize = 249;

/// A topic: a named set of partitions.
#[derive(Debug)]
pub struct Topic {
    log: Arc<TopicLog>,
    partitions: Vec<PartitionHandle>,
}

impl Topic {
    pub(crate) fn new(log: Arc<TopicLog>) -> Self {
        let partitions = log.partitions.iter().cloned().map(PartitionHandle::new).collect();
        Self { log, partitions }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.log.name
    }

    /// How many partitions the topic has.
    pub fn num_partitions(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// The partitions' numbers: all from 0 on.
    pub fn partition_ids(&self) -> Vec<u32> {
        (0..self.num_partitions()).collect()
    }

    /// The partition of this number, if there is one.
    pub fn partition(&self, partition: u32) -> Option<&PartitionHandle> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }

    /// The partition that records with this key go to, until partitions are added.
    /// (Kafka's default partitioner: murmur2 of the key, modulo the partitions.)
    pub fn partition_of_key(&self, key: &str) -> u32 {
        // A topic has at least one partition.
        partition_of_key(key.as_bytes(), self.num_partitions().max(1))
    }

    /// How the topic is set up.
    pub fn config(&self) -> TopicConfig {
        TopicConfig::of(self.log.settings, self.num_partitions())
    }

    /// What the topic retains.
    pub fn retention(&self) -> RetentionConfig {
        RetentionConfig { max_records: self.log.settings.retention_records }
    }
}

/// How much of a partition is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RetentionConfig {
    /// Only the last so many records of each partition can be read; `None`
    /// keeps all. The limit holds from the next record on; the disk is freed by
    /// whole segments, at checkpoints.
    pub max_records: Option<u64>,
}

impl RetentionConfig {
    pub(crate) fn settings(self) -> TopicSettings {
        TopicSettings { retention_records: self.max_records, ..TopicSettings::default() }
    }
}

/// How a topic is created. Written as `TopicConfig { .., ..TopicConfig::default() }`.
///
/// ```
/// use merkql::topic::{Compaction, TopicConfig};
/// use std::time::Duration;
///
/// let week = TopicConfig {
///     partitions: 8,
///     retention_age: Some(Duration::from_secs(7 * 24 * 60 * 60)),
///     ..TopicConfig::default()
/// };
/// let latest = TopicConfig { compaction: Some(Compaction::default()), ..TopicConfig::default() };
/// # let _ = (week, latest);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicConfig {
    /// How many partitions; default 1.
    pub partitions: u32,
    /// Only the last so many records of each partition can be read; default all. The
    /// disk is freed by whole segments, at checkpoints.
    pub retention_records: Option<u64>,
    /// Whole segments of a partition go, the oldest first, as long as more than so
    /// many bytes are left behind them; default never. So a partition may take one
    /// segment more, and until the next checkpoint what is to go. The tree's hashes
    /// stay whatever goes, about 64 bytes for each record ever appended. (Kafka:
    /// `retention.bytes`.)
    pub retention_bytes: Option<u64>,
    /// A segment goes once its youngest record is older than this; default never.
    /// (Kafka: `retention.ms`.)
    pub retention_age: Option<Duration>,
    /// In place of [`crate::broker::BrokerConfig::segment_bytes`].
    /// (Kafka: `segment.bytes`.)
    pub segment_bytes: Option<u64>,
    /// The next append begins a new segment once the present one is older than
    /// this; default never. (Kafka: `segment.ms`.)
    pub segment_age: Option<Duration>,
    /// Whether only the last record of each key is kept; default no.
    /// (Kafka: `cleanup.policy=compact`.)
    pub compaction: Option<Compaction>,
}

/// Only the last record of each key is kept. Records without keys are refused.
///
/// [`crate::broker::Broker::maintain`] removes the others, but for those in the file
/// that is appended to. Offsets never change: where a record was removed, readers go
/// on to the next. Roots and proofs stay as they were, of what was removed, too, as
/// long as the stored hashes are undamaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compaction {
    /// For how long after the compaction that met it first a record without a value
    /// is kept, so that readers learn that its key is gone. Default 24 hours.
    /// (Kafka: `delete.retention.ms`.)
    pub tombstone_retention: Duration,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { tombstone_retention: Duration::from_secs(24 * 60 * 60) }
    }
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            partitions: 1,
            retention_records: None,
            retention_bytes: None,
            retention_age: None,
            segment_bytes: None,
            segment_age: None,
            compaction: None,
        }
    }
}

impl TopicConfig {
    pub(crate) fn settings(&self) -> TopicSettings {
        let ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        TopicSettings {
            retention_records: self.retention_records,
            retention_bytes: self.retention_bytes,
            retention_ms: self.retention_age.map(ms),
            segment_bytes: self.segment_bytes,
            segment_ms: self.segment_age.map(ms),
            compaction_tombstone_ms: self.compaction.map(|with| ms(with.tombstone_retention)),
        }
    }

    pub(crate) fn of(settings: TopicSettings, partitions: u32) -> Self {
        Self {
            partitions,
            retention_records: settings.retention_records,
            retention_bytes: settings.retention_bytes,
            retention_age: settings.retention_ms.map(Duration::from_millis),
            segment_bytes: settings.segment_bytes,
            segment_age: settings.segment_ms.map(Duration::from_millis),
            compaction: settings
                .compaction_tombstone_ms
                .map(|ms| Compaction { tombstone_retention: Duration::from_millis(ms) }),
        }
    }
}

/// Checks a topic's name against Kafka's rule.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let reason = match name {
        "" => "it is empty",
        "." | ".." => "it names a folder",
        _ if name.len() > NAME_BYTES_MAX => "it is longer than 249 characters",
        _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => {
            "only a-z, A-Z, 0-9, '.', '_' and '-' are possible"
        }
        _ => return Ok(()),
    };
    let name = name.chars().take(NAME_BYTES_MAX + 1).collect();
    Err(Error::InvalidTopicName { name, reason })
}

/// Checks a topic's number of partitions.
pub(crate) fn check_partitions(topic: &str, partitions: u32) -> Result<()> {
    if (1..=PARTITIONS_MAX).contains(&partitions) {
        return Ok(());
    }
    let topic = topic.to_owned();
    Err(Error::InvalidPartitionCount { topic, partitions, max: PARTITIONS_MAX })
}

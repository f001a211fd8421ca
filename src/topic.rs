//! Topics.

use crate::error::{Error, Result};
use crate::partition::PartitionHandle;
use crate::partitioner::partition_of_key;
use crate::storage::settings::{PARTITIONS_MAX, TopicSettings};
use crate::storage::tables::TopicLog;
use std::sync::Arc;

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

    /// The partition that records with this key go to, today and always. (Kafka's
    /// default partitioner: murmur2 of the key, modulo the partitions.)
    pub fn partition_of_key(&self, key: &str) -> u32 {
        // A topic has at least one partition.
        partition_of_key(key.as_bytes(), self.num_partitions().max(1))
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
        TopicSettings { retention_records: self.max_records }
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

//! What a topic is, and what it takes.

use crate::broker::Broker;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::storage::hashes::hashes_len;
use crate::storage::partition::PartitionLog;
use crate::topic::TopicConfig;

/// A topic as it is at one moment. (Kafka: `TopicDescription`.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// How it is set up.
    pub config: TopicConfig,
    /// Its partitions, from 0 on.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: u32,
    /// The first offset that can be read.
    pub log_start: u64,
    /// The offset that the next record gets.
    pub next_offset: u64,
    /// In how many files its records are, those to be removed included.
    pub segments: usize,
    /// The bytes of these files and of the tree, without what is written ahead of
    /// use and without the journal.
    pub bytes: u64,
    /// The root of the tree over all records ever appended; `None` if there are none.
    pub root: Option<Hash>,
}

impl Broker {
    /// What a topic is, all of its partitions at one moment.
    /// [`Error::UnknownTopic`] if there is none. Reads nothing from disk.
    /// (Kafka: `describeTopics`, `describeLogDirs`, `listOffsets`.)
    pub fn describe_topic(&self, name: &str) -> Result<TopicDescription> {
        self.store.check_open()?;
        let tables = self.store.tables();
        let unknown = || Error::UnknownTopic { topic: name.to_owned() };
        let topic = tables.topics.get(name).ok_or_else(unknown)?;
        Ok(TopicDescription {
            name: name.to_owned(),
            config: TopicConfig::of(topic.settings, topic.partition_count()),
            partitions: topic.partitions.iter().map(|log| describe(log)).collect(),
        })
    }
}

fn describe(log: &PartitionLog) -> PartitionDescription {
    let view = log.view();
    let segment_bytes: u64 = view.segments.iter().map(|segment| segment.len()).sum();
    let next_offset = view.next_offset();
    PartitionDescription {
        partition: log.key.partition,
        log_start: log.log_start(),
        next_offset,
        segments: view.segments.len(),
        bytes: segment_bytes.saturating_add(hashes_len(next_offset)),
        root: (next_offset > 0).then(|| view.range.root()),
    }
}

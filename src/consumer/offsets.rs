//! What a group has committed, and what is there to be read.

use super::Consumer;
use crate::admin::find_partition;
use crate::error::Result;
use crate::storage::entry::PartitionKey;
use crate::storage::partition::{PartitionLog, View};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A record's place and time. (Kafka: `OffsetAndTimestamp`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetAndTimestamp {
    /// Its offset.
    pub offset: u64,
    /// Its timestamp.
    pub timestamp: DateTime<Utc>,
}

impl Consumer {
    /// The offset that the group has committed for a partition, whoever owns it:
    /// the next one to read. `None` if it has committed none. The partition has to
    /// exist ([`Error::UnknownTopic`], [`Error::UnknownPartition`]), as for the other
    /// calls that look something up.
    ///
    /// [`Error::UnknownTopic`]: crate::Error::UnknownTopic
    /// [`Error::UnknownPartition`]: crate::Error::UnknownPartition
    pub fn committed(&self, topic: &str, partition: u32) -> Result<Option<u64>> {
        self.check_open()?;
        let log = self.log_of(topic, partition)?;
        Ok(self.committed_of(log.key))
    }

    pub(super) fn committed_of(&self, key: PartitionKey) -> Option<u64> {
        let tables = self.broker.store.tables();
        tables.groups.get(&self.config.group_id)?.get(&key).copied()
    }

    /// The first offsets that can be read, of any partitions.
    pub fn beginning_offsets(
        &self,
        partitions: &[(&str, u32)],
    ) -> Result<BTreeMap<(String, u32), u64>> {
        self.look_up(partitions, PartitionLog::log_start)
    }

    /// The offsets that the next records get, of any partitions.
    pub fn end_offsets(&self, partitions: &[(&str, u32)]) -> Result<BTreeMap<(String, u32), u64>> {
        self.look_up(partitions, |log| log.view().next_offset())
    }

    fn look_up(
        &self,
        partitions: &[(&str, u32)],
        find: impl Fn(&PartitionLog) -> u64,
    ) -> Result<BTreeMap<(String, u32), u64>> {
        self.check_open()?;
        let offset = |(topic, partition): &(&str, u32)| {
            let log = self.log_of(topic, *partition)?;
            Ok((((*topic).to_owned(), *partition), find(&log)))
        };
        partitions.iter().map(offset).collect()
    }

    /// The first record of each partition whose timestamp is the given one or later;
    /// `None` where there is none.
    pub fn offsets_for_times(
        &self,
        times: &[((&str, u32), DateTime<Utc>)],
    ) -> Result<BTreeMap<(String, u32), Option<OffsetAndTimestamp>>> {
        self.check_open()?;
        let mut found = BTreeMap::new();
        for ((topic, partition), time) in times {
            let log = self.log_of(topic, *partition)?;
            let first = first_at_or_after(&log, &log.view(), *time)?;
            let first = first.map(|(offset, timestamp_ns)| OffsetAndTimestamp {
                offset,
                timestamp: DateTime::from_timestamp_nanos(timestamp_ns),
            });
            found.insert(((*topic).to_owned(), *partition), first);
        }
        Ok(found)
    }

    pub(super) fn log_of(&self, topic: &str, partition: u32) -> Result<Arc<PartitionLog>> {
        find_partition(&self.broker.store.tables(), topic, partition)
    }
}

/// The first record with this timestamp or a later one: its offset, and its time.
pub(super) fn first_at_or_after(
    log: &PartitionLog,
    view: &View,
    time: DateTime<Utc>,
) -> Result<Option<(u64, i64)>> {
    // What lies outside the years that can be stored is before or after everything.
    let outside = if time.timestamp() < 0 { i64::MIN } else { i64::MAX };
    log.offset_for_time(view, time.timestamp_nanos_opt().unwrap_or(outside))
}

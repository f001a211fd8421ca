//! Where a consumer stands in each of its partitions.

use super::{Consumer, OffsetReset};
use crate::error::{Error, Result};
use crate::storage::entry::PartitionKey;
use crate::storage::partition::{PartitionLog, View};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A partition that the consumer reads.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) log: Arc<PartitionLog>,
    /// The offset of the next record to be returned.
    pub(super) offset: u64,
    /// Where it was at the last commit, or when the partition was assigned.
    pub(super) settled: u64,
    pub(super) is_paused: bool,
}

impl Position {
    pub(super) fn new(log: Arc<PartitionLog>, offset: u64) -> Self {
        Self { log, offset, settled: offset, is_paused: false }
    }

    /// Whether there is something to be committed that was not there when the
    /// partition was assigned.
    pub(super) fn has_moved(&self) -> bool {
        self.offset != self.settled
    }

    /// Retention may have overtaken the position.
    pub(super) fn respect_log_start(&mut self, reset: OffsetReset, view: &View) {
        let log_start = self.log.log_start();
        if self.offset < log_start {
            self.offset = match reset {
                OffsetReset::Earliest => log_start,
                OffsetReset::Latest => view.next_offset(),
            };
        }
    }
}

/// All partitions of a consumer.
#[derive(Debug, Default)]
pub(super) struct Positions {
    by_key: BTreeMap<PartitionKey, Position>,
    /// The life of each topic that the consumer reads, or read.
    incarnations: BTreeMap<Arc<str>, u64>,
}

impl Positions {
    pub(super) fn insert(&mut self, position: Position) {
        let name = &position.log.name;
        self.incarnations.insert(Arc::clone(&name.topic), position.log.key.incarnation);
        self.by_key.insert(position.log.key, position);
    }

    pub(super) fn remove(&mut self, key: PartitionKey) -> Option<Position> {
        self.by_key.remove(&key)
    }

    pub(super) fn retain(&mut self, keeps: impl Fn(PartitionKey) -> bool) {
        self.by_key.retain(|key, _| keeps(*key));
    }

    pub(super) fn keys(&self) -> Vec<PartitionKey> {
        self.by_key.keys().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Position> {
        self.by_key.values()
    }

    pub(super) fn get(&self, key: PartitionKey) -> Option<&Position> {
        self.by_key.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: PartitionKey) -> Option<&mut Position> {
        self.by_key.get_mut(&key)
    }

    pub(super) fn log(&self, key: PartitionKey) -> Option<&Arc<PartitionLog>> {
        self.get(key).map(|position| &position.log)
    }

    /// Whether there is anything to commit.
    pub(super) fn have_moved(&self) -> bool {
        self.by_key.values().any(Position::has_moved)
    }

    fn key_of(&self, topic: &str, partition: u32) -> Result<PartitionKey> {
        let incarnation = self.incarnations.get(topic).copied();
        let key = incarnation.map(|incarnation| PartitionKey { incarnation, partition });
        let key = key.filter(|key| self.by_key.contains_key(key));
        key.ok_or_else(|| Error::NotAssigned { topic: topic.to_owned(), partition })
    }

    /// The keys of these partitions, which must be assigned; of all if there are none.
    fn keys_of(&self, partitions: &[(&str, u32)]) -> Result<Vec<PartitionKey>> {
        if partitions.is_empty() {
            return Ok(self.keys());
        }
        partitions.iter().map(|(topic, partition)| self.key_of(topic, *partition)).collect()
    }

    pub(super) fn of(&self, topic: &str, partition: u32) -> Result<&Position> {
        let key = self.key_of(topic, partition)?;
        let not_assigned = || Error::NotAssigned { topic: topic.to_owned(), partition };
        self.by_key.get(&key).ok_or_else(not_assigned)
    }
}

/// The names of partitions, in order.
pub(super) fn names<'l>(logs: impl Iterator<Item = &'l Arc<PartitionLog>>) -> Vec<(String, u32)> {
    let mut names: Vec<(String, u32)> =
        logs.map(|log| (log.name.topic.to_string(), log.name.partition)).collect();
    names.sort_unstable();
    names
}

impl Consumer {
    /// Goes on at `offset` of a partition that is assigned to this consumer
    /// ([`Error::NotAssigned`]). One past the end is waited for, and committed like
    /// any other; one below the log's start is where the next poll follows
    /// [`OffsetReset`].
    pub fn seek(&mut self, topic: &str, partition: u32, offset: u64) -> Result<()> {
        self.check_open()?;
        let key = self.positions.key_of(topic, partition)?;
        self.go_to(&[(key, offset)]);
        Ok(())
    }

    /// Goes on at the first records of these partitions, or, if none are named, of
    /// all that are assigned.
    pub fn seek_to_beginning(&mut self, partitions: &[(&str, u32)]) -> Result<()> {
        self.seek_each(partitions, |log| Ok(log.log_start()))
    }

    /// Goes on behind the last records of these partitions, or, if none are named,
    /// of all that are assigned.
    pub fn seek_to_end(&mut self, partitions: &[(&str, u32)]) -> Result<()> {
        self.seek_each(partitions, |log| Ok(log.view().next_offset()))
    }

    /// Goes on at the first records of these partitions, or, if none are named, of
    /// all that are assigned, whose timestamps are `time` or later; behind the last
    /// record where there are none. (Kafka: `offsetsForTimes` and `seek`.)
    pub fn seek_to_timestamp(
        &mut self,
        partitions: &[(&str, u32)],
        time: DateTime<Utc>,
    ) -> Result<()> {
        self.seek_each(partitions, |log| {
            let view = log.view();
            let found = super::offsets::first_at_or_after(log, &view, time)?;
            Ok(found.map_or(view.next_offset(), |(offset, _)| offset))
        })
    }

    /// Seeks in all of the partitions, or in none.
    fn seek_each(
        &mut self,
        partitions: &[(&str, u32)],
        find: impl Fn(&PartitionLog) -> Result<u64>,
    ) -> Result<()> {
        self.check_open()?;
        let mut found = Vec::new();
        for key in self.positions.keys_of(partitions)? {
            let Some(log) = self.positions.log(key) else { continue };
            found.push((key, find(log)?));
        }
        self.go_to(&found);
        Ok(())
    }

    fn go_to(&mut self, offsets: &[(PartitionKey, u64)]) {
        for (key, offset) in offsets {
            if let Some(position) = self.positions.get_mut(*key) {
                position.offset = *offset;
            }
        }
    }

    /// The offset of the record that the next poll returns first from a
    /// partition, which must be assigned ([`Error::NotAssigned`]).
    pub fn position(&self, topic: &str, partition: u32) -> Result<u64> {
        self.check_open()?;
        self.positions.of(topic, partition).map(|position| position.offset)
    }

    /// How many records lie behind the position in a partition, which must be
    /// assigned ([`Error::NotAssigned`]). Those that compaction has removed between
    /// two that are there are counted. (Kafka: `currentLag`.)
    pub fn lag(&self, topic: &str, partition: u32) -> Result<u64> {
        self.check_open()?;
        let position = self.positions.of(topic, partition)?;
        let first = position.offset.max(position.log.log_start());
        Ok(position.log.view().next_offset().saturating_sub(first))
    }

    /// Polls return nothing from these partitions until [`Consumer::resume`]. The
    /// consumer keeps them, and their positions; a partition that it loses and gets
    /// back is not paused any more.
    pub fn pause(&mut self, partitions: &[(&str, u32)]) -> Result<()> {
        self.set_paused(partitions, true)
    }

    /// Polls return records from these partitions again.
    pub fn resume(&mut self, partitions: &[(&str, u32)]) -> Result<()> {
        self.set_paused(partitions, false)
    }

    fn set_paused(&mut self, partitions: &[(&str, u32)], is_paused: bool) -> Result<()> {
        self.check_open()?;
        let keys = partitions.iter();
        let keys = keys.map(|(topic, partition)| self.positions.key_of(topic, *partition));
        for key in keys.collect::<Result<Vec<_>>>()? {
            if let Some(position) = self.positions.get_mut(key) {
                position.is_paused = is_paused;
            }
        }
        Ok(())
    }

    /// The partitions that are paused, in order.
    pub fn paused(&self) -> Vec<(String, u32)> {
        let paused = self.positions.iter().filter(|position| position.is_paused);
        names(paused.map(|position| &position.log))
    }
}

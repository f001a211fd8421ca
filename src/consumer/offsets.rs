//! Offsets: what a group has committed, and what is there to be read.

use super::{Consumer, Reads};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::storage::commit::Operation;
use crate::storage::entry::{Commit, PartitionKey};
use crate::storage::partition::{PartitionLog, View};
use crate::sync::lock;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
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
    /// the next one to read. `None` if it has committed none.
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
        let tables = self.broker.store.tables();
        let log = tables.topics.get(topic).and_then(|topic| {
            let index = usize::try_from(partition).ok()?;
            topic.partitions.get(index)
        });
        let unknown = || Error::UnknownPartition { topic: topic.to_owned(), partition };
        log.cloned().ok_or_else(unknown)
    }

    /// Commits the positions: what was returned by polls is not delivered to
    /// the group again. One sync; none if all of it is committed already.
    /// Positions of partitions that a rebalance has taken away are not
    /// committed; if that leaves some of what this consumer was to commit
    /// undone, it is [`Error::NotAssigned`], and the rest is committed.
    pub fn commit_sync(&mut self) -> Result<()> {
        self.check_open()?;
        let group = Arc::clone(&self.group);
        // Held throughout, so that nobody takes a partition over in between and
        // begins at the offset before.
        let members = lock(&group);
        let mut lost = self.given_up.values().next().cloned();
        let mut commits = Vec::new();
        for position in self.positions.iter() {
            let key = position.log.key;
            if position.committed == Some(position.offset) || !self.exists(&position.log) {
                continue;
            }
            if self.may_commit(&members, key) {
                commits.push(Commit { key, offset: position.offset });
            } else if position.has_moved() {
                lost = Some(Arc::clone(&position.log));
            }
        }
        self.write_commits(&commits)?;
        drop(members);
        self.given_up.clear();
        self.note_committed(&commits);
        match lost {
            None => Ok(()),
            Some(log) => Err(Error::NotAssigned {
                topic: log.name.topic.to_string(),
                partition: log.name.partition,
            }),
        }
    }

    /// Commits these offsets, which are the next ones to be read, all or none, with
    /// one sync. A member of a group commits for partitions that it owns
    /// ([`Error::NotAssigned`]); any other consumer for those that no live member
    /// owns. An offset past the partition's end is [`Error::OffsetOutOfRange`].
    /// Positions stay where they are. (Kafka: `commitSync(offsets)`.)
    pub fn commit_sync_offsets(&mut self, offsets: &[((&str, u32), u64)]) -> Result<()> {
        self.check_open()?;
        self.check_group_id()?;
        let group = Arc::clone(&self.group);
        // Held for the same reason.
        let members = lock(&group);
        let mut commits = Vec::new();
        for ((topic, partition), offset) in offsets {
            let log = self.log_of(topic, *partition)?;
            let (topic, partition, offset) = ((*topic).to_owned(), *partition, *offset);
            if !self.may_commit(&members, log.key) {
                return Err(Error::NotAssigned { topic, partition });
            }
            let end = log.view().next_offset();
            if offset > end {
                return Err(Error::OffsetOutOfRange { topic, partition, offset, start: 0, end });
            }
            commits.push(Commit { key: log.key, offset });
        }
        self.write_commits(&commits)?;
        drop(members);
        self.note_committed(&commits);
        Ok(())
    }

    fn may_commit(&self, members: &Group, key: PartitionKey) -> bool {
        match self.reads {
            Reads::Topics(_) => members.owns(self.member, key),
            Reads::Nothing | Reads::Assigned { .. } => !members.has_owner(key),
        }
    }

    /// Whether the partition's topic is there, in this life.
    fn exists(&self, log: &PartitionLog) -> bool {
        let tables = self.broker.store.tables();
        let topic = tables.topics.get(&*log.name.topic);
        topic.is_some_and(|topic| topic.incarnation == log.key.incarnation)
    }

    fn write_commits(&self, commits: &[Commit]) -> Result<()> {
        if commits.is_empty() {
            return Ok(());
        }
        let operation = Operation::Write {
            records: Vec::new(),
            commits: Some((self.config.group_id.clone(), commits.to_vec())),
            sent: None,
        };
        self.broker.store.execute(operation).map(drop)
    }

    fn note_committed(&mut self, commits: &[Commit]) {
        for Commit { key, offset } in commits {
            if let Some(position) = self.positions.get_mut(*key) {
                position.set_committed(*offset);
            }
        }
    }

    /// Commits what the polls before returned, if it is time for that.
    pub(super) fn commit_if_due(&mut self) -> Result<()> {
        if self.now() >= self.commit_due { self.commit_by_itself() } else { Ok(()) }
    }

    /// Commits without being called to, if it was configured to. What a rebalance has
    /// taken away is no failure of this, and the listener hears of it.
    pub(super) fn commit_by_itself(&mut self) -> Result<()> {
        if self.limits.auto_commit_interval.is_none() {
            return Ok(());
        }
        self.put_off_commit();
        if !self.positions.have_moved() {
            return Ok(());
        }
        match self.commit_sync() {
            Err(Error::NotAssigned { .. }) => Ok(()),
            committed => committed,
        }
    }

    pub(super) fn put_off_commit(&mut self) {
        if let Some(interval) = self.limits.auto_commit_interval {
            self.commit_due = self.now().saturating_add(interval);
        }
    }
}

/// The first record with this timestamp or a later one.
pub(super) fn first_at_or_after(
    log: &PartitionLog,
    view: &View,
    time: DateTime<Utc>,
) -> Result<Option<(u64, i64)>> {
    // What lies outside the years that can be stored is before or after everything.
    let outside = if time.timestamp() < 0 { i64::MIN } else { i64::MAX };
    let time_ns = time.timestamp_nanos_opt().unwrap_or(outside);
    let old = view.segments.iter().take_while(|segment| segment.timestamp_max_ns() < time_ns);
    let Some(segment) = view.segments.get(old.count()) else { return Ok(None) };
    let mut found = None;
    log.read(view, segment.base_offset, u64::MAX, usize::MAX, &mut |offset, body| {
        if body.timestamp_ns < time_ns {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some((offset, body.timestamp_ns));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

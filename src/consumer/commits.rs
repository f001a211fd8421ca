//! Committing: positions, given offsets, and both as part of a transaction.
//!
//! Whoever commits holds the group's lock from before it looks at who owns what
//! until the offsets are durable, so that nobody takes a partition over in between
//! and begins at the offset before.

use super::{Consumer, Reads, check_group_id};
use crate::broker::BrokerRef;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::storage::commit::Operation;
use crate::storage::entry::{Commit, PartitionKey};
use crate::storage::partition::PartitionLog;
use crate::sync::{Mutex, lock};
use std::sync::Arc;

/// Offsets by topic and partition, as a caller gives them.
pub(crate) type GivenOffsets = Vec<((String, u32), u64)>;

/// What is to be committed for the positions.
#[derive(Debug)]
struct ToCommit {
    commits: Vec<Commit>,
    /// A partition that was taken away while something was to be committed for it.
    lost: Option<Error>,
}

impl Consumer {
    /// Commits the positions: what was returned by polls is not delivered to
    /// the group again. One sync; none if all of it is committed already.
    /// Positions of partitions that a rebalance has taken away are not
    /// committed; if that leaves some of what this consumer was to commit
    /// undone, it is [`Error::NotAssigned`], and the rest is committed.
    pub fn commit_sync(&mut self) -> Result<()> {
        self.check_open()?;
        let group = self.group();
        let members = lock(&group);
        let ToCommit { commits, lost } = self.positions_to_commit(&members);
        self.write_commits(&commits)?;
        drop(members);
        self.given_up.clear();
        self.note_committed(&commits);
        lost.map_or(Ok(()), Err)
    }

    /// Commits these offsets, which are the next ones to be read, all or none, with
    /// one sync. A member of a group commits for partitions that it owns
    /// ([`Error::NotAssigned`]); one with assigned partitions for any that exist
    /// ([`Error::UnknownTopic`], [`Error::UnknownPartition`]) and that no live member
    /// owns. An offset past the partition's end is [`Error::OffsetOutOfRange`], one of
    /// a topic that was deleted since [`Error::TopicDeleted`]. Positions stay where
    /// they are. (Kafka: `commitSync(offsets)`.)
    pub fn commit_sync_offsets(&mut self, offsets: &[((&str, u32), u64)]) -> Result<()> {
        self.check_open()?;
        check_group_id(&self.config.group_id)?;
        let group = self.group();
        let members = lock(&group);
        let commits = self.commits_of(&members, offsets)?;
        self.write_commits(&commits)?;
        drop(members);
        self.note_committed(&commits);
        Ok(())
    }

    pub(crate) fn group(&self) -> Arc<Mutex<Group>> {
        Arc::clone(&self.group)
    }

    pub(crate) fn group_id(&self) -> &str {
        &self.config.group_id
    }

    /// Checks that the consumer is open, and reads this broker's log.
    pub(crate) fn check_belongs_to(&self, broker: &BrokerRef) -> Result<()> {
        self.check_open()?;
        if Arc::ptr_eq(&self.broker, broker) {
            return Ok(());
        }
        let reason = "the consumer belongs to another broker".to_owned();
        Err(Error::InvalidOption { option: "send_offsets", reason })
    }

    /// The positions that are not committed yet.
    fn positions_to_commit(&self, members: &Group) -> ToCommit {
        let mut lost = self.given_up.values().next();
        let mut commits = Vec::new();
        let tables = self.broker.store.tables();
        let committed = tables.groups.get(&self.config.group_id);
        for position in self.positions.iter() {
            let key = position.log.key;
            let committed = committed.and_then(|offsets| offsets.get(&key));
            if committed == Some(&position.offset) || position.log.is_deleted() {
                continue;
            }
            if self.may_commit(members, key) {
                commits.push(Commit { key, offset: position.offset });
            } else if position.has_moved() {
                lost = Some(&position.log);
            }
        }
        let not_assigned = |log: &Arc<PartitionLog>| Error::NotAssigned {
            topic: log.name.topic.to_string(),
            partition: log.name.partition,
        };
        ToCommit { commits, lost: lost.map(not_assigned) }
    }

    /// The positions that are not committed yet, if all are this consumer's still
    /// ([`Error::NotAssigned`]).
    pub(crate) fn all_positions(&mut self, members: &Group) -> Result<Vec<Commit>> {
        let ToCommit { commits, lost } = self.positions_to_commit(members);
        // What was taken away is told once.
        self.given_up.clear();
        lost.map_or(Ok(commits), Err)
    }

    /// These offsets, if this consumer may commit them all.
    pub(crate) fn commits_of<S: AsRef<str>>(
        &self,
        members: &Group,
        offsets: &[((S, u32), u64)],
    ) -> Result<Vec<Commit>> {
        let commit = |((topic, partition), offset): &((S, u32), u64)| {
            self.commit_of(members, topic.as_ref(), *partition, *offset)
        };
        offsets.iter().map(commit).collect()
    }

    fn commit_of(
        &self,
        members: &Group,
        topic: &str,
        partition: u32,
        offset: u64,
    ) -> Result<Commit> {
        let log = match self.reads {
            Reads::Topics(_) => Arc::clone(&self.positions.of(topic, partition)?.log),
            Reads::Nothing | Reads::Assigned { .. } => self.log_of(topic, partition)?,
        };
        let topic = || topic.to_owned();
        if log.is_deleted() {
            return Err(Error::TopicDeleted { topic: topic() });
        }
        if !self.may_commit(members, log.key) {
            return Err(Error::NotAssigned { topic: topic(), partition });
        }
        let end = log.view().next_offset();
        if offset > end {
            let topic = topic();
            return Err(Error::OffsetOutOfRange { topic, partition, offset, start: 0, end });
        }
        Ok(Commit { key: log.key, offset })
    }

    fn may_commit(&self, members: &Group, key: PartitionKey) -> bool {
        match self.reads {
            Reads::Topics(_) => members.owns(self.member, key),
            Reads::Assigned { .. } => !members.has_owner(key),
            Reads::Nothing => false,
        }
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

    /// These are durable now.
    pub(crate) fn note_committed(&mut self, commits: &[Commit]) {
        for Commit { key, offset } in commits {
            if let Some(position) = self.positions.get_mut(*key) {
                position.settled = *offset;
            }
        }
    }

    /// Commits what the polls before returned, if it is time for that.
    pub(super) fn commit_if_due(&mut self) -> Result<()> {
        let is_due = self.limits.auto_commit_interval.is_some() && self.now() >= self.commit_due;
        if is_due { self.commit_by_itself() } else { Ok(()) }
    }

    /// Commits without being called to, if it was configured to. What a rebalance has
    /// taken away is no failure of this, and the listener hears of it.
    pub(super) fn commit_by_itself(&mut self) -> Result<()> {
        if !self.config.auto_commit {
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

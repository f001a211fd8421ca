//! What groups are and have committed, and how that is changed from outside.

use super::find_partition;
use crate::broker::Broker;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::storage::commit::Operation;
use crate::storage::entry::{Commit, PartitionKey};
use crate::storage::tables::Tables;
use crate::sync::lock;
use std::collections::BTreeSet;

/// A group as it is at one moment. (Kafka: `ConsumerGroupDescription` and the
/// offsets of `listConsumerGroupOffsets`.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// Its live members, in the order in which they were made.
    pub members: Vec<MemberDescription>,
    /// What it has committed, by topic and partition.
    pub offsets: Vec<GroupOffset>,
}

/// A live member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// What it owns: topics and partitions, in order.
    pub partitions: Vec<(String, u32)>,
}

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset of the next record to be read.
    pub committed: u64,
    /// The offset that the next record appended gets.
    pub next_offset: u64,
    /// How many records are there between the two, those counted that compaction
    /// has removed.
    pub lag: u64,
}

impl Broker {
    /// The ids of all groups that have committed offsets or live members, in
    /// order. (Kafka: `listConsumerGroups`.)
    pub fn groups(&self) -> Vec<String> {
        let live = self.groups.all().into_iter().filter_map(|(id, group)| {
            let members = self.members_of(&mut lock(&group));
            (!members.is_empty()).then_some(id)
        });
        let mut groups: BTreeSet<String> = live.collect();
        groups.extend(self.store.tables().groups.keys().cloned());
        groups.into_iter().collect()
    }

    /// What a group is and has committed. [`Error::UnknownGroup`] if it has neither
    /// members nor committed offsets. (Kafka: `describeConsumerGroups`,
    /// `listConsumerGroupOffsets`.)
    pub fn describe_group(&self, group_id: &str) -> Result<GroupDescription> {
        self.store.check_open()?;
        let group = self.groups.all().into_iter().find(|(id, _)| id == group_id);
        let members =
            group.map(|(_, group)| self.members_of(&mut lock(&group))).unwrap_or_default();
        let tables = self.store.tables();
        let offsets = tables.groups.get(group_id);
        if members.is_empty() && offsets.is_none() {
            return Err(Error::UnknownGroup { group: group_id.to_owned() });
        }
        let members = members.into_iter().map(|keys| describe_member(&tables, &keys)).collect();
        let mut offsets: Vec<_> = offsets
            .into_iter()
            .flatten()
            .filter_map(|(key, committed)| describe_offset(&tables, *key, *committed))
            .collect();
        offsets.sort_unstable_by(|a, b| {
            (a.topic.as_str(), a.partition).cmp(&(b.topic.as_str(), b.partition))
        });
        Ok(GroupDescription { group_id: group_id.to_owned(), members, offsets })
    }

    /// Commits offsets in the place of a group without live members, all of them
    /// or none: where its next consumers begin. Others of the group stay as they
    /// are. Durable when it returns. (Kafka: `alterConsumerGroupOffsets`.)
    ///
    /// [`Error::GroupNotEmpty`] if there are members, [`Error::OffsetOutOfRange`] if
    /// an offset is not within the log's start and its end. A group of which nothing
    /// was known is fine.
    pub fn reset_group_offsets(
        &self,
        group_id: &str,
        offsets: &[((&str, u32), u64)],
    ) -> Result<()> {
        self.store.check_open()?;
        crate::consumer::check_group_id(group_id)?;
        let group = self.groups.group(group_id);
        // Held throughout, so that nobody joins and begins at the offsets before.
        let mut group = lock(&group);
        self.check_empty(group_id, &mut group)?;
        let mut commits = Vec::with_capacity(offsets.len());
        for ((topic, partition), offset) in offsets {
            let log = find_partition(&self.store.tables(), topic, *partition)?;
            let (start, end) = (log.log_start(), log.view().next_offset());
            if !(start..=end).contains(offset) {
                return Err(Error::OffsetOutOfRange {
                    topic: (*topic).to_owned(),
                    partition: *partition,
                    offset: *offset,
                    start,
                    end,
                });
            }
            commits.push(Commit { key: log.key, offset: *offset });
        }
        let commits = Some((group_id.to_owned(), commits));
        let operation = Operation::Write { records: Vec::new(), commits, sent: None };
        self.store.execute(operation).map(drop)
    }

    /// Forgets everything that a group without live members has committed: its next
    /// consumers begin by their own policy. Durable when it returns.
    /// [`Error::GroupNotEmpty`] if there are members, [`Error::UnknownGroup`] if
    /// nothing is committed. (Kafka: `deleteConsumerGroups`.)
    pub fn delete_group(&self, group_id: &str) -> Result<()> {
        self.store.check_open()?;
        let group = self.groups.group(group_id);
        let mut group = lock(&group);
        self.check_empty(group_id, &mut group)?;
        if !self.store.tables().groups.contains_key(group_id) {
            return Err(Error::UnknownGroup { group: group_id.to_owned() });
        }
        let operation = Operation::ForgetGroup { group: group_id.to_owned() };
        self.store.execute(operation).map(drop)
    }

    /// The partitions of each live member.
    fn members_of(&self, group: &mut Group) -> Vec<Vec<PartitionKey>> {
        let now = self.config.clock.monotonic();
        let members = group.members_and_partitions(now);
        members.into_values().collect()
    }

    fn check_empty(&self, group_id: &str, group: &mut Group) -> Result<()> {
        match self.members_of(group).len() {
            0 => Ok(()),
            members => Err(Error::GroupNotEmpty { group: group_id.to_owned(), members }),
        }
    }
}

fn describe_member(tables: &Tables, keys: &[PartitionKey]) -> MemberDescription {
    let living = keys.iter().filter_map(|key| tables.partition(*key));
    let mut partitions: Vec<_> =
        living.map(|log| (log.name.topic.to_string(), log.name.partition)).collect();
    partitions.sort_unstable();
    MemberDescription { partitions }
}

fn describe_offset(tables: &Tables, key: PartitionKey, committed: u64) -> Option<GroupOffset> {
    let log = tables.partition(key)?;
    let next_offset = log.view().next_offset();
    Some(GroupOffset {
        topic: log.name.topic.to_string(),
        partition: log.name.partition,
        committed,
        next_offset,
        lag: next_offset.saturating_sub(committed.max(log.log_start())),
    })
}

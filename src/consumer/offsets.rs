//! What a consumer has to commit, for its own commits and for transactions.
//!
//! The caller holds the group's lock from here on until the offsets are durable, so
//! that nobody takes a partition over in between and begins at the offset before.

use super::Consumer;
use crate::broker::BrokerRef;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::storage::entry::Commit;
use crate::storage::partition::PartitionLog;
use crate::sync::Mutex;
use std::sync::Arc;

/// Offsets by topic and partition, as a caller gives them.
pub(crate) type GivenOffsets = Vec<((String, u32), u64)>;

/// What is to be committed for the positions.
#[derive(Debug)]
pub(super) struct ToCommit {
    pub(super) commits: Vec<Commit>,
    /// A partition that was taken away while something was to be committed for it.
    pub(super) lost: Option<Error>,
}

impl Consumer {
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
    pub(super) fn positions_to_commit(&self, members: &Group) -> ToCommit {
        let mut lost = self.given_up.values().next();
        let mut commits = Vec::new();
        for (key, assigned) in &self.assigned {
            if assigned.committed == Some(assigned.position) {
                continue;
            }
            if members.owns(self.member, *key) {
                commits.push(Commit { key: *key, offset: assigned.position });
            } else if assigned.has_moved() {
                lost = Some(&assigned.log);
            }
        }
        ToCommit { commits, lost: lost.map(|log| not_assigned(log)) }
    }

    /// The positions that are not committed yet, if all are this consumer's still
    /// ([`Error::NotAssigned`]).
    pub(crate) fn all_positions(&mut self, members: &Group) -> Result<Vec<Commit>> {
        let ToCommit { commits, lost } = self.positions_to_commit(members);
        // What was taken away is told once.
        self.given_up.clear();
        lost.map_or(Ok(commits), Err)
    }

    /// These offsets, if all partitions are this consumer's ([`Error::NotAssigned`]).
    pub(crate) fn commits_of(
        &self,
        members: &Group,
        offsets: &GivenOffsets,
    ) -> Result<Vec<Commit>> {
        let commit = |((topic, partition), offset): &((String, u32), u64)| {
            let mut assigned = self.assigned.iter();
            let found = assigned.find(|(key, assigned)| {
                assigned.is_of(topic, *partition) && members.owns(self.member, **key)
            });
            let commit = found.map(|(key, _)| Commit { key: *key, offset: *offset });
            commit.ok_or(Error::NotAssigned { topic: topic.clone(), partition: *partition })
        };
        offsets.iter().map(commit).collect()
    }

    /// These are durable now.
    pub(crate) fn note_committed(&mut self, commits: &[Commit]) {
        for Commit { key, offset } in commits {
            if let Some(assigned) = self.assigned.get_mut(key) {
                assigned.committed = Some(*offset);
                assigned.settled = *offset;
            }
        }
    }
}

fn not_assigned(log: &PartitionLog) -> Error {
    Error::NotAssigned { topic: log.name.topic.to_string(), partition: log.name.partition }
}

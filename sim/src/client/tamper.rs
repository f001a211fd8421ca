//! Bugs between the clients and the log, put in on purpose: what the checkers
//! must find whatever log it is.

use super::consume::{Member, Place};
use super::names::key_of;
use super::transfer::in_two_steps;
use merkql::broker::BrokerRef;
use merkql::partition::Partition;
use merkql::record::{BytesProducerRecord, BytesRecord, RecordMetadata};
use merkql_jepsen::history::{Inclusion, Key, MicroOp};
use merkql_jepsen::merkle::Hash;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which bug it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    LastRecordDropped,
    HalfABatchShown,
    RecordsSwapped,
    SecondOwner,
    LastReadCommitted,
    CommitForgotten,
    RedeliveredAfterCommit,
    LeafWithoutPrefix,
    RootOfOneLess,
    OffsetsCommittedFirst,
    OffsetsCommittedLast,
}

/// The bug that is planted, if any, and what it has to remember.
#[derive(Debug, Default)]
pub(crate) struct Tamper {
    bug: Option<Bug>,
    /// The offsets that were committed since the log was opened, by group.
    committed: Mutex<BTreeSet<(String, Key)>>,
}

impl Tamper {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self { bug, committed: Mutex::default() }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn committed(&self) -> MutexGuard<'_, BTreeSet<(String, Key)>> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the records of a batch, those that the log gets.
    pub(crate) fn handed_over<'r>(
        &self,
        records: &'r [BytesProducerRecord],
        asked: &[MicroOp],
    ) -> &'r [BytesProducerRecord] {
        let keys: BTreeSet<_> = asked.iter().filter_map(MicroOp::sent_key).collect();
        let kept = match self.bug {
            Some(Bug::LastRecordDropped) if records.len() > 1 => records.len() - 1,
            Some(Bug::HalfABatchShown) if keys.len() > 1 => records.len() / 2,
            _ => records.len(),
        };
        records.get(..kept).unwrap_or(records)
    }

    /// What is acknowledged although the log never got it.
    pub(crate) fn withheld(asked: &[MicroOp], answer: &[BytesRecord]) -> Vec<MicroOp> {
        asked.get(answer.len()..).unwrap_or_default().to_vec()
    }

    /// The records that a poll has returned, as they are shown.
    pub(crate) fn shown(&self, mut records: Vec<BytesRecord>) -> Vec<BytesRecord> {
        let place = |record: &BytesRecord| (record.topic.clone(), record.partition);
        let neighbours = records.windows(2).position(|pair| match pair {
            [a, b] => place(a) == place(b),
            _ => false,
        });
        if let Some(at) = neighbours.filter(|_| self.is(Bug::RecordsSwapped)) {
            records.swap(at, at + 1);
        }
        records
    }

    /// Whether a member goes on as the owner of what it has lost.
    pub(crate) fn hides_losses(&self) -> bool {
        self.is(Bug::SecondOwner)
    }

    /// A commit is about to be made: the offset that is committed is that of the
    /// record that was read last.
    pub(crate) fn before_commit(&self, member: &mut Member, owned: &[Place]) {
        if self.is(Bug::LastReadCommitted) {
            step(member, owned, |position| position.saturating_sub(1));
        }
    }

    /// The commit was made.
    pub(crate) fn after_commit(&self, member: &mut Member, owned: &[Place]) {
        let keys = owned.iter().map(|(topic, number)| key_of(topic, *number));
        self.committed().extend(keys.map(|key| (member.group.clone(), key)));
        match self.bug {
            Some(Bug::LastReadCommitted) => step(member, owned, |position| position + 1),
            Some(Bug::RedeliveredAfterCommit) => {
                step(member, owned, |position| position.saturating_sub(1));
            }
            _ => {}
        }
    }

    /// A transaction is about to be committed: its records and its offsets go one
    /// after the other. Nothing if no such bug is planted.
    pub(crate) fn committed_apart(
        &self,
        broker: &BrokerRef,
        member: &mut Member,
        records: &[BytesProducerRecord],
    ) -> Option<merkql::Result<Vec<RecordMetadata>>> {
        let offsets_first = self.is(Bug::OffsetsCommittedFirst);
        let planted = offsets_first || self.is(Bug::OffsetsCommittedLast);
        planted.then(|| in_two_steps(broker, member, records, offsets_first))
    }

    /// The log was opened again.
    pub(crate) fn reopened(&self) {
        self.committed().clear();
    }

    /// What a group is told that it has committed.
    pub(crate) fn committed_offset(
        &self,
        group: &str,
        key: &Key,
        offset: Option<u64>,
    ) -> Option<u64> {
        let forgotten = self.is(Bug::CommitForgotten)
            && !self.committed().contains(&(group.to_owned(), key.clone()));
        offset.filter(|_| !forgotten)
    }

    /// The root that is handed out for all records of a partition.
    pub(crate) fn root(&self, view: &Partition, root: Hash) -> Hash {
        let smaller = view.next_offset().saturating_sub(1);
        if !self.is(Bug::RootOfOneLess) || smaller == 0 {
            return root;
        }
        view.root_at(smaller).ok().flatten().map_or(root, |smaller| Hash(smaller.0))
    }

    /// The proof that is handed out. One over a leaf without the prefix that tells
    /// it from a node leads to another root.
    pub(crate) fn proof(&self, index: u64, mut proof: Inclusion) -> Inclusion {
        if self.is(Bug::LeafWithoutPrefix) {
            let leaf = Hash::digest(&proof.record.0);
            proof.head.root = root_over(index, proof.head.size, leaf, &proof.path);
        }
        proof
    }
}

/// Moves a member without a word.
fn step(member: &mut Member, owned: &[Place], to: impl Fn(u64) -> u64) {
    for (topic, number) in owned {
        let Ok(position) = member.consumer.position(topic, *number) else { continue };
        // It may have lost the partition, and then there is nothing to be moved.
        drop(member.consumer.seek(topic, *number, to(position)));
    }
}

/// Where a path leads that begins at a leaf (RFC 9162, section 2.1.3.2).
fn root_over(index: u64, size: u64, leaf: Hash, path: &[Hash]) -> Hash {
    let (mut node, mut last) = (index, size.saturating_sub(1));
    path.iter().fold(leaf, |hash, sibling| {
        let is_right = node % 2 == 1 || node == last;
        while is_right && node % 2 == 0 && node != 0 {
            (node, last) = (node / 2, last / 2);
        }
        (node, last) = (node / 2, last / 2);
        if is_right { Hash::node(sibling, &hash) } else { Hash::node(&hash, sibling) }
    })
}

//! What a client knows: what was acknowledged, and what may or may not be.

use super::tree::{Bytes, leaf, root};
use merkql::hash::Hash;
use merkql::record::{ProducerRecord, Record};
use merkql::tree::Proof;
use std::collections::BTreeMap;

/// A topic and a partition.
pub(crate) type Place = (String, u32);

/// Records that were sent together, and have had no answer.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) records: Vec<ProducerRecord>,
    /// Producer id and sequence.
    pub(crate) sent: Option<(u64, u64)>,
}

/// A topic that was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicModel {
    pub(crate) partitions: u32,
    pub(crate) retention: Option<u64>,
}

/// The acknowledged records of a partition, from offset 0 on.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogModel {
    pub(crate) records: Vec<Record>,
    pub(crate) leaves: Vec<Bytes>,
}

impl LogModel {
    pub(crate) fn push(&mut self, record: Record) {
        self.leaves.push(leaf(&record));
        self.records.push(record);
    }

    pub(crate) fn root(&self, size: usize) -> Hash {
        Hash(root(&self.leaves[..size]))
    }
}

/// Offsets of one group, by partition.
pub(crate) type Offsets = BTreeMap<Place, u64>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) topics: BTreeMap<String, TopicModel>,
    pub(crate) logs: BTreeMap<Place, LogModel>,
    /// Offsets that a commit was acknowledged for.
    pub(crate) committed: BTreeMap<String, Offsets>,
    /// The next sequence of each producer id.
    pub(crate) sequences: BTreeMap<u64, u64>,
    /// Roots that were handed out: where, at which size.
    pub(crate) roots: Vec<(Place, u64, Hash)>,
    /// Proofs that were handed out.
    pub(crate) proofs: Vec<(Place, u64, Proof)>,
    /// Sends without an answer, in the order in which they were made.
    pub(crate) open_units: Vec<Unit>,
    /// A creation without an answer.
    pub(crate) open_topic: Option<(String, TopicModel)>,
    /// A commit without an answer.
    pub(crate) open_commit: Option<(String, Offsets)>,
}

impl Model {
    /// Notes that a unit is stored, as these records.
    pub(crate) fn stored(
        &mut self,
        records: Vec<Record>,
        sent: Option<(u64, u64)>,
    ) -> Result<(), String> {
        for record in records {
            let log = self.logs.entry((record.topic.clone(), record.partition)).or_default();
            if record.offset != log.records.len() as u64 {
                return Err(format!(
                    "{record:?} was acknowledged where {} was next",
                    log.records.len()
                ));
            }
            log.push(record);
        }
        if let Some((id, sequence)) = sent {
            self.sequences.insert(id, sequence + 1);
        }
        Ok(())
    }

    pub(crate) fn topic_created(&mut self, name: &str, topic: TopicModel) {
        self.topics.insert(name.to_owned(), topic);
        for partition in 0..topic.partitions {
            self.logs.entry((name.to_owned(), partition)).or_default();
        }
    }

    /// How many records were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.logs.values().map(|log| log.records.len()).sum()
    }
}

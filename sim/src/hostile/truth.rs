//! What was acknowledged: what every directory is judged against.

use merkql::hash::{Hash, leaf_hash, node_hash};
use merkql::record::BytesRecord;
use std::collections::{BTreeMap, BTreeSet};

/// A topic's name and a partition's number.
pub(crate) type Place = (String, u32);

/// What a partition must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartitionTruth {
    /// Every record ever acknowledged, from offset 0 on.
    pub(crate) records: Vec<BytesRecord>,
    /// The offsets that neither retention nor compaction has taken away.
    pub(crate) readable: BTreeSet<u64>,
    pub(crate) log_start: u64,
    pub(crate) incarnation: u64,
    /// The root at each size, from none on.
    pub(crate) roots: Vec<Hash>,
    pub(crate) hashes: Vec<Hash>,
}

impl PartitionTruth {
    pub(crate) fn next_offset(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn record(&self, offset: u64) -> Option<&BytesRecord> {
        self.records.get(usize::try_from(offset).ok()?)
    }

    pub(crate) fn root(&self, size: u64) -> Option<Hash> {
        self.roots.get(usize::try_from(size).ok()?).copied()
    }

    /// Works out hashes and roots from the records.
    pub(crate) fn seal(&mut self) {
        self.hashes = self.records.iter().map(BytesRecord::hash).collect();
        let leaves: Vec<Hash> = self.hashes.iter().map(leaf_hash).collect();
        let root = |size: usize| root_of(leaves.get(..size).unwrap_or_default());
        self.roots = (0..=leaves.len()).map(root).collect();
    }
}

/// RFC 9162, 2.1.1, by its own words: the largest power of two below the size splits it.
fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => merkql::hash::empty_root(),
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// What a log must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) partitions: BTreeMap<Place, PartitionTruth>,
    /// By group, topic and partition.
    pub(crate) commits: BTreeMap<(String, String, u32), u64>,
}

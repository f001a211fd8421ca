//! A partition of the model.

use merkql::hash::{Hash, leaf_hash};
use merkql::record::Record;
use merkql::tree::CompactRange;

/// A partition as it must be.
#[derive(Default)]
pub(crate) struct PartitionModel {
    pub(crate) retained: Option<u64>,
    pub(crate) start: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) range: CompactRange,
    /// The root at each size from 1 on.
    pub(crate) roots: Vec<Hash>,
}

impl PartitionModel {
    pub(crate) fn append(&mut self, record: &Record) {
        assert_eq!(record.offset, self.records.len() as u64, "offsets are dense");
        self.records.push(record.clone());
        self.range.push(leaf_hash(&record.hash()), &mut |_| {});
        self.roots.push(self.range.root());
    }

    pub(crate) fn retain(&mut self) {
        let kept = self.retained.unwrap_or(u64::MAX);
        self.start = self.start.max((self.records.len() as u64).saturating_sub(kept));
    }

    pub(crate) fn end(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn slice(&self, from: u64, to: u64) -> &[Record] {
        let to = to.min(self.end());
        let from = from.max(self.start).min(to);
        &self.records[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()]
    }

    /// The first offset that a reader gets who goes on at `position`.
    pub(crate) fn clamp(&self, position: u64) -> u64 {
        position.max(self.start)
    }
}

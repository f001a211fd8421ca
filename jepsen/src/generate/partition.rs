//! One partition of the perfect log that generated histories are about.

use std::collections::BTreeSet;

use crate::merkle::{Hash, Tree};

/// A record as it was read.
pub(super) type Read = (u64, i64);

/// A partition that never loses anything but what it is told to.
#[derive(Debug, Default)]
pub(super) struct Partition {
    records: Vec<i64>,
    /// Offsets whose records were compacted away or damaged.
    gone: BTreeSet<u64>,
    start: u64,
    next_value: i64,
    /// The record's hashes and their tree, where proofs are wanted.
    hashes: Vec<Hash>,
    tree: Tree,
}

impl Partition {
    /// A value that no other send to this partition has.
    pub(super) fn fresh_value(&mut self) -> i64 {
        self.next_value += 1;
        self.next_value
    }

    /// Appends a record and returns its offset.
    pub(super) fn append(&mut self, key: usize, value: i64, with_proofs: bool) -> u64 {
        let offset = self.end();
        self.records.push(value);
        if with_proofs {
            let hash =
                Hash::digest(format!("key {key}, offset {offset}, value {value}").as_bytes());
            self.hashes.push(hash);
            self.tree.push(&hash);
        }
        offset
    }

    /// The offset behind the last record.
    pub(super) fn end(&self) -> u64 {
        self.records.len() as u64
    }

    /// The first offset that retention has left.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Moves the start forward.
    pub(super) fn retain_from(&mut self, start: u64) {
        self.start = self.start.max(start.min(self.end()));
    }

    /// Takes the record at an offset away.
    pub(super) fn remove(&mut self, offset: u64) {
        self.gone.insert(offset);
    }

    /// Up to so many records from a position on, and the position behind them.
    pub(super) fn read(&self, position: u64, records_max: usize) -> (Vec<Read>, u64) {
        let mut read = Vec::new();
        let mut position = position.max(self.start);
        while position < self.end() && read.len() < records_max {
            let offset = position;
            if !self.gone.contains(&offset) {
                let value = usize::try_from(offset).ok().and_then(|at| self.records.get(at));
                read.extend(value.map(|value| (offset, *value)));
            }
            position = offset + 1;
        }
        (read, position)
    }

    /// The hash of the record at an offset.
    pub(super) fn hash(&self, offset: u64) -> Option<Hash> {
        self.hashes.get(usize::try_from(offset).ok()?).copied()
    }

    /// The tree over all records ever appended.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }
}

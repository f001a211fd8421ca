//! Stored hashes, computed anew from the log.

use super::hashes::{SLOT_BYTES, hashes_len};
use super::partition::{PartitionLog, View};
use crate::error::{Error, Result};
use crate::merkle::{CompactRange, Hash, leaf_hash};
use std::ops::ControlFlow;

/// How many bytes of hashes are written at once.
const WRITE_BYTES: usize = 1 << 20;

impl PartitionLog {
    /// Computes the tree anew from the log and writes the file of stored hashes
    /// again, if the records hash to the tree that the manifest knows. What
    /// retention has removed can't be computed; there the peaks at the log's
    /// first segment stand in for it.
    pub(crate) fn rebuild_hashes(&self) -> Result<()> {
        self.pool().latch().check()?;
        let view = self.view();
        let start = view.segments.first().map(|segment| segment.base_range.clone());
        let start = start.unwrap_or_default();
        let computed = self.compute_tree(&view, start.clone(), &mut |_, _| Ok(()))?;
        if computed != view.range {
            let reason = "the records do not hash to the tree of the manifest";
            return Err(Error::corrupt(self.hashes.file.path(), 0, reason));
        }
        self.ensure_hashes_exist()?;
        self.write_peaks(&start)?;
        let write =
            &mut |size, slots: &[u8]| self.hashes.file.write_derived(slots, hashes_len(size));
        self.compute_tree(&view, start, write)?;
        self.hashes.forget();
        Ok(())
    }

    /// Hashes the view's records onto `range`; hands the stored hashes to
    /// `write` in pieces, each with the size of the tree before it.
    fn compute_tree(
        &self,
        view: &View,
        mut range: CompactRange,
        write: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<CompactRange> {
        let mut hasher = super::canonical::RecordHasher::default();
        let mut slots = Vec::new();
        let mut size = range.size();
        for (index, segment) in view.segments.iter().enumerate() {
            let next_base = view.segments.get(index + 1).map(|next| next.base_offset);
            let end = next_base.unwrap_or(view.next_offset());
            segment.read(segment.base_offset, end, usize::MAX, &mut |offset, body| {
                let hash = hasher.hash(&self.name.topic, self.name.partition, offset, &body);
                let hash = hash.map_err(|m| Error::corrupt(segment.file.path(), 0, m.reason()))?;
                range.push(leaf_hash(&hash), &mut |node: Hash| slots.extend_from_slice(&node.0));
                if slots.len() >= WRITE_BYTES {
                    write(size, &slots)?;
                    slots.clear();
                    size = range.size();
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        write(size, &slots)?;
        Ok(range)
    }

    fn write_peaks(&self, range: &CompactRange) -> Result<()> {
        let mut first_leaf = 0;
        for (level, peak) in
            (0..u64::BITS).rev().filter(|bit| range.size() >> bit & 1 == 1).zip(range.peaks())
        {
            #[expect(clippy::cast_possible_truncation, reason = "below 64")]
            let slot = crate::merkle::stored_index(level as u8, first_leaf >> level);
            self.hashes.file.write_derived(&peak.0, slot * SLOT_BYTES)?;
            first_leaf += 1 << level;
        }
        Ok(())
    }
}

//! Stored hashes, computed anew from the log.

use super::canonical::RecordHasher;
use super::codec::Malformed;
use super::hashes::SLOT_BYTES;
use super::partition::{PartitionLog, View};
use super::segment::Part;
use crate::error::{Error, Result};
use crate::merkle::{CompactRange, Hash, leaf_hash, stored_index};
use std::ops::ControlFlow;

/// How many bytes of hashes are written at once.
const WRITE_BYTES: usize = 1 << 20;

impl PartitionLog {
    /// Computes the tree anew from the log and writes the file of stored hashes
    /// again, if the records hash to the tree that the manifest knows. What
    /// retention has removed can't be computed; there the peaks at the log's
    /// first segment stand in for it. What compaction has removed is as good as there: its
    /// gaps have the roots. The hashes below those are left as they are.
    pub(crate) fn rebuild_hashes(&self) -> Result<()> {
        loop {
            let view = self.view();
            match self.rebuild_from(&view) {
                // Its files went away meanwhile, for others that hold the same.
                Err(error) if error.is_corruption() && !self.is_current(&view) => {}
                rebuilt => return rebuilt,
            }
        }
    }

    fn rebuild_from(&self, view: &View) -> Result<()> {
        self.pool().latch().check()?;
        self.check_living()?;
        let start = view.segments.first().map(|segment| segment.base_range.clone());
        // Without a segment nothing but the peaks at the log's end is left.
        let start = start.unwrap_or_else(|| view.range.clone());
        let computed = self.compute_tree(view, start.clone(), &mut |_, _| Ok(()))?;
        if computed != view.range {
            let reason = "the records do not hash to the tree of the manifest";
            return Err(Error::corrupt(self.hashes.file.path(), 0, reason));
        }
        self.ensure_hashes_exist()?;
        self.write_peaks(&start)?;
        let file = &self.hashes.file;
        let write = &mut |slot, hashes: &[u8]| file.write_derived(hashes, slot * SLOT_BYTES);
        self.compute_tree(view, start, write)?;
        self.hashes.forget();
        Ok(())
    }

    /// Hashes the view's records onto `range`. Hands what is to be stored to
    /// `write`, in pieces, each with its first slot: a gap has the roots of what
    /// was removed, and leaves out the slots of the nodes below.
    pub(crate) fn compute_tree(
        &self,
        view: &View,
        mut range: CompactRange,
        write: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<CompactRange> {
        let mut hasher = RecordHasher::default();
        let mut piece = Piece { first_slot: 0, hashes: Vec::new() };
        for (index, segment) in view.segments.iter().enumerate() {
            let next_base = view.segments.get(index + 1).map(|next| next.base_offset);
            let end = next_base.unwrap_or(view.next_offset());
            segment.walk(segment.base_offset, end, usize::MAX, &mut |part| {
                match part {
                    Part::Record(offset, body) => {
                        let name = &self.name;
                        let hash = hasher.hash(&name.topic, name.partition, offset, &body);
                        let malformed =
                            |m: Malformed| Error::corrupt(segment.file.path(), 0, m.reason());
                        let leaf = leaf_hash(&hash.map_err(malformed)?);
                        piece.push(&mut range, (0, leaf), write)?;
                    }
                    Part::Gap(gap) => gap
                        .subtrees()
                        .try_for_each(|subtree| piece.push(&mut range, subtree, write))?,
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        write(piece.first_slot, &piece.hashes)?;
        Ok(range)
    }

    fn write_peaks(&self, range: &CompactRange) -> Result<()> {
        let mut first_leaf = 0;
        for (level, peak) in
            (0..u64::BITS).rev().filter(|bit| range.size() >> bit & 1 == 1).zip(range.peaks())
        {
            #[expect(clippy::cast_possible_truncation, reason = "below 64")]
            let slot = stored_index(level as u8, first_leaf >> level);
            self.hashes.file.write_derived(&peak.0, slot * SLOT_BYTES)?;
            first_leaf += 1 << level;
        }
        Ok(())
    }
}

/// Stored hashes that stand one behind the other.
struct Piece {
    first_slot: u64,
    hashes: Vec<u8>,
}

impl Piece {
    /// Appends a subtree, by its level and its root, to `range`, and what it adds
    /// to the stored hashes to the piece; one that does not go on is written first.
    fn push(
        &mut self,
        range: &mut CompactRange,
        (level, root): (u8, Hash),
        write: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let slot = stored_index(level, range.size() >> level);
        let goes_on = slot == self.first_slot + self.hashes.len() as u64 / SLOT_BYTES;
        if !goes_on || self.hashes.len() >= WRITE_BYTES {
            write(self.first_slot, &self.hashes)?;
            self.first_slot = slot;
            self.hashes.clear();
        }
        let hashes = &mut self.hashes;
        range.push_subtree(level, root, &mut |node| hashes.extend_from_slice(&node.0));
        Ok(())
    }
}

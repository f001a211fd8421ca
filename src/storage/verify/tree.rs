//! Checking a partition's tree: records against stored hashes, nodes against their
//! children, both against the roots that the manifest has.
//!
//! Two trees are computed over a segment's offsets, from the same start, which the
//! manifest has: one from the records, one from the stored leaves. Where they differ,
//! the manifest's tree at the segment's end says which is right:
//!
//! ```text
//! records = manifest                     the stored hashes are wrong
//! records ≠ manifest, leaves = manifest  the records are: not those that were appended
//! both    ≠ manifest                     nobody can tell
//! ```
//!
//! A lost record's place is taken by its stored leaf. Of records that were removed only
//! hashes are left: what is stored below a gap's roots, and in front of the first
//! segment, must agree with itself and with those.

use super::slots::{Slot, SlotReader};
use crate::error::Result;
use crate::merkle::{CompactRange, Hash, node_hash, stored_count, stored_index};
use crate::storage::hashes::HashFile;
use std::ops::Range;

/// Numbers as ranges, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges(pub(super) Vec<Range<u64>>);

impl Ranges {
    fn add(&mut self, number: u64) {
        self.add_all(number..number + 1);
    }

    fn add_all(&mut self, numbers: Range<u64>) {
        match self.0.last_mut() {
            Some(last) if last.end == numbers.start => last.end = numbers.end,
            _ if numbers.is_empty() => {}
            _ => self.0.push(numbers),
        }
    }
}

/// What is wrong with a segment's part of the tree.
#[derive(Debug, Default)]
pub(super) struct SegmentVerdict {
    /// Slots that follow from the records and hold something else.
    pub(super) wrong_slots: Ranges,
    /// Slots of removed records that contradict others, or are missing.
    pub(super) wrong_removed: Ranges,
    /// Records that are not those of the tree.
    pub(super) wrong_records: Ranges,
    /// Why the tree cannot be computed, if it cannot.
    pub(super) broken: Option<&'static str>,
}

/// Checks one partition's tree, from left to right.
pub(super) struct TreeCheck<'a> {
    slots: SlotReader<'a>,
    /// From the records.
    records: CompactRange,
    /// From the stored leaves, once they differ from the records.
    leaves: Option<CompactRange>,
    /// Offsets whose record and stored leaf differ.
    unlike: Ranges,
    /// Slots that are not what the records, or the leaves, give.
    unlike_records: Ranges,
    unlike_leaves: Ranges,
    wrong_removed: Ranges,
    /// Slots of roots of removed records, which are known: from a gap, or the manifest.
    wrong_roots: Ranges,
    /// Neither a record nor its hash is there.
    lost_leaf: bool,
    pub(super) given_up: u64,
}

impl<'a> TreeCheck<'a> {
    /// For a tree of `size` leaves.
    pub(super) fn new(file: &'a HashFile, size: u64) -> Self {
        Self {
            slots: SlotReader::new(file, stored_count(size)),
            records: CompactRange::new(),
            leaves: None,
            unlike: Ranges::default(),
            unlike_records: Ranges::default(),
            unlike_leaves: Ranges::default(),
            wrong_removed: Ranges::default(),
            wrong_roots: Ranges::default(),
            lost_leaf: false,
            given_up: 0,
        }
    }

    /// How many slots were looked at.
    pub(super) fn slots_read(&self) -> u64 {
        self.slots.read
    }

    /// Checks what is stored of records that retention has removed: all in front of
    /// `base`. Returns the slots that contradict others, and those whose hashes are known.
    pub(super) fn removed_before(&mut self, base: &CompactRange) -> Result<(Ranges, Ranges)> {
        let mut first_leaf = 0;
        let levels = (0..u64::BITS).rev().filter(|bit| base.size() >> bit & 1 == 1);
        for (level, peak) in levels.zip(base.peaks()) {
            self.removed(u8::try_from(level).unwrap_or(u8::MAX), first_leaf, peak)?;
            first_leaf += 1 << level;
        }
        Ok((std::mem::take(&mut self.wrong_removed), std::mem::take(&mut self.wrong_roots)))
    }

    /// A segment begins.
    pub(super) fn begin(&mut self, base: &CompactRange) {
        self.records = base.clone();
        self.leaves = None;
        self.lost_leaf = false;
    }

    /// A record, by the hash of its leaf.
    pub(super) fn record(&mut self, leaf: Hash) -> Result<()> {
        if self.lost_leaf {
            return Ok(());
        }
        let offset = self.records.size();
        let slot = stored_index(0, offset);
        let mut stored = self.slots.get(slot)?;
        if stored != Slot::Stored(leaf) && stored != Slot::Missing {
            stored = self.slots.again(slot)?;
        }
        let differs = stored.hash().filter(|stored| *stored != leaf);
        if differs.is_some() {
            self.unlike.add(offset);
        }
        if differs.is_some() && self.leaves.is_none() {
            self.leaves = Some(self.records.clone());
            self.unlike_leaves = self.unlike_records.clone();
        }
        if let Some(mut leaves) = self.leaves.take() {
            push(
                &mut leaves,
                &mut self.slots,
                &mut self.unlike_leaves,
                (0, differs.unwrap_or(leaf)),
            )?;
            self.leaves = Some(leaves);
        }
        push(&mut self.records, &mut self.slots, &mut self.unlike_records, (0, leaf))
    }

    /// Records that are lost, up to `end`.
    pub(super) fn lost(&mut self, end: u64) -> Result<()> {
        while self.records.size() < end && !self.lost_leaf {
            let slot = stored_index(0, self.records.size());
            match self.slots.get(slot)?.hash() {
                Some(leaf) => self.record(leaf)?,
                None => self.lost_leaf = true,
            }
        }
        Ok(())
    }

    /// A subtree of records that compaction removed.
    pub(super) fn gap(&mut self, level: u8, root: Hash) -> Result<()> {
        if self.lost_leaf {
            return Ok(());
        }
        self.removed(level, self.records.size(), &root)?;
        // The root's own slot is compared when it is pushed.
        self.wrong_roots.0.clear();
        if let Some(leaves) = &mut self.leaves {
            push(leaves, &mut self.slots, &mut self.unlike_leaves, (level, root))?;
        }
        push(&mut self.records, &mut self.slots, &mut self.unlike_records, (level, root))
    }

    /// The segment ends; the manifest's tree there is `end`.
    pub(super) fn end(&mut self, end: &CompactRange) -> SegmentVerdict {
        let mut verdict = SegmentVerdict {
            wrong_removed: std::mem::take(&mut self.wrong_removed),
            ..SegmentVerdict::default()
        };
        let unlike = std::mem::take(&mut self.unlike);
        let unlike_records = std::mem::take(&mut self.unlike_records);
        let unlike_leaves = std::mem::take(&mut self.unlike_leaves);
        if self.lost_leaf {
            verdict.broken = Some("records are lost, and their stored hashes as well");
        } else if self.records == *end {
            verdict.wrong_slots = unlike_records;
        } else if self.leaves.take().is_some_and(|leaves| leaves == *end) {
            verdict.wrong_slots = unlike_leaves;
            verdict.wrong_records = unlike;
        } else {
            verdict.broken = Some("the records do not hash to the root of the manifest");
        }
        verdict
    }

    /// Checks what is stored of a perfect subtree whose leaves are gone.
    fn removed(&mut self, level: u8, first_leaf: u64, root: &Hash) -> Result<()> {
        let mut stack: Vec<(u8, Option<Hash>)> = Vec::new();
        for leaf in first_leaf..first_leaf.saturating_add(1 << level) {
            let mut slot = stored_index(0, leaf);
            if self.slots.get(slot)? == Slot::Missing {
                // The file ends here, whatever size of the tree somebody has claimed.
                let root_slot = stored_index(level, first_leaf >> level);
                self.wrong_removed.add_all(slot..root_slot);
                self.wrong_roots.add(root_slot);
                return Ok(());
            }
            let mut at = 0;
            let mut node = self.removed_slot(slot, (level == 0).then_some(*root), level == 0)?;
            while let Some((_, left)) = stack.pop_if(|(below, _)| *below == at) {
                at += 1;
                slot += 1;
                let computed = left.zip(node).map(|(left, right)| node_hash(&left, &right));
                let known = if at == level { Some(*root) } else { computed };
                node = self.removed_slot(slot, known, at == level)?;
                if at == level && computed.is_some_and(|computed| computed != *root) {
                    // Some node below the root is not what it was: one of its children,
                    // or what they were made of.
                    self.wrong_removed.add(stored_index(at - 1, (leaf >> (at - 1)) - 1));
                    self.wrong_removed.add(slot - 1);
                }
            }
            stack.push((at, node));
        }
        Ok(())
    }

    /// A slot of which it may be known what it must hold. Returns what it holds, so
    /// that one wrong node is not told again of all above it.
    fn removed_slot(
        &mut self,
        slot: u64,
        known: Option<Hash>,
        is_root: bool,
    ) -> Result<Option<Hash>> {
        let mut stored = self.slots.get(slot)?;
        let unlike =
            |stored: Slot| known.is_some() && stored.hash().is_some() && stored.hash() != known;
        if unlike(stored) {
            stored = self.slots.again(slot)?;
        }
        let holds = stored.hash().is_some() && stored.hash() == known;
        if is_root && !holds {
            self.wrong_roots.add(slot);
        } else if unlike(stored) || stored == Slot::Missing {
            self.wrong_removed.add(slot);
        }
        self.given_up += u64::from(stored == Slot::GivenUp);
        Ok(stored.hash())
    }
}

/// Appends a subtree and compares what it completes with what is stored.
fn push(
    range: &mut CompactRange,
    slots: &mut SlotReader<'_>,
    unlike: &mut Ranges,
    (level, root): (u8, Hash),
) -> Result<()> {
    let mut slot = stored_index(level, range.size() >> level);
    let mut outcome = Ok(());
    range.push_subtree(level, root, &mut |node| {
        outcome = std::mem::replace(&mut outcome, Ok(())).and_then(|()| {
            let holds = |found: Slot| found == Slot::Stored(node) || found == Slot::Missing;
            if !holds(slots.get(slot)?) && !holds(slots.again(slot)?) {
                unlike.add(slot);
            }
            Ok(())
        });
        slot += 1;
    });
    outcome
}

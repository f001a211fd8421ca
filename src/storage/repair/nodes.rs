//! Which records of a segment can be kept, and what stands for the others.
//!
//! The tree in front of a segment and the one behind it are known, and nothing else
//! is trusted: not a record because its checksum holds, nor a stored hash. From the
//! peaks behind it the tree is walked down:
//!
//! ```text
//!            h              known, because its parent is, or it is a peak
//!         ┌──┴──┐
//!         l     r           computed from records, or stored: whichever gives H(l, r) = h
//! ```
//!
//! A subtree whose records give its hash is kept. One of which nothing is there
//! becomes a gap with that hash. One of which something is there is walked further
//! down if its children can be had; if not, all of it becomes a gap.

use crate::error::Result;
use crate::merkle::{CompactRange, Hash, node_hash};
use std::collections::BTreeMap;

/// A subtree, by its level and its index within that.
pub(super) type Place = (u8, u64);

/// What is to become of the records of a segment, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The records up to this offset are kept.
    Keep(u64),
    /// The subtree of this level is given up, and this is its root.
    Gap(u8, Hash),
}

impl Part {
    /// The offset behind a part that begins at `start`.
    pub(super) fn end(&self, start: u64) -> u64 {
        match self {
            Self::Keep(end) => *end,
            Self::Gap(level, _) => start + (1 << level),
        }
    }
}

/// What is to become of a segment.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) parts: Vec<Part>,
    /// Whether the stored hashes are those of the parts.
    pub(super) hashes_hold: bool,
}

/// The hashes of a segment that were computed: of its records, its gaps, and what is
/// in front of it.
#[derive(Debug)]
pub(super) struct Known {
    base: u64,
    nodes: BTreeMap<Place, Hash>,
    /// The leaves that are covered by what was read.
    covered: Vec<(u64, u64)>,
}

impl Known {
    /// Of a segment that begins behind the tree `base`.
    pub(super) fn new(base: &CompactRange) -> Self {
        let size = base.size();
        let levels = (0..64_u8).rev().filter(|level| size >> level & 1 == 1);
        let nodes = levels.zip(base.peaks()).map(|(level, peak)| {
            // The peak of this level is the last node of it.
            ((level, (size >> level) - 1), *peak)
        });
        Self { base: size, nodes: nodes.collect(), covered: Vec::new() }
    }

    /// Notes what was read: a leaf, or a subtree of a gap. They come in order.
    pub(super) fn push(&mut self, level: u8, index: u64, root: Hash) {
        self.nodes.insert((level, index), root);
        let (start, end) = (index << level, (index + 1) << level);
        match self.covered.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.covered.push((start, end)),
        }
    }

    /// Computes what the nodes that were read have above them.
    fn complete(&mut self) {
        for level in 0..63_u8 {
            let row = (level, 0)..(level + 1, 0);
            let mut above = Vec::new();
            for ((_, index), left) in self.nodes.range(row) {
                if index & 1 == 1 {
                    continue;
                }
                if let Some(right) = self.nodes.get(&(level, index + 1)) {
                    above.push(((level + 1, index / 2), node_hash(left, right)));
                }
            }
            for (place, hash) in above {
                self.nodes.entry(place).or_insert(hash);
            }
        }
    }

    /// Whether something between the leaves was read, and whether all was.
    fn coverage(&self, start: u64, end: u64) -> (bool, bool) {
        let start = start.max(self.base);
        let first = self.covered.partition_point(|(_, to)| *to <= start);
        match self.covered.get(first) {
            Some((from, to)) => (*from < end, *from <= start && end <= *to),
            None => (false, false),
        }
    }

    /// Walks down from the tree behind the segment. `None` if a subtree that is to
    /// be given up begins in front of it.
    pub(super) fn plan(
        mut self,
        behind: &CompactRange,
        stored: &mut dyn FnMut(Place) -> Result<Option<Hash>>,
    ) -> Result<Option<Plan>> {
        self.complete();
        let mut parts = Vec::new();
        let size = behind.size();
        let levels = (0..64_u8).rev().filter(|level| size >> level & 1 == 1);
        for (level, peak) in levels.zip(behind.peaks()) {
            let index = (size >> level) - 1;
            if (index + 1) << level <= self.base {
                continue;
            }
            if !self.descend((level, index), *peak, stored, &mut parts)? {
                return Ok(None);
            }
        }
        let hashes_hold = self.are_stored(&parts, stored)?;
        Ok(Some(Plan { parts, hashes_hold }))
    }

    fn descend(
        &self,
        place: Place,
        hash: Hash,
        stored: &mut dyn FnMut(Place) -> Result<Option<Hash>>,
        parts: &mut Vec<Part>,
    ) -> Result<bool> {
        let (level, index) = place;
        let (start, end) = (index << level, (index + 1) << level);
        if end <= self.base {
            return Ok(true);
        }
        let (some, all) = self.coverage(start, end);
        if all && self.nodes.get(&place) == Some(&hash) {
            parts.push(Part::Keep(end));
            return Ok(true);
        }
        let inside = start >= self.base;
        if (level == 0 || !some) && inside {
            parts.push(Part::Gap(level, hash));
            return Ok(true);
        }
        if let Some(below) = level.checked_sub(1) {
            let [left, right] = [(below, index * 2), (below, index * 2 + 1)];
            if let Some((left_hash, right_hash)) = self.children(left, right, hash, stored)? {
                return Ok(self.descend(left, left_hash, stored, parts)?
                    && self.descend(right, right_hash, stored, parts)?);
            }
        }
        parts.push(Part::Gap(level, hash));
        Ok(inside)
    }

    /// The hashes of two siblings whose parent is known.
    fn children(
        &self,
        left: Place,
        right: Place,
        parent: Hash,
        stored: &mut dyn FnMut(Place) -> Result<Option<Hash>>,
    ) -> Result<Option<(Hash, Hash)>> {
        let lefts = [self.nodes.get(&left).copied(), stored(left)?];
        let rights = [self.nodes.get(&right).copied(), stored(right)?];
        for left in lefts.into_iter().flatten() {
            for right in rights.into_iter().flatten() {
                if node_hash(&left, &right) == parent {
                    return Ok(Some((left, right)));
                }
            }
        }
        Ok(None)
    }

    /// Whether the stored hashes are those of the parts.
    fn are_stored(
        &self,
        parts: &[Part],
        stored: &mut dyn FnMut(Place) -> Result<Option<Hash>>,
    ) -> Result<bool> {
        let mut start = self.base;
        for part in parts {
            let end = part.end(start);
            let holds = match part {
                Part::Keep(_) => self.range_is_stored(start, end, stored)?,
                Part::Gap(level, root) => stored((*level, start >> level))? == Some(*root),
            };
            if !holds {
                return Ok(false);
            }
            start = end;
        }
        Ok(true)
    }

    fn range_is_stored(
        &self,
        start: u64,
        end: u64,
        stored: &mut dyn FnMut(Place) -> Result<Option<Hash>>,
    ) -> Result<bool> {
        // Those whose last leaf is in it: they were stored when it was appended.
        for level in 0..64_u8 {
            let (first, behind) = (start >> level, end >> level);
            for (place, hash) in self.nodes.range((level, first)..(level, behind)) {
                if stored(*place)? != Some(*hash) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

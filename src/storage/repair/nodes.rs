//! Which records of a segment can be kept, and what stands for the others.
//!
//! The tree in front of a segment and the one behind it are known, and nothing else
//! is trusted: not a record because its checksum holds, nor a stored hash. From the
//! peaks behind it the tree is walked down:
//!
//! ```text
//!            h              known, because its parent is, or it is a peak
//!         ┌──┴──┐
//!         l     r           computed, or stored: whichever gives H(l, r) = h
//! ```
//!
//! Where a stored node is wrong, the nodes below it may still give it, down to the
//! stored leaf of a lost record: each node has a few candidates, and the known one
//! above decides.
//!
//! A subtree whose records give its hash is kept. One of which nothing is there
//! becomes a gap with that hash. One of which something is there is walked further
//! down if its children can be had; if not, all of it becomes a gap.

use crate::error::Result;
use crate::merkle::{CompactRange, Hash, node_hash};
use std::collections::BTreeMap;

/// A subtree, by its level and its index within that.
pub(super) type Place = (u8, u64);

/// What tells a node as it is stored, true or not.
pub(super) type Stored<'a> = dyn FnMut(Place) -> Result<Option<Hash>> + 'a;

/// How many hashes are tried for one node. A wrong node adds one to those above it,
/// as long as none of them is found to be stored.
const CANDIDATES_MAX: usize = 32;

/// The roots of a tree's perfect subtrees, with their places.
pub(super) fn peaks(range: &CompactRange) -> impl Iterator<Item = (Place, Hash)> {
    let size = range.size();
    let levels = (0..64_u8).rev().filter(move |level| size >> level & 1 == 1);
    // The peak of a level is the last node of it.
    levels.zip(range.peaks()).map(move |(level, peak)| ((level, (size >> level) - 1), *peak))
}

/// The leaves of a subtree.
fn leaves((level, index): Place) -> (u64, u64) {
    (index << level, (index + 1) << level)
}

/// The two halves of a subtree; `None` for a leaf.
fn halves((level, index): Place) -> Option<(Place, Place)> {
    let below = level.checked_sub(1)?;
    Some(((below, index * 2), (below, index * 2 + 1)))
}

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
        Self { base: base.size(), nodes: peaks(base).collect(), covered: Vec::new() }
    }

    /// Notes what was read: a leaf, or a subtree of a gap. They come in order.
    pub(super) fn push(&mut self, level: u8, index: u64, root: Hash) {
        self.nodes.insert((level, index), root);
        let (start, end) = leaves((level, index));
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
        stored: &mut Stored<'_>,
    ) -> Result<Option<Plan>> {
        self.complete();
        let plan = Plan { parts: Vec::new(), hashes_hold: true };
        let mut descent = Descent { known: &self, stored, plan };
        for (place, peak) in peaks(behind) {
            if !descent.descend(place, peak)? {
                return Ok(None);
            }
        }
        Ok(Some(descent.plan))
    }
}

/// The way down from nodes that are known to what becomes of the records.
struct Descent<'a, 's> {
    known: &'a Known,
    stored: &'a mut Stored<'s>,
    plan: Plan,
}

impl Descent<'_, '_> {
    /// Plans a subtree whose root is known to be `hash`. Says whether it can be given
    /// up as far as it is, rather than with something in front of the segment.
    fn descend(&mut self, place: Place, hash: Hash) -> Result<bool> {
        let (start, end) = leaves(place);
        if end <= self.known.base {
            return Ok(true);
        }
        self.compare(place, hash)?;
        let (some, all) = self.known.coverage(start, end);
        if all && self.known.nodes.get(&place) == Some(&hash) {
            self.compare_below(place)?;
            self.plan.parts.push(Part::Keep(end));
            return Ok(true);
        }
        let inside = start >= self.known.base;
        let halves = halves(place).filter(|_| some || !inside);
        if let Some((left, right)) = halves
            && let Some((left_hash, right_hash)) = self.children(left, right, hash)?
        {
            return Ok(self.descend(left, left_hash)? && self.descend(right, right_hash)?);
        }
        self.plan.parts.push(Part::Gap(place.0, hash));
        Ok(inside)
    }

    /// The hashes of two siblings whose parent is known. What lies below them is asked
    /// only if they themselves do not give it.
    fn children(
        &mut self,
        left: Place,
        right: Place,
        parent: Hash,
    ) -> Result<Option<(Hash, Hash)>> {
        let found = self.pair(left, right, parent, false)?;
        if found.is_some() { Ok(found) } else { self.pair(left, right, parent, true) }
    }

    /// Those candidates of two siblings that give their parent.
    fn pair(
        &mut self,
        left: Place,
        right: Place,
        parent: Hash,
        deep: bool,
    ) -> Result<Option<(Hash, Hash)>> {
        let rights = self.candidates(right, deep)?;
        for left in self.candidates(left, deep)? {
            let is_sibling = |right: &&Hash| node_hash(&left, right) == parent;
            if let Some(right) = rights.iter().find(is_sibling) {
                return Ok(Some((left, *right)));
            }
        }
        Ok(None)
    }

    /// What a node may be: as it was computed, as it is stored, and, if that is not the
    /// same and it is looked at `deep`, what the candidates of its halves give.
    fn candidates(&mut self, place: Place, deep: bool) -> Result<Vec<Hash>> {
        let computed = self.known.nodes.get(&place).copied();
        if leaves(place).1 <= self.known.base {
            // A peak in front of the segment, which is known.
            return Ok(computed.into_iter().collect());
        }
        let stored = (self.stored)(place)?;
        let mut candidates: Vec<Hash> = computed.into_iter().chain(stored).collect();
        candidates.dedup();
        let is_doubtful = computed.is_none() || computed != stored;
        let Some((left, right)) = halves(place).filter(|_| deep && is_doubtful) else {
            return Ok(candidates);
        };
        // Where what is stored agrees with what is below it, no more has to be guessed.
        if let Some(stored) = stored
            && self.pair(left, right, stored, false)?.is_some()
        {
            return Ok(candidates);
        }
        let lefts = self.candidates(left, true)?;
        let rights = self.candidates(right, true)?;
        let direct = candidates.len();
        let pairs = lefts.iter().flat_map(|left| rights.iter().map(move |right| (left, right)));
        for (left, right) in pairs {
            let made = node_hash(left, right);
            if stored == Some(made) {
                candidates.truncate(direct);
                break;
            }
            if candidates.len() == CANDIDATES_MAX {
                break;
            }
            if !candidates.contains(&made) {
                candidates.push(made);
            }
        }
        Ok(candidates)
    }

    /// Notes whether a node that is known is stored.
    fn compare(&mut self, place: Place, hash: Hash) -> Result<()> {
        if self.plan.hashes_hold {
            self.plan.hashes_hold = (self.stored)(place)? == Some(hash);
        }
        Ok(())
    }

    /// Notes whether all nodes below one that is kept are stored.
    fn compare_below(&mut self, place: Place) -> Result<()> {
        let known = self.known;
        let (start, end) = leaves(place);
        for level in 0..place.0 {
            let row = (level, start >> level)..(level, end >> level);
            for (place, hash) in known.nodes.range(row) {
                self.compare(*place, *hash)?;
            }
        }
        Ok(())
    }
}

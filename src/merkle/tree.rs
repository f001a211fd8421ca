//! The shape of the tree: where nodes are stored, which ones a path passes, and the compact range.

use std::error::Error;
use std::fmt;

use super::hash::{Hash, empty_root, node_hash};

/// The largest number of leaves a tree may have: 2⁴⁸, which takes about 16 PiB of stored hashes.
///
/// The bound leaves room to multiply: neither a position nor its offset in bytes can overflow.
pub const MAX_LEAVES: u64 = 1 << 48;

// The promise in the documentation of `MAX_LEAVES`: even the offset in bytes is far from overflow.
const _: () = assert!(MAX_LEAVES.checked_mul(2 * Hash::SIZE as u64).is_some());

/// How many levels a tree can have whose size is a `u64`.
const LEVELS: u8 = 64;

/// The number of hashes stored for a tree of `leaves` leaves: the leaves and all perfect nodes
/// above them.
///
/// Each leaf is the last one of as many perfect nodes as its number has trailing one bits, which
/// sums up to `leaves - leaves.count_ones()`. Saturates at `u64::MAX`, which only sizes far above
/// [`MAX_LEAVES`] reach.
pub fn stored_count(leaves: u64) -> u64 {
    let inner_nodes = leaves - u64::from(leaves.count_ones());
    leaves.saturating_add(inner_nodes)
}

/// The position of node `(level, index)` in the stored order, from 0.
///
/// A node follows the last leaf that it covers and that leaf's lower nodes, one a level; the leaf
/// follows all that is stored for the leaves to its left. Saturates at `u64::MAX` for nodes far
/// outside any tree of up to [`MAX_LEAVES`], so a store of such a tree never has that position.
pub fn stored_index(level: u8, index: u64) -> u64 {
    let level = u32::from(level);
    if index.leading_zeros() < level || level >= u64::BITS {
        return u64::MAX;
    }
    let covered_before = index << level;
    let last_leaf = covered_before | ((1 << level) - 1);
    stored_count(last_leaf).saturating_add(u64::from(level))
}

/// A tree reduced to the roots of its perfect subtrees, which is all that appending needs.
///
/// A tree of `size` leaves has one perfect subtree for each one bit of `size`; its root is a *peak*.
/// The peaks stand left to right, so from the largest subtree to the smallest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    peaks: Vec<Hash>,
}

impl CompactRange {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a range back together from what [`size`](Self::size) and [`peaks`](Self::peaks) gave.
    ///
    /// The hashes themselves can't be checked here; compare [`root`](Self::root) with a root that is
    /// trusted.
    ///
    /// # Errors
    ///
    /// [`CompactRangeError`] if no tree of `size` leaves has that number of peaks, or if `size` is
    /// above [`MAX_LEAVES`].
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Result<Self, CompactRangeError> {
        if size > MAX_LEAVES {
            return Err(CompactRangeError::TooManyLeaves { size });
        }
        let expected = peak_count(size);
        if peaks.len() != expected {
            return Err(CompactRangeError::PeakCount { size, expected, found: peaks.len() });
        }
        Ok(Self { size, peaks })
    }

    /// The range of a tree of `size` leaves, each peak got from `read`.
    pub(super) fn try_from_peaks<E>(
        size: u64,
        read: impl FnMut(Node) -> Result<Hash, E>,
    ) -> Result<Self, E> {
        let mut peaks = peaks(size).map(read).collect::<Result<Vec<_>, _>>()?;
        peaks.reverse();
        Ok(Self { size, peaks })
    }

    /// Appends a leaf, and hands `emit` the leaf and then each node it completes, lowest first.
    ///
    /// Writing down what is emitted, call after call, gives the stored order; the first hash of a
    /// call belongs at [`stored_count`] of the size before it. The caller keeps the size within
    /// [`MAX_LEAVES`].
    pub fn push(&mut self, leaf_hash: Hash, emit: &mut impl FnMut(Hash)) {
        self.push_subtree(0, leaf_hash, emit);
    }

    /// Appends a perfect subtree of 2^`level` leaves by its root, and hands `emit` the root and then
    /// each node it completes, lowest first.
    ///
    /// The first hash belongs at [`stored_index`] of that root, the others follow it. The caller sees
    /// to it that the size before is a multiple of 2^`level`, and stays within [`MAX_LEAVES`].
    pub fn push_subtree(&mut self, level: u8, root: Hash, emit: &mut impl FnMut(Hash)) {
        emit(root);
        let mut node = root;
        // Each trailing one bit of the size is a subtree as large as the one that just grew: the two
        // merge, as a carry runs through an addition.
        for _ in 0..(self.size >> level).trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            emit(node);
        }
        self.peaks.push(node);
        self.size += 1 << level;
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, left to right.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root of the tree (RFC 9162, section 2.1.1, `MTH(D_n)`).
    ///
    /// The RFC splits a tree at the largest power of two below its size, so everything right of a
    /// peak is that peak's sibling: the fold runs from the right.
    pub fn root(&self) -> Hash {
        let joined = |right, left: &Hash| Some(join_peak(*left, right));
        let root = self.peaks.iter().rev().fold(None, joined);
        root.unwrap_or_else(empty_root)
    }
}

/// Why a size and a list of peaks are not a [`CompactRange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompactRangeError {
    /// The size is above [`MAX_LEAVES`].
    TooManyLeaves {
        /// The refused size.
        size: u64,
    },
    /// The number of peaks doesn't fit the size.
    PeakCount {
        /// The size in leaves.
        size: u64,
        /// The number of peaks that a tree of this size has.
        expected: usize,
        /// The number of peaks given.
        found: usize,
    },
}

impl fmt::Display for CompactRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyLeaves { size } => {
                write!(f, "a tree of {size} leaves is above the limit of {MAX_LEAVES}")
            }
            Self::PeakCount { size, expected, found } => {
                write!(f, "a tree of {size} leaves has {expected} peaks, not {found}")
            }
        }
    }
}

impl Error for CompactRangeError {}

/// The number of perfect subtrees that a tree of `size` leaves falls into.
fn peak_count(size: u64) -> usize {
    // At most 64, so the conversion loses nothing on any platform.
    size.count_ones() as usize
}

/// The root over a peak and what stands to its right, if anything does.
pub(super) fn join_peak(peak: Hash, right: Option<Hash>) -> Hash {
    match right {
        Some(right) => node_hash(&peak, &right),
        None => peak,
    }
}

/// The address of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// The level, counted from the leaves.
    pub(super) level: u8,
    /// The index within the level.
    pub(super) index: u64,
}

/// The peaks of a tree of `size` leaves that stand below `level`, right to left.
///
/// Together they cover the last `size mod 2^level` leaves: what the node at the right edge of that
/// level covers, when it isn't perfect.
pub(super) fn peaks_below(level: u8, size: u64) -> impl Iterator<Item = Node> {
    (0..level.min(LEVELS)).filter(move |&level| size >> level & 1 == 1).map(move |level| Node {
        level,
        // A one bit at `level` leaves at least one whole subtree there; this is the last one.
        index: (size >> level) - 1,
    })
}

/// All peaks of a tree of `size` leaves, right to left.
fn peaks(size: u64) -> impl Iterator<Item = Node> {
    peaks_below(LEVELS, size)
}

/// The side of their parent on which a sibling stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The sibling is the left child, so it is hashed before the path's own node.
    Left,
    /// The sibling is the right child, so it is hashed after the path's own node.
    Right,
}

/// The siblings on the way from a node up to the root of a tree, lowest first.
///
/// Prover and verifier both walk it, so they can't disagree about the shape. It is the loop of RFC
/// 9162, section 2.1.3.2, whose `fn` and `sn` are `index` and `last` here: the node that the path
/// passes and the rightmost node of the same level.
#[derive(Debug, Clone)]
pub(super) struct Climb {
    level: u8,
    index: u64,
    last: u64,
}

impl Climb {
    /// The way up from `node` in a tree of `size` leaves; `None` if the node is not in that tree.
    pub(super) fn from_node(node: Node, size: u64) -> Option<Self> {
        let Node { level, index } = node;
        let last = size.checked_sub(1)?.checked_shr(u32::from(level))?;
        (index <= last).then_some(Self { level, index, last })
    }
}

impl Iterator for Climb {
    type Item = (Node, Side);

    fn next(&mut self) -> Option<Self::Item> {
        // At `last == 0` the level has a single node, which is the root.
        while self.last > 0 {
            let Self { level, index, last } = *self;
            *self = Self { level: level + 1, index: index >> 1, last: last >> 1 };
            // A left child at the right edge has no sibling, and is its own parent.
            let sibling = index ^ 1;
            if sibling <= last {
                let side = if sibling < index { Side::Left } else { Side::Right };
                return Some((Node { level, index: sibling }, side));
            }
        }
        None
    }
}

/// Where a consistency path starts, and the way up from there; `None` if `old_size` leaves are no
/// prefix of `new_size` leaves about which anything can be proved.
///
/// The recursion of RFC 9162, section 2.1.4.1, ends at the largest subtree of the new tree that ends
/// where the old tree ends. As long as the new tree is the larger one, that is the old tree's last
/// peak. It is the whole old tree if `old_size` is a power of two, and then the path leaves it out.
pub(super) fn consistency_climb(old_size: u64, new_size: u64) -> Option<(Node, Climb)> {
    if old_size > new_size {
        return None;
    }
    let start = peaks(old_size).next()?;
    Some((start, Climb::from_node(start, new_size)?))
}

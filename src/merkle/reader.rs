//! Roots and paths of any past size, made from stored nodes.

use std::error::Error;
use std::fmt;

use super::hash::{Hash, empty_root};
use super::tree::{
    Climb, CompactRange, MAX_LEAVES, Node, consistency_climb, join_peak, peaks_below,
};

/// Where the nodes of a tree are looked up.
///
/// Only perfect nodes are asked for: `(level, index)` with `index < size >> level`, `size` being the
/// size that the function at hand was given. [`stored_index`](super::stored_index) says where such a
/// node stands in the stored order.
pub trait NodeReader {
    /// What a failed look-up gives.
    type Error;

    /// The hash of the node that covers the leaves `index << level` up to, but not including,
    /// `(index + 1) << level`; level 0 is the leaves.
    ///
    /// # Errors
    ///
    /// Whatever keeps the node from being read; the functions of this module pass it on.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<R: NodeReader + ?Sized> NodeReader for &R {
    type Error = R::Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        (**self).node(level, index)
    }
}

/// The compact range of the tree's first `size` leaves, with one read for each peak.
///
/// # Errors
///
/// [`ReadTreeError::TooManyLeaves`] above [`MAX_LEAVES`], and any error of the reader.
pub fn range_at<R>(reader: &R, size: u64) -> Result<CompactRange, ReadTreeError<R::Error>>
where
    R: NodeReader + ?Sized,
{
    check_size(size)?;
    CompactRange::try_from_peaks(size, |peak| read(reader, peak))
}

/// The root of the tree's first `size` leaves (RFC 9162, section 2.1.1, `MTH(D_n)`).
///
/// # Errors
///
/// [`ReadTreeError::TooManyLeaves`] above [`MAX_LEAVES`], and any error of the reader.
pub fn root_at<R>(reader: &R, size: u64) -> Result<Hash, ReadTreeError<R::Error>>
where
    R: NodeReader + ?Sized,
{
    range_at(reader, size).map(|range| range.root())
}

/// The path from leaf `index` to the root of the tree's first `size` leaves (RFC 9162, section
/// 2.1.3.1, `PATH(m, D_n)`).
///
/// # Errors
///
/// [`ReadTreeError::LeafNotInTree`] if `index` is not below `size`,
/// [`ReadTreeError::TooManyLeaves`] above [`MAX_LEAVES`], and any error of the reader.
pub fn inclusion_path<R>(
    reader: &R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ReadTreeError<R::Error>>
where
    R: NodeReader + ?Sized,
{
    check_size(size)?;
    let leaf = Node { level: 0, index };
    let climb = Climb::from_node(leaf, size).ok_or(ReadTreeError::LeafNotInTree { index, size })?;
    let mut path = Vec::with_capacity(climb.clone().count());
    append_siblings(reader, climb, size, &mut path)?;
    Ok(path)
}

/// The path which shows that the tree's first `old_size` leaves are a prefix of its first `new_size`
/// leaves (RFC 9162, section 2.1.4.1, `PROOF(m, D_n)`). Empty if the sizes are equal.
///
/// # Errors
///
/// [`ReadTreeError::NotAPrefix`] if `old_size` is 0, from where there is nothing to prove, or above
/// `new_size`; [`ReadTreeError::TooManyLeaves`] above [`MAX_LEAVES`]; and any error of the reader.
pub fn consistency_path<R>(
    reader: &R,
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Hash>, ReadTreeError<R::Error>>
where
    R: NodeReader + ?Sized,
{
    check_size(new_size)?;
    let (start, climb) = consistency_climb(old_size, new_size)
        .ok_or(ReadTreeError::NotAPrefix { old_size, new_size })?;
    if old_size == new_size {
        return Ok(Vec::new());
    }
    let mut path = Vec::with_capacity(1 + climb.clone().count());
    // The verifier knows the start only if it is the whole old tree.
    if !old_size.is_power_of_two() {
        path.push(read(reader, start)?);
    }
    append_siblings(reader, climb, new_size, &mut path)?;
    Ok(path)
}

/// Why a tree could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadTreeError<E> {
    /// The size is above [`MAX_LEAVES`].
    TooManyLeaves {
        /// The refused size.
        size: u64,
    },
    /// The tree has no leaf of that index.
    LeafNotInTree {
        /// The index asked for.
        index: u64,
        /// The size in leaves.
        size: u64,
    },
    /// The old size is 0 or above the new one.
    NotAPrefix {
        /// The size claimed for the prefix.
        old_size: u64,
        /// The size of the tree.
        new_size: u64,
    },
    /// The reader failed.
    Node(E),
}

impl<E: fmt::Display> fmt::Display for ReadTreeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyLeaves { size } => {
                write!(f, "a tree of {size} leaves is above the limit of {MAX_LEAVES}")
            }
            Self::LeafNotInTree { index, size } => {
                write!(f, "leaf {index} is not in a tree of {size} leaves")
            }
            Self::NotAPrefix { old_size, new_size } => {
                write!(f, "{old_size} leaves are not a provable prefix of {new_size}")
            }
            Self::Node(error) => write!(f, "a stored hash can't be read: {error}"),
        }
    }
}

impl<E: Error + 'static> Error for ReadTreeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Node(error) => Some(error),
            _ => None,
        }
    }
}

/// Refuses sizes that no tree has, before anything is read for them.
fn check_size<E>(size: u64) -> Result<(), ReadTreeError<E>> {
    if size > MAX_LEAVES {
        return Err(ReadTreeError::TooManyLeaves { size });
    }
    Ok(())
}

/// Reads a perfect node.
fn read<R>(reader: &R, node: Node) -> Result<Hash, ReadTreeError<R::Error>>
where
    R: NodeReader + ?Sized,
{
    reader.node(node.level, node.index).map_err(ReadTreeError::Node)
}

/// Appends to `path` the hash of every sibling that `climb` meets in a tree of `size` leaves.
fn append_siblings<R>(
    reader: &R,
    climb: Climb,
    size: u64,
    path: &mut Vec<Hash>,
) -> Result<(), ReadTreeError<R::Error>>
where
    R: NodeReader + ?Sized,
{
    for (sibling, _) in climb {
        let is_perfect = sibling.index < size >> sibling.level;
        path.push(if is_perfect {
            read(reader, sibling)?
        } else {
            read_right_edge(reader, sibling.level, size)?
        });
    }
    Ok(())
}

/// The hash of the last node of a level which isn't perfect, so isn't stored: the root over the
/// leaves that are there.
///
/// A climb meets at most one such sibling, since from there on it follows the right edge itself;
/// that keeps the reads for a path below twice the height of the tree.
fn read_right_edge<R>(reader: &R, level: u8, size: u64) -> Result<Hash, ReadTreeError<R::Error>>
where
    R: NodeReader + ?Sized,
{
    let mut root = None;
    for peak in peaks_below(level, size) {
        root = Some(join_peak(read(reader, peak)?, root));
    }
    Ok(root.unwrap_or_else(empty_root))
}

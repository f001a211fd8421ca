//! The Merkle tree of RFC 9162 over the records of one partition.
//!
//! Everything here is a pure function: of hashes, or of a [`NodeReader`] that looks them up. There
//! is no I/O, so the same code serves the log on disk, a rebuilt index, and a stranger who holds
//! nothing but a proof.
//!
//! # The tree
//!
//! A leaf is `SHA-256(0x00 ‖ record hash)` and an inner node is `SHA-256(0x01 ‖ left ‖ right)`
//! (RFC 9162, section 2.1.1). A node is addressed by its level, counted from the leaves, and its
//! index within that level: node `(level, index)` covers the leaves `index << level` up to, but not
//! including, `(index + 1) << level`. Only a *perfect* node, one whose leaves all exist, is ever
//! stored, because it never changes again.
//!
//! # The stored order
//!
//! Nodes are stored in the order in which appending completes them: each leaf, then the inner nodes
//! that this leaf was the last one missing from, lowest first. This is the layout of the
//! transparent log paper (<https://research.swtch.com/tlog>), and it needs no rewriting: appending
//! to a tree appends to the store. For seven leaves, `L` being the level and `P` the position:
//!
//! ```text
//!   L2                6
//!               ┌─────┴─────┐
//!   L1          2           5           9
//!            ┌──┴──┐     ┌──┴──┐     ┌──┴──┐
//!   L0       0     1     3     4     7     8    10
//!   leaf     0     1     2     3     4     5     6
//!
//!   P      0     1     2     3     4     5     6     7     8     9     10
//!   node (0,0) (0,1) (1,0) (0,2) (0,3) (1,1) (2,0) (0,4) (0,5) (1,2) (0,6)
//! ```
//!
//! The compact range of that tree is the nodes at positions 6, 9 and 10: `4 + 2 + 1` leaves. The
//! root is folded from those, from the right, and is itself stored only when the size is a power of
//! two. [`stored_index`] maps a node to its position, [`stored_count`] is the number of positions.
//!
//! # What a proof does and does not say
//!
//! An RFC 9162 root does not commit to the number of leaves below it. [`Proof`] and
//! [`ConsistencyProof`] therefore prove what they say *for the size they name*; a few other sizes
//! give a path of the very same shape and would verify as well. Whoever trusts a root should trust
//! it together with its size, as one pair, and compare both.

mod encoding;
mod hash;
mod proof;
mod reader;
mod subtrees;
mod tree;

pub use encoding::DecodeProofError;
pub use hash::{Hash, ParseHashError, empty_root, leaf_hash, leaf_hash_of, node_hash};
pub use proof::{ConsistencyProof, Proof, Siblings, verify_consistency, verify_inclusion};
pub use reader::{NodeReader, ReadTreeError, consistency_path, inclusion_path, range_at, root_at};
pub(crate) use subtrees::{SubtreeRoots, subtree_levels};
pub use tree::{CompactRange, CompactRangeError, MAX_LEAVES, stored_count, stored_index};

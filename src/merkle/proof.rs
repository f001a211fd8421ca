//! Proofs that stand on their own: they are checked without the log.

use super::encoding::{self, DecodeProofError, Fields, Kind};
use super::hash::{Hash, leaf_hash, node_hash};
use super::tree::{Climb, Node, Side, consistency_climb};

/// A proof that a leaf is in a tree (RFC 9162, section 2.1.3).
///
/// The root does not commit to the number of leaves. [`Siblings::tree_size`] is thus as trustworthy
/// as the place the root came from: compare it with the size that the trusted root was published
/// with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The Merkle leaf hash: `SHA-256(0x00 ‖ record hash)`.
    pub leaf_hash: Hash,
    /// Where the leaf stands, and the hashes that lead from it to the root.
    pub siblings: Siblings,
    /// The root of the tree.
    pub root: Hash,
}

impl Proof {
    /// Whether the path leads from the leaf to the root (RFC 9162, section 2.1.3.2).
    ///
    /// Both are the proof's own, so this says that the proof is sound in itself, not what it is
    /// about: see [`proves`](Self::proves).
    #[must_use = "a proof is worth nothing until the answer is looked at"]
    pub fn is_valid(&self) -> bool {
        let Siblings { leaf_index, tree_size, path } = &self.siblings;
        verify_inclusion(&self.leaf_hash, *leaf_index, *tree_size, path, &self.root)
    }

    /// Whether this proves that the record with the hash `record_hash` is in the tree with the root
    /// `root`.
    ///
    /// Take `root` from where it is trusted and `record_hash` from the record at hand; nothing else
    /// is needed.
    #[must_use = "a proof is worth nothing until the answer is looked at"]
    pub fn proves(&self, record_hash: &Hash, root: &Hash) -> bool {
        self.root == *root && self.leaf_hash == leaf_hash(record_hash) && self.is_valid()
    }

    /// The proof as bytes, to be given to someone without the log.
    ///
    /// All numbers are little-endian. A path that is too long to be part of any valid proof is not
    /// written, and the bytes then don't decode.
    ///
    /// | offset | bytes  | content                          |
    /// |-------:|-------:|----------------------------------|
    /// |      0 |      1 | version: 1                       |
    /// |      1 |      1 | kind: 1, a proof of inclusion    |
    /// |      2 |      8 | leaf index                       |
    /// |     10 |      8 | tree size                        |
    /// |     18 |     32 | leaf hash                        |
    /// |     50 |     32 | root                             |
    /// |     82 |      1 | number of hashes in the path, n  |
    /// |     83 | 32 × n | the path, from the leaf upwards  |
    pub fn to_bytes(&self) -> Vec<u8> {
        encoding::encode(&Fields {
            kind: Kind::Inclusion,
            numbers: [self.siblings.leaf_index, self.siblings.tree_size],
            hashes: [self.leaf_hash, self.root],
            path: &self.siblings.path,
        })
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. The proof may still be false.
    ///
    /// # Errors
    ///
    /// [`DecodeProofError`] if `bytes` are anything but one whole proof of inclusion.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        let Fields { numbers: [leaf_index, tree_size], hashes: [leaf_hash, root], path, .. } =
            encoding::decode(Kind::Inclusion, bytes)?;
        let siblings = Siblings { leaf_index, tree_size, path };
        Ok(Self { leaf_hash, siblings, root })
    }
}

/// The place of a leaf in a tree, and the hashes beside the way from it to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Siblings {
    /// The index of the leaf, from 0.
    pub leaf_index: u64,
    /// The number of leaves of the tree.
    pub tree_size: u64,
    /// The sibling hashes, from the leaf upwards (RFC 9162, section 2.1.3.1, `PATH(m, D_n)`).
    pub path: Vec<Hash>,
}

impl Siblings {
    /// The number of hashes in the path.
    pub fn len(&self) -> usize {
        self.path.len()
    }

    /// Whether the path holds no hash, as in a tree with a single leaf.
    pub fn is_empty(&self) -> bool {
        self.path.is_empty()
    }

    /// The hashes of the path, from the leaf upwards.
    pub fn iter(&self) -> std::slice::Iter<'_, Hash> {
        self.path.iter()
    }
}

impl<'a> IntoIterator for &'a Siblings {
    type Item = &'a Hash;
    type IntoIter = std::slice::Iter<'a, Hash>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A proof that one tree is a prefix of another: that nothing was changed or removed between the two
/// roots, only appended (RFC 9162, section 2.1.4).
///
/// The roots do not commit to the sizes: see [`Proof`] for what follows from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The number of leaves of the earlier tree. Nothing can be proved from 0.
    pub old_size: u64,
    /// The number of leaves of the later tree.
    pub new_size: u64,
    /// The root of the earlier tree.
    pub old_root: Hash,
    /// The root of the later tree.
    pub new_root: Hash,
    /// The hashes from which both roots follow (RFC 9162, section 2.1.4.1, `PROOF(m, D_n)`).
    pub path: Vec<Hash>,
}

impl ConsistencyProof {
    /// Whether both roots follow from the path (RFC 9162, section 2.1.4.2).
    ///
    /// Both are the proof's own: see [`proves`](Self::proves).
    #[must_use = "a proof is worth nothing until the answer is looked at"]
    pub fn is_valid(&self) -> bool {
        verify_consistency(self.old_size, self.new_size, &self.old_root, &self.new_root, &self.path)
    }

    /// Whether this proves that the tree with the root `old_root` is a prefix of the one with the
    /// root `new_root`. Take both from where they are trusted.
    #[must_use = "a proof is worth nothing until the answer is looked at"]
    pub fn proves(&self, old_root: &Hash, new_root: &Hash) -> bool {
        self.old_root == *old_root && self.new_root == *new_root && self.is_valid()
    }

    /// The proof as bytes, to be given to someone without the log.
    ///
    /// All numbers are little-endian. A path that is too long to be part of any valid proof is not
    /// written, and the bytes then don't decode.
    ///
    /// | offset | bytes  | content                          |
    /// |-------:|-------:|----------------------------------|
    /// |      0 |      1 | version: 1                       |
    /// |      1 |      1 | kind: 2, a proof of consistency  |
    /// |      2 |      8 | old size                         |
    /// |     10 |      8 | new size                         |
    /// |     18 |     32 | old root                         |
    /// |     50 |     32 | new root                         |
    /// |     82 |      1 | number of hashes in the path, n  |
    /// |     83 | 32 × n | the path, in the RFC's order     |
    pub fn to_bytes(&self) -> Vec<u8> {
        encoding::encode(&Fields {
            kind: Kind::Consistency,
            numbers: [self.old_size, self.new_size],
            hashes: [self.old_root, self.new_root],
            path: &self.path,
        })
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. The proof may still be false.
    ///
    /// # Errors
    ///
    /// [`DecodeProofError`] if `bytes` are anything but one whole proof of consistency.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        let Fields { numbers: [old_size, new_size], hashes: [old_root, new_root], path, .. } =
            encoding::decode(Kind::Consistency, bytes)?;
        Ok(Self { old_size, new_size, old_root, new_root, path })
    }
}

/// Whether `path` leads from the leaf at `index` to the root of a tree of `size` leaves (RFC 9162,
/// section 2.1.3.2).
#[must_use = "a proof is worth nothing until the answer is looked at"]
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> bool {
    let Some(climb) = Climb::from_node(Node { level: 0, index }, size) else {
        return false;
    };
    let mut path = path.iter();
    let mut node = *leaf_hash;
    for (_, side) in climb {
        let Some(sibling) = path.next() else {
            return false;
        };
        node = parent_of(&node, sibling, side);
    }
    path.next().is_none() && node == *root
}

/// Whether `path` shows that the tree of `old_size` leaves with the root `old_root` is a prefix of
/// the tree of `new_size` leaves with the root `new_root` (RFC 9162, section 2.1.4.2).
///
/// Every tree begins with the empty one, so a proof from size 0 would say nothing; it is refused,
/// lest it be taken for more.
#[must_use = "a proof is worth nothing until the answer is looked at"]
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    path: &[Hash],
) -> bool {
    let Some((_, climb)) = consistency_climb(old_size, new_size) else {
        return false;
    };
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    let mut path = path.iter();
    let start = if old_size.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(start) = start else {
        return false;
    };
    // What stands to the left belongs to both trees, what stands to the right to the new one alone.
    let (mut old, mut new) = (*start, *start);
    for (_, side) in climb {
        let Some(sibling) = path.next() else {
            return false;
        };
        if side == Side::Left {
            old = parent_of(&old, sibling, side);
        }
        new = parent_of(&new, sibling, side);
    }
    path.next().is_none() && old == *old_root && new == *new_root
}

/// The parent of a node and its sibling.
fn parent_of(node: &Hash, sibling: &Hash, side: Side) -> Hash {
    match side {
        Side::Left => node_hash(sibling, node),
        Side::Right => node_hash(node, sibling),
    }
}

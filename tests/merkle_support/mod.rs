//! What the Merkle tests share: a tree in memory, and the definitions of RFC 9162 written down as
//! naively as they stand there, to hold the real ones against.

#![allow(dead_code, reason = "each test crate uses its own part of this")]

pub(crate) use merkql::{hash::*, tree::*};

use proptest::prelude::*;

/// A tree whose stored hashes are in a vector.
#[derive(Default)]
pub(crate) struct StoredTree {
    pub(crate) hashes: Vec<Hash>,
    pub(crate) range: CompactRange,
}

/// The node that a [`StoredTree`] was asked for and doesn't have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotStored {
    pub(crate) level: u8,
    pub(crate) index: u64,
}

impl StoredTree {
    pub(crate) fn of(leaves: &[Hash]) -> Self {
        let mut tree = Self::default();
        for leaf in leaves {
            tree.push(*leaf);
        }
        tree
    }

    pub(crate) fn push(&mut self, leaf: Hash) {
        let hashes = &mut self.hashes;
        self.range.push(leaf, &mut |hash| hashes.push(hash));
    }

    pub(crate) fn proof(&self, index: u64, size: u64) -> Proof {
        Proof {
            leaf_hash: self.node(0, index).unwrap(),
            siblings: Siblings {
                leaf_index: index,
                tree_size: size,
                path: inclusion_path(self, index, size).unwrap(),
            },
            root: root_at(self, size).unwrap(),
        }
    }

    pub(crate) fn consistency(&self, old_size: u64, new_size: u64) -> ConsistencyProof {
        ConsistencyProof {
            old_size,
            new_size,
            old_root: root_at(self, old_size).unwrap(),
            new_root: root_at(self, new_size).unwrap(),
            path: consistency_path(self, old_size, new_size).unwrap(),
        }
    }
}

impl NodeReader for StoredTree {
    type Error = NotStored;

    fn node(&self, level: u8, index: u64) -> Result<Hash, NotStored> {
        let position = usize::try_from(stored_index(level, index)).unwrap();
        let hash = self.hashes.get(position);
        hash.copied().ok_or(NotStored { level, index })
    }
}

/// `count` leaves, no two alike.
pub(crate) fn distinct_leaves(count: u64) -> Vec<Hash> {
    let record = |number: u64| Hash::digest(&number.to_le_bytes());
    (0..count).map(|number| leaf_hash(&record(number))).collect()
}

/// The bytes of a text of hexadecimal digits.
pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// Any hash.
pub(crate) fn any_hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

/// Numbers near the edges of everything, besides arbitrary ones.
pub(crate) fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        any::<u64>(),
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..64_u32).prop_map(|bit| u64::MAX >> bit),
        (0..4_u64).prop_map(|less| u64::MAX - less),
    ]
}

/// RFC 9162, section 2.1.1: `MTH(D_n)`, over leaves that are hashed already.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::digest(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            let input = [[1].as_slice(), &mth(left).0, &mth(right).0];
            Hash::digest(&input.concat())
        }
    }
}

/// RFC 9162, section 2.1.3.1: `PATH(m, D_n)`.
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut below, beside) =
        if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
    below.push(beside);
    below
}

/// RFC 9162, section 2.1.4.1: `PROOF(m, D_n)` is `SUBPROOF(m, D_n, true)`.
pub(crate) fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut below, beside) = if m <= k {
        (subproof(m, left, whole), mth(right))
    } else {
        (subproof(m - k, right, false), mth(left))
    };
    below.push(beside);
    below
}

/// What a hash of a path is to the one who checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    Left,
    Right,
}

/// The shape of `PATH(m, D_n)`, or `None` if there is no such path.
pub(crate) fn path_shape(m: u64, n: u64) -> Option<Vec<Part>> {
    if m >= n {
        return None;
    }
    if n == 1 {
        return Some(Vec::new());
    }
    let k = 1 << (n - 1).ilog2();
    let (below, beside) = if m < k {
        (path_shape(m, k), Part::Right)
    } else {
        (path_shape(m - k, n - k), Part::Left)
    };
    below.map(|below| [below, vec![beside]].concat())
}

/// The shape of `SUBPROOF(m, D_n, whole)`, or `None` if there is no such proof.
pub(crate) fn subproof_shape(m: u64, n: u64, whole: bool) -> Option<Vec<Part>> {
    if m == 0 || m > n {
        return None;
    }
    if m == n {
        return Some(if whole { Vec::new() } else { vec![Part::Start] });
    }
    let k = 1 << (n - 1).ilog2();
    let (below, beside) = if m <= k {
        (subproof_shape(m, k, whole), Part::Right)
    } else {
        (subproof_shape(m - k, n - k, false), Part::Left)
    };
    below.map(|below| [below, vec![beside]].concat())
}

/// The largest power of two below `n`, the RFC's `k`.
fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

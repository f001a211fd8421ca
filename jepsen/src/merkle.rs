//! Merkle trees as RFC 9162 defines them, written from the text of the RFC.
//!
//! An entry of a partition's tree is the record's hash, SHA-256 of its canonical bytes. A leaf is SHA-256(0x00 ‖ record hash), a
//! node SHA-256(0x01 ‖ left ‖ right), and the root of the empty tree is SHA-256 of nothing. Verification needs nothing but the
//! proof; [`Tree`] recomputes roots from the records that a history shows, and makes proofs for generated histories.

use std::fmt;

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of some bytes.
    pub fn digest(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The leaf of an entry (RFC 9162, section 2.1.1).
    pub fn leaf(entry: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(entry);
        Self(hasher.finalize().into())
    }

    /// The node above two hashes (RFC 9162, section 2.1.1).
    pub fn node(left: &Self, right: &Self) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([1]);
        hasher.update(left.0);
        hasher.update(right.0);
        Self(hasher.finalize().into())
    }

    /// The hash that 64 hexadecimal digits say.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = (hex_digit(*high)? << 4) | hex_digit(*low)?;
        }
        Some(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// 64 hexadecimal digits.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// Whether the path leads from the leaf at `index` to the root of a tree of `size` leaves (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let mut walk = Walk::new(index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        match walk.climb() {
            Some(Side::Left) => hash = Hash::node(sibling, &hash),
            Some(Side::Right) => hash = Hash::node(&hash, sibling),
            None => return false,
        }
    }
    walk.at_top() && hash == *root
}

/// What a consistency proof shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// The newer tree extends the older one.
    Shown,
    /// The path leads to the newer root, but the older tree that it passes through has another root than the one given: the
    /// log's tree is no extension of that older tree.
    OtherPast,
    /// The path doesn't lead to the newer root, so it shows nothing.
    NotShown,
}

/// What the path shows about two trees (RFC 9162, section 2.1.4.2). A proof from the empty tree shows nothing and is refused.
pub fn verify_consistency(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> Extension {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == 0 || old_size > new_size {
        return Extension::NotShown;
    }
    if old_size == new_size {
        return match (path.is_empty(), old_root == new_root) {
            (true, true) => Extension::Shown,
            (true, false) => Extension::OtherPast,
            (false, _) => Extension::NotShown,
        };
    }
    // An older tree that is perfect is itself the first node of the path, and the proof leaves it out.
    let (start, rest) = if old_size.is_power_of_two() {
        (old_root, path)
    } else {
        let Some((first, rest)) = path.split_first() else {
            return Extension::NotShown;
        };
        (first, rest)
    };
    if rest.is_empty() {
        return Extension::NotShown;
    }
    let mut walk = Walk::new(old_size - 1, new_size - 1);
    walk.skip_right_edges();
    let (mut past, mut present) = (*start, *start);
    for sibling in rest {
        match walk.climb() {
            Some(Side::Left) => {
                past = Hash::node(sibling, &past);
                present = Hash::node(sibling, &present);
            }
            Some(Side::Right) => present = Hash::node(&present, sibling),
            None => return Extension::NotShown,
        }
    }
    match (walk.at_top() && present == *new_root, past == *old_root) {
        (true, true) => Extension::Shown,
        (true, false) => Extension::OtherPast,
        (false, _) => Extension::NotShown,
    }
}

/// On which side of the path the next sibling stands.
enum Side {
    Left,
    Right,
}

/// A climb from a leaf to the root: the position of the node and of the last node on its level (`fn` and `sn` in the RFC).
struct Walk {
    node: u64,
    last: u64,
}

impl Walk {
    fn new(node: u64, last: u64) -> Self {
        Self { node, last }
    }

    /// Where the next sibling stands, going up past it; `None` at the root, where there is none.
    fn climb(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node % 2 == 1 || self.node == self.last {
            // A node at the right edge without a sibling is its own parent.
            while self.node.is_multiple_of(2) && self.node != 0 {
                self.up();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.up();
        Some(side)
    }

    fn skip_right_edges(&mut self) {
        while self.node % 2 == 1 {
            self.up();
        }
    }

    fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    fn at_top(&self) -> bool {
        self.last == 0
    }
}

/// A tree that keeps the nodes of all its perfect subtrees, so that the root of any earlier size is at hand.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// `levels[h][i]` is the root of the perfect subtree of height `h` over the leaves from `i << h`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records it holds.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends a record, given its hash.
    pub fn push(&mut self, record: &Hash) {
        let mut hash = Hash::leaf(&record.0);
        for height in 0.. {
            if self.levels.len() == height {
                self.levels.push(Vec::new());
            }
            let Some(level) = self.levels.get_mut(height) else {
                return;
            };
            level.push(hash);
            if level.len() % 2 == 1 {
                return;
            }
            if let [.., left, right] = level.as_slice() {
                hash = Hash::node(left, right);
            }
        }
    }

    /// The root it had when it held `size` records; `None` if it never held as many.
    pub fn root(&self, size: u64) -> Option<Hash> {
        match size {
            0 => Some(Hash::digest(&[])),
            _ => self.subtree(0, size),
        }
    }

    /// The inclusion path of a record in the tree of that size (RFC 9162, section 2.1.3.1).
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.size() {
            return None;
        }
        let (mut from, mut to) = (0, size);
        let mut path = Vec::new();
        while to - from > 1 {
            let middle = from + left_size(to - from);
            if index < middle {
                path.push(self.subtree(middle, to)?);
                to = middle;
            } else {
                path.push(self.subtree(from, middle)?);
                from = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The consistency path between two sizes (RFC 9162, section 2.1.4.1).
    pub fn consistency(&self, old_size: u64, new_size: u64) -> Option<Vec<Hash>> {
        if old_size == 0 || old_size > new_size || new_size > self.size() {
            return None;
        }
        let (mut from, mut to) = (0, new_size);
        let mut path = Vec::new();
        while to != old_size {
            let middle = from + left_size(to - from);
            if old_size <= middle {
                path.push(self.subtree(middle, to)?);
                to = middle;
            } else {
                path.push(self.subtree(from, middle)?);
                from = middle;
            }
        }
        // Going only left, the older tree is the subtree that is left over, and the verifier has its root.
        if from > 0 {
            path.push(self.subtree(from, to)?);
        }
        path.reverse();
        Some(path)
    }

    /// The hash over the leaves `from..to`, where `from` is a multiple of a power of two that is at least as large as the range.
    fn subtree(&self, from: u64, to: u64) -> Option<Hash> {
        let width = to.checked_sub(from).filter(|width| *width > 0)?;
        if width.is_power_of_two() {
            let height = width.trailing_zeros();
            let at = usize::try_from(from >> height).ok()?;
            return self.levels.get(height as usize)?.get(at).copied();
        }
        let middle = from + left_size(width);
        Some(Hash::node(&self.subtree(from, middle)?, &self.subtree(middle, to)?))
    }
}

/// The largest power of two below `width`, which is at least two.
fn left_size(width: u64) -> u64 {
    1 << (u64::BITS - 1 - (width - 1).leading_zeros())
}

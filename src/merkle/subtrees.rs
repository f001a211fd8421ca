//! A range of leaves as the roots of perfect subtrees: what is left of leaves that were removed.

use super::hash::{Hash, node_hash};

/// The levels of the largest perfect subtrees that together cover the leaves from `start` up to, but
/// not including, `end`, left to right.
///
/// A subtree of level `L` begins at a multiple of 2^`L`, so the range alone determines them: their
/// sizes ascend to the largest that fits, and then descend.
pub(crate) fn subtree_levels(start: u64, end: u64) -> impl Iterator<Item = u8> {
    let mut next = start;
    std::iter::from_fn(move || {
        let fits = end.checked_sub(next)?.checked_ilog2()?;
        let level = next.trailing_zeros().min(fits);
        next += 1 << level;
        u8::try_from(level).ok()
    })
}

/// The roots of the largest perfect subtrees over a growing range of leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubtreeRoots {
    start: u64,
    end: u64,
    roots: Vec<(u8, Hash)>,
}

impl SubtreeRoots {
    /// No leaves, in front of leaf `start`.
    pub(crate) fn new(start: u64) -> Self {
        Self { start, end: start, roots: Vec::new() }
    }

    /// The first leaf.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The leaf after the last.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Adds the perfect subtree of 2^`level` leaves that begins at the end, which is a multiple of
    /// that; level 0 is a leaf.
    pub(crate) fn push(&mut self, level: u8, root: Hash) {
        let (mut level, mut node) = (level, root);
        let mut index = self.end >> level;
        self.end += 1 << level;
        // A right child whose left sibling is in the range makes its parent one of the subtrees.
        while index & 1 == 1
            && let Some((_, left)) = self.roots.pop_if(|(left, _)| *left == level)
        {
            node = node_hash(&left, &node);
            level += 1;
            index >>= 1;
        }
        self.roots.push((level, node));
    }

    /// The roots, left to right; [`subtree_levels`] says of what.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Hash> {
        self.roots.iter().map(|(_, root)| root)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CompactRange, leaf_hash_of};
    use super::*;

    fn leaves(count: u8) -> Vec<Hash> {
        (0..count).map(|leaf| leaf_hash_of(&[leaf])).collect()
    }

    fn push_all(range: &mut CompactRange, leaves: &[Hash]) {
        for leaf in leaves {
            range.push(*leaf, &mut |_| {});
        }
    }

    fn roots_of(leaves: &[Hash], start: usize, end: usize) -> SubtreeRoots {
        let mut roots = SubtreeRoots::new(start as u64);
        for leaf in &leaves[start..end] {
            roots.push(0, *leaf);
        }
        roots
    }

    #[test]
    fn the_roots_of_any_range_stand_in_for_its_leaves() {
        let leaves = leaves(40);
        let mut whole = CompactRange::new();
        push_all(&mut whole, &leaves);
        for start in 0..40 {
            for end in start..=40 {
                let roots = roots_of(&leaves, start, end);
                let levels: Vec<u8> = subtree_levels(start as u64, end as u64).collect();
                assert_eq!(roots.roots().count(), levels.len(), "{start}..{end}");
                let mut range = CompactRange::new();
                push_all(&mut range, &leaves[..start]);
                for (level, root) in levels.iter().zip(roots.roots()) {
                    range.push_subtree(*level, *root, &mut |_| {});
                }
                push_all(&mut range, &leaves[end..]);
                assert_eq!(range, whole, "{start}..{end}");
            }
        }
    }

    #[test]
    fn ranges_that_are_joined_have_the_roots_of_the_whole() {
        let leaves = leaves(24);
        for (start, middle, end) in [(0, 3, 24), (1, 8, 16), (5, 6, 23), (8, 16, 24)] {
            let mut joined = roots_of(&leaves, start, middle);
            let right = roots_of(&leaves, middle, end);
            for (level, root) in subtree_levels(right.start(), right.end()).zip(right.roots()) {
                joined.push(level, *root);
            }
            assert_eq!(joined, roots_of(&leaves, start, end));
        }
    }
}

//! The stored order, the compact range, and reading past sizes of a tree.

mod merkle_support;

use std::cell::RefCell;
use std::convert::Infallible;

use merkle_support::{
    CompactRange, CompactRangeError, Hash, MAX_LEAVES, NodeReader, NotStored, ReadTreeError,
    StoredTree, consistency_path, distinct_leaves, inclusion_path, mth, node_hash, range_at,
    root_at, stored_count, stored_index, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

#[test]
fn stored_positions_count_up_without_gap_or_overlap() {
    // Walking the nodes in the order in which leaves complete them must meet each position once.
    let mut position = 0;
    for leaf in 0_u64..5_000 {
        assert_eq!(stored_count(leaf), position, "before leaf {leaf}");
        for level in 0_u8.. {
            let completes = (leaf + 1).is_multiple_of(1 << level);
            if !completes {
                break;
            }
            let index = leaf >> level;
            assert_eq!(stored_index(level, index), position, "({level}, {index})");
            position += 1;
        }
    }
    assert_eq!(stored_count(5_000), position);
}

#[test]
fn the_tree_of_seven_leaves_is_stored_as_the_module_shows() {
    let nodes =
        [(0, 0), (0, 1), (1, 0), (0, 2), (0, 3), (1, 1), (2, 0), (0, 4), (0, 5), (1, 2), (0, 6)];
    let leaves = distinct_leaves(7);
    let tree = StoredTree::of(&leaves);
    assert_eq!(tree.hashes.len(), nodes.len());
    for (position, (level, index)) in nodes.into_iter().enumerate() {
        assert_eq!(stored_index(level, index), position as u64);
        let covered = usize::try_from(index << level).unwrap()..;
        let covered = &leaves[covered][..1 << level];
        assert_eq!(tree.hashes[position], mth(covered));
    }
    let peaks = [6, 9, 10].map(|position: usize| tree.hashes[position]);
    assert_eq!(tree.range.peaks(), peaks);
}

#[test]
fn positions_of_impossible_nodes_saturate() {
    assert_eq!(stored_index(64, 0), u64::MAX);
    assert_eq!(stored_index(u8::MAX, u64::MAX), u64::MAX);
    assert_eq!(stored_index(1, u64::MAX), u64::MAX);
    assert_eq!(stored_index(0, u64::MAX), u64::MAX);
    // The first leaf's number is too large by more than one bit, and the bits that are left are small.
    assert_eq!(stored_index(4, 1 << 61), u64::MAX);
    assert_eq!(stored_index(63, 2), u64::MAX);
    assert_eq!(stored_count(u64::MAX), u64::MAX);
    assert_eq!(stored_count(MAX_LEAVES), 2 * MAX_LEAVES - 1);
    assert_eq!(stored_index(48, 0), 2 * MAX_LEAVES - 2);
}

#[test]
fn a_compact_range_has_the_root_of_every_size_it_grows_through() {
    let leaves = distinct_leaves(130);
    let mut tree = StoredTree::default();
    for (size, leaf) in leaves.iter().enumerate() {
        assert_eq!(tree.range.root(), mth(&leaves[..size]));
        assert_eq!(tree.range.size(), size as u64);
        assert_eq!(tree.hashes.len() as u64, stored_count(size as u64));
        tree.push(*leaf);
    }
}

#[test]
fn a_compact_range_put_together_again_grows_like_the_original() {
    let leaves = distinct_leaves(70);
    for size in 0..leaves.len() {
        let (before, after) = leaves.split_at(size);
        let original = StoredTree::of(before).range;
        let parts = (original.size(), original.peaks().to_vec());
        let mut again = CompactRange::from_parts(parts.0, parts.1).unwrap();
        assert_eq!(again, original);
        for leaf in after {
            again.push(*leaf, &mut |_| {});
        }
        assert_eq!(again, StoredTree::of(&leaves).range);
    }
}

#[test]
fn parts_that_fit_no_tree_are_refused() {
    let peaks = |count| vec![Hash::digest(b"peak"); count];
    for size in [0, 1, 2, 3, 7, 8, MAX_LEAVES - 1, MAX_LEAVES] {
        let expected = size.count_ones() as usize;
        for found in 0..70 {
            let result = CompactRange::from_parts(size, peaks(found));
            let refusal = CompactRangeError::PeakCount { size, expected, found };
            assert_eq!(result.err(), (found != expected).then_some(refusal));
        }
    }
    for size in [MAX_LEAVES + 1, u64::MAX] {
        let result = CompactRange::from_parts(size, peaks(size.count_ones() as usize));
        assert_eq!(result, Err(CompactRangeError::TooManyLeaves { size }));
    }
}

#[test]
fn every_past_size_can_be_read_from_the_stored_hashes() {
    let leaves = distinct_leaves(130);
    let tree = StoredTree::of(&leaves);
    for size in 0..=leaves.len() {
        let past = StoredTree::of(&leaves[..size]).range;
        assert_eq!(range_at(&tree, size as u64).unwrap(), past);
        assert_eq!(root_at(&&tree, size as u64).unwrap(), past.root());
    }
}

#[test]
fn arguments_outside_the_tree_are_refused_by_name() {
    let tree = StoredTree::of(&distinct_leaves(8));
    for (index, size) in [(0, 0), (8, 8), (u64::MAX, 8), (5, 3)] {
        let error = inclusion_path(&tree, index, size).unwrap_err();
        assert_eq!(error, ReadTreeError::LeafNotInTree { index, size });
    }
    for (old_size, new_size) in [(0, 0), (0, 8), (8, 7), (8, 5), (u64::MAX, 8), (1, 0)] {
        let error = consistency_path(&tree, old_size, new_size).unwrap_err();
        assert_eq!(error, ReadTreeError::NotAPrefix { old_size, new_size });
    }
    for size in [MAX_LEAVES + 1, u64::MAX] {
        let refusal = ReadTreeError::TooManyLeaves { size };
        assert_eq!(range_at(&tree, size).unwrap_err(), refusal);
        assert_eq!(root_at(&tree, size).unwrap_err(), refusal);
        assert_eq!(inclusion_path(&tree, 0, size).unwrap_err(), refusal);
        assert_eq!(consistency_path(&tree, 1, size).unwrap_err(), refusal);
    }
}

#[test]
fn a_reader_without_the_node_passes_its_error_on() {
    let tree = StoredTree::of(&distinct_leaves(5));
    let missing = |level, index| ReadTreeError::Node(NotStored { level, index });
    assert_eq!(range_at(&tree, 8).unwrap_err(), missing(3, 0));
    assert_eq!(inclusion_path(&tree, 4, 8).unwrap_err(), missing(0, 5));
    assert_eq!(consistency_path(&tree, 6, 8).unwrap_err(), missing(1, 2));
}

/// A tree of any size whose leaves are all alike, so that each level has one hash. It takes down
/// which nodes it is asked for.
struct UniformTree {
    levels: Vec<Hash>,
    reads: RefCell<Vec<(u8, u64)>>,
}

impl UniformTree {
    fn new() -> Self {
        let leaf = Hash::digest(b"leaf");
        let levels = std::iter::successors(Some(leaf), |below| Some(node_hash(below, below)));
        Self { levels: levels.take(64).collect(), reads: RefCell::default() }
    }

    /// Checks that what was read since the last call is little, and in a tree of `size` leaves.
    fn check_reads(&self, size: u64) {
        let reads = self.reads.take();
        assert!(reads.len() <= 2 * 48, "{} reads", reads.len());
        for (level, index) in reads {
            assert!(index < size >> level, "({level}, {index}) of {size}");
        }
    }
}

impl NodeReader for UniformTree {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        self.reads.borrow_mut().push((level, index));
        Ok(self.levels[usize::from(level)])
    }
}

/// Two numbers up to `MAX_LEAVES` in order, of all magnitudes.
fn sizes() -> impl Strategy<Value = (u64, u64)> {
    let size = (0_u32..=48, any::<u64>()).prop_map(|(bits, number)| {
        // Full width gives `MAX_LEAVES` itself a chance, besides the numbers around it.
        1 + (number & ((1 << bits) - 1))
    });
    (size.clone(), size).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

proptest! {
    #[test]
    fn paths_in_the_largest_trees_take_few_reads_and_verify((old, new) in sizes()) {
        let tree = UniformTree::new();
        let root = root_at(&tree, new).unwrap();
        tree.check_reads(new);
        let index = old - 1;
        let path = inclusion_path(&tree, index, new).unwrap();
        tree.check_reads(new);
        prop_assert!(verify_inclusion(&tree.levels[0], index, new, &path, &root));

        let path = consistency_path(&tree, old, new).unwrap();
        tree.check_reads(new);
        let old_root = root_at(&tree, old).unwrap();
        prop_assert!(verify_consistency(old, new, &old_root, &root, &path));
    }

    #[test]
    fn no_argument_makes_a_reading_function_panic(a: u64, b: u64, level: u8) {
        let tree = StoredTree::of(&distinct_leaves(3));
        for (a, b) in [(a, b), (a >> (level % 64), b >> (level % 64))] {
            let _ = range_at(&tree, a);
            let _ = root_at(&tree, a);
            let _ = inclusion_path(&tree, a, b);
            let _ = consistency_path(&tree, a, b);
            let _ = stored_index(level, a);
            prop_assert!(stored_count(a) >= a);
        }
    }
}

#[test]
fn the_largest_tree_verifies_at_its_edges() {
    let tree = UniformTree::new();
    for size in [MAX_LEAVES - 1, MAX_LEAVES] {
        let root = root_at(&tree, size).unwrap();
        for index in [0, 1, size / 2, size - 2, size - 1] {
            let path = inclusion_path(&tree, index, size).unwrap();
            assert!(verify_inclusion(&tree.levels[0], index, size, &path, &root));
        }
    }
}

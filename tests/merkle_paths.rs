//! Paths against the definitions of RFC 9162 and against another implementation.

mod merkle_support;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use merkle_support::{
    Hash, StoredTree, consistency_path, distinct_leaves, inclusion_path, leaf_hash_of, mth, path,
    root_at, subproof, verify_consistency, verify_inclusion,
};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::Sha256;

/// Checks the inclusion paths of all leaves of the whole tree.
fn check_inclusion(tree: &StoredTree, leaves: &[Hash]) {
    let size = leaves.len() as u64;
    let root = mth(leaves);
    for (m, leaf) in leaves.iter().enumerate() {
        let index = m as u64;
        let made = inclusion_path(tree, index, size).unwrap();
        assert_eq!(made, path(m, leaves), "leaf {index} of {size}");
        assert!(verify_inclusion(leaf, index, size, &made, &root));
    }
}

/// Checks the consistency path from the first `m` leaves to all leaves.
fn check_consistency(tree: &StoredTree, m: usize, leaves: &[Hash]) {
    let (old_size, new_size) = (m as u64, leaves.len() as u64);
    let made = consistency_path(tree, old_size, new_size).unwrap();
    let expected = subproof(m, leaves, true);
    assert_eq!(made, expected, "from {old_size} to {new_size}");
    let roots = (mth(&leaves[..m]), mth(leaves));
    assert!(verify_consistency(old_size, new_size, &roots.0, &roots.1, &made));
}

#[test]
fn all_paths_of_small_trees_are_those_of_the_rfc() {
    // The tree is larger than the sizes asked about, as it is when a proof of an old root is made.
    let leaves = distinct_leaves(48);
    let tree = StoredTree::of(&leaves);
    for size in 1..=leaves.len() {
        let prefix = &leaves[..size];
        check_inclusion(&tree, prefix);
        for old_size in 1..=size {
            check_consistency(&tree, old_size, prefix);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn paths_of_any_tree_are_those_of_the_rfc(
        leaves in vec(any::<[u8; 32]>().prop_map(Hash), 1..=300),
        later in vec(any::<[u8; 32]>().prop_map(Hash), 0..=40),
    ) {
        let mut tree = StoredTree::of(&leaves);
        for leaf in later {
            tree.push(leaf);
        }
        prop_assert_eq!(root_at(&tree, leaves.len() as u64).unwrap(), mth(&leaves));
        check_inclusion(&tree, &leaves);
        for old_size in 1..=leaves.len() {
            check_consistency(&tree, old_size, &leaves);
        }
    }

    #[test]
    fn roots_and_paths_are_those_of_another_implementation(
        entries in vec(vec(any::<u8>(), 0..80), 1..=150),
    ) {
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash_of(entry)).collect();
        let tree = StoredTree::of(&leaves);
        let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for entry in entries {
            other.push(entry);
        }
        let size = other.len();
        prop_assert_eq!(tree.range.root(), Hash((*other.root().as_bytes()).into()));
        for index in 0..leaves.len() {
            let path = inclusion_path(&tree, index as u64, size).unwrap();
            let expected = other.prove_inclusion(index);
            prop_assert_eq!(joined(&path), expected.as_bytes());

            // `index` counts the leaves appended here, so that the old sizes are all but 0.
            let path = consistency_path(&tree, size - index as u64, size).unwrap();
            let expected = other.prove_consistency(index);
            prop_assert_eq!(joined(&path), expected.as_bytes());
        }
    }
}

fn joined(path: &[Hash]) -> Vec<u8> {
    path.iter().flat_map(|hash| hash.0).collect()
}

//! Proofs in the hands of someone without the log: what they prove, and what is refused.

mod merkle_support;

use merkle_support::{
    Hash, Part, Proof, Siblings, StoredTree, any_hash, any_number, distinct_leaves, empty_root,
    leaf_hash, path_shape, stored_index, subproof_shape, verify_consistency, verify_inclusion,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// The sizes that get every bit of every proof flipped: perfect, ragged, and in between.
const SIZES: [u64; 7] = [1, 2, 3, 5, 7, 8, 13];

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut hash = *hash;
    hash.0[bit / 8] ^= 1 << (bit % 8);
    hash
}

#[test]
fn a_proof_proves_its_record_under_its_root_and_nothing_else() {
    let records: Vec<Hash> = (0_u8..9).map(|it| Hash::digest(&[it])).collect();
    let leaves: Vec<Hash> = records.iter().map(leaf_hash).collect();
    let tree = StoredTree::of(&leaves);
    let root = tree.range.root();
    for (index, record) in (0..).zip(&records) {
        let proof = tree.proof(index, 9);
        assert!(proof.is_valid());
        for other in &records {
            assert_eq!(proof.proves(other, &root), other == record);
        }
        // Valid in itself, and still no proof under a root that is trusted for another reason.
        assert!(!proof.proves(record, &empty_root()));
        // The leaf hash in place of the record hash is the mistake that is easily made.
        assert!(!proof.proves(&proof.leaf_hash, &root));
    }
}

#[test]
fn a_made_up_leaf_that_is_its_own_root_proves_nothing_under_the_real_root() {
    let tree = StoredTree::of(&distinct_leaves(8));
    let record = Hash::digest(b"made up");
    let proof = Proof {
        leaf_hash: leaf_hash(&record),
        siblings: Siblings { leaf_index: 0, tree_size: 1, path: Vec::new() },
        root: leaf_hash(&record),
    };
    assert!(proof.is_valid());
    assert!(!proof.proves(&record, &tree.range.root()));
}

#[test]
fn an_inner_node_does_not_pass_for_a_leaf() {
    // With the lowest sibling gone, the path leads from an inner node to the root, as in a tree of
    // half the size. Only the prefixes keep that node from being some record's leaf.
    let tree = StoredTree::of(&distinct_leaves(8));
    let mut proof = tree.proof(5, 8);
    let inner = tree.hashes[usize::try_from(stored_index(1, 2)).unwrap()];
    proof.leaf_hash = inner;
    proof.siblings.path.remove(0);
    assert!(!proof.is_valid());
    proof.siblings.leaf_index = 2;
    proof.siblings.tree_size = 4;
    assert!(proof.is_valid());
    assert!(!proof.proves(&inner, &tree.range.root()));
}

#[test]
fn any_flipped_bit_of_leaf_path_or_root_is_refused() {
    let tree = StoredTree::of(&distinct_leaves(13));
    for size in SIZES {
        for index in 0..size {
            let Proof { leaf_hash, siblings, root } = tree.proof(index, size);
            let verify = |leaf: &Hash, path: &[Hash], root: &Hash| {
                verify_inclusion(leaf, index, size, path, root)
            };
            assert!(verify(&leaf_hash, &siblings.path, &root));
            for bit in 0..256 {
                assert!(!verify(&flipped(&leaf_hash, bit), &siblings.path, &root));
                assert!(!verify(&leaf_hash, &siblings.path, &flipped(&root, bit)));
                for at in 0..siblings.len() {
                    let mut path = siblings.path.clone();
                    path[at] = flipped(&path[at], bit);
                    assert!(!verify(&leaf_hash, &path, &root));
                }
            }
        }
    }
}

#[test]
fn any_flipped_bit_of_roots_or_path_of_a_consistency_proof_is_refused() {
    let tree = StoredTree::of(&distinct_leaves(13));
    for new_size in SIZES {
        for old_size in 1..=new_size {
            let proof = tree.consistency(old_size, new_size);
            assert!(proof.is_valid());
            assert!(proof.proves(&proof.old_root, &proof.new_root));
            for bit in 0..256 {
                let mut tampered = proof.clone();
                tampered.old_root = flipped(&proof.old_root, bit);
                assert!(!tampered.is_valid());
                assert!(!proof.proves(&tampered.old_root, &proof.new_root));

                let mut tampered = proof.clone();
                tampered.new_root = flipped(&proof.new_root, bit);
                assert!(!tampered.is_valid());
                assert!(!proof.proves(&proof.old_root, &tampered.new_root));

                for at in 0..proof.path.len() {
                    let mut tampered = proof.clone();
                    tampered.path[at] = flipped(&proof.path[at], bit);
                    assert!(!tampered.is_valid());
                }
            }
        }
    }
}

#[test]
fn another_index_is_refused() {
    let tree = StoredTree::of(&distinct_leaves(40));
    for size in 1..=40 {
        for index in 0..size {
            let proof = tree.proof(index, size);
            let far = (6..64).map(|bit| index ^ 1 << bit);
            for other in (0..64).filter(|other| *other != index).chain(far) {
                let mut tampered = proof.clone();
                tampered.siblings.leaf_index = other;
                assert!(!tampered.is_valid(), "{index} as {other} of {size}");
            }
        }
    }
}

#[test]
fn another_tree_size_is_refused_unless_the_path_keeps_its_shape() {
    // A root does not commit to a size, so this is as much as a path can tell.
    let tree = StoredTree::of(&distinct_leaves(40));
    for size in 1..=40 {
        for index in 0..size {
            let proof = tree.proof(index, size);
            let shape = path_shape(index, size);
            let far = (7..64).map(|bit| size ^ 1 << bit);
            for other in (0..128).chain(far) {
                let mut tampered = proof.clone();
                tampered.siblings.tree_size = other;
                let same_shape = path_shape(index, other) == shape;
                assert_eq!(tampered.is_valid(), same_shape, "{index}: {size}, {other}");
            }
        }
    }
}

#[test]
fn other_sizes_of_a_consistency_proof_are_refused_unless_the_path_keeps_its_shape() {
    let tree = StoredTree::of(&distinct_leaves(24));
    for new_size in 1..=24 {
        for old_size in 1..=new_size {
            let proof = tree.consistency(old_size, new_size);
            let shape = subproof_shape(old_size, new_size, true);
            let check = |old_size, new_size| {
                let mut tampered = proof.clone();
                (tampered.old_size, tampered.new_size) = (old_size, new_size);
                let same_shape = subproof_shape(old_size, new_size, true) == shape;
                assert_eq!(
                    tampered.is_valid(),
                    same_shape,
                    "{proof:?} as {old_size} to {new_size}"
                );
            };
            for bit in 0..64 {
                check(old_size ^ 1 << bit, new_size);
                check(old_size, new_size ^ 1 << bit);
            }
            for other in 0..64 {
                check(other, new_size);
                check(old_size, other);
            }
        }
    }
}

#[test]
fn the_shape_of_a_path_is_what_the_test_above_takes_it_for() {
    let (left, right) = (Part::Left, Part::Right);
    assert_eq!(path_shape(2, 3), Some(vec![left]));
    assert_eq!(path_shape(4, 7), Some(vec![right, right, left]));
    assert_eq!(path_shape(3, 3), None);
    let expected = vec![Part::Start, right, left];
    assert_eq!(subproof_shape(6, 8, true), Some(expected));
    assert_eq!(subproof_shape(4, 8, true), Some(vec![right]));
    assert_eq!(subproof_shape(0, 8, true), None);
}

#[test]
fn a_path_with_a_hash_too_many_or_too_few_is_refused() {
    let tree = StoredTree::of(&distinct_leaves(13));
    for size in SIZES {
        for index in 0..size {
            let proof = tree.proof(index, size);
            let consistency = tree.consistency(index + 1, size);
            let extra = [proof.leaf_hash, proof.root, Hash([0; Hash::SIZE])];
            for at in 0..=proof.siblings.len() {
                for hash in extra {
                    let mut tampered = proof.clone();
                    tampered.siblings.path.insert(at, hash);
                    assert!(!tampered.is_valid());
                }
            }
            for at in 0..=consistency.path.len() {
                for hash in extra {
                    let mut tampered = consistency.clone();
                    tampered.path.insert(at, hash);
                    assert!(!tampered.is_valid());
                }
            }
            for at in 0..proof.siblings.len() {
                let mut tampered = proof.clone();
                tampered.siblings.path.remove(at);
                assert!(!tampered.is_valid());
            }
            for at in 0..consistency.path.len() {
                let mut tampered = consistency.clone();
                tampered.path.remove(at);
                assert!(!tampered.is_valid());
            }
        }
    }
}

#[test]
fn consistency_from_the_empty_tree_is_refused() {
    let root = StoredTree::of(&distinct_leaves(8)).range.root();
    let empty = empty_root();
    assert!(!verify_consistency(0, 8, &empty, &root, &[]));
    assert!(!verify_consistency(0, 0, &empty, &empty, &[]));
    assert!(!verify_consistency(0, 8, &root, &root, &[root]));
}

#[test]
fn siblings_are_counted_and_walked_from_the_leaf_upwards() {
    let tree = StoredTree::of(&distinct_leaves(8));
    let siblings = tree.proof(3, 8).siblings;
    assert_eq!(siblings.len(), 3);
    assert!(!siblings.is_empty());
    assert!(siblings.iter().eq(&siblings.path));
    assert!((&siblings).into_iter().eq(&siblings.path));
    assert!(tree.proof(0, 1).siblings.is_empty());
}

proptest! {
    #[test]
    fn hostile_proofs_are_refused_without_panic(
        numbers in (any_number(), any_number()),
        hashes in (any_hash(), any_hash()),
        path in prop_oneof![vec(any_hash(), 0..80), vec(any_hash(), 60..70)],
    ) {
        let (a, b) = numbers;
        prop_assert!(!verify_inclusion(&hashes.0, a, b, &path, &hashes.1));
        prop_assert!(!verify_consistency(a, b, &hashes.0, &hashes.1, &path));
        let same = verify_consistency(a, b, &hashes.0, &hashes.0, &path);
        prop_assert_eq!(same, a == b && a > 0 && path.is_empty());
    }
}

//! The binary form of proofs.

mod merkle_support;

use merkle_support::{
    ConsistencyProof, DecodeProofError, Proof, Siblings, StoredTree, any_hash, any_number,
    distinct_leaves, from_hex, path_shape,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Leaf 2 of the reference tree of 3 leaves. Put together outside this crate.
const INCLUSION_BYTES: &str = "\
    01010200000000000000030000000000000002\
    98d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7ae\
    b6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e7701\
    fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125";

/// The reference trees of 1 and 3 leaves. Put together outside this crate.
const CONSISTENCY_BYTES: &str = "\
    0102010000000000000003000000000000006e\
    340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01dae\
    b6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e7702\
    96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7\
    0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7";

#[test]
fn the_binary_form_of_version_1_reads_and_writes_as_ever() {
    let given = from_hex(INCLUSION_BYTES);
    let proof = Proof::from_bytes(&given).unwrap();
    assert_eq!((proof.siblings.leaf_index, proof.siblings.tree_size), (2, 3));
    assert!(proof.is_valid());
    assert_eq!(proof.to_bytes(), given);

    let given = from_hex(CONSISTENCY_BYTES);
    let proof = ConsistencyProof::from_bytes(&given).unwrap();
    assert_eq!((proof.old_size, proof.new_size), (1, 3));
    assert!(proof.is_valid());
    assert_eq!(proof.to_bytes(), given);
}

#[test]
fn bytes_that_are_no_whole_proof_are_refused_with_their_reason() {
    let given = from_hex(INCLUSION_BYTES);
    for found in 0..given.len() {
        let error = Proof::from_bytes(&given[..found]).unwrap_err();
        let truncated = matches!(error, DecodeProofError::Truncated { expected, found: f } if f == found && expected > found);
        assert!(truncated, "{error:?} after {found} bytes");
    }
    let longer = [given.as_slice(), &[0]].concat();
    let (expected, found) = (given.len(), longer.len());
    let trailing = DecodeProofError::TrailingBytes { expected, found };
    assert_eq!(Proof::from_bytes(&longer), Err(trailing));

    let with = |at: usize, byte: u8| {
        let mut changed = given.clone();
        changed[at] = byte;
        Proof::from_bytes(&changed).unwrap_err()
    };
    for found in [0, 2, 255] {
        assert_eq!(with(0, found), DecodeProofError::UnknownVersion { found });
        let expected = 1;
        let wrong = DecodeProofError::WrongKind { expected, found };
        assert_eq!(with(1, found), wrong);
    }
    for found in [66, 255] {
        assert_eq!(with(82, found), DecodeProofError::PathTooLong { found });
    }
    // The other kind of proof, whole and sound, is still the wrong one.
    let other = from_hex(CONSISTENCY_BYTES);
    assert!(Proof::from_bytes(&other).is_err());
    assert!(ConsistencyProof::from_bytes(&given).is_err());
}

#[test]
fn a_path_too_long_for_any_tree_does_not_survive_the_binary_form() {
    let tree = StoredTree::of(&distinct_leaves(2));
    let mut proof = tree.proof(0, 2);
    for length in [66, 255, 256, 257, 1 << 16] {
        proof.siblings.path = vec![proof.root; length];
        let error = Proof::from_bytes(&proof.to_bytes()).unwrap_err();
        assert!(matches!(error, DecodeProofError::PathTooLong { .. }));
    }
}

proptest! {
    #[test]
    fn the_binary_form_gives_back_any_proof(
        numbers in (any_number(), any_number()),
        hashes in (any_hash(), any_hash()),
        path in vec(any_hash(), 0..=65),
    ) {
        let proof = Proof {
            leaf_hash: hashes.0,
            siblings: Siblings {
                leaf_index: numbers.0,
                tree_size: numbers.1,
                path: path.clone(),
            },
            root: hashes.1,
        };
        prop_assert_eq!(Proof::from_bytes(&proof.to_bytes()), Ok(proof));

        let proof = ConsistencyProof {
            old_size: numbers.0,
            new_size: numbers.1,
            old_root: hashes.0,
            new_root: hashes.1,
            path,
        };
        prop_assert_eq!(ConsistencyProof::from_bytes(&proof.to_bytes()), Ok(proof));
    }

    #[test]
    fn arbitrary_bytes_decode_without_panic_and_only_to_what_they_encode(
        start in prop_oneof![Just([1, 1]), Just([1, 2]), any::<[u8; 2]>()],
        rest in vec(any::<u8>(), 0..300),
    ) {
        let given = [start.as_slice(), &rest].concat();
        if let Ok(proof) = Proof::from_bytes(&given) {
            prop_assert_eq!(proof.to_bytes(), given.clone());
        }
        if let Ok(proof) = ConsistencyProof::from_bytes(&given) {
            prop_assert_eq!(proof.to_bytes(), given);
        }
    }

    #[test]
    fn a_flipped_bit_in_the_bytes_of_a_proof_is_noticed(
        (size, index) in (1..=300_u64).prop_flat_map(|size| (Just(size), 0..size)),
        flip: prop::sample::Index,
    ) {
        let tree = StoredTree::of(&distinct_leaves(size));
        let proof = tree.proof(index, size);
        let mut given = proof.to_bytes();
        let bit = flip.index(given.len() * 8);
        given[bit / 8] ^= 1 << (bit % 8);
        if let Ok(tampered) = Proof::from_bytes(&given) {
            // All but the size stands under the root, so only a size may slip through.
            let same_shape =
                path_shape(index, tampered.siblings.tree_size) == path_shape(index, size);
            let slips = same_shape && tampered.siblings.tree_size != size;
            prop_assert_eq!(tampered.is_valid(), slips);
        }
    }
}

//! The verification of proofs: against the probes of another implementation, against the RFC's own example trees, and against
//! trees built here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use merkql_jepsen::merkle::{Extension, Hash, Tree, verify_consistency, verify_inclusion};
use proptest::prelude::*;
use serde_json::Value;

/// One hash of a probe; none if it isn't 32 bytes, which no verifier may accept.
fn hash(value: &Value) -> Option<Hash> {
    let bytes = STANDARD.decode(value.as_str()?).ok()?;
    Some(Hash(bytes.try_into().ok()?))
}

fn path(probe: &Value) -> Option<Vec<Hash>> {
    match &probe["proof"] {
        Value::Null => Some(Vec::new()),
        proof => proof.as_array()?.iter().map(hash).collect(),
    }
}

fn accepts_inclusion(probe: &Value) -> Option<bool> {
    let (index, size) = (probe["leafIdx"].as_u64()?, probe["treeSize"].as_u64()?);
    let (leaf, root) = (hash(&probe["leafHash"])?, hash(&probe["root"])?);
    Some(verify_inclusion(index, size, &leaf, &path(probe)?, &root))
}

fn accepts_consistency(probe: &Value) -> Option<bool> {
    let (old, new) = (probe["size1"].as_u64()?, probe["size2"].as_u64()?);
    let (old_root, new_root) = (hash(&probe["root1"])?, hash(&probe["root2"])?);
    let shown = verify_consistency((old, &old_root), (new, &new_root), &path(probe)?);
    Some(shown == Extension::Shown)
}

#[test]
fn every_probe_is_accepted_or_refused_as_it_says() {
    let probes: Vec<Value> = include_str!("data/rfc9162-probes.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is a probe"))
        .collect();
    assert_eq!(probes.len(), 98);
    for probe in &probes {
        let accepted = match probe["kind"].as_str() {
            Some("inclusion") => accepts_inclusion(probe),
            _ => accepts_consistency(probe),
        };
        let wanted = probe["wantErr"].as_bool().map(|refused| !refused);
        assert_eq!(Some(accepted.unwrap_or(false)), wanted, "{probe}");
    }
}

/// Appends entries of any length, as the example trees have them: `Tree` takes hashes, so these are folded by hand.
fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::digest(&[]),
        [leaf] => *leaf,
        _ => {
            let left = leaves.len().next_power_of_two() / 2;
            Hash::node(&root_of(&leaves[..left]), &root_of(&leaves[left..]))
        }
    }
}

#[test]
fn example_trees_have_their_well_known_roots() {
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let leaves: Vec<Hash> = inputs
        .iter()
        .map(|hex| {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
            Hash::leaf(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>())
        })
        .collect();
    let roots = [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ];
    for (size, root) in roots {
        assert_eq!(root_of(&leaves[..size]).to_string(), root, "size {size}");
    }
}

fn records(count: u64) -> Vec<Hash> {
    (0..count).map(|number| Hash::digest(&number.to_le_bytes())).collect()
}

fn tree(records: &[Hash]) -> Tree {
    let mut tree = Tree::new();
    for record in records {
        tree.push(record);
    }
    tree
}

#[test]
fn a_tree_remembers_the_root_of_every_size() {
    let records = records(70);
    let tree = tree(&records);
    let leaves: Vec<Hash> = records.iter().map(|record| Hash::leaf(&record.0)).collect();
    for size in 0..=leaves.len() {
        assert_eq!(tree.root(size as u64), Some(root_of(&leaves[..size])), "size {size}");
    }
    assert_eq!(tree.root(71), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn inclusion_proofs_verify_and_no_changed_one_does(size in 1_u64..200, at: u64, bit in 0_usize..256) {
        let records = records(size);
        let tree = tree(&records);
        let index = at % size;
        let leaf = Hash::leaf(&records[usize::try_from(index).unwrap()].0);
        let root = tree.root(size).unwrap();
        let path = tree.inclusion(index, size).unwrap();
        prop_assert!(verify_inclusion(index, size, &leaf, &path, &root));
        prop_assert!(!verify_inclusion(index, size, &flipped(leaf, bit), &path, &root));
        prop_assert!(!verify_inclusion(index, size, &leaf, &path, &flipped(root, bit)));
        for at in 0..path.len() {
            let mut changed = path.clone();
            changed[at] = flipped(changed[at], bit);
            prop_assert!(!verify_inclusion(index, size, &leaf, &changed, &root));
            changed.remove(at);
            prop_assert!(!verify_inclusion(index, size, &leaf, &changed, &root));
        }
    }

    #[test]
    fn consistency_proofs_verify_and_no_changed_one_does(new in 1_u64..200, at: u64, bit in 0_usize..256) {
        let tree = tree(&records(new));
        let old = 1 + at % new;
        let (old_root, new_root) = (tree.root(old).unwrap(), tree.root(new).unwrap());
        let path = tree.consistency(old, new).unwrap();
        prop_assert_eq!(verify_consistency((old, &old_root), (new, &new_root), &path), Extension::Shown);
        for at in 0..path.len() {
            let mut changed = path.clone();
            changed[at] = flipped(changed[at], bit);
            let shown = verify_consistency((old, &old_root), (new, &new_root), &changed);
            prop_assert_eq!(shown, Extension::NotShown);
        }
    }

    #[test]
    fn a_tree_with_another_past_is_told_from_a_bad_proof(new in 4_u64..200, at: u64, bit in 0_usize..256) {
        let tree = tree(&records(new));
        let old = 1 + at % (new - 1);
        prop_assume!(!old.is_power_of_two());
        let (old_root, new_root) = (tree.root(old).unwrap(), tree.root(new).unwrap());
        let path = tree.consistency(old, new).unwrap();
        let held = flipped(old_root, bit);
        prop_assert_eq!(verify_consistency((old, &held), (new, &new_root), &path), Extension::OtherPast);
    }

    #[test]
    fn hashes_are_written_and_read_in_hexadecimal(bytes: [u8; 32]) {
        let hash = Hash(bytes);
        prop_assert_eq!(Hash::from_hex(&hash.to_string()), Some(hash));
    }
}

fn flipped(mut hash: Hash, bit: usize) -> Hash {
    hash.0[bit / 8] ^= 1 << (bit % 8);
    hash
}

#[test]
fn what_is_not_64_hexadecimal_digits_is_no_hash() {
    let digits = "0".repeat(64);
    for text in
        ["", "00", &digits[1..], &format!("{digits}0"), &digits.replace('0', "g"), &"é".repeat(32)]
    {
        assert_eq!(Hash::from_hex(text), None, "{text}");
    }
}

#[test]
fn a_tree_gives_no_proof_of_what_it_does_not_hold() {
    let tree = tree(&records(7));
    assert_eq!(tree.root(8), None);
    for (index, size) in [(3, 3), (6, 4), (7, 7), (8, 7), (0, 0), (0, 8), (7, 8), (8, 8)] {
        assert_eq!(tree.inclusion(index, size), None, "record {index} of {size}");
    }
    for (old, new) in [(0, 0), (0, 7), (4, 3), (7, 6), (1, 8), (8, 8), (9, 8)] {
        assert_eq!(tree.consistency(old, new), None, "from {old} to {new}");
    }
}

#[test]
fn a_tree_of_the_same_size_needs_no_path() {
    let tree = tree(&records(7));
    for size in 1..=7 {
        assert_eq!(tree.consistency(size, size), Some(Vec::new()), "at {size}");
    }
    assert_eq!(tree.inclusion(0, 1), Some(Vec::new()));
}

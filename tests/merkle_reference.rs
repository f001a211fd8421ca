//! The tree and the verifiers against values that were published by others.

mod merkle_support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use merkle_support::{
    Hash, ParseHashError, StoredTree, empty_root, from_hex, leaf_hash, leaf_hash_of, mth,
    node_hash, root_at, verify_consistency, verify_inclusion,
};
use serde::Deserialize;

/// The entries that the reference roots are over, in hexadecimal.
const ENTRIES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

/// Tree sizes and their roots.
const ROOTS: [(u64, &str); 5] = [
    (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
];

fn reference_leaves() -> Vec<Hash> {
    ENTRIES.iter().map(|hex| leaf_hash_of(&from_hex(hex))).collect()
}

#[test]
fn reference_trees_have_the_published_roots() {
    let leaves = reference_leaves();
    let whole = StoredTree::of(&leaves);
    for (size, root) in ROOTS {
        let prefix = &leaves[..usize::try_from(size).unwrap()];
        assert_eq!(StoredTree::of(prefix).range.root().to_hex(), root);
        assert_eq!(root_at(&whole, size).unwrap().to_hex(), root);
        assert_eq!(mth(prefix).to_hex(), root, "the tests' own definition");
    }
}

#[test]
fn the_empty_tree_has_the_hash_of_nothing_as_root() {
    assert_eq!(empty_root(), Hash::digest(b""));
    assert_eq!(empty_root().to_hex(), ROOTS[0].1);
}

#[test]
fn leaves_and_nodes_are_hashed_behind_their_prefix() {
    let (one, two) = (Hash::digest(b"one"), Hash::digest(b"two"));
    let leaf = [[0].as_slice(), &one.0].concat();
    let node = [[1].as_slice(), &one.0, &two.0].concat();
    assert_eq!(leaf_hash(&one), Hash::digest(&leaf));
    assert_eq!(leaf_hash(&one), leaf_hash_of(&one.0));
    assert_eq!(node_hash(&one, &two), Hash::digest(&node));
    assert_ne!(node_hash(&one, &two), node_hash(&two, &one));
}

#[test]
fn a_hash_reads_back_from_its_text_in_either_case() {
    let hash = Hash::digest(b"text");
    let text = hash.to_hex();
    assert_eq!(text.len(), 2 * Hash::SIZE);
    assert_eq!(text, text.to_lowercase());
    assert_eq!(text, hash.to_string());
    assert_eq!(format!("{hash:?}"), format!("Hash({text})"));
    assert_eq!(Hash::from_hex(&text), Ok(hash));
    assert_eq!(text.to_uppercase().parse(), Ok(hash));
}

#[test]
fn a_text_that_is_no_hash_is_refused_with_its_reason() {
    let text = Hash::digest(b"text").to_hex();
    let length = |found| Err(ParseHashError::Length { found });
    assert_eq!(Hash::from_hex(""), length(0));
    assert_eq!(Hash::from_hex(&text[1..]), length(63));
    assert_eq!(Hash::from_hex(&format!("{text}0")), length(65));

    let digit = |position| Err(ParseHashError::Digit { position });
    assert_eq!(Hash::from_hex(&format!("g{}", &text[1..])), digit(0));
    assert_eq!(Hash::from_hex(&format!("{}+", &text[1..])), digit(63));
    // 64 bytes, but fewer characters: the first byte outside ASCII is named.
    assert_eq!(Hash::from_hex(&format!("{}é", &text[2..])), digit(62));
    assert_eq!(Hash::from_hex(&"🦀".repeat(16)), digit(0));
}

/// One line of the probes; a field that a probe's kind lacks stays at its default.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Probe {
    kind: String,
    desc: String,
    want_err: bool,
    proof: Option<Vec<String>>,
    leaf_idx: u64,
    tree_size: u64,
    leaf_hash: String,
    root: String,
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
}

impl Probe {
    fn accepted(&self) -> bool {
        let path: Vec<Hash> = self.proof.iter().flatten().map(|it| hash(it)).collect();
        match self.kind.as_str() {
            "inclusion" => verify_inclusion(
                &hash(&self.leaf_hash),
                self.leaf_idx,
                self.tree_size,
                &path,
                &hash(&self.root),
            ),
            "consistency" => verify_consistency(
                self.size1,
                self.size2,
                &hash(&self.root1),
                &hash(&self.root2),
                &path,
            ),
            kind => panic!("a probe of the unknown kind {kind}"),
        }
    }
}

/// Some probes use texts of other lengths as hashes that are wrong. Those are filled up with zeroes,
/// which leaves them wrong but lets them reach the verifier.
fn hash(base64: &str) -> Hash {
    let bytes = STANDARD.decode(base64).unwrap();
    assert!(bytes.len() <= Hash::SIZE);
    let mut hash = Hash([0; Hash::SIZE]);
    hash.0[..bytes.len()].copy_from_slice(&bytes);
    hash
}

#[test]
fn every_published_probe_is_accepted_or_refused_as_it_says() {
    let lines = include_str!("data/rfc9162-probes.jsonl").lines();
    let probes: Vec<Probe> = lines.map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(probes.len(), 98);
    assert!(probes.iter().any(|probe| !probe.want_err));
    for (number, probe) in (1..).zip(&probes) {
        let Probe { kind, desc, .. } = probe;
        assert_eq!(probe.accepted(), !probe.want_err, "line {number}: {kind}, {desc}");
    }
}

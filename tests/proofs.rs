//! A proof holds for the log that made it, and no tampering gets past its check.

mod support;

use merkql::broker::{Broker, BrokerConfig};
use merkql::hash::{Hash, leaf_hash, node_hash};
use merkql::partition::Partition;
use merkql::topic::RetentionConfig;
use merkql::tree::{MerkleTree, Proof, Siblings};
use std::collections::BTreeSet;
use support::*;

const RECORDS: u64 = 21;

/// Refused is `false` or an error, never `true` and never a panic.
fn is_refused(partition: &Partition, proof: &Proof) -> bool {
    !matches!(MerkleTree::verify_proof(proof, partition.store()), Ok(true))
        && !matches!(partition.verify_proof(proof), Ok(true))
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = hash.0;
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash(bytes)
}

#[test]
fn every_proof_holds_with_the_log_and_without_it() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    for size in 1..=RECORDS {
        producer.send(&keyless("t", format!("v{size}"))).unwrap();
        let partition = partition(&broker, "t", 0);
        let root = partition.merkle_root().unwrap().unwrap();
        for offset in 0..size {
            let proof = partition.proof(offset).unwrap().unwrap();
            let record = partition.read(offset).unwrap().unwrap();
            assert_eq!(proof.siblings.leaf_index, offset);
            assert_eq!(proof.siblings.tree_size, size);
            assert!(MerkleTree::verify_proof(&proof, partition.store()).unwrap());
            assert!(proof.proves(&record.hash(), &root));
        }
        assert!(partition.proof(size).unwrap().is_none());
        assert!(partition.proof(u64::MAX).unwrap().is_none());
    }
}

#[test]
fn a_proof_goes_on_holding_while_the_log_grows() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let mut proofs = Vec::new();
    for _ in 0..RECORDS {
        producer.send(&keyless("t", "v")).unwrap();
        let guard = partition(&broker, "t", 0);
        proofs.push(guard.proof(guard.next_offset() / 2).unwrap().unwrap());
        for proof in &proofs {
            assert!(guard.verify_proof(proof).unwrap());
        }
    }
}

#[test]
fn every_tampering_is_refused() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 21);
    let guard = partition(&broker, "t", 0);
    for offset in 0..RECORDS {
        let good = guard.proof(offset).unwrap().unwrap();
        assert!(!is_refused(&guard, &good));
        for bit in (0..256).step_by(17) {
            let leaf = Proof { leaf_hash: flipped(&good.leaf_hash, bit), ..good.clone() };
            assert!(is_refused(&guard, &leaf), "leaf of {offset}, bit {bit}");
            let root = Proof { root: flipped(&good.root, bit), ..good.clone() };
            assert!(is_refused(&guard, &root), "root of {offset}, bit {bit}");
            for step in 0..good.siblings.path.len() {
                let mut path = good.clone();
                path.siblings.path[step] = flipped(&path.siblings.path[step], bit);
                assert!(is_refused(&guard, &path), "step {step} of {offset}, bit {bit}");
            }
        }
        for index in (0..RECORDS + 3).chain([u64::MAX - 1, u64::MAX]).filter(|i| *i != offset) {
            let siblings = Siblings { leaf_index: index, ..good.siblings.clone() };
            assert!(is_refused(&guard, &Proof { siblings, ..good.clone() }), "{offset} as {index}");
        }
        for size in (0..2 * RECORDS).chain([1 << 63, u64::MAX]).filter(|size| *size != RECORDS) {
            let siblings = Siblings { tree_size: size, ..good.siblings.clone() };
            assert!(is_refused(&guard, &Proof { siblings, ..good.clone() }), "{offset} of {size}");
        }
        let mut longer = good.clone();
        longer.siblings.path.push(Hash::digest(b"more"));
        let mut shorter = good.clone();
        shorter.siblings.path.pop();
        let mut turned = good.clone();
        turned.siblings.path.reverse();
        for tampered in [longer, shorter, turned].iter().filter(|proof| **proof != good) {
            assert!(is_refused(&guard, tampered), "{offset}: {:?}", tampered.siblings.path.len());
        }
    }
}

#[test]
fn a_made_up_record_is_refused_with_whatever_tree_around_it() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 8);
    let guard = partition(&broker, "t", 0);
    let made_up = leaf_hash(&Hash::digest(b"never sent"));
    let root = guard.merkle_root().unwrap().unwrap();
    for tree_size in [1, 8] {
        let siblings = Siblings { leaf_index: 0, tree_size, path: Vec::new() };
        let own_root = Proof { leaf_hash: made_up, siblings: siblings.clone(), root: made_up };
        assert!(is_refused(&guard, &own_root), "a leaf used as its own root");
        let true_root = Proof { leaf_hash: root, siblings, root };
        assert!(is_refused(&guard, &true_root), "the root used as a leaf");
    }
    // A sound proof, but of another tree: only the comparison with the log's own root tells.
    let other = Hash::digest(b"other");
    let siblings = Siblings { leaf_index: 0, tree_size: 2, path: vec![other] };
    let of_another_tree = Proof { leaf_hash: made_up, siblings, root: node_hash(&made_up, &other) };
    assert!(of_another_tree.is_valid());
    assert!(is_refused(&guard, &of_another_tree));
    // An inner node with its true way to the root is no record.
    let good = guard.proof(0).unwrap().unwrap();
    let inner = node_hash(&good.leaf_hash, &good.siblings.path[0]);
    let path = good.siblings.path[1..].to_vec();
    let siblings = Siblings { leaf_index: 0, tree_size: 4, path };
    let as_leaf = Proof { leaf_hash: inner, siblings, root };
    assert!(as_leaf.is_valid());
    assert!(is_refused(&guard, &as_leaf));
}

#[test]
fn a_proof_of_one_log_is_refused_by_every_other() {
    let dirs = [scratch(), scratch()];
    let brokers = dirs.each_ref().map(|dir| open(dir.path()));
    for broker in &brokers {
        broker.create_topic("t", 2).unwrap();
        let producer = Broker::producer(broker);
        send_numbered(&producer, "t", "v", 6);
        send_numbered(&producer, "u", "v", 3);
    }
    let [first, second] = &brokers;
    let proof = partition(first, "t", 0).proof(1).unwrap().unwrap();
    assert!(!is_refused(&partition(first, "t", 0), &proof));
    // Partition and topic are hashed with the record, and here the times differ too or the rest.
    assert!(is_refused(&partition(first, "t", 1), &proof));
    assert!(is_refused(&partition(first, "u", 0), &proof));
    Broker::producer(second).send(&keyless("t", "another")).unwrap();
    let longer = partition(second, "t", 0).proof(3).unwrap().unwrap();
    assert!(is_refused(&partition(first, "t", 0), &longer), "of a tree this log never had");
}

#[test]
fn the_root_is_that_of_the_records_and_each_root_a_prefix_of_the_next() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let mut roots = BTreeSet::new();
    let mut peaks: Vec<(u32, Hash)> = Vec::new();
    let mut last = None;
    for size in 1..=RECORDS {
        let record = producer.send(&keyless("t", format!("v{size}"))).unwrap();
        peaks.push((0, leaf_hash(&record.hash())));
        while let [.., (left_level, left), (right_level, right)] = peaks[..]
            && left_level == right_level
        {
            peaks.truncate(peaks.len() - 2);
            peaks.push((left_level + 1, node_hash(&left, &right)));
        }
        let computed = peaks.iter().rev().map(|(_, peak)| *peak);
        let computed = computed.reduce(|right, left| node_hash(&left, &right)).unwrap();
        let guard = partition(&broker, "t", 0);
        let root = guard.merkle_root().unwrap().unwrap();
        assert_eq!(root, computed, "at size {size}");
        if let Some((old_size, old_root)) = last {
            let proof = guard.consistency_proof(old_size).unwrap().unwrap();
            assert!(proof.proves(&old_root, &root));
            assert!(!proof.proves(&root, &root));
        }
        assert!(roots.insert(root.to_hex()));
        last = Some((size, root));
    }
}

#[test]
fn asking_for_roots_and_proofs_writes_nothing() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 100);
    let window = watched::Watched::default();
    drop(broker);
    let broker = window.open(dir.path());
    window.take();
    let guard = partition(&broker, "t", 0);
    for offset in 0..100 {
        let proof = guard.proof(offset).unwrap().unwrap();
        assert!(guard.verify_proof(&proof).unwrap());
        guard.root_at(offset).unwrap().unwrap();
    }
    guard.merkle_root().unwrap().unwrap();
    let changes: Vec<_> = window.take().into_iter().filter(|call| call.op.is_change()).collect();
    assert_eq!(changes, []);
}

#[test]
fn what_retention_removed_is_checked_by_the_tree_alone() {
    let dir = scratch();
    let broker = Broker::open(BrokerConfig {
        default_retention: RetentionConfig { max_records: Some(2) },
        ..BrokerConfig::new(dir.path())
    })
    .unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 9);
    let guard = partition(&broker, "t", 0);
    let good = guard.proof(1).unwrap().unwrap();
    assert!(!is_refused(&guard, &good));
    let leaf = Proof { leaf_hash: flipped(&good.leaf_hash, 0), ..good };
    assert!(is_refused(&guard, &leaf));
}

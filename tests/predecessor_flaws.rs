//! What merkql 0.2 got wrong, seen by running it, each as a test. Syncs are
//! counted in `costs`, kills in `unclean_ends`, a full disk is in `scarcity`.

mod support;

use merkql::broker::{Broker, BrokerConfig};
use merkql::hash::{Hash, leaf_hash, node_hash};
use merkql::topic::RetentionConfig;
use merkql::tree::{Proof, Siblings};
use std::time::Duration;
use support::watched::{Op, Watched};
use support::*;

/// The root of RFC 9162 over these leaves, as the definition has it.
fn root_of(leaves: &[Hash]) -> Hash {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    node_hash(&root_of(left), &root_of(right))
}

#[test]
fn the_root_is_the_one_recomputed_from_the_records_also_after_a_reopen() {
    let dir = scratch();
    for size in 1..20 {
        let broker = open(dir.path());
        Broker::producer(&broker).send(&keyless("t", format!("v{size}"))).unwrap();
        let guard = partition(&broker, "t", 0);
        let records = guard.read_range(0, u64::MAX).unwrap();
        let leaves: Vec<_> = records.iter().map(|record| leaf_hash(&record.hash())).collect();
        assert_eq!(leaves.len(), size);
        assert_eq!(guard.merkle_root().unwrap(), Some(root_of(&leaves)));
    }
}

#[test]
fn lost_or_damaged_tree_files_lose_no_earlier_proof() {
    let dir = scratch();
    let send = |count| {
        let broker = open(dir.path());
        send_numbered(&Broker::producer(&broker), "t", "v", count);
        let guard = partition(&broker, "t", 0);
        let proof = guard.proof(1).unwrap().unwrap();
        (proof, guard.merkle_root().unwrap().unwrap())
    };
    let (early, _) = send(10);
    let (_, root) = send(10);
    flip_bit(&only_file(dir.path(), "hashes"), 100);
    let broker = open(dir.path());
    let guard = partition(&broker, "t", 0);
    assert_eq!(guard.merkle_root().unwrap(), Some(root));
    assert!(guard.verify_proof(&early).unwrap());
    assert!((0..20).all(|offset| guard.proof(offset).unwrap().unwrap().is_valid()));
}

#[test]
fn a_flipped_bit_in_a_stored_value_is_not_served_and_does_not_verify() {
    let dir = scratch();
    let proof = {
        let broker = open(dir.path());
        send_numbered(&Broker::producer(&broker), "t", "a long enough value ", 3);
        partition(&broker, "t", 0).proof(1).unwrap().unwrap()
    };
    damage_text(&only_file(dir.path(), ".log"), "a long enough value 1");
    let broker = open(dir.path());
    let guard = partition(&broker, "t", 0);
    assert!(guard.read(1).unwrap_err().is_corruption());
    assert!(guard.verify_proof(&proof).unwrap_err().is_corruption());
    assert_eq!(guard.read(2).unwrap().unwrap().value, "a long enough value 2");
}

#[test]
fn a_made_up_leaf_used_as_its_own_root_does_not_verify() {
    let dir = scratch();
    let broker = open(dir.path());
    Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
    let leaf = leaf_hash(&Hash::digest(b"made up"));
    let siblings = Siblings { leaf_index: 0, tree_size: 1, path: Vec::new() };
    let proof = Proof { leaf_hash: leaf, siblings, root: leaf };
    assert!(proof.is_valid(), "sound in itself");
    assert!(!partition(&broker, "t", 0).verify_proof(&proof).unwrap());
}

#[test]
fn a_proof_is_checked_without_the_provers_store() {
    let (bytes, root, hash) = {
        let dir = scratch();
        let broker = open(dir.path());
        let records = Broker::producer(&broker).send_batch(&numbered("t", "v", 9)).unwrap();
        let guard = partition(&broker, "t", 0);
        let proof = guard.proof(4).unwrap().unwrap();
        (proof.to_bytes(), guard.merkle_root().unwrap().unwrap(), records[4].hash())
    };
    let proof = Proof::from_bytes(&bytes).unwrap();
    assert!(proof.proves(&hash, &root));
    assert!(!proof.proves(&Hash::digest(b"another record"), &root));
}

#[test]
fn acknowledged_offsets_read_back_their_own_records_after_a_full_disk() {
    let dir = scratch();
    let window = Watched::default();
    let broker =
        Broker::open(BrokerConfig { journal_initial_bytes: 8192, ..window.config(dir.path()) })
            .unwrap();
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "first")).unwrap();
    window.fill_disk();
    let mut refused = 0;
    let mut sent = Vec::new();
    let mut attempt = |refused: &mut usize, value: String| match producer.send(&keyless("t", value))
    {
        Ok(record) => sent.push(record),
        Err(_) => *refused += 1,
    };
    (0..30).for_each(|number| attempt(&mut refused, format!("{number} {}", "x".repeat(3000))));
    window.permit();
    let before = refused;
    (0..30).for_each(|number| attempt(&mut refused, format!("retried {number}")));
    assert!(before > 0 && refused == before, "{before}, then {refused}");
    for record in sent {
        assert_eq!(partition(&broker, "t", 0).read(record.offset).unwrap(), Some(record));
    }
}

#[test]
fn retention_outlives_a_reopen_and_frees_the_disk() {
    let dir = scratch();
    let config = BrokerConfig {
        default_retention: RetentionConfig { max_records: Some(100) },
        segment_bytes: 16 << 10,
        ..BrokerConfig::new(dir.path())
    };
    let mut used = Vec::new();
    for _ in 0..4 {
        let broker = Broker::open(config.clone()).unwrap();
        let producer = Broker::producer(&broker);
        for _ in 0..20 {
            producer.send_batch(&vec![keyless("t", "x".repeat(200)); 50]).unwrap();
        }
        drop((producer, broker));
        let logs = files(dir.path(), ".log");
        used.push(logs.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>());
        assert_eq!(
            partition(&open(dir.path()), "t", 0).read_range(0, u64::MAX).unwrap().len(),
            100
        );
    }
    assert!(used.iter().all(|used| *used < 100_000), "{used:?} bytes for 100 records of 200");
}

#[test]
fn opening_a_large_log_reads_a_small_part_of_it() {
    let dir = scratch();
    {
        let broker = open(dir.path());
        let producer = Broker::producer(&broker);
        for _ in 0..20 {
            send_numbered(&producer, "t", "v", 5000);
        }
    }
    let window = Watched::default();
    let broker = window.open(dir.path());
    assert_eq!(partition(&broker, "t", 0).next_offset(), 100_000);
    let opened = window.take().into_iter().filter(|call| call.op == Op::Open);
    let touched: Vec<_> = opened.map(|call| call.path).collect();
    let size = |path: &std::path::PathBuf| path.metadata().unwrap().len();
    let names_records = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "log");
    let others: u64 = touched
        .iter()
        .filter(|path| !names_records(path) && !path.ends_with("hashes"))
        .map(size)
        .sum();
    assert!(others < 1 << 20, "{others} bytes in {touched:?}");
}

#[test]
fn poll_waits_and_sees_a_topic_created_after_subscribe() {
    let dir = scratch();
    let broker = open(dir.path());
    let mut consumer = subscribed(&broker, "g", "later");
    let found = std::thread::scope(|scope| {
        scope.spawn(|| Broker::producer(&broker).send(&keyless("later", "v")).unwrap());
        consumer.poll(Duration::from_secs(20)).unwrap()
    });
    assert_eq!(values(&found), ["v"]);
}

#[test]
fn live_consumers_of_a_group_get_each_record_once() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 4).unwrap();
    let mut first = subscribed(&broker, "g", "t");
    let mut second = subscribed(&broker, "g", "t");
    // Hands over what it holds too much of.
    first.poll(NOW).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 40);
    let mut found = poll_values(&mut first);
    found.extend(poll_values(&mut second));
    found.sort();
    let mut expected: Vec<_> = (0..40).map(|number| format!("v{number}")).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_corrupt_state_file_is_never_a_silent_default() {
    let dir = scratch();
    {
        let broker = open(dir.path());
        broker.create_topic("t", 3).unwrap();
        send_numbered(&Broker::producer(&broker), "t", "v", 9);
        let mut consumer = subscribed(&broker, "g", "t");
        consumer.poll(NOW).unwrap();
        consumer.commit_sync().unwrap();
    }
    // Wherever one slot is damaged, the state is that of the other.
    let slot = only_file(dir.path(), "manifest.a");
    let used = usize::try_from(slot.metadata().unwrap().len()).unwrap().min(400);
    for position in (0..used).step_by(7) {
        flip_bit(&slot, position);
        let broker = open(dir.path());
        assert_eq!(broker.topic("t").unwrap().num_partitions(), 3, "byte {position}");
        assert_eq!(partition(&broker, "t", 2).next_offset(), 3, "byte {position}");
        let mut consumer = subscribed(&broker, "g", "t");
        assert!(consumer.poll(NOW).unwrap().is_empty(), "byte {position}");
    }
}

//! The life of topics: deleted, created again, given more partitions, and cut off
//! at their start.

#![allow(clippy::disallowed_methods, reason = "the tests look at the disk behind the log's back")]

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::OffsetReset;
use merkql::topic::TopicConfig;
use merkql::tree::MerkleTree;
use std::fs;
use std::path::Path;
use support::watched::Watched;
use support::*;

/// The names of the folders of topics.
fn topic_folders(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join(".merkql/topics")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn topics_bytes(dir: &Path) -> u64 {
    disk_bytes(&dir.join(".merkql/topics"))
}

fn is_deleted<T>(outcome: Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::TopicDeleted { topic }) if topic == "t")
}

fn with_records(dir: &Path, partitions: u32, records: usize) -> BrokerRef {
    let broker = open(dir);
    broker.create_topic("t", partitions).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", records);
    broker
}

#[test]
fn a_deleted_topic_is_gone_at_once_and_after_a_reopen() {
    let dir = scratch();
    let broker = with_records(dir.path(), 2, 10);
    broker.create_topic("other", 1).unwrap();
    broker.delete_topic("t").unwrap();
    let check = |broker: &BrokerRef| {
        assert_eq!(broker.topics(), ["other"]);
        assert!(broker.topic("t").is_none());
        assert!(matches!(broker.delete_topic("t"), Err(Error::UnknownTopic { .. })));
    };
    check(&broker);
    drop(broker);
    check(&open(dir.path()));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn whoever_holds_a_deleted_topic_is_told_so() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 10);
    let topic = broker.topic("t").unwrap();
    let guard = partition(&broker, "t", 0);
    let proof = guard.proof(3).unwrap().unwrap();
    let root = guard.merkle_root().unwrap();
    let pending = Broker::producer(&broker).enqueue(&[keyless("t", "late")]).unwrap();
    // The queue is served in its order, so this record is still a member.
    broker.delete_topic("t").unwrap();
    assert_eq!(pending.wait().unwrap()[0].offset, 10);

    assert!(is_deleted(guard.read(0)));
    assert!(is_deleted(guard.read_range(0, 10)));
    assert!(is_deleted(guard.proof(0)));
    assert!(is_deleted(guard.consistency_proof(5)));
    assert!(is_deleted(guard.verify_proof(&proof)));
    assert_eq!(guard.merkle_root().unwrap(), root, "the snapshot's root needs no file");
    broker.maintain().unwrap();
    assert!(is_deleted(topic.partition(0).unwrap().read().unwrap().read(0)));
}

#[test]
fn a_topic_created_under_a_deleted_ones_name_is_another() {
    let dir = scratch();
    let broker = with_records(dir.path(), 2, 10);
    let mut before = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut before).len(), 10);
    before.commit_sync().unwrap();
    broker.delete_topic("t").unwrap();
    broker.create_topic("t", 1).unwrap();
    assert_eq!(before.committed("t", 0).unwrap(), None);
    send_numbered(&Broker::producer(&broker), "t", "new", 3);
    assert_eq!(poll_values(&mut before), ["new0", "new1", "new2"]);
    let fresh = partition(&broker, "t", 0);
    assert_eq!((fresh.min_valid_offset(), fresh.next_offset()), (0, 3));
    // What was read of the old one is nobody's loss.
    before.commit_sync().unwrap();
    drop((before, fresh, broker));
    let broker = open(dir.path());
    assert_eq!(poll_values(&mut subscribed(&broker, "h", "t")), ["new0", "new1", "new2"]);
    assert!(poll_values(&mut subscribed(&broker, "g", "t")).is_empty());
}

#[test]
fn offsets_of_a_topic_deleted_meanwhile_are_left_out_of_a_commit() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 4);
    send_numbered(&Broker::producer(&broker), "u", "v", 4);
    let mut consumer = consumer(&broker, "g");
    consumer.subscribe(&["t", "u"]).unwrap();
    assert_eq!(poll_values(&mut consumer).len(), 8);
    broker.delete_topic("t").unwrap();
    consumer.commit_sync().unwrap();
    let group = broker.describe_group("g").unwrap();
    let committed: Vec<_> =
        group.offsets.iter().map(|of| (of.topic.as_str(), of.committed)).collect();
    assert_eq!(committed, [("u", 4)]);
}

#[test]
fn the_disk_of_a_deleted_topic_is_freed_even_while_it_is_held() {
    let dir = scratch();
    let window = Watched::default();
    let broker = window.open(dir.path());
    broker.create_topic("t", 3).unwrap();
    let producer = Broker::producer(&broker);
    let batch: Vec<_> = (0..300).map(|number| keyless("t", format!("{number:0>1000}"))).collect();
    producer.send_batch(&batch).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(consumer.poll(NOW).unwrap().len(), 300);
    let guard = partition(&broker, "t", 0);
    assert!(topics_bytes(dir.path()) > 300_000);
    broker.delete_topic("t").unwrap();
    broker.maintain().unwrap();
    assert_eq!(topic_folders(dir.path()), Vec::<String>::new());
    // Only the journal's files are open: nothing keeps the room of a removed file.
    assert!(window.open_files() <= 3, "{} files open", window.open_files());
    assert!(is_deleted(guard.read(0)));
    assert!(consumer.poll(NOW).unwrap().is_empty());
}

#[test]
fn the_disk_of_a_deleted_topic_is_freed_by_appends_a_few_folders_at_a_time() {
    let dir = scratch();
    let window = Watched::default();
    let config = BrokerConfig {
        journal_initial_bytes: 64 << 10,
        journal_max_bytes: 64 << 10,
        ..window.config(dir.path())
    };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 100).unwrap();
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "v", 100);
    broker.delete_topic("t").unwrap();
    let mut most = 0;
    for _ in 0..100 {
        window.take();
        producer.send(&keyless("u", "v")).unwrap();
        let removed = |call: &support::watched::Call| call.op == support::watched::Op::Remove;
        most = most.max(window.take().into_iter().filter(removed).count());
    }
    assert_eq!(topic_folders(dir.path()), ["u.2"]);
    assert!(most <= 16, "{most} removals with one append");
}

#[test]
fn the_disk_of_a_deleted_partition_is_freed_by_appends_a_few_files_at_a_time() {
    let dir = scratch();
    let window = Watched::swift();
    let config = BrokerConfig {
        journal_initial_bytes: 64 << 10,
        journal_max_bytes: 64 << 10,
        segment_bytes: 512,
        ..window.config(dir.path())
    };
    let broker = Broker::open(config).unwrap();
    let producer = Broker::producer(&broker);
    for number in 0..200 {
        producer.send(&keyless("t", format!("{number:0>400}"))).unwrap();
    }
    assert!(files(dir.path(), ".log").len() > 150);
    broker.delete_topic("t").unwrap();
    let mut most = 0;
    for _ in 0..100 {
        window.take();
        producer.send(&keyless("u", "v")).unwrap();
        let removed = |call: &support::watched::Call| call.op == support::watched::Op::Remove;
        most = most.max(window.take().into_iter().filter(removed).count());
    }
    assert_eq!(topic_folders(dir.path()), ["u.2"]);
    assert!(most <= 24, "{most} removals with one append");
}

#[test]
fn what_is_left_of_a_deleted_topic_and_cannot_be_removed_keeps_nobody_out() {
    let dir = scratch();
    let kept = scratch();
    let broker = with_records(dir.path(), 1, 3);
    copy_dir(dir.path(), kept.path());
    broker.delete_topic("t").unwrap();
    send_numbered(&Broker::producer(&broker), "u", "v", 1);
    drop(broker);
    let left = ".merkql/topics/t.1";
    copy_dir(&kept.path().join(left), &dir.path().join(left));
    let window = Watched::default();
    window.refuse(|call| {
        let refused = call.op == support::watched::Op::Remove && call.path.ends_with("t.1/0");
        refused.then(|| std::io::ErrorKind::PermissionDenied.into())
    });
    let broker = window.open(dir.path());
    send_numbered(&Broker::producer(&broker), "u", "v", 1);
    drop(broker);
    assert_eq!(topic_folders(dir.path()), ["t.1", "u.2"]);
    drop(open(dir.path()));
    assert_eq!(topic_folders(dir.path()), ["u.2"]);
}

#[test]
fn folders_whose_names_the_log_does_not_give_stay() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 3);
    broker.delete_topic("t").unwrap();
    broker.create_topic("u", 1).unwrap();
    drop(broker);
    let topics = dir.path().join(".merkql/topics");
    for name in ["t.01", "t.+1", "u.2/01", "u.2/+1"] {
        fs::create_dir(topics.join(name)).unwrap();
        fs::write(topics.join(name).join("notes"), "somebody's").unwrap();
    }
    drop(open(dir.path()));
    assert_eq!(topic_folders(dir.path()), ["t.+1", "t.01", "u.2"]);
    assert!(topics.join("u.2/01/notes").exists() && topics.join("u.2/+1/notes").exists());
}

#[test]
fn what_a_crash_left_of_a_deleted_topic_goes_at_the_next_open() {
    let dir = scratch();
    let copy = scratch();
    let broker = with_records(dir.path(), 2, 10);
    broker.delete_topic("t").unwrap();
    // As a kill leaves it: the deletion is in the journal, the files are there.
    copy_dir(&dir.path().join(".merkql"), &copy.path().join(".merkql"));
    assert_eq!(topic_folders(copy.path()), ["t.1"]);
    let recovered = open(copy.path());
    assert!(recovered.topic("t").is_none());
    assert_eq!(topic_folders(copy.path()), Vec::<String>::new());
    recovered.create_topic("t", 1).unwrap();
    assert_eq!(topic_folders(copy.path()), ["t.2"], "no incarnation is used twice");
}

#[test]
fn leftovers_of_deleted_topics_go_and_copies_of_living_ones_stay() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 3);
    let topics = dir.path().join(".merkql/topics");
    let kept = scratch();
    copy_dir(&topics.join("t.1"), &kept.path().join("t.1"));
    broker.delete_topic("t").unwrap();
    broker.create_topic("u", 1).unwrap();
    drop(broker);
    copy_dir(&kept.path().join("t.1"), &topics.join("t.1"));
    copy_dir(&topics.join("u.2"), &topics.join("copy.2"));
    fs::create_dir(topics.join("notes")).unwrap();
    drop(open(dir.path()));
    assert_eq!(topic_folders(dir.path()), ["copy.2", "notes", "u.2"]);
}

#[test]
fn added_partitions_take_records_and_the_old_ones_keep_theirs() {
    let dir = scratch();
    let broker = with_records(dir.path(), 2, 10);
    let snapshot = broker.topic("t").unwrap();
    broker.add_partitions("t", 2).unwrap();
    broker.add_partitions("t", 5).unwrap();
    assert_eq!((snapshot.num_partitions(), broker.topic("t").unwrap().num_partitions()), (2, 5));
    assert!(matches!(
        broker.add_partitions("t", 4),
        Err(Error::PartitionCountMismatch { existing: 5, requested: 4, .. })
    ));
    assert!(matches!(
        broker.add_partitions("t", 100_001),
        Err(Error::InvalidPartitionCount { .. })
    ));
    assert!(matches!(broker.add_partitions("u", 1), Err(Error::UnknownTopic { .. })));
    assert!(matches!(
        broker.create_topic("t", 2),
        Err(Error::PartitionCountMismatch { existing: 5, .. })
    ));
    // The turns go on where they were: the eleventh record goes to 10 modulo 5.
    send_numbered(&Broker::producer(&broker), "t", "w", 10);
    let counts = |broker: &BrokerRef| -> Vec<u64> {
        (0..5).map(|number| partition(broker, "t", number).next_offset()).collect()
    };
    assert_eq!(counts(&broker), [7, 7, 2, 2, 2]);
    drop((broker, snapshot));
    let broker = open(dir.path());
    assert_eq!(counts(&broker), [7, 7, 2, 2, 2]);
    assert_eq!(partition(&broker, "t", 4).read_range(0, 9).unwrap().len(), 2);
}

#[test]
fn added_partitions_are_read_from_their_start_whatever_the_policy() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 5);
    let mut consumer = consumer_from(&broker, "g", OffsetReset::Latest);
    consumer.subscribe(&["t"]).unwrap();
    assert!(poll_values(&mut consumer).is_empty());
    broker.add_partitions("t", 3).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "w", 3);
    let mut seen = poll_values(&mut consumer);
    seen.sort();
    assert_eq!(seen, ["w0", "w1", "w2"]);
}

#[test]
fn partitions_whose_addition_was_cut_off_leave_nothing() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 5);
    drop(broker);
    fs::create_dir(dir.path().join(".merkql/topics/t.1/1")).unwrap();
    let broker = open(dir.path());
    assert!(!dir.path().join(".merkql/topics/t.1/1").exists());
    broker.add_partitions("t", 2).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "w", 2);
    assert_eq!(partition(&broker, "t", 1).next_offset(), 1);
}

#[test]
fn deleted_records_are_gone_and_the_rest_stays_provable() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 100);
    let before = partition(&broker, "t", 0);
    let (root, old_root) = (before.merkle_root().unwrap(), before.root_at(40).unwrap());
    broker.delete_records("t", 0, 60).unwrap();
    broker.delete_records("t", 0, 30).unwrap();
    drop(before);
    broker.maintain().unwrap();
    let check = |broker: &BrokerRef| {
        let after = partition(broker, "t", 0);
        assert_eq!((after.min_valid_offset(), after.next_offset()), (60, 100));
        assert_eq!(after.merkle_root().unwrap(), root);
        assert_eq!(after.read(59).unwrap(), None);
        assert_eq!(after.read(60).unwrap().unwrap().value, "v60");
        for offset in [0, 59, 60, 99] {
            let proof = after.proof(offset).unwrap().unwrap();
            assert!(MerkleTree::verify_proof(&proof, after.store()).unwrap());
        }
        let consistency = after.consistency_proof(40).unwrap().unwrap();
        assert_eq!(Some(consistency.old_root), old_root);
        assert!(consistency.is_valid());
    };
    check(&broker);
    assert!(matches!(
        broker.delete_records("t", 0, 101),
        Err(Error::OffsetOutOfRange { offset: 101, start: 60, end: 100, .. })
    ));
    assert!(matches!(broker.delete_records("t", 1, 0), Err(Error::UnknownPartition { .. })));
    assert!(matches!(broker.delete_records("u", 0, 0), Err(Error::UnknownTopic { .. })));
    drop(broker);
    check(&open(dir.path()));
}

#[test]
fn a_log_whose_records_are_all_deleted_is_empty_and_goes_on() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 100);
    let root = partition(&broker, "t", 0).merkle_root().unwrap();
    broker.delete_records("t", 0, 100).unwrap();
    broker.maintain().unwrap();
    assert_eq!(files(dir.path(), ".log"), Vec::<std::path::PathBuf>::new());
    assert_eq!(broker.describe_topic("t").unwrap().partitions[0].segments, 0);
    drop(broker);

    let broker = open(dir.path());
    let empty = partition(&broker, "t", 0);
    assert_eq!((empty.min_valid_offset(), empty.next_offset()), (100, 100));
    assert_eq!(empty.merkle_root().unwrap(), root);
    assert!(empty.read_range(0, 200).unwrap().is_empty());
    send_numbered(&Broker::producer(&broker), "t", "w", 10);
    drop(empty);
    drop(broker);
    let broker = open(dir.path());
    let grown = partition(&broker, "t", 0);
    assert_eq!(values(&grown.read_range(0, 200).unwrap())[0], "w0");
    for offset in [0, 99, 100, 109] {
        let proof = grown.proof(offset).unwrap().unwrap();
        assert!(grown.verify_proof(&proof).unwrap());
    }
    let consistency = grown.consistency_proof(100).unwrap().unwrap();
    assert_eq!(Some(consistency.old_root), root);
}

#[test]
fn the_tree_of_an_emptied_log_survives_the_loss_of_its_stored_hashes() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 11);
    let root = partition(&broker, "t", 0).merkle_root().unwrap();
    broker.delete_records("t", 0, 11).unwrap();
    drop(broker);
    fs::remove_file(only_file(dir.path(), "hashes")).unwrap();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "w", 6);
    let after = partition(&broker, "t", 0);
    assert_eq!(after.root_at(11).unwrap(), root);
    for offset in 11..17 {
        assert!(after.verify_proof(&after.proof(offset).unwrap().unwrap()).unwrap());
    }
}

#[test]
fn a_consumer_that_records_were_deleted_under_follows_its_policy() {
    let dir = scratch();
    let broker = with_records(dir.path(), 1, 10);
    let mut earliest = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut earliest).len(), 10);
    earliest.seek("t", 0, 2).unwrap();
    broker.delete_records("t", 0, 7).unwrap();
    assert_eq!(poll_values(&mut earliest), ["v7", "v8", "v9"]);
}

#[test]
fn settings_out_of_their_range_are_refused() {
    let dir = scratch();
    let broker = open(dir.path());
    let zero = std::time::Duration::from_micros(900);
    let wrong = [
        ("retention_bytes", TopicConfig { retention_bytes: Some(0), ..TopicConfig::default() }),
        ("retention_age", TopicConfig { retention_age: Some(zero), ..TopicConfig::default() }),
        ("segment_bytes", TopicConfig { segment_bytes: Some(511), ..TopicConfig::default() }),
        ("segment_age", TopicConfig { segment_age: Some(zero), ..TopicConfig::default() }),
    ];
    for (name, config) in wrong {
        let refused = broker.create_topic_with("t", &config);
        assert!(matches!(refused, Err(Error::InvalidOption { option, .. }) if option == name));
    }
    assert!(broker.topics().is_empty());
}

//! What outlives a broker: records, offsets, roots, settings; and what must not
//! keep one alive.

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig};
use merkql::compression::Compression;
use merkql::record::Record;
use merkql::topic::RetentionConfig;
use std::path::Path;
use support::*;

/// A configuration with segments and journal small enough to see them change.
fn small(dir: &Path) -> BrokerConfig {
    BrokerConfig {
        segment_bytes: 4096,
        journal_initial_bytes: 8192,
        journal_max_bytes: 16384,
        ..BrokerConfig::new(dir)
    }
}

fn retaining(dir: &Path, max_records: u64) -> BrokerConfig {
    BrokerConfig {
        default_retention: RetentionConfig { max_records: Some(max_records) },
        ..small(dir)
    }
}

#[test]
fn everything_survives_close_and_drop() {
    let dir = scratch();
    let mut expected: Vec<Record> = Vec::new();
    for round in 0..6u64 {
        let broker = Broker::open(small(dir.path())).unwrap();
        broker.create_topic("t", 2).unwrap();
        let kept = partition(&broker, "t", 0).read_range(0, u64::MAX).unwrap();
        assert_eq!(kept, expected, "round {round}");
        let mut consumer = subscribed(&broker, "g", "t");
        assert!(consumer.poll(NOW).unwrap().is_empty(), "round {round}: all was committed");

        let before = partition(&broker, "t", 0);
        send_numbered(&Broker::producer(&broker), "t", "v", 60);
        let after = partition(&broker, "t", 0);
        let proof = after.consistency_proof(before.next_offset()).unwrap();
        assert_eq!(proof.is_some(), round > 0, "an empty tree is a prefix of everything");
        assert_eq!(consumer.poll(NOW).unwrap().len(), 60);
        consumer.commit_sync().unwrap();
        expected = after.read_range(0, u64::MAX).unwrap();
        assert_eq!(expected.len() as u64, 30 * (round + 1));
        let root = after.merkle_root().unwrap();
        drop(consumer);
        if round % 2 == 0 {
            Broker::close(&broker).unwrap();
        }
        drop(broker);

        let broker = Broker::open(small(dir.path())).unwrap();
        assert_eq!(partition(&broker, "t", 0).merkle_root().unwrap(), root, "round {round}");
        assert_eq!(broker.topic("t").unwrap().num_partitions(), 2);
    }
}

#[test]
fn the_lock_is_released_at_once_with_the_last_reference() {
    let dir = scratch();
    for _ in 0..20 {
        let broker = open(dir.path());
        let producer = Broker::producer(&broker);
        let consumer = subscribed(&broker, "g", "t");
        drop(broker);
        assert!(matches!(
            Broker::open(BrokerConfig::new(dir.path())),
            Err(Error::AlreadyOpen { .. })
        ));
        producer.send(&keyless("t", "v")).unwrap();
        drop(producer);
        assert!(matches!(
            Broker::open(BrokerConfig::new(dir.path())),
            Err(Error::AlreadyOpen { .. })
        ));
        drop(consumer);
    }
    assert_eq!(partition(&open(dir.path()), "t", 0).next_offset(), 20);
}

#[test]
fn topics_guards_and_pending_sends_keep_no_broker_alive() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "first")).unwrap();
    let topic = broker.topic("t").unwrap();
    let handle = topic.partition(0).unwrap();
    let guard = handle.read().unwrap();
    let proof = guard.proof(0).unwrap().unwrap();
    let pending = producer.enqueue(&[keyless("t", "pending")]).unwrap();
    drop((broker, producer));

    let broker = open(dir.path());
    assert_eq!(partition(&broker, "t", 0).next_offset(), 2, "closing writes what is pending");
    assert_eq!(pending.wait().unwrap()[0].offset, 1);
    // What is left of the old broker serves no bytes of a directory that is not its own.
    assert!(matches!(guard.read(0), Err(Error::Closed)));
    assert_eq!(guard.next_offset(), 1);
    assert!(proof.is_valid());
}

#[test]
fn after_close_every_call_says_so() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let mut consumer = subscribed(&broker, "g", "t");
    Broker::close(&broker).unwrap();
    let second = open(dir.path());
    assert!(matches!(producer.send(&keyless("t", "v")), Err(Error::Closed)));
    assert!(matches!(producer.flush(), Err(Error::Closed)));
    assert!(matches!(broker.create_topic("u", 1), Err(Error::Closed)));
    assert!(matches!(broker.maintain(), Err(Error::Closed)));
    assert!(matches!(consumer.poll(NOW), Err(Error::Closed)));
    assert!(matches!(consumer.commit_sync(), Err(Error::Closed)));
    assert!(second.topics().is_empty());
    Broker::close(&broker).unwrap();
}

#[test]
fn switching_compression_leaves_everything_readable_and_provable() {
    let dir = scratch();
    let value = |number: u64| format!("{} {number}", "merkle ".repeat(20));
    let mut roots = Vec::new();
    let switches = [Compression::None, Compression::Lz4, Compression::None, Compression::Lz4];
    for (round, compression) in (0..).zip(switches) {
        let broker = Broker::open(BrokerConfig { compression, ..small(dir.path()) }).unwrap();
        let batch: Vec<_> = (0..50).map(|n| keyless("t", value(50 * round + n))).collect();
        let sent = Broker::producer(&broker).send_batch(&batch).unwrap();
        let guard = partition(&broker, "t", 0);
        roots.push((guard.next_offset(), guard.merkle_root().unwrap()));

        let all = guard.read_range(0, u64::MAX).unwrap();
        assert_eq!(all.len() as u64, 50 * (round + 1));
        assert_eq!(all[usize::try_from(50 * round).unwrap()..], sent);
        for (number, record) in (0..).zip(&all) {
            assert_eq!(record.value, value(number));
            assert_eq!(guard.read(number).unwrap().as_ref(), Some(record));
            let proof = guard.proof(number).unwrap().unwrap();
            assert!(proof.proves(&record.hash(), &guard.merkle_root().unwrap().unwrap()));
            assert!(guard.verify_proof(&proof).unwrap());
        }
        for (size, root) in &roots {
            assert_eq!(guard.root_at(*size).unwrap(), *root, "history changed");
        }
    }
}

#[test]
fn compression_saves_room() {
    let used = |compression| {
        let dir = scratch();
        let broker =
            Broker::open(BrokerConfig { compression, ..BrokerConfig::new(dir.path()) }).unwrap();
        let batch: Vec<_> =
            (0..2000).map(|n| keyless("t", format!("{n} {}", "text ".repeat(50)))).collect();
        Broker::producer(&broker).send_batch(&batch).unwrap();
        drop(broker);
        disk_bytes(dir.path())
    };
    let (plain, compressed) = (used(Compression::None), used(Compression::Lz4));
    assert!(compressed * 2 < plain, "{compressed} of {plain} bytes");
}

#[test]
fn retention_is_taken_at_creation_and_kept_with_the_topic() {
    let dir = scratch();
    {
        let broker = Broker::open(retaining(dir.path(), 10)).unwrap();
        send_numbered(&Broker::producer(&broker), "kept", "v", 25);
    }
    // Reopened without the option: the topic has its own by now.
    let broker = open(dir.path());
    assert_eq!(
        broker.topic("kept").unwrap().retention(),
        RetentionConfig { max_records: Some(10) }
    );
    assert_eq!(partition(&broker, "kept", 0).min_valid_offset(), 15);
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "kept", "w", 5);
    send_numbered(&producer, "all", "v", 25);
    assert_eq!(partition(&broker, "kept", 0).min_valid_offset(), 20);
    assert_eq!(partition(&broker, "all", 0).min_valid_offset(), 0);
}

#[test]
fn the_start_of_the_log_moves_with_each_append_also_under_a_guard() {
    let dir = scratch();
    let broker = Broker::open(retaining(dir.path(), 3)).unwrap();
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "v")).unwrap();
    let guard = partition(&broker, "t", 0);
    let root = guard.merkle_root().unwrap();
    for number in 1..8u64 {
        producer.send(&keyless("t", "v")).unwrap();
        let start = (number + 1).saturating_sub(3);
        assert_eq!(partition(&broker, "t", 0).min_valid_offset(), start);
        assert_eq!(guard.min_valid_offset(), start, "the start is live");
        assert_eq!(guard.next_offset(), 1, "the end is as it was");
    }
    assert_eq!(guard.merkle_root().unwrap(), root);
    assert!(guard.read(0).unwrap().is_none());
    let now = partition(&broker, "t", 0);
    assert!(now.read(4).unwrap().is_none());
    assert_eq!(now.read(5).unwrap().unwrap().offset, 5);
    assert_eq!(now.read_range(0, 100).unwrap().len(), 3);
    // What is gone can still be proved, and so can what is there.
    for offset in 0..8 {
        let proof = now.proof(offset).unwrap().unwrap();
        assert!(now.verify_proof(&proof).unwrap(), "{offset}");
    }
}

#[test]
fn retention_frees_the_disk_by_whole_segments() {
    let dir = scratch();
    let broker = Broker::open(retaining(dir.path(), 50)).unwrap();
    let producer = Broker::producer(&broker);
    for _ in 0..20 {
        let batch: Vec<_> = (0..50).map(|n| keyless("t", format!("{n:0>100}"))).collect();
        producer.send_batch(&batch).unwrap();
    }
    broker.maintain().unwrap();
    // A batch is more than a segment holds, so each has one of its own.
    let logs: u64 =
        files(dir.path(), ".log").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(logs < 4 * 50 * 200, "{logs} bytes of logs for 50 records of 100");
    assert!(files(dir.path(), ".log").len() <= 2);
    let guard = partition(&broker, "t", 0);
    assert_eq!((guard.min_valid_offset(), guard.next_offset()), (950, 1000));
    assert_eq!(guard.read_range(0, u64::MAX).unwrap().len(), 50);
    let root = guard.merkle_root().unwrap();
    drop((producer, broker));

    let broker = open(dir.path());
    let guard = partition(&broker, "t", 0);
    assert_eq!(guard.merkle_root().unwrap(), root);
    assert_eq!((guard.min_valid_offset(), guard.next_offset()), (950, 1000));
    assert!(guard.verify_proof(&guard.proof(3).unwrap().unwrap()).unwrap());
}

#[test]
fn a_consumer_that_retention_has_overtaken_follows_its_policy() {
    use merkql::consumer::OffsetReset::{Earliest, Latest};
    for (offset_reset, expected) in [(Earliest, vec!["w7", "w8", "w9"]), (Latest, vec![])] {
        let dir = scratch();
        let broker = Broker::open(retaining(dir.path(), 3)).unwrap();
        let producer = Broker::producer(&broker);
        send_numbered(&producer, "t", "v", 1);
        let mut consumer = consumer_from(&broker, "g", offset_reset);
        consumer.subscribe(&["t"]).unwrap();
        consumer.poll(NOW).unwrap();
        send_numbered(&producer, "t", "w", 10);
        assert_eq!(poll_values(&mut consumer), expected, "{offset_reset:?}");
        producer.send(&keyless("t", "next")).unwrap();
        assert_eq!(poll_values(&mut consumer), ["next"], "{offset_reset:?}");
    }
}

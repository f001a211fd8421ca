//! What each call costs beside sends, counted at the seam: syncs, writes, and what is
//! created or removed.

#![allow(clippy::disallowed_methods, reason = "the test copies a log as a crash leaves it")]

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::record::BytesProducerRecord;
use merkql::topic::{Compaction, TopicConfig};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::watched::{Call, Op, Watched};
use support::*;

/// How often something was asked of the disk.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Costs {
    syncs: usize,
    writes: usize,
    /// Files and folders that came or went.
    names: usize,
}

impl Costs {
    fn of(calls: &[Call]) -> Self {
        let count = |is: fn(Op) -> bool| calls.iter().filter(|call| is(call.op)).count();
        Self {
            syncs: count(Op::is_sync),
            writes: count(|op| matches!(op, Op::Write | Op::Allocate | Op::SetLen)),
            names: count(|op| matches!(op, Op::Create | Op::CreateDir | Op::Remove)),
        }
    }
}

/// One write and sync of a block, and nothing else.
const BLOCK: Costs = Costs { syncs: 1, writes: 1, names: 0 };

/// A log at rest, with a topic that has four partitions of which each has records.
fn at_rest(window: &Watched, dir: &Path) -> BrokerRef {
    let broker = window.open(dir);
    broker.create_topic("t", 4).unwrap();
    broker.create_topic("other", 4).unwrap();
    let producer = Broker::producer(&broker);
    for topic in ["t", "other"] {
        send_numbered(&producer, topic, "v", 400);
    }
    broker.maintain().unwrap();
    // The first commit after a checkpoint may have more to do.
    producer.send(&keyless("other", "v")).unwrap();
    window.take();
    broker
}

fn cost(window: &Watched, call: impl FnOnce()) -> Costs {
    window.take();
    call();
    Costs::of(&window.take())
}

#[test]
fn a_transaction_is_one_sync_and_writes_what_a_batch_writes() {
    let dir = scratch();
    let window = Watched::default();
    let broker = at_rest(&window, dir.path());
    let producer = Broker::producer(&broker);
    let mut consumer = subscribed(&broker, "g", "other");
    let one_each: Vec<_> = (0..4)
        .map(|partition| BytesProducerRecord::without_key("t", "v").with_partition(partition))
        .collect();
    // The block, and a log and a hash file of each partition.
    let expected = Costs { syncs: 1, writes: 1 + 2 * 4, names: 0 };
    for _ in 0..3 {
        let batch = cost(&window, || drop(producer.send_bytes_batch(&one_each).unwrap()));
        assert_eq!(batch, expected);
        send_numbered(&producer, "other", "v", 4);
        assert!(!consumer.poll(NOW).unwrap().is_empty());
        let committed = cost(&window, || {
            let mut transaction = broker.transaction();
            for record in &one_each {
                transaction.send_bytes(record).unwrap();
            }
            transaction.send_offsets(&mut consumer).unwrap();
            assert_eq!(transaction.commit().unwrap().len(), 4);
        });
        assert_eq!(committed, expected);
    }
}

#[test]
fn a_commit_of_offsets_is_one_write_and_one_sync() {
    let dir = scratch();
    let window = Watched::default();
    let broker = at_rest(&window, dir.path());
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(consumer.poll(NOW).unwrap().len(), 400);
    assert_eq!(cost(&window, || consumer.commit_sync().unwrap()), BLOCK);
    let given = [(("t", 0), 1), (("t", 3), 2)];
    assert_eq!(cost(&window, || consumer.commit_sync_offsets(&given).unwrap()), BLOCK);
}

#[test]
fn deleting_a_topic_is_one_write_and_one_sync() {
    let dir = scratch();
    let window = Watched::default();
    let broker = at_rest(&window, dir.path());
    assert_eq!(cost(&window, || broker.delete_topic("t").unwrap()), BLOCK);
    // A log, a hash file and a folder of each partition, and the topic's folder, go once
    // a checkpoint is written without them.
    assert_eq!(cost(&window, || broker.maintain().unwrap()).names, 4 * 3 + 1);
}

#[test]
fn folders_that_somebody_else_has_removed_are_asked_for_once() {
    let dir = scratch();
    let window = Watched::default();
    let broker = at_rest(&window, dir.path());
    broker.delete_topic("t").unwrap();
    fs::remove_dir_all(dir.path().join(".merkql/topics/t.1")).unwrap();
    let asked = Arc::new(AtomicUsize::default());
    let count = Arc::clone(&asked);
    window.refuse(move |call| {
        let is_of_it = call.path.to_string_lossy().contains("/t.1");
        let is_removal = matches!(call.op, Op::List | Op::Remove);
        count.fetch_add(usize::from(is_of_it && is_removal), Ordering::Relaxed);
        None
    });
    for _ in 0..3 {
        Broker::producer(&broker).send(&keyless("other", "v")).unwrap();
        broker.maintain().unwrap();
    }
    // A log and an index of each of four partitions, their folders, and the topic's.
    assert_eq!(asked.load(Ordering::Relaxed), 4 * 3 + 1);
}

#[test]
fn deleting_records_is_one_write_and_one_sync() {
    let dir = scratch();
    let window = Watched::default();
    let broker = at_rest(&window, dir.path());
    for before_offset in [50, 100] {
        let deleted = cost(&window, || broker.delete_records("t", 0, before_offset).unwrap());
        assert_eq!(deleted, BLOCK);
    }
    let again = cost(&window, || broker.delete_records("t", 0, 50).unwrap());
    assert_eq!(again, Costs::default(), "they are gone already");
}

#[test]
fn new_partitions_are_folders_and_two_syncs_however_many_they_are() {
    let dir = scratch();
    let window = Watched::default();
    let broker = at_rest(&window, dir.path());
    for (added, total) in [(1, 5), (5, 10), (10, 20)] {
        let costs = cost(&window, || broker.add_partitions("t", total).unwrap());
        // The folders' names, and the block.
        assert_eq!(costs, Costs { syncs: 2, writes: 1, names: added });
    }
    let again = cost(&window, || broker.add_partitions("t", 20).unwrap());
    assert_eq!(again, Costs::default(), "it has as many");
}

#[test]
fn maintaining_a_log_at_rest_writes_nothing() {
    let dir = scratch();
    let window = Watched::default();
    let broker = at_rest(&window, dir.path());
    let compacted = TopicConfig {
        retention_bytes: Some(10_000),
        segment_bytes: Some(4096),
        compaction: Some(Compaction::default()),
        ..TopicConfig::default()
    };
    broker.create_topic_with("compacted", &compacted).unwrap();
    let producer = Broker::producer(&broker);
    for number in 0..400 {
        producer.send(&keyed("compacted", &format!("k{}", number % 7), "v".repeat(100))).unwrap();
    }
    broker.maintain().unwrap();
    for _ in 0..2 {
        assert_eq!(cost(&window, || broker.maintain().unwrap()), Costs::default());
    }
}

/// Copies a log that nobody writes to at the moment: what a crash leaves.
fn crash(from: &Path, to: &Path) {
    for (path, content) in snapshot(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        match content {
            None => fs::create_dir_all(target).unwrap(),
            Some(content) => fs::write(target, content).unwrap(),
        }
    }
}

#[test]
fn recovery_syncs_a_partition_as_often_whatever_number_of_blocks_it_stands_in() {
    let syncs = |blocks: usize| {
        let (dir, left) = (scratch(), scratch());
        let broker = open(dir.path());
        broker.create_topic("t", 30).unwrap();
        for _ in 0..blocks {
            send_numbered(&Broker::producer(&broker), "t", "v", 30);
        }
        crash(dir.path(), left.path());
        let window = Watched::default();
        let config = BrokerConfig { max_open_files: 8, ..window.config(left.path()) };
        let recovered = Broker::open(config).unwrap();
        let syncs = window.take_syncs();
        assert_eq!(partition(&recovered, "t", 29).next_offset(), blocks as u64);
        syncs
    };
    let (few, many) = (syncs(2), syncs(10));
    assert_eq!(few, many);
    // A folder, and a log and a hash file when they are cut and when they are written
    // again; and what recovery does once.
    assert!(many <= 30 * 5 + 16, "{many} syncs");
}

fn open_compressed(window: &Watched, dir: &Path) -> BrokerRef {
    let config = BrokerConfig { compression: Compression::Lz4, ..window.config(dir) };
    Broker::open(config).unwrap()
}

#[test]
fn room_is_taken_for_compressed_records_before_the_commit_and_never_behind_it() {
    let dir = scratch();
    let window = Watched::swift();
    let broker = open_compressed(&window, dir.path());
    let producer = Broker::producer(&broker);
    // Digits shrink to about a half, so that a block of them stays long.
    let digits: String = (0..40_000).map(|number| number.to_string()).collect();
    for round in 0..3 {
        window.take();
        producer.send_batch(&vec![keyless("t", digits.as_str()); 4]).unwrap();
        let grown = window.take().into_iter().find(|call| call.op == Op::Write && call.grows);
        assert_eq!(grown, None, "round {round}");
    }
}

#[test]
fn compressed_records_are_packed_in_blocks_that_a_reader_of_one_can_afford() {
    let dir = scratch();
    let window = Watched::swift();
    let broker = open_compressed(&window, dir.path());
    let digits: String = (0..4_000).map(|number| number.to_string()).collect();
    Broker::producer(&broker).send_batch(&vec![keyless("t", digits.as_str()); 100]).unwrap();
    Broker::close(&broker).unwrap();
    let content = fs::read(only_file(dir.path(), ".log")).unwrap();
    let first_frame_len = u32::from_le_bytes(content[..4].try_into().unwrap()) as usize;
    assert!(first_frame_len < content.len() / 4, "{first_frame_len} of {}", content.len());
}

#[test]
fn records_are_deleted_in_a_block_behind_that_of_the_sends_that_wait() {
    let dir = scratch();
    let window = Watched::swift();
    let broker = at_rest(&window, dir.path());
    let next_offset = partition(&broker, "t", 0).next_offset();
    let record = BytesProducerRecord::without_key("t", "v").with_partition(0);
    let waiting = Broker::producer(&broker).enqueue_bytes(&[record]).unwrap();
    let costs = cost(&window, || broker.delete_records("t", 0, next_offset).unwrap());
    // Two blocks, and a log and a hash file of the partition.
    assert_eq!(costs, Costs { syncs: 2, writes: 2 + 2, names: 0 });
    assert_eq!(waiting.wait().unwrap()[0].offset, next_offset);
    assert_eq!(partition(&broker, "t", 0).min_valid_offset(), next_offset);
}

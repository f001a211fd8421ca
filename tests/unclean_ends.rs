//! A process that is killed leaves its files as they stand. A copy of the
//! directory of a broker that is still open is just that, so these tests take
//! one after each operation and open it.

#![allow(clippy::disallowed_methods, reason = "directories are copied behind the log's back")]

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::hash::Hash;
use merkql::record::Record;
use merkql::topic::RetentionConfig;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use support::watched::Watched;
use support::*;

/// Journal and segments so small that a few operations pass many of them.
fn small(dir: &Path) -> BrokerConfig {
    BrokerConfig {
        segment_bytes: 2048,
        journal_initial_bytes: 16 << 10,
        journal_max_bytes: 32 << 10,
        ..Watched::swift().config(dir)
    }
}

/// What a killed process leaves.
fn image(dir: &Path) -> tempfile::TempDir {
    let copy = scratch();
    for (path, content) in snapshot(dir) {
        let place = copy.path().join(path.strip_prefix(dir).unwrap());
        match content {
            None => fs::create_dir_all(place).unwrap(),
            Some(bytes) => {
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(place, bytes).unwrap();
            }
        }
    }
    copy
}

/// What was acknowledged so far.
#[derive(Default, Clone)]
struct Acknowledged {
    records: BTreeMap<(String, u32), Vec<Record>>,
    roots: BTreeMap<(String, u32), Option<Hash>>,
    committed: u64,
}

impl Acknowledged {
    fn add(&mut self, broker: &BrokerRef, records: Vec<Record>) {
        for record in records {
            let place = (record.topic.clone(), record.partition);
            let root = partition(broker, &place.0, place.1).merkle_root().unwrap();
            self.roots.insert(place.clone(), root);
            self.records.entry(place).or_default().push(record);
        }
    }

    fn assert_in(&self, broker: &BrokerRef) {
        for ((topic, number), records) in &self.records {
            let guard = partition(broker, topic, *number);
            assert_eq!(guard.next_offset(), records.len() as u64, "{topic}/{number}");
            assert_eq!(guard.merkle_root().unwrap(), self.roots[&(topic.clone(), *number)]);
            let start = usize::try_from(guard.min_valid_offset()).unwrap();
            assert_eq!(guard.read_range(0, u64::MAX).unwrap(), records[start..]);
            let last = records.len() as u64 - 1;
            assert!(guard.verify_proof(&guard.proof(last).unwrap().unwrap()).unwrap());
        }
        let mut consumer = consumer(broker, "g");
        consumer.subscribe(&["t"]).unwrap();
        let first = consumer.poll(NOW).unwrap().first().map(|record| record.offset);
        if let Some(records) = self.records.get(&("t".to_owned(), 0)) {
            let expected = (self.committed < records.len() as u64).then_some(self.committed);
            assert_eq!(first, expected, "the committed offset");
        }
    }
}

/// Opens an image of a killed broker, and an image of what recovered it.
fn assert_recovers(dir: &Path, acknowledged: &Acknowledged) {
    let killed = image(dir);
    let recovered = Broker::open(small(killed.path())).unwrap();
    acknowledged.assert_in(&recovered);
    let killed_again = image(killed.path());
    let again = Broker::open(small(killed_again.path())).unwrap();
    acknowledged.assert_in(&again);
    send_numbered(&Broker::producer(&again), "after", "v", 3);
    drop(again);
    let closed = Broker::open(small(killed_again.path())).unwrap();
    acknowledged.assert_in(&closed);
    assert_eq!(partition(&closed, "after", 0).next_offset(), 3);
}

fn run(config: BrokerConfig, operations: usize) {
    let dir: PathBuf = config.data_dir.clone();
    let broker = Broker::open(config).unwrap();
    let producer = Broker::producer(&broker);
    let mut acknowledged = Acknowledged::default();
    assert_recovers(&dir, &acknowledged);
    for number in 0..operations {
        let value = format!("{number} {}", "x".repeat(number * 37 % 400));
        match number % 5 {
            0 => acknowledged.add(&broker, vec![producer.send(&keyless("t", value)).unwrap()]),
            1 => {
                let batch = [keyless("t", "b"), keyless("u", value), keyless("t", "c")];
                acknowledged.add(&broker, producer.send_batch(&batch).unwrap());
            }
            2 => broker.create_topic(&format!("empty-{number}"), 2).unwrap(),
            3 => {
                let mut consumer = subscribed(&broker, "g", "t");
                let records = consumer.poll(NOW).unwrap();
                consumer.commit_sync().unwrap();
                acknowledged.committed =
                    records.last().map_or(acknowledged.committed, |r| r.offset + 1);
            }
            _ => {
                let topic = format!("new-{number}");
                acknowledged.add(&broker, producer.send_batch(&numbered(&topic, "n", 4)).unwrap());
            }
        }
        if number % 11 == 10 {
            broker.maintain().unwrap();
        }
        assert_recovers(&dir, &acknowledged);
    }
}

#[test]
fn everything_acknowledged_is_there_after_a_kill_at_any_moment() {
    let dir = scratch();
    run(small(dir.path()), 40);
}

#[test]
fn everything_acknowledged_is_there_after_a_kill_with_compression() {
    let dir = scratch();
    run(BrokerConfig { compression: Compression::Lz4, ..small(dir.path()) }, 25);
}

#[test]
fn retention_is_the_same_after_a_kill() {
    let dir = scratch();
    let default_retention = RetentionConfig { max_records: Some(5) };
    let config = BrokerConfig { default_retention, ..small(dir.path()) };
    let broker = Broker::open(config).unwrap();
    let producer = Broker::producer(&broker);
    for number in 0..30 {
        producer.send_batch(&numbered("t", &format!("{number}-{}", "x".repeat(100)), 3)).unwrap();
        let live = partition(&broker, "t", 0);
        let killed = image(dir.path());
        let recovered = Broker::open(small(killed.path())).unwrap();
        let guard = partition(&recovered, "t", 0);
        assert_eq!(guard.min_valid_offset(), live.min_valid_offset());
        assert_eq!(guard.read_range(0, 999).unwrap(), live.read_range(0, 999).unwrap());
        assert_eq!(guard.merkle_root().unwrap(), live.merkle_root().unwrap());
        assert!(guard.verify_proof(&guard.proof(0).unwrap().unwrap()).unwrap());
    }
}

#[test]
fn a_block_that_was_not_finished_is_dropped_whole() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "first")).unwrap();
    let before = snapshot(dir.path());
    let batch: Vec<_> = (0..40).map(|n| keyless("t", format!("{n} {}", "x".repeat(200)))).collect();
    producer.send_batch(&batch).unwrap();
    // The crash came while the batch was written to the journal: put back what
    // else it changed, and keep a part of its block.
    let killed = image(dir.path());
    let journal = only_file(killed.path(), ".wal");
    for (path, content) in &before {
        let place = killed.path().join(path.strip_prefix(dir.path()).unwrap());
        if let Some(content) = content.as_ref().filter(|_| place != journal) {
            fs::write(place, content).unwrap();
        }
    }
    // The batch goes to a partition whose files the first send made.
    flip_bit(&journal, find_in_file(&journal, "39 xxx") + 20);
    let recovered = open(killed.path());
    let records = partition(&recovered, "t", 0).read_range(0, 99).unwrap();
    assert_eq!(values(&records), ["first"], "all or nothing");
    let next = Broker::producer(&recovered).send(&keyless("t", "next")).unwrap();
    assert_eq!(next.offset, 1);
}

#[test]
fn a_block_larger_than_a_journal_file_is_as_safe_as_any() {
    let dir = scratch();
    let broker = Broker::open(small(dir.path())).unwrap();
    let producer = Broker::producer(&broker);
    let mut acknowledged = Acknowledged::default();
    for number in 0..4 {
        acknowledged.add(&broker, vec![producer.send(&keyless("t", "small")).unwrap()]);
        let large = vec![keyless("t", format!("{number} {}", "x".repeat(4000))); 50];
        let sent = producer.send_batch(&large).unwrap();
        acknowledged.add(&broker, sent);
        assert_recovers(dir.path(), &acknowledged);
    }
    broker.maintain().unwrap();
    let journal: u64 =
        files(dir.path(), ".wal").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(journal < 500_000, "{journal} bytes: files of an uncommon size are not kept");
}

#[test]
fn a_damaged_journal_refuses_to_open_and_changes_nothing() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    for number in 0..6 {
        producer.send(&keyless("t", format!("value {number}"))).unwrap();
    }
    for number in 0..6 {
        let killed = image(dir.path());
        damage_text(&only_file(killed.path(), ".wal"), &format!("value {number}"));
        let before = snapshot(killed.path());
        let error = Broker::open(BrokerConfig::new(killed.path())).unwrap_err();
        assert!(error.is_corruption(), "value {number}: {error}");
        assert!(snapshot(killed.path()) == before, "value {number}: {error}");
    }
}

/// What a power cut may take of a log that made no checkpoint yet: all that was not synced.
fn empty_all_but_the_journal(dir: &Path) {
    for unsynced in [".log", ".idx", "hashes"].iter().flat_map(|ending| files(dir, ending)) {
        fs::write(unsynced, []).unwrap();
    }
}

#[test]
fn the_journal_alone_brings_back_what_filled_many_segments() {
    let dir = scratch();
    let config = |dir: &Path| BrokerConfig {
        segment_bytes: 1024,
        journal_initial_bytes: 1 << 20,
        journal_max_bytes: 2 << 20,
        ..BrokerConfig::new(dir)
    };
    let broker = Broker::open(config(dir.path())).unwrap();
    let producer = Broker::producer(&broker);
    let mut acknowledged = Acknowledged::default();
    for number in 0..60 {
        let sent = producer.send(&keyless("t", format!("{number} {}", "x".repeat(100)))).unwrap();
        acknowledged.add(&broker, vec![sent]);
    }
    assert!(files(dir.path(), ".log").len() > 5);
    let cut = image(dir.path());
    empty_all_but_the_journal(cut.path());
    for _ in 0..2 {
        let recovered = Broker::open(config(cut.path())).unwrap();
        acknowledged.assert_in(&recovered);
        Broker::close(&recovered).unwrap();
    }
}

#[test]
fn a_damaged_block_is_told_by_those_behind_it_alone() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    for number in 0..6 {
        producer.send(&keyless("t", format!("value {number}"))).unwrap();
    }
    for number in 0..5 {
        let cut = image(dir.path());
        damage_text(&only_file(cut.path(), ".wal"), &format!("value {number}"));
        empty_all_but_the_journal(cut.path());
        let before = snapshot(cut.path());
        let error = Broker::open(BrokerConfig::new(cut.path())).unwrap_err();
        assert!(error.is_corruption(), "value {number}: {error}");
        assert!(error.to_string().contains("of the journal is valid"), "value {number}: {error}");
        assert!(snapshot(cut.path()) == before, "value {number}: {error}");
    }
}

#[test]
fn sends_that_share_a_block_may_fill_many_segments() {
    let dir = scratch();
    let broker = Broker::open(small(dir.path())).unwrap();
    let producer = Broker::producer(&broker);
    let mut acknowledged = Acknowledged::default();
    acknowledged.add(&broker, vec![producer.send(&keyless("t", "warm")).unwrap()]);
    let long = "x".repeat(300);
    let pending: Vec<_> = (0..30)
        .map(|number| producer.enqueue(&[keyless("t", format!("{number} {long}"))]).unwrap())
        .collect();
    let sent: Vec<Record> = pending.into_iter().flat_map(|send| send.wait().unwrap()).collect();
    assert!(files(dir.path(), ".log").len() > 3);
    acknowledged.add(&broker, sent);
    acknowledged.assert_in(&broker);
    assert_recovers(dir.path(), &acknowledged);
}

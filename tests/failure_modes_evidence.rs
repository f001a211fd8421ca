//! What nobody can tell from a directory alone, and a root that is kept elsewhere
//! tells; and a few rows of `FAILURE-MODES.md` that no other test is about.

#![allow(clippy::disallowed_methods, reason = "the tests copy directories behind the log's back")]

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::hash::Hash;
use merkql::record::{BytesRecord, Record};
use std::fs;
use std::path::Path;
use support::*;

/// What an auditor keeps elsewhere: how many records there were, and the root.
struct Witness {
    size: u64,
    root: Hash,
}

impl Witness {
    fn of(broker: &BrokerRef) -> Self {
        let partition = partition(broker, "t", 0);
        Self { size: partition.next_offset(), root: partition.merkle_root().unwrap().unwrap() }
    }

    /// Whether the log, as it is now, goes on from what was witnessed.
    fn agrees(&self, broker: &BrokerRef) -> bool {
        let partition = partition(broker, "t", 0);
        let now = partition.merkle_root().unwrap().unwrap();
        let proof = partition.consistency_proof(self.size).unwrap();
        proof.is_some_and(|proof| proof.proves(&self.root, &now))
    }
}

/// A copy of a directory, file by file.
fn copy(from: &Path, to: &Path) {
    for (path, content) in snapshot(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        match content {
            None => fs::create_dir_all(target).unwrap(),
            Some(content) => fs::write(target, content).unwrap(),
        }
    }
}

fn send(broker: &BrokerRef, prefix: &str, count: usize) {
    send_numbered(&Broker::producer(broker), "t", prefix, count);
}

/// A log of 10 records, closed, and a copy of it.
fn log_and_copy() -> (tempfile::TempDir, tempfile::TempDir) {
    let (original, older) = (scratch(), scratch());
    send(&open(original.path()), "early ", 10);
    copy(original.path(), older.path());
    (original, older)
}

#[test]
fn a_whole_directory_that_is_rolled_back_is_shown_by_a_root_kept_elsewhere() {
    let (original, older) = log_and_copy();
    let broker = open(original.path());
    let early = Witness::of(&broker);
    send(&broker, "late ", 5);
    let late = Witness::of(&broker);
    assert!(early.agrees(&broker) && late.agrees(&broker));
    drop(broker);

    let broker = open(older.path());
    let records = partition(&broker, "t", 0).read_range(0, 99).unwrap();
    assert_eq!(values(&records).last(), Some(&"early 9"), "nothing complains by itself");
    assert!(early.agrees(&broker), "a root of that time or before shows nothing");
    assert!(!late.agrees(&broker), "the later root shows it");
    // Nor does the log get away with growing as long again.
    send(&broker, "instead ", 5);
    assert!(!late.agrees(&broker));
    send(&broker, "and more ", 5);
    assert!(early.agrees(&broker) && !late.agrees(&broker));
}

#[test]
fn two_copies_of_a_directory_go_apart_and_a_root_kept_elsewhere_tells_them_apart() {
    let (original, twin) = log_and_copy();
    let (left, right) = (open(original.path()), open(twin.path()));
    send(&left, "left ", 5);
    send(&right, "right ", 5);
    let witness = Witness::of(&left);
    assert!(witness.agrees(&left));
    assert!(!witness.agrees(&right), "the same number of records, and another history");
    drop((left, right));
    let (left, right) = (open(original.path()), open(twin.path()));
    for (broker, last) in [(left, "left 4"), (right, "right 4")] {
        let records = partition(&broker, "t", 0).read_range(0, 99).unwrap();
        assert_eq!(records.len(), 15);
        assert_eq!(values(&records).last(), Some(&last), "each is a whole log of its own");
    }
}

#[test]
fn what_was_written_under_greater_limits_is_read_under_smaller_ones() {
    let dir = scratch();
    let value = "x".repeat(100_000);
    Broker::producer(&open(dir.path())).send(&keyless("t", value.clone())).unwrap();
    let smaller = BrokerConfig {
        max_record_bytes: 1_000,
        max_poll_bytes: 1_000,
        journal_initial_bytes: 8 << 10,
        journal_max_bytes: 16 << 10,
        segment_bytes: 1_000,
        max_open_files: 4,
        ..BrokerConfig::new(dir.path())
    };
    let broker = Broker::open(smaller).unwrap();
    let producer = Broker::producer(&broker);
    assert!(matches!(
        producer.send(&keyless("t", value.clone())),
        Err(Error::RecordTooLarge { limit_bytes: 1_000, .. })
    ));
    producer.send(&keyless("t", "small")).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut consumer), [value], "a poll returns one record at least");
    assert_eq!(poll_values(&mut consumer), ["small"]);
}

#[test]
fn bytes_that_are_no_serialized_record_are_refused_with_the_place() {
    let dir = scratch();
    let record = Broker::producer(&open(dir.path())).send(&keyless("t", "value")).unwrap();
    let bytes = record.serialize();
    assert_eq!(Record::deserialize(&bytes).unwrap(), record);
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        let error = Record::deserialize(cut).unwrap_err();
        let Error::InvalidRecord { position, .. } = error else { panic!("{error}") };
        assert!(position <= len, "{position} in {len} bytes");
        assert!(matches!(BytesRecord::deserialize(cut), Err(Error::InvalidRecord { .. })));
    }
}

#[test]
fn a_producer_that_was_forgotten_and_repeats_its_first_send_stores_it_again() {
    let dir = scratch();
    let config = BrokerConfig { max_producers: 1, ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(config).unwrap();
    let first_of = |id| {
        let sent = Broker::idempotent_producer(&broker, id).send_batch(0, &[keyless("t", "first")]);
        sent.unwrap()[0].offset
    };
    assert_eq!((first_of(1), first_of(1)), (0, 0), "as long as it is remembered, once");
    assert_eq!((first_of(2), first_of(1)), (1, 2));
}

//! What the log cannot know, and what it does with what it is told: the limits in
//! `FAILURE-MODES.md` that no scenario can show.

#![allow(clippy::disallowed_methods, reason = "the tests copy directories behind the log's back")]

mod support;

use chrono::{DateTime, TimeDelta, Utc};
use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::partition::Partition;
use merkql::record::BytesProducerRecord;
use merkql::topic::{Compaction, TopicConfig};
use merkql_sim::clock::SimClock;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::*;

const HOUR: Duration = Duration::from_secs(3600);
/// When the clock begins, in 2023.
const BEGIN_SECONDS: i64 = 1_700_000_000;
const BLOCK_BYTES: usize = 4096;

/// A log on a clock that obeys, with a topic of these settings.
fn with_topic(dir: &Path, config: &TopicConfig) -> (BrokerRef, Arc<SimClock>) {
    let clock = Arc::new(SimClock::new());
    clock.set_wall(Duration::from_secs(BEGIN_SECONDS.unsigned_abs()));
    let with_clock = BrokerConfig { clock: clock.clone(), ..BrokerConfig::new(dir) };
    let broker = Broker::open(with_clock).unwrap();
    broker.create_topic_with("t", config).unwrap();
    (broker, clock)
}

/// Sends a record that says by itself from when it is.
fn send_from(broker: &BrokerRef, value: &str, timestamp: DateTime<Utc>) {
    let record = BytesProducerRecord::without_key("t", value).with_timestamp(timestamp);
    Broker::producer(broker).send_bytes(&record).unwrap();
}

fn begin() -> DateTime<Utc> {
    DateTime::from_timestamp(BEGIN_SECONDS, 0).unwrap()
}

fn days(count: i64) -> TimeDelta {
    TimeDelta::days(count)
}

fn by_age() -> TopicConfig {
    TopicConfig {
        retention_age: Some(24 * HOUR),
        segment_age: Some(HOUR),
        ..TopicConfig::default()
    }
}

fn log_start(broker: &BrokerRef) -> u64 {
    broker.describe_topic("t").unwrap().partitions[0].log_start
}

#[test]
fn records_that_are_sent_with_an_old_timestamp_go_with_the_next_pass() {
    let dir = scratch();
    let (broker, _) = with_topic(dir.path(), &by_age());
    for number in 0..3 {
        send_from(&broker, &format!("last year's {number}"), begin() - days(365));
    }
    let before = partition(&broker, "t", 0);
    assert_eq!((log_start(&broker), before.read_range(0, 9).unwrap().len()), (0, 3));
    // The clock is right, and not a second has passed.
    broker.maintain().unwrap();
    let after = partition(&broker, "t", 0);
    assert_eq!((log_start(&broker), after.read_range(0, 9).unwrap().len()), (3, 0));
    // What is proved of them stays.
    assert_eq!(after.merkle_root().unwrap(), before.merkle_root().unwrap());
}

#[test]
fn one_timestamp_in_the_future_keeps_everything_behind_it() {
    let start_after = |first: DateTime<Utc>| {
        let dir = scratch();
        let (broker, clock) = with_topic(dir.path(), &by_age());
        send_from(&broker, "first", first);
        for _ in 0..100 {
            clock.advance(HOUR + Duration::from_secs(1));
            Broker::producer(&broker).send(&keyless("t", "later")).unwrap();
        }
        broker.maintain().unwrap();
        log_start(&broker)
    };
    assert!(start_after(begin()) > 70, "what is older than a day goes");
    assert_eq!(start_after(begin() + days(36_500)), 0, "nothing goes for a century");
}

#[test]
fn a_clock_that_goes_ahead_takes_tombstones_before_their_time() {
    let compaction = Compaction { tombstone_retention: 24 * HOUR };
    let config = TopicConfig {
        segment_bytes: Some(1024),
        compaction: Some(compaction),
        ..TopicConfig::default()
    };
    let dir = scratch();
    let (broker, clock) = with_topic(dir.path(), &config);
    let producer = Broker::producer(&broker);
    producer.send(&keyed("t", "gone", "value")).unwrap();
    let tombstone =
        BytesProducerRecord { value: None, ..BytesProducerRecord::new("t", "gone", "") };
    producer.send_bytes(&tombstone).unwrap();
    for _ in 0..30 {
        producer.send(&keyed("t", "filling", "x".repeat(100))).unwrap();
    }
    let has_tombstone = |partition: &Partition| {
        let records = partition.read_range_bytes(0, 99).unwrap();
        records.iter().any(|record| record.value.is_none())
    };
    broker.maintain().unwrap();
    clock.advance(HOUR);
    broker.maintain().unwrap();
    assert!(has_tombstone(&partition(&broker, "t", 0)), "its time is not over");
    clock.jump_forward(24 * HOUR);
    broker.maintain().unwrap();
    assert!(!has_tombstone(&partition(&broker, "t", 0)), "only the clock says that it is");
}

#[test]
fn a_directory_whose_log_is_gone_opens_as_a_fresh_one() {
    let dir = scratch();
    send_numbered(&Broker::producer(&open(dir.path())), "t", "early ", 10);
    // A volume that is not mounted looks like this, too.
    fs::remove_dir_all(dir.path().join(".merkql")).unwrap();
    let looked = changes_nothing(dir.path(), || merkql::verify(&BrokerConfig::new(dir.path())));
    assert!(matches!(looked, Err(Error::NotALog { .. })), "verifying tells");
    let broker = open(dir.path());
    assert_eq!(broker.topics(), Vec::<String>::new(), "nothing complains by itself");
    send_numbered(&Broker::producer(&broker), "t", "fresh ", 1);
    let partition = partition(&broker, "t", 0);
    assert_eq!(values(&partition.read_range(0, 99).unwrap()), ["fresh 0"]);
    let witnessed = partition.consistency_proof(10).unwrap();
    assert!(witnessed.is_none(), "a root of ten records shows it");
}

/// A copy of a directory, file by file.
fn copy(dir: &Path) -> tempfile::TempDir {
    let to = scratch();
    for (path, content) in snapshot(dir) {
        let target = to.path().join(path.strip_prefix(dir).unwrap());
        match content {
            None => fs::create_dir_all(target).unwrap(),
            Some(content) => fs::write(target, content).unwrap(),
        }
    }
    to
}

/// The log as a kill leaves it, in another directory, and a bit of its last block flipped.
fn killed_with_its_last_block_damaged(dir: &Path) -> tempfile::TempDir {
    let copy = copy(dir);
    let path = only_file(copy.path(), ".wal");
    let mut journal = fs::read(&path).unwrap();
    let last = journal.chunks(BLOCK_BYTES).rposition(|page| page.iter().any(|byte| *byte != 0));
    journal[last.unwrap() * BLOCK_BYTES + 8] ^= 1;
    fs::write(path, journal).unwrap();
    copy
}

/// A log of one topic with five records, in the middle of its work.
fn with_five_records() -> (tempfile::TempDir, BrokerRef) {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "value ", 5);
    (dir, broker)
}

#[test]
fn a_commit_in_a_damaged_last_block_is_gone_without_a_word() {
    let (dir, broker) = with_five_records();
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut consumer).len(), 5);
    consumer.commit_sync().unwrap();
    assert_eq!(consumer.committed("t", 0).unwrap(), Some(5));
    let copy = killed_with_its_last_block_damaged(dir.path());
    let reopened = open(copy.path());
    assert_eq!(poll_values(&mut subscribed(&reopened, "g", "t")).len(), 5, "once more");
}

#[test]
fn a_deletion_in_a_damaged_last_block_is_undone_without_a_word() {
    let (dir, broker) = with_five_records();
    broker.delete_records("t", 0, 4).unwrap();
    let copy = killed_with_its_last_block_damaged(dir.path());
    let read = |broker: &BrokerRef| partition(broker, "t", 0).read_range(0, 9).unwrap().len();
    assert_eq!((read(&broker), read(&open(copy.path()))), (1, 5), "deleted records are readable");

    broker.delete_topic("t").unwrap();
    let copy = killed_with_its_last_block_damaged(dir.path());
    let reopened = open(copy.path());
    assert_eq!((broker.topics().len(), reopened.topics()), (0, vec!["t".to_owned()]));

    broker.create_topic("new", 1).unwrap();
    let copy = killed_with_its_last_block_damaged(dir.path());
    let reopened = open(copy.path());
    assert_eq!((broker.topics(), reopened.topics().len()), (vec!["new".to_owned()], 0));
}

#[test]
fn a_damaged_last_block_whose_records_are_in_their_file_is_told() {
    let (dir, _broker) = with_five_records();
    let copy = killed_with_its_last_block_damaged(dir.path());
    let refused = Broker::open(BrokerConfig::new(copy.path()));
    assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
}

#[test]
fn a_root_shows_what_was_lost_before_it_and_nothing_that_came_after() {
    let (dir, broker) = with_five_records();
    let size = partition(&broker, "t", 0).next_offset();
    let root = partition(&broker, "t", 0).merkle_root().unwrap().unwrap();
    drop(broker);
    let older = copy(dir.path());
    // What comes after the last root that is kept: records, a commit, a topic.
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "later ", 5);
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut consumer).len(), 10);
    consumer.commit_sync().unwrap();
    broker.create_topic("new", 1).unwrap();
    drop((consumer, broker));
    let broker = open(older.path());
    let now = partition(&broker, "t", 0);
    let proof = now.consistency_proof(size).unwrap().unwrap();
    assert!(proof.proves(&root, &now.merkle_root().unwrap().unwrap()), "the root agrees");
    assert_eq!((now.next_offset(), broker.topics().len(), broker.groups().len()), (5, 1, 0));
}

//! Retention by bytes and by age, and segments by bytes and by age, on a clock
//! that obeys.

#![allow(clippy::disallowed_methods, reason = "the tests look at the disk behind the log's back")]

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::topic::TopicConfig;
use merkql_sim::clock::SimClock;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::watched::{Op, Watched};
use support::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A broker on a clock that begins in 2023, with a topic of these settings.
fn with_topic(dir: &Path, config: &TopicConfig) -> (BrokerRef, Arc<SimClock>) {
    let clock = Arc::new(SimClock::new());
    clock.set_wall(Duration::from_secs(1_700_000_000));
    let broker = open_at(dir, &clock);
    broker.create_topic_with("t", config).unwrap();
    (broker, clock)
}

fn open_at(dir: &Path, clock: &Arc<SimClock>) -> BrokerRef {
    let config = BrokerConfig {
        clock: clock.clone(),
        journal_max_bytes: 64 << 10,
        ..BrokerConfig::new(dir)
    };
    Broker::open(config).unwrap()
}

/// Sends records of 100 bytes, one by one.
fn send(broker: &BrokerRef, count: usize) {
    let producer = Broker::producer(broker);
    for number in 0..count {
        producer.send(&keyless("t", format!("{number:0>100}"))).unwrap();
    }
}

fn start_and_segments(broker: &BrokerRef) -> (u64, usize) {
    let partition = &broker.describe_topic("t").unwrap().partitions[0];
    (partition.log_start, partition.segments)
}

/// Roots and proofs of everything that is left, and prefixes of what is not.
fn check_tree(broker: &BrokerRef) {
    let partition = partition(broker, "t", 0);
    let last = partition.next_offset() - 1;
    for offset in [0, partition.min_valid_offset().min(last), last] {
        let proof = partition.proof(offset).unwrap().unwrap();
        assert!(partition.verify_proof(&proof).unwrap(), "{offset}");
    }
    let old = partition.next_offset() / 2;
    let consistency = partition.consistency_proof(old).unwrap().unwrap();
    assert!(consistency.is_valid());
    assert_eq!(Some(consistency.old_root), partition.root_at(old).unwrap());
}

#[test]
fn a_topics_own_segment_bytes_take_the_place_of_the_logs() {
    let dir = scratch();
    let config = TopicConfig { segment_bytes: Some(1024), ..TopicConfig::default() };
    let (broker, _) = with_topic(dir.path(), &config);
    send(&broker, 40);
    let (_, segments) = start_and_segments(&broker);
    assert!((4..=8).contains(&segments), "{segments} segments");
    assert!(files(dir.path(), ".log").iter().all(|path| path.metadata().unwrap().len() <= 4096));
}

#[test]
fn the_oldest_segments_go_while_the_rest_has_enough_bytes() {
    let dir = scratch();
    let config = TopicConfig {
        segment_bytes: Some(1024),
        retention_bytes: Some(3000),
        ..TopicConfig::default()
    };
    let (broker, _) = with_topic(dir.path(), &config);
    send(&broker, 200);
    broker.maintain().unwrap();
    let described = broker.describe_topic("t").unwrap().partitions[0].clone();
    let bytes = described.bytes - 32 * (2 * 200 - 3);
    assert!((3000..3000 + 1024).contains(&bytes), "{bytes} bytes are left");
    assert!(described.log_start > 150 && described.segments >= 3, "{described:?}");
    assert_eq!(files(dir.path(), ".log").len(), described.segments);
    check_tree(&broker);
    drop(broker);
    let broker = open(dir.path());
    assert_eq!(broker.describe_topic("t").unwrap().partitions[0], described);
    check_tree(&broker);
}

#[test]
fn appends_alone_keep_to_the_bytes_too() {
    let dir = scratch();
    let config = TopicConfig {
        segment_bytes: Some(1024),
        retention_bytes: Some(3000),
        ..TopicConfig::default()
    };
    let (broker, _) = with_topic(dir.path(), &config);
    send(&broker, 400);
    let (start, _) = start_and_segments(&broker);
    assert!(start > 340, "the log begins at {start} of 400");
    let left: u64 =
        files(dir.path(), ".log").iter().map(|path| path.metadata().unwrap().len()).sum();
    // What went is removed at checkpoints, each of which comes after sixteen blocks.
    assert!(left < 100 * 150, "{left} bytes of segments are on the disk");
}

#[test]
fn segments_go_once_their_youngest_record_is_too_old_the_active_one_too() {
    let dir = scratch();
    let config = TopicConfig {
        retention_age: Some(24 * HOUR),
        segment_age: Some(HOUR),
        ..TopicConfig::default()
    };
    let (broker, clock) = with_topic(dir.path(), &config);
    for _ in 0..6 {
        send(&broker, 10);
        clock.advance(4 * HOUR + Duration::from_secs(1));
    }
    assert_eq!(start_and_segments(&broker), (0, 6));
    // 24 hours and 6 seconds after the first segment.
    broker.maintain().unwrap();
    assert_eq!(start_and_segments(&broker), (10, 5));
    check_tree(&broker);
    clock.advance(8 * HOUR);
    // An append looks, too.
    send(&broker, 1);
    assert_eq!(start_and_segments(&broker).0, 30);
    check_tree(&broker);
    clock.advance(25 * HOUR);
    broker.maintain().unwrap();
    assert_eq!(start_and_segments(&broker), (61, 0));
    assert!(files(dir.path(), ".log").is_empty());
    check_tree(&broker);
    send(&broker, 2);
    drop(broker);
    let broker = open_at(dir.path(), &clock);
    assert_eq!(start_and_segments(&broker), (61, 1));
    assert_eq!(partition(&broker, "t", 0).read_range(0, 100).unwrap().len(), 2);
    check_tree(&broker);
}

#[test]
fn an_append_begins_a_new_segment_once_the_present_one_is_old() {
    let dir = scratch();
    let config = TopicConfig { segment_age: Some(HOUR), ..TopicConfig::default() };
    let (broker, clock) = with_topic(dir.path(), &config);
    send(&broker, 3);
    clock.advance(HOUR);
    send(&broker, 1);
    assert_eq!(start_and_segments(&broker), (0, 1), "just old enough to stay");
    clock.advance(Duration::from_millis(1));
    assert_eq!(start_and_segments(&broker), (0, 1), "nothing happens without an append");
    send(&broker, 2);
    assert_eq!(start_and_segments(&broker), (0, 2));
    drop(broker);
    let broker = open_at(dir.path(), &clock);
    send(&broker, 1);
    assert_eq!(start_and_segments(&broker), (0, 2), "its age is kept across a reopen");
    clock.advance(2 * HOUR);
    send(&broker, 1);
    assert_eq!(start_and_segments(&broker), (0, 3));
}

#[test]
fn a_clock_that_goes_back_takes_nothing_away_and_brings_nothing_back() {
    let dir = scratch();
    let config = TopicConfig {
        retention_age: Some(HOUR),
        segment_age: Some(HOUR),
        ..TopicConfig::default()
    };
    let (broker, clock) = with_topic(dir.path(), &config);
    send(&broker, 5);
    clock.advance(2 * HOUR);
    send(&broker, 5);
    broker.maintain().unwrap();
    assert_eq!(start_and_segments(&broker), (5, 1));
    clock.jump_back(100 * HOUR);
    send(&broker, 5);
    broker.maintain().unwrap();
    assert_eq!(start_and_segments(&broker), (5, 1));
    drop(broker);
    let broker = open_at(dir.path(), &clock);
    assert_eq!(start_and_segments(&broker), (5, 1));
    check_tree(&broker);
    // A leap to the year 2500 and beyond is old age, not an overflow.
    clock.jump_forward(Duration::from_secs(u64::from(u32::MAX) * 1000));
    broker.maintain().unwrap();
    assert_eq!(start_and_segments(&broker), (15, 0));
}

#[test]
fn a_log_start_that_was_seen_does_not_go_back_after_a_kill() {
    let dir = scratch();
    let copy = scratch();
    let config = TopicConfig {
        retention_age: Some(HOUR),
        segment_age: Some(HOUR),
        ..TopicConfig::default()
    };
    let (broker, clock) = with_topic(dir.path(), &config);
    send(&broker, 5);
    clock.advance(2 * HOUR);
    send(&broker, 1);
    // The second send's block looked, and the active segment stayed for its sake.
    clock.advance(Duration::from_secs(2));
    send(&broker, 1);
    assert_eq!(start_and_segments(&broker).0, 5);
    for (path, content) in snapshot(dir.path()) {
        let to = copy.path().join(path.strip_prefix(dir.path()).unwrap());
        match content {
            None => std::fs::create_dir_all(to).unwrap(),
            Some(content) => {
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::write(to, content).unwrap();
            }
        }
    }
    // By the recovering clock nothing is too old.
    clock.jump_back(2 * HOUR);
    let recovered = open_at(copy.path(), &clock);
    assert_eq!(start_and_segments(&recovered), (5, 1));
    assert_eq!(files(copy.path(), ".log").len(), 1);
}

#[test]
fn appends_look_for_what_is_too_old_once_a_second_and_not_each_of_them() {
    let dir = scratch();
    let config = TopicConfig {
        retention_age: Some(HOUR),
        segment_age: Some(HOUR),
        ..TopicConfig::default()
    };
    let (broker, clock) = with_topic(dir.path(), &config);
    send(&broker, 5);
    clock.advance(2 * HOUR);
    // Its block seals a segment, and looks; the one that it seals stays for its sake.
    send(&broker, 1);
    clock.advance(Duration::from_millis(999));
    send(&broker, 3);
    assert_eq!(start_and_segments(&broker), (0, 2));
    clock.advance(Duration::from_millis(1));
    send(&broker, 1);
    assert_eq!(start_and_segments(&broker).0, 5);
}

#[test]
fn a_damaged_record_that_is_deleted_while_it_is_read_is_no_error() {
    let dir = scratch();
    let window = Watched::swift().seeing_reads();
    let broker =
        Broker::open(BrokerConfig { segment_bytes: 1024, ..window.config(dir.path()) }).unwrap();
    send(&broker, 20);
    Broker::close(&broker).unwrap();
    let segments = files(dir.path(), ".log");
    damage_text(&segments[0], &format!("{:0>100}", 3));
    let second: u64 = segments[1].file_name().unwrap().to_str().unwrap()[..20].parse().unwrap();

    let broker = window.open(dir.path());
    let view = partition(&broker, "t", 0);
    assert!(view.read_range(0, 20).unwrap_err().is_corruption());
    let deleting = Arc::clone(&broker);
    window.meanwhile(
        move |call| call.op == Op::Read && call.path == segments[0],
        move || deleting.delete_records("t", 0, second).unwrap(),
    );
    let read = view.read_range(3, 20).unwrap();
    assert_eq!(read.first().map(|record| record.offset), Some(second));
    assert_eq!(read.len() as u64, 20 - second);
}

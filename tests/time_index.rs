//! From a time to an offset: the first record, in the order of offsets, whose
//! timestamp is at least the one asked for, whatever the segments and the index
//! look like.

#![allow(clippy::disallowed_methods, reason = "the tests change files behind the log's back")]

mod support;

use chrono::{DateTime, Utc};
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::record::BytesProducerRecord;
use merkql::topic::TopicConfig;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use support::*;

fn small(dir: &Path, compression: Compression) -> BrokerConfig {
    BrokerConfig {
        segment_bytes: 1024,
        index_interval_bytes: 100,
        compression,
        ..BrokerConfig::new(dir)
    }
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap()
}

/// Sends one batch with these timestamps, in milliseconds.
fn send(broker: &BrokerRef, times: &[i64]) {
    let record = |time: &i64| {
        let value = format!("{time:>30}");
        BytesProducerRecord::without_key("t", value).with_timestamp(at(*time))
    };
    let records: Vec<_> = times.iter().map(record).collect();
    Broker::producer(broker).send_bytes_batch(&records).unwrap();
}

fn offset_at(broker: &BrokerRef, ms: i64) -> Option<u64> {
    partition(broker, "t", 0).offset_for_timestamp(at(ms)).unwrap()
}

/// What the answer has to be, by looking at all records from `start` on.
fn expected(times: &[i64], start: usize, ms: i64) -> Option<u64> {
    let found = times.iter().skip(start).position(|time| *time >= ms);
    found.map(|index| (start + index) as u64)
}

fn assert_answers(broker: &BrokerRef, times: &[i64], start: usize) {
    let asked = times.iter().flat_map(|time| [time - 1, *time, time + 1]);
    for ms in asked.chain([-10, 1_000_000]) {
        assert_eq!(offset_at(broker, ms), expected(times, start, ms), "at {ms} in {times:?}");
    }
}

#[test]
fn an_empty_partition_has_no_offset_for_any_time() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    assert_eq!(offset_at(&broker, 0), None);
}

#[test]
fn times_that_no_record_can_have_lie_before_all_records_or_behind() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    send(&broker, &[10, 20]);
    let partition = partition(&broker, "t", 0);
    assert_eq!(partition.offset_for_timestamp(DateTime::<Utc>::MIN_UTC).unwrap(), Some(0));
    assert_eq!(partition.offset_for_timestamp(DateTime::<Utc>::MAX_UTC).unwrap(), None);
}

#[test]
fn a_view_does_not_know_what_was_sent_after_it_was_taken() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    send(&broker, &[10]);
    let before = partition(&broker, "t", 0);
    send(&broker, &[20]);
    assert_eq!(before.offset_for_timestamp(at(15)).unwrap(), None);
    assert_eq!(offset_at(&broker, 15), Some(1));
}

#[test]
fn records_below_the_start_of_the_log_are_not_found() {
    let dir = scratch();
    let broker = Broker::open(small(dir.path(), Compression::None)).unwrap();
    let config = TopicConfig { retention_records: Some(7), ..TopicConfig::default() };
    broker.create_topic_with("t", &config).unwrap();
    let times: Vec<i64> = (0..50).map(|number| number * 10).collect();
    for time in &times {
        send(&broker, &[*time]);
    }
    assert_eq!(partition(&broker, "t", 0).min_valid_offset(), 43);
    assert_answers(&broker, &times, 43);
    broker.maintain().unwrap();
    assert_answers(&broker, &times, 43);
}

#[test]
fn damage_that_may_hide_the_record_is_told_and_none_behind_it_is_taken_for_the_first() {
    let dir = scratch();
    let broker =
        Broker::open(BrokerConfig { index_interval_bytes: 64, ..BrokerConfig::new(dir.path()) })
            .unwrap();
    broker.create_topic("t", 1).unwrap();
    send(&broker, &[10, 20, 500, 30, 40, 600]);
    Broker::close(&broker).unwrap();
    drop(broker);
    damage_text(&only_file(dir.path(), ".log"), &format!("{:>30}", 500));
    for index_is_lost in [false, true] {
        if index_is_lost {
            fs::remove_file(only_file(dir.path(), ".idx")).unwrap();
        }
        let broker = open(dir.path());
        let partition = partition(&broker, "t", 0);
        assert_eq!(partition.offset_for_timestamp(at(15)).unwrap(), Some(1));
        let error = partition.offset_for_timestamp(at(450)).unwrap_err();
        assert!(error.is_corruption(), "{error}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<i64>),
    Reopen,
    LoseIndexes,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(0..200i64, 1..12).prop_map(Step::Send),
        1 => Just(Step::Reopen),
        1 => Just(Step::LoseIndexes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_answer_is_the_first_offset_at_or_past_the_time(
        steps in prop::collection::vec(step(), 1..20),
        lz4 in any::<bool>(),
    ) {
        let dir = scratch();
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let open = || Broker::open(small(dir.path(), compression)).unwrap();
        let mut broker = open();
        broker.create_topic("t", 1).unwrap();
        let mut times = Vec::new();
        for step in steps {
            match step {
                Step::Send(more) => {
                    send(&broker, &more);
                    times.extend(more);
                }
                Step::Reopen => {
                    drop(broker);
                    broker = open();
                }
                Step::LoseIndexes => {
                    drop(broker);
                    for path in files(dir.path(), ".idx") {
                        fs::remove_file(path).unwrap();
                    }
                    broker = open();
                }
            }
            assert_answers(&broker, &times, 0);
        }
    }
}

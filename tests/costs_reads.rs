//! What looking costs, counted at the seam: how often the disk is read, and how often a folder
//! is listed.

#![allow(clippy::disallowed_methods, reason = "the tests look at the disk behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::record::BytesProducerRecord;
use std::fs;
use std::path::Path;
use support::watched::{Call, Op, Watched};
use support::*;
use support_crash::{copy_dir, memory_dir};

/// How many of the calls read from a file with this ending.
fn reads_of(calls: &[Call], ending: &str) -> usize {
    let is_one =
        |call: &&Call| call.op == Op::Read && call.path.to_string_lossy().ends_with(ending);
    calls.iter().filter(is_one).count()
}

/// Appends 5,000 records of a kilobyte to one segment: a hundred of each second from
/// `second` on.
fn append_for_50_seconds(broker: &BrokerRef, second: i64) {
    for second in second..second + 50 {
        let at = chrono::DateTime::from_timestamp(second, 0).unwrap();
        let record = BytesProducerRecord::without_key("t", "x".repeat(1000)).with_timestamp(at);
        Broker::producer(broker).send_bytes_batch(&vec![record; 100]).unwrap();
    }
}

fn reopened(broker: BrokerRef, dir: &Path) -> (BrokerRef, Watched) {
    Broker::close(&broker).unwrap();
    drop(broker);
    let window = Watched::swift().seeing_reads();
    (window.open(dir), window)
}

#[test]
fn the_first_read_within_a_sealed_segment_goes_through_its_index() {
    let dir = scratch();
    let config =
        |window: &Watched| BrokerConfig { segment_bytes: 4 << 20, ..window.config(dir.path()) };
    let broker = Broker::open(config(&Watched::swift())).unwrap();
    let producer = Broker::producer(&broker);
    for _ in 0..50 {
        producer.send_batch(&vec![keyless("t", "x".repeat(1000)); 100]).unwrap();
    }
    Broker::close(&broker).unwrap();
    drop((producer, broker));
    assert_eq!(files(dir.path(), ".log").len(), 2);
    let window = Watched::swift().seeing_reads();
    let broker = Broker::open(config(&window)).unwrap();
    let guard = partition(&broker, "t", 0);
    window.take();
    assert!(guard.read(2000).unwrap().is_some());
    let reads = window.take_reads();
    assert!(reads < 8, "{reads} reads: the segment was looked through");
}

#[test]
fn a_time_within_a_long_segment_is_found_through_its_index() {
    let dir = scratch();
    let window = Watched::swift().seeing_reads();
    let broker = window.open(dir.path());
    append_for_50_seconds(&broker, 0);
    let view = partition(&broker, "t", 0);
    window.take();
    let at = chrono::DateTime::from_timestamp(40, 0).unwrap();
    assert_eq!(view.offset_for_timestamp(at).unwrap(), Some(4000));
    let reads = window.take_reads();
    assert!(reads < 4, "{reads} reads: the segment was looked through");
}

#[test]
fn an_index_that_was_made_anew_leads_to_times_as_well_as_the_one_that_was_lost() {
    let dir = scratch();
    let broker = Watched::swift().open(dir.path());
    append_for_50_seconds(&broker, 0);
    Broker::close(&broker).unwrap();
    fs::remove_file(only_file(dir.path(), ".idx")).unwrap();
    let (broker, window) = reopened(broker, dir.path());
    let view = partition(&broker, "t", 0);
    // The first look makes the index, for which it goes through the segment once.
    for (second, most) in [(0, 100), (40, 4)] {
        window.take();
        let at = chrono::DateTime::from_timestamp(second, 0).unwrap();
        let found = view.offset_for_timestamp(at).unwrap();
        assert_eq!(found, Some(u64::try_from(second).unwrap() * 100));
        let reads = window.take_reads();
        assert!(reads < most, "second {second}: {reads} reads");
    }
}

#[test]
fn an_index_that_an_earlier_run_wrote_is_written_over_by_that_of_the_whole_segment() {
    let dir = scratch();
    let (mut broker, mut window) = (Watched::swift().open(dir.path()), Watched::swift());
    for run in 0..2 {
        append_for_50_seconds(&broker, run * 50);
        partition(&broker, "t", 0).read(0).unwrap();
        (broker, window) = reopened(broker, dir.path());
    }
    let view = partition(&broker, "t", 0);
    window.take();
    assert!(view.read(9_999).unwrap().is_some());
    let reads = window.take_reads();
    assert!(reads < 8, "{reads} reads: the segment was looked through");
}

#[test]
fn reading_up_to_a_long_record_does_not_read_that_too() {
    let dir = scratch();
    let window = Watched::swift().seeing_reads();
    let broker = window.open(dir.path());
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "short")).unwrap();
    producer.send(&keyless("t", "long".repeat(250_000))).unwrap();
    let view = partition(&broker, "t", 0);
    window.take();
    assert_eq!(view.read_range(0, 1).unwrap().len(), 1);
    assert_eq!(window.take_reads(), 1);
}

#[test]
fn recovery_reads_the_header_of_each_block_of_the_journal_and_the_block_once() {
    const BLOCKS: usize = 200;
    let dir = memory_dir();
    let broker = Watched::swift().open(dir.path());
    broker.create_topic("t", 1).unwrap();
    broker.maintain().unwrap();
    for number in 0..BLOCKS {
        Broker::producer(&broker).send(&keyless("t", number.to_string())).unwrap();
    }
    let killed = memory_dir();
    copy_dir(dir.path(), killed.path());
    let window = Watched::swift().seeing_reads();
    let broker = window.open(killed.path());
    let reads = reads_of(&window.take(), ".wal");
    assert_eq!(partition(&broker, "t", 0).next_offset(), BLOCKS as u64);
    assert!(reads < 2 * BLOCKS + 50, "{reads} reads");
}

#[test]
fn opening_a_log_that_was_used_does_not_ask_whether_it_is_a_new_one() {
    for is_deleted in [false, true] {
        let dir = memory_dir();
        let broker = Watched::swift().open(dir.path());
        Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
        if is_deleted {
            broker.delete_topic("t").unwrap();
        }
        let (_broker, window) = reopened(broker, dir.path());
        let calls = window.take();
        for folder in ["journal", "topics"] {
            let is_look = |call: &&Call| call.op == Op::List && call.path.ends_with(folder);
            assert_eq!(calls.iter().filter(is_look).count(), 1, "{folder}: {calls:#?}");
        }
    }
}

#[test]
fn a_file_that_is_read_all_the_time_stays_open_whatever_others_are_opened() {
    let dir = memory_dir();
    let broker = Watched::swift().open(dir.path());
    broker.create_topic("t", 20).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 20);
    Broker::close(&broker).unwrap();
    drop(broker);
    let window = Watched::swift();
    let few = BrokerConfig { max_open_files: 8, ..window.config(dir.path()) };
    let broker = Broker::open(few).unwrap();
    window.take();
    let first = dir.path().join(".merkql/topics/t.1/0");
    for other in 1..20 {
        for number in [0, other] {
            assert!(partition(&broker, "t", number).read(0).unwrap().is_some());
        }
    }
    let calls = window.take();
    let is_opened = |call: &&Call| call.op == Op::Open && call.path.starts_with(&first);
    let opened: Vec<_> = calls.iter().filter(is_opened).collect();
    // Its index is looked for once, and is not kept open.
    assert!(opened.len() <= 2, "{opened:#?}");
}

//! Bytes in the wrong place, and segments cut short: every read gives the record
//! that was wanted or an error that names it, nothing is left out in silence,
//! nothing is built upon what is damaged, and looking for it costs little.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::hash::Hash;
use merkql::record::BytesProducerRecord;
use merkql::repair::RepairOptions;
use merkql::{Error, Result, repair};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use support::watched::{Call, Op, Watched};
use support::*;
use support_crash::{copy_dir, memory_dir};

const RECORDS: u64 = 40;

fn value(number: u64) -> String {
    format!("value {number:0>4} {}", "x".repeat(80))
}

fn config(dir: &Path, window: &Watched, segment_bytes: u64) -> BrokerConfig {
    BrokerConfig { segment_bytes, index_interval_bytes: 512, ..window.config(dir) }
}

/// Forty records of one length in one partition, closed.
fn closed_log(dir: &Path, segment_bytes: u64) {
    let broker = Broker::open(config(dir, &Watched::swift(), segment_bytes)).unwrap();
    for number in 0..RECORDS {
        Broker::producer(&broker).send(&keyless("t", value(number))).unwrap();
    }
}

fn remove_indexes(dir: &Path) {
    for path in files(dir, ".idx") {
        fs::remove_file(path).unwrap();
    }
}

fn damaged_offset<T: std::fmt::Debug>(result: Result<T>) -> u64 {
    match result {
        Err(Error::Corrupt(corruption)) => corruption.offset.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Every way of reading agrees that these records are lost and no others.
fn assert_lost(broker: &BrokerRef, lost: &[u64], what: &str) {
    let view = partition(broker, "t", 0);
    for offset in 0..RECORDS {
        if lost.contains(&offset) {
            assert_eq!(damaged_offset(view.read(offset)), offset, "{what}");
        } else {
            let read = view.read(offset).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(read.unwrap().value, value(offset), "{what}");
        }
        let next = lost.iter().find(|lost| **lost >= offset);
        if let Some(next) = next {
            assert_eq!(damaged_offset(view.read_range(offset, RECORDS)), *next, "{what}");
            let before = view.read_range(offset, *next).unwrap();
            assert_eq!(before.len() as u64, next - offset, "{what}");
        } else {
            let rest = view.read_range(offset, RECORDS).unwrap();
            assert_eq!(rest.len() as u64, RECORDS - offset, "{what}");
        }
    }
    let mut consumer = subscribed(broker, "skipping", "t");
    let mut next = 0;
    while next < RECORDS {
        match consumer.poll(NOW) {
            Ok(records) => {
                assert!(!records.is_empty(), "{what}: a silent end at {next}");
                for record in records.iter().filter(|record| record.offset < RECORDS) {
                    assert_eq!((record.offset, &record.value), (next, &value(next)), "{what}");
                    next += 1;
                }
            }
            failed => {
                assert_eq!(damaged_offset(failed), next, "{what}");
                assert!(lost.contains(&next), "{what}");
                next += 1;
                consumer.seek("t", 0, next).unwrap();
            }
        }
    }
}

#[test]
fn a_record_in_the_place_of_another_is_damage_of_that_other() {
    for (from, to) in [(5, 20), (20, 5), (0, 39), (39, 0), (20, 21), (21, 20), (38, 39), (1, 0)] {
        for indexed in [true, false] {
            let dir = memory_dir();
            closed_log(dir.path(), 1 << 20);
            let path = only_file(dir.path(), ".log");
            let mut bytes = fs::read(&path).unwrap();
            let len = bytes.len() / usize::try_from(RECORDS).unwrap();
            let place = |number: u64| usize::try_from(number).unwrap() * len;
            bytes.copy_within(place(from)..place(from) + len, place(to));
            fs::write(&path, bytes).unwrap();
            if !indexed {
                fs::remove_file(only_file(dir.path(), ".idx")).unwrap();
            }
            let broker = Broker::open(config(dir.path(), &Watched::swift(), 1 << 20)).unwrap();
            assert_lost(&broker, &[to], &format!("{from} over {to}, indexed: {indexed}"));
        }
    }
}

#[test]
fn segments_with_swapped_contents_are_damage_of_their_own_records() {
    let dir = memory_dir();
    closed_log(dir.path(), 1024);
    let segments = files(dir.path(), ".log");
    assert!(segments.len() > 3, "{segments:?}");
    let holds = |index: usize, number: u64| {
        let text = value(number);
        let bytes = fs::read(&segments[index]).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    for (a, b) in [(0, 1), (1, 0), (1, 3), (2, segments.len() - 1)] {
        let lost: Vec<_> =
            (0..RECORDS).filter(|number| holds(a, *number) || holds(b, *number)).collect();
        for indexed in [true, false] {
            let copy = memory_dir();
            copy_dir(dir.path(), copy.path());
            let [in_a, in_b] = [a, b].map(|index| fs::read(&segments[index]).unwrap());
            let place =
                |index: usize| copy.path().join(segments[index].strip_prefix(dir.path()).unwrap());
            fs::write(place(a), in_b).unwrap();
            fs::write(place(b), in_a).unwrap();
            if !indexed {
                remove_indexes(copy.path());
            }
            let broker = Broker::open(config(copy.path(), &Watched::swift(), 1024)).unwrap();
            assert_lost(&broker, &lost, &format!("{a} and {b} swapped, indexed: {indexed}"));
        }
    }
}

fn assert_proves_all(broker: &BrokerRef, root: Hash, what: &str) {
    let view = partition(broker, "t", 0);
    assert_eq!(view.root_at(RECORDS).unwrap(), Some(root), "{what}");
    for offset in 0..view.next_offset() {
        let proof = view.proof(offset).unwrap().unwrap();
        assert!(view.verify_proof(&proof).unwrap(), "{what}: {offset}");
    }
}

#[test]
fn hashes_lost_together_with_records_are_right_or_not_there() {
    // Sends, the hashes that are gone, and how the log ends while it is damaged.
    for (sends, kept_hashes, tended) in [
        (false, 0, true),
        (true, 0, true),
        (true, 0, false),
        (true, 700, true),
        (false, 700, false),
    ] {
        let what = format!("sends: {sends}, {kept_hashes} bytes kept, tended: {tended}");
        let dir = memory_dir();
        closed_log(dir.path(), 1024);
        let open = || Broker::open(config(dir.path(), &Watched::swift(), 1024)).unwrap();
        let root = partition(&open(), "t", 0).merkle_root().unwrap().unwrap();
        let segments = files(dir.path(), ".log");
        let right = [0, 1].map(|index| fs::read(&segments[index]).unwrap());
        fs::write(&segments[0], &right[1]).unwrap();
        fs::write(&segments[1], &right[0]).unwrap();
        let hashes = only_file(dir.path(), "hashes");
        let whole = fs::read(&hashes).unwrap();
        fs::write(&hashes, &whole[..kept_hashes]).unwrap();
        let mut sent = Vec::new();
        for _ in 0..2 {
            let broker = open();
            let view = partition(&broker, "t", 0);
            assert_eq!(view.root_at(RECORDS).unwrap_or(Some(root)), Some(root), "{what}");
            for offset in 0..RECORDS {
                // No proof, or one that leads to the root that was.
                if let Ok(Some(proof)) = view.proof(offset) {
                    let verified = view.verify_proof(&proof);
                    assert!(matches!(verified, Ok(true) | Err(Error::Corrupt(_))), "{what}");
                }
            }
            if sends {
                sent.extend(Broker::producer(&broker).send(&keyless("t", "more")));
            }
            if tended {
                broker.maintain().unwrap();
            }
        }
        fs::write(&segments[0], &right[0]).unwrap();
        fs::write(&segments[1], &right[1]).unwrap();
        for _ in 0..2 {
            let broker = open();
            assert_lost(&broker, &[], &what);
            assert_proves_all(&broker, root, &what);
            for record in &sent {
                let read = partition(&broker, "t", 0).read(record.offset).unwrap();
                assert_eq!(read.as_ref(), Some(record), "{what}");
            }
        }
    }
}

#[test]
fn a_segment_cut_short_takes_no_more_records_whatever_fails_before() {
    let cut_to = 2000;
    for number in 0.. {
        let dir = memory_dir();
        closed_log(dir.path(), 1 << 20);
        let path = only_file(dir.path(), ".log");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..cut_to]).unwrap();
        let lost: Vec<_> = (0..RECORDS)
            .filter(|number| {
                let text = value(*number);
                let at = whole.windows(text.len()).position(|window| window == text.as_bytes());
                at.unwrap() + text.len() > cut_to
            })
            .collect();
        assert!((10..35).contains(&lost.len()));
        let window = Watched::swift();
        let broker = Broker::open(config(dir.path(), &window, 1 << 20)).unwrap();
        let producer = Broker::producer(&broker);
        let mut count = 0;
        window.refuse(move |call: &Call| {
            count += usize::from(call.grows);
            (call.grows && count > number).then(|| ErrorKind::StorageFull.into())
        });
        let refused = producer.send(&keyless("t", "refused"));
        let ends = refused.is_ok();
        let mut sent: Vec<_> = refused.into_iter().collect();
        window.permit();
        sent.push(producer.send(&keyless("t", "first")).unwrap());
        sent.extend(producer.send_batch(&numbered("t", "later ", 20)).unwrap());
        assert_eq!(fs::read(&path).unwrap(), whole[..cut_to], "after {number} calls");
        let killed = memory_dir();
        copy_dir(dir.path(), killed.path());
        Broker::close(&broker).unwrap();
        for dir in [dir.path(), killed.path()] {
            for _ in 0..2 {
                let broker = Broker::open(config(dir, &Watched::swift(), 1 << 20)).unwrap();
                let what = format!("after {number} calls");
                assert_lost(&broker, &lost, &what);
                let view = partition(&broker, "t", 0);
                let new = view.read_range(RECORDS, u64::MAX).unwrap();
                assert_eq!(new, sent, "{what}");
            }
        }
        if ends {
            assert!(number > 1, "a send grew {number} files");
            break;
        }
    }
}

#[test]
fn reading_a_segment_that_was_cut_costs_little() {
    let dir = memory_dir();
    let records = numbered("t", &"x".repeat(200), 5000);
    Broker::producer(&Watched::swift().open(dir.path())).send_batch(&records).unwrap();
    let path = only_file(dir.path(), ".log");
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 1 << 20);
    fs::write(&path, &whole[..whole.len() / 10]).unwrap();
    for indexed in [true, false] {
        if !indexed {
            remove_indexes(dir.path());
        }
        let window = Watched::swift().seeing_reads();
        let broker = window.open(dir.path());
        let view = partition(&broker, "t", 0);
        for (from, to) in [(0, 5000), (400, 5000), (3000, 5000), (4999, 5000)] {
            window.take();
            assert!(damaged_offset(view.read_range(from, to)) >= from);
            assert_eq!(damaged_offset(view.read(4000)), 4000);
            let reads = window.take_reads();
            assert!(reads < 50, "{reads} reads for {from}..{to}, indexed: {indexed}");
        }
    }
}

#[test]
fn a_long_record_full_of_false_headers_costs_recovery_little() {
    let dir = memory_dir();
    let broker = Watched::swift().open(dir.path());
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "small")).unwrap();
    broker.maintain().unwrap();
    let long = "\u{1}\u{1}\u{1}\0".repeat(1 << 20);
    let sent = producer.send(&keyless("t", long)).unwrap();
    // The record in the segment is whole, or its first byte is not.
    for damaged in [false, true] {
        let image = memory_dir();
        copy_dir(dir.path(), image.path());
        if damaged {
            let path = only_file(image.path(), ".log");
            let first = find_in_file(&path, "small") + "small".len();
            flip_bit(&path, first);
        }
        let window = Watched::swift().seeing_reads();
        let broker = window.open(image.path());
        let calls = window.take();
        let reads = calls.iter().filter(|call| call.op == Op::Read).count();
        assert!(reads < 60, "{reads} reads to recover 4 MiB, damaged: {damaged}");
        let read = partition(&broker, "t", 0).read(1).unwrap();
        assert_eq!(read.as_ref(), Some(&sent));
    }
}

#[test]
fn a_damaged_record_full_of_headers_of_long_records_costs_a_repair_little() {
    const LONG: usize = 3 << 20;
    let dir = memory_dir();
    let window = Watched::swift().seeing_reads();
    let broker = window.open(dir.path());
    let length = u32::try_from(LONG / 2).unwrap().to_le_bytes();
    // Of a record in this place, under a checksum that does not hold.
    let header = [&length[..], &[7; 4], &0_u64.to_le_bytes(), &[1]].concat();
    let value = [header.repeat(100), vec![b' '; LONG]].concat();
    Broker::producer(&broker).send_bytes(&BytesProducerRecord::without_key("t", value)).unwrap();
    Broker::close(&broker).unwrap();
    drop(broker);
    // The byte that tells what kind of frame it is.
    flip_bit(&only_file(dir.path(), ".log"), 16);
    window.take_bytes_read();
    let report = repair(&window.config(dir.path()), &RepairOptions::default()).unwrap();
    assert_eq!((report.lost.len(), report.lost[0].end), (1, 1), "{report}");
    let read = window.take_bytes_read();
    assert!(read < 40 * LONG, "{read} bytes were read of a record of {LONG}");
}

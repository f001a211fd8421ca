//! Damage on disk stays local: what it covers is an error that names the place,
//! everything else is served, and what can be computed anew is.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::error::Corruption;
use merkql::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::forge::{forge_frame, seal_frame};
use support::watched::Watched;
use support::*;

const RECORDS: usize = 60;

/// Text that stands in the files once, for each record.
fn value(number: usize) -> String {
    format!("value {number:0>4} {}", "x".repeat(80))
}

/// A log of 60 records in two partitions, several segments each, closed.
fn closed_log(dir: &Path) {
    let broker = Broker::open(small(dir)).unwrap();
    broker.create_topic("t", 2).unwrap();
    let producer = Broker::producer(&broker);
    for number in 0..RECORDS {
        producer.send(&keyless("t", value(number))).unwrap();
    }
}

fn small(dir: &Path) -> BrokerConfig {
    BrokerConfig { segment_bytes: 1024, index_interval_bytes: 128, ..BrokerConfig::new(dir) }
}

/// The log file that holds `text`.
fn log_with(dir: &Path, text: &str) -> PathBuf {
    let holds = |path: &PathBuf| {
        fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    };
    files(dir, ".log").into_iter().find(holds).unwrap()
}

fn corruption<T: std::fmt::Debug>(result: Result<T>) -> Arc<Corruption> {
    match result {
        Err(Error::Corrupt(corruption)) => corruption,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_record_is_an_error_that_names_its_place_and_no_other_is_touched() {
    // Number 25 is offset 12 of partition 1.
    for bit_at in [-25, -9, -1, 0, 40] {
        let dir = scratch();
        closed_log(dir.path());
        let path = log_with(dir.path(), &value(25));
        let position = find_in_file(&path, &value(25)).checked_add_signed(bit_at).unwrap();
        flip_bit(&path, position);
        let broker = Broker::open(small(dir.path())).unwrap();
        let damaged = partition(&broker, "t", 1);

        let found = corruption(damaged.read(12));
        assert_eq!(found.path, path);
        assert_eq!(
            (found.topic.as_deref(), found.partition, found.offset),
            (Some("t"), Some(1), Some(12))
        );
        assert!(found.position <= position as u64 && position as u64 <= found.position + 200);
        let message = Error::Corrupt(found).to_string();
        assert!(message.contains("(t/1 offset 12)") && message.contains(".log"), "{message}");
        assert!(corruption(damaged.read_range(5, 20)).offset == Some(12));
        for offset in (0..30u64).filter(|offset| *offset != 12) {
            let record = damaged.read(offset).unwrap().unwrap();
            assert_eq!(
                record.value,
                value(2 * usize::try_from(offset).unwrap() + 1),
                "bit at {bit_at}"
            );
        }
        assert_eq!(damaged.read_range(0, 12).unwrap().len(), 12);
        assert_eq!(damaged.read_range(13, 30).unwrap().len(), 17);
        assert_eq!(partition(&broker, "t", 0).read_range(0, 30).unwrap().len(), 30);

        // The tree knows better than the record, and the proof is not believed.
        let proof = damaged.proof(12).unwrap().unwrap();
        assert!(!matches!(damaged.verify_proof(&proof), Ok(true)));
        // Both partitions go on.
        let sent = Broker::producer(&broker).send_batch(&numbered("t", "more", 2)).unwrap();
        for record in sent {
            let read = partition(&broker, "t", record.partition).read(record.offset).unwrap();
            assert_eq!(read, Some(record));
        }
    }
}

#[test]
fn a_consumer_gets_the_good_records_then_the_error_and_seeks_past_it() {
    let dir = scratch();
    closed_log(dir.path());
    damage_text(&log_with(dir.path(), &value(25)), &value(25));
    let broker = Broker::open(small(dir.path())).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    let good = consumer.poll(NOW).unwrap();
    assert_eq!(good.iter().filter(|record| record.partition == 0).count(), 30);
    assert_eq!(good.iter().filter(|record| record.partition == 1).count(), 12);
    for _ in 0..2 {
        let found = corruption(consumer.poll(NOW));
        assert_eq!((found.partition, found.offset), (Some(1), Some(12)), "it stays in front of it");
    }
    consumer.commit_sync().unwrap();
    consumer.seek("t", 1, 13).unwrap();
    let rest = consumer.poll(NOW).unwrap();
    assert_eq!(places(&rest), (13..30).map(|offset| (1, offset)).collect::<Vec<_>>());
    drop(consumer);
    // Committed was the position in front of the damage.
    assert_eq!(corruption(subscribed(&broker, "g", "t").poll(NOW)).offset, Some(12));
}

/// A partition and an offset.
type Place = (u32, u64);

/// Follows the errors as a program would: past the offset that each names.
fn read_past_damage(broker: &BrokerRef) -> (Vec<Place>, Vec<Place>) {
    let mut consumer = subscribed(broker, "skipping", "t");
    let (mut read, mut damaged) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        match consumer.poll(NOW) {
            Ok(records) if records.is_empty() => return (read, damaged),
            Ok(records) => read.extend(places(&records)),
            Err(error) => {
                let found = corruption::<()>(Err(error));
                let place = (found.partition.unwrap(), found.offset.unwrap());
                damaged.push(place);
                consumer.seek("t", place.0, place.1 + 1).unwrap();
            }
        }
    }
    panic!("no end of errors: {damaged:?}");
}

#[test]
fn a_missing_or_cut_segment_takes_its_records_and_no_others() {
    for cut in [None, Some(0), Some(300)] {
        for text in [value(5), value(25), value(59)] {
            let dir = scratch();
            closed_log(dir.path());
            let path = log_with(dir.path(), &text);
            let whole = fs::read(&path).unwrap();
            let lost = |number: &usize| {
                let text = value(*number);
                let at = whole.windows(text.len()).position(|window| window == text.as_bytes());
                at.is_some_and(|at| cut.is_none_or(|cut| at + text.len() > cut))
            };
            let lost: Vec<_> = (0..RECORDS).filter(lost).map(|n| (1, n as u64 / 2)).collect();
            assert!(!lost.is_empty());
            match cut {
                None => fs::remove_file(&path).unwrap(),
                Some(len) => fs::write(&path, &whole[..len]).unwrap(),
            }
            for round in 0..2u64 {
                let broker = Broker::open(small(dir.path())).unwrap();
                let (read, damaged) = read_past_damage(&broker);
                assert_eq!(damaged, lost, "cut to {cut:?}, round {round}");
                assert_eq!(
                    read.len() + damaged.len(),
                    RECORDS + 2 * usize::try_from(round).unwrap()
                );
                let sent = Broker::producer(&broker).send_batch(&numbered("t", "more", 2)).unwrap();
                assert!(sent.iter().all(|record| record.offset == 30 + round));
            }
        }
    }
}

#[test]
fn a_missing_folder_takes_its_partition_and_no_other() {
    for lost in ["1", ""] {
        let dir = scratch();
        closed_log(dir.path());
        Broker::producer(&Broker::open(small(dir.path())).unwrap())
            .send_batch(&numbered("u", "other", 3))
            .unwrap();
        let folder = dir.path().join(".merkql/topics/t.1").join(lost);
        fs::remove_dir_all(folder).unwrap();
        for round in 0..2u64 {
            let broker = Broker::open(small(dir.path())).unwrap();
            assert_eq!(partition(&broker, "u", 0).read_range(0, 9).unwrap().len(), 3);
            assert_eq!(corruption(partition(&broker, "t", 1).read(7)).offset, Some(7));
            let (read, damaged) = read_past_damage(&broker);
            let partitions_lost = if lost.is_empty() { 2 } else { 1 };
            assert_eq!(damaged.len(), 30 * partitions_lost, "round {round}");
            let sent_before = 2 * usize::try_from(round).unwrap();
            assert_eq!(read.len(), RECORDS - damaged.len() + sent_before, "round {round}");
            let sent = Broker::producer(&broker).send_batch(&numbered("t", "more", 2)).unwrap();
            assert!(sent.iter().all(|record| record.offset == 30 + round));
        }
    }
}

#[test]
fn an_empty_partition_whose_folder_is_gone_gets_it_again() {
    let dir = scratch();
    open(dir.path()).create_topic("t", 2).unwrap();
    fs::remove_dir_all(dir.path().join(".merkql/topics/t.1/1")).unwrap();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    assert_eq!(partition(&broker, "t", 1).next_offset(), 2);
}

#[test]
fn damaged_or_missing_hashes_are_computed_anew() {
    let damages: [fn(&Path); 4] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, &fs::read(path).unwrap()[..777]).unwrap(),
        |path| fs::write(path, []).unwrap(),
        |path| fs::write(path, vec![0x55; fs::read(path).unwrap().len()]).unwrap(),
    ];
    for damage in damages {
        let dir = scratch();
        closed_log(dir.path());
        let roots = {
            let broker = Broker::open(small(dir.path())).unwrap();
            let guard = partition(&broker, "t", 0);
            (0..=30).map(|size| guard.root_at(size).unwrap()).collect::<Vec<_>>()
        };
        damage(&files(dir.path(), "hashes")[0]);
        for _ in 0..2 {
            let broker = Broker::open(small(dir.path())).unwrap();
            let guard = partition(&broker, "t", 0);
            for offset in 0..30 {
                let proof = guard.proof(offset).unwrap().unwrap();
                assert!(guard.verify_proof(&proof).unwrap());
            }
            let now: Vec<_> = (0..=30).map(|size| guard.root_at(size).unwrap()).collect();
            assert_eq!(now, roots);
        }
    }
}

/// Nodes that cover 64 records or more are remembered once they were read.
#[test]
fn a_damaged_node_far_up_is_not_remembered_once_it_is_computed_anew() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 200);
    Broker::close(&broker).unwrap();
    // The root of the first 64 stands behind their 127 lower nodes.
    flip_bit(&only_file(dir.path(), "hashes"), 126 * 32);
    let broker = open(dir.path());
    let view = partition(&broker, "t", 0);
    for offset in [100, 150, 199] {
        let proof = view.proof(offset).unwrap().unwrap();
        assert!(proof.is_valid() && view.verify_proof(&proof).unwrap(), "{offset}");
    }
}

#[test]
fn behind_a_segment_that_was_cut_one_new_segment_begins_and_no_more() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 5);
    Broker::close(&broker).unwrap();
    let path = only_file(dir.path(), ".log");
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() - 1]).unwrap();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    for number in 0..5 {
        producer.send(&keyless("t", format!("more {number}"))).unwrap();
    }
    assert_eq!(files(dir.path(), ".log").len(), 2);
    assert_eq!(partition(&broker, "t", 0).read_range(5, 10).unwrap().len(), 5);
}

#[test]
fn a_single_flipped_bit_in_the_hashes_never_makes_a_false_proof() {
    let dir = scratch();
    closed_log(dir.path());
    let path = files(dir.path(), "hashes")[0].clone();
    let len = fs::read(&path).unwrap().len();
    for position in (0..len).step_by(97) {
        flip_bit(&path, position);
        let broker = Broker::open(small(dir.path())).unwrap();
        let guard = partition(&broker, "t", 0);
        let root = guard.merkle_root().unwrap().unwrap();
        for offset in 0..30 {
            let record = guard.read(offset).unwrap().unwrap();
            let proof = guard.proof(offset).unwrap().unwrap();
            assert!(proof.proves(&record.hash(), &root), "byte {position}, offset {offset}");
        }
    }
}

#[test]
fn damaged_or_missing_indexes_only_cost_time() {
    let damages: [fn(&Path); 4] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, []).unwrap(),
        |path| flip_bit(path, fs::read(path).unwrap().len() / 2),
        |path| fs::write(path, vec![0xff; 5000]).unwrap(),
    ];
    for damage in damages {
        let dir = scratch();
        closed_log(dir.path());
        let indexes = files(dir.path(), ".idx");
        assert!(indexes.len() >= 2, "{indexes:?}");
        for path in &indexes {
            damage(path);
        }
        for _ in 0..2 {
            let broker = Broker::open(small(dir.path())).unwrap();
            for offset in (0..30).rev() {
                let record = partition(&broker, "t", 1).read(offset).unwrap().unwrap();
                assert_eq!(record.value, value(2 * usize::try_from(offset).unwrap() + 1));
            }
        }
    }
}

#[test]
fn an_index_of_another_segment_is_not_believed() {
    let dir = scratch();
    closed_log(dir.path());
    let indexes = files(dir.path(), ".idx");
    fs::copy(&indexes[0], indexes.last().unwrap()).unwrap();
    let broker = Broker::open(small(dir.path())).unwrap();
    assert_eq!(partition(&broker, "t", 1).read(29).unwrap().unwrap().value, value(59));
    assert_eq!(read_past_damage(&broker).0.len(), RECORDS);
}

#[test]
fn a_segment_in_the_place_of_another_is_not_believed() {
    let dir = scratch();
    closed_log(dir.path());
    let (of_0, of_1) = (log_with(dir.path(), &value(0)), log_with(dir.path(), &value(1)));
    fs::copy(of_0, of_1).unwrap();
    let broker = Broker::open(small(dir.path())).unwrap();
    assert_eq!(corruption(partition(&broker, "t", 1).read(0)).offset, Some(0));
    assert_eq!(partition(&broker, "t", 0).read(0).unwrap().unwrap().value, value(0));
}

#[test]
fn damage_in_a_compressed_block_takes_that_block_alone() {
    let dir = scratch();
    let config = || BrokerConfig { compression: Compression::Lz4, ..BrokerConfig::new(dir.path()) };
    let sizes = {
        let broker = Broker::open(config()).unwrap();
        let producer = Broker::producer(&broker);
        (0..5u64)
            .map(|batch| {
                let text = |n| format!("{batch} {n} {}", "text ".repeat(40));
                let records: Vec<_> = (0..20).map(|n| keyless("t", text(n))).collect();
                producer.send_batch(&records).unwrap();
                broker.maintain().unwrap();
                partition(&broker, "t", 0).next_offset()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes.last(), Some(&100));
    let path = only_file(dir.path(), ".log");
    flip_bit(&path, fs::read(&path).unwrap().len() / 2);
    let broker = Broker::open(config()).unwrap();
    let (read, damaged) = read_past_damage(&broker);
    assert_eq!(damaged, (40..60).map(|offset| (0, offset)).collect::<Vec<_>>());
    assert_eq!(read.len(), 80);
}

#[test]
fn an_index_that_is_made_anew_goes_on_behind_damage() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", &"long ".repeat(100), 4000);
    Broker::close(&broker).unwrap();
    drop(broker);
    fs::remove_file(only_file(dir.path(), ".idx")).unwrap();
    let path = only_file(dir.path(), ".log");
    flip_bit(&path, find_in_file(&path, "long 5"));
    let window = Watched::default().seeing_reads();
    let broker = window.open(dir.path());
    let view = partition(&broker, "t", 0);
    assert!(view.read(3999).unwrap().is_some());
    window.take_reads();
    assert!(view.read(3000).unwrap().is_some());
    let reads = window.take_reads();
    assert!(reads <= 3, "{reads} reads for one record");
    assert!(matches!(view.read(5), Err(Error::Corrupt(_))));
}

/// A closed log of these values in one segment.
fn log_of(values: &[String]) -> tempfile::TempDir {
    let dir = scratch();
    let broker = Broker::open(Watched::swift().config(dir.path())).unwrap();
    for value in values {
        Broker::producer(&broker).send(&keyless("t", value.as_str())).unwrap();
    }
    Broker::close(&broker).unwrap();
    dir
}

#[test]
fn a_forged_record_that_swallows_the_one_behind_it_does_not_make_that_one_never_sent() {
    let dir = log_of(&["a".repeat(100), "b".repeat(100)]);
    let path = only_file(dir.path(), ".log");
    let wanted_len = fs::read(&path).unwrap().len();
    let alone =
        |len: usize| fs::read(only_file(log_of(&["c".repeat(len)]).path(), ".log")).unwrap();
    let mut frame = alone(200 + wanted_len - alone(200).len());
    assert_eq!(frame.len(), wanted_len);
    seal_frame(dir.path(), &mut frame);
    fs::write(&path, frame).unwrap();
    let broker = open(dir.path());
    let view = partition(&broker, "t", 0);
    assert!(view.read(0).unwrap().unwrap().value.starts_with("ccc"));
    assert_eq!(corruption(view.read(1)).offset, Some(1));
    assert_eq!(corruption(view.read_range(1, 2)).offset, Some(1));
}

/// A closed log with two blocks of twenty packed records, one of which says that it holds
/// `count`.
fn log_with_a_block_that_counts(block: usize, count: u8) -> tempfile::TempDir {
    let dir = scratch();
    let compressed =
        BrokerConfig { compression: Compression::Lz4, ..Watched::swift().config(dir.path()) };
    let broker = Broker::open(compressed).unwrap();
    for text in ["first ", "second "] {
        send_numbered(&Broker::producer(&broker), "t", &text.repeat(30), 20);
    }
    Broker::close(&broker).unwrap();
    let path = only_file(dir.path(), ".log");
    let content = fs::read(&path).unwrap();
    let first_len = 17 + u32::from_le_bytes(content[..4].try_into().unwrap()) as usize;
    let at = block * first_len + 17;
    assert_eq!(content[at], 20);
    forge_frame(dir.path(), &path, at, &[count]);
    dir
}

#[test]
fn a_forged_block_that_hides_no_record_costs_none() {
    for block in [0, 1] {
        let dir = log_with_a_block_that_counts(block, 21);
        let broker = open(dir.path());
        let view = partition(&broker, "t", 0);
        assert_eq!(view.read_range(0, 40).unwrap().len(), 40, "block {block}");
        assert!(view.read(39).unwrap().is_some(), "block {block}");
    }
}

#[test]
fn a_forged_block_that_hides_a_record_costs_that_one() {
    for (block, hidden) in [(0, 19), (1, 39)] {
        let dir = log_with_a_block_that_counts(block, 19);
        let broker = open(dir.path());
        let view = partition(&broker, "t", 0);
        assert_eq!(corruption(view.read_range(0, 40)).offset, Some(hidden));
        for offset in (0..40).filter(|offset| *offset != hidden) {
            assert!(view.read(offset).unwrap().is_some(), "block {block}: {offset}");
        }
    }
}

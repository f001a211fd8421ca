//! Repair of a log whose journal is damaged: what the journal lost, the files mostly
//! have, and what neither has is told, and nothing else is lost.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;
mod support_crash;
mod support_rescued;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::record::Record;
use merkql::repair::{GivenUp, Reason, RepairOptions, Report};
use merkql::topic::TopicConfig;
use merkql::{Error, repair};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::watched::{Call, Op, Watched};
use support::*;
use support_crash::{copy_dir, memory_dir};
use support_rescued::{config, repaired};

const APPLY: RepairOptions = RepairOptions { apply: true };
const PAGE: usize = 4096;

/// A log as a killed process leaves it, and what it had acknowledged. Its journal
/// holds, behind a checkpoint of 40 records in two partitions: 10 single sends, a
/// commit of all of them, a new topic with 3 records, and 10 single sends.
fn killed_log() -> (tempfile::TempDir, Vec<Record>) {
    let dir = memory_dir();
    let broker = Broker::open(config(dir.path())).unwrap();
    broker.create_topic("t", 2).unwrap();
    let producer = Broker::producer(&broker);
    let mut sent = producer.send_batch(&numbered("t", "early ", 40)).unwrap();
    broker.maintain().unwrap();
    for number in 0..10 {
        sent.push(producer.send(&keyless("t", format!("first {number}"))).unwrap());
    }
    let mut consumer = subscribed(&broker, "g", "t");
    consumer.poll(NOW).unwrap();
    consumer.commit_sync().unwrap();
    broker.create_topic_with("new", &TopicConfig::default()).unwrap();
    sent.extend(producer.send_batch(&numbered("new", "of a new topic ", 3)).unwrap());
    for number in 0..10 {
        sent.push(producer.send(&keyless("t", format!("last {number}"))).unwrap());
    }
    let image = memory_dir();
    copy_dir(dir.path(), image.path());
    (image, sent)
}

/// The file of the journal that is written to, and where its blocks of the present
/// generation begin.
fn journal(dir: &Path) -> (PathBuf, Vec<usize>) {
    let blocks = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let starts = (0..bytes.len()).step_by(PAGE);
        starts.filter(|start| bytes[*start..].starts_with(b"MqlBlock")).collect::<Vec<_>>()
    };
    let found = files(dir, ".wal").into_iter().map(|path| (blocks(&path), path));
    let (starts, path) = found.max_by_key(|(starts, _)| starts.len()).unwrap();
    (path, starts)
}

/// Every record but the lost ones is where it was, proved, and the log goes on where
/// the first lost one was.
fn assert_kept(dir: &Path, sent: &[Record], report: &Report) {
    let lost: BTreeSet<(String, u32, u64)> = report
        .lost
        .iter()
        .flat_map(|lost| {
            (lost.start..lost.end).map(|offset| (lost.topic.clone(), lost.partition, offset))
        })
        .collect();
    let place = |record: &Record| (record.topic.clone(), record.partition, record.offset);
    let broker = Broker::open(config(dir)).unwrap();
    for record in sent {
        if lost.contains(&place(record)) {
            continue;
        }
        let view = partition(&broker, &record.topic, record.partition);
        assert_eq!(view.read(record.offset).unwrap().as_ref(), Some(record), "{report}");
        let proof = view.proof(record.offset).unwrap().unwrap();
        assert!(view.verify_proof(&proof).unwrap());
    }
    for topic in broker.topics() {
        for number in 0..broker.topic(&topic).unwrap().num_partitions() {
            let of_partition = sent
                .iter()
                .filter(|record| (&record.topic, record.partition) == (&topic, number))
                .filter(|record| !lost.contains(&place(record)));
            assert_eq!(
                partition(&broker, &topic, number).next_offset(),
                of_partition.count() as u64,
                "{topic}/{number}: {report}"
            );
        }
    }
    let again = Broker::producer(&broker).send_batch(&numbered("t", "more", 2)).unwrap();
    for record in again {
        let view = partition(&broker, "t", record.partition);
        assert_eq!(view.read(record.offset).unwrap().as_ref(), Some(&record));
    }
}

fn committed(broker: &BrokerRef) -> Vec<String> {
    poll_values(&mut subscribed(broker, "g", "t"))
}

#[test]
fn any_damaged_block_loses_no_record_that_its_files_have() {
    let (image, sent) = killed_log();
    let (_, starts) = journal(image.path());
    assert!(starts.len() > 20, "{starts:?}");
    for (index, start) in starts.iter().enumerate() {
        let dir = memory_dir();
        copy_dir(image.path(), dir.path());
        flip_bit(&journal(dir.path()).0, start + 100);
        if index + 1 == starts.len() {
            // It was applied, and so the files bear witness.
            assert!(matches!(Broker::open(config(dir.path())), Err(Error::Corrupt(_))));
        }
        if let Ok(broker) = Broker::open(config(dir.path())) {
            panic!("block {index} of {starts:?}: {:?}", broker.topics());
        }
        let report = repaired(dir.path());
        assert_eq!(report.lost, [], "block {index}: {report}");
        let blocks = |one: &GivenUp| matches!(one, GivenUp::JournalBlocks { .. });
        assert_eq!(report.given_up.iter().filter(|one| blocks(one)).count(), 1, "{report}");
        assert_kept(dir.path(), &sent, &report);
        let values = committed(&Broker::open(config(dir.path())).unwrap());
        assert!(values.len() == 12 || values.len() == 62, "block {index}: {values:?}");
    }
}

#[test]
fn a_journal_that_is_gone_or_cut_loses_no_record_that_its_files_have() {
    let (image, sent) = killed_log();
    let (_, starts) = journal(image.path());
    for cut in [None, Some(0), Some(starts[3]), Some(starts[12] + 50)] {
        let dir = memory_dir();
        copy_dir(image.path(), dir.path());
        let (path, _) = journal(dir.path());
        match cut {
            None => fs::remove_file(&path).unwrap(),
            Some(len) => fs::write(&path, &fs::read(&path).unwrap()[..len]).unwrap(),
        }
        let report = repaired(dir.path());
        assert_eq!(report.lost, [], "cut to {cut:?}: {report}");
        let topic = "new".to_owned();
        let settings = report.given_up.contains(&GivenUp::TopicSettings { topic });
        // The twelfth block creates it.
        assert_eq!(settings, cut.is_none_or(|cut| cut < starts[11]), "cut to {cut:?}: {report}");
        assert_kept(dir.path(), &sent, &report);
    }
    // All of it, with its folder.
    let dir = memory_dir();
    copy_dir(image.path(), dir.path());
    fs::remove_dir_all(dir.path().join(".merkql/journal")).unwrap();
    assert!(Broker::open(config(dir.path())).is_err());
    let report = repair(&config(dir.path()), &APPLY).unwrap();
    assert_eq!(report.lost, []);
    assert_kept(dir.path(), &sent, &report);
}

#[test]
fn a_record_that_neither_journal_nor_file_has_ends_its_partition() {
    let (image, sent) = killed_log();
    let (_, starts) = journal(image.path());
    for number in [2, 3, 9] {
        let dir = memory_dir();
        copy_dir(image.path(), dir.path());
        let text = format!("first {number}");
        let record = sent.iter().find(|record| record.value == text).unwrap();
        flip_bit(&journal(dir.path()).0, starts[number] + 100);
        let holds = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        let file = files(dir.path(), ".log").into_iter().find(holds).unwrap();
        damage_text(&file, &text);
        let report = repaired(dir.path());
        let end = partition_end(&sent, record.partition);
        let [lost] = report.lost.as_slice() else { panic!("{report}") };
        assert_eq!(
            (lost.topic.as_str(), lost.partition, lost.start, lost.end, lost.reason),
            ("t", record.partition, record.offset, end, Reason::JournalDamaged)
        );
        let moved = report.given_up.iter().any(|one| {
            let GivenUp::CommittedOffset { group, partition, to, .. } = one else { return false };
            (group.as_str(), *partition, *to) == ("g", record.partition, record.offset)
        });
        assert!(moved, "{report}");
        assert_kept(dir.path(), &sent, &report);
        // The group skips nothing of what comes next.
        let broker = Broker::open(config(dir.path())).unwrap();
        let values = committed(&broker);
        assert!(values.iter().any(|value| value.starts_with("more")), "{values:?}");
    }
}

fn partition_end(sent: &[Record], partition: u32) -> u64 {
    sent.iter().filter(|one| one.topic == "t" && one.partition == partition).count() as u64
}

#[test]
fn records_of_whole_blocks_are_kept_where_the_files_have_nothing_yet() {
    let (image, sent) = killed_log();
    // As a power cut leaves it: what was applied since the checkpoint is gone, and a
    // block is damaged that holds no record of one partition.
    let dir = memory_dir();
    copy_dir(image.path(), dir.path());
    let (path, starts) = journal(dir.path());
    flip_bit(&path, starts[10] + 100);
    for path in files(dir.path(), ".log") {
        let bytes = fs::read(&path).unwrap();
        let zeroed: Vec<u8> = match bytes.windows(6).position(|window| window == b"first ") {
            Some(at) => bytes.iter().take(at - 27).copied().collect(),
            None => bytes,
        };
        fs::write(&path, zeroed).unwrap();
    }
    let report = repaired(dir.path());
    assert_eq!(report.lost, [], "{report}");
    assert_kept(dir.path(), &sent, &report);
}

#[test]
fn a_producer_whose_last_sends_are_lost_is_forgotten() {
    let dir = memory_dir();
    let broker = Broker::open(config(dir.path())).unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.maintain().unwrap();
    for (id, value) in [(1, "kept"), (2, "damaged"), (3, "behind")] {
        let producer = Broker::idempotent_producer(&broker, id);
        producer.send_batch(0, &[keyless("t", value)]).unwrap();
    }
    let image = memory_dir();
    copy_dir(dir.path(), image.path());
    let (path, starts) = journal(image.path());
    damage_text(&path, "damaged");
    assert!(starts.len() >= 3);
    damage_text(&only_file(image.path(), ".log"), "damaged");
    let report = repaired(image.path());
    assert_eq!((report.lost[0].start, report.lost[0].end), (1, 3));
    assert!(report.given_up.contains(&GivenUp::Producer { producer_id: 3 }), "{report}");
    assert!(!report.given_up.contains(&GivenUp::Producer { producer_id: 1 }), "{report}");
}

#[test]
fn the_blocks_that_are_lost_are_told_by_their_numbers() {
    let (image, _) = killed_log();
    let (path, starts) = journal(image.path());
    let sequence = |index: usize| {
        let at = starts[index] + 40;
        u64::from_le_bytes(fs::read(&path).unwrap()[at..at + 8].try_into().unwrap())
    };
    for index in [3, 5, 6, 7] {
        flip_bit(&path, starts[index] + 100);
    }
    let expected = [(3, 3), (5, 7)].map(|(first, last)| GivenUp::JournalBlocks {
        first: sequence(first),
        last: Some(sequence(last)),
    });
    let report = repaired(image.path());
    let blocks = report.given_up.iter();
    let blocks = blocks.filter(|one| matches!(one, GivenUp::JournalBlocks { .. }));
    assert!(blocks.eq(&expected), "{report}");
}

#[test]
fn blocks_that_a_copy_of_the_log_wrote_tell_nothing_of_it() {
    let dir = memory_dir();
    let broker = Broker::open(config(dir.path())).unwrap();
    broker.create_topic("t", 1).unwrap();
    let send = |broker: &BrokerRef, value: &str| {
        Broker::producer(broker).send(&keyless("t", value)).unwrap();
    };
    send(&broker, "of both");
    Broker::close(&broker).unwrap();
    drop(broker);
    let copy = memory_dir();
    copy_dir(dir.path(), copy.path());

    let broker = Broker::open(config(dir.path())).unwrap();
    send(&broker, "ours");
    broker.maintain().unwrap();
    send(&broker, "ours, behind the checkpoint");
    let image = memory_dir();
    copy_dir(dir.path(), image.path());
    for path in files(image.path(), ".wal") {
        fs::remove_file(path).unwrap();
    }

    // It does more, so that its blocks have the greater numbers.
    for _ in 0..4 {
        let broker = Broker::open(config(copy.path())).unwrap();
        for _ in 0..5 {
            send(&broker, "of the copy");
        }
        Broker::close(&broker).unwrap();
    }
    for path in files(copy.path(), ".wal") {
        let name = path.strip_prefix(copy.path()).unwrap();
        fs::copy(&path, image.path().join(name)).unwrap();
    }

    let report = repaired(image.path());
    assert_eq!(report.lost, [], "{report}");
    let broker = Broker::open(config(image.path())).unwrap();
    assert_eq!(broker.topics(), ["t"]);
    let read = partition(&broker, "t", 0).read_range(0, 99).unwrap();
    assert_eq!(values(&read), ["of both", "ours", "ours, behind the checkpoint"]);
}

#[test]
fn small_records_that_a_repair_finds_are_written_again_together() {
    let dir = memory_dir();
    let broker = Broker::open(config(dir.path())).unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.maintain().unwrap();
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "damaged")).unwrap();
    producer.send_batch(&numbered("t", "v", 400)).unwrap();
    let image = memory_dir();
    copy_dir(dir.path(), image.path());
    damage_text(&journal(image.path()).0, "damaged");
    let window = Watched::swift();
    let config = BrokerConfig { file_system: Arc::new(window.clone()), ..config(image.path()) };
    let report = repair(&config, &APPLY).unwrap();
    assert_eq!(report.lost, [], "{report}");
    let topics = image.path().join(".merkql/topics");
    let is_write = |call: &Call| call.op == Op::Write && call.path.starts_with(&topics);
    let is_of_records = |call: &Call| call.path.extension().is_some_and(|ending| ending == "log");
    let calls = window.take();
    let writes = calls.iter().filter(|call| is_write(call) && is_of_records(call)).count();
    assert_eq!(writes, 1, "to write 401 small records again");
}

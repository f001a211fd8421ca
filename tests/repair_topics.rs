//! Repair where the journal has lost the block that made a topic, ended it or changed it:
//! what its folders show and other blocks tell comes back, and nothing else does.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;
mod support_crash;
mod support_rescued;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::repair::{GivenUp, Reason, RepairOptions};
use merkql::topic::TopicConfig;
use merkql::{Error, repair};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use support::forge::seal_frame_of;
use support::watched::{Op, Watched};
use support::*;
use support_crash::{copy_dir, memory_dir};
use support_rescued::{config, repaired};

const PAGE: usize = 4096;

/// An image of a killed log whose last blocks, those behind a checkpoint, are made by
/// `work`; the block of this number among them is damaged.
fn with_damaged_block(
    before: impl FnOnce(&BrokerRef),
    work: impl FnOnce(&BrokerRef),
    number: usize,
) -> tempfile::TempDir {
    let dir = memory_dir();
    let broker = Broker::open(config(dir.path())).unwrap();
    before(&broker);
    damaged_behind_a_checkpoint(dir.path(), &broker, work, number)
}

/// The same of a log that is there.
fn damaged_behind_a_checkpoint(
    dir: &Path,
    broker: &BrokerRef,
    work: impl FnOnce(&BrokerRef),
    number: usize,
) -> tempfile::TempDir {
    broker.maintain().unwrap();
    let old: BTreeSet<Vec<u8>> = pages(dir).into_iter().map(|(_, _, page)| page).collect();
    work(broker);
    let image = memory_dir();
    copy_dir(dir, image.path());
    let mut new = pages(image.path());
    new.retain(|(_, _, page)| !old.contains(page));
    // By their sequence.
    new.sort_by_key(|(_, _, page)| page[40..48].to_vec());
    let (path, start, _) = &new[number];
    flip_bit(path, start + 90);
    image
}

/// The first page of each block in the journal: file, position, bytes.
fn pages(dir: &Path) -> Vec<(PathBuf, usize, Vec<u8>)> {
    let mut found = Vec::new();
    for path in files(dir, ".wal") {
        for (index, page) in fs::read(&path).unwrap().chunks(PAGE).enumerate() {
            if page.starts_with(b"MqlBlock") {
                found.push((path.clone(), index * PAGE, page.to_vec()));
            }
        }
    }
    found
}

#[test]
fn a_topic_whose_deletion_was_lost_gives_way_to_the_one_that_has_its_name_now() {
    let values = ["of the earlier life 0", "of the later life 0"];
    // The deletion, the creation, or the first record is damaged.
    for number in 0..3 {
        let image = with_damaged_block(
            |broker| send(broker, "t", values[0]),
            |broker| {
                broker.delete_topic("t").unwrap();
                broker.create_topic("t", 1).unwrap();
                send(broker, "t", values[1]);
                send(broker, "t", "behind");
            },
            number,
        );
        let report = repaired(image.path());
        assert_eq!(report.lost, [], "{report}");
        let replaced = report.given_up.contains(&GivenUp::Topic { folder: "t.1".to_owned() });
        assert_eq!(replaced, number == 0, "{report}");
        if replaced {
            let kept = report.kept.as_ref().unwrap().join("topics/t.1");
            assert_eq!(files(&kept, ".log").len(), 1);
        }
        let broker = Broker::open(config(image.path())).unwrap();
        assert_eq!(broker.topics(), ["t"]);
        let view = partition(&broker, "t", 0);
        let read = view.read_range(0, 9).unwrap();
        assert_eq!(support::values(&read), [values[1], "behind"]);
    }
}

#[test]
fn a_topic_whose_name_its_folder_does_not_show_is_given_up_and_kept_aside() {
    let long = "n".repeat(230);
    let image = with_damaged_block(
        |broker| broker.create_topic("t", 1).unwrap(),
        |broker| {
            broker.create_topic(&long, 1).unwrap();
            Broker::producer(broker).send_batch(&numbered(&long, "v", 3)).unwrap();
            Broker::producer(broker).send(&keyless("t", "stays")).unwrap();
        },
        0,
    );
    let report = repaired(image.path());
    let folder = format!("{}.2", "n".repeat(200));
    assert!(report.given_up.contains(&GivenUp::TopicName { folder: folder.clone() }), "{report}");
    let [lost] = report.lost.as_slice() else { panic!("{report}") };
    assert_eq!((lost.start, lost.end, lost.reason), (0, 3, Reason::TopicUnknown));
    let kept = report.kept.as_ref().unwrap().join("topics").join(folder);
    assert_eq!(files(&kept, ".log").len(), 1);
    let broker = Broker::open(config(image.path())).unwrap();
    assert_eq!(broker.topics(), ["t"]);
    assert_eq!(partition(&broker, "t", 0).read(0).unwrap().unwrap().value, "stays");
    // Its incarnation is not used again.
    broker.create_topic("next", 1).unwrap();
    assert!(image.path().join(".merkql/topics/next.3").is_dir());
}

#[test]
fn partitions_whose_addition_was_lost_come_back_with_their_records() {
    let image = with_damaged_block(
        |broker| broker.create_topic("t", 1).unwrap(),
        |broker| {
            broker.add_partitions("t", 3).unwrap();
            Broker::producer(broker).send_batch(&numbered("t", "v", 9)).unwrap();
        },
        0,
    );
    let report = repaired(image.path());
    assert_eq!(report.lost, [], "{report}");
    let broker = Broker::open(config(image.path())).unwrap();
    assert_eq!(broker.topic("t").unwrap().num_partitions(), 3);
    let counts = [0, 1, 2].map(|number| partition(&broker, "t", number).next_offset());
    assert_eq!(counts.iter().sum::<u64>(), 9);
}

#[test]
fn log_starts_and_settings_that_the_journal_still_tells_are_kept() {
    let image = with_damaged_block(
        |broker| {
            broker.create_topic("t", 1).unwrap();
            Broker::producer(broker).send_batch(&numbered("t", "v", 9)).unwrap();
        },
        |broker| {
            Broker::producer(broker).send(&keyless("t", "damaged")).unwrap();
            broker.delete_records("t", 0, 4).unwrap();
            let few = TopicConfig { retention_records: Some(2), ..TopicConfig::default() };
            broker.create_topic_with("few", &few).unwrap();
            Broker::producer(broker).send_batch(&numbered("few", "v", 5)).unwrap();
        },
        0,
    );
    let report = repaired(image.path());
    assert_eq!(report.lost, [], "{report}");
    let broker = Broker::open(config(image.path())).unwrap();
    let view = partition(&broker, "t", 0);
    assert_eq!((view.min_valid_offset(), view.next_offset()), (4, 10));
    assert_eq!(partition(&broker, "few", 0).min_valid_offset(), 3);
}

/// Sends one record to a topic, which is created for it.
fn send(broker: &BrokerRef, topic: &str, value: &str) {
    Broker::producer(broker).send(&keyless(topic, value)).unwrap();
}

/// What the journal has lost is told, no record is lost with it, and no topic comes back from
/// the folder.
fn assert_no_topic_comes_back(image: &Path, folder: &str) {
    assert!(image.join(".merkql/topics").join(folder).is_dir());
    let report = repaired(image);
    assert_eq!(report.lost, [], "{report}");
    let is_block = |one: &GivenUp| matches!(one, GivenUp::JournalBlocks { .. });
    assert!(report.given_up.iter().all(is_block), "{report}");
    let broker = Broker::open(config(image)).unwrap();
    assert_eq!(broker.topics(), ["t"]);
    assert_eq!(partition(&broker, "t", 0).next_offset(), 2);
}

#[test]
fn a_topic_that_the_journal_deletes_does_not_come_back_from_its_folder() {
    let image = with_damaged_block(
        |broker| broker.create_topic("t", 1).unwrap(),
        |broker| {
            send(broker, "t", "damaged");
            send(broker, "gone", "of a deleted topic");
            broker.delete_topic("gone").unwrap();
            send(broker, "t", "behind");
        },
        0,
    );
    assert_no_topic_comes_back(image.path(), "gone.2");
}

#[test]
fn a_topic_that_was_deleted_before_the_checkpoint_does_not_come_back_from_its_folder() {
    let dir = memory_dir();
    let window = Watched::swift();
    let file_system = std::sync::Arc::new(window.clone());
    let broker = Broker::open(BrokerConfig { file_system, ..config(dir.path()) }).unwrap();
    broker.create_topic("t", 1).unwrap();
    send(&broker, "gone", "of a deleted topic");
    broker.delete_topic("gone").unwrap();
    // As if the process had died before it came to the folder.
    window.refuse(|call| {
        let is_of_gone = call.path.to_string_lossy().contains("gone.");
        (is_of_gone && call.op == Op::Remove).then(|| std::io::Error::from_raw_os_error(5))
    });
    let work = |broker: &BrokerRef| {
        send(broker, "t", "damaged");
        send(broker, "t", "behind");
    };
    let image = damaged_behind_a_checkpoint(dir.path(), &broker, work, 0);
    assert_eq!(files(&image.path().join(".merkql/topics/gone.2"), ".log").len(), 1);
    assert_no_topic_comes_back(image.path(), "gone.2");
}

#[test]
fn a_topic_whose_creation_was_lost_and_that_has_no_records_does_not_come_back() {
    let image = with_damaged_block(
        |broker| broker.create_topic("t", 1).unwrap(),
        |broker| {
            broker.create_topic("empty", 2).unwrap();
            send(broker, "t", "first");
            send(broker, "t", "second");
        },
        0,
    );
    assert_no_topic_comes_back(image.path(), "empty.2");
}

#[test]
fn a_partition_of_a_number_that_no_topic_can_have_is_not_taken_over() {
    const TOO_MANY: u32 = 100_000;
    let image = with_damaged_block(
        |broker| send(broker, "t", "first"),
        |broker| {
            send(broker, "t", "damaged");
            send(broker, "t", "behind");
        },
        0,
    );
    let path = only_file(image.path(), ".log");
    let mut record = fs::read(&path).unwrap();
    record.truncate(find_in_file(&path, "first") + "first".len());
    seal_frame_of(image.path(), TOO_MANY, &mut record);
    let made_up = image.path().join(".merkql/topics/t.1").join(TOO_MANY.to_string());
    fs::create_dir(&made_up).unwrap();
    fs::write(made_up.join(path.file_name().unwrap()), record).unwrap();
    let refused = repair(&config(image.path()), &RepairOptions { apply: true }).unwrap_err();
    assert!(matches!(refused, Error::Corrupt(_)), "{refused}");
    assert!(refused.to_string().contains("t.1/100000"), "{refused}");
    // Somebody looks, and takes it away.
    fs::remove_dir_all(made_up).unwrap();
    let broker = Broker::open(config(image.path())).unwrap();
    assert_eq!(broker.topic("t").unwrap().num_partitions(), 1);
    assert_eq!(partition(&broker, "t", 0).next_offset(), 3);
}

//! Repair of a log that has lost both slots of its manifest: the files tell what it was.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig};
use merkql::hash::Hash;
use merkql::record::Record;
use merkql::repair::{GivenUp, Mended, RepairOptions, Report};
use merkql::topic::{Compaction, TopicConfig};
use merkql::{Error, repair, verify};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::*;
use support_crash::{copy_dir, memory_dir};

const APPLY: RepairOptions = RepairOptions { apply: true };

fn config(dir: &Path) -> BrokerConfig {
    BrokerConfig { segment_bytes: 1024, index_interval_bytes: 128, ..BrokerConfig::new(dir) }
}

/// How the slots are lost.
const LOSSES: [fn(&Path); 3] = [
    |path| fs::remove_file(path).unwrap(),
    // The identity is still there.
    |path| flip_bit(path, 100),
    |path| fs::write(path, vec![0x55; fs::read(path).unwrap().len()]).unwrap(),
];

fn lose_slots(dir: &Path, loss: fn(&Path)) {
    for slot in ["manifest.a", "manifest.b"] {
        loss(&dir.join(".merkql").join(slot));
    }
}

/// What all partitions show: records, the first offset, the next offset and the root.
type Shown = BTreeMap<(String, u32), (Vec<Record>, u64, u64, Option<Hash>)>;

fn shown(dir: &Path) -> Shown {
    let broker = Broker::open(config(dir)).unwrap();
    let mut shown = Shown::new();
    for topic in broker.topics() {
        for number in 0..broker.topic(&topic).unwrap().num_partitions() {
            let view = partition(&broker, &topic, number);
            let records = view.read_range(0, u64::MAX).unwrap();
            for record in &records {
                let proof = view.proof(record.offset).unwrap().unwrap();
                assert!(view.verify_proof(&proof).unwrap(), "{topic}/{number}");
            }
            let root = view.merkle_root().unwrap();
            let (start, next) = (view.min_valid_offset(), view.next_offset());
            shown.insert((topic.clone(), number), (records, start, next, root));
        }
    }
    shown
}

/// Several topics: plain ones, one with a partition that is empty, one that was
/// compacted, one that retains few records, and one that was deleted and made again.
fn filled(dir: &Path, closed: bool) {
    let work = memory_dir();
    let broker = Broker::open(config(work.path())).unwrap();
    let producer = Broker::producer(&broker);
    broker.create_topic("plain", 2).unwrap();
    broker.create_topic("empty", 3).unwrap();
    broker.create_topic("again", 1).unwrap();
    producer.send_batch(&numbered("again", "of an earlier life ", 5)).unwrap();
    let compaction = Some(Compaction { tombstone_retention: Duration::from_secs(60) });
    let compacted = TopicConfig { compaction, ..TopicConfig::default() };
    broker.create_topic_with("compacted", &compacted).unwrap();
    let few = TopicConfig { retention_records: Some(10), ..TopicConfig::default() };
    broker.create_topic_with("few", &few).unwrap();
    for number in 0..60 {
        let text = format!("{number:0>4} {}", "x".repeat(90));
        producer.send(&keyless("plain", text.clone())).unwrap();
        producer.send(&keyless("few", text.clone())).unwrap();
        producer.send(&keyed("compacted", &format!("key {}", number % 7), text)).unwrap();
    }
    broker.maintain().unwrap();
    broker.delete_topic("again").unwrap();
    broker.create_topic("again", 1).unwrap();
    producer.send_batch(&numbered("again", "of a later life ", 6)).unwrap();
    broker.maintain().unwrap();
    let mut consumer = subscribed(&broker, "g", "plain");
    consumer.poll(NOW).unwrap();
    consumer.commit_sync().unwrap();
    drop(consumer);
    producer.send_batch(&numbered("plain", "behind the checkpoint ", 7)).unwrap();
    if closed {
        Broker::close(&broker).unwrap();
    }
    copy_dir(work.path(), dir);
}

fn repaired(dir: &Path) -> Report {
    assert!(matches!(Broker::open(config(dir)), Err(Error::Corrupt(_))));
    let told = changes_nothing(dir, || repair(&config(dir), &RepairOptions::default()).unwrap());
    let done = repair(&config(dir), &APPLY).unwrap();
    assert_eq!(
        (&done.lost, &done.given_up, &done.mended),
        (&told.lost, &told.given_up, &told.mended)
    );
    assert!(done.mended.contains(&Mended::Manifest), "{done}");
    let again = repair(&config(dir), &APPLY).unwrap();
    assert_eq!(verify(&config(dir)).unwrap().findings, [], "{done}");
    assert!(again.nothing_to_do(), "{again}");
    done
}

#[test]
fn a_log_without_a_manifest_is_put_together_from_its_files() {
    for closed in [true, false] {
        let image = memory_dir();
        filled(image.path(), closed);
        let before = {
            let copy = memory_dir();
            copy_dir(image.path(), copy.path());
            shown(copy.path())
        };
        for (number, loss) in LOSSES.into_iter().enumerate() {
            let dir = memory_dir();
            copy_dir(image.path(), dir.path());
            lose_slots(dir.path(), loss);
            let report = repaired(dir.path());
            let what = format!("closed: {closed}, loss {number}\n{report}");
            assert_eq!(report.lost, [], "{what}");
            let identity = report.given_up.contains(&GivenUp::Identity);
            assert_eq!(identity, number != 1, "{what}");
            assert!(!report.to_string().contains("tree"), "{what}");
            let after = shown(dir.path());
            assert!(before.keys().eq(after.keys()), "{what}");
            for (place, (records, _, next, root)) in &before {
                let (found, _, found_next, found_root) = &after[place];
                assert_eq!((found_next, found_root), (next, root), "{place:?} {what}");
                // What lay below a log's start may be there again.
                let first = records.first().map_or(*next, |record| record.offset);
                let readable = found.iter().filter(|record| record.offset >= first);
                assert!(readable.eq(records), "{place:?} {what}");
            }
            let broker = Broker::open(config(dir.path())).unwrap();
            let rest = poll_values(&mut subscribed(&broker, "g", "plain"));
            assert_eq!(rest.len(), 7, "{what}");
            let sent = Broker::producer(&broker).send_batch(&numbered("plain", "more", 2)).unwrap();
            for record in sent {
                let next = before[&("plain".to_owned(), record.partition)].2;
                assert_eq!(record.offset, next);
            }
        }
    }
}

#[test]
fn a_damaged_record_is_lost_alone_without_a_manifest_too() {
    let image = memory_dir();
    filled(image.path(), true);
    let dir = memory_dir();
    copy_dir(image.path(), dir.path());
    let before = shown(dir.path());
    let text = format!("{:0>4} {}", 24, "x".repeat(90));
    let holds = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).unwrap();
        path.to_string_lossy().contains("plain")
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let path = files(dir.path(), ".log").into_iter().find(holds).unwrap();
    damage_text(&path, &text);
    lose_slots(dir.path(), LOSSES[0]);
    let report = repaired(dir.path());
    let [lost] = report.lost.as_slice() else { panic!("{report}") };
    assert_eq!((lost.topic.as_str(), lost.end - lost.start), ("plain", 1));
    let after = shown(dir.path());
    for (place, (records, _, next, root)) in &before {
        let (found, _, found_next, found_root) = &after[place];
        assert_eq!((found_next, found_root), (next, root), "{place:?}");
        let missing = records.iter().filter(|record| !found.contains(record));
        let missing: Vec<_> = missing.map(|record| (record.topic.clone(), record.offset)).collect();
        let expected = if place.0 == "plain" && place.1 == lost.partition {
            vec![("plain".to_owned(), lost.start)]
        } else {
            Vec::new()
        };
        assert_eq!(missing, expected, "{place:?}");
    }
}

#[test]
fn a_lost_end_is_told_by_the_stored_hashes_and_its_offsets_are_not_given_again() {
    let image = memory_dir();
    filled(image.path(), true);
    let before = shown(image.path());
    let last_of_plain = |dir: &Path| {
        let is_first = |path: &PathBuf| path.to_string_lossy().contains("/plain.1/0/");
        files(dir, ".log").into_iter().rfind(is_first).unwrap()
    };
    for loss in ["cut", "gone"] {
        let dir = memory_dir();
        copy_dir(image.path(), dir.path());
        let path = last_of_plain(dir.path());
        match loss {
            "cut" => {
                let len = fs::metadata(&path).unwrap().len();
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(len - 1).unwrap();
            }
            _ => fs::remove_file(&path).unwrap(),
        }
        lose_slots(dir.path(), LOSSES[0]);
        let report = repaired(dir.path());
        let (records, _, next, root) = &before[&("plain".to_owned(), 0)];
        let [lost] = report.lost.as_slice() else { panic!("{loss}: {report}") };
        assert_eq!((lost.topic.as_str(), lost.partition, lost.end), ("plain", 0, *next), "{loss}");
        let (left, _, found_next, found_root) = &shown(dir.path())[&("plain".to_owned(), 0)];
        assert_eq!((found_next, found_root), (next, root), "{loss}");
        assert!(left.iter().eq(records.iter().filter(|record| record.offset < lost.start)));
    }
}

#[test]
fn without_hashes_and_first_segments_records_keep_their_offsets_and_the_tree_is_told_to_be_lost() {
    let image = memory_dir();
    filled(image.path(), true);
    let dir = memory_dir();
    copy_dir(image.path(), dir.path());
    let before = shown(dir.path());
    for path in files(dir.path(), "hashes") {
        if path.to_string_lossy().contains("few.") {
            fs::remove_file(path).unwrap();
        }
    }
    lose_slots(dir.path(), LOSSES[1]);
    let report = repaired(dir.path());
    let tree = GivenUp::Tree { topic: "few".to_owned(), partition: 0 };
    assert!(report.given_up.contains(&tree), "{report}");
    let place = ("few".to_owned(), 0);
    let after = shown(dir.path());
    assert_eq!(after[&place].2, before[&place].2);
    assert!(after[&place].0.ends_with(&before[&place].0));
    assert_ne!(after[&place].3, before[&place].3);
    assert_eq!(after[&("plain".to_owned(), 0)], before[&("plain".to_owned(), 0)]);
}

#[test]
fn a_log_without_records_gets_a_manifest_again() {
    for loss in LOSSES {
        let dir = memory_dir();
        let broker = Broker::open(config(dir.path())).unwrap();
        broker.create_topic("t", 2).unwrap();
        Broker::close(&broker).unwrap();
        drop(broker);
        lose_slots(dir.path(), loss);
        let report = repaired(dir.path());
        assert_eq!(report.lost, [], "{report}");
        let broker = Broker::open(config(dir.path())).unwrap();
        assert_eq!(broker.topics(), ["t"]);
        assert_eq!(broker.topic("t").unwrap().num_partitions(), 2);
        let sent = Broker::producer(&broker).send(&keyless("t", "first")).unwrap();
        assert_eq!(sent.offset, 0);
    }
}

#[test]
fn blocks_of_the_journal_alone_tell_that_the_identity_in_a_damaged_slot_is_the_logs() {
    let dir = memory_dir();
    let broker = Broker::open(config(dir.path())).unwrap();
    let few = TopicConfig { retention_records: Some(10), ..TopicConfig::default() };
    broker.create_topic_with("t", &few).unwrap();
    let image = memory_dir();
    copy_dir(dir.path(), image.path());
    lose_slots(image.path(), LOSSES[1]);
    let report = repaired(image.path());
    assert!(!report.given_up.contains(&GivenUp::Identity), "{report}");
    let settings = GivenUp::TopicSettings { topic: "t".to_owned() };
    assert!(!report.given_up.contains(&settings), "{report}");
}

//! Verifying a log: a sound one has no findings, however it came to be; and no byte
//! that it stands on can change without one.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::topic::{Compaction, TopicConfig};
use merkql::verify::{Finding, FindingKind, Remedy, Report};
use merkql::{Error, verify};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::forge::{forge_frame, seal_slot};
use support::*;
use support_crash::{copy_dir, memory_dir};

fn small(dir: &Path) -> BrokerConfig {
    BrokerConfig { segment_bytes: 1024, index_interval_bytes: 128, ..BrokerConfig::new(dir) }
}

fn compacted() -> TopicConfig {
    TopicConfig { compaction: Some(Compaction::default()), ..TopicConfig::default() }
}

/// A log with everything in it: plain and compressed records, a partition that is
/// compacted, one that forgets, a deleted topic, a group.
fn fill(broker: &BrokerRef) {
    let producer = Broker::producer(broker);
    broker.create_topic("plain", 2).unwrap();
    for number in 0..40 {
        producer.send(&keyless("plain", format!("value {number:0>60}"))).unwrap();
    }
    broker.create_topic_with("table", &compacted()).unwrap();
    for number in 0..60 {
        let key = format!("key {}", number % 7);
        producer.send(&keyed("table", &key, format!("row {number:0>60}"))).unwrap();
    }
    let forgetful = TopicConfig { retention_records: Some(10), ..TopicConfig::default() };
    broker.create_topic_with("window", &forgetful).unwrap();
    for number in 0..50 {
        producer.send(&keyless("window", format!("reading {number:0>60}"))).unwrap();
    }
    broker.create_topic("gone", 3).unwrap();
    send_numbered(&producer, "gone", "g", 5);
    broker.delete_topic("gone").unwrap();
    let mut consumer = subscribed(broker, "readers", "plain");
    consumer.poll(NOW).unwrap();
    consumer.commit_sync().unwrap();
    broker.maintain().unwrap();
}

fn closed_log(dir: &Path) {
    let broker = Broker::open(small(dir)).unwrap();
    fill(&broker);
    Broker::close(&broker).unwrap();
}

fn verified(dir: &Path) -> Report {
    changes_nothing(dir, || verify(&small(dir))).unwrap()
}

/// The one thing that is wrong.
fn the_finding(dir: &Path) -> Finding {
    let report = verified(dir);
    let [finding] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    finding.clone()
}

/// The file of `topic` that holds `text`.
fn file_with(dir: &Path, text: &str) -> PathBuf {
    let holds = |path: &PathBuf| {
        fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    };
    files(dir, ".log").into_iter().find(holds).unwrap()
}

#[test]
fn a_closed_log_has_no_findings_and_is_counted() {
    let dir = scratch();
    closed_log(dir.path());
    let report = verified(dir.path());
    assert_eq!(report.findings, []);
    assert!(!report.recovery_is_pending);
    let checked = report.checked;
    assert_eq!((checked.topics, checked.partitions), (3, 4));
    assert!(checked.segments > 5, "{checked:?}");
    // What is removed and what is left of the compacted topic are all its records.
    let broker = Broker::open(small(dir.path())).unwrap();
    let compacted = partition(&broker, "table", 0);
    let left = compacted.read_range(0, 60).unwrap().len() as u64;
    assert!(left < 60);
    assert_eq!(checked.removed, 60 - left);
    assert!(checked.records >= 40 + left + 10, "{checked:?}");
}

#[test]
fn a_compressed_log_has_no_findings() {
    let dir = scratch();
    let config = BrokerConfig { compression: Compression::Lz4, ..small(dir.path()) };
    let broker = Broker::open(config.clone()).unwrap();
    fill(&broker);
    send_numbered(&Broker::producer(&broker), "plain", &"batch ".repeat(30), 50);
    Broker::close(&broker).unwrap();
    assert_eq!(verified(dir.path()).findings, []);
}

#[test]
fn a_log_that_was_not_closed_says_that_recovery_is_pending_and_has_no_findings() {
    let dir = scratch();
    let broker = Broker::open(small(dir.path())).unwrap();
    fill(&broker);
    send_numbered(&Broker::producer(&broker), "plain", "last ", 3);
    let copy = scratch();
    copy_dir(dir.path(), copy.path());
    let report = verified(copy.path());
    assert_eq!(report.findings, []);
    assert!(report.recovery_is_pending);
    assert!(report.checked.journal_blocks > 0);

    drop(Broker::open(small(copy.path())).unwrap());
    let report = verified(copy.path());
    assert_eq!(report.findings, []);
    assert!(!report.recovery_is_pending);
}

#[test]
fn a_log_that_a_broker_has_open_is_not_verified() {
    let dir = scratch();
    let broker = open(dir.path());
    assert!(matches!(verify(&small(dir.path())), Err(Error::AlreadyOpen { .. })));
    drop(broker);
    assert_eq!(verified(dir.path()), Report::default());
}

#[test]
fn a_directory_without_a_log_is_told_as_such_and_none_is_created() {
    let dir = scratch();
    let refused = changes_nothing(dir.path(), || verify(&small(dir.path())));
    assert!(matches!(refused, Err(Error::NotALog { .. })), "{refused:?}");
    let missing = dir.path().join("not there");
    assert!(matches!(verify(&small(&missing)), Err(Error::NotALog { .. })));
    assert!(!missing.exists());
}

#[test]
fn a_damaged_record_is_found_with_its_topic_partition_offset_file_and_position() {
    let dir = scratch();
    closed_log(dir.path());
    // Value 25 is offset 12 of partition 1.
    let text = format!("value {:0>60}", 25);
    let path = file_with(dir.path(), &text);
    let position = find_in_file(&path, &text);
    flip_bit(&path, position);
    let finding = the_finding(dir.path());
    assert_eq!((finding.kind, finding.kind.remedy()), (FindingKind::Record, Remedy::Repair));
    assert_eq!((finding.topic.as_deref(), finding.partition), (Some("plain"), Some(1)));
    assert_eq!((finding.offset, finding.offset_end), (Some(12), Some(13)));
    assert_eq!(finding.path, path);
    assert!(finding.position < position as u64 && position as u64 - finding.position < 60);
    let told = finding.to_string();
    assert!(told.starts_with("record: plain/1 offset 12 ") && told.contains(".log"), "{told}");
}

#[test]
fn a_segment_that_is_gone_or_short_is_found_with_all_its_offsets() {
    for cut_to in [None, Some(0), Some(300)] {
        let dir = scratch();
        closed_log(dir.path());
        let sealed = file_with(dir.path(), &format!("value {:0>60}", 24));
        match cut_to {
            None => fs::remove_file(&sealed).unwrap(),
            Some(len) => {
                fs::OpenOptions::new().write(true).open(&sealed).unwrap().set_len(len).unwrap();
            }
        }
        let report = verified(dir.path());
        let lost: Vec<_> =
            report.findings.iter().filter(|f| f.kind == FindingKind::Record).collect();
        let [lost] = lost.as_slice() else { panic!("{cut_to:?} {:#?}", report.findings) };
        assert!(lost.offset_end > lost.offset.map(|offset| offset + 2), "{lost}");
        assert_eq!(lost.path, sealed);
        let broker = Broker::open(small(dir.path())).unwrap();
        let damaged = partition(&broker, "plain", 0);
        for offset in lost.offset.unwrap()..lost.offset_end.unwrap() {
            assert!(matches!(damaged.read(offset), Err(Error::Corrupt(_))), "{offset}");
        }
    }
}

#[test]
fn a_record_that_was_forged_with_a_right_checksum_is_found_by_its_hash() {
    let dir = scratch();
    let broker = Broker::open(small(dir.path())).unwrap();
    let producer = Broker::producer(&broker);
    for value in ["first", "pay 1 to Alice", "last"] {
        producer.send(&keyless("audit", value)).unwrap();
    }
    Broker::close(&broker).unwrap();
    // What the checksums are seeded with, everybody can read in the manifest.
    let path = file_with(dir.path(), "pay 1 to Alice");
    let start = find_in_file(&path, "pay 1 to Alice");
    forge_frame(dir.path(), &path, start, b"pay 9 to Alice");
    let finding = the_finding(dir.path());
    assert_eq!((finding.kind, finding.offset), (FindingKind::Record, Some(1)));
    assert!(finding.reason.contains("hash"), "{finding}");
}

#[test]
fn stored_hashes_that_are_wrong_short_or_gone_are_found_and_cost_no_record() {
    for harm in ["flipped", "short", "gone"] {
        let dir = scratch();
        closed_log(dir.path());
        let path = files(dir.path(), "hashes").into_iter().find(|p| in_topic(p, "plain")).unwrap();
        match harm {
            "flipped" => flip_bit(&path, 32 * 7),
            "short" => {
                fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(320).unwrap();
            }
            _ => fs::remove_file(&path).unwrap(),
        }
        let finding = the_finding(dir.path());
        assert_eq!((finding.kind, finding.kind.remedy()), (FindingKind::Hash, Remedy::Repair));
        assert_eq!(finding.path, path);
        if harm == "flipped" {
            assert_eq!(finding.position, 32 * 7);
        }
    }
}

#[test]
fn wrong_hashes_that_stand_side_by_side_are_one_finding() {
    let dir = scratch();
    closed_log(dir.path());
    let path = files(dir.path(), "hashes").into_iter().find(|p| in_topic(p, "plain")).unwrap();
    for slot in 7..10 {
        flip_bit(&path, 32 * slot);
    }
    let finding = the_finding(dir.path());
    assert_eq!((finding.kind, finding.position), (FindingKind::Hash, 32 * 7));
    assert!(finding.reason.starts_with("3 stored hashes"), "{finding}");
}

#[test]
fn hashes_of_removed_records_that_contradict_the_roots_are_found() {
    for topic in ["table", "window"] {
        let dir = scratch();
        closed_log(dir.path());
        let path = files(dir.path(), "hashes").into_iter().find(|p| in_topic(p, topic)).unwrap();
        flip_bit(&path, 0);
        let report = verified(dir.path());
        assert!(!report.findings.is_empty(), "{topic}");
        for finding in report.findings {
            assert_eq!(finding.kind, FindingKind::RemovedHash, "{finding}");
            assert!(finding.position <= 64, "{finding}");
        }
    }
}

#[test]
fn an_index_of_another_segment_or_with_a_flipped_bit_is_found() {
    let dir = scratch();
    closed_log(dir.path());
    let indexes: Vec<_> =
        files(dir.path(), ".idx").into_iter().filter(|p| in_topic(p, "plain")).collect();
    fs::copy(&indexes[0], &indexes[1]).unwrap();
    let finding = the_finding(dir.path());
    assert_eq!((finding.kind, &finding.path), (FindingKind::Index, &indexes[1]));
    flip_bit(&indexes[1], 50);
    assert_eq!(the_finding(dir.path()).kind, FindingKind::Index);
    fs::remove_file(&indexes[1]).unwrap();
    assert_eq!(verified(dir.path()).findings, [], "an index is made when it is needed");
}

#[test]
fn one_bad_slot_is_found_and_both_leave_nothing_to_judge() {
    let dir = scratch();
    closed_log(dir.path());
    let slots = files(&dir.path().join(".merkql"), "manifest.a");
    flip_bit(&slots[0], 100);
    let finding = the_finding(dir.path());
    assert_eq!((finding.kind, &finding.path), (FindingKind::Slot, &slots[0]));
    flip_bit(&dir.path().join(".merkql/manifest.b"), 100);
    let finding = the_finding(dir.path());
    assert_eq!((finding.kind, finding.kind.remedy()), (FindingKind::Manifest, Remedy::Repair));
}

#[test]
fn damage_of_the_journal_is_found_and_the_partitions_are_judged_all_the_same() {
    let dir = scratch();
    let broker = Broker::open(small(dir.path())).unwrap();
    broker.create_topic("t", 1).unwrap();
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "synced ", 3);
    broker.maintain().unwrap();
    for number in 0..5 {
        producer.send(&keyless("t", format!("journalled {number}"))).unwrap();
    }
    let copy = scratch();
    copy_dir(dir.path(), copy.path());
    let holds = |path: &PathBuf| {
        fs::read(path).unwrap().windows(12).any(|window| window == b"journalled 2")
    };
    let journal = files(copy.path(), ".wal").into_iter().find(holds).unwrap();
    flip_bit(&journal, find_in_file(&journal, "journalled 2"));
    let record = file_with(copy.path(), "synced 1");
    flip_bit(&record, find_in_file(&record, "synced 1"));
    let report = verified(copy.path());
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Journal, FindingKind::Record], "{:#?}", report.findings);
    assert_eq!(report.findings[1].offset, Some(1));
    assert!(matches!(Broker::open(small(copy.path())), Err(Error::Corrupt(_))));
}

#[test]
fn files_and_folders_that_nothing_names_are_found() {
    let dir = scratch();
    closed_log(dir.path());
    let log = dir.path().join(".merkql");
    let partition = files(dir.path(), ".log")[0].parent().unwrap().to_owned();
    let strangers = [
        log.join("notes.txt"),
        log.join("journal/copy.wal"),
        log.join("topics/README"),
        partition.join("hashes.bak"),
    ];
    for path in &strangers {
        fs::write(path, "?").unwrap();
    }
    fs::create_dir(log.join("topics/plain copy")).unwrap();
    // This one may be what a crash has left.
    let leftover = partition.join("00000000000000000000.0000000099.log");
    fs::write(&leftover, "?").unwrap();
    let report = verified(dir.path());
    assert_eq!(report.leftovers, [leftover]);
    assert!(report.recovery_is_pending);
    let mut found: Vec<_> = report
        .findings
        .into_iter()
        .map(|finding| {
            assert_eq!(
                (finding.kind, finding.kind.remedy()),
                (FindingKind::Unnamed, Remedy::ByHand)
            );
            finding.path
        })
        .collect();
    found.sort();
    let mut expected = strangers.to_vec();
    expected.push(log.join("topics/plain copy"));
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn progress_ascends_to_all_bytes() {
    let dir = scratch();
    closed_log(dir.path());
    let mut seen = Vec::new();
    let report = merkql::verify::verify_with_progress(&small(dir.path()), &mut |progress| {
        assert!(!progress.topic.is_empty());
        seen.push((progress.done_bytes, progress.total_bytes));
    })
    .unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&(report.checked.bytes, report.checked.bytes)));
}

/// Whatever single byte changes in a closed log, it is found, but for the lock file,
/// which has none, and the journal, which a closed log does not need.
#[test]
fn no_byte_that_a_closed_log_stands_on_can_change_unnoticed() {
    let dir = memory_dir();
    let broker = Broker::open(small(dir.path())).unwrap();
    let producer = Broker::producer(&broker);
    broker.create_topic_with("table", &compacted()).unwrap();
    for number in 0..14 {
        producer.send(&keyed("table", &format!("key {}", number % 3), "x".repeat(99))).unwrap();
    }
    broker.maintain().unwrap();
    Broker::close(&broker).unwrap();
    assert_eq!(verified(dir.path()).findings, []);
    let mut swept = 0;
    for path in files(dir.path(), "") {
        if path.extension().is_some_and(|extension| extension == "wal") {
            continue;
        }
        let content = fs::read(&path).unwrap();
        let written = if path.to_string_lossy().contains("manifest") {
            32 + usize::from(content[24]) + 256 * usize::from(content[25])
        } else {
            content.len()
        };
        for position in 0..written {
            let mut changed = content.clone();
            changed[position] ^= 1 << (position % 8);
            fs::write(&path, &changed).unwrap();
            let findings = verify(&small(dir.path())).map(|report| report.findings);
            let noticed = !matches!(&findings, Ok(findings) if findings.is_empty());
            assert!(noticed, "byte {position} of {}", path.display());
            swept += 1;
        }
        fs::write(&path, &content).unwrap();
    }
    assert!(swept > 2500, "{swept}");
}

/// Claims, in a slot, that the tree whose one peak is `root` has 2^40 leaves and not four.
fn claim_a_large_tree(slot: &Path, root: &[u8]) {
    let mut bytes = fs::read(slot).unwrap();
    let at = bytes.windows(root.len()).position(|window| window == root).unwrap();
    assert_eq!(bytes[at - 2..at], [4, 4], "log start and next offset stand before the peak");
    bytes.splice(at - 1..at, [0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
    let len = u64::from_le_bytes(bytes[24..32].try_into().unwrap()) + 5;
    bytes[24..32].copy_from_slice(&len.to_le_bytes());
    seal_slot(&mut bytes);
    fs::write(slot, bytes).unwrap();
}

#[test]
fn a_tree_that_somebody_claims_to_be_large_is_not_gone_through_leaf_by_leaf() {
    let dir = memory_dir();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    broker.delete_records("t", 0, 4).unwrap();
    let root = partition(&broker, "t", 0).merkle_root().unwrap().unwrap();
    Broker::close(&broker).unwrap();
    drop(broker);
    for slot in ["manifest.a", "manifest.b"] {
        claim_a_large_tree(&dir.path().join(".merkql").join(slot), &root.0);
    }
    let begun = Instant::now();
    let report = verify(&BrokerConfig::new(dir.path())).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!report.findings.is_empty());
}

fn in_topic(path: &Path, topic: &str) -> bool {
    path.to_string_lossy().contains(&format!("topics/{topic}."))
}

#[test]
fn an_index_that_a_checkpoint_wrote_before_the_slots_is_no_finding() {
    let dir = memory_dir();
    let config = |dir: &Path| BrokerConfig {
        segment_bytes: 2048,
        index_interval_bytes: 128,
        journal_initial_bytes: 16 << 10,
        journal_max_bytes: 64 << 10,
        ..BrokerConfig::new(dir)
    };
    let broker = Broker::open(config(dir.path())).unwrap();
    let producer = Broker::producer(&broker);
    for number in 0..60 {
        let value = format!("{number} {}", "x".repeat(100));
        let batch: Vec<_> =
            (0..7).map(|topic| keyless(&format!("t{topic}"), value.clone())).collect();
        producer.send_batch(&batch).unwrap();
        let killed = memory_dir();
        copy_dir(dir.path(), killed.path());
        let report = verify(&config(killed.path())).unwrap();
        assert_eq!(report.findings, [], "killed behind batch {number}");
    }
}

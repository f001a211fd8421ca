//! What a finding says of its place: somebody who reads it knows which records, which group
//! or which file it is about, and nothing is told that is not so.

#![allow(clippy::disallowed_methods, reason = "the tests forge files behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig};
use merkql::compression::Compression;
use merkql::verify;
use merkql::verify::{Finding, FindingKind};
use std::fs;
use std::path::Path;
use support::forge::{forge_frame, seal_frame, seal_slot};
use support::watched::Watched;
use support::*;
use support_crash::{copy_dir, memory_dir};
use tempfile::TempDir;

fn config(dir: &Path) -> BrokerConfig {
    BrokerConfig { index_interval_bytes: 128, ..Watched::swift().config(dir) }
}

/// The one thing that is wrong.
fn the_finding(dir: &Path) -> Finding {
    let report = changes_nothing(dir, || verify(&config(dir))).unwrap();
    let [finding] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    finding.clone()
}

#[test]
fn an_offset_that_a_group_cannot_have_committed_is_told_with_its_partition() {
    let dir = memory_dir();
    let broker = Broker::open(config(dir.path())).unwrap();
    broker.create_topic("t", 2).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 6);
    let mut consumer = subscribed(&broker, "readers", "t");
    consumer.poll(NOW).unwrap();
    consumer.commit_sync_offsets(&[(("t", 1), 3)]).unwrap();
    Broker::close(&broker).unwrap();
    drop((broker, consumer));
    for name in ["manifest.a", "manifest.b"] {
        let path = only_file(dir.path(), name);
        let mut slot = fs::read(&path).unwrap();
        // One commit: incarnation, partition, offset.
        let commit = find_in_file(&path, "readers") + "readers".len();
        assert_eq!(slot[commit..commit + 4], [1, 1, 1, 3]);
        slot[commit + 3] = 9;
        seal_slot(&mut slot);
        fs::write(path, slot).unwrap();
    }
    let finding = the_finding(dir.path());
    assert_eq!(finding.kind, FindingKind::Commit);
    let place = (finding.topic.as_deref(), finding.partition, finding.offset);
    assert_eq!(place, (Some("t"), Some(1), Some(9)));
    assert!(finding.reason.contains("\"readers\""), "{finding}");
}

/// A closed log with two blocks of twenty packed records, of which the first says that it
/// holds `count`.
fn with_a_block_that_counts(count: u8) -> TempDir {
    let dir = memory_dir();
    let compressed = BrokerConfig { compression: Compression::Lz4, ..config(dir.path()) };
    let broker = Broker::open(compressed).unwrap();
    for text in ["first ", "second "] {
        send_numbered(&Broker::producer(&broker), "t", &text.repeat(30), 20);
    }
    Broker::close(&broker).unwrap();
    drop(broker);
    let path = only_file(dir.path(), ".log");
    let mut content = fs::read(&path).unwrap();
    let frame_len = 17 + u32::from_le_bytes(content[..4].try_into().unwrap());
    let frame = &mut content[..usize::try_from(frame_len).unwrap()];
    assert_eq!(frame[16..18], [2, 20], "a packed block, and how many records it holds");
    frame[17] = count;
    seal_frame(dir.path(), frame);
    fs::write(path, content).unwrap();
    dir
}

#[test]
fn a_forged_block_that_hides_a_record_is_told_by_that_record() {
    let dir = with_a_block_that_counts(19);
    let finding = the_finding(dir.path());
    assert_eq!(finding.kind, FindingKind::Record);
    assert_eq!((finding.offset, finding.offset_end), (Some(19), Some(20)));
}

#[test]
fn a_forged_block_that_hides_none_is_told_by_all_its_records() {
    let dir = with_a_block_that_counts(21);
    let finding = the_finding(dir.path());
    assert_eq!(finding.kind, FindingKind::Record);
    assert_eq!((finding.offset, finding.offset_end), (Some(0), Some(20)));
}

#[test]
fn an_index_of_more_than_a_closed_segment_holds_is_told() {
    let (dir, earlier) = (memory_dir(), memory_dir());
    for round in 0..2 {
        let broker = Broker::open(config(dir.path())).unwrap();
        send_numbered(&Broker::producer(&broker), "t", &"v".repeat(100), 10);
        // Only of a segment that was read all index points are known.
        partition(&broker, "t", 0).read(0).unwrap();
        Broker::close(&broker).unwrap();
        if round == 0 {
            copy_dir(dir.path(), earlier.path());
        }
    }
    let index = only_file(earlier.path(), ".idx");
    assert_eq!(changes_nothing(dir.path(), || verify(&config(dir.path()))).unwrap().findings, []);
    fs::copy(only_file(dir.path(), ".idx"), &index).unwrap();
    let finding = the_finding(earlier.path());
    assert_eq!((finding.kind, &finding.path), (FindingKind::Index, &index));
}

#[test]
fn a_damaged_index_is_told_with_the_segment_that_it_is_of() {
    let dir = memory_dir();
    let rolling = BrokerConfig { segment_bytes: 1024, ..config(dir.path()) };
    let broker = Broker::open(rolling).unwrap();
    broker.create_topic("t", 1).unwrap();
    for _ in 0..20 {
        Broker::producer(&broker).send(&keyless("t", "v".repeat(100))).unwrap();
    }
    Broker::close(&broker).unwrap();
    let index = files(dir.path(), ".idx").remove(1);
    flip_bit(&index, 50);
    let finding = the_finding(dir.path());
    let name = index.file_name().unwrap().to_str().unwrap();
    let base_offset: u64 = name.split('.').next().unwrap().parse().unwrap();
    assert!(base_offset > 0, "{name}");
    assert_eq!((finding.kind, &finding.path), (FindingKind::Index, &index));
    let place = (finding.topic.as_deref(), finding.partition, finding.offset);
    assert_eq!(place, (Some("t"), Some(0), Some(base_offset)));
}

#[test]
fn stored_hashes_are_counted() {
    let dir = memory_dir();
    let broker = Broker::open(config(dir.path())).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 4);
    Broker::close(&broker).unwrap();
    let stored = fs::metadata(only_file(dir.path(), "hashes")).unwrap().len() / 32;
    let checked = verify(&config(dir.path())).unwrap().checked;
    assert_eq!((checked.hashes, stored), (7, 7));
}

#[test]
fn a_frame_of_a_kind_that_there_is_none_of_is_told_though_its_checksum_holds() {
    let dir = with_a_block_that_counts(20);
    let path = only_file(dir.path(), ".log");
    forge_frame(dir.path(), &path, 16, &[9]);
    let finding = the_finding(dir.path());
    assert_eq!(finding.kind, FindingKind::Record);
    assert_eq!((finding.offset, finding.offset_end), (Some(0), Some(20)));
}

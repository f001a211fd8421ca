//! Repair of damaged partitions: it says first what is lost, and writes nothing;
//! carried out, it leaves a log that reads, proves and goes on, with every other
//! record at its offset.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::hash::Hash;
use merkql::record::Record;
use merkql::repair::{GivenUp, LostOffsets, Mended, Reason, RepairOptions, Report};
use merkql::{Error, repair, verify};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use support::*;

const RECORDS: u64 = 60;
const APPLY: RepairOptions = RepairOptions { apply: true };

fn value(number: u64) -> String {
    format!("value {number:0>4} {}", "x".repeat(80))
}

fn config(dir: &Path) -> BrokerConfig {
    BrokerConfig { segment_bytes: 1024, index_interval_bytes: 128, ..BrokerConfig::new(dir) }
}

/// Sixty records in one partition, in several segments, closed.
fn closed_log(dir: &Path) {
    let broker = Broker::open(config(dir)).unwrap();
    let producer = Broker::producer(&broker);
    for number in 0..RECORDS {
        producer.send(&keyless("t", value(number))).unwrap();
    }
}

/// What a partition was before it was damaged.
struct Before {
    records: Vec<Record>,
    root: Hash,
}

fn before(dir: &Path) -> Before {
    let broker = Broker::open(config(dir)).unwrap();
    let view = partition(&broker, "t", 0);
    Before {
        records: view.read_range(0, u64::MAX).unwrap(),
        root: view.merkle_root().unwrap().unwrap(),
    }
}

fn log_with(dir: &Path, text: &str) -> PathBuf {
    let holds = |path: &PathBuf| {
        fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    };
    files(dir, ".log").into_iter().find(holds).unwrap()
}

fn lost(start: u64, end: u64, reason: Reason) -> LostOffsets {
    LostOffsets { topic: "t".to_owned(), partition: 0, start, end, reason }
}

fn offsets(report: &Report) -> BTreeSet<u64> {
    report.lost.iter().flat_map(|lost| lost.start..lost.end).collect()
}

/// Repairs the log and sees to everything that is promised.
fn repaired(dir: &Path, before: &Before) -> Report {
    let told = changes_nothing(dir, || repair(&config(dir), &RepairOptions::default()).unwrap());
    assert!(!told.applied && told.kept.is_none() && !told.nothing_to_do(), "{told}");
    let damaged = snapshot(dir);
    let done = repair(&config(dir), &APPLY).unwrap();
    assert!(done.applied);
    assert_eq!(
        (&done.lost, &done.given_up, &done.mended),
        (&told.lost, &told.given_up, &told.mended)
    );
    assert_kept(dir, &damaged, &done);
    assert_eq!(verify(&config(dir)).unwrap().findings, [], "{done}");
    for round in 0..2 {
        assert_whole(&Broker::open(config(dir)).unwrap(), before, &done, round);
    }
    changes_nothing(dir, || {
        assert!(repair(&config(dir), &RepairOptions::default()).unwrap().nothing_to_do());
    });
    assert!(repair(&config(dir), &APPLY).unwrap().nothing_to_do());
    done
}

/// Whatever is not as it was before is in the side folder.
fn assert_kept(
    dir: &Path,
    damaged: &std::collections::BTreeMap<PathBuf, Option<Vec<u8>>>,
    done: &Report,
) {
    let log = dir.join(".merkql");
    for (path, content) in damaged {
        let ours = [".log", "hashes"].iter().any(|end| path.to_string_lossy().ends_with(end));
        let (Some(content), true) = (content, ours) else { continue };
        if fs::read(path).ok().as_ref() != Some(content) {
            let copy = done.kept.as_ref().unwrap().join(path.strip_prefix(&log).unwrap());
            assert_eq!(fs::read(copy).unwrap(), *content, "{}", path.display());
        }
    }
}

fn assert_whole(broker: &BrokerRef, before: &Before, report: &Report, round: u64) {
    let view = partition(broker, "t", 0);
    let lost = offsets(report);
    let count = before.records.len() as u64;
    let old = view.read_range(0, count).unwrap();
    let stay = before.records.iter().filter(|record| !lost.contains(&record.offset));
    assert!(old.iter().eq(stay), "{report}");
    assert_eq!(view.root_at(RECORDS).unwrap(), Some(before.root));
    for record in &old {
        let proof = view.proof(record.offset).unwrap().unwrap();
        assert!(view.verify_proof(&proof).unwrap(), "{}", record.offset);
        assert!(proof.proves(&record.hash(), &view.merkle_root().unwrap().unwrap()));
        assert_eq!(view.read(record.offset).unwrap().as_ref(), Some(record));
    }
    assert!(view.consistency_proof(RECORDS).unwrap().unwrap().is_valid());
    let mut consumer = subscribed(broker, &format!("g{round}"), "t");
    let mut polled = Vec::new();
    loop {
        let records = consumer.poll(NOW).unwrap();
        if records.is_empty() {
            break;
        }
        polled.extend(records.into_iter().filter(|record| record.offset < count));
    }
    assert_eq!(polled, old);
    let sent = Broker::producer(broker).send(&keyless("t", "more")).unwrap();
    assert_eq!(sent.offset, RECORDS + round);
    assert_eq!(partition(broker, "t", 0).read(sent.offset).unwrap(), Some(sent));
}

#[test]
fn a_sound_log_needs_no_repair_closed_or_not() {
    let dir = scratch();
    closed_log(dir.path());
    changes_nothing(dir.path(), || {
        for options in [RepairOptions::default(), APPLY] {
            let report = repair(&config(dir.path()), &options).unwrap();
            assert!(report.nothing_to_do(), "{report}");
            assert_eq!(report.to_string(), "nothing to repair\n");
        }
    });
    // A copy that was taken while the log was in use.
    let copy = scratch();
    let broker = Broker::open(config(dir.path())).unwrap();
    Broker::producer(&broker).send_batch(&numbered("t", "unclosed", 5)).unwrap();
    for (path, content) in snapshot(dir.path()) {
        let to = copy.path().join(path.strip_prefix(dir.path()).unwrap());
        match content {
            None => fs::create_dir_all(to).unwrap(),
            Some(content) => {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::write(to, content).unwrap();
            }
        }
    }
    changes_nothing(copy.path(), || {
        let report = repair(&config(copy.path()), &RepairOptions::default()).unwrap();
        assert!(report.nothing_to_do(), "{report}");
    });
    assert!(repair(&config(copy.path()), &APPLY).unwrap().nothing_to_do());
    let broker = Broker::open(config(copy.path())).unwrap();
    assert_eq!(partition(&broker, "t", 0).next_offset(), RECORDS + 5);
}

#[test]
fn a_log_that_was_never_used_needs_no_repair() {
    let dir = scratch();
    drop(Broker::open(config(dir.path())).unwrap());
    for options in [RepairOptions::default(), APPLY] {
        let report = repair(&config(dir.path()), &options).unwrap();
        assert!(report.nothing_to_do(), "{report}");
    }
    assert_eq!(Broker::open(config(dir.path())).unwrap().topics(), Vec::<String>::new());
}

#[test]
fn a_directory_without_a_log_or_with_a_broker_is_refused() {
    let dir = scratch();
    for options in [RepairOptions::default(), APPLY] {
        let refused =
            changes_nothing(dir.path(), || repair(&config(dir.path()), &options).unwrap_err());
        assert!(matches!(refused, Error::NotALog { .. }), "{refused}");
        let missing = repair(&config(&dir.path().join("missing")), &options).unwrap_err();
        assert!(matches!(missing, Error::NotALog { .. }), "{missing}");
    }
    let _broker = open(dir.path());
    for options in [RepairOptions::default(), APPLY] {
        let refused = repair(&config(dir.path()), &options).unwrap_err();
        assert!(matches!(refused, Error::AlreadyOpen { .. }), "{refused}");
    }
}

#[test]
fn a_damaged_record_alone_is_lost_whichever_of_its_bytes_it_is() {
    for number in [0, 25, 26, RECORDS - 1] {
        for bit_at in [-25, -9, -1, 0, 40] {
            let dir = scratch();
            closed_log(dir.path());
            let before = before(dir.path());
            let path = log_with(dir.path(), &value(number));
            let position = find_in_file(&path, &value(number)).checked_add_signed(bit_at).unwrap();
            flip_bit(&path, position);
            let report = repaired(dir.path(), &before);
            assert_eq!(report.lost, [lost(number, number + 1, Reason::Damaged)]);
            assert!(matches!(report.mended.as_slice(), [Mended::Segment { .. }]), "{report}");
            let text = report.to_string();
            assert!(text.contains(&format!("lost: t/0 offset {number}: damaged")), "{text}");
        }
    }
}

#[test]
fn records_of_missing_and_cut_segments_are_lost_and_no_others() {
    for cut in [None, Some(0), Some(300)] {
        for number in [5, 25, RECORDS - 1] {
            let dir = scratch();
            closed_log(dir.path());
            let before = before(dir.path());
            let path = log_with(dir.path(), &value(number));
            let whole = fs::read(&path).unwrap();
            let gone = |number: &u64| {
                let text = value(*number);
                let at = whole.windows(text.len()).position(|window| window == text.as_bytes());
                at.is_some_and(|at| cut.is_none_or(|cut| at + text.len() > cut))
            };
            let gone: BTreeSet<u64> = (0..RECORDS).filter(gone).collect();
            match cut {
                None => fs::remove_file(&path).unwrap(),
                Some(len) => fs::write(&path, &whole[..len]).unwrap(),
            }
            let report = repaired(dir.path(), &before);
            assert_eq!(offsets(&report), gone);
            let reason = if cut.is_none() { Reason::FileMissing } else { Reason::Damaged };
            assert!(report.lost.len() == 1 && report.lost[0].reason == reason, "{report}");
        }
    }
}

#[test]
fn several_damaged_segments_lose_what_is_damaged_in_each() {
    let dir = scratch();
    closed_log(dir.path());
    let before = before(dir.path());
    for number in [3, 4, 30, 31, 33, 57] {
        damage_text(&log_with(dir.path(), &value(number)), &value(number));
    }
    let report = repaired(dir.path(), &before);
    let expected = [(3, 5), (30, 32), (33, 34), (57, 58)];
    let expected = expected.map(|(start, end)| lost(start, end, Reason::Damaged));
    assert_eq!(report.lost, expected);
}

#[test]
fn records_in_a_wrong_place_and_bytes_in_between_lose_nothing() {
    let dir = scratch();
    closed_log(dir.path());
    let before = before(dir.path());
    let path = log_with(dir.path(), &value(25));
    let bytes = fs::read(&path).unwrap();
    let stands = |number: &u64| log_with(dir.path(), &value(*number)) == path;
    let first = (0..RECORDS).find(stands).unwrap();
    let len = find_in_file(&path, &value(first + 1)) - find_in_file(&path, &value(first));
    let mut turned: Vec<u8> = bytes[len..2 * len].to_vec();
    turned.extend_from_slice(&bytes[..len]);
    turned.extend_from_slice(&bytes[2 * len..]);
    fs::write(&path, turned).unwrap();
    let report = repaired(dir.path(), &before);
    assert!(report.lost.is_empty(), "{report}");
    assert!(report.to_string().starts_with("no record was lost\n"), "{report}");
}

#[test]
fn damaged_or_missing_hashes_are_computed_anew_and_nothing_is_lost() {
    let damages: [fn(&Path); 3] = [
        |path| fs::write(path, vec![0x55; fs::read(path).unwrap().len()]).unwrap(),
        |path| flip_bit(path, 0),
        |path| flip_bit(path, fs::read(path).unwrap().len() - 1),
    ];
    for damage in damages {
        let dir = scratch();
        closed_log(dir.path());
        let before = before(dir.path());
        damage(&only_file(dir.path(), "hashes"));
        let report = repaired(dir.path(), &before);
        let hashes = Mended::Hashes { topic: "t".to_owned(), partition: 0 };
        assert_eq!((report.lost.len(), report.mended), (0, vec![hashes]));
    }
}

/// Where the node stands in the file of stored hashes.
fn slot(level: u32, index: u64) -> usize {
    let leaf = ((index + 1) << level) - 1;
    let nodes = 2 * leaf - u64::from(leaf.count_ones()) + u64::from(level);
    usize::try_from(nodes).unwrap() * 32
}

#[test]
fn lost_hashes_beside_a_lost_record_take_the_smallest_subtree_that_is_known() {
    // The record's own leaf, and then the nodes above it.
    for (levels, expected) in [(1, 26..28), (2, 24..28)] {
        let dir = scratch();
        closed_log(dir.path());
        let before = before(dir.path());
        damage_text(&log_with(dir.path(), &value(26)), &value(26));
        let hashes = only_file(dir.path(), "hashes");
        for level in 0..levels {
            flip_bit(&hashes, slot(level, 26 >> level));
        }
        let told = repair(&config(dir.path()), &RepairOptions::default()).unwrap();
        let range = told.lost.iter().map(|lost| (lost.start, lost.end)).collect::<Vec<_>>();
        assert_eq!(offsets(&told), expected.collect::<BTreeSet<_>>(), "{range:?}");
        let report = repaired(dir.path(), &before);
        assert!(report.lost.contains(&lost(26, 27, Reason::Damaged)), "{report}");
        assert!(report.lost.iter().any(|lost| lost.reason == Reason::HashesLost), "{report}");
    }
}

#[test]
fn without_hashes_a_lost_segment_takes_what_lies_in_front_of_it() {
    let dir = scratch();
    closed_log(dir.path());
    let before = before(dir.path());
    let path = log_with(dir.path(), &value(25));
    let next = (25..RECORDS).find(|number| log_with(dir.path(), &value(*number)) != path).unwrap();
    fs::remove_file(path).unwrap();
    fs::remove_file(only_file(dir.path(), "hashes")).unwrap();
    let told = changes_nothing(dir.path(), || {
        repair(&config(dir.path()), &RepairOptions::default()).unwrap()
    });
    assert_eq!(told.lost, [lost(0, next, Reason::TreeUnknown)]);
    let done = repair(&config(dir.path()), &APPLY).unwrap();
    assert_eq!(done.lost, told.lost);
    assert!(done.kept.is_some());
    for round in 0..2 {
        let broker = Broker::open(config(dir.path())).unwrap();
        let view = partition(&broker, "t", 0);
        assert_eq!(view.min_valid_offset(), next);
        assert_eq!(view.root_at(RECORDS).unwrap(), Some(before.root));
        let stay = &before.records[usize::try_from(next).unwrap()..];
        assert_eq!(view.read_range(0, RECORDS).unwrap(), stay);
        for record in stay {
            let proof = view.proof(record.offset).unwrap().unwrap();
            assert!(view.verify_proof(&proof).unwrap());
        }
        let sent = Broker::producer(&broker).send(&keyless("t", "more")).unwrap();
        assert_eq!(sent.offset, RECORDS + round);
    }
    assert!(repair(&config(dir.path()), &APPLY).unwrap().nothing_to_do());
}

#[test]
fn a_missing_folder_leaves_a_log_that_goes_on_at_its_offset() {
    let dir = scratch();
    closed_log(dir.path());
    fs::remove_dir_all(dir.path().join(".merkql/topics/t.1/0")).unwrap();
    let told = changes_nothing(dir.path(), || {
        repair(&config(dir.path()), &RepairOptions::default()).unwrap()
    });
    assert_eq!(offsets(&told), (0..RECORDS).collect());
    assert_eq!(repair(&config(dir.path()), &APPLY).unwrap().lost, told.lost);
    let broker = Broker::open(config(dir.path())).unwrap();
    assert_eq!(partition(&broker, "t", 0).read_range(0, RECORDS).unwrap(), []);
    let sent = Broker::producer(&broker).send(&keyless("t", "more")).unwrap();
    assert_eq!(sent.offset, RECORDS);
    drop(broker);
    assert!(repair(&config(dir.path()), &APPLY).unwrap().nothing_to_do());
}

#[test]
fn a_damaged_block_of_packed_records_takes_that_block_alone() {
    let dir = scratch();
    let open = || {
        let compression = Compression::Lz4;
        Broker::open(BrokerConfig { compression, ..BrokerConfig::new(dir.path()) }).unwrap()
    };
    let producer_of = |broker: &BrokerRef| Broker::producer(broker);
    let broker = open();
    for batch in 0..3 {
        let text = |n| format!("{batch} {n} {}", "text ".repeat(40));
        let records: Vec<_> = (0..20).map(|n| keyless("t", text(n))).collect();
        producer_of(&broker).send_batch(&records).unwrap();
    }
    Broker::close(&broker).unwrap();
    drop(broker);
    let before = before(dir.path());
    let path = only_file(dir.path(), ".log");
    flip_bit(&path, fs::read(&path).unwrap().len() / 2);
    let report = repaired(dir.path(), &before);
    assert_eq!(report.lost, [lost(20, 40, Reason::Damaged)]);
}

#[test]
fn a_lost_leaf_within_a_packed_block_takes_its_neighbours_out_of_the_block() {
    let dir = scratch();
    let compression = Compression::Lz4;
    let packed = BrokerConfig { compression, ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(packed).unwrap();
    for first in [0, 22] {
        let text = |n: u64| format!("{n} {}", "text ".repeat(40));
        let records: Vec<_> = (first..first + 22).map(|n| keyless("t", text(n))).collect();
        Broker::producer(&broker).send_batch(&records).unwrap();
    }
    let rest: Vec<_> = (44..RECORDS).map(|n| keyless("t", n.to_string())).collect();
    Broker::producer(&broker).send_batch(&rest).unwrap();
    Broker::close(&broker).unwrap();
    drop(broker);
    let before = before(dir.path());
    // The first block is lost, and the hashes that part it from the second.
    let path = only_file(dir.path(), ".log");
    flip_bit(&path, 100);
    let hashes = only_file(dir.path(), "hashes");
    for level in 0..2 {
        flip_bit(&hashes, slot(level, 20 >> level));
    }
    let report = repaired(dir.path(), &before);
    let expected = [lost(0, 22, Reason::Damaged), lost(22, 24, Reason::HashesLost)];
    assert_eq!(report.lost, expected);
}

#[test]
fn a_producer_is_not_told_that_a_record_is_there_that_was_given_up() {
    let dir = scratch();
    let broker = Broker::open(config(dir.path())).unwrap();
    let producer = Broker::idempotent_producer(&broker, 7);
    for sequence in 0..5 {
        producer.send_batch(sequence, &[keyless("t", value(sequence))]).unwrap();
    }
    Broker::close(&broker).unwrap();
    let path = log_with(dir.path(), &value(4));
    flip_bit(&path, find_in_file(&path, &value(4)));
    let told = repair(&config(dir.path()), &RepairOptions::default()).unwrap();
    let forgotten = GivenUp::Producer { producer_id: 7 };
    assert_eq!(told.given_up, std::slice::from_ref(&forgotten));
    let done = repair(&config(dir.path()), &APPLY).unwrap();
    assert_eq!((done.given_up, done.lost), (vec![forgotten], vec![lost(4, 5, Reason::Damaged)]));
    let broker = Broker::open(config(dir.path())).unwrap();
    let producer = Broker::idempotent_producer(&broker, 7);
    let again = producer.send_batch(4, &[keyless("t", value(4))]);
    assert!(matches!(again, Err(Error::UnknownProducer { .. })), "{again:?}");
}

//! A disk that fails while a log is looked at: sectors that it does not give, and calls that
//! it refuses. What can be told all the same is told, and nothing is taken for sound that
//! nobody has seen.

#![allow(clippy::disallowed_methods, reason = "the tests look at the disk behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::repair::{Mended, RepairOptions};
use merkql::verify::FindingKind;
use merkql::{Error, repair, verify};
use merkql_sim::disk::{Damage, SimDisk};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::watched::{Op, Watched};
use support::*;
use support_crash::memory_dir;

const APPLY: RepairOptions = RepairOptions { apply: true };
const PAGE: usize = 4096;

fn on(disk: &SimDisk) -> BrokerConfig {
    BrokerConfig { file_system: Arc::new(disk.process()), ..BrokerConfig::new("/log") }
}

/// A log with a checkpoint behind its first record.
fn log_on(disk: &SimDisk) -> BrokerRef {
    let broker = Broker::open(on(disk)).unwrap();
    Broker::producer(&broker).send(&keyless("t", "known")).unwrap();
    broker.maintain().unwrap();
    broker
}

/// The file with this ending that holds `text`, and where.
fn place_of(disk: &SimDisk, ending: &str, text: &str) -> (String, usize) {
    let find = |path: &String| {
        let content = disk.content(path).unwrap();
        content.windows(text.len()).position(|window| window == text.as_bytes())
    };
    let mut files = disk.files().into_iter().filter(|path| path.ends_with(ending));
    files.find_map(|path| find(&path).map(|at| (path, at))).unwrap()
}

fn make_unreadable(disk: &SimDisk, path: &str, from: usize, len: usize) {
    let range = (from as u64, (from + len) as u64);
    disk.damage(path, &Damage::Unreadable { range }).unwrap();
}

#[test]
fn a_record_that_the_journal_has_lost_bears_witness_behind_a_sector_that_cannot_be_read() {
    let disk = SimDisk::new();
    let broker = log_on(&disk);
    let journal_lost_them = disk.fork();
    for value in ["a".repeat(2000), "b".repeat(100)] {
        Broker::producer(&broker).send(&keyless("t", value)).unwrap();
    }
    let (path, first) = place_of(&disk, ".log", "aaaa");
    let bytes = disk.content(&path).unwrap();
    for unreadable in [first + 500, first + 1000, first + 1900] {
        let disk = journal_lost_them.fork();
        let kind = merkql_sim::fault::FaultKind::PrimaryDamaged;
        let written = Damage::Overwrite { position: 0, bytes: bytes.clone(), kind };
        disk.damage(&path, &written).unwrap();
        make_unreadable(&disk, &path, unreadable, 50);
        let refused = Broker::open(on(&disk)).map(drop).unwrap_err();
        assert!(matches!(refused, Error::Corrupt(_)), "{refused}");
        assert!(refused.to_string().contains("record 2 is valid"), "{refused}");
    }
}

#[test]
fn a_journal_that_the_disk_does_not_give_is_repaired_from_the_files() {
    let disk = SimDisk::new();
    let broker = log_on(&disk);
    for number in 0..5 {
        Broker::producer(&broker).send(&keyless("t", format!("journalled {number}"))).unwrap();
    }
    let disk = disk.fork();
    let (path, at) = place_of(&disk, ".wal", "journalled 2");
    make_unreadable(&disk, &path, at / PAGE * PAGE, 512);
    let refused = Broker::open(on(&disk)).map(drop).unwrap_err();
    assert!(matches!(refused, Error::Io { operation: "read", .. }), "{refused}");

    let told = repair(&on(&disk), &RepairOptions::default()).unwrap();
    let report = repair(&on(&disk), &APPLY).unwrap();
    assert_eq!((&report.lost, &report.mended), (&told.lost, &told.mended));
    assert_eq!((report.lost, report.mended), (vec![], vec![Mended::Journal]));
    assert_eq!(verify(&on(&disk)).unwrap().findings, []);
    let broker = Broker::open(on(&disk)).unwrap();
    let read = partition(&broker, "t", 0).read_range(0, 9).unwrap();
    assert_eq!(values(&read)[..2], ["known", "journalled 0"]);
    assert_eq!((read.len(), values(&read)[5]), (6, "journalled 4"));
}

#[test]
fn a_repair_that_is_short_of_one_handle_says_so_and_does_not_call_the_log_sound() {
    let dir = memory_dir();
    let config = |window: &Watched| BrokerConfig {
        segment_bytes: 512,
        max_open_files: 8,
        ..window.config(dir.path())
    };
    let broker = Broker::open(config(&Watched::swift())).unwrap();
    for number in 0..12 {
        Broker::producer(&broker).send(&keyless("t", format!("{number:0>300}"))).unwrap();
    }
    Broker::close(&broker).unwrap();
    drop(broker);
    assert!(files(dir.path(), ".log").len() > 8);
    for number in 0.. {
        let window = Watched::swift();
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        window.refuse(move |call| {
            let is_record_file = call.path.extension().is_some_and(|ending| ending == "log");
            let is_one = is_record_file && call.op == Op::Open;
            let is_struck = is_one && count.fetch_add(1, Ordering::Relaxed) == number;
            is_struck.then(|| io::Error::from_raw_os_error(24))
        });
        let repaired = changes_nothing(dir.path(), || repair(&config(&window), &APPLY));
        if opened.load(Ordering::Relaxed) <= number {
            assert!(repaired.unwrap().nothing_to_do() && number > 30, "{number}");
            break;
        }
        assert!(matches!(repaired, Err(Error::TooManyOpenFiles { .. })), "{number}: {repaired:?}");
    }
}

#[test]
fn the_end_of_a_journal_that_the_disk_does_not_give_is_not_taken_for_a_torn_block() {
    let disk = SimDisk::new();
    let broker = log_on(&disk);
    Broker::producer(&broker).send(&keyless("t", "journalled last")).unwrap();
    let disk = disk.fork();
    let (path, at) = place_of(&disk, ".wal", "journalled last");
    make_unreadable(&disk, &path, at / PAGE * PAGE, 512);
    let report = verify(&on(&disk)).unwrap();
    let [finding] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    assert_eq!(finding.kind, FindingKind::Journal);
    assert!(finding.reason.starts_with("the journal cannot be read"), "{finding}");
}

#[test]
fn a_verification_that_is_short_of_one_handle_says_so_and_does_not_call_the_log_sound() {
    let dir = memory_dir();
    let config = |window: &Watched| BrokerConfig {
        segment_bytes: 2048,
        max_open_files: 8,
        ..window.config(dir.path())
    };
    let broker = Broker::open(config(&Watched::swift())).unwrap();
    // More hashes than are read at once, so that they are opened again behind many segments.
    for _ in 0..12 {
        send_numbered(&Broker::producer(&broker), "t", "v", 100);
    }
    Broker::close(&broker).unwrap();
    drop(broker);
    for number in 0.. {
        let window = Watched::swift();
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        window.refuse(move |call| {
            let is_one = call.path.to_string_lossy().contains("/topics/") && call.op == Op::Open;
            let is_struck = is_one && count.fetch_add(1, Ordering::Relaxed) == number;
            is_struck.then(|| io::Error::from_raw_os_error(24))
        });
        let verified = verify(&config(&window));
        if opened.load(Ordering::Relaxed) <= number {
            assert_eq!(verified.unwrap().findings, []);
            assert!(number > 10, "{number}");
            break;
        }
        assert!(matches!(verified, Err(Error::TooManyOpenFiles { .. })), "{number}: {verified:?}");
    }
}

//! Opening a directory, however it was left: a creation that ended anywhere, a
//! recovery that panicked anywhere, names that no log would choose, and what a
//! clean open has only seen and not yet made durable.

#![allow(clippy::disallowed_methods, reason = "the tests change the disk behind the log's back")]

mod support;
mod support_crash;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::record::Record;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use support::forge::seal_slot;
use support::watched::{Call, Op, Watched};
use support::*;
use support_crash::fault_fs::{Fault, FaultFs, Kind, Manner};
use support_crash::{copy_dir, memory_dir, small_config};

/// A file system that works, in no hurry.
fn healthy(dir: &Path) -> BrokerConfig {
    BrokerConfig { file_system: Arc::new(Watched::swift()), ..small_config(dir) }
}

fn watched(window: &Watched, dir: &Path) -> BrokerConfig {
    BrokerConfig { file_system: Arc::new(window.clone()), ..small_config(dir) }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn panics() -> io::Error {
    // Without a word from the panic hook, of which there would be thousands.
    resume_unwind(Box::new("this call was to panic"))
}

/// Opens the log and lets go of it; survives that either panics.
fn open_carelessly(config: BrokerConfig) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(Broker::open(config))));
}

/// A log that was never used, and can be from now on.
fn assert_usable(dir: &Path, what: &str) {
    let broker = Broker::open(healthy(dir)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(broker.topics().is_empty(), "{what}");
    broker.create_topic("made", 2).unwrap();
    Broker::producer(&broker).send(&keyless("sent-to", "first")).unwrap();
    Broker::close(&broker).unwrap();
    drop(broker);
    let broker = Broker::open(healthy(dir)).unwrap();
    assert_eq!(broker.topics(), ["made", "sent-to"], "{what}");
    Broker::producer(&broker).send(&keyless("sent-to", "second")).unwrap();
    let read = partition(&broker, "sent-to", 0).read_range(0, 9).unwrap();
    assert_eq!(values(&read), ["first", "second"], "{what}");
}

#[test]
fn a_creation_that_ends_at_any_call_is_made_good_by_the_next() {
    for (fate, name) in [(broken as fn() -> io::Error, "fails"), (panics, "panics")] {
        for number in 0.. {
            let dir = memory_dir();
            let log = dir.path().join("of/two folders");
            let window = Watched::swift().seeing_reads();
            let struck = window.strike(number, fate);
            open_carelessly(watched(&window, &log));
            assert_usable(&log, &format!("call {number} {name}"));
            if !struck.load(Ordering::Relaxed) {
                assert!(number > 15, "{number} calls make no log");
                break;
            }
        }
    }
}

#[test]
fn a_creation_that_ends_with_half_a_call_is_made_good_by_the_next() {
    for stays in [false, true] {
        for number in 0.. {
            let dir = memory_dir();
            let fs = FaultFs::new();
            fs.arm(Fault { number, kind: None, manner: Manner::Torn, stays });
            let file_system = Arc::clone(&fs) as Arc<dyn merkql::env::FileSystem>;
            drop(Broker::open(BrokerConfig { file_system, ..small_config(dir.path()) }));
            assert_usable(dir.path(), &format!("half of call {number}, stays: {stays}"));
            if fs.fired() == 0 {
                assert!(fs.count(Some(Kind::Sync)) > 2);
                break;
            }
        }
    }
}

/// A log as a killed process leaves it, and what it had acknowledged.
fn killed_log() -> (tempfile::TempDir, Vec<Record>) {
    let dir = memory_dir();
    let broker = Broker::open(healthy(dir.path())).unwrap();
    broker.create_topic("t", 2).unwrap();
    let producer = Broker::producer(&broker);
    let mut acknowledged = producer.send_batch(&numbered("t", "early ", 40)).unwrap();
    broker.maintain().unwrap();
    acknowledged.extend(producer.send_batch(&numbered("t", "late ", 20)).unwrap());
    acknowledged.extend(producer.send_batch(&numbered("new", "of a new topic ", 5)).unwrap());
    let mut consumer = subscribed(&broker, "g", "t");
    consumer.poll(NOW).unwrap();
    consumer.commit_sync().unwrap();
    acknowledged.push(producer.send(&keyless("t", "the last")).unwrap());
    let image = memory_dir();
    copy_dir(dir.path(), image.path());
    (image, acknowledged)
}

fn assert_kept(broker: &BrokerRef, acknowledged: &[Record], what: &str) {
    for record in acknowledged {
        let read = partition(broker, &record.topic, record.partition).read(record.offset);
        assert_eq!(read.unwrap().as_ref(), Some(record), "{what}");
        let view = partition(broker, &record.topic, record.partition);
        let proof = view.proof(record.offset).unwrap().unwrap();
        assert!(view.verify_proof(&proof).unwrap(), "{what}");
    }
}

#[test]
fn a_recovery_that_ends_at_any_call_loses_nothing() {
    let (image, acknowledged) = killed_log();
    for (fate, name) in [(panics as fn() -> io::Error, "panics"), (broken, "fails")] {
        for number in 0.. {
            let what = format!("call {number} {name}");
            let dir = memory_dir();
            copy_dir(image.path(), dir.path());
            let window = Watched::swift().seeing_reads();
            let struck = window.strike(number, fate);
            open_carelessly(watched(&window, dir.path()));
            for _ in 0..2 {
                let broker = Broker::open(healthy(dir.path()));
                let broker = broker.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_kept(&broker, &acknowledged, &what);
                // Of the 41 in "t", 20 or 21 stand in each partition, and 40 were consumed.
                let rest = poll_values(&mut subscribed(&broker, "g", "t"));
                assert_eq!(rest, ["the last"], "{what}");
            }
            if !struck.load(Ordering::Relaxed) {
                assert!(number > 60, "{number} calls recover no log");
                break;
            }
        }
    }
}

#[test]
fn a_use_that_panics_at_any_call_loses_nothing() {
    let (image, acknowledged) = killed_log();
    for number in 0.. {
        let dir = memory_dir();
        copy_dir(image.path(), dir.path());
        let window = Watched::swift();
        let broker = Broker::open(watched(&window, dir.path())).unwrap();
        let struck = window.strike(number, panics);
        let mut sent = Vec::new();
        for round in 0..3 {
            let call = || Broker::producer(&broker).send_batch(&numbered("t", "more ", 20));
            sent.extend(catch_unwind(AssertUnwindSafe(call)).ok().and_then(Result::ok));
            let tend = || if round == 1 { Broker::close(&broker) } else { broker.maintain() };
            drop(catch_unwind(AssertUnwindSafe(tend)));
        }
        drop(catch_unwind(AssertUnwindSafe(|| drop(broker))));
        let broker = Broker::open(healthy(dir.path())).unwrap();
        let what = format!("call {number} panics");
        assert_kept(&broker, &acknowledged, &what);
        for sent in &sent {
            assert_kept(&broker, sent, &what);
        }
        if !struck.load(Ordering::Relaxed) {
            assert!(number > 20 && sent.len() == 2, "{number} calls");
            break;
        }
    }
}

#[test]
fn names_that_no_log_would_choose_are_left_alone() {
    for clean in [true, false] {
        let (dir, acknowledged) = killed_log();
        if clean {
            drop(Broker::open(healthy(dir.path())).unwrap());
        }
        let log = dir.path().join(".merkql");
        let max = u64::MAX;
        let strange: Vec<PathBuf> = [
            format!("topics/t.1/0/00000000000000000000.{max}.log"),
            format!("topics/t.1/0/00000000000000000000.{max}.idx"),
            format!("topics/t.1/0/{max}.0000000001.log"),
            format!("topics/t.1/1/{max}.{max}.log"),
            format!("topics/x.{max}/0/00000000000000000000.0000000001.log"),
            format!("topics/x.{max}/0/00000000000000000000.{max}.log"),
            format!("topics/x.9999999999999999999/{max}/file"),
            format!("journal/{max}.wal"),
            "journal/9999999999999999999.wal".to_owned(),
            "journal/18446744073709551616.wal".to_owned(),
            "journal/0.wal".to_owned(),
        ]
        .map(|name| log.join(name))
        .into();
        for path in &strange {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("MqlBlock{}", "\u{1}".repeat(9000))).unwrap();
        }
        for round in 0..3 {
            let broker = Broker::open(healthy(dir.path())).unwrap();
            assert_kept(&broker, &acknowledged, "strange names");
            let producer = Broker::producer(&broker);
            producer.send_batch(&numbered("t", "more ", 50)).unwrap();
            producer.send_batch(&numbered(&format!("topic-{round}"), "v", 5)).unwrap();
            broker.maintain().unwrap();
        }
        for path in &strange {
            assert!(path.is_file(), "{} is gone", path.display());
        }
    }
}

#[test]
fn numbers_near_their_bound_lose_nothing() {
    for name in [
        "journal/9007199254740991.wal",
        "journal/4611686018427387904.wal",
        "topics/t.1/0/00000000000000000000.4611686018427387904.log",
        "topics/x.4611686018427387903",
    ] {
        for round in [0, 5] {
            let (dir, mut acknowledged) = killed_log();
            let path = dir.path().join(".merkql").join(name);
            if path.extension().is_some_and(|extension| extension.len() == 3) {
                fs::write(path, "").unwrap();
            } else {
                fs::create_dir(path).unwrap();
            }
            for _ in 0..=round {
                match Broker::open(healthy(dir.path())) {
                    Ok(broker) => {
                        assert_kept(&broker, &acknowledged, name);
                        let more = numbered("t", "more ", 30);
                        acknowledged.extend(Broker::producer(&broker).send_batch(&more).unwrap());
                    }
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
    }
}

#[test]
fn numbers_in_a_forged_slot_that_leave_no_room_to_count_on_never_end_the_log_later() {
    // The number of the journal's file, its generation, its sequence, and the next incarnation.
    for at in [48, 72, 88, 96] {
        for number in [1_u64 << 61, 1 << 62, u64::MAX] {
            let (dir, acknowledged) = killed_log();
            let slot = dir.path().join(".merkql/manifest.b");
            let mut bytes = fs::read(&slot).unwrap();
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            seal_slot(&mut bytes);
            fs::write(slot, bytes).unwrap();
            for opening in 0..3 {
                let broker = Broker::open(healthy(dir.path()));
                let broker = broker.unwrap_or_else(|e| panic!("byte {at}, {opening}: {e}"));
                assert_kept(&broker, &acknowledged, "forged");
                Broker::close(&broker).unwrap();
            }
        }
    }
}

#[test]
fn what_a_clean_open_only_saw_is_made_durable_before_it_is_built_upon() {
    let dir = memory_dir();
    // A log in which nothing was ever acknowledged would be created again.
    let used = Watched::swift().open(dir.path());
    Broker::producer(&used).send(&keyless("used", "before")).unwrap();
    drop(used);
    for round in 0..3 {
        let window = Watched::swift();
        let broker = window.open(dir.path());
        let opening = window.take();
        assert!(!opening.iter().any(|call| call.op.is_change()), "round {round}: {opening:?}");
        // The first time it is the topic's creation that builds upon it.
        Broker::producer(&broker).send(&keyless("t", "first")).unwrap();
        let calls = window.take();
        let is_block =
            |call: &support::watched::Call| call.op == Op::Write && call.is_on_journal_file();
        let first_block = calls.iter().position(is_block).unwrap();
        let log = dir.path().join(".merkql");
        let wanted = [
            (Op::Sync, log.join("manifest.a")),
            (Op::Sync, log.join("manifest.b")),
            (Op::SyncDir, log.join("topics")),
            (Op::SyncDir, log.clone()),
            (Op::SyncDir, dir.path().to_owned()),
        ];
        for (op, path) in wanted {
            let found = calls[..first_block].iter().any(|call| call.op == op && call.path == path);
            assert!(found, "round {round}: no {op:?} of {} in {calls:?}", path.display());
        }
        for _ in 0..3 {
            Broker::producer(&broker).send(&keyless("t", "another")).unwrap();
            assert_eq!(window.take_syncs(), 1, "round {round}");
        }
    }
}

/// Opens the log again and again through a window that makes each attempt fail: at most
/// `more` files of the journal are added in all.
fn assert_no_pile(window: &Watched, dir: &Path, more: usize, is_expected: fn(&Error) -> bool) {
    let before = files(dir, ".wal").len();
    for attempt in 0..20 {
        let refused = Broker::open(watched(window, dir)).unwrap_err();
        assert!(is_expected(&refused), "{refused}");
        let now = files(dir, ".wal").len();
        assert!(now <= before + more, "attempt {attempt}: {before} files became {now}");
    }
}

#[test]
fn a_full_disk_at_every_opening_leaves_no_pile_of_journal_files() {
    let (dir, acknowledged) = killed_log();
    // Names can be made, but nothing can be written to them.
    let window = Watched::swift();
    let grows = |op| matches!(op, Op::Allocate | Op::Write | Op::SetLen);
    window.refuse(move |call| {
        (call.grows && grows(call.op)).then(|| io::ErrorKind::StorageFull.into())
    });
    assert_no_pile(&window, dir.path(), 1, |refused| matches!(refused, Error::DiskFull { .. }));
    window.permit();
    let broker = Broker::open(watched(&window, dir.path())).unwrap();
    assert_kept(&broker, &acknowledged, "after a full disk");
    Broker::producer(&broker).send(&keyless("t", "more")).unwrap();
}

#[test]
fn a_recovery_that_never_succeeds_leaves_no_pile_of_journal_files() {
    let (dir, acknowledged) = killed_log();
    let window = Watched::swift();
    window.refuse(|call| {
        let is_slot = call.path.file_name().is_some_and(|name| name == "manifest.a");
        (is_slot && call.op == Op::Write).then(broken)
    });
    assert_no_pile(&window, dir.path(), 3, |refused| matches!(refused, Error::Io { .. }));
    window.permit();
    let broker = Broker::open(watched(&window, dir.path())).unwrap();
    assert_kept(&broker, &acknowledged, "after a slot that took no writes");
}

#[test]
fn a_good_slot_is_written_over_only_once_the_other_is_good() {
    for bad in ["manifest.a", "manifest.b"] {
        let dir = memory_dir();
        let window = Watched::swift();
        let broker = window.open(dir.path());
        Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
        Broker::close(&broker).unwrap();
        drop(broker);
        flip_bit(&dir.path().join(".merkql").join(bad), 100);
        window.take();
        let broker = window.open(dir.path());
        Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
        broker.maintain().unwrap();
        let is_slot = |call: &Call| call.path.to_string_lossy().contains("manifest.");
        let mut calls = window.take();
        calls.retain(|call| is_slot(call) && matches!(call.op, Op::Write | Op::Sync));
        let first = calls.iter().position(|call| call.op == Op::Write).unwrap();
        let firsts: Vec<_> = calls[first..].iter().take(2).map(|call| call.op).collect();
        assert!(calls[first].path.ends_with(bad), "{bad}: {calls:#?}");
        assert_eq!(firsts, [Op::Write, Op::Sync], "{bad}: {calls:#?}");
    }
}

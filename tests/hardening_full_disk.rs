//! A disk without room: what is refused gives back what it took, takes nobody
//! else with it, and leaves nothing behind.

#![allow(clippy::disallowed_methods, reason = "the tests look at the disk behind the log's back")]

mod support;
mod support_crash;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql_sim::probe::SimProbe;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use support::watched::{Op, Watched};
use support::*;
use support_crash::fault_fs::FaultFs;
use support_crash::{copy_dir, memory_dir};

#[test]
fn a_send_that_finds_no_room_takes_no_other_of_its_block_with_it() {
    for refused_first in [false, true] {
        for broken in [Op::Create, Op::Allocate] {
            let dir = memory_dir();
            let window = Watched::swift();
            let broker = window.open(dir.path());
            broker.create_topic("fresh", 1).unwrap();
            let producer = Broker::producer(&broker);
            producer.send(&keyless("t", "before")).unwrap();
            window.refuse(move |call| {
                let in_fresh = call.path.to_string_lossy().contains("fresh.");
                (in_fresh && call.op == broken).then(|| ErrorKind::StorageFull.into())
            });
            let mut pending = Vec::new();
            for topic in if refused_first { ["fresh", "t"] } else { ["t", "fresh"] } {
                pending
                    .push((topic, producer.enqueue(&numbered(topic, "in one block ", 2)).unwrap()));
            }
            window.take();
            for (topic, pending) in pending {
                match (topic, pending.wait()) {
                    ("t", Ok(sent)) => assert_eq!(sent.len(), 2),
                    ("fresh", Err(Error::DiskFull { .. })) => {}
                    (_, other) => panic!("{topic}: {other:?}"),
                }
            }
            let is_block =
                |call: &support::watched::Call| call.op == Op::Write && call.is_on_journal_file();
            assert_eq!(window.take().into_iter().filter(is_block).count(), 1);
            window.permit();
            for topic in ["t", "fresh"] {
                producer.send_batch(&numbered(topic, "after ", 2)).unwrap();
            }
            let killed = memory_dir();
            copy_dir(dir.path(), killed.path());
            Broker::close(&broker).unwrap();
            for dir in [dir.path(), killed.path()] {
                let broker = Watched::swift().open(dir);
                let read = |topic| partition(&broker, topic, 0).read_range(0, 99).unwrap();
                assert_eq!(
                    values(&read("t")),
                    ["before", "in one block 0", "in one block 1", "after 0", "after 1"]
                );
                assert_eq!(values(&read("fresh")), ["after 0", "after 1"]);
                assert_eq!(files(dir, ".log").len(), 2);
            }
        }
    }
}

fn config(dir: &Path, fs: &Arc<FaultFs>) -> BrokerConfig {
    let file_system = Arc::clone(fs) as Arc<dyn merkql::env::FileSystem>;
    BrokerConfig {
        file_system,
        segment_bytes: 256 << 10,
        journal_max_bytes: 64 << 10,
        ..BrokerConfig::new(dir)
    }
}

#[test]
fn a_batch_that_is_refused_gives_its_room_back() {
    const KIB: u64 = 1 << 10;
    let mut refusals = 0;
    for room in [96, 160, 300, 500, 700, 900, 1200, 1500, 2000, 2500, 3000, 4000] {
        let dir = memory_dir();
        let fs = FaultFs::new();
        let broker = Broker::open(config(dir.path(), &fs)).unwrap();
        broker.create_topic("t", 2).unwrap();
        broker.create_topic("fresh", 1).unwrap();
        let producer = Broker::producer(&broker);
        for _ in 0..3 {
            // By and by the journal has the files that it takes in turn.
            send_numbered(&producer, "t", "v", 10);
            broker.maintain().unwrap();
        }
        let before = fs.taken();
        fs.set_room(Some(before + room * KIB));
        let mut batch = numbered("t", &"x".repeat(1000), 900);
        batch.extend(numbered("fresh", &"x".repeat(1000), 100));
        let mut kept: u64 = 30;
        for round in 0..4 {
            let before = fs.taken();
            match producer.send_batch(&batch) {
                Ok(_) => {
                    assert!(room > 1000 && round == 0, "1 MB in {room} KiB");
                    kept += 900;
                    break;
                }
                Err(Error::DiskFull { .. }) => refusals += 1,
                Err(other) => panic!("{room} KiB: {other}"),
            }
            let taken = fs.taken();
            assert!(
                taken <= before + 32 * KIB,
                "{room} KiB, round {round}: {before} became {taken}"
            );
            // Nothing was freed, and small sends go on.
            for number in 0..5 {
                let small = keyless("t", format!("small {round} {number}"));
                producer.send(&small).unwrap_or_else(|error| panic!("{room} KiB: {error}"));
                kept += 1;
            }
        }
        let total = |broker: &BrokerRef| -> u64 {
            (0..2).map(|number| partition(broker, "t", number).next_offset()).sum()
        };
        assert_eq!(total(&broker), kept);
        drop(producer);
        Broker::close(&broker).unwrap();
        drop(broker);

        let window = Watched::swift();
        let broker = window.open(dir.path());
        let calls = window.take();
        assert!(!calls.iter().any(|call| call.op.is_change()), "{room} KiB: {calls:?}");
        assert_eq!(total(&broker), kept);
        if kept < 900 {
            assert_eq!(files(dir.path(), ".log").len(), 2, "{room} KiB");
        }
    }
    assert!(refusals >= 12, "{refusals} refusals");
}

#[test]
fn a_recovery_that_finds_no_room_for_hashes_says_so_and_the_next_one_makes_them() {
    let dir = memory_dir();
    let window = Watched::swift();
    let broker = window.open(dir.path());
    let producer = Broker::producer(&broker);
    for number in 0..20 {
        producer.send(&keyless("t", number.to_string())).unwrap();
    }
    let root = partition(&broker, "t", 0).merkle_root().unwrap();
    drop(producer);
    Broker::close(&broker).unwrap();
    drop(broker);
    fs::remove_file(only_file(dir.path(), "hashes")).unwrap();

    window.refuse(|call| {
        let is_hashes = call.path.ends_with("hashes");
        (is_hashes && call.grows).then(|| ErrorKind::StorageFull.into())
    });
    let refused = Broker::open(window.config(dir.path())).map(drop).unwrap_err();
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    window.permit();
    let broker = window.open(dir.path());
    let view = partition(&broker, "t", 0);
    assert_eq!(view.merkle_root().unwrap(), root);
    for offset in 0..20 {
        assert!(view.verify_proof(&view.proof(offset).unwrap().unwrap()).unwrap());
    }
}

#[test]
fn folders_of_a_topic_that_found_no_room_are_taken_back_or_go_with_the_next_recovery() {
    for can_be_removed in [true, false] {
        let dir = memory_dir();
        let window = Watched::swift();
        let probe = Arc::new(SimProbe::new());
        let config = BrokerConfig { probe: probe.clone(), ..window.config(dir.path()) };
        let broker = Broker::open(config.clone()).unwrap();
        broker.create_topic("there", 1).unwrap();
        window.refuse(move |call| {
            let has_no_room = call.op == Op::CreateDir && call.path.ends_with("t.2/2");
            let stays = call.op == Op::Remove && !can_be_removed;
            (has_no_room || stays).then(|| ErrorKind::StorageFull.into())
        });
        let refused = broker.create_topic("t", 3).unwrap_err();
        assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
        let folder = dir.path().join(".merkql/topics/t.2");
        assert_eq!(folder.exists(), !can_be_removed);
        assert_eq!(probe.marks().contains_key("abandon.folder_kept"), !can_be_removed);
        window.permit();
        drop(broker);
        let broker = Broker::open(config).unwrap();
        assert_eq!(broker.topics(), ["there"]);
        assert!(!folder.exists());
    }
}

//! What the sweeps have found in the log, each reduced to its smallest case.

#[allow(dead_code, reason = "each test uses a part of it")]
mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::record::ProducerRecord;
use merkql_sim::disk::{CrashPhase, CrashPoint, Damage, SimDisk, Survivors};
use merkql_sim::fault::{Arm, Fault, OpKind, SyncFailure};
use support::World;

/// Opens a new log up to an operation, at which the process is killed.
fn killed_at(on: OpKind, path: &str, phase: CrashPhase) -> World {
    let world = World::new(1);
    world.disk.record_trace();
    let broker = world.open(None).unwrap();
    send(&broker, "orders", "first");
    let events = world.disk.take_trace();
    let found = events.iter().find(|event| event.on == on && event.path.ends_with(path));
    let change = found.and_then(|event| event.change).unwrap();
    drop(broker);

    let world = World::new(1);
    world.disk.crash_at(CrashPoint { change, phase });
    if let Ok(broker) = world.open(None) {
        drop(broker.create_topic("orders", 1));
    }
    assert!(world.disk.is_dead());
    world.disk.kill();
    world
}

/// Sends one record to a topic of one partition, which is created if need be.
fn send(broker: &BrokerRef, topic: &str, value: &str) {
    broker.create_topic(topic, 1).unwrap();
    Broker::producer(broker).send(&ProducerRecord::new(topic, None, value)).unwrap();
}

fn values(broker: &BrokerRef, topic: &str) -> Vec<String> {
    let partition = broker.topic(topic).unwrap().partition(0).unwrap().read().unwrap();
    let records = partition.read_range(0, u64::MAX).unwrap();
    records.into_iter().map(|record| record.value).collect()
}

fn cut_power(disk: &SimDisk) {
    disk.power_cut(&Survivors::none());
}

#[test]
fn a_topic_that_only_the_journal_knows_is_recovered_over_its_files() {
    // Replay met the segment that the killed process had made: AlreadyExists.
    let world = World::new(1);
    let broker = world.open(None).unwrap();
    send(&broker, "orders", "first");
    world.disk.kill();
    drop(broker);
    assert_eq!(values(&world.open(None).unwrap(), "orders"), ["first"]);
}

#[test]
fn a_slot_that_creation_left_in_the_cache_alone_is_not_built_upon() {
    // The second open took slot a from the cache for a log to be recovered, and
    // made topics/ durable before any slot. After the power cut every open refused.
    let world = killed_at(OpKind::SyncData, "/manifest.a", CrashPhase::Before);
    let start = world.disk.changes();
    for change in start..start + 40 {
        let fork = world.fork(2);
        fork.disk.crash_at(CrashPoint { change, phase: CrashPhase::After });
        drop(fork.open(None));
        cut_power(&fork.disk);
        send(&fork.open(None).unwrap(), "orders", "first");
    }
}

#[test]
fn a_creation_that_ended_before_the_topics_folder_is_finished() {
    // Both slots were valid, so there was nothing to do, and every creation of a
    // topic failed with NotFound for ever.
    let world = killed_at(OpKind::SyncData, "/manifest.b", CrashPhase::After);
    send(&world.open(None).unwrap(), "orders", "first");
}

#[test]
fn a_folder_that_a_killed_process_made_is_made_durable_by_the_next() {
    // It was there, so its name was never synced, and the power cut took the log.
    for folder in ["/data", "/data/log", "/data/log/.merkql"] {
        let world = killed_at(OpKind::CreateDir, folder, CrashPhase::After);
        let broker = world.open(None).unwrap();
        send(&broker, "orders", "first");
        cut_power(&world.disk);
        drop(broker);
        assert_eq!(values(&world.open(None).unwrap(), "orders"), ["first"], "{folder}");
    }
}

#[test]
fn no_sync_that_fails_during_creation_is_papered_over_by_the_cache() {
    // Of slots, topics/ and the folders above the cache showed what the disk did
    // not have, and the next open built upon it.
    for on in [OpKind::SyncData, OpKind::SyncDir] {
        for skip in 0.. {
            let world = World::new(1);
            let fault = Fault::FailedSync(SyncFailure::KeptClean);
            world.disk.arm(Arm::nth(fault, on, "*", skip)).unwrap();
            if world.open(None).is_ok() {
                break;
            }
            let broker = world.open(None).unwrap();
            send(&broker, "orders", "first");
            broker.maintain().unwrap();
            cut_power(&world.disk);
            drop(broker);
            assert_eq!(values(&world.open(None).unwrap(), "orders"), ["first"], "{on:?} {skip}");
        }
    }
}

#[test]
fn handles_that_run_out_behind_the_commit_point_are_not_said_to_change_nothing() {
    // With more partitions in a block than the budget pins, applying it opens
    // files after the sync; the caller was told TooManyOpenFiles.
    let config = |world: &World| BrokerConfig { max_open_files: 8, ..world.config(None) };
    let batch = |round: u32| -> Vec<ProducerRecord> {
        let record = |topic: u32| {
            ProducerRecord::new(format!("topic-{topic}"), None, format!("{round}.{topic}"))
        };
        (0..6).map(record).collect()
    };
    let mut told = 0;
    for skip in 0..24 {
        let world = World::new(1);
        let broker = Broker::open(config(&world)).unwrap();
        (0..6).for_each(|topic| broker.create_topic(&format!("topic-{topic}"), 1).unwrap());
        let producer = Broker::producer(&broker);
        producer.send_batch(&batch(0)).unwrap();
        world.disk.arm(Arm::nth(Fault::TooManyOpenFiles, OpKind::Open, "*", skip)).unwrap();
        match producer.send_batch(&batch(1)) {
            Ok(_) => {}
            Err(Error::TooManyOpenFiles { .. }) => {
                let sent = producer.send_batch(&batch(1)).unwrap();
                assert_eq!(sent[0].offset, 1, "nothing was changed");
            }
            Err(Error::NeedsReopen { .. }) => told += 1,
            Err(error) => panic!("{error}"),
        }
        drop((producer, broker));
        let broker = Broker::open(config(&world)).unwrap();
        assert_eq!(values(&broker, "topic-5"), ["0.5", "1.5"]);
    }
    assert!(told > 0, "no open came behind the commit point");
}

#[test]
fn stored_hashes_whose_name_is_not_durable_are_made_anew() {
    // The file was there, so its name was never synced. Once retention had
    // removed the records that it could be rebuilt from, a power cut took it.
    let world = World::new(1);
    let broker = world.open(Some(4)).unwrap();
    broker.create_topic("recent", 1).unwrap();
    let fault = Fault::FailedSync(SyncFailure::KeptClean);
    world.disk.arm(Arm::nth(fault, OpKind::SyncDir, "*/recent.1/0", 1)).unwrap();
    let record = |value: &str| ProducerRecord::new("recent", None, value);
    assert!(Broker::producer(&broker).send(&record("refused")).is_err());
    drop(broker);
    let broker = world.open(None).unwrap();
    let value = "v".repeat(900);
    for _ in 0..20 {
        Broker::producer(&broker).send(&record(&value)).unwrap();
    }
    broker.maintain().unwrap();
    cut_power(&world.disk);
    drop(broker);
    let broker = world.open(None).unwrap();
    let partition = broker.topic("recent").unwrap().partition(0).unwrap().read().unwrap();
    assert!(partition.min_valid_offset() > 0);
    assert!(partition.proof(0).unwrap().is_some());
}

#[test]
fn a_record_in_the_place_of_another_is_damage_and_not_silence() {
    // The frame was whole, and of a later offset: the read of offset 0 said None.
    let world = World::new(1);
    let broker = world.open(None).unwrap();
    send(&broker, "orders", "first");
    let segment = "/topics/orders.1/0/00000000000000000000.0000000001.log";
    let path = format!("/data/log/.merkql{segment}");
    let fault = Fault::MisdirectedWrite { path: None, position: 0 };
    world.disk.arm(Arm::first(fault, OpKind::WriteAt, &path)).unwrap();
    send(&broker, "orders", "other");
    let partition = broker.topic("orders").unwrap().partition(0).unwrap().read().unwrap();
    assert!(partition.read(0).unwrap_err().is_corruption());
    assert!(partition.read_range(0, 2).unwrap_err().is_corruption());
    drop((partition, broker));
    // Closed cleanly: nothing is left in the journal to write it anew.
    let broker = world.open(None).unwrap();
    let partition = broker.topic("orders").unwrap().partition(0).unwrap().read().unwrap();
    assert!(partition.read(0).unwrap_err().is_corruption());
}

#[test]
fn a_block_header_that_is_read_wrong_once_is_read_again() {
    // The checksum held, because it was computed over the second read.
    let world = World::new(1);
    let broker = world.open(None).unwrap();
    send(&broker, "orders", "first");
    world.disk.kill();
    drop(broker);
    for skip in 0..12 {
        for bit in (0..72 * 8).step_by(3) {
            let fork = world.fork(2);
            let arm = Arm::nth(Fault::ReadWrongOnce { bit }, OpKind::ReadAt, "*.wal", skip);
            fork.disk.arm(arm).unwrap();
            let opened = fork.open(None);
            let broker = opened.unwrap_or_else(|error| panic!("bit {bit} of read {skip}: {error}"));
            assert_eq!(values(&broker, "orders"), ["first"]);
        }
    }
}

#[test]
fn a_sector_that_replay_writes_anew_need_not_be_readable() {
    // Looking for records that the journal does not know, open gave up.
    let world = World::new(1);
    let broker = world.open(None).unwrap();
    send(&broker, "orders", "first");
    world.disk.kill();
    drop(broker);
    let segment = "/data/log/.merkql/topics/orders.1/0/00000000000000000000.0000000001.log";
    world.disk.damage(segment, &Damage::Unreadable { range: (0, 512) }).unwrap();
    assert_eq!(values(&world.open(None).unwrap(), "orders"), ["first"]);
}

#[test]
fn a_block_torn_within_its_header_is_no_block_of_another_version() {
    // The magic was written and the version still zero: every open refused with
    // UnsupportedVersion, for a block that nobody was told of.
    for bytes in 1..72 {
        let world = World::new(1);
        let broker = world.open(None).unwrap();
        send(&broker, "orders", "first");
        world.disk.record_trace();
        world.disk.crash_at(CrashPoint {
            change: world.disk.changes(),
            phase: CrashPhase::Partly(bytes),
        });
        let second = ProducerRecord::new("orders", None, "second");
        assert!(Broker::producer(&broker).send(&second).is_err());
        let torn = world.disk.take_trace();
        let block = torn.iter().find(|event| event.change.is_some()).unwrap();
        assert!(block.path.contains("/journal/"), "{block}");
        world.disk.kill();
        drop(broker);
        assert_eq!(values(&world.open(None).unwrap(), "orders"), ["first"], "{bytes} bytes");
    }
}

#[test]
fn a_record_that_a_failed_sync_took_from_the_cache_asks_for_a_reopening() {
    // It was answered as damaged, though reopening brings it back from the journal.
    let world = World::new(1);
    let broker = world.open(None).unwrap();
    send(&broker, "orders", "first");
    let reverted = Fault::FailedSync(SyncFailure::Reverted);
    world.disk.arm(Arm::first(reverted, OpKind::SyncData, "*.log")).unwrap();
    broker.maintain().unwrap_err();
    let partition = broker.topic("orders").unwrap().partition(0).unwrap().read().unwrap();
    let error = partition.read(0).unwrap_err();
    assert!(matches!(error, Error::NeedsReopen { .. }), "{error:?}");
    drop((partition, broker));
    assert_eq!(values(&world.open(None).unwrap(), "orders"), ["first"]);
}

#[test]
fn a_reader_who_needs_a_handle_does_not_wait_for_the_sync_of_a_file_that_is_closed_for_it() {
    // The sync was made under the lock that every reader takes to open a file.
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let world = World::new(1);
        let config = BrokerConfig { max_open_files: 4, ..world.config(None) };
        let broker = Broker::open(config).unwrap();
        broker.create_topic("orders", 6).unwrap();
        let reader = std::sync::Arc::downgrade(&broker);
        world.disk.set_hook(move |_| {
            let Some(topic) = reader.upgrade().and_then(|broker| broker.topic("orders")) else {
                return;
            };
            for number in topic.partition_ids() {
                let partition = topic.partition(number).unwrap().read().unwrap();
                partition.read_range(0, u64::MAX).unwrap();
            }
        });
        for number in 0..40 {
            let key = Some(format!("key {number}"));
            let record = ProducerRecord::new("orders", key, "v".repeat(300));
            Broker::producer(&broker).send(&record).unwrap();
        }
        world.disk.clear_hook();
        sender.send(()).unwrap();
    });
    let waited = done.recv_timeout(std::time::Duration::from_secs(60));
    waited.expect("the reader waits for the writer, who waits for the reader");
}

//! What the log does at one moment meets what it does at another: passes of
//! compaction, deletions, retention, a close.

mod support_compaction;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::record::ProducerRecord;
use merkql::topic::TopicConfig;
use merkql_sim::disk::Limits;
use merkql_sim::fault::OpKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support_compaction::*;

/// A log with the compacted topic `t`, in which passes have much to do, and a
/// topic `other`.
fn world_with_two_topics() -> (World, BrokerRef) {
    let world = World::new(Compression::None, 1024);
    let broker = world.open_with_topic();
    // What stays of so many keys are several segments.
    let sent: Vec<Pair> =
        (0..120).map(|number| pair(&format!("key {}", number % 40), number)).collect();
    send_each(&broker, &sent);
    send_other(&broker).unwrap();
    (world, broker)
}

fn send_other(broker: &BrokerRef) -> merkql::Result<()> {
    Broker::producer(broker).send(&ProducerRecord::new("other", None, "value")).map(drop)
}

fn is_log(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "log")
}

/// Calls `meddle` once, in the middle of the operation of this kind on a segment of
/// `t` before which there are `skip` others.
fn meddle_at(world: &World, on: OpKind, skip: u64, meddle: impl Fn() + Send + Sync + 'static) {
    let count = AtomicU64::new(0);
    world.disk.set_hook(move |point| {
        let is_segment = point.path.contains("/t.1/") && is_log(&point.path);
        if point.on == on && is_segment && count.fetch_add(1, Ordering::Relaxed) == skip {
            meddle();
        }
    });
}

/// How many segments a pass writes in that log.
fn segments_written() -> u64 {
    let (world, broker) = world_with_two_topics();
    world.disk.record_trace();
    broker.maintain().unwrap();
    let trace = world.disk.take_trace();
    let created = trace.iter().filter(|event| event.on == OpKind::CreateNew);
    let created = created.filter(|event| is_log(&event.path)).count();
    assert!(created > 1, "{created} segments were written");
    created as u64
}

#[test]
fn records_are_deleted_as_far_as_was_asked_where_retention_takes_less() {
    let age = Duration::from_secs(15);
    let world = World::new(Compression::None, 1024);
    let broker = world.open();
    let config = TopicConfig { retention_age: Some(age), ..TopicConfig::default() };
    broker.create_topic_with("kept", &config).unwrap();
    for _ in 0..2 {
        for number in 0..30 {
            let record = ProducerRecord::new("kept", None, format!("{number:0>100}"));
            Broker::producer(&broker).send(&record).unwrap();
        }
        world.clock.advance(age * 2 / 3);
    }
    // Half of the records are too old by now, and nobody has looked.
    let start = |broker: &BrokerRef| broker.describe_topic("kept").unwrap().partitions[0].log_start;
    assert_eq!(start(&broker), 0);
    broker.delete_records("kept", 0, 57).unwrap();
    assert_eq!(start(&broker), 57);
    world.disk.kill();
    drop(broker);
    assert_eq!(start(&world.open()), 57);
}

#[test]
fn a_topic_that_is_deleted_in_the_middle_of_a_pass_takes_nothing_with_it() {
    let moments = 0..segments_written();
    let moments = moments.flat_map(|n| [(OpKind::WriteAt, n), (OpKind::SyncData, n)]);
    for (on, skip) in moments {
        let (world, broker) = world_with_two_topics();
        let meddler = broker.clone();
        meddle_at(&world, on, skip, move || {
            meddler.delete_topic("t").unwrap();
            meddler.maintain().unwrap();
        });
        let done = broker.maintain();
        world.disk.clear_hook();
        done.unwrap();
        assert_eq!(broker.topics(), ["other"], "{on:?} {skip}");
        send_other(&broker).unwrap();
        broker.maintain().unwrap();
        assert!(!world.disk.files().iter().any(|path| path.contains("/t.1/")), "{on:?} {skip}");
    }
}

#[test]
fn a_pass_under_way_leaves_the_directory_alone_once_the_log_is_closed() {
    let moments = 0..segments_written();
    let moments = moments.flat_map(|n| [(OpKind::WriteAt, n), (OpKind::SyncData, n)]);
    for (on, skip) in moments {
        let (world, broker) = world_with_two_topics();
        let meddler = broker.clone();
        meddle_at(&world, on, skip, move || Broker::close(&meddler).unwrap());
        world.disk.record_trace();
        let done = broker.maintain();
        assert!(matches!(done, Err(Error::Closed)), "{done:?}");
        let trace = world.disk.take_trace();
        // The last thing that a close does is to clean up the journal.
        let closed = trace.iter().rposition(|event| event.path.contains("wal"));
        let after: Vec<_> = trace[closed.unwrap() + 1..]
            .iter()
            .filter(|event| matches!(event.on, OpKind::CreateNew | OpKind::RemoveFile))
            .collect();
        assert!(after.is_empty(), "{on:?} {skip}: {after:#?}");
        drop(broker);
        let broker = world.open();
        assert_eq!(shown(&partition(&broker)).len(), 120);
        broker.maintain().unwrap();
        assert!(shown(&partition(&broker)).len() < 60);
        let segments = broker.describe_topic("t").unwrap().partitions[0].segments;
        assert_eq!(world.bases().len(), segments);
    }
}

#[test]
fn a_full_disk_is_freed_by_deleting_a_topic() {
    let world = World::new(Compression::None, 4096);
    let config = BrokerConfig { journal_max_bytes: 16 << 20, ..world.config() };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("big", 1).unwrap();
    send_other(&broker).unwrap();
    let full =
        Limits { disk_bytes: Some(world.disk.bytes_taken() + (256 << 10)), open_files: None };
    world.disk.set_limits(full);
    let record = ProducerRecord::new("big", None, "x".repeat(3000));
    let refused = loop {
        if let Err(error) = Broker::producer(&broker).send(&record) {
            break error;
        }
    };
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    let before = world.disk.bytes_taken();
    broker.delete_topic("big").unwrap();
    broker.maintain().unwrap();
    let after = world.disk.bytes_taken();
    assert!(after + (60 << 10) < before, "{after} of {before} bytes are taken");
    for _ in 0..20 {
        send_other(&broker).unwrap();
    }
}

//! Threads that create, fill, read, compact and delete topics at once: every answer
//! is one of those that may be, and what is left is whole.

#![allow(clippy::disallowed_methods, reason = "the clients are threads")]

mod support_compaction;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::consumer::{ConsumerConfig, OffsetReset};
use merkql::env::FileSystem;
use merkql::record::BytesProducerRecord;
use merkql::topic::TopicConfig;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support_compaction::{World, compacted, pair};

const TOPICS: [&str; 3] = ["a", "b", "c"];
const ROUNDS: usize = 250;

/// What may be answered while others delete and create topics, and move starts.
fn check<T>(outcome: Result<T, Error>) -> Option<T> {
    match outcome {
        Ok(done) => Some(done),
        Err(
            Error::TopicDeleted { .. }
            | Error::UnknownTopic { .. }
            | Error::UnknownPartition { .. }
            | Error::OffsetOutOfRange { .. }
            | Error::PartitionCountMismatch { .. }
            | Error::GroupNotEmpty { .. }
            | Error::NotAssigned { .. }
            | Error::UnknownGroup { .. },
        ) => None,
        Err(other) => panic!("{other:?}"),
    }
}

fn config(topic: &str) -> TopicConfig {
    let partitions = 2;
    match topic {
        "a" => TopicConfig { partitions, ..compacted() },
        "b" => TopicConfig { partitions, retention_bytes: Some(4000), ..compacted() },
        _ => TopicConfig {
            partitions,
            retention_age: Some(Duration::from_secs(20)),
            segment_age: Some(Duration::from_secs(5)),
            ..TopicConfig::default()
        },
    }
}

/// Creates and deletes, and moves starts.
fn administrate(world: &World, broker: &BrokerRef) {
    for round in 0..ROUNDS {
        let topic = TOPICS[round % 3];
        check(broker.create_topic_with(topic, &config(topic)));
        world.clock.advance(Duration::from_secs(1));
        if let Some(described) = check(broker.describe_topic(topic)) {
            let part = &described.partitions[round % described.partitions.len()];
            let before = part.log_start.midpoint(part.next_offset);
            let before = if round % 7 == 0 { part.next_offset } else { before };
            check(broker.delete_records(topic, part.partition, before));
        }
        match round % 11 {
            5 => drop(check(broker.add_partitions(topic, 4))),
            10 => drop(check(broker.delete_topic(topic))),
            _ => {}
        }
    }
}

fn produce(broker: &BrokerRef, done: &AtomicBool) {
    let mut number = 0;
    while !done.load(Ordering::Acquire) {
        let topic = TOPICS[number % 3];
        let (key, value) = pair(&format!("key {}", number % 5), number);
        let record = if number % 9 == 8 {
            BytesProducerRecord::tombstone(topic, key.as_bytes())
        } else {
            BytesProducerRecord::new(topic, key.as_bytes(), value.unwrap().as_bytes())
        };
        check(Broker::producer(broker).send_bytes_batch(&[record]));
        number += 1;
    }
}

/// Reads all of everything, and has it proved.
fn read(broker: &BrokerRef, done: &AtomicBool) {
    let mut round = 0;
    while !done.load(Ordering::Acquire) {
        let Some(topic) = broker.topic(TOPICS[round % 3]) else { continue };
        round += 1;
        for number in topic.partition_ids() {
            let Some(partition) = topic.partition(number).unwrap().read().ok() else { continue };
            let Some(records) = check(partition.read_range_bytes(0, u64::MAX)) else { continue };
            assert!(records.iter().is_sorted_by_key(|record| record.offset));
            let middle = partition.next_offset() / 2;
            check(partition.proof(middle)).flatten().inspect(|proof| assert!(proof.is_valid()));
            check(partition.consistency_proof(middle));
        }
    }
}

/// Polls and commits, each time as another member.
fn consume(broker: &BrokerRef, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        let mut consumer = Broker::consumer(
            broker,
            ConsumerConfig {
                group_id: "g".into(),
                auto_commit: false,
                offset_reset: OffsetReset::Earliest,
            },
        );
        consumer.subscribe(&TOPICS).unwrap();
        for _ in 0..5 {
            check(consumer.poll_bytes(Duration::ZERO));
            check(consumer.commit_sync());
        }
        drop(consumer);
        check(broker.reset_group_offsets("g", &[(("a", 0), 0)]));
        check(broker.delete_group("g"));
    }
}

/// What there is: starts, ends and records; proofs hold.
fn observe(broker: &BrokerRef) -> BTreeMap<(String, u32), (u64, u64, usize)> {
    let mut seen = BTreeMap::new();
    for name in broker.topics() {
        let topic = broker.topic(&name).unwrap();
        for number in topic.partition_ids() {
            let partition = topic.partition(number).unwrap().read().unwrap();
            let records = partition.read_range_bytes(0, u64::MAX).unwrap().len();
            for offset in 0..partition.next_offset() {
                let proof = partition.proof(offset).unwrap().unwrap();
                assert!(partition.verify_proof(&proof).unwrap());
            }
            let bounds = (partition.min_valid_offset(), partition.next_offset(), records);
            seen.insert((name.clone(), number), bounds);
        }
    }
    seen
}

#[test]
fn topics_come_and_go_under_everybody_and_the_log_stays_whole() {
    for compression in [Compression::None, Compression::Lz4] {
        let world = World::new(compression, 1024);
        let config = || BrokerConfig { max_open_files: 16, ..world.config() };
        let broker = Broker::open(config()).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| produce(&broker, &done));
            scope.spawn(|| produce(&broker, &done));
            scope.spawn(|| read(&broker, &done));
            scope.spawn(|| consume(&broker, &done));
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        broker.maintain().unwrap();
                    }
                });
            }
            scope.spawn(|| {
                administrate(&world, &broker);
                done.store(true, Ordering::Release);
            });
        });
        let killed = World { disk: world.disk.fork(), ..world.clone() };
        killed.disk.kill();
        broker.maintain().unwrap();
        let seen = observe(&broker);
        Broker::close(&broker).unwrap();
        drop(broker);
        let broker = Broker::open(config()).unwrap();
        assert_eq!(observe(&broker), seen);
        for (world, broker) in [(&world, broker), (&killed, killed.open())] {
            broker.maintain().unwrap();
            observe(&broker);
            let described = broker.topics().into_iter();
            let described = described.map(|name| broker.describe_topic(&name).unwrap());
            let segments = described.flat_map(|topic| topic.partitions).map(|part| part.segments);
            let files = world.disk.files();
            let logs: Vec<_> = files.iter().filter(|path| path.contains(".log")).collect();
            assert_eq!(logs.len(), segments.sum::<usize>(), "{logs:#?}");
            let folders = world.disk.process().list(Path::new("/log/.merkql/topics")).unwrap();
            assert_eq!(folders.len(), broker.topics().len());
        }
    }
}

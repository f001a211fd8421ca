//! A thousand partitions, as a thousand topics and as one topic: those that are
//! idle cost nothing, and no append pays for all of them.

#![allow(clippy::disallowed_methods, reason = "the test measures real time")]

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::producer::Producer;
use merkql::record::ProducerRecord;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use support::watched::Watched;
use support::*;

const PARTITIONS: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    OneTopic,
    ManyTopics,
}

/// A record for each of the partitions.
fn one_each(shape: Shape, partitions: u32) -> Vec<ProducerRecord> {
    (0..partitions)
        .map(|number| match shape {
            Shape::OneTopic => keyless("t", "v".repeat(100)),
            Shape::ManyTopics => keyless(&format!("t{number}"), "v".repeat(100)),
        })
        .collect()
}

fn create(broker: &BrokerRef, shape: Shape, partitions: u32) {
    match shape {
        Shape::OneTopic => broker.create_topic("t", partitions).unwrap(),
        Shape::ManyTopics => {
            for number in 0..partitions {
                broker.create_topic(&format!("t{number}"), 1).unwrap();
            }
        }
    }
}

/// A log of which every partition was written to, and then brought to rest.
fn at_rest(window: &Watched, dir: &Path, shape: Shape, partitions: u32) -> BrokerRef {
    let broker = Broker::open(window.config(dir)).unwrap();
    create(&broker, shape, partitions);
    let producer = Broker::producer(&broker);
    producer.send_batch(&one_each(shape, partitions)).unwrap();
    broker.maintain().unwrap();
    // The journal's next file is made ready, and the one written to is open.
    for _ in 0..8 {
        send_to_first(&producer, shape);
    }
    window.take();
    broker
}

/// Tests of a thousand partitions that are written to take more than half of the file handles
/// that a process mostly may have, so they run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send_to_first(producer: &Producer, shape: Shape) {
    let topic = if shape == Shape::OneTopic { "t" } else { "t0" };
    // With a key, so that it is always the same partition.
    producer.send(&keyed(topic, "k", "v")).unwrap();
}

#[test]
fn an_append_does_as_many_operations_among_a_thousand_partitions_as_alone() {
    let _alone = alone();
    for shape in [Shape::OneTopic, Shape::ManyTopics] {
        let operations = |partitions| {
            let dir = scratch();
            let window = Watched::swift();
            let broker = at_rest(&window, dir.path(), shape, partitions);
            let producer = Broker::producer(&broker);
            let mut counts = Vec::new();
            for _ in 0..5 {
                send_to_first(&producer, shape);
                counts.push(window.take().len());
            }
            counts
        };
        assert_eq!(operations(1), operations(PARTITIONS), "{shape:?}");
    }
}

#[test]
fn no_single_append_pays_for_a_thousand_dirty_partitions() {
    let _alone = alone();
    for shape in [Shape::OneTopic, Shape::ManyTopics] {
        let dir = scratch();
        let window = Watched::swift();
        let config = BrokerConfig {
            journal_initial_bytes: 4 << 20,
            journal_max_bytes: 4 << 20,
            ..window.config(dir.path())
        };
        let broker = Broker::open(config).unwrap();
        create(&broker, shape, PARTITIONS);
        let producer = Broker::producer(&broker);
        let batch = one_each(shape, PARTITIONS);
        producer.send_batch(&batch).unwrap();
        window.take();
        let (mut most, mut slowest) = (0, Duration::ZERO);
        // Four journal files are filled, and each checkpoint finds all dirty.
        for number in 0..4096 {
            let begun = Instant::now();
            producer.send(&batch[number % batch.len()]).unwrap();
            slowest = slowest.max(begun.elapsed());
            most = most.max(window.take().len());
        }
        let slot = std::fs::metadata(dir.path().join(".merkql/manifest.a")).unwrap().len();
        println!(
            "{shape:?}: at most {most} operations and {slowest:?} with one append, {slot} bytes of manifest"
        );
        assert!(most <= 64, "{shape:?}: {most} operations with one append");
    }
}

#[test]
fn a_thousand_partitions_open_quickly_within_the_handles_they_may_have() {
    let _alone = alone();
    for shape in [Shape::OneTopic, Shape::ManyTopics] {
        let dir = scratch();
        let window = Watched::swift();
        drop(at_rest(&window, dir.path(), shape, PARTITIONS));
        let begun = Instant::now();
        let broker = window.open(dir.path());
        let opened = begun.elapsed();
        println!("{shape:?}: opened in {opened:?}, with {} operations", window.take().len());
        assert!(window.open_files() <= 512 + 8, "{} files open", window.open_files());
        assert!(opened < Duration::from_secs(1), "{shape:?}: {opened:?}");
        let mut consumer = consumer(&broker, "g");
        let topics = broker.topics();
        consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!(consumer.poll(NOW).unwrap().len(), 1008);
        assert!(window.open_files() <= 512 + 8, "{} files open", window.open_files());
    }
}

#[test]
fn a_topic_of_a_thousand_partitions_is_made_with_a_handful_of_syncs() {
    let dir = scratch();
    let window = Watched::swift();
    let broker = window.open(dir.path());
    window.take();
    broker.create_topic("t", PARTITIONS).unwrap();
    let syncs = window.take_syncs();
    assert!(syncs <= 8, "{syncs} syncs");
    broker.add_partitions("t", 2 * PARTITIONS).unwrap();
    let syncs = window.take_syncs();
    assert!(syncs <= 4, "{syncs} syncs");
}

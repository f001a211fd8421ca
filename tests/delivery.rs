//! What consumers get, in which order, from where on, and after which waits.

#![allow(clippy::disallowed_methods, reason = "waiting is measured in real time")]

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig};
use merkql::consumer::{ConsumerConfig, OffsetReset};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

/// Longer than any machine is busy; a wait that is woken never takes it.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn offsets_are_dense_from_0_in_each_partition() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 3).unwrap();
    let producer = Broker::producer(&broker);
    let mut sent = Vec::new();
    for number in 0..40 {
        sent.push(producer.send(&keyed("t", &format!("key-{number}"), "v")).unwrap());
    }
    sent.extend(producer.send_batch(&numbered("t", "batch-", 40)).unwrap());
    let mut next = BTreeMap::new();
    for record in &sent {
        let next: &mut u64 = next.entry(record.partition).or_default();
        assert_eq!(record.offset, *next, "partition {}", record.partition);
        *next += 1;
    }
    assert_eq!(next.len(), 3);
    for (number, next) in next {
        assert_eq!(partition(&broker, "t", number).next_offset(), next);
    }
}

#[test]
fn a_key_goes_to_the_partition_that_kafka_would_choose() {
    // (murmur2 & 0x7fffffff) % partitions, with the hashes that Kafka publishes.
    let hashes: [(&str, i32); 5] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("abc", 479_470_107),
        ("a-little-bit-long-string", -985_981_536),
        ("", 275_646_681),
    ];
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    for partitions in [1, 2, 7, 12] {
        let topic = format!("of-{partitions}");
        broker.create_topic(&topic, partitions).unwrap();
        for (key, hash) in hashes {
            let expected = (hash.cast_unsigned() & 0x7fff_ffff) % partitions;
            let alone = producer.send(&keyed(&topic, key, "v")).unwrap();
            let in_batch = producer.send_batch(&[keyless(&topic, "v"), keyed(&topic, key, "v")]);
            assert_eq!(alone.partition, expected, "{key:?} of {partitions}");
            assert_eq!(in_batch.unwrap()[1].partition, expected, "{key:?} of {partitions}");
        }
    }
}

#[test]
fn records_without_a_key_take_the_partitions_in_turn_record_by_record() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 3).unwrap();
    let producer = Broker::producer(&broker);
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(producer.send(&keyless("t", "v")).unwrap().partition);
    }
    let batch = producer.send_batch(&numbered("t", "v", 5)).unwrap();
    turns.extend(batch.iter().map(|record| record.partition));
    let expected: Vec<u32> = (0..9).map(|turn| (turns[0] + turn) % 3).collect();
    assert_eq!(turns, expected);
}

#[test]
fn one_poll_returns_a_hundred_thousand_small_records() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 4).unwrap();
    let producer = Broker::producer(&broker);
    for _ in 0..10 {
        send_numbered(&producer, "t", "small-", 10_000);
    }
    let mut consumer = subscribed(&broker, "g", "t");
    let records = consumer.poll(NOW).unwrap();
    assert_eq!(records.len(), 100_000);
    let mut next = BTreeMap::new();
    for record in &records {
        let next: &mut u64 = next.entry(record.partition).or_default();
        assert_eq!(record.offset, *next, "out of order in partition {}", record.partition);
        *next += 1;
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [25_000; 4]);
    assert!(consumer.poll(NOW).unwrap().is_empty());
}

#[test]
fn a_poll_is_bounded_in_bytes_and_the_next_one_goes_on() {
    let dir = scratch();
    let broker =
        Broker::open(BrokerConfig { max_poll_bytes: 1000, ..BrokerConfig::new(dir.path()) })
            .unwrap();
    let producer = Broker::producer(&broker);
    let value = |number: usize| format!("{number:0>300}");
    for number in 0..10 {
        producer.send(&keyless("t", value(number))).unwrap();
    }
    producer.send(&keyless("t", "x".repeat(5000))).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    let polls: Vec<_> = (0..5).map(|_| poll_values(&mut consumer)).collect();
    let lens: Vec<_> = polls.iter().map(Vec::len).collect();
    // A record above the bound comes alone: it must come some day.
    assert_eq!(lens, [3, 3, 3, 1, 1]);
    assert_eq!(polls.concat()[9], value(9));
    assert_eq!(polls.concat()[10].len(), 5000);
}

#[test]
fn bounded_polls_serve_all_partitions_in_turn() {
    let dir = scratch();
    let broker =
        Broker::open(BrokerConfig { max_poll_bytes: 1000, ..BrokerConfig::new(dir.path()) })
            .unwrap();
    broker.create_topic("t", 3).unwrap();
    let producer = Broker::producer(&broker);
    let mut consumer = subscribed(&broker, "g", "t");
    let mut seen = [0usize; 3];
    // More comes in than the polls return, in every partition.
    for _ in 0..30 {
        producer.send_batch(&vec![keyless("t", "x".repeat(300)); 12]).unwrap();
        for record in consumer.poll(NOW).unwrap() {
            seen[usize::try_from(record.partition).unwrap()] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count >= 25), "{seen:?}: one is starved");
}

#[test]
fn a_waiting_poll_is_woken_by_a_send_of_another_thread() {
    let dir = scratch();
    let broker = open(dir.path());
    let mut consumer = subscribed(&broker, "g", "t");
    let producer = Broker::producer(&broker);
    let begun = Instant::now();
    let records = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            producer.send(&keyless("t", "late")).unwrap();
        });
        consumer.poll(LONG).unwrap()
    });
    assert_eq!(values(&records), ["late"]);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(begun.elapsed() < LONG / 2, "the poll was not woken");
}

#[test]
fn nothing_yet_is_no_error_and_takes_the_timeout() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("empty", 2).unwrap();
    for topic in ["empty", "not-there-yet"] {
        let mut consumer = subscribed(&broker, topic, topic);
        let begun = Instant::now();
        assert!(consumer.poll(Duration::from_millis(60)).unwrap().is_empty());
        assert!(begun.elapsed() >= Duration::from_millis(60), "{topic}");
        assert!(consumer.poll(NOW).unwrap().is_empty());
    }
}

#[test]
fn a_topic_that_comes_after_the_subscription_is_read_from_0() {
    for offset_reset in [OffsetReset::Earliest, OffsetReset::Latest] {
        let dir = scratch();
        let broker = open(dir.path());
        let producer = Broker::producer(&broker);
        producer.send(&keyless("old", "before")).unwrap();
        let mut consumer = consumer_from(&broker, "g", offset_reset);
        consumer.subscribe(&["old", "new"]).unwrap();
        consumer.poll(NOW).unwrap();

        broker.create_topic("new", 2).unwrap();
        send_numbered(&producer, "new", "v", 4);
        let found: BTreeSet<String> = poll_values(&mut consumer).into_iter().collect();
        let expected = (0..4).map(|number| format!("v{number}")).collect();
        assert_eq!(found, expected, "{offset_reset:?}");
    }
}

#[test]
fn latest_is_resolved_when_the_partition_is_assigned() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "before-", 3);
    let mut consumer = consumer_from(&broker, "g", OffsetReset::Latest);
    send_numbered(&producer, "t", "made-", 2);
    consumer.subscribe(&["t"]).unwrap();
    // Sent after the subscription and before the first poll: not to be missed.
    send_numbered(&producer, "t", "after-", 2);
    assert_eq!(poll_values(&mut consumer), ["after-0", "after-1"]);
    assert!(poll_values(&mut consumer).is_empty());
}

#[test]
fn earliest_begins_at_the_first_record_whatever_others_of_the_group_began_with() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 3);
    let mut latest = consumer_from(&broker, "g", OffsetReset::Latest);
    latest.subscribe(&["t"]).unwrap();
    assert!(poll_values(&mut latest).is_empty());
    latest.close().unwrap();
    // Nothing was committed, so the policy decides.
    assert_eq!(poll_values(&mut subscribed(&broker, "g", "t")), ["v0", "v1", "v2"]);
}

#[test]
fn a_committed_offset_is_the_next_one_and_beats_the_policy() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "v", 3);
    let mut first = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut first).len(), 3);
    first.commit_sync().unwrap();
    first.close().unwrap();
    send_numbered(&producer, "t", "w", 2);
    for offset_reset in [OffsetReset::Earliest, OffsetReset::Latest] {
        let mut next = consumer_from(&broker, "g", offset_reset);
        next.subscribe(&["t"]).unwrap();
        assert_eq!(poll_values(&mut next), ["w0", "w1"], "{offset_reset:?}");
    }
}

#[test]
fn what_was_not_committed_is_delivered_again_to_the_group() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "a", 2);
    let mut first = subscribed(&broker, "g", "t");
    first.poll(NOW).unwrap();
    first.commit_sync().unwrap();
    send_numbered(&producer, "t", "b", 2);
    assert_eq!(poll_values(&mut first), ["b0", "b1"]);
    drop(first);
    assert_eq!(poll_values(&mut subscribed(&broker, "g", "t")), ["b0", "b1"]);
    // Another group has nothing to do with it.
    assert_eq!(poll_values(&mut subscribed(&broker, "h", "t")), ["a0", "a1", "b0", "b1"]);
}

#[test]
fn a_closed_consumer_refuses_everything_but_another_close() {
    let dir = scratch();
    let broker = open(dir.path());
    let mut consumer = subscribed(&broker, "g", "t");
    consumer.close().unwrap();
    assert!(matches!(consumer.poll(NOW), Err(Error::Closed)));
    assert!(matches!(consumer.subscribe(&["t"]), Err(Error::Closed)));
    assert!(matches!(consumer.commit_sync(), Err(Error::Closed)));
    assert!(matches!(consumer.seek("t", 0, 0), Err(Error::Closed)));
    consumer.close().unwrap();
}

#[test]
fn auto_commit_commits_on_close_and_on_nothing_else() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 3);
    let config = ConsumerConfig {
        group_id: "g".to_owned(),
        auto_commit: true,
        offset_reset: OffsetReset::Earliest,
    };
    let automatic = || {
        let mut consumer = Broker::consumer(&broker, config.clone());
        consumer.subscribe(&["t"]).unwrap();
        let found = poll_values(&mut consumer);
        (consumer, found)
    };
    let (dropped, found) = automatic();
    assert_eq!(found.len(), 3);
    drop(dropped);
    let (mut closed, found) = automatic();
    assert_eq!(found.len(), 3, "a consumer that is only dropped commits nothing");
    closed.close().unwrap();
    let (_, found) = automatic();
    assert!(found.is_empty(), "a close commits: {found:?}");
}

#[test]
fn a_new_subscription_replaces_the_one_before() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    for topic in ["a", "b"] {
        producer.send(&keyless(topic, topic)).unwrap();
    }
    let mut consumer = consumer(&broker, "g");
    assert!(matches!(consumer.poll(NOW), Err(Error::NotSubscribed)));
    consumer.subscribe(&["a"]).unwrap();
    consumer.subscribe(&["b"]).unwrap();
    assert_eq!(poll_values(&mut consumer), ["b"]);
    assert!(matches!(consumer.seek("a", 0, 0), Err(Error::NotAssigned { .. })));
}

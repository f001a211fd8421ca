//! Transactions: records to any partitions and the offsets of a group, all or
//! nothing, whatever fails and whenever the power goes.

#![allow(clippy::disallowed_methods, reason = "the tests use threads of their own")]

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, OffsetReset};
use merkql::record::{BytesProducerRecord, RecordMetadata};
use merkql::{Error, Result};
use merkql_sim::clock::SimClock;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::watched::Watched;
use support::*;

fn ends(broker: &BrokerRef, topics: &[&str]) -> Vec<u64> {
    topics.iter().map(|topic| partition(broker, topic, 0).next_offset()).collect()
}

fn places(metadata: &[RecordMetadata]) -> Vec<(&str, u32, u64)> {
    let place = |of: &RecordMetadata| (of.partition, of.offset);
    metadata.iter().map(|of| (&*of.topic, place(of).0, place(of).1)).collect()
}

/// A consumer that has polled everything in `in`.
fn has_polled(broker: &BrokerRef, group: &str) -> Consumer {
    let mut consumer = subscribed(broker, group, "in");
    consumer.poll(NOW).unwrap();
    consumer
}

/// A log with so many records in each partition of `in`, and a clock that obeys.
fn with_input(config: BrokerConfig, partitions: u32, records: usize) -> BrokerRef {
    let broker = Broker::open(config).unwrap();
    broker.create_topic("in", partitions).unwrap();
    let count = records * partitions as usize;
    send_numbered(&Broker::producer(&broker), "in", "i", count);
    broker
}

#[test]
fn records_and_offsets_are_committed_together_with_one_sync() {
    let dir = scratch();
    let window = Watched::default();
    let broker = with_input(window.config(dir.path()), 2, 3);
    broker.create_topic("out", 12).unwrap();
    broker.create_topic("audit", 1).unwrap();
    Broker::producer(&broker).send_batch(&numbered("out", "warm", 24)).unwrap();
    Broker::producer(&broker).send(&keyless("audit", "warm")).unwrap();
    let mut consumer = has_polled(&broker, "g");
    window.take();

    let mut transaction = broker.transaction();
    for number in 0..24 {
        transaction.send(&keyless("out", format!("v{number}"))).unwrap();
    }
    transaction.send_bytes(&BytesProducerRecord::tombstone("audit", b"k")).unwrap();
    transaction.send_offsets(&mut consumer).unwrap();
    assert_eq!(window.take(), [], "nothing is written before the commit");
    let metadata = transaction.commit().unwrap();
    assert_eq!(window.take_syncs(), 1);

    assert_eq!(places(&metadata)[24], ("audit", 0, 1));
    for (number, of) in metadata.iter().take(24).enumerate() {
        let stored = partition(&broker, &of.topic, of.partition).read(of.offset).unwrap().unwrap();
        assert_eq!((stored.value, stored.timestamp), (format!("v{number}"), of.timestamp));
    }
    let committed = [0, 1].map(|number| consumer.committed("in", number).unwrap());
    assert_eq!(committed, [Some(3), Some(3)]);
    consumer.commit_sync().unwrap();
    assert_eq!(window.take(), [], "the consumer knows what is committed");
    drop((consumer, broker));
    let broker = open(dir.path());
    assert_eq!(poll_values(&mut subscribed(&broker, "g", "in")), Vec::<String>::new());
    assert_eq!(ends(&broker, &["out", "audit"]), [4, 2]);
}

#[test]
fn what_is_aborted_or_dropped_or_empty_leaves_no_trace() {
    let dir = scratch();
    let window = Watched::default();
    let broker = with_input(window.config(dir.path()), 1, 3);
    let mut consumer = has_polled(&broker, "g");
    window.take();
    let mut aborted = broker.transaction();
    aborted.send(&keyless("new", "v")).unwrap();
    aborted.send_offsets(&mut consumer).unwrap();
    aborted.abort();
    let producer = Broker::idempotent_producer(&broker, 1);
    let mut dropped = producer.transaction(0);
    dropped.send(&keyless("in", "v")).unwrap();
    drop(dropped);
    assert_eq!(broker.transaction().commit().unwrap(), []);
    assert_eq!(window.take(), []);
    assert_eq!(broker.topics(), ["in"]);
    assert_eq!(consumer.committed("in", 0).unwrap(), None);
    assert_eq!(producer.next_sequence(), 0);
    // The positions are as they were; what is to be processed again is sought.
    assert_eq!(consumer.position("in", 0).unwrap(), 3);
    consumer.seek("in", 0, 0).unwrap();
    assert_eq!(poll_values(&mut consumer), ["i0", "i1", "i2"]);
}

#[test]
fn offsets_may_be_given_and_may_be_all_there_is() {
    let dir = scratch();
    let broker = with_input(BrokerConfig::new(dir.path()), 2, 3);
    let mut consumer = has_polled(&broker, "g");
    let mut transaction = broker.transaction();
    transaction.send_offsets_of(&mut consumer, &[(("in", 1), 2)]).unwrap();
    assert_eq!(transaction.commit().unwrap(), []);
    assert_eq!(consumer.committed("in", 0).unwrap(), None);
    assert_eq!(consumer.committed("in", 1).unwrap(), Some(2));
    // The positions are none the worse.
    consumer.commit_sync().unwrap();
    let committed = [0, 1].map(|number| consumer.committed("in", number).unwrap());
    assert_eq!(committed, [Some(3), Some(3)]);
    for (topic, number) in [("in", 2), ("out", 0)] {
        let mut transaction = broker.transaction();
        transaction.send(&keyless("new", "v")).unwrap();
        transaction.send_offsets_of(&mut consumer, &[((topic, number), 1)]).unwrap();
        let refused = changes_nothing(dir.path(), || transaction.commit().unwrap_err());
        assert!(matches!(refused, Error::NotAssigned { .. }), "{refused}");
    }
    assert_eq!(broker.topics(), ["in"]);
}

#[test]
fn a_transaction_is_refused_whole_where_its_records_or_offsets_cannot_be_its_own() {
    let dir = scratch();
    let elsewhere = scratch();
    let other = with_input(BrokerConfig::new(elsewhere.path()), 1, 1);
    let broker = with_input(BrokerConfig::new(dir.path()), 1, 1);
    let (mut one, mut two) = (has_polled(&broker, "g"), has_polled(&broker, "h"));
    let mut stranger = has_polled(&other, "g");
    let mut transaction = broker.transaction();
    transaction.send_offsets(&mut one).unwrap();
    for refused in [transaction.send_offsets(&mut two), transaction.send_offsets(&mut stranger)] {
        assert!(matches!(refused, Err(Error::InvalidOption { option: "send_offsets", .. })));
    }
    transaction.abort();
    let mut transaction = broker.transaction();
    one.close().unwrap();
    assert!(matches!(transaction.send_offsets(&mut one), Err(Error::Closed)));
    transaction.send(&keyless("in", "v")).unwrap();
    Broker::close(&broker).unwrap();
    assert!(matches!(transaction.send(&keyless("in", "v")), Err(Error::Closed)));
    assert!(matches!(transaction.commit(), Err(Error::Closed)));
}

#[test]
fn a_record_that_would_make_it_too_large_is_left_out() {
    let dir = scratch();
    let broker = open(dir.path());
    let large = BytesProducerRecord::new("t", b"k", vec![7; 15 << 20]);
    let mut transaction = broker.transaction();
    (0..4).for_each(|_| transaction.send_bytes(&large).unwrap());
    let refused = transaction.send_bytes(&large).unwrap_err();
    assert!(matches!(refused, Error::BatchTooLarge { limit_bytes, .. } if limit_bytes == 64 << 20));
    transaction.send(&keyless("u", "small")).unwrap();
    assert_eq!(transaction.commit().unwrap().len(), 5);
    assert_eq!(ends(&broker, &["t", "u"]), [4, 1]);
}

/// A log whose clock can pass the longest time between two polls.
fn with_clock(dir: &Path, partitions: u32) -> (BrokerRef, Arc<SimClock>) {
    let clock = Arc::new(SimClock::new());
    let config = BrokerConfig { clock: clock.clone(), ..BrokerConfig::new(dir) };
    (with_input(config, partitions, 2), clock)
}

#[test]
fn a_consumer_that_was_taken_for_dead_commits_no_transaction() {
    let dir = scratch();
    let (broker, clock) = with_clock(dir.path(), 2);
    let mut slow = has_polled(&broker, "g");
    clock.advance(Duration::from_secs(301));
    let mut heir = has_polled(&broker, "g");
    for given in [None, Some([(("in", 0), 2)])] {
        let mut transaction = broker.transaction();
        transaction.send(&keyless("out", "by the slow one")).unwrap();
        match &given {
            None => transaction.send_offsets(&mut slow).unwrap(),
            Some(offsets) => transaction.send_offsets_of(&mut slow, offsets).unwrap(),
        }
        let refused = changes_nothing(dir.path(), || transaction.commit().unwrap_err());
        assert!(matches!(refused, Error::NotAssigned { .. }), "{refused}");
    }
    let mut transaction = broker.transaction();
    transaction.send(&keyless("out", "by its heir")).unwrap();
    transaction.send_offsets(&mut heir).unwrap();
    transaction.commit().unwrap();
    let out = partition(&broker, "out", 0).read_range(0, 9).unwrap();
    assert_eq!(values(&out), ["by its heir"]);
}

#[test]
fn a_consumer_that_has_given_a_partition_up_commits_none_of_what_it_read() {
    let dir = scratch();
    let (broker, _) = with_clock(dir.path(), 2);
    let mut first = has_polled(&broker, "g");
    let mut second = subscribed(&broker, "g", "in");
    second.poll(NOW).unwrap();
    // This poll gives a partition up, whose records the first has read.
    first.poll(NOW).unwrap();
    assert_eq!(first.assignment().len(), 1);
    let mut transaction = broker.transaction();
    transaction.send(&keyless("out", "v")).unwrap();
    transaction.send_offsets(&mut first).unwrap();
    let refused = changes_nothing(dir.path(), || transaction.commit().unwrap_err());
    assert!(matches!(refused, Error::NotAssigned { .. }), "{refused}");
    // Told once; what it makes anew of its own partition can be committed.
    let kept = first.assignment()[0].1;
    first.seek("in", kept, 0).unwrap();
    assert_eq!(first.poll(NOW).unwrap().len(), 2);
    let mut transaction = broker.transaction();
    transaction.send_offsets(&mut first).unwrap();
    transaction.commit().unwrap();
    assert_eq!(first.committed("in", kept).unwrap(), Some(2));
    assert_eq!(first.committed("in", 1 - kept).unwrap(), None);
}

#[test]
fn readers_see_a_transaction_in_all_topics_at_once() {
    let dir = scratch();
    let broker = with_input(BrokerConfig::new(dir.path()), 1, 100);
    broker.create_topic("a", 1).unwrap();
    broker.create_topic("b", 1).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut consumer = has_polled(&broker, "g");
            for number in 1..=100 {
                let mut transaction = broker.transaction();
                for topic in ["a", "b", "a", "b"] {
                    transaction.send(&keyless(topic, "v")).unwrap();
                }
                let offsets = [(("in", 0), number)];
                transaction.send_offsets_of(&mut consumer, &offsets).unwrap();
                transaction.commit().unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut reader = consumer(&broker, "readers");
        reader.subscribe(&["a", "b"]).unwrap();
        let (mut a, mut b) = (0, 0);
        while !done.load(Ordering::Acquire) || a < 200 {
            let before = reader.committed("in", 0).unwrap();
            let records = reader.poll(NOW).unwrap();
            let of_a = records.iter().filter(|record| record.topic == "a").count();
            (a, b) = (a + of_a, b + records.len() - of_a);
            assert_eq!((a, a % 2), (b, 0), "half a transaction was seen");
            assert_eq!(before, None, "that is another group");
        }
    });
    assert_eq!(consumer(&broker, "g").committed("in", 0).unwrap(), Some(100));
}

/// The transaction of this number, under that sequence.
fn numbered_transaction(
    broker: &BrokerRef,
    consumer: &mut Consumer,
    number: u64,
) -> Result<Vec<RecordMetadata>> {
    let producer = Broker::idempotent_producer(broker, 9);
    let mut transaction = producer.transaction(number);
    for topic in ["out", "audit", "out"] {
        transaction.send(&keyless(topic, format!("{number}")))?;
    }
    // There are three records, and no offset beyond them.
    transaction.send_offsets_of(consumer, &[(("in", 0), 3.min(number + 1))])?;
    transaction.commit()
}

#[test]
fn a_transaction_without_an_answer_is_repeated_into_one() {
    // The sync fails, so nobody knows; after reopening it is committed again.
    let dir = scratch();
    let window = Watched::default();
    let broker = with_input(window.config(dir.path()), 1, 3);
    let mut consumer = has_polled(&broker, "g");
    let first = numbered_transaction(&broker, &mut consumer, 0).unwrap();
    assert_eq!(places(&first), [("out", 0, 0), ("audit", 0, 0), ("out", 0, 1)]);
    let mut failed = false;
    window.refuse(move |call| {
        let fails = !failed && call.op.is_sync() && call.is_on_journal_file();
        failed |= fails;
        fails.then(|| std::io::Error::other("the disk said no"))
    });
    numbered_transaction(&broker, &mut consumer, 1).unwrap_err();
    let latched = numbered_transaction(&broker, &mut consumer, 1).unwrap_err();
    assert!(matches!(latched, Error::NeedsReopen { .. }), "{latched}");
    drop((consumer, broker));

    let broker = window.open(dir.path());
    // A repetition changes nothing, so it takes no owner of the partition.
    let mut consumer = consumer_from(&broker, "g", OffsetReset::Earliest);
    assert_eq!(consumer.committed("in", 0).unwrap(), Some(2), "the block was in the file");
    let second = numbered_transaction(&broker, &mut consumer, 1).unwrap();
    assert_eq!(places(&second), [("out", 0, 2), ("audit", 0, 1), ("out", 0, 3)]);
    let again = changes_nothing(dir.path(), || numbered_transaction(&broker, &mut consumer, 0));
    assert_eq!(again.unwrap(), first);
    assert_eq!(consumer.committed("in", 0).unwrap(), Some(2), "an old offset does not come back");
    assert_eq!(ends(&broker, &["out", "audit"]), [4, 2]);
    let refused = numbered_transaction(&broker, &mut consumer, 2).unwrap_err();
    assert!(matches!(refused, Error::NotAssigned { .. }), "{refused}");
    consumer.subscribe(&["in"]).unwrap();
    consumer.poll(NOW).unwrap();
    let refused = numbered_transaction(&broker, &mut consumer, 3).unwrap_err();
    assert!(matches!(refused, Error::SequenceOutOfOrder { next_sequence: 2, .. }), "{refused}");
    numbered_transaction(&broker, &mut consumer, 2).unwrap();
    assert_eq!(consumer.committed("in", 0).unwrap(), Some(3));
}

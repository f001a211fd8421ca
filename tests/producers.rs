//! Pending sends, batches that are whole or not at all, and sends that may be
//! repeated without being stored twice.

#![allow(clippy::disallowed_methods, reason = "the tests use threads of their own")]

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig};
use merkql::producer::Producer;
use merkql::record::Record;
use merkql::topic::RetentionConfig;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use support::watched::Watched;
use support::*;

fn stored(broker: &merkql::broker::BrokerRef, topic: &str) -> Vec<Record> {
    let count = broker.topic(topic).unwrap().num_partitions();
    let read = |number| partition(broker, topic, number).read_range(0, u64::MAX).unwrap();
    (0..count).flat_map(read).collect()
}

#[test]
fn a_pending_send_is_seen_only_once_it_is_durable() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let producer = Broker::producer(&broker);
    let pending = producer.enqueue(&numbered("t", "v", 3)).unwrap();
    assert_eq!(partition(&broker, "t", 0).next_offset(), 0);
    let sent = pending.wait().unwrap();
    assert_eq!(sent, stored(&broker, "t"));
    assert!(producer.enqueue(&[]).unwrap().wait().unwrap().is_empty());
}

#[test]
fn pending_sends_keep_their_order_whoever_waits_first() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let mut pending: Vec<_> =
        (0..5).map(|n| producer.enqueue(&numbered("t", &format!("{n}-"), 2)).unwrap()).collect();
    pending.reverse();
    let sent: Vec<_> = pending.into_iter().map(|pending| pending.wait().unwrap()).collect();
    let first_offsets: Vec<_> = sent.iter().map(|records| records[0].offset).collect();
    assert_eq!(first_offsets, [8, 6, 4, 2, 0]);
    let expected: Vec<_> = (0..10).map(|n| format!("{}-{}", n / 2, n % 2)).collect();
    assert_eq!(values(&stored(&broker, "t")), expected);
}

#[test]
fn a_dropped_pending_send_is_sent_all_the_same() {
    type Serve = fn(&merkql::broker::BrokerRef, &Producer);
    let serve: [Serve; 4] = [
        |_, producer| producer.flush().unwrap(),
        |_, producer| drop(producer.send(&keyless("other", "v")).unwrap()),
        |broker, _| broker.maintain().unwrap(),
        |broker, _| Broker::close(broker).unwrap(),
    ];
    for serve in serve {
        let dir = scratch();
        let broker = open(dir.path());
        let producer = Broker::producer(&broker);
        drop(producer.enqueue(&numbered("t", "dropped", 2)).unwrap());
        serve(&broker, &producer);
        drop((producer, broker));
        let broker = open(dir.path());
        assert_eq!(values(&stored(&broker, "t")), ["dropped0", "dropped1"]);
    }
}

#[test]
fn a_batch_over_topics_and_partitions_comes_in_its_own_order_and_whole() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("a", 3).unwrap();
    let producer = Broker::producer(&broker);
    let batch: Vec<_> = (0..12)
        .map(|number| keyless(if number % 3 == 0 { "b" } else { "a" }, format!("v{number}")))
        .collect();
    let sent = producer.send_batch(&batch).unwrap();
    let returned: Vec<_> = sent.iter().map(|record| record.value.clone()).collect();
    assert_eq!(returned, (0..12).map(|number| format!("v{number}")).collect::<Vec<_>>());
    for record in &sent {
        let read = partition(&broker, &record.topic, record.partition).read(record.offset).unwrap();
        assert_eq!(read.as_ref(), Some(record));
    }
    // One bad record, and none of the batch is there.
    let mut bad = batch;
    bad.push(keyless("a/b", "v"));
    producer.send_batch(&bad).unwrap_err();
    assert_eq!(stored(&broker, "a").len() + stored(&broker, "b").len(), 12);
}

#[test]
fn a_reader_sees_a_batch_whole_or_not_at_all() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 4).unwrap();
    let (done, polled) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let producer = Broker::producer(&broker);
            // On a busy machine the reader may take its time to come.
            let mut sends = 0;
            while sends < 150 || (sends < 15_000 && !polled.load(Ordering::Acquire)) {
                send_numbered(&producer, "t", "v", 8);
                sends += 1;
            }
            done.store(true, Ordering::Release);
        });
        let mut consumer = subscribed(&broker, "g", "t");
        while !done.load(Ordering::Acquire) {
            let records = consumer.poll(NOW).unwrap();
            assert_eq!(records.len() % 8, 0, "half a batch was seen");
            polled.fetch_or(!records.is_empty(), Ordering::Release);
        }
        assert!(polled.load(Ordering::Acquire));
    });
}

#[test]
fn senders_on_many_threads_get_offsets_of_their_own() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let mut sent: Vec<Record> = thread::scope(|scope| {
        let work = |thread: usize| {
            let producer = producer.clone();
            move || {
                let send = |n| producer.send(&keyless("t", format!("{thread}-{n}"))).unwrap();
                (0..60).map(send).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..6).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    sent.sort_by_key(|record| record.offset);
    assert_eq!(sent, stored(&broker, "t"));
    let distinct: BTreeSet<_> = sent.iter().map(|record| record.value.as_str()).collect();
    assert_eq!(distinct.len(), 360);
}

#[test]
fn a_repeated_send_returns_what_was_stored_the_first_time() {
    let dir = scratch();
    let batch = [keyed("t", "k", "one"), keyless("t", "two"), keyless("u", "three")];
    let first = {
        let broker = open(dir.path());
        broker.create_topic("t", 3).unwrap();
        let producer = Broker::idempotent_producer(&broker, 7);
        assert_eq!(producer.next_sequence(), 0);
        let first = producer.send_batch(0, &batch).unwrap();
        assert_eq!(producer.send_batch(0, &batch).unwrap(), first);
        assert_eq!(producer.next_sequence(), 1);
        first
    };
    // After reopening too, and after others have sent.
    let broker = open(dir.path());
    let producer = Broker::idempotent_producer(&broker, 7);
    Broker::producer(&broker).send_batch(&batch).unwrap();
    assert_eq!(producer.next_sequence(), 1);
    assert_eq!(producer.send_batch(0, &batch).unwrap(), first);
    let next = producer.send_batch(1, &batch[..1]).unwrap();
    assert_eq!(producer.send_batch(1, &batch[..1]).unwrap(), next);
    assert_eq!(producer.send_batch(0, &batch).unwrap(), first, "an older one can be repeated");
    assert_eq!(stored(&broker, "t").len() + stored(&broker, "u").len(), 3 + 3 + 1);
}

#[test]
fn a_repetition_costs_no_sync_and_may_be_pending_beside_the_first() {
    let dir = scratch();
    let window = Watched::default();
    let broker = window.open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let producer = Broker::idempotent_producer(&broker, 1);
    let first = producer.enqueue(0, &[keyless("t", "v")]).unwrap();
    let again = producer.enqueue(0, &[keyless("t", "v")]).unwrap();
    assert_eq!(first.wait().unwrap(), again.wait().unwrap());
    assert_eq!(partition(&broker, "t", 0).next_offset(), 1);
    window.take();
    producer.send_batch(0, &[keyless("t", "v")]).unwrap();
    assert_eq!(window.take_syncs(), 0);
}

#[test]
fn a_gap_and_an_unknown_id_are_refused_and_never_taken_for_new() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::idempotent_producer(&broker, 7);
    for sequence in 0..12 {
        producer.send_batch(sequence, &[keyless("t", "v")]).unwrap();
    }
    let before = snapshot(dir.path());
    let gap = producer.send_batch(13, &[keyless("t", "v")]).unwrap_err();
    assert!(
        matches!(gap, Error::SequenceOutOfOrder { sequence: 13, next_sequence: 12, .. }),
        "{gap}"
    );
    let long_ago = producer.send_batch(3, &[keyless("t", "v")]).unwrap_err();
    assert!(
        matches!(long_ago, Error::SequenceOutOfOrder { sequence: 3, remembered: 8, .. }),
        "{long_ago}"
    );
    producer.send_batch(4, &[keyless("t", "v")]).unwrap();
    let stranger = Broker::idempotent_producer(&broker, 8);
    let unknown = stranger.send_batch(5, &[keyless("t", "v")]).unwrap_err();
    assert!(matches!(unknown, Error::UnknownProducer { producer_id: 8, sequence: 5 }), "{unknown}");
    assert!(snapshot(dir.path()) == before);
    assert_eq!(partition(&broker, "t", 0).next_offset(), 12);
    assert_eq!(stranger.next_sequence(), 0);
}

#[test]
fn a_refused_send_creates_no_topic() {
    let dir = scratch();
    let broker = open(dir.path());
    let stranger = Broker::idempotent_producer(&broker, 8);
    stranger.send_batch(5, &[keyless("new", "v")]).unwrap_err();
    assert!(broker.topic("new").is_none());
}

#[test]
fn producers_are_forgotten_in_the_order_of_their_last_send() {
    let dir = scratch();
    let config = || BrokerConfig { max_producers: 3, ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(config()).unwrap();
    let send = |broker: &merkql::broker::BrokerRef, id, sequence| {
        Broker::idempotent_producer(broker, id).send_batch(sequence, &[keyless("t", "v")])
    };
    for id in 0..3 {
        send(&broker, id, 0).unwrap();
    }
    send(&broker, 0, 1).unwrap();
    send(&broker, 99, 0).unwrap();
    drop(broker);
    let broker = Broker::open(config()).unwrap();
    let forgotten = send(&broker, 1, 1).unwrap_err();
    assert!(matches!(forgotten, Error::UnknownProducer { producer_id: 1, .. }), "{forgotten}");
    for (id, next) in [(0, 2), (2, 1), (99, 1)] {
        assert_eq!(Broker::idempotent_producer(&broker, id).next_sequence(), next, "{id}");
        send(&broker, id, next).unwrap();
    }
}

#[test]
fn a_send_without_an_answer_is_repeated_into_one_record() {
    // The sync fails, so nobody knows; after reopening the producer sends again.
    let dir = scratch();
    let window = Watched::default();
    let broker = window.open(dir.path());
    let producer = Broker::idempotent_producer(&broker, 7);
    producer.send_batch(0, &[keyless("t", "first")]).unwrap();
    let mut failed = false;
    window.refuse(move |call| {
        let fails = !failed && call.op.is_sync() && call.is_on_journal_file();
        failed |= fails;
        fails.then(|| std::io::Error::other("the disk said no"))
    });
    producer.send_batch(1, &[keyless("t", "ambiguous")]).unwrap_err();
    drop((producer, broker));
    let broker = window.open(dir.path());
    let producer = Broker::idempotent_producer(&broker, 7);
    let sent = producer.send_batch(1, &[keyless("t", "ambiguous")]).unwrap();
    assert_eq!(sent[0].offset, 1);
    assert_eq!(values(&stored(&broker, "t")), ["first", "ambiguous"]);
    assert_eq!(producer.next_sequence(), 2);
}

#[test]
fn a_repetition_returns_the_record_that_was_stored_even_where_retention_has_removed_it() {
    let dir = scratch();
    let config = BrokerConfig {
        default_retention: RetentionConfig { max_records: Some(1) },
        ..BrokerConfig::new(dir.path())
    };
    let broker = Broker::open(config.clone()).unwrap();
    let sent = keyed("t", "k", "first");
    let producer = Broker::idempotent_producer(&broker, 7);
    let first = producer.send_batch(0, std::slice::from_ref(&sent)).unwrap();
    producer.send_batch(1, &[keyed("t", "k", "second")]).unwrap();
    assert_eq!(partition(&broker, "t", 0).read(0).unwrap(), None);
    thread::sleep(Duration::from_millis(5));

    let again = producer.send_batch(0, std::slice::from_ref(&sent)).unwrap();
    assert_eq!(again, first, "the timestamp is part of what the tree proves");
    drop((producer, broker));
    let broker = Broker::open(config).unwrap();
    let producer = Broker::idempotent_producer(&broker, 7);
    assert_eq!(producer.send_batch(0, &[sent]).unwrap(), first);
}

//! Records in bytes: null and empty, headers, timestamps and partitions of the
//! sender's choice, and what of it the tree holds.

mod support;

use chrono::{DateTime, Utc};
use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::record::{
    BytesProducerRecord, BytesRecord, Header, ProducerRecord, Record, RecordMetadata,
};
use merkql::topic::{Compaction, RetentionConfig, TopicConfig};
use merkql_sim::clock::SimClock;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use support::*;

fn at(nanoseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(nanoseconds)
}

/// Records of every kind, for the topic `t`.
fn motley() -> Vec<BytesProducerRecord> {
    let null = |name: &str| Header { name: name.into(), value: None };
    vec![
        BytesProducerRecord::new("t", b"key", [0xff, 0x00, 0xfe])
            .with_header(Header::new("trace", "1"))
            .with_header(Header::new("Trace", "2"))
            .with_header(Header::new("trace", [0xff]))
            .with_header(null("trace"))
            .with_header(Header::new("", "")),
        BytesProducerRecord::tombstone("t", b"key").with_header(Header::new("why", "gone")),
        BytesProducerRecord::new("t", b"", b""),
        BytesProducerRecord::tombstone("t", b""),
        BytesProducerRecord::without_key("t", b""),
        BytesProducerRecord { value: None, ..BytesProducerRecord::without_key("t", b"") },
        BytesProducerRecord::without_key("t", b"p2").with_partition(2),
        BytesProducerRecord::new("t", b"old", b"v").with_timestamp(at(-1)),
        BytesProducerRecord::new("t", b"first", b"v").with_timestamp(at(i64::MIN)),
        BytesProducerRecord::new("t", b"last", b"v").with_timestamp(at(i64::MAX)),
        BytesProducerRecord::new("t", b"text", "événement"),
    ]
}

fn is_as_sent(sent: &BytesProducerRecord, stored: &BytesRecord) -> bool {
    sent.key == stored.key
        && sent.value == stored.value
        && sent.headers == stored.headers
        && sent.timestamp.is_none_or(|timestamp| timestamp == stored.timestamp)
        && sent.partition.is_none_or(|partition| partition == stored.partition)
        && *sent.topic == *stored.topic
}

fn read(broker: &BrokerRef, record: &BytesRecord) -> Option<BytesRecord> {
    partition(broker, &record.topic, record.partition).read_bytes(record.offset).unwrap()
}

#[test]
fn whatever_is_sent_is_read_as_it_was_and_is_the_leaf_in_the_tree() {
    for compression in [Compression::None, Compression::Lz4] {
        let dir = scratch();
        let config = BrokerConfig { compression, ..BrokerConfig::new(dir.path()) };
        let broker = Broker::open(config.clone()).unwrap();
        broker.create_topic("t", 3).unwrap();
        let sent = Broker::producer(&broker).send_bytes_batch(&motley()).unwrap();
        assert_eq!(sent.len(), motley().len());
        drop(broker);

        let broker = Broker::open(config).unwrap();
        for (record, stored) in motley().iter().zip(&sent) {
            assert!(is_as_sent(record, stored), "{record:?} became {stored:?}");
            assert_eq!(read(&broker, stored).as_ref(), Some(stored));
            let guard = partition(&broker, "t", stored.partition);
            let proof = guard.proof(stored.offset).unwrap().unwrap();
            assert_eq!(proof.leaf_hash, merkql::hash::leaf_hash(&stored.hash()));
            assert!(proof.proves(&stored.hash(), &guard.merkle_root().unwrap().unwrap()));
            assert!(guard.verify_proof(&proof).unwrap());
            assert_eq!(BytesRecord::deserialize(&stored.serialize()).unwrap(), *stored);
        }
        let all: usize = (0..3)
            .map(|number| partition(&broker, "t", number).read_range_bytes(0, u64::MAX).unwrap())
            .map(|records| records.len())
            .sum();
        assert_eq!(all, sent.len());
    }
}

#[test]
fn one_record_and_a_batch_and_a_pending_send_are_the_same() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let record = &motley()[0];
    let one = producer.send_bytes(record).unwrap();
    let batch = producer.send_bytes_batch(std::slice::from_ref(record)).unwrap();
    let pending = producer.enqueue_bytes(std::slice::from_ref(record)).unwrap();
    assert_eq!(partition(&broker, "t", 0).next_offset(), 2);
    let pending = pending.wait().unwrap();
    for (offset, stored) in (0..).zip([&one, &batch[0], &pending[0]]) {
        assert_eq!(stored.offset, offset);
        assert!(is_as_sent(record, stored));
        assert_eq!(read(&broker, stored).as_ref(), Some(stored));
    }
    assert!(producer.send_bytes_batch(&[]).unwrap().is_empty());
}

#[test]
fn text_is_read_as_bytes_and_bytes_that_are_text_as_text() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 4).unwrap();
    let producer = Broker::producer(&broker);
    let text = producer.send(&keyed("t", "k", "événement")).unwrap();
    let read_text = |record: &BytesRecord| {
        partition(&broker, "t", record.partition).read(record.offset).unwrap().unwrap()
    };
    let as_bytes = partition(&broker, "t", text.partition).read_bytes(text.offset).unwrap();
    let as_bytes = as_bytes.unwrap();
    assert_eq!(as_bytes, BytesRecord::from(text.clone()));
    assert_eq!(as_bytes.serialize(), text.serialize());
    assert_eq!(as_bytes.hash(), text.hash());
    assert_eq!(as_bytes.into_text().unwrap(), text);

    let record: BytesProducerRecord = keyed("t", "k", "événement").into();
    let bytes = producer.send_bytes(&record).unwrap();
    assert_eq!(bytes.partition, text.partition, "the key's partition is the same");
    let as_text = read_text(&bytes);
    assert_eq!((as_text.value.as_str(), as_text.offset), ("événement", text.offset + 1));
    let with_header = record.with_header(Header::new("h", "v"));
    let with_header = producer.send_bytes(&with_header).unwrap();
    assert_eq!(read_text(&with_header).value, "événement", "text has no headers");
    Record::deserialize(&with_header.serialize()).unwrap_err();
}

#[test]
fn what_is_no_text_is_an_error_as_text_and_can_be_read_in_bytes() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let cases = [
        (BytesProducerRecord::new("t", [0xff], "v"), "key"),
        (BytesProducerRecord::new("t", "k", [0xff]), "value"),
        (BytesProducerRecord::tombstone("t", "k"), "value"),
    ];
    for (offset, (record, expected)) in (0..).zip(cases) {
        let stored = producer.send_bytes(&record).unwrap();
        let guard = partition(&broker, "t", 0);
        for refused in [
            guard.read(offset).unwrap_err(),
            guard.read_range(offset, offset + 1).unwrap_err(),
            stored.clone().into_text().unwrap_err(),
        ] {
            let Error::NotText { topic, partition, offset: at, part } = refused else {
                panic!("{refused}")
            };
            assert_eq!((topic.as_str(), partition, at, part), ("t", 0, offset, expected));
        }
        assert_eq!(guard.read_bytes(offset).unwrap(), Some(stored));
    }
    assert_eq!(partition(&broker, "t", 0).read_bytes(3).unwrap(), None);
}

type IsExpected = fn(&Error) -> bool;

fn acceptable() -> BytesProducerRecord {
    BytesProducerRecord::new("t", b"key", b"val")
}

/// Records that break a rule, and whether an error says so.
fn unacceptable() -> [(BytesProducerRecord, IsExpected); 8] {
    let record = acceptable;
    let header = |value: &str| Header::new("na", value);
    [
        (
            record().with_partition(2),
            |e| matches!(e, Error::UnknownPartition { topic, partition: 2 } if topic == "t"),
        ),
        (
            BytesProducerRecord::new("new", b"k", b"v").with_partition(1),
            |e| matches!(e, Error::UnknownPartition { topic, partition: 1 } if topic == "new"),
        ),
        (record().with_header(header("123")), |e| {
            matches!(e, Error::RecordTooLarge { size_bytes: 11, limit_bytes: 10, .. })
        }),
        (record().with_timestamp("1677-09-21T00:00:00Z".parse().unwrap()), |e| {
            matches!(e, Error::InvalidTimestamp { .. })
        }),
        (record().with_timestamp("2262-04-12T00:00:00Z".parse().unwrap()), |e| {
            matches!(e, Error::InvalidTimestamp { .. })
        }),
        (
            BytesProducerRecord::without_key("compacted", b"v"),
            |e| matches!(e, Error::KeyRequired { topic } if topic == "compacted"),
        ),
        (keyless("compacted", "v").into(), |e| matches!(e, Error::KeyRequired { .. })),
        (BytesProducerRecord::new("a/b", b"k", b"v"), |e| {
            matches!(e, Error::InvalidTopicName { .. })
        }),
    ]
}

#[test]
fn a_record_that_breaks_a_rule_changes_nothing() {
    let dir = scratch();
    let config = BrokerConfig { max_record_bytes: 10, ..BrokerConfig::new(dir.path()) };
    let broker = Broker::open(config).unwrap();
    broker.create_topic("t", 2).unwrap();
    let compacted =
        TopicConfig { compaction: Some(Compaction::default()), ..TopicConfig::default() };
    broker.create_topic_with("compacted", &compacted).unwrap();
    Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
    let producer = Broker::producer(&broker);
    let idempotent = Broker::idempotent_producer(&broker, 1);
    for (bad, expected) in unacceptable() {
        let batch = [BytesProducerRecord::new("created", b"k", b"v"), acceptable(), bad.clone()];
        changes_nothing(dir.path(), || {
            for refused in [
                producer.send_bytes(&bad).unwrap_err(),
                producer.send_bytes_batch(&batch).unwrap_err(),
                producer.enqueue_bytes(&batch).map(drop).unwrap_err(),
                idempotent.send_bytes_batch(0, &batch).unwrap_err(),
                idempotent.enqueue_bytes(0, &batch).map(drop).unwrap_err(),
            ] {
                assert!(expected(&refused), "{bad:?}: {refused}");
            }
            let mut transaction = broker.transaction();
            let refused = transaction.send_bytes(&bad).unwrap_err();
            assert!(expected(&refused), "{bad:?} in a transaction: {refused}");
            assert_eq!(transaction.commit().unwrap(), []);
        });
    }
    assert_eq!(broker.topics(), ["compacted", "t"]);
    // At the limit, and with a key, all is well.
    producer.send_bytes(&acceptable().with_header(Header::new("na", "12"))).unwrap();
    producer.send_bytes(&BytesProducerRecord::tombstone("compacted", b"k")).unwrap();
    producer.send(&keyed("compacted", "k", "v")).unwrap();
}

#[test]
fn records_with_and_without_a_partition_of_their_own_keep_their_order() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 3).unwrap();
    let record = |number: u8| BytesProducerRecord::without_key("t", [number]);
    let batch: Vec<_> = (0..9).map(|number| record(number).with_partition(1)).collect();
    let sent = Broker::producer(&broker).send_bytes_batch(&batch).unwrap();
    assert!((0..).zip(&sent).all(|(offset, record)| record.offset == offset));
    assert!(sent.iter().all(|record| record.partition == 1));
    assert_eq!(partition(&broker, "t", 1).read_range_bytes(0, 9).unwrap(), sent);
    // Those without take their turns all the same.
    let batch: Vec<_> = (0..9).map(record).collect();
    let sent = Broker::producer(&broker).send_bytes_batch(&batch).unwrap();
    let of = |partition| sent.iter().filter(|record| record.partition == partition).count();
    assert_eq!([of(0), of(1), of(2)], [3, 3, 3]);
}

#[test]
fn a_repetition_in_bytes_returns_what_was_stored_the_first_time() {
    let dir = scratch();
    let first = {
        let broker = open(dir.path());
        broker.create_topic("t", 3).unwrap();
        let producer = Broker::idempotent_producer(&broker, 5);
        producer.send_bytes_batch(0, &motley()).unwrap()
    };
    let broker = open(dir.path());
    let producer = Broker::idempotent_producer(&broker, 5);
    assert_eq!(producer.send_bytes_batch(0, &motley()).unwrap(), first);
    assert_eq!(producer.enqueue_bytes(0, &motley()).unwrap().wait().unwrap(), first);
    // Something else under the sequence is not stored, and shows what was.
    let mut found = producer.send_bytes_batch(0, &motley()[..1]).unwrap();
    let place = |record: &BytesRecord| (record.partition, record.offset);
    let mut expected = first.clone();
    found.sort_by_key(place);
    expected.sort_by_key(place);
    assert_eq!(found, expected);
    assert_eq!(producer.next_sequence(), 1);
}

#[test]
fn a_repetition_of_what_retention_has_removed_keeps_timestamps_of_the_senders_choice() {
    let dir = scratch();
    let clock = Arc::new(SimClock::new());
    let config = BrokerConfig {
        clock: clock.clone(),
        default_retention: RetentionConfig { max_records: Some(1) },
        ..BrokerConfig::new(dir.path())
    };
    let broker = Broker::open(config).unwrap();
    let batch = [
        BytesProducerRecord::tombstone("t", b"k").with_header(Header::new("h", "v")),
        BytesProducerRecord::new("t", b"k", b"v").with_timestamp(at(7)),
    ];
    let producer = Broker::idempotent_producer(&broker, 7);
    let first = producer.send_bytes_batch(0, &batch).unwrap();
    producer.send_bytes_batch(1, &[BytesProducerRecord::new("t", b"k", b"w")]).unwrap();
    assert_eq!(partition(&broker, "t", 0).min_valid_offset(), 2);
    clock.advance(Duration::from_secs(1));
    assert_eq!(producer.send_bytes_batch(0, &batch).unwrap(), first);
}

#[test]
fn a_leap_second_is_stored_as_the_second_after_it() {
    let dir = scratch();
    let broker = open(dir.path());
    let leap: DateTime<Utc> = "2016-12-31T23:59:60.5Z".parse().unwrap();
    let record = BytesProducerRecord::new("t", b"k", b"v").with_timestamp(leap);
    let sent = Broker::producer(&broker).send_bytes(&record).unwrap();
    assert_eq!(sent.timestamp.to_rfc3339(), "2017-01-01T00:00:00.500+00:00");
    assert_eq!(read(&broker, &sent), Some(sent));
}

#[test]
fn metadata_of_a_transaction_says_where_its_records_are() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 3).unwrap();
    let mut transaction = broker.transaction();
    for record in motley() {
        transaction.send_bytes(&record).unwrap();
    }
    transaction.send(&ProducerRecord::new("u", None, "text")).unwrap();
    let places = transaction.commit().unwrap();
    assert_eq!(places.len(), motley().len() + 1);
    for (record, place) in motley().iter().zip(&places) {
        let RecordMetadata { topic, partition: number, offset, timestamp } = place;
        let stored = partition(&broker, topic, *number).read_bytes(*offset).unwrap().unwrap();
        assert!(is_as_sent(record, &stored), "{record:?} became {stored:?}");
        assert_eq!(stored.timestamp, *timestamp);
    }
    assert_eq!(partition(&broker, "u", 0).read(0).unwrap().unwrap().value, "text");
}

fn a_header() -> impl Strategy<Value = Header> {
    let value = option::of(vec(any::<u8>(), 0..4));
    ("[ab]{0,2}", value).prop_map(|(name, value)| Header { name, value })
}

fn a_record() -> impl Strategy<Value = BytesRecord> {
    let few_bytes = || option::of(vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..5));
    let place = ("[ab]{1,2}", 0..3_u32, 0..3_u64, prop_oneof![0..3_i64, any::<i64>()]);
    (few_bytes(), few_bytes(), vec(a_header(), 0..3), place).prop_map(
        |(key, value, headers, (topic, partition, offset, time))| BytesRecord {
            key,
            value,
            headers,
            topic: topic.into(),
            partition,
            offset,
            timestamp: at(time),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn canonical_bytes_lead_back_to_their_record(record in a_record()) {
        let bytes = record.serialize();
        prop_assert_eq!(BytesRecord::deserialize(&bytes).unwrap(), record);
        for cut in 0..bytes.len() {
            if let Ok(other) = BytesRecord::deserialize(&bytes[..cut]) {
                // Nothing but the headers may be left away, and that is another record.
                prop_assert_eq!(other.serialize(), &bytes[..cut]);
            }
        }
    }

    #[test]
    fn different_records_never_share_their_bytes(one in a_record(), other in a_record()) {
        prop_assert_eq!(one == other, one.serialize() == other.serialize());
    }

    #[test]
    fn bytes_that_are_read_as_a_record_are_its_only_ones(
        record in a_record(),
        position in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()],
    ) {
        let mut bytes = record.serialize();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        if let Ok(read) = BytesRecord::deserialize(&bytes) {
            prop_assert_eq!(read.serialize(), bytes);
        }
    }
}

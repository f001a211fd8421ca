//! Bad input gets an error that names what is wrong, and changes nothing.

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig};
use support::*;

#[test]
fn bad_topic_names_are_refused_everywhere() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    producer.send(&keyless("good", "v")).unwrap();
    let long = "x".repeat(250);
    let names = [
        "",
        ".",
        "..",
        "a/b",
        "../up",
        "a\\b",
        "a b",
        "topf\u{fc}r",
        "nul\0",
        "line\n",
        "a:b",
        &long,
    ];
    for name in names {
        let refused = |error: Error| {
            assert!(matches!(&error, Error::InvalidTopicName { .. }), "{name:?}: {error}");
            assert!(error.to_string().starts_with("invalid topic name"), "{error}");
        };
        changes_nothing(dir.path(), || {
            refused(broker.create_topic(name, 1).unwrap_err());
            refused(broker.ensure_topic(name).unwrap_err());
            refused(producer.send(&keyless(name, "v")).unwrap_err());
            refused(producer.send_batch(&[keyless("good", "v"), keyless(name, "v")]).unwrap_err());
            refused(consumer(&broker, "g").subscribe(&["good", name]).unwrap_err());
        });
        assert!(broker.topic(name).is_none());
    }
    assert_eq!(broker.topics(), ["good"]);
    assert_eq!(partition(&broker, "good", 0).next_offset(), 1, "nothing of a bad batch is kept");
}

#[test]
fn every_name_that_the_rule_permits_is_a_topic() {
    let dir = scratch();
    let long = "x".repeat(249);
    let names = ["a", "...", "a.b", "-", "_", "UPPER", "upper", "com1", "0", "a.1", &long];
    for _ in 0..2 {
        let broker = open(dir.path());
        for name in names {
            Broker::producer(&broker).send(&keyless(name, name)).unwrap();
        }
    }
    let broker = open(dir.path());
    for name in names {
        let records = partition(&broker, name, 0).read_range(0, 9).unwrap();
        assert_eq!(values(&records), [name, name]);
    }
}

#[test]
fn impossible_partition_counts_are_refused() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("two", 2).unwrap();
    changes_nothing(dir.path(), || {
        let zero = broker.create_topic("t", 0).unwrap_err();
        assert!(matches!(zero, Error::InvalidPartitionCount { partitions: 0, .. }));
        assert_eq!(
            zero.to_string(),
            "topic \"t\" cannot have 0 partitions: 1 to 100000 are possible"
        );
        let many = broker.create_topic("t", u32::MAX).unwrap_err();
        assert!(matches!(many, Error::InvalidPartitionCount { partitions: u32::MAX, .. }));
        let other = broker.create_topic("two", 3).unwrap_err();
        assert!(matches!(other, Error::PartitionCountMismatch { existing: 2, requested: 3, .. }));
        assert_eq!(other.to_string(), "topic \"two\" exists with 2 partitions, not 3");
    });
    assert!(broker.topic("t").is_none());
}

#[test]
fn options_out_of_range_are_refused_by_name_before_anything_is_made() {
    let dir = scratch();
    let inner = dir.path().join("log");
    let good = || BrokerConfig::new(&inner);
    let cases = [
        ("default_partitions", BrokerConfig { default_partitions: 0, ..good() }),
        ("segment_bytes", BrokerConfig { segment_bytes: 1, ..good() }),
        ("index_interval_bytes", BrokerConfig { index_interval_bytes: 0, ..good() }),
        ("journal_initial_bytes", BrokerConfig { journal_initial_bytes: 10_000, ..good() }),
        ("journal_initial_bytes", BrokerConfig { journal_initial_bytes: 4096, ..good() }),
        ("journal_max_bytes", BrokerConfig { journal_max_bytes: 4096, ..good() }),
        ("max_open_files", BrokerConfig { max_open_files: 0, ..good() }),
        ("max_record_bytes", BrokerConfig { max_record_bytes: u64::MAX, ..good() }),
        ("max_producers", BrokerConfig { max_producers: 0, ..good() }),
    ];
    for (name, config) in cases {
        let error = changes_nothing(dir.path(), || Broker::open(config).unwrap_err());
        assert!(matches!(error, Error::InvalidOption { option, .. } if option == name), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_record_above_the_limit_is_refused_and_one_at_it_is_not() {
    let dir = scratch();
    let broker =
        Broker::open(BrokerConfig { max_record_bytes: 1000, ..BrokerConfig::new(dir.path()) })
            .unwrap();
    let producer = Broker::producer(&broker);
    let largest = keyed("t", &"k".repeat(100), "v".repeat(900));
    producer.send(&largest).unwrap();
    let larger = keyed("t", &"k".repeat(100), "v".repeat(901));
    changes_nothing(dir.path(), || {
        let error = producer.send_batch(&[largest.clone(), larger]).unwrap_err();
        assert!(matches!(error, Error::RecordTooLarge { size_bytes: 1001, limit_bytes: 1000, .. }));
        assert_eq!(
            error.to_string(),
            "a record of 1001 bytes for topic \"t\" exceeds the limit of 1000"
        );
    });
    assert_eq!(partition(&broker, "t", 0).next_offset(), 1);
}

#[test]
fn the_default_limit_is_16_mebibytes() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let limit = 16 << 20;
    let value = "v".repeat(limit + 1);
    let error =
        changes_nothing(dir.path(), || producer.send(&keyless("t", value.as_str())).unwrap_err());
    assert!(
        matches!(error, Error::RecordTooLarge { limit_bytes, .. } if limit_bytes == limit as u64)
    );
    producer.send(&keyless("t", &value[..limit])).unwrap();
    assert_eq!(partition(&broker, "t", 0).read(0).unwrap().unwrap().value.len(), limit);
}

#[test]
fn a_batch_above_64_mebibytes_is_refused_whole() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let batch = vec![keyless("t", "v".repeat(13 << 20)); 5];
    let error = changes_nothing(dir.path(), || producer.send_batch(&batch).unwrap_err());
    assert!(matches!(error, Error::BatchTooLarge { limit_bytes, .. } if limit_bytes == 64 << 20));
    assert!(error.to_string().contains("67108864"), "{error}");
    assert!(broker.topic("t").is_none());
}

#[test]
fn an_unknown_topic_is_refused_where_none_may_be_created() {
    let dir = scratch();
    let broker =
        Broker::open(BrokerConfig { auto_create_topics: false, ..BrokerConfig::new(dir.path()) })
            .unwrap();
    broker.create_topic("known", 1).unwrap();
    let producer = Broker::producer(&broker);
    changes_nothing(dir.path(), || {
        let batch = [keyless("known", "v"), keyless("unknown", "v")];
        let error = producer.send_batch(&batch).unwrap_err();
        assert!(matches!(&error, Error::UnknownTopic { topic } if topic == "unknown"));
        assert_eq!(error.to_string(), "unknown topic \"unknown\"");
    });
    assert_eq!(partition(&broker, "known", 0).next_offset(), 0);
}

#[test]
fn a_group_id_that_is_too_long_is_refused() {
    let dir = scratch();
    let broker = open(dir.path());
    changes_nothing(dir.path(), || {
        let error = consumer(&broker, &"g".repeat(250)).subscribe(&["t"]).unwrap_err();
        assert!(matches!(error, Error::GroupIdTooLong { size_bytes: 250, limit_bytes: 249 }));
    });
    consumer(&broker, &"g".repeat(249)).subscribe(&["t"]).unwrap();
}

//! Bad input gets an error that names what is wrong, and changes nothing.

#![allow(clippy::disallowed_methods, reason = "the tests lay strangers' files into the directory")]

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::*;

/// Runs `call` and sees to it that the directory is as it was.
fn changes_nothing<T>(dir: &Path, call: impl FnOnce() -> T) -> T {
    let before = snapshot(dir);
    let outcome = call();
    let after = snapshot(dir);
    let changed: Vec<_> = after
        .keys()
        .chain(before.keys())
        .filter(|path| after.get(*path) != before.get(*path))
        .collect();
    assert_eq!(changed, Vec::<&std::path::PathBuf>::new());
    outcome
}

/// Why the directory cannot be opened, which is not to change it.
fn refusal(dir: &Path) -> Error {
    changes_nothing(dir, || Broker::open(BrokerConfig::new(dir)).unwrap_err())
}

/// A log with one topic, closed.
fn closed_log(dir: &Path) {
    let broker = open(dir);
    send_numbered(&Broker::producer(&broker), "t", "v", 10);
}

/// Both slots, with their names.
const SLOTS: [&str; 2] = ["manifest.a", "manifest.b"];

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
        ("journal_initial_bytes", BrokerConfig { journal_initial_bytes: 5000, ..good() }),
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

/// The checksum of a slot: over all of it but the checksum itself.
fn slot_crc(slot: &[u8]) -> u32 {
    let len = usize::try_from(u64::from_le_bytes(slot[24..32].try_into().unwrap())).unwrap();
    let mut digest = crc_fast::Digest::new_with_init_state(crc_fast::CrcAlgorithm::Crc32Iscsi, 0);
    digest.update(&slot[..12]);
    digest.update(&slot[16..32 + len]);
    u32::try_from(digest.finalize()).unwrap()
}

#[test]
fn an_unknown_format_version_is_named_with_the_one_that_can_be_read() {
    let dir = scratch();
    closed_log(dir.path());
    for name in SLOTS {
        let path = only_file(dir.path(), name);
        let mut slot = fs::read(&path).unwrap();
        assert_eq!(slot[12..16], slot_crc(&slot).to_le_bytes(), "the layout is another one");
        assert_eq!(slot[8..12], 1u32.to_le_bytes());
        slot[8..12].copy_from_slice(&7u32.to_le_bytes());
        let crc = slot_crc(&slot);
        slot[12..16].copy_from_slice(&crc.to_le_bytes());
        fs::write(path, slot).unwrap();
    }
    let error = refusal(dir.path());
    assert!(matches!(error, Error::UnsupportedVersion { found: 7, supported: 1, .. }), "{error}");
    assert!(error.to_string().ends_with("has format version 7; this version of merkql reads 1"));
}

#[test]
fn a_log_of_merkql_0_2_is_recognised() {
    let dir = scratch();
    let log = dir.path().join(".merkql");
    fs::create_dir_all(log.join("groups")).unwrap();
    fs::create_dir_all(log.join("topics/x")).unwrap();
    fs::write(log.join("config.bin"), [1, 2, 3]).unwrap();
    fs::write(log.join("topics/x/meta.bin"), [4, 5, 6]).unwrap();
    let recognised = || {
        let error = refusal(dir.path());
        assert!(matches!(error, Error::PredecessorFormat { .. }), "{error}");
        assert!(error.to_string().contains("merkql 0.2 or earlier"), "{error}");
    };
    recognised();
    fs::remove_dir(log.join("groups")).unwrap();
    recognised();
    fs::remove_file(log.join("config.bin")).unwrap();
    recognised();
}

#[test]
fn a_strangers_files_are_never_taken_for_an_empty_log() {
    let dir = scratch();
    let log = dir.path().join(".merkql");
    fs::create_dir(&log).unwrap();
    fs::write(log.join("diary.txt"), "mine").unwrap();
    let error = refusal(dir.path());
    assert!(matches!(error, Error::NotALog { .. }), "{error}");
    assert!(error.to_string().contains("diary.txt"), "{error}");
}

#[test]
fn foreign_files_beside_a_log_are_left_alone() {
    let dir = scratch();
    closed_log(dir.path());
    fs::write(dir.path().join("README"), "beside").unwrap();
    let log = dir.path().join(".merkql");
    let partition_dir = only_file(dir.path(), ".log").parent().unwrap().to_owned();
    let foreign = [&log, &log.join("journal"), &log.join("topics"), &partition_dir];
    for folder in foreign {
        fs::write(folder.join("diary.txt"), "mine").unwrap();
        fs::create_dir(folder.join("photos")).unwrap();
    }
    for round in 0..2 {
        let broker = open(dir.path());
        send_numbered(&Broker::producer(&broker), "t", "w", 10);
        broker.maintain().unwrap();
        drop(broker);
        for folder in foreign {
            assert_eq!(fs::read(folder.join("diary.txt")).unwrap(), b"mine", "round {round}");
            assert!(folder.join("photos").is_dir(), "round {round}");
        }
    }
}

#[test]
fn a_directory_that_is_open_is_refused_in_this_process() {
    let dir = scratch();
    let broker = open(dir.path());
    let error = refusal(dir.path());
    assert!(matches!(error, Error::AlreadyOpen { .. }), "{error}");
    assert!(error.to_string().contains("already open"), "{error}");
    let other_name = dir.path().join("..").join(dir.path().file_name().unwrap());
    assert!(matches!(Broker::open(BrokerConfig::new(other_name)), Err(Error::AlreadyOpen { .. })));
    Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
}

/// Where the other process finds the directory.
const DIRECTORY_OF_CHILD: &str = "MERKQL_TEST_DIRECTORY_OF_CHILD";

/// What `a_directory_that_is_open_is_refused_to_a_second_process` starts.
#[test]
fn the_second_process() {
    let Some(dir) = std::env::var_os(DIRECTORY_OF_CHILD) else { return };
    let error = Broker::open(BrokerConfig::new(dir)).unwrap_err();
    assert!(matches!(error, Error::AlreadyOpen { .. }), "{error}");
    println!("refused as it should be");
}

#[test]
fn a_directory_that_is_open_is_refused_to_a_second_process() {
    let dir = scratch();
    let broker: BrokerRef = open(dir.path());
    Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
    let this = std::env::current_exe().unwrap();
    let child = changes_nothing(dir.path(), || {
        Command::new(this)
            .args(["the_second_process", "--exact", "--nocapture"])
            .env(DIRECTORY_OF_CHILD, dir.path())
            .output()
            .unwrap()
    });
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("refused as it should be"), "{said}");
    Broker::producer(&broker).send(&keyless("t", "v")).unwrap();
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    let below = file.join("deeper");
    let marker = dir.path().join("log");
    fs::create_dir(&marker).unwrap();
    fs::write(marker.join(".merkql"), "mine").unwrap();
    for place in [&file, &below, &marker] {
        let error =
            changes_nothing(dir.path(), || Broker::open(BrokerConfig::new(place)).unwrap_err());
        assert!(matches!(error, Error::NotALog { .. }), "{}: {error}", place.display());
        assert!(error.to_string().contains("a file stands in the place"), "{error}");
    }
}

#[test]
fn two_damaged_slots_refuse_and_one_heals() {
    let dir = scratch();
    closed_log(dir.path());
    let expected = {
        let broker = open(dir.path());
        partition(&broker, "t", 0).merkle_root().unwrap()
    };
    for name in SLOTS {
        flip_bit(&only_file(dir.path(), name), 40);
        let broker = open(dir.path());
        assert_eq!(partition(&broker, "t", 0).merkle_root().unwrap(), expected, "{name}");
        drop(broker);
        fs::remove_file(only_file(dir.path(), name)).unwrap();
        let broker = open(dir.path());
        assert_eq!(partition(&broker, "t", 0).merkle_root().unwrap(), expected, "{name}");
    }
    for name in SLOTS {
        flip_bit(&only_file(dir.path(), name), 40);
    }
    let error = refusal(dir.path());
    assert!(error.is_corruption(), "{error}");
    assert!(error.to_string().contains("both manifest slots are damaged"), "{error}");
    fs::remove_file(only_file(dir.path(), SLOTS[0])).unwrap();
    assert!(refusal(dir.path()).is_corruption());
    fs::remove_file(only_file(dir.path(), SLOTS[1])).unwrap();
    assert!(refusal(dir.path()).is_corruption(), "topics and no manifest are no fresh log");
}

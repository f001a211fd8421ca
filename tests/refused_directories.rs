//! Directories that are no log of ours, or not ours alone, or damaged where it
//! matters: each is refused by its name, and left as it is.

#![allow(clippy::disallowed_methods, reason = "the tests lay strangers' files into the directory")]

mod support;

use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::forge::seal_slot;
use support::*;

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
fn an_unknown_format_version_is_named_with_the_one_that_can_be_read() {
    let dir = scratch();
    closed_log(dir.path());
    for name in SLOTS {
        let path = only_file(dir.path(), name);
        let mut slot = fs::read(&path).unwrap();
        assert_eq!(slot[8..12], 1u32.to_le_bytes());
        slot[8..12].copy_from_slice(&7u32.to_le_bytes());
        seal_slot(&mut slot);
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
    fs::remove_dir_all(log.join("topics")).unwrap();
    fs::write(log.join("config.bin"), [1, 2, 3]).unwrap();
    recognised();
    fs::remove_file(log.join("config.bin")).unwrap();
    fs::create_dir(log.join("groups")).unwrap();
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
            .args(["the_second_process", "--nocapture"])
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

#[test]
fn a_folder_in_the_place_of_a_partitions_file_is_refused_and_nothing_grows_by_trying() {
    let dir = scratch();
    closed_log(dir.path());
    let path = only_file(dir.path(), "hashes");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for _ in 0..3 {
        let error = changes_nothing(dir.path(), || {
            Broker::open(BrokerConfig::new(dir.path())).unwrap_err()
        });
        assert!(error.is_corruption(), "{error}");
        assert!(error.to_string().contains("a folder stands in the place"), "{error}");
    }
    fs::remove_dir(&path).unwrap();
    drop(open(dir.path()));
}

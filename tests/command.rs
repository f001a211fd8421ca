//! The command `merkql`, run as a user runs it.

#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the log's back")]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use support::*;
use support_crash::{copy_dir, memory_dir};

/// A closed log of a few records.
fn closed_log(dir: &Path) {
    let broker = open(dir);
    send_numbered(&Broker::producer(&broker), "audit", "entry ", 20);
    Broker::close(&broker).unwrap();
}

fn merkql(arguments: &[&str], dir: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_merkql"));
    command.args(arguments).env_remove("MERKQL_DIR");
    if let Some(dir) = dir {
        command.env("MERKQL_DIR", dir);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_sound_log_is_clean_by_option_and_by_environment() {
    let dir = scratch();
    closed_log(dir.path());
    let by_option = merkql(&["verify", "--dir", dir.path().to_str().unwrap()], None);
    let by_environment = changes_nothing(dir.path(), || merkql(&["verify"], Some(dir.path())));
    for output in [by_option, by_environment] {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let told = text(&output.stdout);
        assert!(told.contains("20 records") && told.contains("Clean"), "{told}");
    }
}

#[test]
fn damage_is_told_as_text_and_as_json_and_ends_with_1() {
    let dir = scratch();
    closed_log(dir.path());
    let path = only_file(dir.path(), ".log");
    flip_bit(&path, find_in_file(&path, "entry 7"));
    let output = merkql(&["verify", "--json", "-"], Some(dir.path()));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("record: audit/0 offset 7 "), "{told}");
    assert!(told.contains("1 finding for `merkql repair`"), "{told}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["clean"], false);
    let finding = &json["findings"][0];
    assert_eq!(finding["kind"], "record");
    assert_eq!(finding["remedy"], "repair");
    assert_eq!((&finding["topic"], &finding["partition"]), (&"audit".into(), &0.into()));
    assert_eq!((&finding["offset"], &finding["offset_end"]), (&7.into(), &8.into()));
    assert_eq!(finding["path"], path.to_str().unwrap());
    assert!(finding["position"].is_u64());
}

#[test]
fn a_repair_says_what_it_costs_and_is_done_when_it_is_told_to() {
    let dir = scratch();
    closed_log(dir.path());
    let nothing = merkql(&["repair"], Some(dir.path()));
    assert_eq!(nothing.status.code(), Some(0));
    assert!(text(&nothing.stdout).contains("nothing to repair"), "{nothing:?}");
    let nowhere = ["repair", "--apply", "--json", "/not/there/report.json"];
    let unwritable = changes_nothing(dir.path(), || merkql(&nowhere, Some(dir.path())));
    assert_eq!(unwritable.status.code(), Some(2));
    assert!(text(&unwritable.stderr).contains("cannot write"), "{unwritable:?}");

    let path = only_file(dir.path(), ".log");
    flip_bit(&path, find_in_file(&path, "entry 7"));
    let told = changes_nothing(dir.path(), || merkql(&["repair"], Some(dir.path())));
    assert_eq!(told.status.code(), Some(1));
    let said = text(&told.stdout);
    assert!(said.contains("lost: audit/0 offset 7") && said.contains("--apply"), "{said}");

    let done = merkql(&["repair", "--apply", "--json", "-"], Some(dir.path()));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(json["applied"], true);
    let lost = &json["lost"][0];
    assert_eq!((&lost["offset"], &lost["offset_end"]), (&7.into(), &8.into()));
    assert!(Path::new(json["kept"].as_str().unwrap()).is_dir());

    assert_eq!(merkql(&["verify"], Some(dir.path())).status.code(), Some(0));
    let broker = open(dir.path());
    let left = partition(&broker, "audit", 0).read_range(0, 20).unwrap();
    let offsets: Vec<u64> = left.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..20).filter(|offset| *offset != 7).collect::<Vec<_>>());
}

#[test]
fn the_json_goes_to_a_file_and_the_text_to_standard_output() {
    let dir = scratch();
    closed_log(dir.path());
    let result = scratch();
    let file = result.path().join("findings.json");
    let output = merkql(&["verify", "--json", file.to_str().unwrap()], Some(dir.path()));
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Clean"));
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&json["clean"], &json["checked"]["records"]), (&true.into(), &20.into()));
}

#[test]
fn what_cannot_be_judged_ends_with_2_and_says_why() {
    let dir = scratch();
    let no_log = merkql(&["verify", "--json", "-"], Some(dir.path()));
    assert_eq!(no_log.status.code(), Some(2));
    assert!(text(&no_log.stderr).contains("is not a log"), "{no_log:?}");
    let json: Value = serde_json::from_slice(&no_log.stdout).unwrap();
    assert!(json["error"].as_str().unwrap().contains("is not a log"));

    closed_log(dir.path());
    let inside = merkql(&["verify"], Some(&dir.path().join(".merkql")));
    assert_eq!(inside.status.code(), Some(2));
    assert!(text(&inside.stderr).contains("the directory above it is meant"), "{inside:?}");

    let broker = open(dir.path());
    let in_use = merkql(&["verify"], Some(dir.path()));
    assert_eq!(in_use.status.code(), Some(2));
    assert!(text(&in_use.stderr).contains("already open"), "{in_use:?}");
    drop(broker);

    let no_dir = merkql(&["verify"], None);
    assert_eq!(no_dir.status.code(), Some(2));
    assert!(text(&no_dir.stderr).contains("--dir"), "{no_dir:?}");
}

#[test]
fn a_repair_forgets_no_producer_however_many_the_log_remembers() {
    // One more than a broker remembers unless it is told to.
    const PRODUCERS: u64 = 10_001;
    let dir = memory_dir();
    let config = |dir: &Path| BrokerConfig { max_producers: 20_000, ..BrokerConfig::new(dir) };
    let broker = Broker::open(config(dir.path())).unwrap();
    let first_send = |id: u64| {
        let producer = Broker::idempotent_producer(&broker, id);
        producer.enqueue(0, &[keyless("audit", "first")]).unwrap()
    };
    let sends: Vec<_> = (0..PRODUCERS).map(first_send).collect();
    for pending in sends {
        pending.wait().unwrap();
    }
    // As the end of a process leaves it: the last sends are in the journal alone.
    let copy = memory_dir();
    copy_dir(dir.path(), copy.path());
    let done = merkql(&["repair", "--apply"], Some(copy.path()));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(text(&done.stdout).contains("nothing to repair"), "{done:?}");
    let broker = Broker::open(config(copy.path())).unwrap();
    for id in 0..PRODUCERS {
        assert_eq!(Broker::idempotent_producer(&broker, id).next_sequence(), 1, "{id}");
    }
}

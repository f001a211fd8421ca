//! Short scenarios, broken everywhere, and again while the log recovers.

use merkql_sim::exhaust::{Limits, Report, exhaust};
use merkql_sim::profile::Profile;
use merkql_sim::scenario::{During, Scenario};
use std::path::Path;
use std::process::Command;

fn short(name: &str) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let text = std::fs::read_to_string(folder.join(name).with_extension("toml")).unwrap();
    Scenario::from_toml(&text).unwrap()
}

/// Breaks a scenario from a step on; all states must recover.
fn break_everywhere(name: &str, from: Option<u32>, profile: Profile, limits: &Limits) -> Report {
    let limits = Limits { from: from.map(During::Step), ..*limits };
    let report = exhaust(&short(name), profile, &limits, &|_, _, _| {}).unwrap();
    let Report { points, states, nested_states, alike, failed, failures, .. } = &report;
    println!("{name}: {points} points, {states} states, {nested_states} nested, {alike} alike");
    let first = failures.first().map(|failure| (&failure.complaints, failure.scenario.to_toml()));
    assert_eq!(*failed, 0, "{name}: {first:?}");
    assert!(*nested_states > states / 2, "{name}: recoveries were broken again");
    report
}

const FEW: Limits = Limits { survivors: 2, nested: 2, depth: 1, jobs: 1, from: None };

#[test]
fn a_creation_broken_anywhere_is_made_good() {
    break_everywhere(
        "short-creation-and-a-send",
        None,
        Profile::Posix,
        &Limits { survivors: 2, nested: 1, ..FEW },
    );
}

#[test]
fn a_repeated_send_broken_anywhere_takes_effect_once() {
    break_everywhere("short-idempotent-send", Some(2), Profile::Posix, &FEW);
}

#[test]
fn a_commit_broken_anywhere_counts_or_does_not() {
    break_everywhere("short-commit", Some(5), Profile::Posix, &FEW);
}

#[test]
fn a_checkpoint_broken_anywhere_loses_nothing() {
    break_everywhere("short-checkpoint", Some(3), Profile::Ext4, &FEW);
}

#[test]
fn a_segment_that_is_begun_and_broken_anywhere_loses_nothing() {
    break_everywhere(
        "short-segment-roll",
        Some(3),
        Profile::Posix,
        &Limits { survivors: 2, ..FEW },
    );
}

#[test]
fn retention_broken_anywhere_removes_only_what_it_may() {
    break_everywhere("short-retention", Some(4), Profile::Strict, &FEW);
}

#[test]
fn more_threads_find_the_same() {
    let limits = Limits { depth: 0, survivors: 4, from: Some(During::Step(2)), ..FEW };
    let scenario = short("short-segment-roll");
    let alone = exhaust(&scenario, Profile::Posix, &limits, &|_, _, _| {});
    let limits = Limits { jobs: 3, ..limits };
    assert_eq!(alone, exhaust(&scenario, Profile::Posix, &limits, &|_, _, _| {}));
}

#[test]
fn the_command_counts_the_states_and_what_was_cut_off() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/short-commit.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_merkql-sim"))
        .args(["exhaust", file, "--from", "5", "--depth", "0", "--survivors", "3", "--json", "-"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["states"].as_u64() > json["points"].as_u64());
    assert!(json["cut"].as_u64() > Some(0), "{json}");
    assert_eq!(json["failures"], serde_json::json!([]));
}

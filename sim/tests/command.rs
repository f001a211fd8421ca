//! The command as its callers meet it: exit status, standard output, JSON.

use serde_json::Value;
use std::process::{Command, Output};

fn merkql_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_merkql-sim")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn arguments_that_make_no_sense_are_wrong_usage() {
    for arguments in [
        &["run", "--shard", "5/4"][..],
        &["run", "--shard", "0/4"],
        &["run", "--profile", "fat32"],
        &["run", "--jobs", "0"],
        &["run", "--minutes", "-1"],
        &["run", "--canary", "there-is-no-such-bug"],
        &["replay"],
        &["replay", "first"],
        &["faults", "--json", "/nowhere/at/all.json"],
        &["canaries", "--jobs", "0"],
        &["exhaust", "../scenarios/short-commit.toml", "--jobs", "0"],
        &["exhaust", "../scenarios/short-commit.toml", "--from", "9999"],
        &["exhaust", "../scenarios/short-commit.toml", "-o", "/nowhere/at/all.toml"],
        &["shrink", "1", "-o", "/nowhere/at/all.toml"],
        &["sing"],
    ] {
        let output = merkql_sim(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn every_subcommand_has_help_with_examples() {
    let subcommands = [&["--help"][..], &["run", "--help"], &["replay", "--help"]];
    for arguments in subcommands.into_iter().chain([&["faults", "--help"][..]]) {
        let output = merkql_sim(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains("Examples:\n  merkql-sim"), "{arguments:?}");
    }
}

#[test]
fn with_json_on_standard_output_text_goes_to_standard_error() {
    let output = merkql_sim(&["run", "--seeds", "2", "--ops", "20", "--json", "-"]);
    let said = json(&output);
    for field in
        ["seeds", "client_ops", "io_ops", "crashes", "recoveries", "seeds_per_second", "outcomes"]
    {
        assert!(!said[field].is_null(), "{field}");
    }
    for field in ["armed", "fired", "mattered"] {
        assert!(said["faults"]["torn-write"][field].is_u64(), "{field}");
    }
    assert!(said["marks"]["recovery.begun"].is_u64());
    assert!(said["anomalies"].is_array() && said["excused"].is_object());
    assert!(text(&output.stderr).contains("torn-write"));
}

#[test]
fn without_json_text_goes_to_standard_output() {
    let output = merkql_sim(&["run", "--seeds", "2", "--ops", "20"]);
    let said = text(&output.stdout);
    assert!(said.contains("client operations") && said.contains("trace hash"), "{said}");
}

#[test]
fn a_campaign_without_seeds_has_tested_nothing_and_says_so_in_json_too() {
    let output = merkql_sim(&["run", "--seeds", "0", "--json", "-"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["is_clean"], false);
}

#[test]
fn the_status_of_a_replay_says_whether_its_seed_has_an_anomaly() {
    let output = merkql_sim(&["replay", "7", "--ops", "30", "--profile", "ext4", "--json", "-"]);
    let said = json(&output);
    let is_valid = said["verdict"]["valid"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!is_valid)));
    assert_eq!(said["about"], "Seed 7, ext4 profile.");
}

#[test]
fn a_trace_tells_as_much_as_it_is_asked_for() {
    let tell = |seed: &str, detail: &[&str]| {
        let output = merkql_sim(&[&["replay", seed, "--ops", "20"], detail].concat());
        text(&output.stdout)
    };
    // One that dies on the way and comes to its end.
    let seeds: Vec<String> = (0..30).map(|seed: u32| seed.to_string()).collect();
    let is_whole = |told: &str| told.contains(" !! crash ") && told.contains("-- the end");
    let seed = seeds.iter().find(|seed| is_whole(&tell(seed, &[]))).unwrap();
    let told = |detail: &[&str]| tell(seed, detail);
    let (steps, ops) = (told(&[]), told(&["--trace", "ops"]));
    let (io, all) = (told(&["--trace", "io"]), told(&["--trace", "all"]));
    assert!(steps.contains("-- step 1, "), "{steps}");
    assert!(!steps.contains(" invoke send ") && ops.contains(" invoke send "), "{ops}");
    assert!(!ops.contains("WriteAt /") && io.contains("WriteAt /"), "{io}");
    assert!(!io.contains("ReadAt /") && all.contains("ReadAt /"), "{all}");
}

#[test]
fn the_catalogue_lists_every_fault_with_its_class_and_meaning() {
    let output = merkql_sim(&["faults", "--json", "-"]);
    assert_eq!(output.status.code(), Some(0));
    let said = json(&output);
    let rows = said.as_array().unwrap();
    assert_eq!(rows.len(), merkql_sim::fault::FaultKind::ALL.len());
    assert!(rows.iter().all(|row| row["meaning"].as_str().unwrap().ends_with('.')));
    assert!(text(&output.stderr).contains("torn-write"));
}

//! The scenarios in `scenarios/`: each comes to what it expects, and together
//! they cover the catalogue of faults.

use merkql_jepsen::history::{Action, Attachments, Operation};
use merkql_jepsen::notation::{Format, write_operation};
use merkql_sim::fault::FaultKind;
use merkql_sim::scenario::{Scenario, verify};
use merkql_sim::world::{Manner, execute};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn read(file: &Path) -> Scenario {
    let text = std::fs::read_to_string(file).unwrap();
    Scenario::from_toml(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_merkql-sim")).args(arguments).output().unwrap()
}

#[test]
fn every_scenario_comes_to_what_it_expects() {
    let files = files();
    assert!(files.len() >= 40, "{} scenarios", files.len());
    for file in files {
        let scenario = read(&file);
        let report = verify(&scenario, &execute(&scenario, &Manner::default()));
        assert!(report.complaints.is_empty(), "{}: {report:#?}", file.display());
    }
}

#[test]
fn every_row_of_the_catalogue_is_covered() {
    // That a fault of the row was met is part of what each is verified for.
    let covered: BTreeSet<String> = files().iter().flat_map(|file| read(file).covers).collect();
    let rows: BTreeSet<String> = FaultKind::ALL.iter().map(|kind| kind.code().to_owned()).collect();
    assert_eq!(covered, rows);
}

#[test]
fn names_are_kebab_case_and_every_scenario_says_what_it_is_about() {
    for file in files() {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(is_plain), "{name}");
        assert!(!read(&file).about.is_empty(), "{name}");
    }
}

#[test]
fn the_command_runs_all_scenarios_and_says_so() {
    let files = files();
    let mut arguments = vec!["scenario"];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    arguments.extend(["--json", "-"]);
    let output = command(&arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.ends_with(&format!("{} scenarios, 0 failed\n", files.len())), "{told}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), files.len());
}

#[test]
fn a_scenario_that_tests_nothing_fails_and_one_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idle.toml");
    let file = path.to_str().unwrap();
    let text = "about = \"Nothing is ever synced in no step at all.\"\ncovers = [\"R12\"]\n\n\
                [expect]\noutcome = \"detected\"\nerrors = [\"io\"]\nmarks = [\"never\"]\n\n\
                [[steps]]\nid = 2\ndoes = { sleep = { ms = 1 } }\n\n\
                [[strikes]]\nid = 1\nat = { during = \"start\", on = \"sync-data\", file = \"nowhere\" }\n\
                what = { fault = { fault = { failed-sync = \"reverted\" } } }\n";
    std::fs::write(&path, text).unwrap();
    let output = command(&["scenario", file]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for complaint in [
        "the outcome is recovered, and should be detected",
        "no call was answered with io",
        "the mark never was not reached",
        "strike 1 never struck",
        "no fault of row R12 was met",
    ] {
        assert!(told.contains(complaint), "{told}");
    }
    std::fs::write(&path, text.replace("sync-data", "sink-data")).unwrap();
    let output = command(&["scenario", file]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("idle.toml:15:31: unknown variant"), "{told}");
}

/// What the clients did and were told, up to when nothing is broken any more.
fn trace(name: &str) -> String {
    let scenario = read(&folder().join(name).with_extension("toml"));
    let run = execute(&scenario, &Manner::default());
    let operations = run.history.operations().iter();
    let told = operations.take_while(|operation| !matches!(operation.action, Action::FaultsEnd(_)));
    told.map(|operation| {
        let error = operation.attachments.as_ref().and_then(|with| with.error_kind());
        let error = error.map(|kind| format!("  ! {kind}")).unwrap_or_default();
        let plain = Operation { index: 0, time_ns: None, ..operation.clone() };
        let mut line = String::new();
        write_operation(&mut line, &plain.with(Attachments::default()), Format::JsonLines);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        let (process, kind, action) = (&json["process"], &json["type"], &json["f"]);
        format!("{process} {kind} {action} {}{error}\n", json["value"]).replace('"', "")
    })
    .collect()
}

#[test]
fn what_clients_see_is_what_it_was() {
    for name in [
        "bit-flip-in-a-record",
        "both-slots-garbage",
        "commit-survives-a-power-cut",
        "no-room-for-one-send-of-a-block",
        "repeated-send-after-a-kill-behind-its-block",
    ] {
        insta::assert_snapshot!(name, trace(name));
    }
}

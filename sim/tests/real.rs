//! `merkql-sim real`: processes that are killed on the real file system, and
//! the judging of what they saw.
#![cfg(unix)]

use merkql_jepsen::check;
use merkql_jepsen::history::History;
use merkql_jepsen::notation::Format;
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the command with directories in `dir`, and returns what it says as JSON.
fn real(dir: &Path, arguments: &[&str]) -> (Output, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_merkql-sim"))
        .args(["real", "--json", "-", "--dir"])
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, json)
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn nothing_that_was_acknowledged_is_lost_by_forty_kills() {
    let dir = tempfile::tempdir().unwrap();
    let (output, json) = real(dir.path(), &["--kills", "40"]);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(json["kills"], 40);
    assert_eq!(json["rounds"], 4);
    assert_eq!(json["anomalies"], serde_json::json!({}));
    for counted in ["kills_in_flight", "acknowledged", "read", "operations"] {
        assert!(json[counted].as_u64().unwrap() > 0, "no {counted}: {text}");
    }
    // The second round and the fourth are on small disks, or it says why not.
    let is_skipped = !json["skipped"].as_array().unwrap().is_empty();
    assert_eq!(is_skipped, text.contains("skipped"), "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_log_that_loses_what_it_acknowledged_is_found_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (output, json) = real(dir.path(), &["--kills", "10", "--roll-back"]);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let found: Vec<&String> = json["anomalies"].as_object().unwrap().keys().collect();
    assert!(found.iter().any(|name| *name == "inconsistent-offsets"), "{text}");
    assert!(found.iter().any(|name| *name == "realtime-order"), "{text}");
    let kept = &json["kept"][0];
    assert!(text.contains(kept["check"].as_str().unwrap()), "{text}");
    assert!(Path::new(kept["log"].as_str().unwrap()).join(".merkql").is_dir(), "{text}");
    // The file alone says the same again.
    let file = File::open(kept["history"].as_str().unwrap()).unwrap();
    let history = History::read(BufReader::new(file), Format::JsonLines).unwrap();
    let names: Vec<&str> = check(&history).names().iter().map(|name| name.as_str()).collect();
    assert_eq!(kept["anomalies"], serde_json::json!(names));
}

#[test]
fn a_run_without_kills_proves_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (output, json) = real(dir.path(), &["--kills", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json["kills"], 0);
    assert!(text_of(&output).contains("proves nothing"), "{}", text_of(&output));
}

#[test]
fn wrong_usage_is_told_from_an_anomaly() {
    let dir = tempfile::tempdir().unwrap();
    let (output, _) = real(&dir.path().join("missing"), &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    let (output, _) = real(dir.path(), &["--writers", "0"]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    let mut child = Command::new(env!("CARGO_BIN_EXE_merkql-sim"));
    let status = child.arg("real-child").stdin(Stdio::null()).stderr(Stdio::null()).status();
    assert_eq!(status.unwrap().code(), Some(2));
}

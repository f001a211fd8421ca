//! The command: its verdicts, its exit status, and that what it tells a stranger is true.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use merkql_jepsen::Name;
use merkql_jepsen::generate::{Options, clean};
use merkql_jepsen::notation::Format;
use serde_json::{Value, json};
use tempfile::TempDir;

const HELP_EXAMPLE: &str = include_str!("../src/bin/merkql-jepsen/example.jsonl");

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_merkql-jepsen")).args(args).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the command writes text")
}

/// A folder with a file in it.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a file");
    (folder, path)
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("a path that is text")
}

#[test]
fn a_clean_history_is_valid_in_both_notations() {
    let history = clean(&Options { operations: 300, ..Options::default() });
    for (name, format) in [("clean.jsonl", Format::JsonLines), ("clean.edn", Format::Edn)] {
        let mut content = Vec::new();
        history.write(&mut content, format).expect("writing to memory");
        let (_folder, history) = file(name, content);
        let output = run(&["check", path(&history)]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("valid: 3"), "{}", text(&output.stdout));
    }
}

#[test]
fn the_example_in_the_help_has_the_verdict_that_the_help_shows() {
    let help = text(&run(&["--help"]).stdout);
    assert!(help.contains(HELP_EXAMPLE.trim_end()));
    let (_folder, history) = file("example.jsonl", HELP_EXAMPLE);
    let output = run(&["check", path(&history)]);
    assert_eq!(output.status.code(), Some(1));
    let verdict = text(&output.stdout);
    assert!(help.contains(verdict.trim_end()), "{verdict}");
}

#[test]
fn the_verdict_in_json_has_its_promised_shape() {
    let (_folder, history) = file("example.jsonl", HELP_EXAMPLE);
    let output = run(&["check", path(&history), "--json", "-"]);
    assert_eq!(output.status.code(), Some(1));
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
    let unseen = json!({
        "sentence": "1 acknowledged record was never polled from key 1: \"b\" (operation 3)",
        "key": 1, "offsets": [1], "values": ["b"], "operations": [3],
    });
    let backwards = json!({
        "sentence": "process 1 left key 1 at \"a\" (operation 7) and went on at \"a\" (operation 9), which doesn't come after it",
        "key": 1, "offsets": [0, 0], "values": ["a", "a"], "operations": [7, 9],
    });
    let expected = json!({
        "valid": false, "operations": 10, "judged": 4, "excused": {},
        "anomalies": {"unseen": [unseen], "nonmonotonic-poll": [backwards]},
    });
    assert_eq!(verdict, expected);
}

#[test]
fn json_may_go_to_a_file_beside_the_report() {
    let (folder, history) = file("example.jsonl", HELP_EXAMPLE);
    let verdict = folder.path().join("verdict.json");
    let output = run(&["check", path(&history), "--json", path(&verdict)]);
    assert!(text(&output.stdout).contains("INVALID"));
    let verdict: Value =
        serde_json::from_slice(&fs::read(verdict).expect("the file is there")).expect("JSON");
    assert_eq!(verdict["valid"], json!(false));
}

#[test]
fn only_some_anomalies_are_judged_on_request() {
    let (_folder, history) = file("example.jsonl", HELP_EXAMPLE);
    let only = |names: &str| run(&["check", path(&history), "--only", names]);
    assert_eq!(only("poll-skip,lost-write").status.code(), Some(0));
    assert_eq!(only("poll-skip,unseen").status.code(), Some(1));
    assert!(!text(&only("unseen").stdout).contains("nonmonotonic-poll"));
    let unknown = only("no-such-thing");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("no anomaly is named"), "{}", text(&unknown.stderr));
}

#[test]
fn what_cannot_be_read_is_status_2_with_its_place() {
    let (_folder, history) = file(
        "bad.jsonl",
        "{\"process\":0,\"type\":\"ok\",\"f\":\"poll\"}\n{\"process\":0,\"type\":\"maybe\"}\n",
    );
    let output = run(&["check", path(&history)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("line 2, column 21: expected invoke, ok, fail or info"),
        "{}",
        text(&output.stderr)
    );
    let missing = run(&["check", "/no/such/history.jsonl"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("/no/such/history.jsonl"));
}

#[test]
fn a_history_in_which_nothing_can_be_judged_is_no_valid_one() {
    let nemesis = r#"{"process":"nemesis","type":"info","f":"kill","value":null}"#;
    let only_invoked = r#"{"process":0,"type":"invoke","f":"poll","value":[["poll"]]}"#;
    for (content, said) in [
        (String::new(), "nothing to judge: it has no operation"),
        ("\n\n".to_owned(), "nothing to judge: it has no operation"),
        (nemesis.to_owned(), "nothing to judge: its only operation is none"),
        (
            format!("{nemesis}\n{only_invoked}\n"),
            "nothing to judge: none of its 2 operations is one",
        ),
    ] {
        let (folder, history) = file("history.jsonl", &content);
        let verdict = folder.path().join("verdict.json");
        for more in [vec![], vec!["--json", "-"], vec!["--json", path(&verdict)]] {
            let output = run(&[vec!["check", path(&history)], more].concat());
            assert_eq!(output.status.code(), Some(2), "{content}");
            assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
            assert_eq!(text(&output.stdout), "", "no verdict");
        }
        assert!(!verdict.exists(), "no verdict");
    }
    // A single answer is enough, and so is an anomaly.
    for content in [
        r#"{"process":0,"type":"fail","f":"send","value":[["send",1,"a"]]}"#,
        r#"{"process":"nemesis","type":"info","f":"panic","value":"out of range"}"#,
    ] {
        let (_folder, history) = file("history.jsonl", content);
        assert_ne!(run(&["check", path(&history)]).status.code(), Some(2), "{content}");
    }
}

#[test]
fn what_no_checker_knows_is_named_so_that_a_slip_shows() {
    let poll = r#"{"process":0,"type":"ok","f":"poll","value":[["poll",{}]]}"#;
    let of = |function: &str| {
        format!(r#"{{"process":"nemesis","type":"info","f":"{function}","value":"all"}}"#)
    };
    let ignored = [of("kill"), of("compact"), of("kill")].join("\n");
    let (_folder, history) = file("history.jsonl", format!("{poll}\n{ignored}\n"));
    let output = run(&["check", path(&history)]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        "ignored: compact (1), kill (2)\nvalid: 4 operations, no anomaly\n"
    );
    let (_folder, history) = file("history.jsonl", ignored);
    let error = text(&run(&["check", path(&history)]).stderr);
    assert!(error.contains("no checker knows its compact (1), kill (2)"), "{error}");
    let (_folder, history) = file(
        "history.jsonl",
        (0..20).map(|at| of(&format!("f{at:02}")) + "\n").collect::<String>() + poll,
    );
    assert!(text(&run(&["check", path(&history)]).stdout).contains("f07 (1), …\n"));
}

#[test]
fn the_notation_is_known_by_extension_then_by_content_and_can_be_said() {
    let edn = "{:process 0, :type :ok, :f :poll, :value [[:poll {}]]}\n";
    let (_folder, unnamed) = file("history", edn);
    assert_eq!(run(&["check", path(&unnamed)]).status.code(), Some(0));
    assert_eq!(run(&["check", path(&unnamed), "--format", "jsonl"]).status.code(), Some(2));
    let (_folder, misnamed) = file("history.jsonl", edn);
    assert_eq!(run(&["check", path(&misnamed)]).status.code(), Some(2));
    assert_eq!(run(&["check", path(&misnamed), "--format", "edn"]).status.code(), Some(0));
}

#[test]
fn a_history_may_come_from_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_merkql-jepsen"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command runs");
    child.stdin.take().expect("its input").write_all(HELP_EXAMPLE.as_bytes()).expect("it reads");
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(1));
}

#[test]
fn a_reader_that_goes_away_changes_no_verdict() {
    let (folder, history) = file("example.jsonl", HELP_EXAMPLE);
    let verdict = folder.path().join("verdict.json");
    let into_closed_pipe = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Command::new(env!("CARGO_BIN_EXE_merkql-jepsen"))
            .args(args)
            .stdout(writer)
            .status()
            .expect("the command runs")
            .code()
    };
    let history = path(&history);
    assert_eq!(into_closed_pipe(&["check", history]), Some(1));
    assert_eq!(into_closed_pipe(&["check", history, "--json", "-"]), Some(1));
    assert_eq!(into_closed_pipe(&["check", history, "--json", path(&verdict)]), Some(1));
    assert!(verdict.exists());
    assert_eq!(into_closed_pipe(&["check", history, "--only", "poll-skip"]), Some(0));
    assert_eq!(into_closed_pipe(&["convert", history]), Some(0));
    assert_eq!(into_closed_pipe(&["explain"]), Some(0));
}

#[test]
fn converting_there_and_back_gives_the_same_history() {
    let history = clean(&Options { seed: 3, operations: 400, ..Options::default() });
    let mut content = Vec::new();
    history.write(&mut content, Format::JsonLines).expect("writing to memory");
    let (folder, original) = file("history.jsonl", &content);
    let converted = folder.path().join("history.edn");
    let there = run(&["convert", path(&original), "--output", path(&converted)]);
    assert_eq!(there.status.code(), Some(0), "{}", text(&there.stderr));
    assert!(fs::read_to_string(&converted).expect("the file is there").contains(":f :send"));
    assert_eq!(run(&["convert", path(&converted)]).stdout, content);
    assert_eq!(run(&["convert", path(&original), "--to", "jsonl"]).stdout, content);
}

#[test]
fn every_anomaly_is_listed_and_explained() {
    let list = text(&run(&["explain"]).stdout);
    for name in Name::ALL {
        assert!(
            list.lines().any(|line| line.split_whitespace().next() == Some(name.as_str())),
            "{name}"
        );
        let output = run(&["explain", name.as_str()]);
        assert_eq!(output.status.code(), Some(0));
        let explained = text(&output.stdout);
        assert!(
            explained.contains(name.example().trim_end())
                && explained.contains(name.near_miss().trim_end()),
            "{name}"
        );
        assert!(
            explained.contains(&format!("  {name}: ")),
            "the example's verdict on {name}:\n{explained}"
        );
    }
}

#[test]
fn the_report_shows_few_witnesses_and_short_lines_of_long_operations() {
    let records: Vec<String> = (0..5_000).map(|number| format!("[{number},{number}]")).collect();
    let polled = format!("{},[4999,4999]", records.join(","));
    let poll = |process| {
        format!(
            "{{\"process\":{process},\"type\":\"ok\",\"f\":\"poll\",\"value\":[[\"poll\",{{\"1\":[{polled}]}}]]}}\n"
        )
    };
    let history: String = (0..20).map(poll).collect();
    let (_folder, history) = file("long.jsonl", history);
    let report = text(&run(&["check", path(&history)]).stdout);
    assert!(
        report.contains("int-nonmonotonic-poll (20)") && report.contains("… and 12 more"),
        "{report}"
    );
    assert!(report.lines().all(|line| line.chars().count() < 300));
    assert!(report.contains("[[4999,4999],[4999,4999]]"), "{report}");
}

#[test]
fn a_verdict_does_not_take_the_place_of_its_history() {
    let (_folder, history) = file("history.jsonl", HELP_EXAMPLE);
    let output = run(&["check", path(&history), "--json", path(&history)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("it is the history itself"));
    assert_eq!(fs::read_to_string(&history).unwrap(), HELP_EXAMPLE);
}

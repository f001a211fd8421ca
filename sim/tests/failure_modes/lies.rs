//! The page with one lie in it, each of another kind: every one is found out.

use crate::facts::{Facts, kebab};
use crate::judge::judge;
use crate::table;

/// The page with `from` written as `to`, once.
fn page_with(from: &str, to: &str) -> String {
    let page = crate::page();
    assert!(page.contains(from), "the page has no {from:?}");
    page.replacen(from, to, 1)
}

fn complaints(page: &str, facts: &Facts) -> Vec<String> {
    judge(&table::read(page).unwrap_or_else(|error| panic!("{error}")), facts)
}

/// Rows that are true, to be told otherwise.
const FLIPPED: &str = "detected | `Error::Corrupt` | that record | by hand | \
                       [bit-flip-in-a-record](scenarios/bit-flip-in-a-record.toml)";
const TOO_LARGE: &str = "error | `Error::RecordTooLarge` | nothing | not needed | \
                         `tests/bad_input.rs::a_record_above_the_limit_is_refused_and_one_at_it_is_not`";
const CLOCK: &str = "| unaffected | – | nothing | not needed | \
                     `tests/retention.rs::a_clock_that_goes_back";

#[test]
fn every_kind_of_lie_is_found_out() {
    let facts = Facts::read();
    for (from, to, expected) in [
        // What scenarios expect.
        (FLIPPED, FLIPPED.replace("detected", "refused"), "expects the outcome detected"),
        (FLIPPED, FLIPPED.replace("`Error::Corrupt`", "`Error::Io`"), "expects the error corrupt"),
        (
            FLIPPED,
            FLIPPED.replace("bit-flip-in", "bit-flop-in"),
            "no scenario bit-flop-in-a-record",
        ),
        ("| R15 | Another broker", "| R1 | Another broker".to_owned(), "covers R15"),
        // What tests are there.
        (
            TOO_LARGE,
            TOO_LARGE.replace("tests/bad_input", "tests/worse_input"),
            "there is no tests/worse_input.rs",
        ),
        (TOO_LARGE, TOO_LARGE.replace("one_at_it", "two_at_it"), "has no such function"),
        (
            TOO_LARGE,
            TOO_LARGE.replace(
                "bad_input.rs::a_record_above_the_limit_is_refused_and_one_at_it_is_not",
                "kill.rs::writer_process",
            ),
            "ignores it",
        ),
        (
            TOO_LARGE,
            TOO_LARGE.replace(
                "bad_input.rs::a_record_above_the_limit_is_refused_and_one_at_it_is_not",
                "retention.rs::check_tree",
            ),
            "is no test",
        ),
        // Which errors there are, and which are shown.
        (
            TOO_LARGE,
            TOO_LARGE.replace("RecordTooLarge", "RecordTooSmall"),
            "there is no Error::RecordTooSmall",
        ),
        (TOO_LARGE, TOO_LARGE.replace("RecordTooLarge", "Wakeup"), "no evidence of Error::Wakeup"),
        (TOO_LARGE, TOO_LARGE.replace("`Error::RecordTooLarge`", "–"), "there is an error"),
        // Which words go together.
        (TOO_LARGE, TOO_LARGE.replace("error |", "undecidable |"), "only a scenario can show"),
        (
            TOO_LARGE,
            TOO_LARGE.replace("error |", "unprotected |"),
            "limits stand in the last section",
        ),
        (TOO_LARGE, TOO_LARGE.replace("error |", "anomaly |"), "owes better"),
        (TOO_LARGE, TOO_LARGE.replace("nothing", "a little"), "nothing may be lost"),
        (TOO_LARGE, TOO_LARGE.replace("not needed", "hopefully"), "no such recovery"),
        (
            TOO_LARGE,
            TOO_LARGE.replace("not needed", "none"),
            "no recovery in the last section alone",
        ),
        (FLIPPED, FLIPPED.replace("detected", "unaffected"), "no scenario has this outcome"),
        (CLOCK, CLOCK.replace("–", "`Error::Io`"), "an error is an effect"),
        // Which ids there are.
        ("| T1 | The clock", "| R16 | The clock".to_owned(), "the catalogue has no R16"),
        ("| T2 |", "| T1 |".to_owned(), "T1 is the id of line"),
        ("`process-kill`", "`process-death`".to_owned(), "the simulator says otherwise"),
        ("| R13 | A call", "| X13 | A call".to_owned(), "R13 is not explained once"),
        // Which sections.
        ("## Version skew", "## Versions".to_owned(), "\"Version skew\" has no rows"),
        ("## Clocks", "## Time".to_owned(), "\"Time\" has rows"),
    ] {
        let complaints = complaints(&page_with(from, &to), &facts);
        let found = complaints.iter().any(|complaint| complaint.contains(expected));
        assert!(found, "{expected:?} is not said of {to:?}, but {complaints:?}");
    }
}

#[test]
fn rows_without_evidence_are_found_out() {
    let facts = Facts::read();
    let evidence = crate::page();
    let row = evidence.lines().find(|line| line.contains(TOO_LARGE)).unwrap();
    let bare = format!("{}| – |", row.rsplit_once("| `").unwrap().0);
    let found = complaints(&page_with(row, &bare), &facts);
    assert!(found.iter().any(|complaint| complaint.ends_with("there is no evidence")), "{found:?}");
}

#[test]
fn what_the_page_leaves_out_is_found_out() {
    let without = |what: &str| {
        let page = crate::page();
        let lines: Vec<&str> = page.lines().filter(|line| !line.contains(what)).collect();
        lines.join("\n")
    };
    let facts = Facts::read();
    for (gone, expected) in [
        ("`Error::Wakeup`", "no row is about Error::Wakeup"),
        ("(scenarios/index-of-garbage.toml)", "no row is about the scenario index-of-garbage"),
        ("(scenarios/stall-in-recovery.toml)", "no row is about the scenario stall-in-recovery"),
        ("| D9 | A record", "no scenario in a row of D9 covers it"),
        ("| D9 | A read", "D9 is not explained once"),
    ] {
        let found = complaints(&without(gone), &facts);
        assert!(found.iter().any(|complaint| complaint == expected), "{expected:?}: {found:?}");
    }
    let rows = |line: &&str| !(line.contains("| I") && line.contains("tests/"));
    let page = crate::page();
    let page: Vec<&str> = page.lines().filter(rows).collect();
    let found = complaints(&page.join("\n"), &facts);
    assert!(found.iter().any(|complaint| complaint == "\"Bad input\" has no rows"), "{found:?}");
}

#[test]
fn what_changes_behind_the_page_is_found_out() {
    let page = crate::page();
    let mut facts = Facts::read();
    facts.errors.insert("Abducted".to_owned());
    let scenario = facts.scenarios["bit-flip-in-a-record"].clone();
    facts.scenarios.insert("brand-new".to_owned(), scenario);
    let changed = facts.scenarios.get_mut("index-gone").unwrap();
    changed.expect.anomalies.push("lost-write".to_owned());
    changed.covers.push("D7".to_owned());
    facts.sources.remove("tests/golden.rs").unwrap();
    let found = complaints(&page, &facts).join("\n");
    for expected in [
        "no row is about Error::Abducted",
        "no row is about the scenario brand-new",
        "index-gone expects anomalies",
        "index-gone covers D7",
        "there is no tests/golden.rs",
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_told_with_its_line() {
    let page = crate::page();
    let at = page.lines().position(|line| line.contains(TOO_LARGE)).unwrap() + 1;
    let header = "| id | what happens | outcome | error |";
    let header_at = page.lines().position(|line| line.starts_with(header)).unwrap() + 1;
    for (from, to, line, expected) in [
        (TOO_LARGE, TOO_LARGE.replace("error |", "fine |"), at, "\"fine\" is no outcome"),
        (TOO_LARGE, TOO_LARGE.replace("error |", "error | |"), at, "cell 4 is empty"),
        (TOO_LARGE, TOO_LARGE.replace("error |", "error | and |"), at, "8 cells, not 7"),
        (TOO_LARGE, TOO_LARGE.replace("`Error::Rec", "Error::Rec"), at, "in back-ticks"),
        (TOO_LARGE, TOO_LARGE.replace("`Error::Rec", "`Rec"), at, "is no error"),
        (TOO_LARGE, TOO_LARGE.replace(".rs::a_record", ".rs: a_record"), at, "is no test"),
        ("| L3 |", "| L |".to_owned(), at, "\"L\" is no id"),
        ("| L3 |", "| L3, 4 |".to_owned(), at, "\"4\" is no id"),
        ("| L3 |", "L3 |".to_owned(), at, "a row begins with |"),
        ("| L3 |", "|L3 |".to_owned(), at, "a row begins with | and a space"),
        (header, header.replace("outcome", "result"), header_at, "another header"),
    ] {
        let error = table::read(&page_with(from, &to)).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: ")), "{error} in place of line {line}");
        assert!(error.contains(expected), "{error} in place of {expected:?}");
    }
    let away = page.replacen("](scenarios/index-gone.toml)", "](scenarios/index-here.toml)", 1);
    assert!(table::read(&away).unwrap_err().contains("leads elsewhere"));
    let unruled = page.replacen("| --- | --- | --- |\n", "", 1);
    assert!(table::read(&unruled).unwrap_err().contains("not | --- |"));
}

#[test]
fn names_of_errors_are_those_of_scenarios() {
    for (variant, name) in [
        ("Io", "io"),
        ("DiskFull", "disk-full"),
        ("NotALog", "not-a-log"),
        ("TooManyOpenFiles", "too-many-open-files"),
    ] {
        assert_eq!(kebab(variant), name);
    }
    let errors = Facts::read().errors;
    assert!(errors.len() >= 34 && errors.contains("Closed") && errors.contains("Corrupt"));
}

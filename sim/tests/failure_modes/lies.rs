//! The page with one lie in it, each of another kind: every one is found out.

use crate::facts::{Facts, kebab};
use crate::judge::judge;
use crate::met::{Met, Seen, judge_met};
use crate::table;
use merkql_sim::world::{Manner, execute};

/// The page with `from` written as `to`, once.
fn page_with(from: &str, to: &str) -> String {
    let page = crate::page();
    assert!(page.contains(from), "the page has no {from:?}");
    page.replacen(from, to, 1)
}

fn complaints(page: &str, facts: &Facts) -> Vec<String> {
    judge(&table::read(page).unwrap_or_else(|error| panic!("{error}")), facts)
}

/// A part of the page that is true, what is written otherwise in it, and the complaint.
type Lie = (&'static str, &'static str, &'static str, &'static str);

fn are_found_out(lies: &[Lie]) {
    let facts = Facts::read();
    for (truth, from, to, expected) in lies {
        assert!(truth.contains(from), "{from:?} is not in {truth:?}");
        let complaints = complaints(&page_with(truth, &truth.replace(from, to)), &facts);
        let found = complaints.iter().any(|complaint| complaint.contains(expected));
        assert!(found, "{expected:?} is not said of {to:?}, but {complaints:?}");
    }
}

const FLIPPED: &str = "detected | `Error::Corrupt` | that record | by hand | \
                       [bit-flip-in-a-record](scenarios/bit-flip-in-a-record.toml)";
const TOO_LONG: &str = "error | `Error::GroupIdTooLong` | nothing | not needed | \
                        `tests/bad_input.rs::a_group_id_that_is_too_long_is_refused`";
const LYING: &str = "undecidable | – | what was written since the last checkpoint | none | \
                     [journal-sync-lies]";
const CLOSED: &str = "refused | `Error::Corrupt` | what only the slots held: X12, X13 | repair | \
                      [both-slots-gone]";
const NO_ROOM: &str = "recovered | `Error::DiskFull` | nothing | call again | \
                       [no-room-for-a-segment](scenarios/no-room-for-a-segment.toml)";
const LATCHED: &str = "recovered | `Error::Io`, `Error::NeedsReopen` | nothing | reopen | \
                       [journal-write-fails]";
const KILLED: &str = "recovered | – | nothing | automatic | [send-killed-before-its-sync]";
const DROPPED: &str = "recovered | – | nothing | automatic | \
                       [transaction-killed-between-its-partitions]";
const CLOCK: &str = "| unaffected | – | nothing | not needed | \
                     `tests/retention.rs::a_clock_that_goes_back";

#[test]
fn lies_about_scenarios_are_found_out() {
    are_found_out(&[
        (FLIPPED, "detected", "refused", "expects the outcome detected"),
        (FLIPPED, "`Error::Corrupt`", "`Error::Io`", "expects the error corrupt"),
        (FLIPPED, "bit-flip-in", "bit-flop-in", "no scenario bit-flop-in-a-record"),
        ("| R15 | Another broker", "R15", "R1", "covers R15"),
    ]);
}

#[test]
fn lies_about_tests_and_errors_are_found_out() {
    are_found_out(&[
        (TOO_LONG, "bad_input", "worse_input", "there is no tests/worse_input.rs"),
        (TOO_LONG, "too_long_is", "too_short_is", "has no such function"),
        (TOO_LONG, "bad_input.rs::a_group_id_that_is_too_long_is_refused", OTHER, "ignores it"),
        (TOO_LONG, "bad_input.rs::a_group_id_that_is_too_long_is_refused", HELPER, "is no test"),
        (TOO_LONG, "GroupIdTooLong", "GroupIdTooOld", "there is no Error::GroupIdTooOld"),
        (TOO_LONG, "GroupIdTooLong", "Wakeup", "no evidence of Error::Wakeup"),
        (TOO_LONG, "`Error::GroupIdTooLong`", "–", "there is an error"),
        (CLOCK, "–", "`Error::Io`", "an error is an effect"),
    ]);
}

/// A test that no run carries out by itself, and a function that is no test.
const OTHER: &str = "kill.rs::writer_process";
const HELPER: &str = "retention.rs::check_tree";

#[test]
fn words_that_do_not_go_together_are_found_out() {
    are_found_out(&[
        (TOO_LONG, "error |", "undecidable |", "only a scenario can show"),
        (TOO_LONG, "error |", "unprotected |", "limits stand in the last section"),
        (TOO_LONG, "error |", "anomaly |", "owes better"),
        (TOO_LONG, "nothing", "a little", "nothing may be lost"),
        (TOO_LONG, "not needed", "hopefully", "no such recovery"),
        (TOO_LONG, "not needed", "none", "no recovery in the last section alone"),
        (FLIPPED, "detected", "unaffected", "no scenario has this outcome"),
        (LYING, "what was written since the last checkpoint", "nothing", "something is lost"),
        (LYING, "| none |", "| reopen |", "no recovery in the last section alone"),
        (CLOSED, "| repair |", "| by hand |", "a repair opens"),
        (NO_ROOM, "| call again |", "| automatic |", "has to do something"),
    ]);
}

/// What only shows when the scenarios are carried out.
#[test]
fn lies_about_what_callers_were_told_are_found_out() {
    let facts = Facts::read();
    let run = |(name, scenario)| {
        let seen = Seen::of(scenario, &execute(scenario, &Manner::default()));
        (String::clone(name), seen)
    };
    let met: Met = facts.scenarios.iter().map(run).collect();
    let judge_all = |page: &str| -> Vec<String> {
        let page = table::read(page).unwrap();
        page.rows.iter().flat_map(|row| judge_met(row, &met, &facts)).collect()
    };
    assert_eq!(judge_all(&crate::page()), Vec::<String>::new());
    for (truth, from, to, expected) in [
        (NO_ROOM, "`Error::DiskFull`", "–", "no-room-for-a-segment has met the error disk-full"),
        (NO_ROOM, "`Error::DiskFull`", "`Error::Io`", "nobody was told Error::Io"),
        (NO_ROOM, "| call again |", "| reopen |", "no-room-for-a-segment was reopened 0 times"),
        (LATCHED, "| reopen |", "| call again |", "journal-write-fails was reopened 1 times"),
        // The call that a kill cuts off ends with this error, and nobody is there.
        (KILLED, "–", "`Error::Io`", "nobody was told Error::Io"),
        // And a transaction that is dropped is written down as one that was refused.
        (DROPPED, "–", "`Error::Closed`", "nobody was told Error::Closed"),
    ] {
        let found = judge_all(&page_with(truth, &truth.replace(from, to)));
        assert!(found.iter().any(|what| what == expected), "{expected:?} is not in {found:?}");
    }
}

#[test]
fn lies_about_ids_and_sections_are_found_out() {
    let last = "\n## What is not protected against";
    are_found_out(&[
        ("| T1 | The clock", "T1", "R16", "the catalogue has no R16"),
        ("| T2 |", "T2", "T1", "T1 is the id of line"),
        ("`process-kill`", "kill", "death", "the simulator says otherwise"),
        ("| R13 | A call", "R13", "X13", "R13 is not explained once"),
        ("\n## Version skew", "skew", "skews", "\"Version skew\" has no rows"),
        ("\n## Clocks", "Clocks", "Time", "\"Time\" has rows"),
        ("\n## Clocks", "## ", "", "\"Clocks\" has no rows"),
        (last, "## ", "", "is not the last section"),
        (last, "## ", "", "what nobody can tell stands in the last section"),
    ]);
}

#[test]
fn rows_without_evidence_are_found_out() {
    let facts = Facts::read();
    let evidence = crate::page();
    let row = evidence.lines().find(|line| line.contains(TOO_LONG)).unwrap();
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
    let at = page.lines().position(|line| line.contains(TOO_LONG)).unwrap() + 1;
    let header = "| id | what happens | outcome | error |";
    let header_at = page.lines().position(|line| line.starts_with(header)).unwrap() + 1;
    for (from, to, line, expected) in [
        (TOO_LONG, TOO_LONG.replace("error |", "fine |"), at, "\"fine\" is no outcome"),
        (TOO_LONG, TOO_LONG.replace("error |", "error | |"), at, "cell 4 is empty"),
        (TOO_LONG, TOO_LONG.replace("error |", "error | and |"), at, "8 cells, not 7"),
        (TOO_LONG, TOO_LONG.replace("`Error::Group", "Error::Group"), at, "in back-ticks"),
        (TOO_LONG, TOO_LONG.replace("`Error::Group", "`Group"), at, "is no error"),
        (TOO_LONG, TOO_LONG.replace(".rs::a_group", ".rs: a_group"), at, "is no test"),
        ("| I11 |", "| I |".to_owned(), at, "\"I\" is no id"),
        ("| I11 |", "| I11, 4 |".to_owned(), at, "\"4\" is no id"),
        ("| I11 |", "I11 |".to_owned(), at, "a row begins with |"),
        ("| I11 |", "|I11 |".to_owned(), at, "a row begins with | and a space"),
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

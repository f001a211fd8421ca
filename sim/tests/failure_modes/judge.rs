//! Judges the page by what is there: every complaint is a lie that it tells, or
//! something that it leaves out.

use crate::facts::{Facts, kebab, no_test};
use crate::table::{Outcome, Page, Row};
use merkql_sim::fault::FaultKind;
use merkql_sim::scenario::Outcome::{Anomaly, Detected, Recovered, Refused, Undecidable};
use std::collections::{BTreeMap, BTreeSet};

/// The sections, each of which has rows; the last one is about what is not done.
const SECTIONS: [&str; 12] = [
    "Crash and power loss",
    "Full disks and I/O errors",
    "Derived files",
    "Damaged data",
    "Verifying and repairing",
    "Rollback",
    "Concurrency and locks",
    "Clocks",
    "Resource limits",
    "Bad input",
    "Version skew",
    LIMITS,
];
const LIMITS: &str = "What is not protected against";
const RECOVERIES: [&str; 7] =
    ["automatic", "not needed", "call again", "reopen", "repair", "by hand", "none"];
const NOTHING: &str = "nothing";

/// Everything that is wrong with the page.
pub(crate) fn judge(page: &Page, facts: &Facts) -> Vec<String> {
    let mut complaints = Vec::new();
    for row in &page.rows {
        let of_row = [scenarios(row, facts), tests(row, facts), errors(row, facts), words(row)];
        let of_row = of_row.concat().into_iter();
        complaints.extend(of_row.map(|what| format!("line {}: {what}", row.line)));
    }
    complaints.extend(left_out(page, facts));
    complaints.extend(sections(page));
    complaints.extend(ids(page));
    complaints.extend(catalogue(page, facts));
    complaints
}

/// The row says of its scenarios what they expect.
fn scenarios(row: &Row, facts: &Facts) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in &row.scenarios {
        let Some(scenario) = facts.scenarios.get(name) else {
            complaints.push(format!("there is no scenario {name}"));
            continue;
        };
        let expected = scenario.expect.outcome;
        if row.outcome != Outcome::Scenario(expected) {
            complaints.push(format!("{name} expects the outcome {expected}"));
        }
        if !scenario.expect.anomalies.is_empty() {
            complaints.push(format!("{name} expects anomalies"));
        }
        let named: BTreeSet<String> = row.errors.iter().map(|error| kebab(error)).collect();
        let errors = scenario.expect.errors.iter().filter(|error| !named.contains(*error));
        complaints.extend(errors.map(|error| format!("{name} expects the error {error}")));
        let covers = scenario.covers.iter().filter(|id| !row.ids.contains(id));
        complaints.extend(covers.map(|id| format!("{name} covers {id}")));
    }
    complaints
}

/// The tests that the row names are there, and are run.
fn tests(row: &Row, facts: &Facts) -> Vec<String> {
    let fault = |file: &str, function: &str| {
        let Some(source) = facts.sources.get(file) else {
            return Some(format!("there is no {file}"));
        };
        no_test(source, function).map(|what| format!("{file} {what}: {function}"))
    };
    row.tests.iter().filter_map(|test| fault(&test.file, &test.function)).collect()
}

/// The errors that the row names exist, and its evidence is about them.
fn errors(row: &Row, facts: &Facts) -> Vec<String> {
    let is_shown = |error: &str| {
        let by_scenario = row.scenarios.iter().filter_map(|name| facts.scenarios.get(name));
        let by_test = row.tests.iter().filter_map(|test| facts.sources.get(&test.file));
        by_scenario.flat_map(|scenario| &scenario.expect.errors).any(|name| *name == kebab(error))
            || by_test.into_iter().any(|source| source.contains(&format!("Error::{error}")))
    };
    let mut complaints = Vec::new();
    for error in &row.errors {
        if !facts.errors.contains(error) {
            complaints.push(format!("there is no Error::{error}"));
        } else if !is_shown(error) {
            complaints.push(format!("no evidence of Error::{error}"));
        }
    }
    complaints
}

/// The row's words go with each other.
fn words(row: &Row) -> Vec<String> {
    let by_scenario = !row.scenarios.is_empty();
    let has_evidence = by_scenario || !row.tests.is_empty();
    let is_limit = row.section == LIMITS;
    let keeps_all = row.lost == NOTHING;
    let only_scenarios = matches!(row.outcome, Outcome::Scenario(Undecidable));
    let only_tests = matches!(row.outcome, Outcome::Error | Outcome::Unaffected);
    let is_unprotected = row.outcome == Outcome::Unprotected;
    let promises_all = only_tests || row.outcome == Outcome::Scenario(Recovered);
    let tells = row.outcome == Outcome::Error
        || row.outcome == Outcome::Scenario(Refused)
        || row.outcome == Outcome::Scenario(Detected) && by_scenario;
    let is_automatic = by_scenario && row.recovery == "automatic";
    let is_damage = row.errors.iter().any(|error| error == "Corrupt");
    let is_refused_damage = row.outcome == Outcome::Scenario(Refused) && is_damage;
    let rules = [
        (row.outcome == Outcome::Scenario(Anomaly), "the log owes better than an anomaly"),
        (!has_evidence && !is_unprotected, "there is no evidence"),
        (only_scenarios && !by_scenario, "only a scenario can show this outcome"),
        (only_tests && by_scenario, "no scenario has this outcome"),
        (is_unprotected && !is_limit, "limits stand in the last section"),
        (only_scenarios && !is_limit, "what nobody can tell stands in the last section"),
        (promises_all && !keeps_all, "with this outcome nothing may be lost"),
        (only_scenarios && keeps_all, "with this outcome something is lost"),
        (tells && row.errors.is_empty(), "with this outcome there is an error"),
        (row.outcome == Outcome::Unaffected && !row.errors.is_empty(), "an error is an effect"),
        (is_refused_damage && row.recovery != "repair", "what damage closes, a repair opens"),
        (is_automatic && !row.errors.is_empty(), "whoever gets an error has to do something"),
        (!RECOVERIES.contains(&row.recovery.as_str()), "no such recovery"),
        (is_limit != (row.recovery == "none"), "there is no recovery in the last section alone"),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, what)| what.to_owned()).collect()
}

/// Scenarios and errors that no row is about.
fn left_out(page: &Page, facts: &Facts) -> Vec<String> {
    let scenarios: BTreeSet<_> = page.rows.iter().flat_map(|row| &row.scenarios).collect();
    let errors: BTreeSet<_> = page.rows.iter().flat_map(|row| &row.errors).collect();
    let scenarios = facts.scenarios.keys().filter(|name| !scenarios.contains(name));
    let scenarios = scenarios.map(|name| format!("no row is about the scenario {name}"));
    let errors = facts.errors.iter().filter(|error| !errors.contains(error));
    scenarios.chain(errors.map(|error| format!("no row is about Error::{error}"))).collect()
}

fn sections(page: &Page) -> Vec<String> {
    let with_rows: BTreeSet<&str> = page.rows.iter().map(|row| row.section.as_str()).collect();
    let expected = BTreeSet::from(SECTIONS);
    let missing = expected.difference(&with_rows).map(|title| format!("{title:?} has no rows"));
    let strange = with_rows.difference(&expected).map(|title| format!("{title:?} has rows"));
    let last = page.sections.last().map(String::as_str);
    let not_last = (last != Some(LIMITS)).then(|| format!("{LIMITS:?} is not the last section"));
    missing.chain(strange).chain(not_last).collect()
}

/// Ids of the catalogue are of the catalogue, and others are used once.
fn ids(page: &Page) -> Vec<String> {
    let known: BTreeSet<&str> = FaultKind::ALL.iter().map(|kind| kind.code()).collect();
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    let mut complaints = Vec::new();
    for (id, line) in page.rows.iter().flat_map(|row| row.ids.iter().map(|id| (id, row.line))) {
        let is_of_catalogue = id.starts_with(['R', 'D']);
        if is_of_catalogue && !known.contains(id.as_str()) {
            complaints.push(format!("line {line}: the catalogue has no {id}"));
        }
        if let Some(first) = (!is_of_catalogue).then(|| others.insert(id, line)).flatten() {
            complaints.push(format!("line {line}: {id} is the id of line {first}"));
        }
    }
    complaints
}

/// The page has the whole catalogue, and evidence by scenario for each of its ids.
fn catalogue(page: &Page, facts: &Facts) -> Vec<String> {
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in FaultKind::ALL {
        expected.entry(kind.code()).or_default().push(kind.name());
    }
    let mut complaints = Vec::new();
    for meaning in &page.catalogue {
        if expected.get(meaning.id.as_str()).is_none_or(|kinds| *kinds != meaning.kinds) {
            complaints.push(format!("line {}: the simulator says otherwise", meaning.line));
        }
    }
    for id in expected.keys() {
        if page.catalogue.iter().filter(|meaning| meaning.id == **id).count() != 1 {
            complaints.push(format!("{id} is not explained once"));
        }
        let rows = page.rows.iter().filter(|row| row.ids.iter().any(|of| of == id));
        let scenarios = rows.flat_map(|row| &row.scenarios);
        let mut scenarios = scenarios.filter_map(|name| facts.scenarios.get(name));
        if !scenarios.any(|scenario| scenario.covers.iter().any(|covered| covered == id)) {
            complaints.push(format!("no scenario in a row of {id} covers it"));
        }
    }
    complaints
}

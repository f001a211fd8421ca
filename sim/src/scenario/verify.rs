//! Has a run come to what its scenario expects?

use super::{Outcome, Scenario};
use crate::world::Run;
use merkql_jepsen::{Name, Verdict};
use serde::Serialize;
use std::collections::BTreeSet;
use std::str::FromStr;

/// What a run came to, and in what that is not what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The anomalies that the checkers found, by name.
    pub anomalies: Vec<&'static str>,
    /// A sentence about each of them.
    pub witnesses: Vec<String>,
    /// The kinds of error that calls were answered with.
    pub errors: BTreeSet<&'static str>,
    /// What is not as expected, each as a sentence; nothing if all is.
    pub complaints: Vec<String>,
}

/// Compares a run with what its scenario expects: the outcome, the anomalies
/// (these and no others), the errors and the marks that must be among those met,
/// the rows of the catalogue whose faults must have been met, and that every
/// strike has struck: a scenario whose fault no longer fires tests nothing.
pub fn verify(scenario: &Scenario, run: &Run) -> Report {
    let verdict = run.judge();
    let outcome = run.outcome(&verdict);
    let complaints = [
        outcome_differs(scenario, outcome),
        anomalies_differ(scenario, &verdict),
        not_met(scenario, run),
        idle_strikes(scenario, run),
        idle_harm(run),
        rows_not_met(scenario, run),
    ];
    Report {
        outcome,
        anomalies: verdict.names().into_iter().map(Name::as_str).collect(),
        witnesses: verdict.witnesses().map(|witness| witness.sentence.clone()).collect(),
        errors: run.errors.clone(),
        complaints: complaints.concat(),
    }
}

fn outcome_differs(scenario: &Scenario, outcome: Outcome) -> Vec<String> {
    let expected = scenario.expect.outcome;
    let differs = expected != outcome;
    differs
        .then(|| format!("the outcome is {outcome}, and should be {expected}"))
        .into_iter()
        .collect()
}

fn anomalies_differ(scenario: &Scenario, verdict: &Verdict) -> Vec<String> {
    let expected = scenario.expect.anomalies.iter();
    let expected: BTreeSet<Name> = expected.filter_map(|name| Name::from_str(name).ok()).collect();
    let found: BTreeSet<Name> = verdict.names().into_iter().collect();
    let missing = expected.difference(&found).map(|name| format!("{name} was not found"));
    let too_many = found.difference(&expected).map(|name| format!("{name} was found"));
    missing.chain(too_many).collect()
}

fn not_met(scenario: &Scenario, run: &Run) -> Vec<String> {
    let errors = scenario.expect.errors.iter();
    let errors = errors.filter(|name| !run.errors.contains(name.as_str()));
    let errors = errors.map(|name| format!("no call was answered with {name}"));
    let marks = scenario.expect.marks.iter();
    let marks = marks.filter(|name| !run.marks.contains_key(name.as_str()));
    errors.chain(marks.map(|name| format!("the mark {name} was not reached"))).collect()
}

fn idle_harm(run: &Run) -> Vec<String> {
    let count = run.idle_harm;
    (count > 0)
        .then(|| format!("{count} times harm found no file to be done to"))
        .into_iter()
        .collect()
}

fn idle_strikes(scenario: &Scenario, run: &Run) -> Vec<String> {
    let idle = scenario.strikes.iter().filter(|strike| !run.struck.contains(&strike.id));
    idle.map(|strike| format!("strike {} never struck", strike.id)).collect()
}

fn rows_not_met(scenario: &Scenario, run: &Run) -> Vec<String> {
    let met = run.faults.iter().filter(|(_, counts)| counts.mattered > 0);
    let met: BTreeSet<&str> = met.map(|(kind, _)| kind.code()).collect();
    let idle = scenario.covers.iter().filter(|code| !met.contains(code.as_str()));
    idle.map(|code| format!("no fault of row {code} was met")).collect()
}

//! Which errors the calls of a scenario were answered with, and whether the log had to
//! be reopened, held against what its row says: in both directions.

use crate::facts::{Facts, kebab};
use crate::table::Row;
use merkql_jepsen::history::{Action as Told, Datum, Kind, Operation};
use merkql_sim::scenario::{Action, Blow, Scenario, Stop};
use merkql_sim::world::Run;
use std::collections::{BTreeMap, BTreeSet};

/// What the simulated disk answers once its process has died.
const DEAD: &str = "the process is dead";

/// What came of scenarios, by name.
pub(crate) type Met = BTreeMap<String, Seen>;

/// What callers saw of a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The errors that somebody heard of.
    pub(crate) errors: BTreeSet<&'static str>,
    /// How often the log was reopened because it took no writes any more.
    pub(crate) reopened: usize,
}

impl Seen {
    pub(crate) fn of(scenario: &Scenario, run: &Run) -> Self {
        Self { errors: heard(scenario, run), reopened: reopened(scenario, run) }
    }
}

/// The errors that calls were answered with and that a caller was there to hear: the
/// simulator ends a call that a crash cuts off with an error, too, and calls it an error
/// if a client has dropped its transaction.
fn heard(scenario: &Scenario, run: &Run) -> BTreeSet<&'static str> {
    let answers: Vec<(&str, &str)> =
        run.history.operations().iter().filter_map(kind_and_text).collect();
    let dies_within_a_call =
        scenario.strikes.iter().any(|strike| matches!(strike.what, Blow::Crash { .. }));
    let drops = scenario.steps.iter().filter(|step| is_dropped(&step.does)).count();
    let is_heard = |name: &&str| {
        let mut texts = answers.iter().filter(|(kind, _)| kind == name).map(|(_, text)| text);
        match texts.clone().count() {
            // A call that no line of the history is about.
            0 => !(dies_within_a_call && *name == "io"),
            count if *name == "closed" => count > drops,
            _ => texts.any(|text| !text.ends_with(DEAD)),
        }
    };
    run.errors.iter().copied().filter(is_heard).collect()
}

/// The error that ended an operation: its kind, and what it says.
fn kind_and_text(operation: &Operation) -> Option<(&str, &str)> {
    let attachments = operation.attachments.as_ref()?;
    let kind = attachments.error_kind()?;
    let text = attachments.error.as_ref()?.items()?.get(1).and_then(Datum::name)?;
    Some((kind, text))
}

fn is_dropped(action: &Action) -> bool {
    matches!(action, Action::Transfer { abort: true, .. })
}

/// How often the log was opened anew because it took no writes any more: after no
/// death, and not because the scenario closes it.
fn reopened(scenario: &Scenario, run: &Run) -> usize {
    let mut has_died = false;
    let mut opened = 0;
    for operation in run.history.operations() {
        match &operation.action {
            Told::Crash(_) => has_died = true,
            Told::Open(_) if operation.kind == Kind::Ok => {
                opened += usize::from(!std::mem::take(&mut has_died));
            }
            _ => {}
        }
    }
    // Once at the start, once at the end, and where a step closes it.
    let closes = scenario.steps.iter().filter(|step| closes(&step.does)).count();
    opened.saturating_sub(2 + closes)
}

fn closes(action: &Action) -> bool {
    matches!(action, Action::Restart(restart) if restart.how == Stop::Close)
}

/// What the row does not say of its scenarios' errors, what it says without one, and
/// whether it knows when the log has to be reopened.
pub(crate) fn judge_met(row: &Row, met: &Met, facts: &Facts) -> Vec<String> {
    let named: BTreeSet<String> = row.errors.iter().map(|error| kebab(error)).collect();
    // Where something comes back by hand, the log may have to be reopened as well.
    let may_be_either = ["by hand", "repair"].contains(&row.recovery.as_str());
    let is_reopened = row.recovery == "reopen";
    let of_row = row.scenarios.iter().filter_map(|name| Some((name, met.get(name)?)));
    let mut complaints = Vec::new();
    let mut union = BTreeSet::new();
    for (name, seen) in of_row {
        let untold = seen.errors.iter().filter(|error| !named.contains(**error));
        complaints.extend(untold.map(|error| format!("{name} has met the error {error}")));
        union.extend(seen.errors.iter().map(|error| (*error).to_owned()));
        if !may_be_either && is_reopened != (seen.reopened > 0) {
            complaints.push(format!("{name} was reopened {} times", seen.reopened));
        }
    }
    let in_tests = |error: &str| {
        let sources = row.tests.iter().filter_map(|test| facts.sources.get(&test.file));
        sources.into_iter().any(|source| source.contains(&format!("Error::{error}")))
    };
    let idle = row.errors.iter().filter(|error| !union.contains(&kebab(error)) && !in_tests(error));
    complaints.extend(idle.map(|error| format!("nobody was told Error::{error}")));
    complaints
}

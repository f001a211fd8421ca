//! `FAILURE-MODES.md` says what the scenarios and tests show, all of it, and
//! nothing else.

mod facts;
mod judge;
mod lies;
mod met;
mod table;

use facts::Facts;
use judge::judge;
use merkql_sim::fault::FaultKind;
use merkql_sim::scenario::verify;
use merkql_sim::world::{Manner, execute};
use met::{Met, Seen, judge_met};
use std::collections::BTreeSet;

/// The page, as it stands.
fn page() -> String {
    facts::text("FAILURE-MODES.md")
}

#[test]
fn the_page_says_what_is_shown_and_leaves_nothing_out() {
    let page = table::read(&page()).unwrap_or_else(|error| panic!("{error}"));
    let complaints = judge(&page, &Facts::read());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(page.rows.len() >= 100, "{} rows", page.rows.len());
}

/// Each scenario comes to what it expects, which is what its row says, its calls are
/// answered with the row's errors and no others, the log is reopened where the row says
/// so, and of every kind of fault that the simulator knows one in a row of its id has met.
#[test]
fn the_scenarios_of_the_rows_end_as_the_rows_say() {
    let page = table::read(&page()).unwrap();
    let facts = Facts::read();
    let mut met: BTreeSet<FaultKind> = BTreeSet::new();
    let mut complaints = Vec::new();
    for row in &page.rows {
        let mut seen = Met::new();
        for name in &row.scenarios {
            let scenario = &facts.scenarios[name];
            let run = execute(scenario, &Manner::default());
            let differs = verify(scenario, &run).complaints.into_iter();
            complaints.extend(differs.map(|what| format!("line {}: {name}: {what}", row.line)));
            seen.insert(name.clone(), Seen::of(scenario, &run));
            let here = run.faults.iter().filter(|(_, counts)| counts.mattered > 0);
            let here = here.map(|(kind, _)| *kind);
            met.extend(here.filter(|kind| row.ids.iter().any(|id| id == kind.code())));
        }
        let of_row = judge_met(row, &seen, &facts).into_iter();
        complaints.extend(of_row.map(|what| format!("line {}: {what}", row.line)));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let all: BTreeSet<FaultKind> = FaultKind::ALL.iter().copied().collect();
    assert_eq!(all.difference(&met).collect::<Vec<_>>(), Vec::<&FaultKind>::new());
}

//! `FAILURE-MODES.md` says what the scenarios and tests show, all of it, and
//! nothing else.

mod facts;
mod judge;
mod lies;
mod table;

use facts::Facts;
use judge::judge;
use merkql_sim::fault::FaultKind;
use merkql_sim::scenario::verify;
use merkql_sim::world::{Manner, execute};
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

/// Each scenario comes to what it expects, which is what its row says, and of every
/// kind of fault that the simulator knows one in a row of its id has met.
#[test]
fn the_scenarios_of_the_rows_end_as_the_rows_say() {
    let page = table::read(&page()).unwrap();
    let facts = Facts::read();
    let mut met: BTreeSet<FaultKind> = BTreeSet::new();
    for row in &page.rows {
        for name in &row.scenarios {
            let scenario = &facts.scenarios[name];
            let run = execute(scenario, &Manner::default());
            let complaints = verify(scenario, &run).complaints;
            assert!(complaints.is_empty(), "line {}: {name}: {complaints:?}", row.line);
            let here = run.faults.iter().filter(|(_, counts)| counts.mattered > 0);
            let here = here.map(|(kind, _)| *kind);
            met.extend(here.filter(|kind| row.ids.iter().any(|id| id == kind.code())));
        }
    }
    let all: BTreeSet<FaultKind> = FaultKind::ALL.iter().copied().collect();
    assert_eq!(all.difference(&met).collect::<Vec<_>>(), Vec::<&FaultKind>::new());
}

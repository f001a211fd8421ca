//! The quick suite's second part: scenarios, hostile directories and a short campaign, in one
//! binary. It judges the mutants of the log that the first part, `tests/quick` at the
//! top, has let live.
//!
//! It is left out of `cargo test` because its parts are run there one
//! by one, and the campaign elsewhere. See "Mutants" in ARCHITECTURE.md.

#[path = "../hostile.rs"]
mod hostile;
#[path = "../scenarios.rs"]
mod scenarios;

use merkql_sim::campaign::Campaign;

#[test]
fn a_short_campaign_finds_nothing() {
    let report = Campaign { seeds: Some(200), ..Campaign::default() }.run(|_| {});
    assert_eq!(report.seeds, 200);
    assert_eq!((report.failed_seeds, report.broken_seeds), (0, 0), "{report:#?}");
}

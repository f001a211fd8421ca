//! Directories that were changed on purpose: 2,000 of them here, more by
//! `merkql-sim hostile`.

use allocation_counter::measure;
use merkql_sim::hostile::{Hostile, Outcome, Templates};

/// How many cases in a test.
const CASES: u64 = 2_000;

#[test]
fn no_changed_directory_panics_hangs_lies_or_loses_without_a_word() {
    let hostile = Hostile { start: 0, cases: CASES, jobs: 2, time: None };
    let report = hostile.run(|_| ()).unwrap();
    assert_eq!(report.cases, CASES);
    assert_eq!(report.failed, 0, "{:#?}", report.failures);
    // A harness that reaches nothing finds nothing.
    let reached = [Outcome::Unharmed, Outcome::Healed, Outcome::Told, Outcome::Refused];
    for outcome in reached.into_iter().chain([Outcome::Undecidable, Outcome::Forged]) {
        assert!(report.count(outcome) > 0, "nothing was {}", outcome.name());
    }
    for file in ["slot", "journal", "log", "index", "hashes", "lock"] {
        let kinds = report.outcomes.keys().filter(|kind| kind.starts_with(file));
        assert!(kinds.count() > 3, "{file} was hardly changed");
    }
}

/// The disk holds everything twice, the judge writes down what is served twice, and the
/// log has buffers of its own: none of it grows with what a field says.
#[test]
fn no_changed_directory_makes_the_log_take_more_than_its_size_accounts_for() {
    let templates = Templates::make().unwrap();
    let allowed = 24 * templates.largest_bytes() + (4 << 20);
    for seed in 10_000..10_400 {
        let mut case = None;
        let taken = measure(|| case = Some(templates.case_here(seed))).bytes_max;
        assert!(taken <= allowed, "{taken} bytes of {allowed}: {case:#?}");
    }
}

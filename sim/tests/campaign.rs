//! Campaigns as a library: what they count does not depend on how they are run.

use merkql_sim::campaign::{Campaign, Report, Shard};
use merkql_sim::fault::FaultKind;
use merkql_sim::profile::Profile;
use std::time::Duration;

const SEEDS: u64 = 12;

fn small() -> Campaign {
    let mut campaign = Campaign { start: 100, seeds: Some(SEEDS), ..Campaign::default() };
    campaign.options.ops = 30;
    campaign
}

/// All that a report says, apart from how fast it was.
fn said(mut report: Report) -> String {
    report.seeds_per_second = 0.0;
    serde_json::to_string(&report).unwrap()
}

#[test]
fn a_report_does_not_depend_on_the_number_of_jobs() {
    let run = |jobs| said(Campaign { jobs, ..small() }.run(|_| {}));
    let one = run(1);
    assert_eq!(one, run(3));
    assert_eq!(one, run(40));
}

#[test]
fn seeds_are_watched_one_at_a_time_and_in_order() {
    let mut seen = Vec::new();
    let report = small().run(|report| seen.push(report.seeds));
    assert_eq!(seen, (1..=SEEDS).collect::<Vec<_>>());
    assert_eq!(report.seeds, SEEDS);
    assert_eq!(report.outcomes.values().sum::<u64>(), SEEDS);
}

#[test]
fn shards_together_do_what_the_whole_does() {
    let whole = small().run(|_| {});
    let shard = |number| Campaign { shard: Shard { number, of: 3 }, ..small() }.run(|_| {});
    let parts: Vec<Report> = (1..=3).map(shard).collect();
    let sum = |count: fn(&Report) -> u64| parts.iter().map(count).sum::<u64>();
    assert_eq!(sum(|report| report.seeds), whole.seeds);
    assert_eq!(sum(|report| report.client_ops), whole.client_ops);
    assert_eq!(sum(|report| report.io_ops), whole.io_ops);
    assert_eq!(sum(|report| report.crashes), whole.crashes);
}

#[test]
fn a_campaign_stops_when_its_time_is_over() {
    let campaign = Campaign { seeds: None, time: Some(Duration::from_secs(1)), ..small() };
    let report = campaign.run(|_| {});
    assert!(report.seeds > 0);
    assert_eq!(report.outcomes.values().sum::<u64>(), report.seeds);
}

#[test]
fn each_seed_runs_the_same_way_twice() {
    let report = Campaign { checks_determinism: true, ..small() }.run(|_| {});
    assert!(report.broken.is_empty(), "{:#?}", report.broken);
}

#[test]
fn a_seed_that_hangs_is_reported_and_does_not_stop_the_others() {
    let report = Campaign { patience: Duration::ZERO, ..small() }.run(|_| {});
    assert_eq!(report.broken_seeds, SEEDS);
    assert!(!report.is_clean);
    let first = report.broken.first().unwrap();
    assert_eq!((first.seed, first.replay.as_str()), (100, "merkql-sim replay 100"));
}

#[test]
fn a_report_has_the_whole_catalogue_whether_or_not_it_was_reached() {
    let report = Campaign { seeds: Some(1), ..small() }.run(|_| {});
    assert_eq!(report.faults.len(), FaultKind::ALL.len());
    assert!(report.marks.keys().copied().eq(merkql::env::MARKS.iter().copied()));
    assert!(!report.untested.is_empty(), "one seed cannot reach everything");
}

#[test]
fn what_a_profile_rules_out_is_not_asked_for() {
    let untested = |profile| {
        let mut campaign = Campaign { seeds: Some(1), ..small() };
        campaign.options.profile = Some(profile);
        campaign.run(|_| {}).untested.join("\n")
    };
    assert!(!untested(Profile::Strict).contains("trashed-range"));
    assert!(!untested(Profile::Ext4).contains("size-before-data"));
}

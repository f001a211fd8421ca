//! Records are taken over to another topic exactly once, whatever dies meanwhile.
//!
//! What the checkers of the campaign find out in many steps is counted here directly:
//! of what a reader finds in the end, each input has one output, and no output is
//! without its input.
#![cfg(feature = "world")]

use merkql_jepsen::history::{Action, Kind, MicroOp};
use merkql_sim::campaign::Campaign;
use merkql_sim::canary;
use merkql_sim::generate::{Options, Workload, scenario};
use merkql_sim::profile::Profile;
use merkql_sim::world::{Manner, Run, execute};
use std::collections::BTreeMap;

fn options(profile: Option<Profile>) -> Options {
    Options { profile, workload: Workload::ExactlyOnce, ..Options::default() }
}

/// A partition's name, and an offset in it.
type Place = (String, u64);

fn text(shown: &impl ToString) -> String {
    shown.to_string().trim_matches('"').to_owned()
}

fn is_of(partition: &str, topic: &str) -> bool {
    partition.split('/').next() == Some(topic)
}

/// The records of a topic with their places, as the last reader that read everything
/// found them.
fn found_last(run: &Run, topic: &str) -> Vec<(Place, String)> {
    let mut readers: BTreeMap<String, Vec<(Place, String)>> = BTreeMap::new();
    let mut last = None;
    for operation in run.history.operations() {
        let by = operation.process.to_string();
        match (&operation.action, operation.kind) {
            (Action::Poll(steps), Kind::Ok) => {
                let polled = steps.iter().filter_map(|step| match step {
                    MicroOp::Poll(polled) => polled.as_ref(),
                    MicroOp::Send { .. } => None,
                });
                for (key, records) in polled.flatten().filter(|(key, _)| is_of(&text(key), topic)) {
                    let found = readers.entry(by.clone()).or_default();
                    found.extend(records.iter().filter_map(|record| {
                        Some(((text(key), record.offset?), text(&record.value)))
                    }));
                }
            }
            (Action::FinalPolls(_), Kind::Ok) => last = Some(by),
            _ => {}
        }
    }
    let last = last.expect("somebody has read everything");
    readers.remove(&last).unwrap_or_default()
}

/// How often each input is reflected in the output.
fn reflections(run: &Run) -> BTreeMap<String, usize> {
    let mut reflected: BTreeMap<String, usize> = BTreeMap::new();
    for (_, output) in found_last(run, "audit") {
        if let Some((_, input)) = output.split_once('<') {
            *reflected.entry(input.to_owned()).or_default() += 1;
        }
    }
    reflected
}

/// What the group that takes records over has committed in the end.
fn committed_last(run: &Run) -> BTreeMap<String, u64> {
    let mut committed = BTreeMap::new();
    for operation in run.history.operations() {
        if let (Action::Committed(read), Kind::Ok) = (&operation.action, operation.kind)
            && text(&read.group) == "ledger"
        {
            let offsets = read.offsets.iter();
            committed.extend(offsets.filter_map(|(key, offset)| Some((text(key), (*offset)?))));
        }
    }
    committed
}

#[test]
fn each_input_is_reflected_once_in_the_output_after_all_crashes() {
    let (mut crashes, mut taken_over) = (0, 0);
    for profile in Profile::HONEST {
        for seed in 0..60 {
            let run = execute(&scenario(seed, &options(Some(profile))), &Manner::default());
            assert!(run.judge().is_valid(), "seed {seed}, {profile}: {:?}", run.judge().names());
            let (reflected, committed) = (reflections(&run), committed_last(&run));
            for (input, count) in &reflected {
                assert_eq!(*count, 1, "seed {seed}, {profile}: {input} is there {count} times");
            }
            for ((partition, offset), input) in found_last(&run, "orders") {
                let is_done = committed.get(&partition).is_some_and(|next| offset < *next);
                let is_reflected = reflected.contains_key(&input);
                assert_eq!(is_done, is_reflected, "seed {seed}, {profile}: {input} at {offset}");
            }
            crashes += run.crashes.len();
            taken_over += reflected.len();
        }
    }
    assert!(crashes > 500, "{crashes} crashes");
    assert!(taken_over > 1_000, "{taken_over} records taken over");
}

#[test]
fn offsets_that_are_committed_apart_from_the_records_are_found() {
    for (name, anomaly) in
        [("offsets-committed-first", "torn-transaction"), ("offsets-committed-last", "duplicate")]
    {
        let planted = canary::find(name).expect("a canary of this name");
        let found = (0..200).any(|seed| {
            let manner = Manner { canary: Some(planted), ..Manner::default() };
            let run = execute(&scenario(seed, &options(Some(Profile::Strict))), &manner);
            run.judge().names().iter().any(|name| name.to_string() == anomaly)
        });
        assert!(found, "{name} is not found");
    }
}

#[test]
fn a_campaign_of_this_workload_recovers_from_everything() {
    let mut campaign = Campaign { seeds: Some(30), ..Campaign::default() };
    campaign.options = options(None);
    let report = campaign.run(|_| {});
    assert_eq!(report.outcomes.get("recovered"), Some(&30), "{:?}", report.outcomes);
}

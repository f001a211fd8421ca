//! Bugs that are planted are caught, each by a checker that is meant to.
#![cfg(feature = "world")]

use merkql_sim::canary::{ALL, Canary, Caught, Place, SEEDS_MAX, find, hunt};
use merkql_sim::fault::Fault;
use merkql_sim::generate::{Options, scenario};
use merkql_sim::scenario::Blow;
use merkql_sim::world::{Manner, Run, execute};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

fn run(seed: u64, canary: Option<Canary>) -> Run {
    let manner = Manner { canary, ..Manner::default() };
    let run = move || execute(&scenario(seed, &Options::default()), &manner);
    thread::spawn(run).join().unwrap()
}

#[test]
fn every_canary_is_caught_by_a_checker_that_is_meant_to() {
    let next = AtomicUsize::new(0);
    let hunted: Mutex<Vec<Caught>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(canary) = ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let caught = hunt(*canary, SEEDS_MAX, 1);
                    hunted.lock().unwrap().push(caught);
                }
            });
        }
    });
    for caught in hunted.into_inner().unwrap() {
        assert!(caught.as_expected(), "{caught:#?}");
        let is_core = caught.canary.place() == Place::Core;
        assert_eq!(caught.asked, is_core, "{}", caught.canary.name());
    }
}

#[test]
fn there_are_canaries_of_every_kind_and_each_has_a_name_of_its_own() {
    let names: BTreeSet<_> = ALL.iter().map(|canary| canary.name()).collect();
    assert_eq!(names.len(), ALL.len());
    let count = |place| ALL.iter().filter(|canary| canary.place() == place).count();
    assert_eq!([Place::Disk, Place::Client, Place::Core].map(count), [13, 11, 15]);
    for canary in ALL {
        assert_eq!(find(canary.name()), Some(*canary));
        assert!((1..=3).contains(&canary.expected_by().len()));
        assert!(canary.meaning().ends_with('.'));
    }
    assert_eq!(find("no-such-canary"), None);
}

#[test]
fn the_log_comes_by_every_place_where_a_canary_of_its_own_is_planted() {
    let asked: BTreeSet<_> = (0..20).flat_map(|seed| run(seed, None).canaries_asked).collect();
    let planted = ALL.iter().filter(|canary| canary.place() == Place::Core);
    assert_eq!(asked, planted.map(|canary| canary.name()).collect());
}

#[test]
fn a_canary_that_has_no_occasion_changes_nothing() {
    // One that is about failed syncs, where none fails.
    let canary = find("failed-sync-retried").unwrap();
    let has_occasion = |seed: &u64| {
        let strikes = scenario(*seed, &Options::default()).strikes;
        strikes.iter().any(|strike| {
            matches!(&strike.what, Blow::Fault { fault: Fault::FailedSync(_), .. })
                || matches!(&strike.what, Blow::Fault { fault: Fault::LyingSync(_), .. })
        })
    };
    let seeds: Vec<u64> = (0..20).filter(|seed| !has_occasion(seed)).collect();
    assert!(seeds.len() > 2, "{seeds:?}");
    for seed in seeds {
        assert_eq!(run(seed, Some(canary)).trace_hash, run(seed, None).trace_hash, "seed {seed}");
    }
}

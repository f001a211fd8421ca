//! How many seeds it takes until a planted bug is caught, and by whom.

use super::Canary;
use crate::campaign::silence::quietly;
use crate::generate::scenario;
use crate::scenario::Scenario;
use crate::world::{Manner, execute};
use merkql_jepsen::Name;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Within how many seeds a canary has to be caught.
pub const SEEDS_MAX: u64 = 500;

/// How a hunt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// The bug that was planted.
    pub canary: Canary,
    /// How many seeds were run, the one in which it was caught among them.
    pub seeds: u64,
    /// The expected checker, if it found something in the first seed that is
    /// anomalous for the bug; else the first that did.
    pub caught_by: Option<Name>,
    /// All that was found in that seed.
    pub anomalies: Vec<Name>,
    /// Whether any run came by the place where it is planted. Outside of the
    /// log's own code nothing tells.
    pub asked: bool,
}

impl Caught {
    /// Whether it was caught, and by a checker that is meant to.
    pub fn as_expected(&self) -> bool {
        self.caught_by.is_some_and(|name| self.canary.expected_by().contains(&name))
    }
}

/// What a seed showed.
#[derive(Debug, Default)]
struct Shown {
    anomalies: Vec<Name>,
    asked: bool,
}

/// Runs seeds from 0 on, at most `seeds_max`, until the bug shows. Seeds that are
/// anomalous without it, too, show nothing.
pub fn hunt(canary: Canary, seeds_max: u64, jobs: usize) -> Caught {
    let next = AtomicU64::new(0);
    let first = AtomicU64::new(seeds_max);
    let shown: Mutex<BTreeMap<u64, Shown>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // Seeds below the first that showed it are run to their end.
                    if seed >= first.load(Ordering::Relaxed) {
                        break;
                    }
                    let found = try_seed(canary, seed);
                    if !found.anomalies.is_empty() {
                        first.fetch_min(seed, Ordering::Relaxed);
                    }
                    shown.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, found);
                }
            });
        }
    });
    let shown = shown.into_inner().unwrap_or_else(PoisonError::into_inner);
    let asked = shown.values().any(|shown| shown.asked);
    let caught = shown.into_iter().find(|(_, shown)| !shown.anomalies.is_empty());
    let (seeds, anomalies) =
        caught.map_or((seeds_max, Vec::new()), |(seed, shown)| (seed + 1, shown.anomalies));
    let expected = canary.expected_by().iter().find(|name| anomalies.contains(name));
    let caught_by = expected.or(anomalies.first()).copied();
    Caught { canary, seeds, caught_by, anomalies, asked }
}

fn try_seed(canary: Canary, seed: u64) -> Shown {
    let scenario = scenario(seed, &canary.options());
    let (anomalies, asked) = anomalies(&scenario, Some(canary));
    if anomalies.is_empty() || self::anomalies(&scenario, None).0.is_empty() {
        Shown { anomalies, asked }
    } else {
        Shown { anomalies: Vec::new(), asked }
    }
}

/// What a run shows, and whether it came by the canary. The thread that it runs
/// on belongs to nobody else, because madsim keeps its state there.
fn anomalies(scenario: &Scenario, canary: Option<Canary>) -> (Vec<Name>, bool) {
    let manner = Manner { canary, ..Manner::default() };
    let judged = thread::scope(|scope| {
        let run = || {
            let run = execute(scenario, &manner);
            let asked = canary.is_some_and(|canary| run.canaries_asked.contains(canary.name()));
            (run.judge().names(), asked)
        };
        // Planted bugs make the log panic now and then, which is no news.
        scope.spawn(move || quietly(run)).join()
    });
    match judged {
        Ok(Ok(judged)) => judged,
        Ok(Err(panic)) => resume_unwind(Box::new(panic)),
        Err(panic) => resume_unwind(panic),
    }
}

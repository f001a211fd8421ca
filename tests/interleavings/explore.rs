//! Runs a scenario under many schedules, and counts what came up in them.

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many schedules are explored where nobody says otherwise.
const SCHEDULES: usize = if cfg!(debug_assertions) { 300 } else { 10_000 };
/// How many changes of the running thread PCT places in a schedule.
const PCT_DEPTH: usize = 4;
/// The log's own frames and the checker's need more than the 32 KiB of `shuttle`.
const STACK_BYTES: usize = 1 << 19;
const SEED: u64 = 0x6D65_726B_716C;

/// What came up, by name. Outside of the schedules, so nobody is scheduled at it.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// Counts once more.
    pub(crate) fn count(&self, what: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what).or_default() += 1;
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs `scenario` under as many schedules as were asked for. What it is about,
/// `expected`, must have come up in some of them, or it has tested nothing.
pub(crate) fn explore(expected: &[&'static str], scenario: fn(&Arc<Tally>)) {
    let tally = Arc::new(Tally::default());
    if let Ok(schedule) = std::env::var("MERKQL_REPLAY") {
        run(ReplayScheduler::new_from_encoded(&schedule), scenario, &tally);
        return;
    }
    let schedules = std::env::var("MERKQL_SCHEDULES").ok().and_then(|text| text.parse().ok());
    let schedules: usize = schedules.unwrap_or(SCHEDULES);
    run(RandomScheduler::new_from_seed(SEED, schedules / 2), scenario, &tally);
    let rest = schedules - schedules / 2;
    run(PctScheduler::new_from_seed(!SEED, PCT_DEPTH, rest), scenario, &tally);
    let counts = tally.counts();
    println!("{schedules} schedules: {counts:?}");
    for what in expected {
        assert!(counts.contains_key(what), "never {what} in {schedules} schedules: {counts:?}");
    }
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn(&Arc<Tally>), tally: &Arc<Tally>) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    // It would say of each relaxed atomic that it is taken for a sequentially consistent one.
    config.silence_warnings = true;
    let tally = Arc::clone(tally);
    Runner::new(scheduler, config).run(move || scenario(&tally));
}

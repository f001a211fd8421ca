//! Campaigns: many seeds, each a scenario that is drawn, run and judged, and
//! what came of them all.
//!
//! The results are taken in the order of the seeds, so a report is the same
//! whatever the number of jobs, and keeps no more of a seed than its counts
//! unless it fails.
//!
//! ```
//! use merkql_sim::campaign::Campaign;
//!
//! let campaign = Campaign { seeds: Some(2), ..Campaign::default() };
//! let report = campaign.run(|_| {});
//! assert_eq!(report.seeds, 2);
//! assert!(report.client_ops > 100);
//! ```

mod demand;
mod differ;
mod finding;
pub(crate) mod pool;
mod report;
pub(crate) mod silence;

pub use demand::DEMANDING_SEEDS;
pub use finding::Times;
pub use report::{Anomaly, Broken, Report};

use crate::canary::Canary;
use crate::generate::Options;
use finding::Task;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// Which part of the seeds is run: the `number`-th of `of`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which one.
    pub number: u64,
    /// Of how many.
    pub of: u64,
}

/// Seeds to be run.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The first seed.
    pub start: u64,
    /// How many there are for all shards; without a number, as many as the time allows.
    pub seeds: Option<u64>,
    /// Which of them are run here.
    pub shard: Shard,
    /// How many run at a time.
    pub jobs: usize,
    /// When no more of them are begun.
    pub time: Option<Duration>,
    /// From what they draw.
    pub options: Options,
    /// A planted bug.
    pub canary: Option<Canary>,
    /// Each is run twice, and must be the same.
    pub checks_determinism: bool,
    /// When a seed is taken to hang.
    pub patience: Duration,
    /// The command that runs one seed again, up to the seed's number and after it.
    pub replay: (String, String),
}

/// How many cores there are for jobs.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl Default for Campaign {
    fn default() -> Self {
        Self {
            start: 0,
            seeds: Some(1000),
            shard: Shard { number: 1, of: 1 },
            jobs: cores(),
            time: None,
            options: Options::default(),
            canary: None,
            checks_determinism: false,
            patience: Duration::from_secs(120),
            replay: ("merkql-sim replay ".to_owned(), String::new()),
        }
    }
}

impl Campaign {
    /// How many seeds are run here, if that is known beforehand.
    pub fn count(&self) -> Option<u64> {
        let before = self.shard.number.saturating_sub(1);
        Some(self.seeds?.saturating_sub(before).div_ceil(self.shard.of.max(1)))
    }

    /// Runs the seeds. `watch` sees the report grow, a seed at a time.
    pub fn run(&self, mut watch: impl FnMut(&Report)) -> Report {
        let began = Instant::now();
        let is_over = || self.time.is_some_and(|time| began.elapsed() >= time);
        let task = Task {
            options: self.options.clone(),
            canary: self.canary,
            is_repeated: self.checks_determinism,
            patience: self.patience,
        };
        let work = |index: u64| finding::of_seed(self.seed(index), &task);
        let mut report = Report::default();
        pool::in_order(self.jobs, self.count().unwrap_or(u64::MAX), &is_over, &work, |found| {
            let replay = self.replay_command(found.seed);
            report.add(found, &replay);
            watch(&report);
        });
        #[allow(clippy::cast_precision_loss, reason = "a rate is read by people")]
        let seeds = report.seeds as f64;
        report.seeds_per_second = seeds / began.elapsed().as_secs_f64().max(f64::EPSILON);
        let untested = demand::untested(&report, &self.options);
        report.close(untested, self.canary.is_some());
        report
    }

    fn seed(&self, index: u64) -> u64 {
        let within = (self.shard.number.max(1) - 1).wrapping_add(index.wrapping_mul(self.shard.of));
        self.start.wrapping_add(within)
    }

    /// The command that runs one of the seeds again.
    pub fn replay_command(&self, seed: u64) -> String {
        format!("{}{seed}{}", self.replay.0, self.replay.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn shards_share_the_seeds_and_leave_none_out() {
        for (seeds, of) in [(10, 1), (10, 3), (2, 4), (0, 2)] {
            let mut all = BTreeSet::new();
            for number in 1..=of {
                let shard = Shard { number, of };
                let campaign =
                    Campaign { start: 7, seeds: Some(seeds), shard, ..Campaign::default() };
                for index in 0..campaign.count().unwrap() {
                    let seed = campaign.seed(index);
                    assert_eq!((seed - 7) % of, number - 1);
                    assert!(all.insert(seed));
                }
            }
            assert_eq!(all, (7..7 + seeds).collect());
        }
    }
}

//! What a check has done.

use super::execute::Run;
use super::plan::Loss;
use crate::disk::Digest;
use std::fmt;

/// What a check that found nothing has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Seeds that were explored.
    pub seeds: u64,
    /// Runs of the application from an empty disk, each of them judged.
    pub runs: u64,
    /// Crashes, each counted once: a run repeats those of the run before it.
    pub crashes: u64,
    /// Those of them in which the process alone was killed; in the others the
    /// power went.
    pub kills: u64,
    /// Those that came while the log was recovering from the one before.
    pub in_recovery: u64,
    /// Follows from everything that was done in all runs: the same check gives
    /// the same number.
    pub digest: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            seeds: 0,
            runs: 0,
            crashes: 0,
            kills: 0,
            in_recovery: 0,
            digest: Digest::new().value(),
        }
    }
}

impl Summary {
    /// Adds a run, all of whose crashes from the `first` on are new.
    pub(super) fn add(&mut self, run: &Run, first: usize) {
        self.runs += 1;
        for (crash, life) in run.plan.crashes.iter().zip(&run.lives).skip(first) {
            self.crashes += 1;
            self.kills += u64::from(crash.loss == Loss::Kill);
            self.in_recovery += u64::from(life.in_recovery);
        }
        let mut digest = Digest::new();
        digest.number(self.digest);
        digest.number(run.digest);
        self.digest = digest.value();
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} seeds, {} runs, {} crashes ({} kills, {} power cuts; {} in recovery): nothing found",
            self.seeds,
            self.runs,
            self.crashes,
            self.kills,
            self.crashes - self.kills,
            self.in_recovery
        )
    }
}

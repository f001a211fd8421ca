//! What came of cases.

use super::mutate::Change;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// So many failures are kept; all are counted.
const FAILURES_MAX: usize = 20;

/// What came of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything is served, and the changed bytes are still there.
    Unharmed,
    /// Everything is served, and what was changed is written anew.
    Healed,
    /// Reads, roots or proofs tell what is damaged.
    Told,
    /// `verify` alone tells it.
    Verified,
    /// Something is gone, and nothing has told it.
    Silent,
    /// Opening is refused, and has changed nothing.
    Refused,
    /// What is gone left no trace that a log could know of.
    Undecidable,
    /// Under a forged checksum stands something else.
    Forged,
    /// The case itself could not be carried out, or panicked.
    Broken,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unharmed,
        Self::Healed,
        Self::Told,
        Self::Verified,
        Self::Silent,
        Self::Refused,
        Self::Undecidable,
        Self::Forged,
        Self::Broken,
    ];

    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unharmed => "unharmed",
            Self::Healed => "healed",
            Self::Told => "told",
            Self::Verified => "verified",
            Self::Silent => "silent",
            Self::Refused => "refused",
            Self::Undecidable => "undecidable",
            Self::Forged => "forged",
            Self::Broken => "broken",
        }
    }
}

/// A case, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// From what it was drawn.
    pub seed: u64,
    /// The directory that was changed.
    pub template: &'static str,
    /// What was changed, in words.
    pub changes: Vec<String>,
    /// The kinds of files that were changed, and how.
    pub kinds: Vec<(&'static str, &'static str)>,
    /// What came of it.
    pub outcome: Outcome,
    /// The error of an opening that was refused, or of an append.
    pub error: Option<String>,
    /// What is gone, and no read has told it.
    pub silent: Vec<String>,
    /// What must never be.
    pub failures: Vec<String>,
    /// How many operations it took on the disk.
    pub operations: u64,
    /// How much was to be read at once.
    pub largest_read: u64,
}

impl Case {
    pub(super) fn new(seed: u64, template: &'static str, changes: &[Change]) -> Self {
        Self {
            seed,
            template,
            changes: changes.iter().map(|change| change.story.clone()).collect(),
            kinds: changes.iter().map(|change| (change.file.name(), change.kind.name())).collect(),
            outcome: Outcome::Broken,
            error: None,
            silent: Vec::new(),
            failures: Vec::new(),
            operations: 0,
            largest_read: 0,
        }
    }

    pub(super) fn broken(seed: u64, why: &str) -> Self {
        Self { failures: vec![why.to_owned()], ..Self::new(seed, "none", &[]) }
    }

    /// Whether something came to light that must never be.
    pub fn is_failed(&self) -> bool {
        !self.failures.is_empty() || self.outcome == Outcome::Silent
    }
}

/// What came of many cases.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// How many there were.
    pub cases: u64,
    /// How many failed.
    pub failed: u64,
    /// How often each kind of change came to each outcome; of two changes, the first
    /// counts.
    pub outcomes: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// The most operations that a case took on its disk.
    pub most_operations: u64,
    /// The most that was to be read at once.
    pub largest_read: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// The first that failed.
    pub failures: Vec<Case>,
}

impl Report {
    pub(super) fn take(&mut self, case: Case) {
        self.cases += 1;
        let kinds = match case.kinds.as_slice() {
            [] => "none".to_owned(),
            [(file, change)] => format!("{file}: {change}"),
            _ => "two changes".to_owned(),
        };
        *self.outcomes.entry(kinds).or_default().entry(case.outcome.name()).or_default() += 1;
        self.most_operations = self.most_operations.max(case.operations);
        self.largest_read = self.largest_read.max(case.largest_read);
        if case.is_failed() {
            self.failed += 1;
            if self.failures.len() < FAILURES_MAX {
                self.failures.push(case);
            }
        }
    }

    pub(super) fn end(mut self, took: Duration) -> Self {
        self.seconds = took.as_secs_f64();
        self
    }

    /// How often an outcome came about.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.values().filter_map(|counts| counts.get(outcome.name())).sum()
    }

    /// How many cases there were in a second.
    pub fn cases_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let cases = self.cases as f64;
        if self.seconds > 0.0 { cases / self.seconds } else { 0.0 }
    }
}

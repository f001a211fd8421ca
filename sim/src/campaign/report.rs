//! What came of a campaign.

use super::demand::DEMANDING_SEEDS;
use super::finding::{Finding, Times};
use crate::disk::Digest;
use crate::fault::{Counts, FaultKind};
use merkql::env::MARKS;
use serde::Serialize;
use std::collections::BTreeMap;

/// How many anomalies of one name, and how many broken seeds, a report keeps; all
/// are counted.
const KEPT_MAX: usize = 20;

/// What came of a campaign. Apart from the rate it depends on the seeds alone,
/// not on how many of them ran at a time.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How many seeds were run.
    pub seeds: u64,
    /// Calls that clients made.
    pub client_ops: u64,
    /// Operations on files.
    pub io_ops: u64,
    /// Deaths of the process.
    pub crashes: u64,
    /// How often the log was usable again.
    pub recoveries: u64,
    /// How seeds ended: how many of them each way.
    pub outcomes: BTreeMap<String, u64>,
    /// The first anomalies of each name that were found.
    pub anomalies: Vec<Anomaly>,
    /// How many of each there were in all.
    pub anomaly_counts: BTreeMap<&'static str, u64>,
    /// What looked like an anomaly and was excused.
    pub excused: BTreeMap<&'static str, u64>,
    /// The first seeds that say nothing, and why.
    pub broken: Vec<Broken>,
    /// How many of them there were in all.
    pub broken_seeds: u64,
    /// How many seeds had an anomaly or were broken.
    pub failed_seeds: u64,
    /// What became of each kind of fault.
    pub faults: BTreeMap<&'static str, Counts>,
    /// How often each mark was reached.
    pub marks: BTreeMap<&'static str, u64>,
    /// What should have been reached and was not.
    pub untested: Vec<String>,
    /// Whether nothing is wrong.
    pub is_clean: bool,
    /// Over the hashes of all seeds, in their order.
    pub trace_hash: String,
    /// By the clock on the wall, with all jobs together.
    pub seeds_per_second: f64,
    /// Where the time of the seeds went.
    #[serde(skip)]
    pub times: Times,
    #[serde(skip)]
    digest: Digest,
    #[serde(skip)]
    met_canary: bool,
}

/// An anomaly of a seed.
#[derive(Debug, Clone, Serialize)]
pub struct Anomaly {
    /// The seed.
    pub seed: u64,
    /// The anomaly's name.
    pub name: &'static str,
    /// What happened.
    pub sentence: String,
    /// The command that shows it again.
    pub replay: String,
}

/// A seed that says nothing about the log, because something else went wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// What went wrong.
    pub why: String,
    /// The command that shows it again.
    pub replay: String,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            seeds: 0,
            client_ops: 0,
            io_ops: 0,
            crashes: 0,
            recoveries: 0,
            outcomes: BTreeMap::new(),
            anomalies: Vec::new(),
            anomaly_counts: BTreeMap::new(),
            excused: BTreeMap::new(),
            broken: Vec::new(),
            broken_seeds: 0,
            failed_seeds: 0,
            faults: FaultKind::ALL.iter().map(|kind| (kind.name(), Counts::default())).collect(),
            marks: MARKS.iter().map(|mark| (*mark, 0)).collect(),
            untested: Vec::new(),
            is_clean: false,
            trace_hash: String::new(),
            seeds_per_second: 0.0,
            times: Times::default(),
            digest: Digest::new(),
            met_canary: false,
        }
    }
}

impl Report {
    /// Adds the next seed's.
    pub(super) fn add(&mut self, finding: Finding, replay: &str) {
        self.seeds += 1;
        self.client_ops += finding.client_ops;
        self.io_ops += finding.io_ops;
        self.crashes += finding.crashes;
        self.recoveries += finding.recoveries;
        self.digest.number(finding.trace_hash);
        self.met_canary |= finding.met_canary;
        self.times.generate += finding.times.generate;
        self.times.execute += finding.times.execute;
        self.times.judge += finding.times.judge;
        for (kind, counts) in finding.faults {
            let sum = self.faults.entry(kind.name()).or_default();
            sum.armed += counts.armed;
            sum.fired += counts.fired;
            sum.mattered += counts.mattered;
        }
        for (mark, count) in finding.marks {
            *self.marks.entry(mark).or_default() += count;
        }
        for (name, count) in finding.excused {
            *self.excused.entry(name).or_default() += count;
        }
        if let Some(outcome) = finding.outcome {
            *self.outcomes.entry(outcome.to_string()).or_default() += 1;
        }
        let has_failed = finding.broken.is_some() || !finding.anomalies.is_empty();
        self.failed_seeds += u64::from(has_failed);
        let (seed, replay) = (finding.seed, replay.to_owned());
        for (name, count, sentences) in finding.anomalies {
            let name = name.as_str();
            *self.anomaly_counts.entry(name).or_default() += count;
            let kept = self.anomalies.iter().filter(|anomaly| anomaly.name == name).count();
            for sentence in sentences.into_iter().take(KEPT_MAX.saturating_sub(kept)) {
                let replay = replay.clone();
                self.anomalies.push(Anomaly { seed, name, sentence, replay });
            }
        }
        if let Some(why) = finding.broken {
            self.broken_seeds += 1;
            self.broken.push(Broken { seed, why, replay });
            self.broken.truncate(KEPT_MAX);
        }
    }

    /// Sums up, when all seeds are there.
    pub(super) fn close(&mut self, untested: Vec<String>, is_canary_planted: bool) {
        self.trace_hash = format!("{:016x}", self.digest.value());
        self.untested = untested;
        if is_canary_planted && !self.met_canary {
            self.untested.push("the planted bug was never come by".to_owned());
        }
        let is_untested = self.is_demanding() && !self.untested.is_empty();
        let never_met = is_canary_planted && !self.met_canary;
        self.is_clean = self.seeds > 0 && self.failed_seeds == 0 && !is_untested && !never_met;
    }

    /// Whether there are so many seeds that all must have been reached.
    pub fn is_demanding(&self) -> bool {
        self.seeds >= DEMANDING_SEEDS
    }

    /// What became of the faults of one kind.
    pub fn counts_of(&self, kind: FaultKind) -> Counts {
        self.faults.get(kind.name()).copied().unwrap_or_default()
    }

    /// How often a mark was reached.
    pub fn marks_of(&self, mark: &str) -> u64 {
        self.marks.get(mark).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use merkql_jepsen::Name;

    fn failing(seed: u64) -> Finding {
        let sentences = || vec!["It was there.".to_owned(), "It is gone.".to_owned()];
        let mut anomalies = vec![(Name::LostWrite, 9, sentences())];
        // One that comes late.
        anomalies.extend((seed == 999).then(|| (Name::Stuck, 1, sentences())));
        Finding { seed, anomalies, broken: Some("torn".to_owned()), ..Finding::default() }
    }

    #[test]
    fn a_report_keeps_the_first_failures_and_counts_all() {
        let mut report = Report::default();
        for seed in 0..1000 {
            report.add(failing(seed), "replay");
        }
        report.close(Vec::new(), false);
        let kept = |name| report.anomalies.iter().filter(|it| it.name == name).count();
        assert_eq!((kept("lost-write"), kept("stuck")), (KEPT_MAX, 2));
        assert_eq!(report.broken.len(), KEPT_MAX);
        assert_eq!(report.anomaly_counts.get("lost-write"), Some(&9000));
        assert_eq!((report.broken_seeds, report.failed_seeds), (1000, 1000));
        assert!(!report.is_clean);
    }

    #[test]
    fn what_was_not_reached_fails_a_long_campaign_and_no_short_one() {
        for (seeds, is_clean) in [(0, false), (1, true), (499, true), (500, false)] {
            let mut report = Report::default();
            for seed in 0..seeds {
                report.add(Finding { seed, ..Finding::default() }, "");
            }
            report.close(vec!["mark x was never reached".to_owned()], false);
            assert_eq!(report.is_clean, is_clean, "{seeds} seeds");
        }
    }
}

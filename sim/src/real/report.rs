//! What came of it all.

use super::book::Counts;
use merkql_jepsen::{Verdict, Witness};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A round whose directory and history were kept.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Kept {
    pub(crate) anomalies: Vec<&'static str>,
    pub(crate) log: PathBuf,
    pub(crate) history: PathBuf,
    /// The command that judges the history again.
    pub(crate) check: String,
}

/// The counts and the anomalies of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) rounds: u64,
    pub(crate) kills: u64,
    /// Those that came when the process had begun to open the log, and had not
    /// said yet that it is open.
    pub(crate) kills_in_recovery: u64,
    /// Those that came when sends had been acknowledged, and others were open.
    pub(crate) kills_in_flight: u64,
    pub(crate) pauses: u64,
    pub(crate) disk_full_episodes: u64,
    /// Sends that were refused because the disk was full.
    pub(crate) refused_for_room: u64,
    /// Why there was no small disk, where there was to be one.
    pub(crate) skipped: BTreeSet<String>,
    /// Lives that ended because the log took no writes any more.
    pub(crate) latched: u64,
    /// Records whose sends were acknowledged.
    pub(crate) acknowledged: u64,
    /// Records that polls returned.
    pub(crate) read: u64,
    /// Lines of all histories.
    pub(crate) operations: u64,
    pub(crate) anomalies: BTreeMap<&'static str, Vec<Witness>>,
    pub(crate) kept: Vec<Kept>,
    /// What went wrong with the harness itself.
    pub(crate) error: Option<String>,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            rounds: 0,
            kills: 0,
            kills_in_recovery: 0,
            kills_in_flight: 0,
            pauses: 0,
            disk_full_episodes: 0,
            refused_for_room: 0,
            skipped: BTreeSet::new(),
            latched: 0,
            acknowledged: 0,
            read: 0,
            operations: 0,
            anomalies: BTreeMap::new(),
            kept: Vec::new(),
            error: None,
        }
    }

    /// Counts what a life has added.
    pub(crate) fn count(&mut self, before: Counts, after: Counts) {
        self.acknowledged += after.acknowledged - before.acknowledged;
        self.read += after.read - before.read;
        self.refused_for_room += after.refused_for_room - before.refused_for_room;
    }

    /// Adds the verdict on a round.
    pub(crate) fn add(&mut self, verdict: Verdict) {
        for (name, witnesses) in verdict.anomalies {
            self.anomalies.entry(name.as_str()).or_default().extend(witnesses);
        }
    }

    /// Why it proves nothing, if it proves nothing.
    pub(crate) fn tested_nothing(&self) -> Option<&'static str> {
        if self.kills == 0 {
            Some("no process was killed")
        } else if self.kills_in_flight == 0 {
            Some("no kill found sends acknowledged and others under way")
        } else {
            None
        }
    }

    /// What happened, as a name and a number or a sentence each.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String)> {
        let kills = format!(
            "{}, of which {} during recovery, {} with sends in flight",
            self.kills, self.kills_in_recovery, self.kills_in_flight
        );
        let full = format!(
            "{}, in which {} sends were refused",
            self.disk_full_episodes, self.refused_for_room
        );
        let skipped = self
            .skipped
            .iter()
            .map(|reason| ("skipped", format!("a full disk, where none can be mounted: {reason}")));
        let latched = (self.latched > 0).then(|| {
            ("latched", format!("{} times the log took no writes any more", self.latched))
        });
        let anomalies: usize = self.anomalies.values().map(Vec::len).sum();
        let mut rows = vec![
            ("kills", kills),
            ("pauses", self.pauses.to_string()),
            ("disk full", full),
            ("acknowledged", format!("{} records", self.acknowledged)),
            ("read", format!("{} records", self.read)),
            ("judged", format!("{} operations in {} rounds", self.operations, self.rounds)),
            ("anomalies", anomalies.to_string()),
        ];
        rows.extend(skipped.chain(latched));
        rows
    }
}

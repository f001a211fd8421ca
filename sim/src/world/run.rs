//! What came of a run.

use crate::disk::{IoEvent, Survivors, Unsynced};
use crate::fault::{Counts, FaultId, FaultKind};
use crate::scenario::{During, Outcome};
use merkql_jepsen::history::History;
use merkql_jepsen::{Verdict, check};
use std::collections::{BTreeMap, BTreeSet};

/// A crash as it happened.
#[derive(Debug, Clone)]
pub struct Crash {
    /// The strike or the restart that it comes from.
    pub id: u32,
    /// What was at stake.
    pub unsynced: Unsynced,
    /// What was kept; `None` if the process was killed.
    pub survivors: Option<Survivors>,
    /// A number that follows from what the disk is after it, what clients have
    /// seen before it, and which step that was: all that can make what comes then
    /// differ, but for random numbers and strikes. Only where operations on files
    /// are kept.
    pub state: Option<u64>,
}

/// A run, before it is judged.
#[derive(Debug, Default)]
pub struct Run {
    /// What clients and the nemesis did and saw.
    pub history: History,
    /// A number that follows from every operation of the clients, every operation
    /// on the files, and what came of them.
    pub trace_hash: u64,
    /// Calls that clients made.
    pub client_ops: u64,
    /// Operations on files.
    pub io_ops: u64,
    /// The crashes, in order.
    pub crashes: Vec<Crash>,
    /// How often the log was opened after a crash or a failure, and was usable then.
    pub recoveries: u64,
    /// What became of the faults.
    pub faults: BTreeMap<FaultKind, Counts>,
    /// How often each mark was reached.
    pub marks: BTreeMap<&'static str, u64>,
    /// The planted bugs that the log came by.
    pub canaries_asked: BTreeSet<&'static str>,
    /// The kinds of error that calls were answered with.
    pub errors: BTreeSet<&'static str>,
    /// The log refused to open.
    pub refused: bool,
    /// Damage was named.
    pub detected: bool,
    /// Harm that was to be done and found no file to be done to.
    pub idle_harm: u64,
    /// The strikes that have struck.
    pub struck: BTreeSet<u32>,
    /// What the disk calls the faults that strikes armed ([`IoEvent::fault`]).
    pub armed: BTreeMap<u32, FaultId>,
    /// The operations on files, if they were to be kept.
    pub events: Vec<IoEvent>,
    /// From which of them on each stretch goes.
    pub stretches: Vec<(During, u64)>,
    /// From which position of the history on each stretch goes.
    pub stretch_lines: Vec<usize>,
}

impl Run {
    /// Judges the history.
    pub fn judge(&self) -> Verdict {
        check(&self.history)
    }

    /// How it ended, given the verdict.
    pub fn outcome(&self, verdict: &Verdict) -> Outcome {
        if !verdict.is_valid() {
            Outcome::Anomaly
        } else if self.refused {
            Outcome::Refused
        } else if self.detected {
            Outcome::Detected
        } else if verdict.excused.contains_key(merkql_jepsen::UNDECIDABLE_TAIL) {
            Outcome::Undecidable
        } else {
            Outcome::Recovered
        }
    }
}

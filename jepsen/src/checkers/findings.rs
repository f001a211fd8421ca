//! Where checkers put what they find.

use std::collections::BTreeSet;

use crate::analysis::{Analysis, Reason};
use crate::anomaly::Name;
use crate::history::{Action, Datum, Key, Kind, Operation};
use crate::verdict::{UNDECIDABLE_TAIL, Verdict, Witness};

/// One anomaly on its way into the verdict.
#[derive(Debug)]
pub(crate) struct Finding {
    sentence: String,
    key: Option<Key>,
    offsets: Vec<u64>,
    values: Vec<Datum>,
    operations: Vec<usize>,
}

impl Finding {
    /// An anomaly that these operations prove, at these positions.
    pub(crate) fn new(sentence: String, operations: impl IntoIterator<Item = usize>) -> Self {
        Self {
            sentence,
            key: None,
            offsets: Vec::new(),
            values: Vec::new(),
            operations: operations.into_iter().collect(),
        }
    }

    pub(crate) fn key(mut self, key: &Key) -> Self {
        self.key = Some(key.clone());
        self
    }

    pub(crate) fn offsets(mut self, offsets: impl IntoIterator<Item = u64>) -> Self {
        self.offsets.extend(offsets);
        self
    }

    pub(crate) fn values<'d>(mut self, values: impl IntoIterator<Item = &'d Datum>) -> Self {
        self.values.extend(values.into_iter().cloned());
        self
    }
}

/// Everything found so far.
#[derive(Debug)]
pub(crate) struct Findings<'a, 'h> {
    analysis: &'a Analysis<'h>,
    wanted: &'a BTreeSet<Name>,
    verdict: Verdict,
}

impl<'a, 'h> Findings<'a, 'h> {
    pub(crate) fn new(analysis: &'a Analysis<'h>, wanted: &'a BTreeSet<Name>) -> Self {
        let operations = analysis.history.operations();
        let verdict = Verdict {
            operations: operations.len(),
            judged: operations.iter().filter(|operation| is_judged(operation)).count(),
            ..Verdict::default()
        };
        Self { analysis, wanted, verdict }
    }

    /// Takes an anomaly down.
    pub(crate) fn report(&mut self, name: Name, finding: Finding) {
        if !self.wanted.contains(&name) {
            return;
        }
        let mut operations = finding.operations;
        operations.sort_unstable();
        operations.dedup();
        let indices =
            operations.iter().map(|position| self.analysis.operation(*position).index).collect();
        self.verdict.anomalies.entry(name).or_default().push(Witness {
            name,
            sentence: finding.sentence,
            key: finding.key,
            offsets: finding.offsets,
            values: finding.values,
            operations,
            indices,
        });
    }

    /// Counts something that looks like an anomaly and may be.
    pub(crate) fn excuse(&mut self, name: Name, reason: Reason) {
        if self.wanted.contains(&name) {
            let counted_as = match reason {
                Reason::Told => name.as_str(),
                Reason::UndecidableTail => UNDECIDABLE_TAIL,
            };
            *self.verdict.excused.entry(counted_as).or_default() += 1;
        }
    }

    pub(crate) fn into_verdict(self) -> Verdict {
        self.verdict
    }
}

/// Whether a checker can find something wrong with the operation itself, alone or beside others. All others only say what to make
/// of these.
fn is_judged(operation: &Operation) -> bool {
    let ended = operation.kind != Kind::Invoke;
    match &operation.action {
        Action::Send(_) | Action::Poll(_) | Action::Txn(_) => {
            ended && operation.process.is_client()
        }
        Action::Committed(_)
        | Action::Root(_)
        | Action::Proof(_)
        | Action::Consistency(_)
        | Action::FinalPolls(_)
        | Action::Detected(_)
        | Action::Refused(_)
        | Action::FaultsEnd(_)
        | Action::Panic(_) => ended,
        Action::Assign(_)
        | Action::Subscribe(_)
        | Action::Crash(_)
        | Action::DebugTopicPartitions(_)
        | Action::Open(_)
        | Action::Close(_)
        | Action::Commit(_)
        | Action::Seek(_)
        | Action::Retain(_)
        | Action::Compact(_)
        | Action::Removed(_)
        | Action::Delete(_)
        | Action::Damage(_)
        | Action::Healed(_)
        | Action::UndecidableTail(_)
        | Action::Rebalance(_)
        | Action::Other { .. } => false,
    }
}

#![doc = include_str!("../../anomalies/stuck.md")]

use super::{Finding, Findings};
use crate::analysis::Analysis;
use crate::anomaly::Name;
use crate::history::{Action, Kind, Operation};

/// From where on, and within how much time, things must get done.
#[derive(Clone, Copy)]
struct Quiet {
    at: usize,
    time_ns: i64,
    bound_ns: i64,
    /// How far the history goes.
    last_ns: i64,
}

impl Quiet {
    /// Whether what began at a time must have ended within the history.
    fn is_due(self, began_ns: i64) -> bool {
        began_ns.saturating_add(self.bound_ns) < self.last_ns
    }
}

/// Judges what happens after the last `faults-end`.
pub(super) fn check(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>) {
    let Some(quiet) = quiet(analysis) else { return };
    calls(analysis, findings, quiet);
    progress(analysis, findings, quiet);
    final_polls(analysis, findings, quiet);
}

fn quiet(analysis: &Analysis<'_>) -> Option<Quiet> {
    let last_ns = analysis.operations().filter_map(|(_, operation)| operation.time_ns).max()?;
    let ends = analysis.operations().filter_map(|(at, operation)| {
        match (&operation.action, operation.kind) {
            (Action::FaultsEnd(end), Kind::Ok | Kind::Info) => Some(Quiet {
                at,
                time_ns: operation.time_ns?,
                bound_ns: i64::try_from(end.bound_ns).unwrap_or(i64::MAX),
                last_ns,
            }),
            _ => None,
        }
    });
    ends.last()
}

/// Every call that begins after the faults ended is answered within the bound.
fn calls(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>, quiet: Quiet) {
    for (position, operation) in analysis.operations().skip(quiet.at) {
        let is_call = operation.kind == Kind::Invoke && operation.process.is_client();
        let Some(began_ns) = operation.time_ns.filter(|_| is_call) else {
            continue;
        };
        let completion = analysis.timeline.completion(position);
        let ended_ns = completion.and_then(|completion| analysis.operation(completion).time_ns);
        let late = ended_ns.map_or(completion.is_none() && quiet.is_due(began_ns), |ended_ns| {
            ended_ns.saturating_sub(began_ns) > quiet.bound_ns
        });
        if late {
            let sentence = format!(
                "{} called {} ({}) after the faults ended, and was not answered within {} ns",
                operation.process,
                operation.action.function(),
                analysis.name(position),
                quiet.bound_ns,
            );
            findings.report(
                Name::Stuck,
                Finding::new(sentence, [quiet.at, position].into_iter().chain(completion)),
            );
        }
    }
}

/// Somebody's send, poll or transaction ends well within the bound, if anybody tried.
fn progress(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>, quiet: Quiet) {
    let within = |operation: &Operation| {
        operation
            .time_ns
            .is_some_and(|time_ns| time_ns <= quiet.time_ns.saturating_add(quiet.bound_ns))
    };
    let mut tries = analysis
        .operations()
        .skip(quiet.at)
        .filter(|(_, operation)| is_work(operation) && within(operation));
    let Some((tried_at, _)) = tries.find(|(_, operation)| operation.kind == Kind::Invoke) else {
        return;
    };
    let done = analysis.operations().skip(quiet.at).any(|(_, operation)| {
        is_work(operation) && operation.kind == Kind::Ok && within(operation)
    });
    let answered = analysis.timeline.completion(tried_at).is_some();
    // A call that was never answered is reported as such.
    if !done && answered && quiet.is_due(quiet.time_ns) {
        let sentence = format!(
            "no send, poll or transaction ended well within {} ns after the faults ended ({}), though clients tried ({})",
            quiet.bound_ns,
            analysis.name(quiet.at),
            analysis.name(tried_at),
        );
        findings.report(Name::Stuck, Finding::new(sentence, [quiet.at, tried_at]));
    }
}

fn is_work(operation: &Operation) -> bool {
    operation.process.is_client()
        && matches!(operation.action, Action::Send(_) | Action::Poll(_) | Action::Txn(_))
}

/// A full read comes to its end.
fn final_polls(analysis: &Analysis<'_>, findings: &mut Findings<'_, '_>, quiet: Quiet) {
    for (position, operation) in analysis.operations().skip(quiet.at) {
        if matches!(operation.action, Action::FinalPolls(_))
            && matches!(operation.kind, Kind::Fail | Kind::Info)
        {
            let sentence = format!(
                "{} could not poll the logs to their ends after the faults ended ({})",
                operation.process,
                analysis.name(position)
            );
            findings.report(Name::Stuck, Finding::new(sentence, [quiet.at, position]));
        }
    }
}

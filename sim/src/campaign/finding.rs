//! What came of one seed.

use super::differ::first_difference;
use super::silence::quietly;
use crate::canary::Canary;
use crate::fault::{Counts, FaultKind};
use crate::generate::{Options, scenario};
use crate::scenario::Outcome;
use crate::world::{Manner, Run, execute};
use merkql_jepsen::Name;
use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How many witnesses of one anomaly a seed keeps; all are counted.
const WITNESSES_MAX: usize = 3;
/// Open calls of the log may nest a recovery for each crash.
const STACK_BYTES: usize = 16 << 20;

/// How a seed is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) options: Options,
    pub(crate) canary: Option<Canary>,
    /// Runs it twice, and compares.
    pub(crate) is_repeated: bool,
    /// A seed that takes longer hangs.
    pub(crate) patience: Duration,
}

/// What came of one seed.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    pub(crate) seed: u64,
    pub(crate) trace_hash: u64,
    pub(crate) client_ops: u64,
    pub(crate) io_ops: u64,
    pub(crate) crashes: u64,
    pub(crate) recoveries: u64,
    pub(crate) faults: BTreeMap<FaultKind, Counts>,
    pub(crate) marks: BTreeMap<&'static str, u64>,
    pub(crate) outcome: Option<Outcome>,
    /// Each anomaly, how many witnesses it has, and the first of them.
    pub(crate) anomalies: Vec<(Name, u64, Vec<String>)>,
    pub(crate) excused: BTreeMap<&'static str, u64>,
    pub(crate) met_canary: bool,
    /// What went wrong that is not the log's fault: the seed says nothing.
    pub(crate) broken: Option<String>,
    pub(crate) times: Times,
}

/// Where a seed's time goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Drawing the scenario.
    pub generate: Duration,
    /// Running it.
    pub execute: Duration,
    /// Judging its history.
    pub judge: Duration,
}

/// Runs a seed on a thread of its own: madsim keeps its state by thread, and a
/// seed that hangs or dies takes nobody with it.
pub(crate) fn of_seed(seed: u64, task: &Task) -> Finding {
    let broken = |why: String| Finding { seed, broken: Some(why), ..Finding::default() };
    let (sender, receiver) = channel();
    let on_thread = task.clone();
    let began = Instant::now();
    let thread = std::thread::Builder::new()
        .name(format!("seed {seed}"))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let found = quietly(|| look_at(seed, &on_thread));
            // Who has run out of patience no longer listens.
            sender.send(found).unwrap_or_default();
        });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return broken(format!("no thread could be started: {error}")),
    };
    match receiver.recv_timeout(task.patience) {
        Ok(found) if began.elapsed() <= task.patience => {
            drop(thread.join());
            found.unwrap_or_else(broken)
        }
        // A thread cannot be ended: one that goes on ends with the process.
        Ok(_) | Err(RecvTimeoutError::Timeout) => {
            broken(format!("has not ended within {} s", task.patience.as_secs()))
        }
        Err(RecvTimeoutError::Disconnected) => broken("its thread has vanished".to_owned()),
    }
}

fn look_at(seed: u64, task: &Task) -> Finding {
    let began = Instant::now();
    let scenario = scenario(seed, &task.options);
    let generated = Instant::now();
    let manner = Manner { canary: task.canary, ..Manner::default() };
    let run = execute(&scenario, &manner);
    let executed = Instant::now();
    let mut finding = judged(seed, &run);
    finding.times = Times {
        generate: generated - began,
        execute: executed - generated,
        judge: executed.elapsed(),
    };
    let core = task.canary.and_then(Canary::in_core);
    finding.met_canary = core.is_none_or(|name| run.canaries_asked.contains(name));
    if task.is_repeated {
        finding.broken = first_difference(&scenario, task.canary, &run);
    }
    finding
}

fn judged(seed: u64, run: &Run) -> Finding {
    let verdict = run.judge();
    let outcome = run.outcome(&verdict);
    let anomalies = verdict.anomalies.into_iter().map(|(name, witnesses)| {
        let count = witnesses.len() as u64;
        let sentences = witnesses.into_iter().take(WITNESSES_MAX).map(|witness| witness.sentence);
        (name, count, sentences.collect())
    });
    let nothing = verdict.judged == 0;
    Finding {
        seed,
        trace_hash: run.trace_hash,
        client_ops: run.client_ops,
        io_ops: run.io_ops,
        crashes: run.crashes.len() as u64,
        recoveries: run.recoveries,
        faults: run.faults.clone(),
        marks: run.marks.clone(),
        outcome: Some(outcome),
        anomalies: anomalies.collect(),
        excused: verdict.excused,
        broken: nothing.then(|| "its history has nothing that could be judged".to_owned()),
        ..Finding::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(patience: Duration) -> Task {
        let options = Options { ops: 20, ..Options::default() };
        Task { options, canary: None, is_repeated: false, patience }
    }

    #[test]
    fn a_seed_that_takes_too_long_is_named_and_left_behind() {
        let finding = of_seed(3, &task(Duration::ZERO));
        assert_eq!(finding.seed, 3);
        assert_eq!(finding.broken.as_deref(), Some("has not ended within 0 s"));
    }

    #[test]
    fn a_seed_is_the_same_each_time() {
        let find = || of_seed(3, &task(Duration::from_secs(60)));
        let (one, two) = (find(), find());
        assert_eq!(one.broken, None);
        assert!(one.io_ops > 0 && one.client_ops > 0);
        assert_eq!(one.trace_hash, two.trace_hash);
    }
}

//! From a run that fails to the simplest one that fails in the same way.

use super::execute::{Complaint, Planned, Run, Subject};
use super::life::Event;
use super::plan::{ActPhase, Crash, Loss, Moment, Plan};
use crate::disk::CrashPhase;

/// How many runs a failure is worth.
const RUNS_MAX: u64 = 2000;

/// How simple a crash is, the simplest first: one at an act, which the user has
/// named, before one at the disk; then the earlier; then by the phase; then by
/// what is lost.
type Weight = (bool, usize, u64, usize);

/// The simplest run found that fails as `failed` does, and its complaint;
/// `failed` itself if there is none.
pub(super) fn shrink<S>(
    subject: &Subject<'_, S>,
    failed: Run,
    complaint: Complaint,
) -> (Run, Complaint) {
    let mut simplest = (failed, complaint);
    let mut runs_left = RUNS_MAX;
    'simpler: loop {
        let peaceful = peaceful(subject, &simplest.0.plan);
        for plan in simpler(&simplest.0, &peaceful) {
            if runs_left == 0 {
                return simplest;
            }
            runs_left -= 1;
            let planned: Vec<Planned> = plan.crashes.iter().map(Planned::from).collect();
            let mut run = subject.execute(&planned);
            let Some(complaint) = run.complaint.take() else { continue };
            // A run that went another way may be no simpler than before.
            if alike(&complaint, &simplest.1) && weight(&run) < weight(&simplest.0) {
                run.complaint = Some(complaint.clone());
                simplest = (run, complaint);
                continue 'simpler;
            }
        }
        return simplest;
    }
}

/// Whether two complaints are about the same thing: numbers may differ, since an
/// earlier crash hits another record.
fn alike(a: &Complaint, b: &Complaint) -> bool {
    let without_numbers = |text: &str| -> Vec<String> {
        text.split(|c: char| c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    a.kind == b.kind && without_numbers(&a.message) == without_numbers(&b.message)
}

fn weight(run: &Run) -> (usize, Vec<Weight>) {
    let crashes = &run.plan.crashes;
    (crashes.len(), (0..crashes.len()).filter_map(|life| weight_of(run, life)).collect())
}

fn weight_of(run: &Run, life: usize) -> Option<Weight> {
    let crash = run.plan.crashes.get(life)?;
    Some(weigh(crash, index_of(run, life, &crash.at)?))
}

fn weigh(crash: &Crash, index: usize) -> Weight {
    let (at_disk, phase) = match &crash.at {
        Moment::Act { phase: ActPhase::Before, .. } => (false, 0),
        Moment::Act { phase: ActPhase::After, .. } => (false, 1),
        Moment::Disk { phase: CrashPhase::Before, .. } => (true, 0),
        Moment::Disk { phase: CrashPhase::After, .. } => (true, 1),
        Moment::Disk { phase: CrashPhase::Partly(bytes), .. } => (true, bytes.saturating_add(2)),
    };
    let loss = match &crash.loss {
        Loss::Kill => 0,
        Loss::PowerKeepsAll => 1,
        Loss::PowerKeepsNothing => 2,
        Loss::PowerKeeps(survivors) => survivors.kept.len() + 3,
    };
    (at_disk, index, phase, loss)
}

/// The place of a moment among the events of a life.
fn index_of(run: &Run, life: usize, at: &Moment) -> Option<usize> {
    run.lives.get(life)?.events.iter().position(|event| event.is_at(at))
}

/// The events that each life that ends with a crash would have without it: what
/// lies behind the crash is as good a moment as what lies before.
fn peaceful<S>(subject: &Subject<'_, S>, plan: &Plan) -> Vec<Vec<Event>> {
    let planned: Vec<Planned> = plan.crashes.iter().map(Planned::from).collect();
    let before = (0..planned.len()).filter_map(|life| planned.get(..life));
    let lives = before.map(|before| subject.execute(before).lives.pop());
    lives.map(|life| life.map(|life| life.events).unwrap_or_default()).collect()
}

/// The plans that are simpler by one thing, the simplest of each kind first.
fn simpler(run: &Run, peaceful: &[Vec<Event>]) -> Vec<Plan> {
    let crashes = &run.plan.crashes;
    let mut plans = Vec::new();
    for life in 0..crashes.len() {
        let mut fewer = crashes.clone();
        fewer.remove(life);
        plans.push(Plan { crashes: fewer });
    }
    for life in 0..crashes.len() {
        let (Some(crash), Some(events), Some(before)) =
            (crashes.get(life), peaceful.get(life), weight_of(run, life))
        else {
            continue;
        };
        let mut others: Vec<(Weight, Crash)> = Vec::new();
        let mut add = |at: Moment, index: usize, loss: Loss| {
            let other = Crash { at, loss };
            let weight = weigh(&other, index);
            if weight < before {
                others.push((weight, other));
            }
        };
        for loss in [Loss::Kill, Loss::PowerKeepsAll, Loss::PowerKeepsNothing] {
            add(crash.at.clone(), before.1, loss);
        }
        for (index, event) in events.iter().enumerate() {
            for at in event.moments() {
                // What is kept is told by the numbers of operations, which are
                // others at another moment.
                let loss = match &crash.loss {
                    Loss::PowerKeeps(_) => Loss::PowerKeepsNothing,
                    loss => loss.clone(),
                };
                add(at, index, loss);
            }
        }
        others.sort_by_key(|(weight, _)| *weight);
        plans.extend(others.into_iter().map(|(_, other)| {
            let mut changed = crashes.clone();
            if let Some(crash) = changed.get_mut(life) {
                *crash = other;
            }
            Plan { crashes: changed }
        }));
    }
    plans
}

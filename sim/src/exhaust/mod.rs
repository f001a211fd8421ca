//! Breaks a short scenario everywhere: at each of its operations that can change
//! something, with everything that a power cut may leave, and again while the
//! log recovers from that.
//!
//! Each state is a scenario of its own, carried out from the start; nothing is
//! shared with another but what the first of them found out about what is at
//! stake. So a state that fails is one that can be kept as a file.

mod points;

use crate::fault::Class;
use crate::profile::Profile;
use crate::scenario::{Blow, Death, During, Outcome, Scenario, Strike};
use crate::shrink::keeps;
use crate::world::{Addresses, Manner, Run, execute};
use points::{Detail, Point, points};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many failures are kept as scenarios.
const KEPT_MAX: usize = 20;

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many sets of survivors of one crash at most.
    pub survivors: usize,
    /// How many of one inside a recovery.
    pub nested: usize,
    /// How often a recovery is broken by another crash.
    pub depth: u32,
    /// How many threads there are.
    pub jobs: usize,
    /// The stretch of the run that it begins with: the first, if it is not said.
    pub from: Option<During>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { survivors: 32, nested: 4, depth: 1, jobs: 1, from: None }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// At how many places of the scenario it was broken.
    pub points: u64,
    /// How many states there were in all, each judged by the checkers.
    pub states: u64,
    /// How many of them were broken again during a recovery.
    pub nested_states: u64,
    /// How many sets of survivors the limits have cut off.
    pub cut: u128,
    /// How many recoveries were not broken again because another was from which
    /// nothing told them apart: the same disk, the same history.
    pub alike: u64,
    /// How many states failed.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<Failure>,
}

/// A state that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What was wrong.
    pub complaints: Vec<String>,
    /// How to have it again.
    pub scenario: Scenario,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.points += other.points;
        self.states += other.states;
        self.nested_states += other.nested_states;
        self.cut = self.cut.saturating_add(other.cut);
        self.alike += other.alike;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(KEPT_MAX);
    }
}

/// Breaks a scenario everywhere. Its own strikes stay as they are. `progress` is
/// told how many places are done, of how many, and how many states they had.
///
/// Fails with a message if the scenario is not as it should be unbroken.
pub fn exhaust(
    scenario: &Scenario,
    profile: Profile,
    limits: &Limits,
    progress: &(dyn Fn(usize, usize, u64) + Sync),
) -> Result<Report, String> {
    let mut scenario = scenario.clone();
    scenario.settings.profile = profile;
    let base = execute(&scenario, &keeping());
    let outcome = base.outcome(&base.judge());
    if outcome == Outcome::Anomaly {
        return Err("the scenario has an anomaly before anything else is broken".to_owned());
    }
    let seen = scenario.strikes.is_empty().then(Mutex::default);
    let search = Search { profile, limits: *limits, outcome, seen };
    let mut stretches = base.stretches.iter().map(|(during, _)| *during);
    let first = match limits.from {
        Some(from) => stretches.position(|during| during == from),
        None => Some(0),
    };
    let first = first.ok_or("the run has no such step to begin with")?;
    let meant = base.stretches.get(first..).unwrap_or_default();
    let meant: BTreeSet<During> = meant.iter().map(|(during, _)| *during).collect();
    let points =
        points(&base, Detail::All, |during| *during != During::End && meant.contains(during));
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let reports: Mutex<Vec<(usize, Report)>> = Mutex::default();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(point) = points.get(at) else { return };
            let mut report = Report { points: 1, ..Report::default() };
            search.crash(&scenario, point, 0, &mut report);
            let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
            reports.push((at, report));
            let states = reports.iter().map(|(_, report)| report.states).sum();
            drop(reports);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, points.len(), states);
        }
    };
    std::thread::scope(|scope| {
        (1..limits.jobs).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(at, _)| *at);
    let mut all = Report::default();
    for (_, report) in reports {
        all.add(report);
    }
    Ok(all)
}

fn keeping() -> Manner {
    Manner { keeps_events: true, ..Manner::default() }
}

struct Search {
    profile: Profile,
    limits: Limits,
    /// How the scenario ends unbroken.
    outcome: Outcome,
    /// The states whose recoveries were broken again so far. Strikes of the
    /// scenario's own would tell states apart that are alike otherwise.
    seen: Option<Mutex<BTreeSet<u64>>>,
}

impl Search {
    /// Crashes at a point in every way.
    fn crash(&self, scenario: &Scenario, point: &Point, level: u32, report: &mut Report) {
        let id = free_id(scenario);
        let with = |death: Death| {
            let what = Blow::Crash { phase: point.phase, death };
            let mut broken = scenario.clone();
            broken.strikes.push(Strike { id, at: point.at.clone(), what });
            broken
        };
        let killed = with(Death::Kill);
        let run = self.state(&killed, id, level, report);
        let Some(crash) = run.crashes.iter().find(|crash| crash.id == id) else { return };
        self.nested(&killed, &run, id, level, report);
        // With nothing at stake a power cut is no other death.
        if crash.unsynced.changes.is_empty() {
            return;
        }
        let bound = if level == 0 { self.limits.survivors } else { self.limits.nested };
        let enumeration = self.profile.enumerate(&crash.unsynced, bound);
        report.cut = report.cut.saturating_add(enumeration.cut);
        let addresses = Addresses::new(&run.events, &run.stretches);
        for survivors in enumeration.survivors {
            let keeps = keeps(&addresses, &crash.unsynced, survivors);
            let broken = with(Death::Power(keeps));
            let run = self.state(&broken, id, level, report);
            self.nested(&broken, &run, id, level, report);
        }
    }

    /// Breaks the recovery from a crash again.
    fn nested(&self, scenario: &Scenario, run: &Run, id: u32, level: u32, report: &mut Report) {
        if level == self.limits.depth {
            return;
        }
        let crash = run.crashes.iter().find(|crash| crash.id == id);
        if let (Some(seen), Some(crash)) = (&self.seen, crash) {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if crash.state.is_some_and(|state| !seen.insert(state)) {
                report.alike += 1;
                return;
            }
        }
        for point in points(run, Detail::Distinct, |during| *during == During::RecoveryFrom(id)) {
            self.crash(scenario, &point, level + 1, report);
        }
    }

    /// Carries a state out and judges it.
    fn state(&self, scenario: &Scenario, id: u32, level: u32, report: &mut Report) -> Run {
        let run = execute(scenario, &keeping());
        report.states += 1;
        report.nested_states += u64::from(level > 0);
        let complaints = self.complaints(&run, id);
        if !complaints.is_empty() {
            report.failed += 1;
            if report.failures.len() < KEPT_MAX {
                report.failures.push(Failure { complaints, scenario: scenario.clone() });
            }
        }
        run
    }

    fn complaints(&self, run: &Run, id: u32) -> Vec<String> {
        let verdict = run.judge();
        let mut complaints: Vec<String> = verdict
            .witnesses()
            .map(|witness| format!("{}: {}", witness.name, witness.sentence))
            .collect();
        let outcome = run.outcome(&verdict);
        let may_be = [Outcome::Recovered, Outcome::Anomaly, self.outcome];
        let damaged =
            run.faults.iter().any(|(kind, counts)| kind.class() == Class::D && counts.fired > 0);
        // On a disk that damages what it had synced all is well that is told; a
        // crash on any other is nothing that the log may complain of.
        if self.profile != Profile::Hostile && !damaged && !may_be.contains(&outcome) {
            complaints.push(format!("the outcome is {outcome}"));
        }
        // A strike of the scenario's own may have hit the same operation.
        if self.seen.is_some() && !run.struck.contains(&id) {
            complaints.push(format!("crash {id} did not come"));
        }
        complaints
    }
}

fn free_id(scenario: &Scenario) -> u32 {
    let steps = scenario.steps.iter().map(|step| step.id);
    steps.chain(scenario.strikes.iter().map(|strike| strike.id)).max().unwrap_or_default() + 1
}

//! Makes a failing scenario small: delta debugging (Zeller and Hildebrandt,
//! "Simplifying and Isolating Failure-Inducing Input", TSE 2002) over its steps,
//! its strikes, what power cuts keep, records and settings.
//!
//! Every candidate is carried out, and taken only if it fails in the same way and
//! its text is shorter; so what comes out has failed, and the search ends.

mod edits;
mod lists;
mod resolve;

pub(crate) use resolve::keeps;
pub use resolve::resolve;

use crate::scenario::{Expect, Outcome, Scenario, verify};
use crate::world::{Manner, Run, execute};
use merkql_jepsen::Name;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// When to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// After so many candidates.
    pub attempts: u64,
    /// After so much time on the wall's clock.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempts: 5000, time: Duration::from_secs(120) }
    }
}

/// How large a scenario is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Size {
    /// Its steps.
    pub steps: usize,
    /// Its strikes.
    pub strikes: usize,
    /// The characters of its text.
    pub text: usize,
}

impl Size {
    /// Measures a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let text = scenario.to_toml().map_or(usize::MAX, |text| text.len());
        Self { steps: scenario.steps.len(), strikes: scenario.strikes.len(), text }
    }
}

/// A scenario that was made small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The scenario.
    pub scenario: Scenario,
    /// How many candidates were carried out.
    pub attempts: u64,
    /// Whether there was nothing more to try, and the limits were not reached.
    pub is_done: bool,
}

/// Makes a scenario small whose runs have something: `has` says whether one has
/// it still. `progress` is told how many candidates were carried out, and how
/// large the smallest is so far. Returns nothing if the scenario itself lacks it.
pub fn shrink(
    scenario: &Scenario,
    manner: &Manner,
    limits: &Limits,
    has: &dyn Fn(&Run) -> bool,
    progress: &mut dyn FnMut(u64, Size),
) -> Option<Shrunk> {
    let manner = Manner { keeps_events: true, ..manner.clone() };
    let run = execute(scenario, &manner);
    if !has(&run) {
        return None;
    }
    let mut shrinker = Shrinker {
        best: scenario.clone(),
        size: Size::of(scenario),
        manner,
        has,
        attempts: 1,
        attempts_max: limits.attempts,
        began: now(),
        time: limits.time,
        progress,
    };
    shrinker.take_resolved(&run, None);
    while !shrinker.is_over() {
        let before = shrinker.size;
        shrinker.remove_steps();
        shrinker.remove_strikes();
        shrinker.keep_less();
        shrinker.make_edits();
        if shrinker.size == before {
            break;
        }
    }
    let is_done = !shrinker.is_over();
    Some(Shrunk { scenario: shrinker.best, attempts: shrinker.attempts, is_done })
}

/// Makes a scenario small in which the checkers find an anomaly, and writes down
/// in it what it must come to. A candidate counts if it has the first of the
/// anomalies of the original, and none that the original has not.
///
/// Fails with a message if there is no anomaly. What is returned was written as
/// text, read again and carried out, and has come to what is written in it.
pub fn shrink_anomaly(
    scenario: &Scenario,
    manner: &Manner,
    limits: &Limits,
    progress: &mut dyn FnMut(u64, Size),
) -> Result<Shrunk, String> {
    let mut scenario = scenario.clone();
    if let Some(canary) = manner.canary {
        // What is kept fails by itself.
        scenario.canary = Some(canary.name().to_owned());
    }
    let names = execute(&scenario, manner).judge().names();
    let Some(first) = names.first() else { return Err("it has no anomaly".to_owned()) };
    let all: BTreeSet<Name> = names.iter().copied().collect();
    let has = |run: &Run| {
        let found = run.judge().names();
        found.contains(first) && found.iter().all(|name| all.contains(name))
    };
    let shrunk = shrink(&scenario, manner, limits, &has, progress);
    let mut shrunk = shrunk.ok_or("it has an anomaly in some runs only")?;
    let verdict = execute(&shrunk.scenario, manner).judge();
    let witness = verdict.of(*first).first();
    let sentence = witness.map(|witness| format!(" {first}: {}.", witness.sentence));
    shrunk.scenario.about.push_str(&sentence.unwrap_or_default());
    shrunk.scenario.expect = Expect {
        outcome: Outcome::Anomaly,
        anomalies: verdict.names().into_iter().map(|name| name.as_str().to_owned()).collect(),
        ..Expect::default()
    };
    let text = shrunk.scenario.to_toml().map_err(|error| error.to_string())?;
    let read = Scenario::from_toml(&text).map_err(|error| error.to_string())?;
    let report = verify(&read, &execute(&read, &Manner::default()));
    match report.complaints.first() {
        None => Ok(Shrunk { scenario: read, ..shrunk }),
        Some(complaint) => Err(format!("what was written does not fail again: {complaint}")),
    }
}

struct Shrinker<'a> {
    best: Scenario,
    size: Size,
    manner: Manner,
    has: &'a dyn Fn(&Run) -> bool,
    attempts: u64,
    attempts_max: u64,
    began: Instant,
    time: Duration,
    progress: &'a mut dyn FnMut(u64, Size),
}

impl Shrinker<'_> {
    fn is_over(&self) -> bool {
        self.attempts >= self.attempts_max || now() - self.began >= self.time
    }

    fn run(&mut self, candidate: &Scenario) -> Run {
        self.attempts += 1;
        (self.progress)(self.attempts, self.size);
        execute(candidate, &self.manner)
    }

    /// Takes a candidate if it is smaller and still has what is looked for.
    fn attempt(&mut self, candidate: Scenario) {
        let size = Size::of(&candidate);
        // A scenario without steps is none.
        if size >= self.size || self.is_over() || candidate.steps.is_empty() {
            return;
        }
        let run = self.run(&candidate);
        if (self.has)(&run) {
            let bound = std::mem::replace(&mut self.size, size);
            self.best = candidate;
            self.take_resolved(&run, Some(bound));
        }
    }

    /// Makes explicit what a run of the best candidate has decided. That alone
    /// may make it longer, and is what makes other candidates possible; but not
    /// as long as what the candidate was made from, or the search would go round.
    fn take_resolved(&mut self, run: &Run, bound: Option<Size>) {
        let resolved = resolve(&self.best, run);
        let is_too_long = bound.is_some_and(|bound| Size::of(&resolved) >= bound);
        if resolved == self.best || is_too_long {
            return;
        }
        let run = self.run(&resolved);
        if (self.has)(&run) {
            self.size = Size::of(&resolved);
            self.best = resolved;
        }
    }
}

fn now() -> Instant {
    Instant::now()
}

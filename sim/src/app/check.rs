//! The check: what is run, how often, and with how many crashes.

use super::draw;
use super::execute::{Complaint, Planned, Run, Subject};
use super::failure::{CheckError, Failure};
use super::life::departure;
use super::machine::Machine;
use super::plan::Plan;
use super::shrink::shrink;
use super::summary::Summary;
use crate::profile::Profile;
use crate::random::stream;
use merkql::broker::BrokerRef;
use rand::RngExt;
use std::fmt::{self, Display};
use std::ops::{Range, RangeInclusive};

/// Holds a plan that is carried out in place of an exploration.
pub(super) const PLAN_VARIABLE: &str = "MERKQL_SIM_PLAN";
/// Holds how many seeds are explored.
const SEEDS_VARIABLE: &str = "MERKQL_SIM_SEEDS";

/// An application and what has to hold of it, whatever machine dies under it.
/// See [the module](super).
pub struct Check<'a, S> {
    subject: Subject<'a, S>,
    seeds: Range<u64>,
    profiles: Vec<Profile>,
    crashes: RangeInclusive<u32>,
}

impl<S> fmt::Debug for Check<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, profiles, crashes, .. } = self;
        f.debug_struct("Check")
            .field("seeds", seeds)
            .field("profiles", profiles)
            .field("crashes", crashes)
            .finish_non_exhaustive()
    }
}

impl<'a, S> Check<'a, S> {
    /// A check of an application, one life of which is `live`, and of which
    /// `judge` says, when all is done, whether what it has done outside and what
    /// is in the log is as it should be. Its defaults: seeds 0 to 99, the honest
    /// profiles, one to three crashes, a world outside that is `S::default()`.
    ///
    /// The errors are for people, so whatever can be shown will do.
    pub fn new<E1: Display, E2: Display>(
        live: impl Fn(&Machine<S>) -> Result<(), E1> + 'a,
        judge: impl Fn(&S, &BrokerRef) -> Result<(), E2> + 'a,
    ) -> Self
    where
        S: Default,
    {
        let subject = Subject {
            outside: S::default,
            prepare: None,
            live: Box::new(move |machine| live(machine).map_err(|error| error.to_string())),
            judge: Box::new(move |outside, broker| {
                judge(outside, broker).map_err(|error| error.to_string())
            }),
        };
        let profiles = Profile::HONEST.to_vec();
        Self { subject, seeds: 0..100, profiles, crashes: 1..=3 }
    }

    /// What is done on the new machine before the first life, without a crash:
    /// the records that the application will find, say.
    #[must_use]
    pub fn prepare<E: Display>(
        mut self,
        prepare: impl Fn(&Machine<S>) -> Result<(), E> + 'a,
    ) -> Self {
        self.subject.prepare =
            Some(Box::new(move |machine| prepare(machine).map_err(|error| error.to_string())));
        self
    }

    /// The seeds to explore. Each gives the same crashes every time.
    #[must_use]
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// What a power cut may lose; each seed draws one of these. What
    /// [`Profile::Hostile`] loses is more than the log promises to survive.
    #[must_use]
    pub fn profiles(mut self, profiles: &[Profile]) -> Self {
        self.profiles = profiles.to_vec();
        self
    }

    /// How many crashes a seed has, at least and at most.
    #[must_use]
    pub fn crashes(mut self, crashes: RangeInclusive<u32>) -> Self {
        self.crashes = crashes;
        self
    }

    /// Runs the application without a crash, and then, for each seed, with a
    /// first crash, with a second one after it, and so on; every run is judged.
    /// Stops at the first failure, shrinks it, and tells it.
    ///
    /// Obeys `MERKQL_SIM_PLAN` and `MERKQL_SIM_SEEDS`.
    pub fn run(&self) -> Result<Summary, CheckError> {
        if let Some(plan) = from_environment(PLAN_VARIABLE)? {
            return self.replay(&plan);
        }
        let seeds = match from_environment(SEEDS_VARIABLE)? {
            Some(count) => self.seeds.start..self.seeds.start.saturating_add(count),
            None => self.seeds.clone(),
        };
        let mut summary = Summary::default();
        let baseline = self.baseline(&mut summary)?;
        for seed in seeds {
            summary.seeds += 1;
            self.explore(seed, &baseline, &mut summary)?;
        }
        if summary.crashes == 0 {
            let reason = format!("no crash in {} seeds", summary.seeds);
            return Err(CheckError::TestedNothing { reason });
        }
        Ok(summary)
    }

    /// Carries out a plan. Nothing is drawn: as long as the application and the log
    /// do the same, the same comes of it.
    pub fn replay(&self, plan: &Plan) -> Result<Summary, CheckError> {
        let planned: Vec<Planned> = plan.crashes.iter().map(Planned::from).collect();
        let run = self.subject.execute(&planned);
        if let Some(complaint) = &run.complaint {
            return Err(self.confirmed(&run, complaint)?.into());
        }
        if run.plan.crashes.len() < plan.crashes.len() {
            return Err(CheckError::PlanNotReached { life: run.lives.len() });
        }
        let mut summary = Summary::default();
        summary.add(&run, 0);
        Ok(summary)
    }

    /// The run without a crash, twice.
    fn baseline(&self, summary: &mut Summary) -> Result<Run, CheckError> {
        let run = self.subject.execute(&[]);
        summary.add(&run, 0);
        if let Some(complaint) = &run.complaint {
            return Err(self.confirmed(&run, complaint)?.into());
        }
        if run.lives.iter().all(|life| life.io_ops == 0) {
            let reason = "the application did nothing with the log of its machine".to_owned();
            return Err(CheckError::TestedNothing { reason });
        }
        compare(&run, &self.subject.execute(&[]))?;
        Ok(run)
    }

    fn explore(&self, seed: u64, baseline: &Run, summary: &mut Summary) -> Result<(), CheckError> {
        let mut random = stream(seed, "application");
        let mut profiles = self.profiles.iter().copied();
        let profile = profiles.nth(random.random_range(0..self.profiles.len().max(1)));
        let Some(profile) = profile.filter(|_| !self.crashes.is_empty()) else {
            return Ok(());
        };
        let mut run = baseline.clone();
        for _ in 0..random.random_range(self.crashes.clone()) {
            let events = run.lives.last().map(|life| life.events.as_slice()).unwrap_or_default();
            let Some(crash) = draw::crash(events, run.lives.len() > 1, profile, &mut random) else {
                break;
            };
            let mut planned: Vec<Planned> = run.plan.crashes.iter().map(Planned::from).collect();
            planned.push(crash);
            let next = self.subject.execute(&planned);
            summary.add(&next, run.plan.crashes.len());
            follows(&next, &run)?;
            if let Some(complaint) = next.complaint.clone() {
                return Err(self.simplest(seed, next, complaint));
            }
            if next.plan.crashes.len() < planned.len() {
                let life = next.lives.len();
                let difference = format!("life {life} did not get where it got before");
                return Err(CheckError::NotRepeatable { difference });
            }
            run = next;
        }
        Ok(())
    }

    /// The failure of a run, shrunk, and the run done again.
    fn simplest(&self, seed: u64, failed: Run, complaint: Complaint) -> CheckError {
        let crashes_before = failed.plan.crashes.len();
        // What does not repeat cannot be shrunk.
        let confirmed = self.confirmed(&failed, &complaint).and_then(|_| {
            let (run, complaint) = shrink(&self.subject, failed, complaint);
            self.confirmed(&run, &complaint)
        });
        match confirmed {
            Ok(failure) => Failure { seed: Some(seed), crashes_before, ..failure }.into(),
            Err(error) => error,
        }
    }

    /// The failure, once it was seen twice.
    fn confirmed(&self, run: &Run, complaint: &Complaint) -> Result<Failure, CheckError> {
        let planned: Vec<Planned> = run.plan.crashes.iter().map(Planned::from).collect();
        compare(run, &self.subject.execute(&planned))?;
        Ok(Failure::new(run, complaint))
    }
}

impl From<Failure> for CheckError {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// Fails unless two runs with the same crashes are the same.
fn compare(a: &Run, b: &Run) -> Result<(), CheckError> {
    if (a.digest, &a.complaint) == (b.digest, &b.complaint) {
        return Ok(());
    }
    let events = |run: &Run| -> Vec<(usize, String)> {
        let lives = run.lives.iter().enumerate();
        lives.flat_map(|(life, l)| l.events.iter().map(move |e| (life, e.to_string()))).collect()
    };
    let (a_events, b_events) = (events(a), events(b));
    let count = a_events.iter().zip(&b_events).take_while(|(a, b)| a == b).count();
    let difference = match (a_events.get(count), b_events.get(count)) {
        (Some((life, event)), Some((_, other))) => {
            format!("in life {} one has {event} and the other {other}", life + 1)
        }
        (Some((life, event)), None) | (None, Some((life, event))) => {
            format!("in life {} only one has {event}", life + 1)
        }
        (None, None) if a.complaint != b.complaint => {
            let said = |run: &Run| match &run.complaint {
                Some(complaint) => complaint.message.clone(),
                None => "nothing".to_owned(),
            };
            format!("one ends with {:?} and the other with {:?}", said(a), said(b))
        }
        (None, None) => "in what was read or written".to_owned(),
    };
    Err(CheckError::NotRepeatable { difference })
}

/// Fails unless a run with one more crash is the same up to that.
fn follows(next: &Run, run: &Run) -> Result<(), CheckError> {
    for (life, (a, b)) in next.lives.iter().zip(&run.lives).enumerate() {
        if let Some(event) = departure(&a.events, &b.events) {
            let difference = format!("in life {} only one has {event}", life + 1);
            return Err(CheckError::NotRepeatable { difference });
        }
    }
    Ok(())
}

/// What a variable of the environment holds, if it is set.
fn from_environment<T>(variable: &'static str) -> Result<Option<T>, CheckError>
where
    T: std::str::FromStr<Err: Display>,
{
    let bad = |reason: String| CheckError::BadEnvironment { variable, reason };
    match std::env::var(variable) {
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(bad(error.to_string())),
        Ok(text) => text.parse().map(Some).map_err(|error: T::Err| bad(error.to_string())),
    }
}

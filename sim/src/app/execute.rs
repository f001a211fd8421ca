//! One run: the lives of a plan, one after the other, and the judgement.

use super::failure::FailureKind;
use super::machine::{Lived, Machine};
use super::plan::{Crash, Loss, Moment, Plan};
use crate::disk::{Digest, SimDisk, Survivors};
use crate::profile::Profile;
use crate::random::stream;
use merkql::broker::{Broker, BrokerRef};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A stage of the application's story: its preparation, or one of its lives.
pub(super) type Stage<'a, S> = Box<dyn Fn(&Machine<S>) -> Result<(), String> + 'a>;

/// Says what is wrong in the end.
pub(super) type Judge<'a, S> = Box<dyn Fn(&S, &BrokerRef) -> Result<(), String> + 'a>;

/// What is checked.
pub(super) struct Subject<'a, S> {
    pub(super) outside: fn() -> S,
    pub(super) prepare: Option<Stage<'a, S>>,
    pub(super) live: Stage<'a, S>,
    pub(super) judge: Judge<'a, S>,
}

/// A crash that is to come.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) at: Moment,
    pub(super) fate: Fate,
}

/// How it is decided what a crash loses.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    Is(Loss),
    /// By the profile and a seed, once it is known what is at stake.
    DrawnFrom(Profile, u64),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) kind: FailureKind,
    pub(super) message: String,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    /// The crashes that came, with what each has lost.
    pub(super) plan: Plan,
    pub(super) lives: Vec<Lived>,
    pub(super) complaint: Option<Complaint>,
    /// Follows from everything that was done.
    pub(super) digest: u64,
}

impl From<&Crash> for Planned {
    fn from(crash: &Crash) -> Self {
        Self { at: crash.at.clone(), fate: Fate::Is(crash.loss.clone()) }
    }
}

impl Fate {
    /// Lets the dead machine lose what it loses.
    fn carry_out(&self, disk: &SimDisk) -> Loss {
        let unsynced = disk.unsynced();
        let loss = match self {
            Self::Is(loss) => loss.clone(),
            Self::DrawnFrom(profile, seed) => {
                Loss::PowerKeeps(profile.draw(&unsynced, &mut stream(*seed, "survivors")))
            }
        };
        match &loss {
            Loss::Kill => disk.kill(),
            Loss::PowerKeepsAll => disk.power_cut(&Survivors::all(&unsynced)),
            Loss::PowerKeepsNothing => disk.power_cut(&Survivors::none()),
            Loss::PowerKeeps(survivors) => disk.power_cut(survivors),
        }
        loss
    }
}

impl<S> Subject<'_, S> {
    /// Runs the application with the crashes of `planned`. It ends early at the
    /// first complaint, or when a life gets to its end before its crash.
    pub(super) fn execute(&self, planned: &[Planned]) -> Run {
        let machine = Machine::new((self.outside)());
        let mut run = Run { complaint: self.prepare(&machine), ..Run::default() };
        let mut planned = planned.iter();
        while run.complaint.is_none() {
            let crash = planned.next();
            machine.begin(crash.map(|crash| &crash.at));
            let kinds = (FailureKind::Error, FailureKind::Panic);
            let result = caught(kinds, || (self.live)(&machine));
            let died = machine.is_dead();
            run.lives.push(machine.end());
            let crash = crash.filter(|_| died);
            if let Some(crash) = crash {
                let loss = crash.fate.carry_out(machine.disk());
                run.plan.crashes.push(Crash { at: crash.at.clone(), loss });
                machine.stay_down();
            } else {
                // As at the end of any process, what it has left open is closed.
                machine.disk().kill();
            }
            if machine.is_endless() {
                let message = "the application does not end".to_owned();
                run.complaint = Some(Complaint { kind: FailureKind::Endless, message });
            } else if crash.is_none() {
                run.complaint = result.err().or_else(|| self.judge(&machine));
                break;
            }
        }
        let mut digest = Digest::new();
        digest.number(machine.disk().trace_digest());
        run.lives.iter().flat_map(|life| &life.events).for_each(|event| event.digest(&mut digest));
        run.digest = digest.value();
        run
    }

    fn prepare(&self, machine: &Machine<S>) -> Option<Complaint> {
        let prepare = self.prepare.as_ref()?;
        machine.begin(None);
        let kind = FailureKind::Preparation;
        let result = caught((kind, kind), || prepare(machine));
        machine.end();
        machine.disk().kill();
        result.err()
    }

    fn judge(&self, machine: &Machine<S>) -> Option<Complaint> {
        let kind = FailureKind::Invariant;
        let opened = Broker::open(machine.config());
        let opened = opened
            .map_err(|error| Complaint { kind: FailureKind::Reopen, message: error.to_string() });
        let judged = opened
            .and_then(|broker| caught((kind, kind), || (self.judge)(&machine.outside(), &broker)));
        judged.err()
    }
}

/// Runs the user's code; `kinds` are those of an error and of a panic.
fn caught(
    kinds: (FailureKind, FailureKind),
    run: impl FnOnce() -> Result<(), String>,
) -> Result<(), Complaint> {
    // Whatever a panic has left half done belongs to the life that ends with it,
    // or is outside, where a half-done act is the user's own finding.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(Complaint { kind: kinds.0, message }),
        Err(panic) => Err(Complaint { kind: kinds.1, message: text_of(panic.as_ref()) }),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}

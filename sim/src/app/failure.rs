//! What a check finds, as a story.

use super::check::PLAN_VARIABLE;
use super::execute::{Complaint, Run};
use super::life::when;
use super::plan::Plan;
use std::error::Error;
use std::fmt;
use std::fmt::Write as _;

/// What has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The application's preparation has failed.
    Preparation,
    /// The application has returned an error on a live machine.
    Error,
    /// The application has panicked on a live machine.
    Panic,
    /// A life does not end, on a live machine or on a dead one.
    Endless,
    /// The log could not be opened for the invariant.
    Reopen,
    /// The invariant does not hold, or has panicked.
    Invariant,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preparation => "the preparation failed",
            Self::Error => "the application failed on a live machine",
            Self::Panic => "the application panicked on a live machine",
            Self::Endless => "a life goes on for ever",
            Self::Reopen => "the log could not be opened in the end",
            Self::Invariant => "the invariant does not hold",
        })
    }
}

/// A run that went wrong. Its text is the whole story.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// What has failed.
    pub kind: FailureKind,
    /// What the application or the invariant said.
    pub message: String,
    /// The crashes that led to it, shrunk; none if it needs none.
    pub plan: Plan,
    /// What happened in each life, a line each.
    pub story: String,
    /// The seed that found it, where it was not a plan that was carried out.
    pub seed: Option<u64>,
    /// How many crashes it had before it was shrunk.
    pub crashes_before: usize,
}

impl Failure {
    pub(super) fn new(run: &Run, complaint: &Complaint) -> Self {
        Self {
            kind: complaint.kind,
            message: complaint.message.clone(),
            plan: run.plan.clone(),
            story: story(run, complaint),
            seed: None,
            crashes_before: run.plan.crashes.len(),
        }
    }
}

fn story(run: &Run, complaint: &Complaint) -> String {
    let mut story = String::new();
    for (index, life) in run.lives.iter().enumerate() {
        let ending = match run.plan.crashes.get(index) {
            Some(crash) => {
                let at = life.events.iter().position(|event| event.is_at(&crash.at));
                let event = at.and_then(|at| life.events.get(at));
                let when = event.map(|event| when(event, &crash.at)).unwrap_or_default();
                let last = at.and_then(|at| life.events.get(at.checked_sub(1)?));
                let last = last.map(|last| format!("\n    (last: {last})")).unwrap_or_default();
                let recovery = if life.in_recovery { " in recovery," } else { "" };
                let is_last = index + 1 == run.lives.len();
                let goes_on = is_last && complaint.kind == FailureKind::Endless;
                let goes_on = if goes_on { "\n    and goes on for ever" } else { "" };
                format!("dies{recovery} {when}: {}{last}{goes_on}", crash.loss)
            }
            None => match complaint.kind {
                FailureKind::Error => "returns an error".to_owned(),
                FailureKind::Panic => "panics".to_owned(),
                FailureKind::Endless => "goes on for ever".to_owned(),
                _ => "runs to its end".to_owned(),
            },
        };
        // Writing to a string never fails.
        let _ = writeln!(story, "  life {}: {ending}", index + 1);
    }
    story
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.kind, self.message)?;
        f.write_str(&self.story)?;
        let crashes = self.plan.crashes.len();
        if crashes == 0 {
            return f.write_str("  this takes no crash at all");
        }
        if let Some(seed) = self.seed {
            let before = self.crashes_before;
            writeln!(f, "  found at seed {seed}; crashes: {before}, shrunk to {crashes}")?;
        }
        write!(f, "  repeat it with {}", command(&self.plan))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A line for a shell that carries out the plan alone.
fn command(plan: &Plan) -> String {
    let text = plan.to_string().replace('\'', r"'\''");
    // The thread of a test bears the test's name.
    let thread = std::thread::current();
    let command = match thread.name() {
        Some(name) if name != "main" => format!("cargo test {name} -- --exact"),
        _ => "(the same command)".to_owned(),
    };
    format!("{PLAN_VARIABLE}='{text}' {command}")
}

/// Why a check is not passed. Its `Debug` is its text too, so that
/// `check.run().unwrap()` tells the story.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckError {
    /// The application has failed, or its invariant.
    Failed(Box<Failure>),
    /// Two runs with the same crashes differ: the application depends on
    /// something that the machine does not hold.
    NotRepeatable {
        /// Where they part.
        difference: String,
    },
    /// The check would have passed whatever the application does.
    TestedNothing {
        /// Why.
        reason: String,
    },
    /// A life of the plan got to its end before its crash: the plan belongs to
    /// another application, or to another version of it.
    PlanNotReached {
        /// Which life, from 1 on.
        life: usize,
    },
    /// The environment holds a plan or a number of seeds that cannot be read.
    BadEnvironment {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::NotRepeatable { difference } => write!(
                f,
                "two runs with the same crashes differ: {difference}. Time, randomness, threads \
                 and the order of hash maps must come from the machine, or not at all"
            ),
            Self::TestedNothing { reason } => write!(f, "nothing was tested: {reason}"),
            Self::PlanNotReached { life } => {
                write!(f, "life {life} of the plan got to its end before its crash")
            }
            Self::BadEnvironment { variable, reason } => write!(f, "{variable}: {reason}"),
        }
    }
}

impl fmt::Debug for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for CheckError {}

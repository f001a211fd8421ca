//! Hostile bytes: whole directories, changed by somebody who knows the formats.
//!
//! A case takes a directory that a real broker has left, closed, killed or cut off from
//! power, and changes a field, a range, a file or a folder of it. Then it opens it,
//! reads everything in both ways, proves everything, appends, closes, and opens it
//! again. Nothing may panic, hang, or ask for more memory than the directory's size
//! accounts for; nothing may be served that was not written; and what is missing must
//! be told.
//!
//! ```text
//! seed ──► template ──► change ──► open ──► read, prove ──► append ──► reopen
//!          recipes      mutate      │        observe                    │
//!                       fields      └── refused: nothing was changed    └── all as before
//!                       names                   judge: against what was acknowledged
//! ```
//!
//! A case follows from its seed alone, so a failure is repeated by its number.

mod case;
mod fields;
mod folder;
mod journal;
mod judge;
mod layout;
mod mutate;
mod names;
mod observe;
mod recipes;
mod report;
mod slot;
mod tails;
mod template;
#[cfg(test)]
mod tests;
mod truth;
mod verified;
mod watch;

pub use report::{Case, Outcome, Report};

use crate::campaign::pool::in_order;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use template::Template;

/// A case that takes longer hangs, whatever it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cases to be run.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// The seed of the first; the others follow.
    pub start: u64,
    /// How many.
    pub cases: u64,
    /// How many run at a time.
    pub jobs: usize,
    /// When no more of them are begun.
    pub time: Option<Duration>,
}

/// The directories that cases are made from.
#[derive(Clone)]
pub struct Templates(Arc<Vec<Template>>);

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|template| template.name)).finish()
    }
}

impl Templates {
    /// Makes them. Fails with a message if an unharmed one does not serve what was
    /// acknowledged.
    pub fn make() -> Result<Self, String> {
        recipes::templates().map(|templates| Self(Arc::new(templates)))
    }

    /// Runs the case of a seed on this thread, for as long as it takes.
    pub fn case_here(&self, seed: u64) -> Case {
        case::run(seed, &self.0)
    }

    /// How many bytes the largest of them has.
    pub fn largest_bytes(&self) -> u64 {
        let bytes = self.0.iter().map(|template| template.folder.bytes());
        bytes.max().unwrap_or_default()
    }

    /// Runs the case of a seed on a thread of its own, so that one that hangs takes
    /// nobody with it.
    pub fn case(&self, seed: u64) -> Case {
        let (sender, receiver) = channel();
        let templates = self.clone();
        let thread = std::thread::Builder::new().name(format!("case {seed}")).spawn(move || {
            // Who has run out of patience no longer listens.
            sender.send(case::run(seed, &templates.0)).unwrap_or_default();
        });
        if let Err(error) = thread {
            return Case::broken(seed, &format!("no thread could be started: {error}"));
        }
        match receiver.recv_timeout(PATIENCE) {
            Ok(case) => case,
            Err(RecvTimeoutError::Timeout) => Case::broken(seed, "hangs: it takes over a minute"),
            Err(RecvTimeoutError::Disconnected) => Case::broken(seed, "the harness panicked"),
        }
    }
}

impl Hostile {
    /// Runs them all, and tells `progress` how many are done. Fails with a message if
    /// the directories cannot be made.
    pub fn run(&self, mut progress: impl FnMut(&Report)) -> Result<Report, String> {
        let templates = Templates::make()?;
        let began = now();
        let is_over = || self.time.is_some_and(|time| began.elapsed() >= time);
        let mut report = Report::default();
        let work = |index| templates.case(self.start.wrapping_add(index));
        in_order(self.jobs, self.cases, &is_over, &work, |case| {
            report.take(case);
            progress(&report);
        });
        Ok(report.end(began.elapsed()))
    }
}

fn now() -> Instant {
    Instant::now()
}

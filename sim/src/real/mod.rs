//! The log in a process of its own on the real file system, under a nemesis that
//! kills, stops and starves it.
//!
//! A *life* is one child process, from its start to its end, which is most often
//! a `SIGKILL`. A *round* is a directory with the lives over it, and one history,
//! which is judged when its last life has read everything. The child's clients
//! write down each call before they make it and each answer once they have it,
//! as lines on one pipe; what arrives there, in that order, is the history. So a
//! line stands before the call began, or behind the call's end, and the order of
//! calls that do not overlap is the one that they really had.
//!
//! A kill takes the process's memory, and leaves the operating system what it was
//! handed: this finds what is wrong between the log's threads, with its recovery
//! and with real file systems. What a power cut takes is the simulated disk's.
//!
//! Nothing in a verdict depends on how fast anything is: time only decides when
//! the nemesis strikes, and when a process that says nothing is given up.

mod book;
mod child;
mod disk;
mod letter;
mod life;
mod nemesis;
mod pipe;
mod report;
mod round;
mod signal;
mod workers;
mod workload;

pub(crate) use child::child;
pub(crate) use report::Report;

use disk::Ground;
use nemesis::Nemesis;
use round::Round;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How many kills a round has: its history grows with them, and everything in
/// it is read again and again.
const KILLS_A_ROUND: u64 = 10;

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) kills: u64,
    /// No round begins after so long.
    pub(crate) time_max: Option<Duration>,
    pub(crate) writers: u32,
    pub(crate) readers: u32,
    /// Where directories for the log are made.
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    /// Whether directories and histories are kept of clean rounds, too.
    pub(crate) keeps: bool,
    /// Gives the log, after a life, the files that it had before: what it
    /// acknowledged in between is lost, and the checkers must see it.
    pub(crate) rolls_back: bool,
}

/// What ended a run that the log did not end: something of the harness's own.
type Outcome<T> = Result<T, String>;

/// Says what it was that went wrong.
fn because<E: Display>(what: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("{what}: {error}")
}

/// Runs rounds until there were kills enough, or there is no more time. Whatever
/// ends it, what was counted until then is in the report.
pub(crate) fn run(plan: &Plan, progress: impl Fn(&Report)) -> Report {
    let began = Instant::now();
    let mut report = Report::new(plan.seed);
    let mut nemesis = Nemesis::new(plan.seed);
    while report.kills < plan.kills && plan.time_max.is_none_or(|max| began.elapsed() < max) {
        let ground = Ground::of_round(report.rounds, &plan.dir);
        let kills = KILLS_A_ROUND.min(plan.kills - report.kills);
        let outcome = ground.and_then(|(ground, skipped)| {
            report.skipped.extend(skipped);
            Round::new(plan, ground, kills).run(&mut nemesis, &mut report, &progress)
        });
        if let Err(error) = outcome {
            report.error = Some(error);
            break;
        }
    }
    report
}

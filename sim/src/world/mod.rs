//! The world: a process that hosts the log and its clients, and a nemesis that
//! breaks the disk under them.
//!
//! [`execute`] carries out a [`Scenario`], on madsim: the process is a node, each
//! client a task on it, and the nemesis kills and starts the node. Steps are
//! carried out in their order, whatever the scheduler draws, and everything else
//! follows from the scenario; so a run is a function of it. What clients did and
//! were told comes out as a history, and only the checkers judge it.

mod addresses;
mod blocks;
mod damages;
mod ending;
mod harm;
mod harmed;
mod host;
mod nemesis;
mod opening;
mod paths;
mod run;
mod stage;
mod tails;
mod tasks;

pub(crate) use addresses::Addresses;
#[cfg(unix)]
pub(crate) use tasks::panicked;

pub use run::{Crash, Run};

use crate::scenario::Scenario;
use nemesis::Nemesis;

/// How a scenario is to be carried out.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Keeps every operation on files ([`Run::events`]).
    pub keeps_events: bool,
    /// Plants a bug ([`crate::canary`]).
    pub canary: Option<crate::canary::Canary>,
}

/// Carries out a scenario. On a thread of its own: the thread that calls may not
/// be in a madsim runtime.
pub fn execute(scenario: &Scenario, manner: &Manner) -> Run {
    let config = madsim::Config::default();
    let runtime = madsim::runtime::Runtime::with_seed_and_config(0, config);
    runtime.block_on(Nemesis::new(scenario, manner).run())
}

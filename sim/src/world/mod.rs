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

use crate::scenario::{Scenario, Settings};
use nemesis::Nemesis;
use stage::Stage;

/// How a scenario is to be carried out.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Keeps every operation on files ([`Run::events`]).
    pub keeps_events: bool,
    /// Plants a bug ([`crate::canary`]), in the place of the scenario's own.
    pub canary: Option<crate::canary::Canary>,
}

/// The setting that the log refuses, and why, if it refuses one.
pub(crate) fn refused_option(settings: &Settings) -> Option<(&'static str, String)> {
    let scenario = Scenario { settings: settings.clone(), ..Scenario::default() };
    let config = Stage::new(&scenario, &Manner::default()).config(0);
    match merkql::broker::Broker::open(config) {
        Err(merkql::Error::InvalidOption { option, reason }) => Some((option, reason)),
        _ => None,
    }
}

/// Carries out a scenario. On a thread of its own: the thread that calls may not
/// be in a madsim runtime.
pub fn execute(scenario: &Scenario, manner: &Manner) -> Run {
    let planted = scenario.canary.as_deref().and_then(crate::canary::find);
    let manner = &Manner { canary: manner.canary.or(planted), ..manner.clone() };
    let config = madsim::Config::default();
    let runtime = madsim::runtime::Runtime::with_seed_and_config(0, config);
    runtime.block_on(Nemesis::new(scenario, manner).run())
}

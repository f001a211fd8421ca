//! Scenarios: what clients do, what goes wrong meanwhile, and how it must end.
//!
//! A seed is turned into a scenario before anything runs, a failing run is shrunk
//! to one, and a failure that was mended is kept as one. A scenario does not
//! depend on any random generator: its faults are addressed by meaning
//! ([`Address`]), and what a power cut keeps is a list ([`Keeps`]).
//!
//! ```
//! use merkql_sim::scenario::Scenario;
//!
//! let scenario = Scenario::from_toml(r#"
//!     about = "The power fails when a journal block is written and not synced."
//!
//!     [[steps]]
//!     id = 1
//!     by = "admin"
//!     does = { create-topic = { topic = "orders" } }
//!
//!     [[steps]]
//!     id = 2
//!     by = "producer"
//!     does = { send = { records = [{ topic = "orders", bytes = 600 }] } }
//!
//!     [[strikes]]
//!     id = 3
//!     at = { during = { step = 2 }, on = "sync-data", file = "journal/*" }
//!     what = { crash = { phase = "before", death = { power = "nothing" } } }
//!
//!     [expect]
//!     outcome = "recovered"
//! "#)?;
//! assert_eq!(scenario.steps.len(), 2);
//! # Ok::<(), merkql_sim::scenario::ScenarioError>(())
//! ```

mod step;
mod strike;
mod text;
mod verify;

pub use step::{Action, Harm, HarmAt, RecordKind, RecordSpec, Restart, Spot, Step, Stop};
pub use strike::{Address, Blow, Death, During, Keeps, KeptPart, Strike};
pub use text::ScenarioError;
pub use verify::{Report, verify};

use crate::profile::Profile;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A run, described.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a sentence or two.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The rows of the catalogue of faults that it is there for: `R4`, `D1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
    /// The bug that is planted in it ([`crate::canary`]), if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// What is written differently from the defaults.
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings: Settings,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expect,
    /// What is done, in this order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<Strike>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How the log is opened. The defaults are so small that segments roll, the
/// journal goes round and files are reopened within a hundred operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether records are compressed.
    pub lz4: bool,
    /// How many records topics retain that are created; 0 is all.
    pub retention_records: u64,
    /// [`merkql::broker::BrokerConfig::segment_bytes`].
    pub segment_bytes: u64,
    /// [`merkql::broker::BrokerConfig::index_interval_bytes`].
    pub index_interval_bytes: u64,
    /// [`merkql::broker::BrokerConfig::journal_initial_bytes`].
    pub journal_initial_bytes: u64,
    /// [`merkql::broker::BrokerConfig::journal_max_bytes`].
    pub journal_max_bytes: u64,
    /// [`merkql::broker::BrokerConfig::max_open_files`].
    pub max_open_files: usize,
    /// [`merkql::broker::BrokerConfig::max_poll_bytes`].
    pub max_poll_bytes: u64,
    /// A reader looks from within every so many-th write or sync; 0 is never.
    pub reader_every: u64,
    /// What the log's random bytes come from.
    pub entropy_seed: u64,
    /// What a power cut may keep: the profile that exhaustive runs go through,
    /// and under which hostile survivors count as damage.
    pub profile: Profile,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lz4: false,
            retention_records: 0,
            segment_bytes: 2048,
            index_interval_bytes: 64,
            journal_initial_bytes: 8192,
            journal_max_bytes: 16384,
            max_open_files: 8,
            max_poll_bytes: 64 << 20,
            reader_every: 0,
            entropy_seed: 1,
            profile: Profile::Posix,
        }
    }
}

/// What must come of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// How it ends.
    pub outcome: Outcome,
    /// The anomalies that the checkers must find, by name; no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<String>,
    /// Kinds of error that a call must have been answered with, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Places in the log that must have been reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything that was acknowledged is there.
    #[default]
    Recovered,
    /// Damage was answered with typed errors, and everything else is there.
    Detected,
    /// The log refused to open.
    Refused,
    /// Something is gone that no log could miss: see `undecidable-tail`.
    Undecidable,
    /// The checkers found an anomaly.
    Anomaly,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recovered => "recovered",
            Self::Detected => "detected",
            Self::Refused => "refused",
            Self::Undecidable => "undecidable",
            Self::Anomaly => "anomaly",
        })
    }
}

impl Scenario {
    /// Whether a strike in it can leave damage behind.
    pub(crate) fn leaves_damage(&self) -> bool {
        self.strikes.iter().any(|strike| match &strike.what {
            Blow::Fault { fault, .. } => fault.leaves_damage(),
            Blow::Crash { .. } => false,
        })
    }

    /// All deaths in it.
    pub(crate) fn deaths(&self) -> impl Iterator<Item = &Death> {
        let steps = self.steps.iter().filter_map(|step| match &step.does {
            Action::Restart(Restart { how: Stop::Death(death), .. }) => Some(death),
            _ => None,
        });
        let strikes = self.strikes.iter().filter_map(|strike| match &strike.what {
            Blow::Crash { death, .. } => Some(death),
            Blow::Fault { .. } => None,
        });
        steps.chain(strikes)
    }
}

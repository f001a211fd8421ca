//! What happens to the machine, as a list that can be written down.

use crate::disk::{CrashPhase, Survivors};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The crashes of one run: the first life ends with the first of them, and so
/// on; the life after the last one is left in peace.
///
/// Its text ([`fmt::Display`], [`FromStr`]) is a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The crashes, in the order in which they happen.
    pub crashes: Vec<Crash>,
}

/// The end of a life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// When the machine dies.
    pub at: Moment,
    /// What is lost by it.
    pub loss: Loss,
}

/// A moment in a life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// At an operation that can change the disk.
    Disk {
        /// Which one, counted from 0 at the start of the life.
        change: u64,
        /// How far the operation has come.
        phase: CrashPhase,
    },
    /// At an act ([`super::Machine::act`]).
    Act {
        /// Its name.
        name: String,
        /// Which one of this name, counted from 0 at the start of the life.
        nth: u64,
        /// How far the act has come.
        phase: ActPhase,
    },
}

/// How far the act at which a machine dies has come. In neither case does the
/// application learn what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActPhase {
    /// It has not happened.
    Before,
    /// It has happened.
    After,
}

/// What a crash takes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The process alone is killed: what was written is there.
    Kill,
    /// The power goes, and everything that was written happens to be there.
    PowerKeepsAll,
    /// The power goes, and nothing is there that was not synced.
    PowerKeepsNothing,
    /// The power goes, and this is there of what was not synced.
    PowerKeeps(Survivors),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("the process is killed"),
            Self::PowerKeepsAll => f.write_str("the power goes, all that was written is kept"),
            Self::PowerKeepsNothing => {
                f.write_str("the power goes, nothing is kept that was not synced")
            }
            Self::PowerKeeps(survivors) => write!(
                f,
                "the power goes, {} pieces are kept of what was not synced",
                survivors.kept.len()
            ),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Plan {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

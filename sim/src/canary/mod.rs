//! Canaries: bugs put in on purpose, each of which the checker meant for it must
//! catch.
//!
//! A checker that has never found anything has shown nothing. So a bug is planted
//! in the disk, in the clients or in the log's own code, one at a time, seeds are
//! run as they always are, and what is counted is how many it takes ([`hunt`]).

mod disk;
mod hunt;
mod table;

pub use hunt::{Caught, SEEDS_MAX, hunt};
pub use table::ALL;

pub(crate) use disk::Written;

use crate::client::tamper;
use crate::generate::Options;
use crate::profile::Profile;
use merkql::env::FileSystem;
use merkql_jepsen::Name;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Where a bug is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Between the log and its files.
    Disk,
    /// Between the clients and the log: it tests the checkers.
    Client,
    /// In the log's own code.
    Core,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Disk => "disk",
            Self::Client => "client",
            Self::Core => "core",
        })
    }
}

/// The bug itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    Disk(disk::Bug),
    Client(tamper::Bug),
    /// Under the canary's name.
    Core,
}

/// From what the seeds draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hunted {
    /// From everything.
    Anywhere,
    /// With power cuts of this profile and a disk that does nothing worse: what it
    /// does worse excuses what is lost.
    Honest(Profile),
    /// With damage that the log has to notice.
    Damaged,
}

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canary {
    name: &'static str,
    bug: Bug,
    /// In which world it is hunted.
    hunted: Hunted,
    expected_by: &'static [Name],
    meaning: &'static str,
}

/// The canary of this name.
pub fn find(name: &str) -> Option<Canary> {
    ALL.iter().find(|canary| canary.name == name).copied()
}

impl Canary {
    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Where it is planted.
    pub fn place(self) -> Place {
        match self.bug {
            Bug::Disk(_) => Place::Disk,
            Bug::Client(_) => Place::Client,
            Bug::Core => Place::Core,
        }
    }

    /// The checkers one of which must be among those that find it. There are two
    /// where it depends on the crash which of them sees the bug.
    pub fn expected_by(self) -> &'static [Name] {
        self.expected_by
    }

    /// What it does wrong.
    pub fn meaning(self) -> &'static str {
        self.meaning
    }

    /// From what the seeds draw in which it is hunted.
    pub fn options(self) -> Options {
        let (profile, damage) = match self.hunted {
            Hunted::Anywhere => (None, None),
            Hunted::Honest(profile) => (Some(profile), Some(false)),
            Hunted::Damaged => (Some(Profile::Posix), Some(true)),
        };
        Options { profile, damage, ..Options::default() }
    }

    /// Its name in the log's own code, if it is planted there.
    pub(crate) fn in_core(self) -> Option<&'static str> {
        (self.bug == Bug::Core).then_some(self.name)
    }

    /// What the clients do wrong, if it is planted there.
    pub(crate) fn in_clients(self) -> Option<tamper::Bug> {
        match self.bug {
            Bug::Client(bug) => Some(bug),
            _ => None,
        }
    }

    /// The file system with the bug in it, if it is planted there.
    pub(crate) fn around(
        self,
        file_system: Arc<dyn FileSystem>,
        written: &Arc<Written>,
    ) -> Arc<dyn FileSystem> {
        match self.bug {
            Bug::Disk(bug) => bug.around(file_system, written),
            _ => file_system,
        }
    }
}

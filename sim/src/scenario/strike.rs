//! Faults that strike an operation of the log, addressed by meaning: the second
//! write to the journal during step 17.

use crate::disk::{CrashPhase, Filling};
use crate::fault::{Fault, OpKind};
use crate::profile::Profile;
use serde::{Deserialize, Serialize};

/// A fault and the operation that it hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strike {
    /// Its number, which no step and no other strike of the scenario has.
    pub id: u32,
    /// The operation.
    pub at: Address,
    /// What happens to it.
    pub what: Blow,
}

/// What strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Blow {
    /// The process dies there.
    Crash {
        /// How far the operation has come.
        phase: CrashPhase,
        /// How it dies.
        death: Death,
    },
    /// The operation goes wrong, and perhaps others like it after it.
    Fault {
        /// In what way.
        fault: Fault,
        /// How many operations.
        #[serde(default = "once", skip_serializing_if = "is_once")]
        times: u64,
    },
}

fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_once(times: &u64) -> bool {
    *times == 1
}

/// An operation of the log on its files. It is counted from the beginning of a
/// step or of a recovery; if that has fewer of them, the next ones are counted on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// From where on it is counted.
    pub during: During,
    /// What the operation is; any that can change something if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<OpKind>,
    /// The file or directory, below the log's directory; `*` stands for any characters.
    #[serde(default = "any_file", skip_serializing_if = "is_any_file")]
    pub file: String,
    /// Which of them, counted from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nth: u64,
}

fn any_file() -> String {
    "*".to_owned()
}

fn is_any_file(file: &str) -> bool {
    file == "*"
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A stretch of a run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum During {
    /// The first opening of the log.
    #[default]
    Start,
    /// The step of this number.
    Step(u32),
    /// The recovery from the crash of this number, which is a strike's or a
    /// restart's. It ends when the log is open, or with another crash.
    RecoveryFrom(u32),
    /// What comes after the last step, when nothing is broken any more.
    End,
}

/// How a process dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Death {
    /// It is killed: all that it wrote stays.
    Kill,
    /// The power fails: of what was not synced this is kept.
    Power(Keeps),
}

/// What a power cut keeps of what was not synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeps {
    /// All.
    All,
    /// Nothing.
    Nothing,
    /// What a generator draws; a scenario that is written down has a list.
    Drawn {
        /// From which profile.
        profile: Profile,
        /// From which seed.
        seed: u64,
    },
    /// These.
    These(Vec<KeptPart>),
}

/// Something that a power cut keeps, or leaves in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeptPart {
    /// Of a write.
    Write {
        /// The write.
        of: Address,
        /// Ranges of its bytes, from and up to, counted from its first; all if not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<Vec<(u64, u64)>>,
        /// Whether the length that the file got by it is kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        grows: bool,
    },
    /// A change of a length.
    Length {
        /// The operation.
        of: Address,
    },
    /// A name that was created or removed.
    Name {
        /// The operation.
        of: Address,
    },
    /// What nobody has written there.
    Fill {
        /// The file, by its path below the log's directory.
        file: String,
        /// From and up to which position.
        range: (u64, u64),
        /// With what.
        with: Filling,
    },
}

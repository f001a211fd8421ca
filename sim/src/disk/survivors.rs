//! What is left after a power cut, as a list.

use super::unsynced::{Unsynced, What};
use super::{InodeId, OpId};
use serde::{Deserialize, Serialize};

/// What a power cut keeps of the changes that no sync has covered, carried out
/// in this order on what the disk had. Whatever is not in the list is lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Survivors {
    /// What is kept.
    pub kept: Vec<Kept>,
}

/// Something that a power cut keeps, or leaves in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// Of a write.
    Write {
        /// The write.
        op: OpId,
        /// The positions in the file, from and up to, whose bytes are kept.
        ranges: Vec<(u64, u64)>,
        /// Whether the length that the file got by it is kept.
        grows: bool,
    },
    /// A change of the length.
    Length {
        /// The operation.
        op: OpId,
    },
    /// A name that was created or removed.
    Name {
        /// The operation.
        op: OpId,
    },
    /// Something that nobody has written there.
    Fill {
        /// The file.
        file: InodeId,
        /// From and up to which position.
        range: (u64, u64),
        /// With what.
        with: Filling,
    },
}

/// What stands where nobody has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filling {
    /// Zeroes.
    Zeroes,
    /// [`crate::random::garbage`] of this number.
    Garbage(u64),
    /// What removed files have left, from this position on, over and over.
    Stale(u64),
}

impl Survivors {
    /// Everything is kept.
    pub fn all(unsynced: &Unsynced) -> Self {
        let kept = unsynced.changes.iter().map(|change| match change.what {
            What::Write { position, len, grows } => {
                Kept::Write { op: change.op, ranges: vec![(position, position + len)], grows }
            }
            What::Length { .. } => Kept::Length { op: change.op },
            What::NameAdded | What::NameRemoved => Kept::Name { op: change.op },
        });
        Self { kept: kept.collect() }
    }

    /// Nothing is kept.
    pub fn none() -> Self {
        Self::default()
    }
}

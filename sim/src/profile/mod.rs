//! What a power cut may keep: a model of a file system and its disk.
//!
//! Bytes that were not written keep their value in the first three.
//!
//! | profile | keeps |
//! |---------|-------|
//! | strict  | a prefix of the changes, in order; the last one perhaps in part |
//! | ext4    | names and lengths in order; of each page of 4,096 bytes some version since the last sync; a greater length only with the data it covers |
//! | posix   | any subset in any order, by sectors of 512 bytes; zeroes, garbage or stale bytes in grown parts; names need `sync_dir` |
//! | hostile | as posix, and a write may damage the rest of its page; syncs may lie, which is a fault to be armed |

mod enumerate;
mod ext4;
mod posix;
mod strict;

pub use enumerate::Enumeration;

use crate::disk::{Survivors, Unsynced};
use crate::random::Stream;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The pages in which ext4 writes.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// The least that a disk writes whole.
pub(crate) const SECTOR_BYTES: u64 = 512;

/// Which survivors are legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A prefix of the changes, in order.
    Strict,
    /// As ext4 with its default options: data before size, names in order.
    Ext4,
    /// All that the crash model of [`merkql::env`] allows.
    Posix,
    /// More than it allows.
    Hostile,
}

impl Profile {
    /// All profiles, the kind ones first.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Ext4, Self::Posix, Self::Hostile];

    /// The profiles under which every class R fault must pass.
    pub const HONEST: [Self; 3] = [Self::Strict, Self::Ext4, Self::Posix];

    /// The name, as on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Ext4 => "ext4",
            Self::Posix => "posix",
            Self::Hostile => "hostile",
        }
    }

    /// Some legal set of survivors.
    pub fn draw(self, unsynced: &Unsynced, random: &mut Stream) -> Survivors {
        match self {
            Self::Strict => strict::draw(unsynced, random),
            Self::Ext4 => ext4::draw(unsynced, random),
            Self::Posix => posix::draw(unsynced, random),
            Self::Hostile => posix::draw_hostile(unsynced, random),
        }
    }

    /// The legal sets of survivors, at most `bound` of them, those first that
    /// are most likely to matter: everything, nothing, and all but one thing.
    /// Garbage is left out, there is too much of it.
    pub fn enumerate(self, unsynced: &Unsynced, bound: usize) -> Enumeration {
        match self {
            Self::Strict => enumerate::run(&strict::Choices::new(unsynced), bound),
            Self::Ext4 => enumerate::run(&ext4::Choices::new(unsynced), bound),
            Self::Posix | Self::Hostile => enumerate::run(&posix::Choices::new(unsynced), bound),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| format!("no profile {name:?}: strict, ext4, posix or hostile"))
    }
}

/// Survivors as the outcome of independent choices, so that they can be counted.
pub(crate) trait Space {
    /// How many choices there are, and for each how many ways; the last way of
    /// each keeps most.
    fn ways(&self) -> Vec<usize>;

    /// What survives if the choices are made so.
    fn survivors(&self, choices: &[usize]) -> Survivors;
}

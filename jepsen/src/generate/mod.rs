//! Histories made up: clean ones of a log that does everything right, and ways to put one anomaly into them.
//!
//! Clean histories come from a model of a perfect log with many clients, whose calls overlap, fail and crash. They are for testing
//! checkers, for measuring them, and for trying out what a history of one's own could look like.
//!
//! ```
//! use merkql_jepsen::generate::{clean, inject, Options};
//! use merkql_jepsen::{check, Name};
//!
//! let mut history = clean(&Options::default());
//! assert!(check(&history).is_valid());
//!
//! inject(&mut history, Name::PollSkip, 7).expect("a history of this size has a place for a skip");
//! assert_eq!(check(&history).names(), [Name::PollSkip]);
//! ```

mod calls;
mod client;
mod inject;
mod nemesis;
mod partition;
mod world;

pub use inject::{Injection, inject};

use crate::history::{History, Operation};
use world::World;

/// What a generated history is to be like.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each switches one thing, and all combinations make sense"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where the random numbers begin. The same options give the same history.
    pub seed: u64,
    /// How many operations there are, invocations counted too; some more follow, which read everything to the end.
    pub operations: usize,
    /// How many keys there are.
    pub keys: usize,
    /// How many clients work at the same time.
    pub processes: usize,
    /// Whether clients share keys in a group, with rebalances, commits and reads of committed offsets.
    pub groups: bool,
    /// Whether calls fail, clients crash and the log restarts.
    pub crashes: bool,
    /// Whether roots and proofs are handed out and records carry their hashes.
    pub proofs: bool,
    /// Whether retention, compaction and damage that is detected remove records. The first key is always spared.
    pub removals: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            operations: 1_000,
            keys: 4,
            processes: 8,
            groups: true,
            crashes: true,
            proofs: true,
            removals: true,
        }
    }
}

/// A history without anomalies.
pub fn clean(options: &Options) -> History {
    operations(options).collect()
}

/// The operations of a history without anomalies, one by one, for histories that are too long to hold.
pub fn operations(options: &Options) -> impl Iterator<Item = Operation> + use<> {
    World::new(options.clone())
}

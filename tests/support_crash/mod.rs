//! What the crash tests share: a ledger of what was promised, small sizes, a
//! file system that fails on purpose, and random numbers that can be repeated.

#![allow(dead_code, reason = "each test crate uses its own part of this")]
#![allow(clippy::disallowed_methods, reason = "tests stand outside the seams")]

pub(crate) mod fault_fs;
pub(crate) mod ledger;
pub(crate) mod workload;

use merkql::broker::BrokerConfig;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Sizes so small that rolls, checkpoints and recycling happen all the time.
pub(crate) fn small_config(dir: &Path) -> BrokerConfig {
    BrokerConfig {
        journal_initial_bytes: 8 << 10,
        journal_max_bytes: 64 << 10,
        segment_bytes: 16 << 10,
        index_interval_bytes: 256,
        ..BrokerConfig::new(dir)
    }
}

/// `SplitMix64`: random enough, and the same for the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A number from the environment.
pub(crate) fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

/// The seed of a run: `MERKQL_SEED`, or one from the time of day.
pub(crate) fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    number_from_env("MERKQL_SEED").unwrap_or_else(|| u64::from(now()))
}

/// Copies a directory as it is.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// A folder for logs whose syncs are swallowed anyway: in memory where there is
/// such a place, so that nobody waits for the disk.
pub(crate) fn memory_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

//! A client that keeps a log of what was acknowledged, a workload for it, and
//! the judge who compares a reopened log with it.

pub(crate) mod client;
pub(crate) mod crash;
pub(crate) mod damaged;
pub(crate) mod judge;
pub(crate) mod model;
pub(crate) mod tree;
pub(crate) mod workload;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::topic::RetentionConfig;
use merkql_sim::clock::SimClock;
use merkql_sim::disk::SimDisk;
use merkql_sim::entropy::SimEntropy;
use merkql_sim::probe::SimProbe;
use std::sync::Arc;

/// A disk and the rest of the world around one process after the other.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) entropy: Arc<SimEntropy>,
    pub(crate) probe: Arc<SimProbe>,
    /// Every other seed stores its records compressed.
    pub(crate) compression: Compression,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let compression = if seed.is_multiple_of(2) { Compression::Lz4 } else { Compression::None };
        Self { compression, ..Self::around(SimDisk::new(), seed) }
    }

    /// A world around a disk that was there before.
    pub(crate) fn around(disk: SimDisk, seed: u64) -> Self {
        let clock = Arc::new(SimClock::new());
        disk.set_clock(Arc::clone(&clock));
        let entropy = Arc::new(SimEntropy::new(seed));
        Self {
            disk,
            clock,
            entropy,
            probe: Arc::new(SimProbe::new()),
            compression: Compression::None,
        }
    }

    /// The same disk at the same moment, in a world of its own.
    pub(crate) fn fork(&self, seed: u64) -> Self {
        let fork = Self::around(self.disk.fork(), seed);
        Self { probe: Arc::clone(&self.probe), compression: self.compression, ..fork }
    }

    /// Opens the log with sizes so small that everything happens often.
    pub(crate) fn open(&self, retention: Option<u64>) -> merkql::Result<BrokerRef> {
        Broker::open(self.config(retention))
    }

    pub(crate) fn config(&self, retention: Option<u64>) -> BrokerConfig {
        BrokerConfig {
            compression: self.compression,
            default_retention: RetentionConfig { max_records: retention },
            auto_create_topics: false,
            journal_initial_bytes: 8192,
            journal_max_bytes: 16384,
            segment_bytes: 2048,
            index_interval_bytes: 64,
            max_open_files: 8,
            file_system: Arc::new(self.disk.process()),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            probe: self.probe.clone(),
            ..BrokerConfig::new("/data/log")
        }
    }
}

//! What the tests of compaction share: a log on a simulated disk, under a clock
//! that they move, and a model of what it has to hold.

#![allow(dead_code, reason = "each test crate uses its own part of this")]

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::partition::Partition;
use merkql::record::BytesProducerRecord;
use merkql::topic::{Compaction, TopicConfig};
use merkql_sim::clock::SimClock;
use merkql_sim::disk::SimDisk;
use merkql_sim::entropy::SimEntropy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a tombstone is kept.
pub(crate) const TOMBSTONES_STAY: Duration = Duration::from_secs(60);

/// A record without its offset: key, and value or none.
pub(crate) type Pair = (String, Option<String>);

/// A disk and a clock around one process after the other.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) compression: Compression,
    pub(crate) segment_bytes: u64,
}

impl World {
    pub(crate) fn new(compression: Compression, segment_bytes: u64) -> Self {
        let clock = Arc::new(SimClock::new());
        Self { disk: SimDisk::new(), clock, compression, segment_bytes }
    }

    /// The same disk at the same moment, in a world of its own.
    pub(crate) fn fork(&self) -> Self {
        Self { disk: self.disk.fork(), ..self.clone() }
    }

    pub(crate) fn config(&self) -> BrokerConfig {
        BrokerConfig {
            segment_bytes: self.segment_bytes,
            index_interval_bytes: 100,
            compression: self.compression,
            journal_initial_bytes: 16384,
            journal_max_bytes: 65536,
            file_system: Arc::new(self.disk.process()),
            clock: self.clock.clone(),
            entropy: Arc::new(SimEntropy::new(7)),
            ..BrokerConfig::new("/log")
        }
    }

    pub(crate) fn open(&self) -> BrokerRef {
        Broker::open(self.config()).unwrap()
    }

    /// Opens the log, with the compacted topic `t` of one partition.
    pub(crate) fn open_with_topic(&self) -> BrokerRef {
        let broker = self.open();
        broker.create_topic_with("t", &compacted()).unwrap();
        broker
    }

    /// The paths of the partition's files with this ending.
    pub(crate) fn files(&self, ending: &str) -> Vec<String> {
        let of_topic = |path: &String| path.contains("/t.1/") && path.ends_with(ending);
        self.disk.files().into_iter().filter(of_topic).collect()
    }

    /// The base offsets of the segments that have files, in order.
    pub(crate) fn bases(&self) -> Vec<u64> {
        let base = |path: String| path.rsplit('/').next()?.split('.').next()?.parse().ok();
        self.files(".log").into_iter().filter_map(base).collect()
    }

    /// How many bytes the partition's records take.
    pub(crate) fn log_bytes(&self) -> usize {
        self.files(".log").iter().map(|path| self.disk.content(path).unwrap().len()).sum()
    }
}

pub(crate) fn compacted() -> TopicConfig {
    let compaction = Compaction { tombstone_retention: TOMBSTONES_STAY };
    TopicConfig { compaction: Some(compaction), ..TopicConfig::default() }
}

/// A key with a value that takes about 100 bytes, which hardly compress, and tells
/// its number.
pub(crate) fn pair(key: &str, number: usize) -> Pair {
    let mut state = number as u64 + 1;
    let digits = (0..6).map(|_| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        format!("{state:016x}")
    });
    (key.to_owned(), Some(format!("value {number:0>4} {}", digits.collect::<String>())))
}

pub(crate) fn tombstone(key: &str) -> Pair {
    (key.to_owned(), None)
}

/// Sends the pairs to topic `t` as one batch.
pub(crate) fn send(broker: &BrokerRef, pairs: &[Pair]) {
    let record = |(key, value): &Pair| match value {
        Some(value) => BytesProducerRecord::new("t", key.as_bytes(), value.as_bytes()),
        None => BytesProducerRecord::tombstone("t", key.as_bytes()),
    };
    let records: Vec<_> = pairs.iter().map(record).collect();
    Broker::producer(broker).send_bytes_batch(&records).unwrap();
}

/// Sends each pair by itself.
pub(crate) fn send_each(broker: &BrokerRef, pairs: &[Pair]) {
    for pair in pairs {
        send(broker, std::slice::from_ref(pair));
    }
}

pub(crate) fn partition(broker: &BrokerRef) -> Partition {
    broker.topic("t").unwrap().partition(0).unwrap().read().unwrap()
}

/// All records that the partition shows, by offset.
pub(crate) fn shown(partition: &Partition) -> BTreeMap<u64, Pair> {
    let records = partition.read_range_bytes(0, u64::MAX).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let pair = |record: merkql::record::BytesRecord| {
        (record.offset, (text(record.key.unwrap()), record.value.map(text)))
    };
    records.into_iter().map(pair).collect()
}

/// What compaction leaves of `sent`, tombstones included, if the segment that is
/// appended to begins at `active`.
pub(crate) fn last_of_each(sent: &[Pair], active: u64) -> BTreeMap<u64, Pair> {
    let last: BTreeMap<&str, u64> =
        (0..).zip(sent).map(|(offset, (key, _))| (key.as_str(), offset)).collect();
    let stays =
        |(offset, (key, _)): &(u64, &Pair)| *offset >= active || last[key.as_str()] == *offset;
    (0..).zip(sent).filter(stays).map(|(offset, pair)| (offset, pair.clone())).collect()
}

/// Sees to it that every record ever sent is proved, and every root.
pub(crate) fn assert_proved(partition: &Partition, roots: &BTreeMap<u64, merkql::hash::Hash>) {
    for offset in 0..partition.next_offset() {
        let proof = partition.proof(offset).unwrap().unwrap();
        assert!(partition.verify_proof(&proof).unwrap(), "offset {offset}");
    }
    for (size, root) in roots {
        assert_eq!(partition.root_at(*size).unwrap(), Some(*root), "at {size}");
        let proof = partition.consistency_proof(*size).unwrap().unwrap();
        assert!(proof.old_root == *root && proof.is_valid(), "at {size}");
    }
}

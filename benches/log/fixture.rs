//! Logs to measure on.

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, ConsumerOptions, OffsetReset};
use merkql::record::ProducerRecord;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const TOPIC: &str = "events";
pub(crate) const VALUE_BYTES: usize = 256;
pub(crate) const BATCH: usize = 1000;

/// A folder on the build folder's disk, which is a real one.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder is writable")
}

pub(crate) fn open(dir: &Path) -> BrokerRef {
    Broker::open(BrokerConfig::new(dir)).expect("the log opens")
}

pub(crate) fn record() -> ProducerRecord {
    ProducerRecord::new(TOPIC, None, "x".repeat(VALUE_BYTES))
}

pub(crate) fn batch() -> Vec<ProducerRecord> {
    vec![record(); BATCH]
}

/// Sends `records`, in batches of a thousand where that fits; returns the time.
pub(crate) fn fill(broker: &BrokerRef, records: usize) -> Duration {
    let producer = Broker::producer(broker);
    let batch = batch();
    let start = Instant::now();
    for _ in 0..records / BATCH {
        producer.send_batch(&batch).expect("a batch is sent");
    }
    producer.send_batch(&batch[..records % BATCH]).expect("a batch is sent");
    start.elapsed()
}

/// A consumer of `topic` from its start.
pub(crate) fn consumer(
    broker: &BrokerRef,
    topic: &str,
    max_poll_records: Option<usize>,
) -> Consumer {
    let config = ConsumerConfig {
        group_id: "bench".to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let options = ConsumerOptions { max_poll_records, ..ConsumerOptions::default() };
    let mut consumer = Broker::consumer_with(broker, config, options);
    consumer.subscribe(&[topic]).expect("the topic has a good name");
    consumer
}

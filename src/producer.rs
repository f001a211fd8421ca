//! Producers: sending records, durably.
//!
//! [`Producer`] sends records and batches, [`IdempotentProducer`] sends what may
//! have to be repeated, and a [`Transaction`] joins records to several topics with
//! the offsets of a consumer.

use crate::broker::{Broker, BrokerRef};
use crate::compression::Compression;
use crate::error::{Error, Result};
use crate::outgoing::Outgoing;
use crate::pending::enqueue;
use crate::record::{BytesProducerRecord, BytesRecord, ProducerRecord, Record};
use crate::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

pub use crate::idempotent::IdempotentProducer;
pub use crate::pending::{PendingSend, SendFuture};
pub use crate::transaction::Transaction;

/// How a producer works. Written as `ProducerOptions { .., ..ProducerOptions::default() }`.
///
/// # When records are durable
///
/// What [`Producer::send`] and the like return is durable, whatever is chosen here.
/// What was enqueued and is not yet written is lost if the process dies.
///
/// Without a `flush_interval` it is written when somebody waits for it, sends,
/// commits, flushes or closes; a producer that only enqueues may leave any amount
/// pending. With one, the first enqueue after the interval has passed since this
/// producer last flushed or sent writes and syncs everything that is pending, its
/// own records included. The log has no threads: if nobody calls, nothing is
/// written, however long ago the interval has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ProducerOptions {
    /// In place of [`crate::broker::BrokerConfig::compression`]; `None` leaves it at
    /// that. (Kafka: `compression.type`.)
    pub compression: Option<Compression>,
    /// How long what is enqueued may stay pending while more is enqueued; zero
    /// writes with every enqueue. Default: for ever.
    pub flush_interval: Option<Duration>,
}

/// Sends records. Cheap to clone, and usable from many threads at once: their
/// sends share the disk's syncs. (Kafka: `KafkaProducer`, with `acks=all`.)
#[derive(Debug, Clone)]
pub struct Producer {
    broker: BrokerRef,
    options: ProducerOptions,
    /// The monotonic clock at the last flush, in nanoseconds; shared by clones.
    flushed_ns: Arc<AtomicU64>,
}

impl Producer {
    pub(crate) fn new(broker: BrokerRef, options: ProducerOptions) -> Self {
        let flushed_ns = Arc::new(AtomicU64::new(monotonic_ns(&broker)));
        Self { broker, options, flushed_ns }
    }

    /// Sends one record. When this returns, the record is durable, and readable.
    ///
    /// A key always takes its record to the same partition; records without one
    /// take the partitions in turn. After [`Error::NeedsReopen`], or the first
    /// error that caused it, the record may be there or not.
    pub fn send(&self, record: &ProducerRecord) -> Result<Record> {
        self.send_one(record)
    }

    /// As [`Producer::send`], in bytes. A record that names its partition goes
    /// there ([`Error::UnknownPartition`] if there is none); a compacted topic
    /// takes no record without a key ([`Error::KeyRequired`]).
    pub fn send_bytes(&self, record: &BytesProducerRecord) -> Result<BytesRecord> {
        self.send_one(record)
    }

    /// Sends records together: after any failure or crash either all of them
    /// are there or none, whatever topics and partitions they go to. One sync
    /// for all; 64 MiB at most. The results are in the order of `records`.
    pub fn send_batch(&self, records: &[ProducerRecord]) -> Result<Vec<Record>> {
        self.send_all(records)
    }

    /// As [`Producer::send_batch`], in bytes.
    pub fn send_bytes_batch(&self, records: &[BytesProducerRecord]) -> Result<Vec<BytesRecord>> {
        self.send_all(records)
    }

    /// Hands records over without waiting for the disk. They are written, as
    /// one unit like [`Producer::send_batch`]'s, by the next wait, send, flush
    /// or close, of whomever, or as [`ProducerOptions::flush_interval`] says.
    /// Dropping what is returned does not cancel them.
    pub fn enqueue(&self, records: &[ProducerRecord]) -> Result<PendingSend> {
        self.enqueue_all(records)
    }

    /// As [`Producer::enqueue`], in bytes.
    pub fn enqueue_bytes(
        &self,
        records: &[BytesProducerRecord],
    ) -> Result<PendingSend<BytesRecord>> {
        self.enqueue_all(records)
    }

    /// Writes and syncs everything that was enqueued, by anybody. Whether an
    /// enqueued send has failed, its own `wait` tells.
    pub fn flush(&self) -> Result<()> {
        self.broker.store.check_open()?;
        self.note_flush();
        self.broker.store.flush();
        self.broker.store.latch.check()
    }

    fn send_one<S: Outgoing>(&self, record: &S) -> Result<S::Stored> {
        self.send_all(std::slice::from_ref(record))?.pop().ok_or(Error::Closed)
    }

    fn send_all<S: Outgoing>(&self, records: &[S]) -> Result<Vec<S::Stored>> {
        let pending = enqueue(&self.broker, records, None, self.compression())?;
        self.note_flush();
        pending.wait()
    }

    fn enqueue_all<S: Outgoing>(&self, records: &[S]) -> Result<PendingSend<S::Stored>> {
        let pending = enqueue(&self.broker, records, None, self.compression())?;
        if self.flush_is_due() {
            // What fails here, the waits of the sends that it concerns tell.
            self.broker.store.flush();
        }
        Ok(pending)
    }

    fn compression(&self) -> Compression {
        self.options.compression.unwrap_or(self.broker.config.compression)
    }

    fn note_flush(&self) {
        if self.options.flush_interval.is_some() {
            self.flushed_ns.store(monotonic_ns(&self.broker), Ordering::Relaxed);
        }
    }

    /// Whether the interval has passed; of several threads one is told so.
    fn flush_is_due(&self) -> bool {
        let Some(interval) = self.options.flush_interval else { return false };
        let now_ns = monotonic_ns(&self.broker);
        let flushed_ns = self.flushed_ns.load(Ordering::Relaxed);
        let passed = Duration::from_nanos(now_ns.saturating_sub(flushed_ns)) >= interval;
        let (relaxed, flushed) = (Ordering::Relaxed, &self.flushed_ns);
        passed && flushed.compare_exchange(flushed_ns, now_ns, relaxed, relaxed).is_ok()
    }
}

fn monotonic_ns(broker: &Broker) -> u64 {
    u64::try_from(broker.config.clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
}

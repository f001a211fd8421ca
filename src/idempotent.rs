//! Producers that number their sends.

use crate::broker::BrokerRef;
use crate::error::Result;
use crate::outgoing::Outgoing;
use crate::pending::{PendingSend, enqueue};
use crate::record::{BytesProducerRecord, BytesRecord, ProducerRecord, Record};
use crate::staging::Sequence;
use crate::transaction::Transaction;

/// Sends records under sequence numbers, so that a send without an answer, be it
/// for an error or a crash, can be repeated: the records are there once.
/// (Kafka: `enable.idempotence`.)
///
/// Sequences of an id go 0, 1, 2, …; each send, batch or transaction takes one.
/// The last eight of an id can be repeated, and give the offsets of the first
/// time. How many ids are remembered is
/// [`crate::broker::BrokerConfig::max_producers`]; one that was forgotten and claims
/// to have sent before is refused ([`crate::Error::UnknownProducer`]), never taken
/// for new.
#[derive(Debug, Clone)]
pub struct IdempotentProducer {
    broker: BrokerRef,
    producer_id: u64,
}

impl IdempotentProducer {
    pub(crate) fn new(broker: BrokerRef, producer_id: u64) -> Self {
        Self { broker, producer_id }
    }

    /// The producer's id.
    pub fn id(&self) -> u64 {
        self.producer_id
    }

    /// The sequence after the last one that the log remembers of this id; 0 if
    /// it remembers none.
    pub fn next_sequence(&self) -> u64 {
        self.broker.store.tables().producers.next_sequence(self.producer_id)
    }

    /// Sends records together under `sequence`; a repetition returns what was
    /// stored the first time.
    pub fn send_batch(&self, sequence: u64, records: &[ProducerRecord]) -> Result<Vec<Record>> {
        self.enqueue(sequence, records)?.wait()
    }

    /// As [`IdempotentProducer::send_batch`], in bytes.
    pub fn send_bytes_batch(
        &self,
        sequence: u64,
        records: &[BytesProducerRecord],
    ) -> Result<Vec<BytesRecord>> {
        self.enqueue_bytes(sequence, records)?.wait()
    }

    /// As [`crate::producer::Producer::enqueue`], under `sequence`.
    pub fn enqueue(&self, sequence: u64, records: &[ProducerRecord]) -> Result<PendingSend> {
        self.enqueue_any(sequence, records)
    }

    /// As [`IdempotentProducer::enqueue`], in bytes.
    pub fn enqueue_bytes(
        &self,
        sequence: u64,
        records: &[BytesProducerRecord],
    ) -> Result<PendingSend<BytesRecord>> {
        self.enqueue_any(sequence, records)
    }

    /// A transaction under `sequence`: after an error or a crash the same
    /// transaction can be built and committed again under the same sequence. If it
    /// was committed the first time, that changes nothing and returns what was
    /// returned, or would have been, then; the offsets are not committed again.
    ///
    /// One that takes its input from a consumer need not be repeated: sequence and
    /// offsets are committed together, so whoever opens the log again goes on with
    /// [`IdempotentProducer::next_sequence`] and with what is polled then.
    pub fn transaction(&self, sequence: u64) -> Transaction<'_> {
        Transaction::new(&self.broker, Some(self.numbered(sequence)))
    }

    fn enqueue_any<S: Outgoing>(
        &self,
        sequence: u64,
        records: &[S],
    ) -> Result<PendingSend<S::Stored>> {
        let compression = self.broker.config.compression;
        enqueue(&self.broker, records, Some(self.numbered(sequence)), compression)
    }

    fn numbered(&self, sequence: u64) -> Sequence {
        Sequence { producer_id: self.producer_id, sequence }
    }
}

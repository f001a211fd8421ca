//! Sends that were handed over, and what becomes of them.

use crate::broker::{Broker, BrokerRef};
use crate::compression::Compression;
use crate::error::{Error, Result};
use crate::outgoing::{Outgoing, StoredRecord};
use crate::record::Record;
use crate::staging::{Sequence, prepare};
use crate::storage::commit::{Operation, Outcome, Ticket};
use crate::storage::entry::{PartitionKey, Placement};
use crate::storage::producers::Sent;
use chrono::DateTime;
use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

/// A send that was handed over and may not be on disk yet. `R` is [`Record`], or
/// [`crate::record::BytesRecord`] for what was sent in bytes.
///
/// It can be waited for, or awaited on any runtime: see [`SendFuture`].
#[derive(Debug)]
#[must_use = "whether the records are durable is known only after `wait`"]
pub struct PendingSend<R = Record> {
    broker: Weak<Broker>,
    /// `None` for no records.
    ticket: Option<Arc<Ticket>>,
    unplaced: Unplaced<R>,
}

/// Stages records as one operation.
pub(crate) fn enqueue<S: Outgoing>(
    broker: &BrokerRef,
    records: &[S],
    sequence: Option<Sequence>,
    compression: Compression,
) -> Result<PendingSend<S::Stored>> {
    broker.store.check_open()?;
    broker.store.latch.check()?;
    let batch = prepare(broker, records, sequence, compression)?;
    let mut pending =
        PendingSend { broker: Arc::downgrade(broker), ticket: None, unplaced: batch.unplaced };
    if !records.is_empty() || sequence.is_some() {
        let operation =
            Operation::Write { records: batch.records, commits: None, sent: batch.sent };
        pending.ticket = Some(broker.store.stage(operation)?);
    }
    Ok(pending)
}

#[expect(private_bounds, reason = "the records are three, and nobody adds others")]
impl<R: StoredRecord> PendingSend<R> {
    /// Waits until the records are durable, and writes them if nobody else does.
    pub fn wait(self) -> Result<Vec<R>> {
        let Some(ticket) = self.ticket else { return Ok(Vec::new()) };
        let broker = self.broker.upgrade();
        let outcome = match &broker {
            None => ticket.wait_for_close(),
            Some(broker) => broker.store.wait(&ticket),
        };
        self.unplaced.resolve(broker.as_deref(), outcome?)
    }
}

impl<R: StoredRecord> IntoFuture for PendingSend<R> {
    type Output = Result<Vec<R>>;
    type IntoFuture = SendFuture<R>;

    fn into_future(self) -> SendFuture<R> {
        SendFuture { pending: Some(self) }
    }
}

/// The future of a [`PendingSend`]: what [`PendingSend::wait`] returns.
///
/// It needs no particular runtime, and the log has no threads of its own: while
/// nobody else writes, polling writes and syncs everything that is pending, and
/// blocks its thread for as long as the disk takes, as any send does. While another
/// thread does, it does not block, and is woken once there is an answer or something
/// to do. Dropping it does not cancel the send.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct SendFuture<R = Record> {
    /// `None` once it was ready.
    pending: Option<PendingSend<R>>,
}

impl<R: StoredRecord> Future for SendFuture<R> {
    type Output = Result<Vec<R>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Polled again after it was ready: there is nothing left to tell.
        let Some(pending) = &self.pending else { return Poll::Ready(Err(Error::Closed)) };
        let broker = pending.broker.upgrade();
        let outcome = match (&pending.ticket, &broker) {
            (None, _) => None,
            (Some(ticket), None) => Some(ready!(ticket.poll(context.waker()))),
            (Some(ticket), Some(broker)) => {
                Some(ready!(broker.store.poll(ticket, context.waker())))
            }
        };
        let pending = self.pending.take();
        Poll::Ready(match (pending, outcome) {
            (Some(pending), Some(outcome)) => {
                outcome.and_then(|outcome| pending.unplaced.resolve(broker.as_deref(), outcome))
            }
            _ => Ok(Vec::new()),
        })
    }
}

/// The partition of a record, and what its sender chose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// Which of the operation's partitions it goes to.
    pub(crate) index: usize,
    pub(crate) has_own_timestamp: bool,
}

/// Records as they were sent, whose offsets count from the first of their
/// partition in this send, because only the commit knows the rest.
#[derive(Debug)]
pub(crate) struct Unplaced<R> {
    pub(crate) records: Vec<R>,
    /// The partition of each placement, in the operation's order.
    pub(crate) keys: Vec<PartitionKey>,
    pub(crate) slots: Vec<Slot>,
}

impl<R> Unplaced<R> {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self {
            records: Vec::with_capacity(count),
            keys: Vec::new(),
            slots: Vec::with_capacity(count),
        }
    }
}

impl<R: StoredRecord> Unplaced<R> {
    /// The records in their places. The broker is needed for those of a
    /// repetition, which are read.
    pub(crate) fn resolve(self, broker: Option<&Broker>, outcome: Outcome) -> Result<Vec<R>> {
        match (outcome, broker) {
            (Outcome::Written(placements), _) => Ok(self.place(&placements)),
            (Outcome::Repeated(sent), Some(broker)) => self.stored(broker, &sent),
            _ => Err(Error::Closed),
        }
    }

    fn place(self, placements: &[Placement]) -> Vec<R> {
        let mut records = self.records;
        for (record, slot) in records.iter_mut().zip(self.slots) {
            let placement = placements.get(slot.index);
            *record.offset_mut() += placement.map_or(0, |placement| placement.base_offset);
        }
        records
    }

    /// The records as they were stored the first time. Where retention has
    /// removed one, its key, value and headers are what was sent now.
    pub(crate) fn stored(self, broker: &Broker, sent: &Sent) -> Result<Vec<R>> {
        let placements = &sent.placements;
        let is_same = self.fits(placements);
        let mut stored = BTreeMap::new();
        let mut first_time = Vec::new();
        for placement in placements {
            let end = placement.base_offset.saturating_add(placement.records);
            let log =
                broker.store.tables().partitions().find(|log| log.key == placement.key).cloned();
            let Some(log) = log else { continue };
            log.read(&log.view(), placement.base_offset, end, usize::MAX, &mut |offset, body| {
                let record = R::from_body(&log, offset, body)?;
                if is_same {
                    stored.insert((placement.key, offset), record);
                } else {
                    first_time.push(record);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        if !is_same {
            return Ok(first_time);
        }
        let timestamp = DateTime::from_timestamp_nanos(sent.timestamp_ns);
        let slots = self.slots.clone();
        let mut records = Vec::with_capacity(slots.len());
        for (mut record, slot) in self.place(placements).into_iter().zip(slots) {
            let key = placements.get(slot.index).map(|placement| placement.key);
            let found = key.and_then(|key| stored.remove(&(key, *record.offset_mut())));
            if !slot.has_own_timestamp {
                *record.timestamp_mut() = timestamp;
            }
            records.push(found.unwrap_or(record));
        }
        Ok(records)
    }

    /// Whether these are as many records in the same partitions.
    fn fits(&self, placements: &[Placement]) -> bool {
        let mut counts = vec![0; self.keys.len()];
        for slot in &self.slots {
            if let Some(count) = counts.get_mut(slot.index) {
                *count += 1;
            }
        }
        let present = self.keys.iter().copied().zip(counts);
        present.eq(placements.iter().map(|placement| (placement.key, placement.records)))
    }
}

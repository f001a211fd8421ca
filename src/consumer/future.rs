//! Waiting for records without blocking a thread.
//!
//! ```text
//! count ──► poll without waiting ──► something: ready
//!   ▲               │ nothing
//!   └─ moved on ── leave a waker ──► pending, until the count moves on
//! ```

use super::{Consumer, Reads};
use crate::env::Registration;
use crate::error::Result;
use crate::partition::{bytes_record, text_record};
use crate::record::{BytesRecord, Record};
use crate::storage::frame::Body;
use crate::storage::partition::PartitionLog;
use crate::sync::lock;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits for records of type `T`; made by [`Consumer::poll_async`] and
/// [`Consumer::poll_bytes_async`].
///
/// Any executor will do. Positions only move when it returns records, so it may be
/// dropped at any time, for a timeout or another branch of a `select`, and nothing
/// is lost. While it is pending the consumer counts as alive in its group. Once it
/// is woken for a rebalance, it has to be polled within
/// [`max_poll_interval`](crate::broker::BrokerConfig::max_poll_interval).
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct PollFuture<'c, T> {
    consumer: &'c mut Consumer,
    registration: Option<Registration>,
    /// Whether the group was told that the member waits.
    waits: bool,
    returns: PhantomData<fn() -> T>,
}

impl Consumer {
    /// Like [`Consumer::poll`], for `async` code: waits, as long as it is not
    /// dropped, without blocking the thread. It reads files on the executor's
    /// thread, and calls the rebalance listener there; [`Consumer::commit_sync`]
    /// blocks until the disk has synced.
    pub fn poll_async(&mut self) -> PollFuture<'_, Record> {
        PollFuture::new(self)
    }

    /// Like [`Consumer::poll_async`], with records in bytes.
    pub fn poll_bytes_async(&mut self) -> PollFuture<'_, BytesRecord> {
        PollFuture::new(self)
    }
}

impl<'c, T> PollFuture<'c, T> {
    fn new(consumer: &'c mut Consumer) -> Self {
        Self { consumer, registration: None, waits: false, returns: PhantomData }
    }

    fn poll_as(
        &mut self,
        context: &Context<'_>,
        make: impl Fn(&PartitionLog, u64, Body<'_>) -> Result<T> + Copy,
    ) -> Poll<Result<Vec<T>>> {
        self.deregister();
        loop {
            let seen = self.consumer.broker.store.appended.count();
            match self.consumer.poll_once("poll_async", make) {
                Ok(records) if records.is_empty() => {}
                done => return Poll::Ready(done),
            }
            // Before the waker is left: whoever wants something of the member from
            // then on sets its time going, and wakes it.
            self.consumer.set_waiting(true);
            self.waits = true;
            let appended = &self.consumer.broker.store.appended;
            self.registration = appended.register(seen, context.waker());
            if self.registration.is_some() {
                return Poll::Pending;
            }
        }
    }

    fn deregister(&mut self) {
        if let Some(registration) = self.registration.take() {
            self.consumer.broker.store.appended.deregister(&registration);
        }
    }
}

impl Future for PollFuture<'_, Record> {
    type Output = Result<Vec<Record>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_as(context, text_record)
    }
}

impl Future for PollFuture<'_, BytesRecord> {
    type Output = Result<Vec<BytesRecord>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_as(context, bytes_record)
    }
}

impl<T> Drop for PollFuture<'_, T> {
    fn drop(&mut self) {
        self.deregister();
        if self.waits {
            self.consumer.set_waiting(false);
        }
    }
}

impl Consumer {
    /// Tells the group that the member can't poll by itself, or can again.
    fn set_waiting(&self, waits: bool) {
        if matches!(self.reads, Reads::Topics(_)) {
            lock(&self.group).set_waiting(self.member, waits, self.now());
        }
    }
}

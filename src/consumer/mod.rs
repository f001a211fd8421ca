//! Consumers: reading topics in order, as a member of a group or alone.
//!
//! ```text
//! subscribe ──► membership.rs ──► positions.rs ──► fetch.rs ──► poll (here), future.rs
//!               listener.rs       commits.rs, offsets.rs
//! ```

mod commits;
mod fetch;
mod future;
mod listener;
mod membership;
mod offsets;
mod options;
mod positions;
mod wakeup;

pub(crate) use commits::GivenOffsets;
pub use future::PollFuture;
pub use listener::RebalanceListener;
pub use offsets::OffsetAndTimestamp;
pub use options::{ConsumerConfig, ConsumerOptions, OffsetReset};
pub use wakeup::WakeupHandle;

use crate::broker::BrokerRef;
use crate::error::{Error, Result};
use crate::group::{Group, MemberId, TopicNames};
use crate::partition::{bytes_record, text_record};
use crate::record::{BytesRecord, Record};
use crate::storage::entry::PartitionKey;
use crate::storage::frame::Body;
use crate::storage::partition::PartitionLog;
use crate::sync::Mutex;
use listener::{ListenerSlot, Told};
use options::Limits;
pub(crate) use options::check_group_id;
use positions::Positions;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wakeup::Called;

/// What a consumer reads.
#[derive(Debug)]
enum Reads {
    Nothing,
    /// A share of these topics, as a member of its group.
    Topics(TopicNames),
    /// Partitions of its own choice, checked against this version of the topics.
    Assigned {
        version: u64,
    },
}

/// Reads topics as a member of a group, or partitions of its own choice. (Kafka:
/// `KafkaConsumer`.)
///
/// The live consumers of a group share the partitions; each partition has one
/// owner at a time. A consumer leaves its group at [`Consumer::close`],
/// [`Consumer::unsubscribe`] or when it is dropped.
#[derive(Debug)]
pub struct Consumer {
    broker: BrokerRef,
    config: ConsumerConfig,
    limits: Limits,
    group: Arc<Mutex<Group>>,
    member: MemberId,
    reads: Reads,
    /// The topics that existed when the consumer subscribed, and how many partitions
    /// they had; everything else is newer.
    known: BTreeMap<u64, u32>,
    positions: Positions,
    /// Taken away by a rebalance while something was to be committed; the next
    /// commit says so.
    given_up: BTreeMap<PartitionKey, Arc<PartitionLog>>,
    /// What the last poll returned records of last before it ended for its bound;
    /// the next begins behind it, so that a busy partition does not keep the others
    /// waiting for ever.
    ended_in: Option<PartitionKey>,
    /// Whose failure the last poll kept to itself, because others had records; the
    /// next begins with it, so that busy ones do not hide it for ever.
    failing: Option<PartitionKey>,
    /// When positions are to be committed by a poll, if they are.
    commit_due: Duration,
    listener: ListenerSlot,
    wakeup: Arc<Called>,
    closed: bool,
}

impl Consumer {
    pub(crate) fn new(broker: BrokerRef, config: ConsumerConfig, options: ConsumerOptions) -> Self {
        let defaults = &broker.config;
        let limits = Limits {
            poll_records_max: options.max_poll_records.unwrap_or(usize::MAX).max(1),
            poll_bytes_max: options.max_poll_bytes.unwrap_or(defaults.max_poll_bytes),
            poll_interval_max: options.max_poll_interval.unwrap_or(defaults.max_poll_interval),
            auto_commit_interval: options.auto_commit_interval.filter(|_| config.auto_commit),
        };
        Self {
            group: broker.groups.group(&config.group_id),
            member: broker.groups.new_member(),
            broker,
            config,
            limits,
            reads: Reads::Nothing,
            known: BTreeMap::new(),
            positions: Positions::default(),
            given_up: BTreeMap::new(),
            ended_in: None,
            failing: None,
            commit_due: Duration::ZERO,
            listener: ListenerSlot::new(options.rebalance_listener),
            wakeup: Arc::default(),
            closed: false,
        }
    }

    /// Returns the records behind the positions, from all assigned partitions,
    /// in offset order within each, and moves the positions past them. With
    /// nothing there, waits up to `timeout` for something; nothing in the end
    /// is an empty vector, not an error.
    ///
    /// A record that is damaged ([`Error::Corrupt`]), or is no text
    /// ([`Error::NotText`]), is an error of the first poll that has nothing else to
    /// return, and at the latest of the one after that which met it first; the
    /// position stays in front of it, and [`Consumer::seek`] leads past it. Other
    /// partitions can be read on: an error moves no position.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<Record>> {
        self.poll_as("poll", timeout, text_record)
    }

    /// Like [`Consumer::poll`], with records in bytes, of which there is none that
    /// cannot be returned.
    pub fn poll_bytes(&mut self, timeout: Duration) -> Result<Vec<BytesRecord>> {
        self.poll_as("poll_bytes", timeout, bytes_record)
    }

    fn poll_as<T>(
        &mut self,
        call: &'static str,
        timeout: Duration,
        make: impl Fn(&PartitionLog, u64, Body<'_>) -> Result<T> + Copy,
    ) -> Result<Vec<T>> {
        let deadline = self.now().saturating_add(timeout);
        loop {
            // Counted first: who closes the log from here on ends the wait.
            let seen = self.broker.store.appended.count();
            let records = self.poll_once(call, make)?;
            if !records.is_empty() || self.now() >= deadline {
                return Ok(records);
            }
            let until = deadline.min(self.next_duty());
            self.broker.config.clock.wait(&self.broker.store.appended, seen, until);
        }
    }

    /// A poll that does not wait.
    fn poll_once<T>(
        &mut self,
        call: &'static str,
        make: impl Fn(&PartitionLog, u64, Body<'_>) -> Result<T> + Copy,
    ) -> Result<Vec<T>> {
        self.check_open()?;
        self.check_not_in_listener(call)?;
        if matches!(self.reads, Reads::Nothing) {
            return Err(Error::NotSubscribed);
        }
        if self.wakeup.take() {
            return Err(Error::Wakeup);
        }
        self.commit_if_due()?;
        let deleted = self.keep_up()?;
        let fetched = self.fetch(make);
        match deleted {
            Some(error) => {
                fetched.and_then(|some| if some.is_empty() { Err(error) } else { Ok(some) })
            }
            None => fetched,
        }
    }

    /// Until when a poll may wait before it has something to do by itself.
    fn next_duty(&self) -> Duration {
        // A member that waits is alive, and says so in time.
        let alive = self.now().saturating_add(self.limits.poll_interval_max / 2);
        let commits = self.limits.auto_commit_interval.is_some() && self.positions.have_moved();
        if commits { alive.min(self.commit_due) } else { alive }
    }

    /// What ends this consumer's waits from any thread.
    pub fn wakeup_handle(&self) -> WakeupHandle {
        WakeupHandle { called: Arc::clone(&self.wakeup), broker: Arc::downgrade(&self.broker) }
    }

    /// Leaves the group, after a commit if the configuration asks for it, and has
    /// the partitions no more. Closing again is fine; every other call then fails
    /// with [`Error::Closed`].
    pub fn close(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        self.check_not_in_listener("close")?;
        let committed = self.give_up_all();
        self.closed = true;
        committed
    }

    fn check_open(&self) -> Result<()> {
        if self.closed { Err(Error::Closed) } else { self.broker.store.check_open() }
    }

    fn now(&self) -> Duration {
        self.broker.config.clock.monotonic()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.closed {
            self.leave();
        }
    }
}

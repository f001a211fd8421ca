//! Consumers: reading topics in order, as a member of a group.

use crate::broker::BrokerRef;
use crate::error::{Error, Result};
use crate::group::{Candidates, Group, MemberId};
use crate::partition::text_record;
use crate::record::Record;
use crate::storage::commit::Operation;
use crate::storage::entry::PartitionKey;
use crate::storage::partition::{PartitionLog, View};
use crate::sync::{Mutex, lock};
use crate::topic::check_name;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

mod offsets;

pub(crate) use offsets::GivenOffsets;
use offsets::ToCommit;

/// The longest id of a group, in bytes.
const GROUP_ID_BYTES_MAX: usize = 249;

/// Where a group begins in a partition for which it has committed nothing.
/// (Kafka: `auto.offset.reset`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffsetReset {
    /// At the first record that is there.
    Earliest,
    /// Behind the last record that is there when the partition is assigned.
    /// Topics and partitions that are created later are read from their start.
    Latest,
}

/// How a consumer is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// The group, which shares partitions and committed offsets. 249 bytes at
    /// most. (Kafka: `group.id`.)
    pub group_id: String,
    /// Whether [`Consumer::close`] commits what was polled.
    pub auto_commit: bool,
    /// Where to begin without a committed offset, and where to go on when
    /// retention has overtaken the position.
    pub offset_reset: OffsetReset,
}

/// A partition that the consumer reads.
#[derive(Debug)]
struct Assigned {
    log: Arc<PartitionLog>,
    /// The offset of the next record to be returned.
    position: u64,
    /// Where it was at the last commit, or when the partition was assigned.
    settled: u64,
    /// What is committed for it, as far as this consumer knows.
    committed: Option<u64>,
}

/// Reads topics as a member of a group. (Kafka: `KafkaConsumer`.)
///
/// The live consumers of a group share the partitions; each partition has one
/// owner at a time. A consumer leaves its group at [`Consumer::close`] or when
/// it is dropped.
#[derive(Debug)]
pub struct Consumer {
    broker: BrokerRef,
    config: ConsumerConfig,
    group: Arc<Mutex<Group>>,
    member: MemberId,
    topics: BTreeSet<String>,
    /// What existed when the consumer subscribed; everything else is newer.
    known: BTreeSet<PartitionKey>,
    assigned: BTreeMap<PartitionKey, Assigned>,
    /// Taken away by a rebalance while something was to be committed; the next
    /// commit says so.
    given_up: BTreeMap<PartitionKey, Arc<PartitionLog>>,
    /// Where the last poll ended for its bound; the next begins behind it, so
    /// that a busy partition does not keep the others waiting for ever.
    ended_in: Option<PartitionKey>,
    closed: bool,
}

impl Consumer {
    pub(crate) fn new(broker: BrokerRef, config: ConsumerConfig) -> Self {
        Self {
            group: broker.groups.group(&config.group_id),
            member: broker.groups.new_member(),
            broker,
            config,
            topics: BTreeSet::new(),
            known: BTreeSet::new(),
            assigned: BTreeMap::new(),
            given_up: BTreeMap::new(),
            ended_in: None,
            closed: false,
        }
    }

    /// Reads these topics from now on, in place of any before, and joins the
    /// group. A topic need not exist: its records come once it does.
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        self.check_open()?;
        check_group_id(&self.config.group_id)?;
        topics.iter().try_for_each(|topic| check_name(topic))?;
        self.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.known = self.candidates().into_keys().collect();
        self.refresh();
        Ok(())
    }

    /// Returns the records behind the positions, from all assigned partitions,
    /// in offset order within each, and moves the positions past them. With
    /// nothing there, waits up to `timeout` for something; nothing in the end
    /// is an empty vector, not an error.
    ///
    /// A record that is damaged ([`Error::Corrupt`]), or is no text
    /// ([`Error::NotText`]), is an error once nothing else is there to return;
    /// the position stays in front of it, and [`Consumer::seek`] leads past it.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<Record>> {
        let deadline = self.broker.config.clock.monotonic().saturating_add(timeout);
        loop {
            // Counted first: who closes the log from here on ends the wait.
            let seen = self.broker.store.appended.count();
            self.check_open()?;
            if self.topics.is_empty() {
                return Err(Error::NotSubscribed);
            }
            self.refresh();
            let records = self.fetch()?;
            let clock = &self.broker.config.clock;
            if !records.is_empty() || clock.monotonic() >= deadline {
                return Ok(records);
            }
            // A member that waits is alive, and says so in time.
            let alive = clock.monotonic().saturating_add(self.broker.config.max_poll_interval / 2);
            clock.wait(&self.broker.store.appended, seen, deadline.min(alive));
        }
    }

    /// Goes on at `offset` of a partition that is assigned to this consumer.
    pub fn seek(&mut self, topic: &str, partition: u32, offset: u64) -> Result<()> {
        self.check_open()?;
        let mut assigned = self.assigned.values_mut();
        let assigned = assigned.find(|assigned| assigned.is_of(topic, partition));
        let not_assigned = || Error::NotAssigned { topic: topic.to_owned(), partition };
        assigned.ok_or_else(not_assigned)?.position = offset;
        Ok(())
    }

    /// The partitions that this consumer owns now, in order. What a rebalance has
    /// taken away is not among them, be it told by a poll or not.
    pub fn assignment(&self) -> Vec<(String, u32)> {
        let members = lock(&self.group);
        let owned = self.assigned.iter().filter(|(key, _)| members.owns(self.member, **key));
        let mut names: Vec<(String, u32)> = owned
            .map(|(_, assigned)| (assigned.log.name.topic.to_string(), assigned.log.name.partition))
            .collect();
        names.sort_unstable();
        names
    }

    /// The offset of the record that the next poll returns first from a
    /// partition, which must be assigned ([`Error::NotAssigned`]).
    pub fn position(&self, topic: &str, partition: u32) -> Result<u64> {
        self.check_open()?;
        let assigned = self.assigned.values().find(|assigned| assigned.is_of(topic, partition));
        let not_assigned = || Error::NotAssigned { topic: topic.to_owned(), partition };
        Ok(assigned.ok_or_else(not_assigned)?.position)
    }

    /// The offset that the group has committed for a partition, whoever owns it:
    /// the next one to read. `None` if it has committed none.
    pub fn committed(&self, topic: &str, partition: u32) -> Result<Option<u64>> {
        self.check_open()?;
        let tables = self.broker.store.tables();
        let log = tables.topics.get(topic).and_then(|topic| {
            let index = usize::try_from(partition).ok()?;
            topic.partitions.get(index)
        });
        let unknown = || Error::UnknownPartition { topic: topic.to_owned(), partition };
        let key = log.ok_or_else(unknown)?.key;
        let offsets = tables.groups.get(&self.config.group_id);
        Ok(offsets.and_then(|offsets| offsets.get(&key)).copied())
    }

    /// Commits the positions: what was returned by polls is not delivered to
    /// the group again. One sync; none if all of it is committed already.
    /// Positions of partitions that a rebalance has taken away are not
    /// committed; if that leaves some of what this consumer was to commit
    /// undone, it is [`Error::NotAssigned`], and the rest is committed.
    pub fn commit_sync(&mut self) -> Result<()> {
        self.check_open()?;
        let group = self.group();
        // Held throughout, so that nobody takes a partition over in between and
        // begins at the offset before.
        let members = lock(&group);
        let ToCommit { commits, lost } = self.positions_to_commit(&members);
        if !commits.is_empty() {
            let operation = Operation::Write {
                records: Vec::new(),
                commits: Some((self.config.group_id.clone(), commits.clone())),
                sent: None,
            };
            self.broker.store.execute(operation)?;
        }
        drop(members);
        self.given_up.clear();
        self.note_committed(&commits);
        lost.map_or(Ok(()), Err)
    }

    /// Leaves the group, after a commit if the configuration asks for it.
    /// Closing again is fine; every other call then fails with [`Error::Closed`].
    pub fn close(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let committed = if self.config.auto_commit && !self.broker.store.is_closed() {
            self.commit_sync()
        } else {
            Ok(())
        };
        self.leave();
        committed
    }

    fn leave(&mut self) {
        self.closed = true;
        self.assigned.clear();
        lock(&self.group).leave(self.member);
        // Others may have something to take over.
        self.broker.store.appended.notify();
    }

    fn check_open(&self) -> Result<()> {
        if self.closed { Err(Error::Closed) } else { self.broker.store.check_open() }
    }

    /// The partitions of the subscribed topics, as far as they exist.
    fn candidates(&self) -> Candidates {
        let tables = self.broker.store.tables();
        let topics = self.topics.iter().filter_map(|topic| tables.topics.get(topic));
        let partitions = topics.flat_map(|topic| &topic.partitions);
        partitions.map(|partition| (partition.key, Arc::clone(partition))).collect()
    }

    /// Tells the group that the member is alive, and takes over its decisions.
    fn refresh(&mut self) {
        let candidates = self.candidates();
        let config = &self.broker.config;
        let group = Arc::clone(&self.group);
        let mut members = lock(&group);
        let now = config.clock.monotonic();
        let change = members.poll(self.member, &candidates, now, config.max_poll_interval);
        let owned = |key: &PartitionKey| members.owns(self.member, *key);
        let lost: Vec<_> = self.assigned.keys().filter(|key| !owned(key)).copied().collect();
        for key in lost {
            if let Some(assigned) = self.assigned.remove(&key).filter(Assigned::has_moved) {
                self.given_up.insert(key, assigned.log);
            }
        }
        // What the consumer itself no longer subscribes to is no loss to it.
        self.given_up.retain(|key, _| candidates.contains_key(key));
        for key in change.assigned {
            self.given_up.remove(&key);
            if let Some(log) = candidates.get(&key) {
                let assigned = self.begin(&mut members, log);
                self.assigned.insert(key, assigned);
            }
        }
        if change.rebalanced {
            self.broker.store.appended.notify();
        }
    }

    /// Where reading of a newly assigned partition begins.
    fn begin(&self, members: &mut Group, log: &Arc<PartitionLog>) -> Assigned {
        let tables = self.broker.store.tables();
        let offsets = tables.groups.get(&self.config.group_id);
        let committed = offsets.and_then(|offsets| offsets.get(&log.key)).copied();
        let position = committed.unwrap_or_else(|| {
            let latest = self.config.offset_reset == OffsetReset::Latest;
            let skips = latest && self.known.contains(&log.key);
            let first = if skips { log.view().next_offset() } else { log.log_start() };
            members.origin(log.key, first)
        });
        Assigned { log: Arc::clone(log), position, settled: position, committed }
    }

    /// Reads what is behind the positions, all partitions as of one moment.
    fn fetch(&mut self) -> Result<Vec<Record>> {
        let mut views: Vec<(PartitionKey, Arc<View>)> = {
            let _tables = self.broker.store.tables();
            self.assigned.iter().map(|(key, assigned)| (*key, assigned.log.view())).collect()
        };
        let ended_in = self.ended_in.take();
        let served = views.partition_point(|(key, _)| Some(*key) <= ended_in);
        views.rotate_left(served);
        let bytes_max = self.broker.config.max_poll_bytes;
        let reset = self.config.offset_reset;
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut failed = None;
        for (key, view) in views {
            let Some(assigned) = self.assigned.get_mut(&key) else { continue };
            assigned.respect_log_start(reset, &view);
            let read = assigned.read_into(&view, bytes_max, &mut bytes, &mut records);
            failed = failed.or(read.err());
            if bytes >= bytes_max {
                self.ended_in = Some(key);
                break;
            }
        }
        match failed {
            // What is good comes first; the failure is met again by the next poll.
            Some(error) if records.is_empty() => Err(error),
            _ => Ok(records),
        }
    }
}

impl Assigned {
    fn is_of(&self, topic: &str, partition: u32) -> bool {
        *self.log.name.topic == *topic && self.log.name.partition == partition
    }

    /// Whether there is something to be committed that was not there when the
    /// partition was assigned.
    fn has_moved(&self) -> bool {
        self.position != self.settled
    }

    /// Retention may have overtaken the position.
    fn respect_log_start(&mut self, reset: OffsetReset, view: &View) {
        let log_start = self.log.log_start();
        if self.position < log_start {
            self.position = match reset {
                OffsetReset::Earliest => log_start,
                OffsetReset::Latest => view.next_offset(),
            };
        }
    }

    fn read_into(
        &mut self,
        view: &View,
        bytes_max: u64,
        bytes: &mut u64,
        records: &mut Vec<Record>,
    ) -> Result<()> {
        let log = &self.log;
        let position = &mut self.position;
        log.read(view, *position, u64::MAX, usize::MAX, &mut |offset, body| {
            let size = body.key.map_or(0, <[u8]>::len) + body.value.map_or(0, <[u8]>::len);
            if *bytes > 0 && *bytes + size as u64 > bytes_max {
                *bytes = bytes_max;
                return Ok(ControlFlow::Break(()));
            }
            records.push(text_record(log, offset, body)?);
            *bytes += size as u64;
            *position = offset + 1;
            Ok(ControlFlow::Continue(()))
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.closed {
            self.leave();
        }
    }
}

/// Checks a group's id against the limit.
pub(crate) fn check_group_id(group_id: &str) -> Result<()> {
    let (size_bytes, limit_bytes) = (group_id.len() as u64, GROUP_ID_BYTES_MAX as u64);
    if size_bytes > limit_bytes {
        return Err(Error::GroupIdTooLong { size_bytes, limit_bytes });
    }
    Ok(())
}

//! Which partitions a consumer reads: its own choice, or what its group leaves to it.

use super::positions::{Position, names};
use super::{Consumer, OffsetReset, Reads, Told, check_group_id};
use crate::error::{Error, Result};
use crate::group::{Group, Heartbeat};
use crate::storage::entry::PartitionKey;
use crate::storage::partition::PartitionLog;
use crate::sync::lock;
use crate::topic::check_name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Consumer {
    /// Reads these topics from now on, in place of any before, and joins the
    /// group. A topic need not exist: its records come once it does. No topics at
    /// all are an [`Consumer::unsubscribe`].
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        self.check_open()?;
        self.check_not_in_listener("subscribe")?;
        check_group_id(&self.config.group_id)?;
        topics.iter().try_for_each(|topic| check_name(topic))?;
        if topics.is_empty() {
            return self.unsubscribe();
        }
        if matches!(self.reads, Reads::Assigned { .. }) {
            let (present, requested) = ("been assigned partitions", "subscribe to topics");
            return Err(Error::SubscriptionConflict { present, requested });
        }
        let wanted: BTreeSet<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.known = {
            let tables = self.broker.store.tables();
            let existing = wanted.iter().filter_map(|topic| tables.topics.get(topic));
            let size = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            existing.map(|topic| (topic.incarnation, size(topic.partitions.len()))).collect()
        };
        self.put_off_commit();
        self.reads = Reads::Topics(Arc::new(wanted));
        self.keep_up().map(drop)
    }

    /// The topics that the consumer has subscribed to, in order.
    pub fn subscription(&self) -> Vec<String> {
        match &self.reads {
            Reads::Topics(topics) => topics.iter().cloned().collect(),
            Reads::Nothing | Reads::Assigned { .. } => Vec::new(),
        }
    }

    /// Reads nothing any more: leaves the group, after a commit if the configuration
    /// asks for it, or gives up what it was assigned.
    pub fn unsubscribe(&mut self) -> Result<()> {
        self.check_open()?;
        self.check_not_in_listener("unsubscribe")?;
        self.give_up_all()
    }

    /// Reads these partitions from now on, in place of any assigned before, and is no
    /// member of its group: others may read them, too, and rebalances don't concern
    /// it. Positions of those it had already stay. It commits for its group all the
    /// same, but nothing that a live member owns. No partitions at all are an
    /// [`Consumer::unsubscribe`].
    ///
    /// A partition has to exist ([`Error::UnknownTopic`], [`Error::UnknownPartition`]).
    /// Once its topic is deleted, polls answer [`Error::TopicDeleted`] when there is
    /// nothing else to return.
    pub fn assign(&mut self, partitions: &[(&str, u32)]) -> Result<()> {
        self.check_open()?;
        self.check_not_in_listener("assign")?;
        check_group_id(&self.config.group_id)?;
        if partitions.is_empty() {
            return self.unsubscribe();
        }
        if matches!(self.reads, Reads::Topics(_)) {
            let (present, requested) = ("subscribed to topics", "be assigned partitions");
            return Err(Error::SubscriptionConflict { present, requested });
        }
        // What was polled so far may be of partitions that are not read any more.
        self.commit_by_itself()?;
        let version = self.broker.store.topics_version();
        let logs = partitions.iter().map(|(topic, partition)| self.log_of(topic, *partition));
        let logs: BTreeMap<PartitionKey, Arc<PartitionLog>> =
            logs.map(|log| log.map(|log| (log.key, log))).collect::<Result<_>>()?;
        self.positions.retain(|key| logs.contains_key(&key));
        for (key, log) in logs {
            if self.positions.get(key).is_none() {
                let position =
                    self.committed_of(key).unwrap_or_else(|| match self.config.offset_reset {
                        OffsetReset::Earliest => log.log_start(),
                        OffsetReset::Latest => log.view().next_offset(),
                    });
                self.positions.insert(Position::new(log, position));
            }
        }
        self.reads = Reads::Assigned { version };
        Ok(())
    }

    /// The partitions that this consumer owns now, in order. What a rebalance has
    /// taken away is not among them, be it told by a poll or not.
    pub fn assignment(&self) -> Vec<(String, u32)> {
        if !matches!(self.reads, Reads::Topics(_)) {
            return names(self.positions.iter().map(|position| &position.log));
        }
        let members = lock(&self.group);
        let is_owned =
            |one: &&Position| members.owns(self.member, one.log.key) && !one.log.is_deleted();
        let owned = self.positions.iter().filter(is_owned);
        names(owned.map(|position| &position.log))
    }

    /// Does what a poll has to do before it reads: is alive, gives up, takes over.
    /// Returns the error of an assigned partition whose topic is gone.
    pub(super) fn keep_up(&mut self) -> Result<Option<Error>> {
        match &self.reads {
            Reads::Nothing => Ok(None),
            Reads::Topics(_) => self.rebalance().map(|()| None),
            Reads::Assigned { version } => Ok(self.deleted_since(*version)),
        }
    }

    /// The error of the first assigned partition whose topic is gone, if any has
    /// come or gone since `version`.
    fn deleted_since(&mut self, version: u64) -> Option<Error> {
        let now = self.broker.store.topics_version();
        if now == version {
            return None;
        }
        let deleted = self.positions.iter().find_map(|one| one.log.check_living().err());
        if deleted.is_none() {
            self.reads = Reads::Assigned { version: now };
        }
        deleted
    }

    /// Tells the group that the member is alive, and carries out what it decides:
    /// the listener is told in between, with no lock held and everything still owned.
    fn rebalance(&mut self) -> Result<()> {
        let Reads::Topics(wanted) = &self.reads else { return Ok(()) };
        let config = &self.broker.config;
        let (now, interval_max) = (config.clock.monotonic(), self.limits.poll_interval_max);
        let beat = Heartbeat { id: self.member, wanted, now, interval_max };
        let plan = lock(&self.group).heartbeat(&self.broker.store, &beat);
        if plan.rebalanced {
            self.broker.store.appended.notify();
        }
        if plan.joined {
            self.lose_all();
        }
        if !plan.is_due {
            return Ok(());
        }
        let mut committed = Ok(());
        if !plan.revoked.is_empty() {
            committed = self.commit_by_itself();
            let revoked = names(plan.revoked.iter().filter_map(|key| self.positions.log(*key)));
            self.tell(Told::Revoked, &revoked);
        }
        let assigned = self.settle(&plan.revoked);
        self.tell(Told::Assigned, &assigned);
        // What it was told may have taken so long that it is no member any more, and
        // others read what it had.
        if !lock(&self.group).has(self.member) {
            self.lose_all();
        }
        committed
    }

    fn lose_all(&mut self) {
        let lost = self.positions.keys();
        let lost = self.hand_over(&lost);
        self.tell(Told::Lost, &lost);
    }

    /// Gives up what the listener was told of, and takes what is free; returns its names.
    fn settle(&mut self, revoked: &[PartitionKey]) -> Vec<(String, u32)> {
        let group = Arc::clone(&self.group);
        let mut members = lock(&group);
        let taken = members.settle(self.member, revoked);
        self.hand_over(revoked);
        for log in &taken {
            self.given_up.remove(&log.key);
            let position = self.begin(&mut members, log);
            self.positions.insert(position);
        }
        // What the consumer no longer reads, or nobody can, is no loss to it.
        if let Reads::Topics(wanted) = &self.reads {
            self.given_up
                .retain(|key, log| wanted.contains(&*log.name.topic) && members.knows(*key));
        }
        drop(members);
        if !revoked.is_empty() {
            self.broker.store.appended.notify();
        }
        names(taken.iter())
    }

    /// Has these partitions no more, and remembers those with something left to
    /// commit; returns their names.
    fn hand_over(&mut self, keys: &[PartitionKey]) -> Vec<(String, u32)> {
        let mut logs = Vec::new();
        for key in keys {
            let Some(position) = self.positions.remove(*key) else { continue };
            if position.has_moved() {
                self.given_up.insert(*key, Arc::clone(&position.log));
            }
            logs.push(position.log);
        }
        names(logs.iter())
    }

    /// Where reading of a newly assigned partition begins.
    fn begin(&self, members: &mut Group, log: &Arc<PartitionLog>) -> Position {
        let position = self.committed_of(log.key).unwrap_or_else(|| {
            let latest = self.config.offset_reset == OffsetReset::Latest;
            let known = self.known.get(&log.key.incarnation);
            let skips = latest && known.is_some_and(|known| log.key.partition < *known);
            let first = if skips { log.view().next_offset() } else { log.log_start() };
            members.origin(log.key, first)
        });
        Position::new(Arc::clone(log), position)
    }

    /// Commits if the configuration asks for it, tells the listener, and leaves.
    pub(super) fn give_up_all(&mut self) -> Result<()> {
        let serves = !self.broker.store.is_closed() && !matches!(self.reads, Reads::Nothing);
        let committed = if self.config.auto_commit && serves { self.commit_sync() } else { Ok(()) };
        if matches!(self.reads, Reads::Topics(_)) {
            let owned = self.assignment();
            let lost = self.positions.iter().map(|position| &position.log);
            let mut lost = names(lost);
            lost.retain(|name| owned.binary_search(name).is_err());
            self.tell(Told::Lost, &lost);
            self.tell(Told::Revoked, &owned);
        }
        self.leave();
        committed
    }

    /// Leaves the group, and reads nothing any more.
    pub(super) fn leave(&mut self) {
        let was_member = matches!(self.reads, Reads::Topics(_));
        self.reads = Reads::Nothing;
        self.positions = super::Positions::default();
        self.given_up.clear();
        self.ended_in = None;
        self.failing = None;
        if was_member {
            lock(&self.group).leave(self.member);
            // Others may have something to take over.
            self.broker.store.appended.notify();
        }
    }
}

//! Consumer groups: who of the live members reads which partition.
//!
//! A group lives in memory; only its committed offsets are in the log. Members
//! come and go, and at each change a *target* is computed ([`assignor`]). A member
//! gives up what it should not have when it polls, after it has been told, and
//! takes what it should have once nobody else holds it. So a partition has one
//! owner at any time, and one who still works on its records has the chance to
//! commit them. (Kafka: cooperative sticky assignment, KIP-429.)
//!
//! ```text
//! heartbeat ──► plan ──► the listener is told ──► settle
//! (locked)              (not locked, still owned)  (locked)
//! ```
//!
//! Each change of the target, and each partition that becomes free, raises the
//! group's *revision*. A member that was in step with the revision has nothing to
//! do, so a poll that changes nothing costs a few comparisons, however many
//! members and partitions there are.

mod assignor;

use crate::storage::entry::PartitionKey;
use crate::storage::partition::PartitionLog;
use crate::storage::store::Store;
use crate::storage::tables::TopicLog;
use crate::sync::{Mutex, lock};
use assignor::Assignor;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Identifies a member of a group; never used twice.
pub(crate) type MemberId = u64;

/// The names of the topics that a member reads.
pub(crate) type TopicNames = Arc<BTreeSet<String>>;

#[derive(Debug)]
struct Member {
    /// The names as the member handed them over.
    asked: TopicNames,
    /// The same; members with equal ones share it.
    wanted: TopicNames,
    owned: BTreeSet<PartitionKey>,
    target: BTreeSet<PartitionKey>,
    last_poll: Duration,
    interval_max: Duration,
    /// A future of it is pending: it cannot poll by itself, and is alive.
    waits: bool,
    /// The revision with which it was in step.
    revision: u64,
}

/// The topics that members want, as far as they exist.
#[derive(Debug, Default)]
struct Topics {
    /// As of this version of the log's topics; `None` where somebody wants others since.
    version: Option<u64>,
    existing: BTreeMap<u64, Arc<TopicLog>>,
}

/// The live members of one group, and what they own.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: BTreeMap<MemberId, Member>,
    owners: BTreeMap<PartitionKey, MemberId>,
    topics: Topics,
    /// Where reading began in partitions that nobody had committed: the next
    /// owner begins there too, so that a rebalance skips nothing.
    origins: BTreeMap<PartitionKey, u64>,
    revision: u64,
    /// Members have come or gone, or want something else, since the target was computed.
    is_stale: bool,
    /// No member's time is up before.
    first_expiry: Duration,
}

/// What a member says when it polls.
#[derive(Debug)]
pub(crate) struct Heartbeat<'a> {
    pub(crate) id: MemberId,
    pub(crate) wanted: &'a TopicNames,
    pub(crate) now: Duration,
    pub(crate) interval_max: Duration,
}

/// What a member is to do about a rebalance.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Whether it is a member only now: what it had before is lost.
    pub(crate) joined: bool,
    /// What it is to give up; it still owns it.
    pub(crate) revoked: Vec<PartitionKey>,
    /// Whether there may be something to take or to give up.
    pub(crate) is_due: bool,
    /// Whether others may have something to give up or to take.
    pub(crate) rebalanced: bool,
}

impl Group {
    /// The member is alive and reads these topics. Returns what it is to do.
    pub(crate) fn heartbeat(&mut self, store: &Store, beat: &Heartbeat<'_>) -> Plan {
        self.expire(beat.id, beat.now);
        let joined = self.note(beat);
        self.refresh_topics(store);
        let rebalanced = self.is_stale;
        if rebalanced {
            self.rebalance(beat.now);
        }
        let Some(member) = self.members.get(&beat.id) else { return Plan::default() };
        if member.revision == self.revision {
            return Plan::default();
        }
        let revoked = member.owned.difference(&member.target).copied().collect();
        Plan { joined, revoked, is_due: true, rebalanced }
    }

    /// Notes that the member is alive; returns whether it was none before.
    fn note(&mut self, beat: &Heartbeat<'_>) -> bool {
        self.first_expiry = self.first_expiry.min(beat.now.saturating_add(beat.interval_max));
        let present = self.members.get_mut(&beat.id);
        if let Some(member) = present {
            member.last_poll = beat.now;
            member.waits = false;
            if Arc::ptr_eq(&member.asked, beat.wanted) {
                return false;
            }
        }
        self.is_stale = true;
        self.topics.version = None;
        let mut present = self.members.values().map(|member| &member.wanted);
        let wanted = present.find(|wanted| *wanted == beat.wanted).unwrap_or(beat.wanted);
        let wanted = Arc::clone(wanted);
        if let Some(member) = self.members.get_mut(&beat.id) {
            member.asked = Arc::clone(beat.wanted);
            member.wanted = wanted;
            return false;
        }
        let member = Member {
            asked: Arc::clone(beat.wanted),
            wanted,
            owned: BTreeSet::new(),
            target: BTreeSet::new(),
            last_poll: beat.now,
            interval_max: beat.interval_max,
            waits: false,
            revision: 0,
        };
        self.members.insert(beat.id, member);
        true
    }

    /// Looks for the members' topics, if any have come or gone.
    fn refresh_topics(&mut self, store: &Store) {
        let version = store.topics_version();
        if self.topics.version == Some(version) {
            return;
        }
        let mut seen: Vec<&TopicNames> = Vec::new();
        let mut existing = BTreeMap::new();
        let tables = store.tables();
        for member in self.members.values() {
            if seen.iter().any(|names| Arc::ptr_eq(names, &member.wanted)) {
                continue;
            }
            seen.push(&member.wanted);
            let topics = member.wanted.iter().filter_map(|name| tables.topics.get(name));
            existing.extend(topics.map(|topic| (topic.incarnation, Arc::clone(topic))));
        }
        drop(tables);
        let sizes = |topics: &BTreeMap<u64, Arc<TopicLog>>| -> Vec<(u64, usize)> {
            topics.values().map(|topic| (topic.incarnation, topic.partitions.len())).collect()
        };
        if sizes(&existing) != sizes(&self.topics.existing) {
            self.is_stale = true;
        }
        self.topics = Topics { version: Some(version), existing };
    }

    /// Takes out members that stopped polling.
    fn expire(&mut self, polling: MemberId, now: Duration) {
        if now <= self.first_expiry {
            return;
        }
        let end = |member: &Member| {
            let end = member.last_poll.saturating_add(member.interval_max);
            if member.waits { Duration::MAX } else { end }
        };
        let expired =
            self.members.iter().filter(|(id, member)| **id != polling && end(member) < now);
        let expired: Vec<MemberId> = expired.map(|(id, _)| *id).collect();
        for id in expired {
            self.remove(id);
        }
        let others = self.members.iter().filter(|(id, _)| **id != polling);
        self.first_expiry = others.map(|(_, member)| end(member)).min().unwrap_or(Duration::MAX);
    }

    fn remove(&mut self, id: MemberId) {
        let Some(member) = self.members.remove(&id) else { return };
        for key in &member.owned {
            self.owners.remove(key);
        }
        self.is_stale = true;
    }

    /// The member leaves, and what it owned is free.
    pub(crate) fn leave(&mut self, id: MemberId) {
        self.remove(id);
        if self.members.is_empty() {
            // What comes next begins by its own policy.
            self.origins.clear();
        }
    }

    /// A member that can't poll by itself, because a future of it is pending, is
    /// alive; or one is that dropped such a future.
    pub(crate) fn set_waiting(&mut self, id: MemberId, waits: bool, now: Duration) {
        if let Some(member) = self.members.get_mut(&id) {
            member.waits = waits;
            member.last_poll = now;
            self.first_expiry = self.first_expiry.min(now.saturating_add(member.interval_max));
        }
    }

    /// The member gives up `revoked`, of which it was told, and takes what is meant
    /// for it and free; that is returned.
    pub(crate) fn settle(
        &mut self,
        id: MemberId,
        revoked: &[PartitionKey],
    ) -> Vec<Arc<PartitionLog>> {
        // It may have taken so long to give up that it is no member any more.
        let Some(member) = self.members.get_mut(&id) else { return Vec::new() };
        let given_up = revoked.iter().filter(|key| member.owned.remove(key));
        let given_up: Vec<PartitionKey> = given_up.copied().collect();
        for key in &given_up {
            self.owners.remove(key);
        }
        if !given_up.is_empty() {
            self.revision += 1;
        }
        let mut taken = Vec::new();
        for key in member.target.difference(&member.owned) {
            let topic = self.topics.existing.get(&key.incarnation);
            let index = usize::try_from(key.partition).ok();
            let log = topic.zip(index).and_then(|(topic, index)| topic.partitions.get(index));
            if let Some(log) = log.filter(|_| !self.owners.contains_key(key)) {
                self.owners.insert(*key, id);
                taken.push(Arc::clone(log));
            }
        }
        member.owned.extend(taken.iter().map(|log| log.key));
        // The target may have changed while it was told; then the next poll goes on.
        if member.owned.is_subset(&member.target) {
            member.revision = self.revision;
        }
        taken
    }

    pub(crate) fn owns(&self, id: MemberId, key: PartitionKey) -> bool {
        self.owners.get(&key) == Some(&id)
    }

    /// Whether it is a member still.
    pub(crate) fn has(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    /// Whether a live member owns the partition.
    pub(crate) fn has_owner(&self, key: PartitionKey) -> bool {
        self.owners.contains_key(&key)
    }

    /// Whether members' topics have this one, in this life.
    pub(crate) fn knows(&self, key: PartitionKey) -> bool {
        self.topics.existing.contains_key(&key.incarnation)
    }

    /// Where reading of the partition began, noting `position` if it begins now
    /// or earlier in the log: a member that wants everything gets everything,
    /// also after one that began at the end.
    pub(crate) fn origin(&mut self, key: PartitionKey, position: u64) -> u64 {
        let origin = self.origins.entry(key).or_insert(position);
        *origin = position.min(*origin);
        *origin
    }

    /// The live members and what each owns. Those that stopped polling are taken
    /// out; without any, where reading began is forgotten.
    pub(crate) fn members_and_partitions(
        &mut self,
        now: Duration,
    ) -> BTreeMap<MemberId, Vec<PartitionKey>> {
        // Members are counted from 1, so nobody is spared.
        self.expire(0, now);
        if self.members.is_empty() {
            self.origins.clear();
        }
        let owned = |member: &Member| member.owned.iter().copied().collect();
        self.members.iter().map(|(id, member)| (*id, owned(member))).collect()
    }

    /// Computes the target.
    fn rebalance(&mut self, now: Duration) {
        self.is_stale = false;
        self.revision += 1;
        let mut classes: Vec<(&TopicNames, Vec<MemberId>)> = Vec::new();
        for (id, member) in &self.members {
            let same = |(wanted, _): &&mut (&TopicNames, _)| Arc::ptr_eq(wanted, &member.wanted);
            match classes.iter_mut().find(same) {
                Some((_, members)) => members.push(*id),
                None => classes.push((&member.wanted, vec![*id])),
            }
        }
        let mut assignor = Assignor::default();
        for (wanted, members) in classes {
            let topics = self.topics.existing.values();
            let topics = topics.filter(|topic| wanted.contains(&*topic.name));
            let sizes = topics.map(|topic| {
                (topic.incarnation, u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX))
            });
            assignor.add_class(members, sizes);
        }
        for (id, target) in assignor.assign(&self.owners) {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.target = target;
            if member.waits && !member.owned.is_subset(&member.target) {
                // It is woken to give something up, and has its time for that.
                member.waits = false;
                member.last_poll = now;
                let end = now.saturating_add(member.interval_max);
                self.first_expiry = self.first_expiry.min(end);
            }
        }
    }
}

/// All groups that have, or had, members.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    state: Mutex<GroupsState>,
}

#[derive(Debug, Default)]
struct GroupsState {
    groups: BTreeMap<String, Arc<Mutex<Group>>>,
    members: MemberId,
}

impl Groups {
    /// The group of this id.
    pub(crate) fn group(&self, id: &str) -> Arc<Mutex<Group>> {
        let mut state = lock(&self.state);
        Arc::clone(state.groups.entry(id.to_owned()).or_default())
    }

    /// The groups that have, or had, members, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Mutex<Group>>)> {
        let state = lock(&self.state);
        state.groups.iter().map(|(id, group)| (id.clone(), Arc::clone(group))).collect()
    }

    pub(crate) fn new_member(&self) -> MemberId {
        let mut state = lock(&self.state);
        state.members += 1;
        state.members
    }
}

//! Consumer groups: who of the live members reads which partition.
//!
//! A group lives in memory; only its committed offsets are in the log. Members
//! come and go, and at each change a *target* is computed: even, and as near as
//! possible to what is. A member gives up what it should not have when it polls,
//! after it has been told, and takes what it should have once nobody else holds
//! it. So a partition has one owner at any time, and one who still works on its
//! records has the chance to commit them. (Kafka: cooperative sticky assignment,
//! KIP-429.)

use crate::storage::entry::PartitionKey;
use crate::storage::partition::PartitionLog;
use crate::sync::{Mutex, lock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Identifies a member of a group; never used twice.
pub(crate) type MemberId = u64;

/// Partitions that a member could read, as it sees the topics now.
pub(crate) type Candidates = BTreeMap<PartitionKey, Arc<PartitionLog>>;

#[derive(Debug)]
struct Member {
    candidates: BTreeSet<PartitionKey>,
    last_poll: Duration,
}

/// The live members of one group, and what they own.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: BTreeMap<MemberId, Member>,
    owners: BTreeMap<PartitionKey, MemberId>,
    target: BTreeMap<PartitionKey, MemberId>,
    /// Where reading began in partitions that nobody had committed: the next
    /// owner begins there too, so that a rebalance skips nothing.
    origins: BTreeMap<PartitionKey, u64>,
}

/// What a member is told when it polls.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) revoked: Vec<PartitionKey>,
    pub(crate) assigned: Vec<PartitionKey>,
    /// Whether others may have something to give up or to take.
    pub(crate) rebalanced: bool,
}

impl Group {
    /// The member is alive and reads these topics. Returns what it loses and
    /// gains; nothing if nothing changed.
    pub(crate) fn poll(
        &mut self,
        id: MemberId,
        candidates: &Candidates,
        now: Duration,
        interval_max: Duration,
    ) -> Change {
        let mut stale = self.expire(id, now, interval_max);
        let member = self.members.entry(id).or_insert_with(|| {
            stale = true;
            Member { candidates: BTreeSet::new(), last_poll: now }
        });
        member.last_poll = now;
        if !member.candidates.iter().eq(candidates.keys()) {
            member.candidates = candidates.keys().copied().collect();
            stale = true;
        }
        if stale {
            self.rebalance();
        }
        let mut change = self.settle(id);
        change.rebalanced = stale || !change.revoked.is_empty();
        change
    }

    /// Takes out members that stopped polling.
    fn expire(&mut self, polling: MemberId, now: Duration, interval_max: Duration) -> bool {
        let expired = |member: &Member| now.saturating_sub(member.last_poll) > interval_max;
        let count = self.members.len();
        self.members.retain(|id, member| *id == polling || !expired(member));
        let members = &self.members;
        self.owners.retain(|_, owner| members.contains_key(owner));
        self.members.len() != count
    }

    /// The member gives up what is meant for others, and takes what is meant
    /// for it and free.
    fn settle(&mut self, id: MemberId) -> Change {
        let mut change = Change::default();
        let target = &self.target;
        self.owners.retain(|key, owner| {
            let keeps = *owner != id || target.get(key) == Some(&id);
            if !keeps {
                change.revoked.push(*key);
            }
            keeps
        });
        for (key, _) in self.target.iter().filter(|(_, meant_for)| **meant_for == id) {
            if !self.owners.contains_key(key) {
                self.owners.insert(*key, id);
                change.assigned.push(*key);
            }
        }
        change
    }

    pub(crate) fn leave(&mut self, id: MemberId) {
        self.members.remove(&id);
        self.owners.retain(|_, owner| *owner != id);
        if self.members.is_empty() {
            // What comes next begins by its own policy.
            self.origins.clear();
        }
        self.rebalance();
    }

    pub(crate) fn owns(&self, id: MemberId, key: PartitionKey) -> bool {
        self.owners.get(&key) == Some(&id)
    }

    /// Where reading of the partition began, noting `position` if it begins now
    /// or earlier in the log: a member that wants everything gets everything,
    /// also after one that began at the end.
    pub(crate) fn origin(&mut self, key: PartitionKey, position: u64) -> u64 {
        let origin = self.origins.entry(key).or_insert(position);
        *origin = position.min(*origin);
        *origin
    }

    /// Computes the target: every partition stays with its owner where that is
    /// even, the others go to whoever has least.
    fn rebalance(&mut self) {
        let mut loads: BTreeMap<MemberId, usize> = self.members.keys().map(|id| (*id, 0)).collect();
        let mut target = BTreeMap::new();
        let wanted: BTreeSet<PartitionKey> =
            self.members.values().flat_map(|member| member.candidates.iter().copied()).collect();
        let mut free = Vec::new();
        for key in &wanted {
            let owner = self.owners.get(key).filter(|owner| self.wants(**owner, *key));
            match owner {
                Some(owner) => {
                    target.insert(*key, *owner);
                    *loads.entry(*owner).or_default() += 1;
                }
                None => free.push(*key),
            }
        }
        for key in free {
            if let Some(id) = self.least_loaded(&loads, key) {
                target.insert(key, id);
                *loads.entry(id).or_default() += 1;
            }
        }
        while self.even_out(&mut target, &mut loads) {}
        self.target = target;
    }

    /// Moves partitions from members with at least two more than another who
    /// wants them; returns whether any moved.
    fn even_out(
        &self,
        target: &mut BTreeMap<PartitionKey, MemberId>,
        loads: &mut BTreeMap<MemberId, usize>,
    ) -> bool {
        let mut moved = false;
        for (key, id) in target {
            let Some(least) = self.least_loaded(loads, *key) else { continue };
            let load = |id: &MemberId| loads.get(id).copied().unwrap_or_default();
            if load(id) > load(&least) + 1 {
                *loads.entry(*id).or_default() -= 1;
                *loads.entry(least).or_default() += 1;
                *id = least;
                moved = true;
            }
        }
        moved
    }

    fn wants(&self, id: MemberId, key: PartitionKey) -> bool {
        self.members.get(&id).is_some_and(|member| member.candidates.contains(&key))
    }

    fn least_loaded(
        &self,
        loads: &BTreeMap<MemberId, usize>,
        key: PartitionKey,
    ) -> Option<MemberId> {
        let able = loads.iter().filter(|(id, _)| self.wants(**id, key));
        able.min_by_key(|(id, load)| (**load, **id)).map(|(id, _)| *id)
    }

    /// The live members and what each owns. Those that stopped polling are taken
    /// out; without any, where reading began is forgotten.
    pub(crate) fn members_and_partitions(
        &mut self,
        now: Duration,
        interval_max: Duration,
    ) -> BTreeMap<MemberId, Vec<PartitionKey>> {
        // Members are counted from 1, so nobody is spared.
        if self.expire(0, now, interval_max) {
            self.rebalance();
        }
        if self.members.is_empty() {
            self.origins.clear();
        }
        let mut members: BTreeMap<_, _> = self.members.keys().map(|id| (*id, Vec::new())).collect();
        for (key, owner) in &self.owners {
            members.entry(*owner).or_default().push(*key);
        }
        members
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

//! Who should have which partition: even, and as near as possible to what is.
//!
//! Partitions stay with their owners, and those without one go to whoever has
//! least. Then, as long as it helps, one partition goes from a member to another
//! who may have it, and perhaps from that one another partition to a third:
//!
//! ```text
//! a, b: topics       A  3 of x ──x──► B  2 of x, y ──y──► C  1 of y       2, 2, 2
//! ```
//!
//! Such a path that ends in a member with at least two partitions less than the
//! one it begins with makes the shares more even, and while there is none they
//! are as even as the subscriptions permit.

use super::MemberId;
use crate::storage::entry::PartitionKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Members with the same subscription.
#[derive(Debug)]
struct Class {
    members: Vec<MemberId>,
    by_load: BTreeSet<(usize, MemberId)>,
}

/// A topic, and whose members may have its partitions.
#[derive(Debug)]
struct Wanted {
    partitions: u32,
    classes: Vec<usize>,
}

/// What a member gets.
#[derive(Debug)]
struct Share {
    class: usize,
    partitions: BTreeSet<PartitionKey>,
}

/// Works out an assignment.
#[derive(Debug, Default)]
pub(super) struct Assignor {
    topics: BTreeMap<u64, Wanted>,
    classes: Vec<Class>,
    shares: BTreeMap<MemberId, Share>,
}

/// Which partitions each member should have.
pub(super) type Assignment = BTreeMap<MemberId, BTreeSet<PartitionKey>>;

impl Assignor {
    /// Adds members that want the same topics, each of which has so many
    /// partitions now.
    pub(super) fn add_class(
        &mut self,
        members: Vec<MemberId>,
        topics: impl Iterator<Item = (u64, u32)>,
    ) {
        let class = self.classes.len();
        for (incarnation, partitions) in topics {
            let wanted = self.topics.entry(incarnation);
            let wanted = wanted.or_insert(Wanted { partitions, classes: Vec::new() });
            wanted.classes.push(class);
        }
        let share = |id: &MemberId| (*id, Share { class, partitions: BTreeSet::new() });
        self.shares.extend(members.iter().map(share));
        self.classes.push(Class { members, by_load: BTreeSet::new() });
    }

    /// The assignment that is nearest to what the `owners` have.
    pub(super) fn assign(mut self, owners: &BTreeMap<PartitionKey, MemberId>) -> Assignment {
        let free = self.keep(owners);
        for class in &mut self.classes {
            let shares = &self.shares;
            let load = |id: &MemberId| shares.get(id).map(|share| (share.partitions.len(), *id));
            class.by_load = class.members.iter().filter_map(load).collect();
        }
        for key in free {
            if let Some(id) = self.least_loaded(key.incarnation) {
                self.change(id, |partitions| partitions.insert(key));
            }
        }
        while let Some(path) = self.evening_path() {
            self.shift(&path);
        }
        self.shares.into_iter().map(|(id, share)| (id, share.partitions)).collect()
    }

    /// Leaves partitions with their owners; returns those without one.
    fn keep(&mut self, owners: &BTreeMap<PartitionKey, MemberId>) -> Vec<PartitionKey> {
        let mut free = Vec::new();
        for (incarnation, wanted) in &self.topics {
            for partition in 0..wanted.partitions {
                let key = PartitionKey { incarnation: *incarnation, partition };
                let owner = owners.get(&key).and_then(|owner| self.shares.get_mut(owner));
                match owner.filter(|owner| wanted.classes.contains(&owner.class)) {
                    Some(owner) => drop(owner.partitions.insert(key)),
                    None => free.push(key),
                }
            }
        }
        free
    }

    fn least_loaded(&self, incarnation: u64) -> Option<MemberId> {
        let classes = &self.topics.get(&incarnation)?.classes;
        let classes = classes.iter().filter_map(|class| self.classes.get(*class));
        let least = classes.filter_map(|class| class.by_load.first()).min();
        least.map(|(_, id)| *id)
    }

    /// Changes a share, and notes the member's new load.
    fn change<T>(
        &mut self,
        id: MemberId,
        change: impl FnOnce(&mut BTreeSet<PartitionKey>) -> T,
    ) -> Option<T> {
        let share = self.shares.get_mut(&id)?;
        let class = self.classes.get_mut(share.class)?;
        class.by_load.remove(&(share.partitions.len(), id));
        let changed = change(&mut share.partitions);
        class.by_load.insert((share.partitions.len(), id));
        Some(changed)
    }

    /// A path that makes the shares more even, if there is one: its steps are a
    /// member, the topic of which it gives a partition, and who gets it.
    ///
    /// Looked for from the greatest loads down. Whoever was reached from a
    /// greater load and has too much to end a path there is of no use to a
    /// lesser one either, so everybody is visited once.
    fn evening_path(&self) -> Option<Vec<(MemberId, u64, MemberId)>> {
        let mut search = Search::default();
        let loads = self.shares.iter().map(|(id, share)| (share.partitions.len(), *id));
        let by_load: BTreeSet<(usize, MemberId)> = loads.collect();
        let mut starts = by_load.iter().rev().peekable();
        while let Some((load, id)) = starts.next() {
            if search.reached.insert(*id) {
                search.queue.push_back(*id);
            }
            // All members of one load begin together.
            if starts.peek().is_some_and(|(next, _)| next == load) {
                continue;
            }
            if let Some(path) = self.search_from(&mut search, *load) {
                return Some(path);
            }
        }
        None
    }

    fn search_from(
        &self,
        search: &mut Search,
        start_load: usize,
    ) -> Option<Vec<(MemberId, u64, MemberId)>> {
        while let Some(from) = search.queue.pop_front() {
            for topic in self.topics_of(from) {
                if !search.topics.insert(topic) {
                    continue;
                }
                let classes = self.topics.get(&topic).map(|wanted| &wanted.classes);
                for class in classes.into_iter().flatten() {
                    let Some(members) = self.classes.get(*class) else { continue };
                    if !search.classes.insert(*class) {
                        continue;
                    }
                    let least = members.by_load.first();
                    if let Some((_, end)) = least.filter(|(load, _)| load + 2 <= start_load) {
                        return Some(search.path((from, topic, *end)));
                    }
                    for id in members.members.iter().filter(|id| search.reached.insert(**id)) {
                        search.steps.insert(*id, (from, topic));
                        search.queue.push_back(*id);
                    }
                }
            }
        }
        None
    }

    /// The topics of which the member has partitions.
    fn topics_of(&self, id: MemberId) -> impl Iterator<Item = u64> {
        let partitions = self.shares.get(&id).map(|share| &share.partitions);
        let mut next = 0;
        std::iter::from_fn(move || {
            let from = PartitionKey { incarnation: next, partition: 0 };
            let found = partitions?.range(from..).next()?.incarnation;
            next = found + 1;
            Some(found)
        })
    }

    fn shift(&mut self, path: &[(MemberId, u64, MemberId)]) {
        for (from, topic, to) in path {
            let first = PartitionKey { incarnation: *topic, partition: 0 };
            let last = PartitionKey { incarnation: *topic, partition: u32::MAX };
            let taken = self.change(*from, |partitions| {
                let key = partitions.range(first..=last).next_back().copied();
                key.filter(|key| partitions.remove(key))
            });
            if let Some(key) = taken.flatten() {
                self.change(*to, |partitions| partitions.insert(key));
            }
        }
    }
}

/// What a search for a path has met.
#[derive(Debug, Default)]
struct Search {
    queue: VecDeque<MemberId>,
    reached: BTreeSet<MemberId>,
    topics: BTreeSet<u64>,
    classes: BTreeSet<usize>,
    /// Who would give a member a partition, and of which topic.
    steps: BTreeMap<MemberId, (MemberId, u64)>,
}

impl Search {
    /// The way to the last step, in the order in which partitions can move: the
    /// member in the end of the path gets its own first.
    fn path(&self, last: (MemberId, u64, MemberId)) -> Vec<(MemberId, u64, MemberId)> {
        let mut path = vec![last];
        let mut to = last.0;
        while let Some((from, topic)) = self.steps.get(&to) {
            path.push((*from, *topic, to));
            to = *from;
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assign(
        members: &[Vec<u64>],
        partitions: &[u32],
        owners: &BTreeMap<PartitionKey, MemberId>,
    ) -> Assignment {
        let mut assignor = Assignor::default();
        for (id, topics) in (0..).zip(members) {
            let topics = topics.iter().map(|topic| {
                let index = usize::try_from(*topic).unwrap();
                (*topic, partitions[index])
            });
            assignor.add_class(vec![id], topics);
        }
        assignor.assign(owners)
    }

    /// The evenest shares there are, by trying everything: the loads in falling
    /// order, of which the least is the evenest.
    fn evenest(members: &[Vec<u64>], keys: &[PartitionKey], loads: &mut Vec<usize>) -> Vec<usize> {
        let Some((key, rest)) = keys.split_first() else {
            let mut sorted = loads.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            return sorted;
        };
        let able = (0..members.len()).filter(|id| members[*id].contains(&key.incarnation));
        let able: Vec<usize> = able.collect();
        if able.is_empty() {
            return evenest(members, rest, loads);
        }
        let mut best = None;
        for id in able {
            loads[id] += 1;
            let found = evenest(members, rest, loads);
            loads[id] -= 1;
            best = Some(best.map_or(found.clone(), |best: Vec<usize>| best.min(found)));
        }
        best.unwrap()
    }

    proptest! {
        #[test]
        fn shares_are_as_even_as_the_subscriptions_permit(
            wants in proptest::collection::vec(
                proptest::collection::btree_set(0..3_u64, 0..3), 1..4),
            partitions in proptest::collection::vec(0..3_u32, 3),
            drawn in proptest::collection::vec(0..6_u64, 9),
        ) {
            let members: Vec<Vec<u64>> =
                wants.into_iter().map(|topics| topics.into_iter().collect()).collect();
            let keys: Vec<PartitionKey> = (0..)
                .zip(&partitions)
                .flat_map(|(incarnation, count)| {
                    (0..*count).map(move |partition| PartitionKey { incarnation, partition })
                })
                .collect();
            // Some have owners already, who may want or even be something else.
            let owners = keys.iter().copied().zip(drawn).filter(|(_, owner)| *owner < 4).collect();
            let assigned = assign(&members, &partitions, &owners);
            let mut loads: Vec<usize> = assigned.values().map(BTreeSet::len).collect();
            loads.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert_eq!(loads, evenest(&members, &keys, &mut vec![0; members.len()]));
            for (id, partitions) in &assigned {
                let wanted = &members[usize::try_from(*id).unwrap()];
                prop_assert!(partitions.iter().all(|key| wanted.contains(&key.incarnation)));
            }
            // Once it is so, nothing moves any more.
            let owners = assigned.iter().flat_map(|(id, keys)| keys.iter().map(|key| (*key, *id)));
            let owners: BTreeMap<PartitionKey, MemberId> = owners.collect();
            prop_assert_eq!(assign(&members, &partitions, &owners), assigned);
        }
    }
}

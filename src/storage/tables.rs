//! What the log consists of, as everybody sees it: topics, committed offsets,
//! remembered producers.
//!
//! One lock guards it. A commit takes it once to publish everything that its
//! block changed, in all partitions; a consumer takes it to look at all its
//! partitions at once. So nobody sees half of a block.

use super::entry::{Commit, PartitionKey};
use super::manifest::{Manifest, PartitionState, TopicState};
use super::partition::{PartitionContext, PartitionLog};
use super::producers::Producers;
use super::settings::TopicSettings;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One life of a topic.
#[derive(Debug)]
pub(crate) struct TopicLog {
    pub(crate) name: Arc<str>,
    pub(crate) incarnation: u64,
    pub(crate) settings: TopicSettings,
    pub(crate) partitions: Vec<Arc<PartitionLog>>,
    /// Counts the records without a key, which take the partitions in turn.
    pub(crate) turns: AtomicU64,
}

impl TopicLog {
    pub(crate) fn new(context: &PartitionContext, state: TopicState) -> Self {
        let TopicState { name, incarnation, settings, partitions } = state;
        let name: Arc<str> = name.into();
        let partition = |(partition, state): (u32, PartitionState)| {
            let key = PartitionKey { incarnation, partition };
            Arc::new(PartitionLog::new(context, &name, key, settings, state))
        };
        let partitions = (0..).zip(partitions).map(partition).collect();
        Self { name, incarnation, settings, partitions, turns: AtomicU64::default() }
    }

    /// The same topic with more partitions, `partitions` in all.
    pub(crate) fn grown(&self, context: &PartitionContext, partitions: u32) -> Self {
        let new = (self.partition_count()..partitions).map(|partition| {
            let key = PartitionKey { incarnation: self.incarnation, partition };
            let state = PartitionState::default();
            Arc::new(PartitionLog::new(context, &self.name, key, self.settings, state))
        });
        Self {
            name: Arc::clone(&self.name),
            incarnation: self.incarnation,
            settings: self.settings,
            partitions: self.partitions.iter().cloned().chain(new).collect(),
            turns: AtomicU64::new(self.turns.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn partition_count(&self) -> u32 {
        // At most `PARTITIONS_MAX`.
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    fn state(&self) -> TopicState {
        TopicState {
            name: self.name.to_string(),
            incarnation: self.incarnation,
            settings: self.settings,
            partitions: self.partitions.iter().map(|partition| partition.state()).collect(),
        }
    }
}

/// The committed offsets of one group.
pub(crate) type GroupOffsets = BTreeMap<PartitionKey, u64>;

/// Topics, groups and producers.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) topics: BTreeMap<String, Arc<TopicLog>>,
    pub(crate) groups: BTreeMap<String, GroupOffsets>,
    pub(crate) producers: Producers,
    pub(crate) next_incarnation: u64,
    /// Raised whenever topics or their partitions come or go.
    pub(crate) version: u64,
    /// The names of the living topics.
    names: BTreeMap<u64, Arc<str>>,
}

impl Tables {
    /// The tables as the manifest has them.
    pub(crate) fn from_manifest(context: &PartitionContext, manifest: &Manifest) -> Self {
        let topic = |state: &TopicState| {
            (state.name.clone(), Arc::new(TopicLog::new(context, state.clone())))
        };
        let group = |(group, commits): (&String, &Vec<Commit>)| {
            (group.clone(), commits.iter().map(|commit| (commit.key, commit.offset)).collect())
        };
        let name = |state: &TopicState| (state.incarnation, state.name.as_str().into());
        Self {
            names: manifest.topics.iter().map(name).collect(),
            version: 0,
            topics: manifest.topics.iter().map(topic).collect(),
            groups: manifest.groups.iter().map(group).collect(),
            producers: manifest.producers.clone(),
            next_incarnation: manifest.next_incarnation,
        }
    }

    /// The manifest of this state, with a journal that goes on at `start`.
    pub(crate) fn to_manifest(
        &self,
        log_id: [u8; 16],
        start: super::journal::JournalStart,
    ) -> Manifest {
        let commits = |offsets: &GroupOffsets| {
            offsets.iter().map(|(key, offset)| Commit { key: *key, offset: *offset }).collect()
        };
        Manifest {
            log_id,
            start,
            next_incarnation: self.next_incarnation,
            topics: self.topics.values().map(|topic| topic.state()).collect(),
            groups: self
                .groups
                .iter()
                .map(|(group, offsets)| (group.clone(), commits(offsets)))
                .collect(),
            producers: self.producers.clone(),
        }
    }

    /// Every partition of every topic.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Arc<PartitionLog>> {
        self.topics.values().flat_map(|topic| &topic.partitions)
    }

    /// A group's new committed offsets.
    pub(crate) fn commit(&mut self, group: &str, commits: &[Commit]) {
        let offsets = match self.groups.get_mut(group) {
            Some(offsets) => offsets,
            None => self.groups.entry(group.to_owned()).or_default(),
        };
        offsets.extend(commits.iter().map(|commit| (commit.key, commit.offset)));
    }

    /// The topic of this incarnation, if it lives.
    pub(crate) fn topic_of(&self, incarnation: u64) -> Option<&Arc<TopicLog>> {
        self.topics.get(&**self.names.get(&incarnation)?)
    }

    /// The partition of this key, if it lives.
    pub(crate) fn partition(&self, key: PartitionKey) -> Option<&Arc<PartitionLog>> {
        self.topic_of(key.incarnation)?.partitions.get(usize::try_from(key.partition).ok()?)
    }

    /// A new topic, or one with more partitions than before.
    pub(crate) fn put(&mut self, topic: Arc<TopicLog>) {
        self.count_incarnation(topic.incarnation);
        self.names.insert(topic.incarnation, Arc::clone(&topic.name));
        self.topics.insert(topic.name.to_string(), topic);
        self.version += 1;
    }

    /// Takes a topic away, and what groups have committed for it.
    pub(crate) fn delete(&mut self, incarnation: u64) -> Option<Arc<TopicLog>> {
        self.groups.retain(|_, offsets| {
            offsets.retain(|key, _| key.incarnation != incarnation);
            !offsets.is_empty()
        });
        let name = self.names.remove(&incarnation)?;
        self.version += 1;
        self.topics.remove(&*name)
    }

    /// The incarnation is taken, for good.
    pub(crate) fn count_incarnation(&mut self, incarnation: u64) {
        self.next_incarnation = self.next_incarnation.max(incarnation + 1);
    }
}

/// A new topic whose partitions are empty.
pub(crate) fn empty_topic(
    name: &str,
    incarnation: u64,
    partitions: u32,
    settings: TopicSettings,
) -> TopicState {
    TopicState {
        name: name.to_owned(),
        incarnation,
        settings,
        partitions: (0..partitions).map(|_| PartitionState::default()).collect(),
    }
}

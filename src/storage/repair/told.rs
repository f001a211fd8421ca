//! What the manifest and the journal's whole blocks say, put together.
//!
//! A block is taken as far as it fits what is known: one that was lost before it may
//! have created the topic that it writes to. Records are collected by their offsets,
//! and whether they follow their partition is found out later ([`super::salvage`]).

use super::blocks::Found;
use crate::merkle::MAX_LEAVES;
use crate::storage::codec::Decoded;
use crate::storage::entry::{Entry, PartitionKey};
use crate::storage::frame::{Frame, frame_seed};
use crate::storage::manifest::{Manifest, PartitionState, TopicState};
use crate::storage::producers::Producers;
use crate::storage::tables::{GroupOffsets, empty_topic};
use std::collections::{BTreeMap, BTreeSet};

/// Whole frames of one partition by their offset, each with the offset behind it.
pub(super) type Frames = BTreeMap<u64, (u64, Vec<u8>)>;

/// The log as far as it is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) log_id: [u8; 16],
    /// By incarnation.
    pub(super) topics: BTreeMap<u64, TopicState>,
    pub(super) deleted: BTreeSet<u64>,
    /// Topics whose names others were created with, so they were deleted before.
    pub(super) replaced: Vec<TopicState>,
    pub(super) groups: BTreeMap<String, GroupOffsets>,
    pub(super) producers: Producers,
    pub(super) starts: BTreeMap<PartitionKey, u64>,
    pub(super) frames: BTreeMap<PartitionKey, Frames>,
    pub(super) next_incarnation: u64,
    producers_max: usize,
}

impl Told {
    pub(super) fn new(manifest: Manifest, producers_max: usize) -> Self {
        let topics = manifest.topics.into_iter().map(|topic| (topic.incarnation, topic));
        let group = |(group, commits): (String, Vec<crate::storage::entry::Commit>)| {
            (group, commits.iter().map(|commit| (commit.key, commit.offset)).collect())
        };
        Self {
            log_id: manifest.log_id,
            topics: topics.collect(),
            deleted: BTreeSet::new(),
            replaced: Vec::new(),
            groups: manifest.groups.into_iter().map(group).collect(),
            producers: manifest.producers,
            starts: BTreeMap::new(),
            frames: BTreeMap::new(),
            next_incarnation: manifest.next_incarnation,
            producers_max,
        }
    }

    /// Takes what a block says.
    pub(super) fn follow(&mut self, block: &Found) -> Decoded<()> {
        for entry in Entry::decode_all(&block.body, block.header.entries)? {
            self.follow_entry(entry, block.header.sequence);
        }
        Ok(())
    }

    fn follow_entry(&mut self, entry: Entry<'_>, sequence: u64) {
        match entry {
            Entry::Append { key, frames, .. } => self.collect(key, frames),
            Entry::Create { name, incarnation, partitions, settings } => {
                self.next_incarnation = self.next_incarnation.max(incarnation.saturating_add(1));
                self.replace_namesake(name, incarnation);
                let made = || empty_topic(name, incarnation, partitions, settings);
                let topic = self.topics.entry(incarnation).or_insert_with(made);
                name.clone_into(&mut topic.name);
                topic.settings = settings;
                grow(topic, partitions);
            }
            Entry::Grow { incarnation, partitions } => {
                if let Some(topic) = self.topics.get_mut(&incarnation) {
                    grow(topic, partitions);
                }
            }
            Entry::Delete { incarnation } => {
                self.topics.remove(&incarnation);
                self.deleted.insert(incarnation);
            }
            Entry::Start { key, offset } => {
                let start = self.starts.entry(key).or_default();
                *start = offset.max(*start);
            }
            Entry::Commit { group, commits } => {
                let offsets = self.groups.entry(group.to_owned()).or_default();
                offsets.extend(commits.iter().map(|commit| (commit.key, commit.offset)));
            }
            Entry::Sent { producer_id, sent } => {
                self.producers.record(producer_id, sent, sequence, self.producers_max);
            }
            Entry::Forget { group } => drop(self.groups.remove(group)),
        }
    }

    /// How many records a partition must have had, by what groups have committed,
    /// producers were answered, and logs' starts.
    pub(super) fn least_end(&self, key: PartitionKey) -> u64 {
        let committed = self.groups.values().filter_map(|offsets| offsets.get(&key).copied());
        let placements = self.producers.iter().flat_map(|(_, state)| state.placements());
        let placed = placements.filter(|place| place.key == key);
        let placed = placed.map(|place| place.base_offset.saturating_add(place.records));
        let start = self.starts.get(&key).copied();
        committed.chain(placed).chain(start).max().unwrap_or_default().min(MAX_LEAVES)
    }

    /// Names are unique: the topic that had it before was deleted.
    pub(super) fn replace_namesake(&mut self, name: &str, incarnation: u64) {
        let earlier = self
            .topics
            .values()
            .find(|topic| topic.name == name && topic.incarnation < incarnation);
        let Some(earlier) = earlier.map(|topic| topic.incarnation) else { return };
        self.deleted.insert(earlier);
        self.replaced.extend(self.topics.remove(&earlier));
    }

    fn collect(&mut self, key: PartitionKey, mut frames: &[u8]) {
        let seed = frame_seed(&self.log_id, key.incarnation, key.partition);
        let of_partition = self.frames.entry(key).or_default();
        while let Some(frame) = Frame::parse(seed, frames).filter(|frame| !frame.is_gap()) {
            let (bytes, rest) = frames.split_at(frame.frame_len());
            if let Some(end) = super::frames::frame_end(&frame) {
                of_partition.insert(frame.offset, (end, bytes.to_vec()));
            }
            frames = rest;
        }
    }
}

/// Gives a topic partitions, if it has fewer.
pub(super) fn grow(topic: &mut TopicState, partitions: u32) {
    while (topic.partitions.len() as u64) < u64::from(partitions) {
        topic.partitions.push(PartitionState::default());
    }
}

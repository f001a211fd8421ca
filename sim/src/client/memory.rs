//! What clients remember when the log's process dies: they live elsewhere.

use super::errors::name_of;
use super::names::Lives;
use super::recorder::Recorder;
use crate::fault::Counts;
use merkql::broker::Broker;
use merkql::record::{BytesProducerRecord, BytesRecord};
use merkql_jepsen::history::{
    Action, Datum, Key, MicroOp, Process, RecordKey, RecordKeyMap, Span, TreeHead,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A topic that was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TopicMemory {
    pub(crate) partitions: u32,
    /// How many records of each partition it retains; 0 is all.
    pub(crate) retention_records: u64,
    /// Whether only the last record of each key is kept.
    pub(crate) is_compacted: bool,
    pub(crate) presence: Presence,
}

/// Whether a topic is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Presence {
    /// It was asked for, and the log has not said that it is there.
    #[default]
    Asked,
    /// The log has said so.
    There,
    /// It was there, and nobody knows whether it was deleted.
    Doomed,
    /// It was there, and is gone: the next of its name is another one.
    Gone,
}

impl TopicMemory {
    pub(crate) fn exists(&self) -> bool {
        matches!(self.presence, Presence::There | Presence::Doomed)
    }
}

/// A send under a producer id.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) sequence: u64,
    pub(crate) records: Vec<BytesProducerRecord>,
    /// What was written down when it was invoked.
    pub(crate) asked: Vec<MicroOp>,
    /// What the log answered, if it did.
    pub(crate) answer: Option<Vec<BytesRecord>>,
    /// Whether an attempt ended without saying what became of it.
    pub(crate) is_ambiguous: bool,
}

/// What is known of a producer id.
#[derive(Debug, Clone)]
pub(crate) struct ProducerMemory {
    pub(crate) process: Process,
    pub(crate) next_sequence: u64,
    pub(crate) last: Option<Sent>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, TopicMemory>,
    pub(crate) lives: Lives,
    pub(crate) producers: BTreeMap<u64, ProducerMemory>,
    /// Roots that were handed out, by topic and partition.
    pub(crate) heads: BTreeMap<(String, u32), Vec<TreeHead>>,
    /// Up to where retention was written down to reach.
    retained: BTreeMap<(String, u32), u64>,
    /// Up to where it was written down to have passed for good.
    removed: BTreeMap<(String, u32), u64>,
    /// The log may have lost what it knew last, and could not tell.
    pub(crate) is_tail_lost: bool,
    /// How many transactions of a group have failed for certain.
    pub(crate) failures: BTreeMap<String, u32>,
    /// How often a tail was lost: what was taken over before may be taken over again.
    pub(crate) tails_lost: u32,
    /// Sends that were repeated because nobody knew what had become of them.
    pub(crate) retries: Counts,
    /// Counts the groups of readers that read everything.
    pub(crate) readers: u64,
}

impl State {
    /// The topic begins another life, of which nothing is known.
    pub(crate) fn begin_life(&mut self, topic: &str) {
        self.lives.begin(topic);
        self.heads.retain(|(name, _), _| name != topic);
        self.retained.retain(|(name, _), _| name != topic);
        self.removed.retain(|(name, _), _| name != topic);
    }

    /// The log may have lost what it knew last: what it removed may be there again.
    pub(crate) fn lose_tail(&mut self) {
        self.is_tail_lost = true;
        self.tails_lost += 1;
        self.removed.clear();
    }
}

/// The memory of all clients.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<State>);

impl Memory {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a partition of a topic as it is now.
    pub(crate) fn key(&self, topic: &str, partition: u32) -> Key {
        self.state().lives.key(topic, partition)
    }

    /// Which lives the topics are in.
    pub(crate) fn lives(&self) -> Lives {
        self.state().lives.clone()
    }

    /// The partitions of topics of which only the last record of each key is kept.
    pub(crate) fn compacted_keys(&self) -> Vec<Key> {
        let is_compacted =
            |name: &str| self.state().topics.get(name).is_some_and(|topic| topic.is_compacted);
        let places = self.places().into_iter().filter(|(topic, _)| is_compacted(topic));
        places.map(|(topic, number)| self.key(&topic, number)).collect()
    }

    /// What compaction will know records by, where it comes.
    pub(crate) fn record_keys(
        &self,
        asked: &[MicroOp],
        records: &[BytesProducerRecord],
    ) -> RecordKeyMap {
        let state = self.state();
        let mut keys: RecordKeyMap = Vec::new();
        for (step, record) in asked.iter().zip(records) {
            let is_compacted = state.topics.get(&record.topic).is_some_and(|of| of.is_compacted);
            let (MicroOp::Send { key, value, .. }, Some(own)) = (step, &record.key) else {
                continue;
            };
            if !is_compacted {
                continue;
            }
            let known = RecordKey {
                record: value.clone(),
                key: Datum::str(&String::from_utf8_lossy(own)),
                is_tombstone: record.value.is_none(),
            };
            match keys.iter_mut().find(|(present, _)| present == key) {
                Some((_, records)) => records.push(known),
                None => keys.push((key.clone(), vec![known])),
            }
        }
        keys
    }

    /// The topics that exist, with their partitions.
    pub(crate) fn topics(&self) -> Vec<(String, u32)> {
        let state = self.state();
        let existing = state.topics.iter().filter(|(_, topic)| topic.exists());
        existing.map(|(name, topic)| (name.clone(), topic.partitions)).collect()
    }

    /// The partitions that exist.
    pub(crate) fn places(&self) -> Vec<(String, u32)> {
        let topics = self.topics().into_iter();
        topics.flat_map(|(name, n)| (0..n).map(move |number| (name.clone(), number))).collect()
    }

    /// The keys of all partitions that exist.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.places().iter().map(|(topic, number)| self.key(topic, *number)).collect()
    }

    /// The keys of these topics' partitions, as far as they exist.
    pub(crate) fn keys_of(&self, topics: &[String]) -> Vec<Key> {
        let places = self.places().into_iter().filter(|(topic, _)| topics.contains(topic));
        places.map(|(topic, number)| self.key(&topic, number)).collect()
    }

    /// Writes down how far retention reaches, given that a partition ends at
    /// `end`: what was asked for when its topic was created.
    pub(crate) fn note_retention(
        &self,
        recorder: &Recorder,
        topic: &str,
        partition: u32,
        end: u64,
    ) {
        let mut state = self.state();
        let retained = state.topics.get(topic).map_or(0, |topic| topic.retention_records);
        let start = end.saturating_sub(retained);
        if retained == 0 || start == 0 {
            return;
        }
        let noted = state.retained.entry((topic.to_owned(), partition)).or_default();
        if *noted < start {
            *noted = start;
            drop(state);
            recorder.note("retention", Action::Retain(vec![(self.key(topic, partition), start)]));
        }
    }

    /// Writes down what is gone for good once an append was acknowledged that ends
    /// at `end`: nobody may get to see more than is retained.
    pub(crate) fn note_removed(&self, recorder: &Recorder, topic: &str, partition: u32, end: u64) {
        let mut state = self.state();
        let retained = state.topics.get(topic).map_or(0, |topic| topic.retention_records);
        let start = end.saturating_sub(retained);
        if retained == 0 || start == 0 {
            return;
        }
        let noted = state.removed.entry((topic.to_owned(), partition)).or_default();
        if *noted < start {
            *noted = start;
            drop(state);
            let gone = vec![Span { from: 0, to: start }];
            recorder.note("retention", Action::Removed(vec![(self.key(topic, partition), gone)]));
        }
    }

    /// Looks which of the topics that were asked for are there, and how far
    /// retention reaches in each, after the log was opened.
    pub(crate) fn look_around(&self, recorder: &Recorder, broker: &Broker) {
        let present = broker.topics();
        for name in &present {
            let count = broker.topic(name).map(|topic| topic.num_partitions());
            if let Some(topic) = self.state().topics.get_mut(name) {
                topic.presence = Presence::There;
                topic.partitions = count.unwrap_or(topic.partitions);
            }
        }
        let doomed: Vec<String> = {
            let state = self.state();
            let doomed = state.topics.iter().filter(|(_, of)| of.presence == Presence::Doomed);
            doomed.map(|(name, _)| name.clone()).collect()
        };
        for name in doomed.iter().filter(|name| !present.contains(name)) {
            self.note_gone(recorder, name);
        }
        self.note_ends(recorder, broker);
    }

    /// Writes down that a topic is gone for good.
    pub(crate) fn note_gone(&self, recorder: &Recorder, name: &str) {
        let keys = self.keys_of(&[name.to_owned()]);
        if let Some(topic) = self.state().topics.get_mut(name) {
            topic.presence = Presence::Gone;
        }
        let gone = keys.into_iter().map(|key| (key, Vec::new())).collect();
        recorder.note("deletion", Action::Removed(gone));
    }

    /// Writes down how far retention reaches in every partition.
    pub(crate) fn note_ends(&self, recorder: &Recorder, broker: &Broker) {
        let limited = |name: &str| {
            self.state().topics.get(name).is_some_and(|topic| topic.retention_records > 0)
        };
        for (name, partitions) in self.topics() {
            if !limited(&name) {
                continue;
            }
            let Some(topic) = broker.topic(&name) else { continue };
            for number in 0..partitions {
                let Some(partition) = topic.partition(number) else { continue };
                match partition.read() {
                    Ok(view) => self.note_retention(recorder, &name, number, view.next_offset()),
                    Err(error) => recorder.met(name_of(&error)),
                }
            }
        }
    }
}

//! Topics come and go: they are created, given partitions, relieved of old records,
//! compacted, deleted, and created again under their names.

use super::Bench;
use super::errors::{datum_of as datum_of_error, kind_of, name_of};
use super::memory::{Presence, TopicMemory};
use merkql::Result;
use merkql::topic::{Compaction, TopicConfig};
use merkql_jepsen::history::{Action, Attachments, Kind, Span};

/// How a topic is to be created.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewTopic {
    pub(crate) partitions: u32,
    /// How many records of each partition it retains; 0 is all.
    pub(crate) retention_records: u64,
    pub(crate) is_compacted: bool,
}

impl Bench {
    /// Creates a topic: another one, if there was one of the name.
    pub(crate) fn create_topic(&self, name: &str, new: NewTopic) -> Result<()> {
        let NewTopic { partitions, retention_records, is_compacted } = new;
        let was_asked = {
            let mut state = self.memory.state();
            let known = state.topics.get(name).copied();
            let is_gone = known.is_some_and(|topic| topic.presence == Presence::Gone);
            if is_gone {
                state.begin_life(name);
            }
            if known.is_none() || is_gone {
                let asked = TopicMemory {
                    partitions,
                    retention_records,
                    is_compacted,
                    ..TopicMemory::default()
                };
                state.topics.insert(name.to_owned(), asked);
            }
            known.is_some_and(|topic| topic.presence == Presence::Asked)
        };
        let retention = Some(retention_records).filter(|records| *records > 0);
        let config = TopicConfig {
            partitions,
            retention_records: retention,
            compaction: is_compacted.then(Compaction::default),
            ..TopicConfig::default()
        };
        let created = self.broker.create_topic_with(name, &config);
        match &created {
            Ok(()) => {
                // Which attempt has made it, and with what settings, only the log knows.
                let made = was_asked.then(|| self.broker.describe_topic(name)).transpose()?;
                if let Some(topic) = self.memory.state().topics.get_mut(name) {
                    topic.presence = Presence::There;
                    if let Some(TopicConfig { retention_records, compaction, .. }) =
                        made.map(|made| made.config)
                    {
                        topic.retention_records = retention_records.unwrap_or_default();
                        topic.is_compacted = compaction.is_some();
                    }
                }
            }
            Err(error) => self.recorder.met(name_of(error)),
        }
        created
    }

    fn exists(&self, name: &str) -> bool {
        self.memory.state().topics.get(name).is_some_and(TopicMemory::exists)
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&self, name: &str) -> Result<()> {
        if !self.exists(name) {
            return Ok(());
        }
        let process = self.recorder.new_process();
        let action = Action::Delete(self.memory.keys_of(&[name.to_owned()]));
        if let Some(topic) = self.memory.state().topics.get_mut(name) {
            topic.presence = Presence::Doomed;
        }
        self.recorder.invoke(&process, action.clone());
        let deleted = self.broker.delete_topic(name);
        match &deleted {
            Ok(()) => {
                self.recorder.ok(&process, action, Attachments::default());
                self.memory.note_gone(&self.recorder, name);
            }
            Err(error) => {
                self.recorder.met(name_of(error));
                let kind = kind_of(error);
                self.recorder.not_ok(&process, kind, action, datum_of_error(error));
                let mut state = self.memory.state();
                if let Some(topic) = state.topics.get_mut(name).filter(|_| kind == Kind::Fail) {
                    topic.presence = Presence::There;
                }
            }
        }
        deleted
    }

    /// Gives a topic more partitions.
    pub(crate) fn add_partitions(&self, name: &str, more: u32) -> Result<()> {
        let present = self.broker.topic(name).map(|topic| topic.num_partitions());
        let Some(total) = present.filter(|_| self.exists(name)).map(|count| count + more) else {
            return Ok(());
        };
        let grown = self.broker.add_partitions(name, total);
        match &grown {
            Ok(()) => {
                if let Some(topic) = self.memory.state().topics.get_mut(name) {
                    topic.partitions = total;
                }
            }
            Err(error) => self.recorder.met(name_of(error)),
        }
        grown
    }

    /// Deletes the records of a partition but for the last few.
    pub(crate) fn delete_records(&self, name: &str, partition: u32, keep: u64) -> Result<()> {
        let topic = self.broker.topic(name).filter(|_| self.exists(name));
        let partition = partition % topic.as_ref().map_or(1, |topic| topic.num_partitions());
        let view = topic.and_then(|topic| Some(topic.partition(partition)?.read()));
        let Some(view) = view.transpose()? else { return Ok(()) };
        let before = view.next_offset().saturating_sub(keep);
        if before <= view.min_valid_offset() {
            return Ok(());
        }
        let process = self.recorder.new_process();
        let key = self.memory.key(name, partition);
        let action = Action::Retain(vec![(key.clone(), before)]);
        self.recorder.invoke(&process, action.clone());
        let deleted = self.broker.delete_records(name, partition, before);
        match &deleted {
            Ok(()) => {
                self.recorder.ok(&process, action, Attachments::default());
                let gone = vec![Span { from: 0, to: before }];
                self.recorder.note("deletion", Action::Removed(vec![(key, gone)]));
            }
            Err(error) => {
                self.recorder.met(name_of(error));
                self.recorder.not_ok(&process, kind_of(error), action, datum_of_error(error));
            }
        }
        deleted
    }

    /// Has everything done that appends leave undone: a checkpoint, compaction.
    pub(crate) fn maintain(&self) -> Result<()> {
        let keys = self.memory.compacted_keys();
        let process = self.recorder.new_process();
        let all = |key| (key, vec![Span { from: 0, to: u64::MAX }]);
        let action = Action::Compact(keys.into_iter().map(all).collect());
        self.recorder.invoke(&process, action.clone());
        let done = self.broker.maintain();
        match &done {
            Ok(()) => self.recorder.ok(&process, action, Attachments::default()),
            Err(error) => {
                self.recorder.met(name_of(error));
                // One partition's failure keeps no other from it.
                self.recorder.not_ok(&process, Kind::Info, action, datum_of_error(error));
            }
        }
        done
    }
}

//! Changes of what the log consists of: topics and partitions that come and go.
//!
//! ```text
//! create   folders, synced │ block │ published
//! grow     folders of the new partitions, synced │ block │ published
//! delete                     block │ published, files closed │ … │ folders removed
//! start                      block │ published │ … │ segments removed
//! ```
//!
//! What comes is on the disk before its block, and taken back if there will be
//! none. What goes is no longer to be read once its block is durable; its files
//! stay until a checkpoint has written both slots without it, because until then
//! recovery may begin at a slot that names them. A crash in between leaves them
//! to the next open, which knows from the incarnation that they belong to nobody.

use super::commit::Outcome;
use super::entry::Entry;
use super::partition::{PartitionLog, topic_dir_name};
use super::settings::TopicSettings;
use super::store::{Store, Writer};
use super::tables::{Tables, TopicLog, empty_topic};
use super::write::BlockDraft;
use crate::error::{Error, IoContext, Result};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// What has a block for itself.
#[derive(Debug)]
pub(crate) enum Change {
    /// A topic is gone.
    Delete(Arc<TopicLog>),
    /// A topic has more partitions.
    Grow { old: Arc<TopicLog>, new: Arc<TopicLog> },
    /// A group's committed offsets are gone.
    Forget(String),
}

impl Change {
    pub(crate) fn entry(&self) -> Entry<'_> {
        match self {
            Self::Delete(topic) => Entry::Delete { incarnation: topic.incarnation },
            Self::Grow { new, .. } => {
                Entry::Grow { incarnation: new.incarnation, partitions: new.partition_count() }
            }
            Self::Forget(group) => Entry::Forget { group },
        }
    }
}

impl Store {
    pub(crate) fn prepare_topic(
        &self,
        writer: &mut Writer,
        draft: &mut BlockDraft,
        name: &str,
        partitions: u32,
        settings: TopicSettings,
    ) -> Result<Arc<TopicLog>> {
        let existing = self.tables().topics.get(name).or(draft.topics.get(name)).cloned();
        if let Some(topic) = existing {
            return match topic.partition_count() {
                count if count == partitions => Ok(topic),
                count => Err(mismatch(name, count, partitions)),
            };
        }
        // Counted first: a creation that failed may have left folders behind.
        let incarnation = writer.next_incarnation;
        writer.next_incarnation += 1;
        let state = empty_topic(name, incarnation, partitions, settings);
        let topic = Arc::new(TopicLog::new(&self.context, state));
        self.create_folders(&topic).inspect_err(|_| self.remove_folders(&topic))?;
        draft.topics.insert(name.to_owned(), Arc::clone(&topic));
        Ok(topic)
    }

    /// The topic of this name, for an operation that has its block for itself.
    fn living_topic(&self, name: &str) -> Result<Arc<TopicLog>> {
        let topic = self.tables().topics.get(name).cloned();
        topic.ok_or_else(|| Error::UnknownTopic { topic: name.to_owned() })
    }

    pub(crate) fn prepare_deletion(&self, draft: &mut BlockDraft, name: &str) -> Result<Outcome> {
        let topic = self.living_topic(name)?;
        draft.change = Some(Change::Delete(Arc::clone(&topic)));
        Ok(Outcome::Topic(topic))
    }

    pub(crate) fn prepare_growth(
        &self,
        draft: &mut BlockDraft,
        name: &str,
        partitions: u32,
    ) -> Result<Outcome> {
        let old = self.living_topic(name)?;
        let count = old.partition_count();
        if partitions == count {
            return Ok(Outcome::Topic(old));
        }
        if partitions < count {
            return Err(mismatch(name, count, partitions));
        }
        let new = Arc::new(old.grown(&self.context, partitions));
        let made = self.create_partition_folders(&old, &new);
        made.inspect_err(|_| self.remove_partition_folders(&old, &new))?;
        draft.change = Some(Change::Grow { old, new: Arc::clone(&new) });
        Ok(Outcome::Topic(new))
    }

    fn topic_dir(&self, topic: &TopicLog) -> PathBuf {
        self.context.topics_dir.join(topic_dir_name(&topic.name, topic.incarnation))
    }

    /// Makes the topic's folders, their names durable.
    fn create_folders(&self, topic: &TopicLog) -> Result<()> {
        let file_system = &self.env.file_system;
        let topics_dir = &self.context.topics_dir;
        let dir = self.topic_dir(topic);
        file_system.create_dir(&dir).at("create", &dir)?;
        for partition in &topic.partitions {
            file_system.create_dir(partition.dir()).at("create", partition.dir())?;
        }
        for dir in [&dir, topics_dir] {
            let synced = file_system.sync_dir(dir).at("sync", dir);
            synced.inspect_err(|error| self.latch.set(error))?;
        }
        Ok(())
    }

    /// Makes the folders of the partitions that `new` has and `old` has not.
    fn create_partition_folders(&self, old: &TopicLog, new: &TopicLog) -> Result<()> {
        let file_system = &self.env.file_system;
        for partition in new.partitions.iter().skip(old.partitions.len()) {
            match file_system.create_dir(partition.dir()) {
                // Left by an attempt that could not take it back; it is empty.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => created.at("create", partition.dir())?,
            }
        }
        let dir = self.topic_dir(new);
        let synced = file_system.sync_dir(&dir).at("sync", &dir);
        synced.inspect_err(|error| self.latch.set(error))
    }

    /// Removes the folders of a topic that was not created after all. What
    /// cannot be removed now is removed by the next recovery.
    pub(crate) fn remove_folders(&self, topic: &TopicLog) {
        let dirs = topic.partitions.iter().map(|partition| partition.dir().to_owned());
        self.take_back(dirs.chain([self.topic_dir(topic)]));
    }

    /// The same for partitions that a topic did not get after all.
    pub(crate) fn remove_partition_folders(&self, old: &TopicLog, new: &TopicLog) {
        let added = new.partitions.iter().skip(old.partitions.len());
        self.take_back(added.map(|partition| partition.dir().to_owned()));
    }

    fn take_back(&self, dirs: impl Iterator<Item = PathBuf>) {
        let removed = dirs.map(|dir| self.env.file_system.remove_dir(&dir));
        let missing = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
        let kept = removed.filter(|removed| removed.as_ref().is_err_and(|error| !missing(error)));
        if kept.count() > 0 && self.latch.check().is_ok() {
            self.env.probe.mark("abandon.folder_kept");
        }
    }
}

/// Drafts a log's start; it never moves back.
pub(crate) fn prepare_start(
    draft: &mut BlockDraft,
    partition: &Arc<PartitionLog>,
    before_offset: u64,
) -> Result<Outcome> {
    partition.check_living()?;
    let (start, end) = (partition.log_start(), partition.view().next_offset());
    if before_offset > end {
        return Err(Error::OffsetOutOfRange {
            topic: partition.name.topic.to_string(),
            partition: partition.name.partition,
            offset: before_offset,
            start,
            end,
        });
    }
    if before_offset > start {
        draft.starts.insert(partition.key, (Arc::clone(partition), before_offset));
    }
    Ok(Outcome::Written(Vec::new()))
}

impl Writer {
    /// Shows everybody what the block changed.
    pub(crate) fn publish_change(&mut self, tables: &mut Tables, change: Change) {
        match change {
            Change::Delete(topic) => {
                tables.delete(topic.incarnation);
                self.touched.retain(|key, _| key.incarnation != topic.incarnation);
                for partition in &topic.partitions {
                    partition.delete();
                    let view = partition.view();
                    self.garbage.extend(view.segments.iter().flat_map(|one| one.file_paths()));
                }
                self.garbage_folders.extend(folders_of(&topic));
            }
            Change::Grow { new, .. } => tables.put(new),
            Change::Forget(group) => drop(tables.groups.remove(&group)),
        }
    }

    /// Moves a log's start. Segments that leave with it are removed after the
    /// next checkpoint, whose slots do not name them.
    pub(crate) fn move_start(&mut self, partition: Arc<PartitionLog>, offset: u64) {
        for segment in partition.move_start(offset) {
            self.garbage.extend(segment.file_paths());
        }
        self.touched.insert(partition.key, partition);
    }
}

/// The folders of a topic, the outermost last.
fn folders_of(topic: &TopicLog) -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        topic.partitions.iter().map(|partition| partition.dir().to_owned()).collect();
    let above = folders.first().and_then(|dir| dir.parent()).map(PathBuf::from);
    folders.extend(above);
    folders
}

fn mismatch(topic: &str, existing: u32, requested: u32) -> Error {
    Error::PartitionCountMismatch { topic: topic.to_owned(), existing, requested }
}

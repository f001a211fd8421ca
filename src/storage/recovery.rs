//! Recovery: from what a crash left to what was acknowledged.
//!
//! ```text
//! judge     slots, journal, partition files; nothing is changed, and damage of
//!           the journal ends it here
//! anchor    the last valid block is written again, as the first of a new
//!           generation in a new file, and synced; copies of it that earlier
//!           attempts have made go
//! cut       partition files, to the lengths that the manifest has
//! replay    the journal's blocks, by writing everything again: topics, offsets and
//!           producers first, then one partition after the other
//! sync      the files and folders that were touched
//! slots     both, with the replayed state and the new generation
//! clear     what nothing names any more
//! ```
//!
//! Writing again is what makes it right after a failed sync: the cache may hold
//! bytes that the disk does not, and only a new write makes them dirty. The
//! anchor does the same for the last block, before its records are put where
//! they would bear witness against a journal that has lost it. A crash at any
//! point leaves a directory that is recovered to the same state.

use super::block::BlockBuffer;
use super::chain::Chain;
use super::draft::{Draft, StagedRecords};
use super::entry::{Entry, PartitionKey};
use super::frame::Frame;
use super::journal::{Journal, JournalContext, JournalStart};
use super::judge::{Findings, Length, decode_block};
use super::partition::PartitionLog;
use super::store::{Store, Writer};
use super::tables::TopicLog;
use crate::error::{IoContext, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Begins the generation that the journal goes on in after recovery, in a file
/// of its own, with the last block of the chain as its first.
pub(crate) fn anchor(
    context: JournalContext,
    start: &JournalStart,
    chain: &Chain,
) -> Result<Journal> {
    let number = chain.number_max.saturating_add(1);
    let generation = chain.generation_max.saturating_add(1);
    let last = chain.blocks.last();
    let (sequence, previous_nonce) =
        last.map_or((start.sequence, start.nonce), |last| (last.sequence, last.link_nonce));
    let mut block = last.map(|last| {
        let mut block = BlockBuffer::new();
        block.set_body(&last.body, last.entries);
        block
    });
    let block = block.as_mut();
    Journal::begin_generation(context, number, generation, sequence, previous_nonce, block)
}

impl Store {
    /// Replays the journal and makes the result the state of the log. On
    /// failure the log latches, so that nothing more is written.
    pub(crate) fn recover(
        &self,
        writer: &mut Writer,
        chain: &Chain,
        findings: Findings,
    ) -> Result<()> {
        let guard = self.latch.guard("recovery panicked");
        let recovered = self.try_recover(writer, chain, findings);
        guard.passed();
        recovered.inspect_err(|error| self.latch.set(error))
    }

    fn try_recover(&self, writer: &mut Writer, chain: &Chain, findings: Findings) -> Result<()> {
        self.env.probe.mark("recovery.begun");
        if chain.torn {
            self.env.probe.mark("recovery.torn_block_dropped");
        }
        // Otherwise attempts that come so far and fail would fill the disk.
        let superseded = &chain.superseded;
        self.remove_journal_files(writer, superseded.iter())?;
        self.replace_folders(&findings)?;
        self.cut(writer, &findings)?;
        self.replay(writer, chain, &findings)?;
        if self.env.probe.canary("replay-twice") {
            self.replay_again(writer, chain)?;
        }
        self.rebuild_hashes(writer, &findings)?;
        self.drop_segments(writer);
        self.sync_touched(writer)?;
        self.sync_names()?;
        let manifest = self.tables().to_manifest(self.context.log_id, writer.journal.start());
        writer.slots.write(&manifest)?;
        let others = chain.numbers.iter().filter(|number| !superseded.contains(number));
        self.remove_journal_files(writer, others)?;
        self.clear(writer, findings);
        self.env.probe.mark("recovery.complete");
        Ok(())
    }

    /// Folders that somebody took away are made again. Their records stay lost,
    /// and told as damage, but the partition goes on.
    fn replace_folders(&self, findings: &Findings) -> Result<()> {
        let lost = findings.partitions.iter().filter(|found| !found.has_folder);
        let lost: BTreeSet<u64> = lost.map(|found| found.partition.key.incarnation).collect();
        let topics: Vec<_> = self.tables().topics.values().cloned().collect();
        for topic in topics.iter().filter(|topic| lost.contains(&topic.incarnation)) {
            self.env.probe.mark("recovery.folder_replaced");
            self.ensure_folders(topic)?;
        }
        Ok(())
    }

    fn cut(&self, writer: &mut Writer, findings: &Findings) -> Result<()> {
        for found in &findings.partitions {
            let view = found.partition.view();
            let mut head = found.partition.head();
            head.raise_generation(found.generation_max.saturating_add(1));
            let active = view.segments.last();
            if let Some(active) = active.filter(|_| found.log == Length::Longer) {
                active.file.set_len(active.len())?;
            }
            if let Some(active) = active.filter(|_| found.lacks_active) {
                active.file.ensure_exists()?;
                writer.touched.insert(found.partition.key, Arc::clone(&found.partition));
            }
            if found.log == Length::Shorter {
                self.env.probe.mark("recovery.segment_is_short");
                head.set_active_damaged();
            }
            if found.hashes == Length::Longer {
                let hashes_len = super::hashes::hashes_len(view.next_offset());
                found.partition.hashes.file.set_len(hashes_len)?;
            }
            head.set_cut(active.map_or(0, |active| active.len()));
            if found.log == Length::Longer || found.hashes == Length::Longer {
                writer.touched.insert(found.partition.key, Arc::clone(&found.partition));
            }
        }
        Ok(())
    }

    /// Applies the journal again: what concerns the log as a whole, and then one
    /// partition after the other. So each has its files open and synced once, however
    /// many blocks it stands in, and however few files may be open.
    fn replay(&self, writer: &mut Writer, chain: &Chain, findings: &Findings) -> Result<()> {
        let mut of_partitions: BTreeMap<PartitionKey, Vec<Entry<'_>>> = BTreeMap::new();
        for block in &chain.blocks {
            self.env.probe.mark("recovery.block_replayed");
            for entry in decode_block(block)? {
                match entry {
                    Entry::Append { key, .. } | Entry::Start { key, .. } => {
                        of_partitions.entry(key).or_default().push(entry);
                    }
                    other => self.replay_entry(other, block.sequence, findings)?,
                }
            }
        }
        for (key, entries) in of_partitions {
            // Judging has seen to it that every append has its partition, unless its
            // topic is deleted in the end.
            if let Some(partition) = self.lasting(key, findings) {
                self.replay_partition(writer, &partition, entries)?;
            }
        }
        Ok(())
    }

    /// Applies what a block says of anything but one partition.
    fn replay_entry(&self, entry: Entry<'_>, sequence: u64, findings: &Findings) -> Result<()> {
        match entry {
            Entry::Create { incarnation, .. } | Entry::Grow { incarnation, .. } => {
                self.tables_mut().count_incarnation(incarnation);
                // Judging made it, as it is in the end, and knows which names
                // its folders hold; one that is deleted in the end it did not make.
                let Some(topic) = findings.renewed.get(&incarnation) else { return Ok(()) };
                self.ensure_folders(topic)?;
                self.tables_mut().put(Arc::clone(topic));
            }
            Entry::Delete { incarnation } => {
                self.env.probe.mark("recovery.topic_deleted");
                drop(self.tables_mut().delete(incarnation));
            }
            Entry::Forget { group } => drop(self.tables_mut().groups.remove(group)),
            Entry::Commit { group, commits } => self.tables_mut().commit(group, &commits),
            Entry::Sent { producer_id, sent } => {
                let max = self.options.producers_max;
                self.tables_mut().producers.record(producer_id, sent, sequence, max);
            }
            Entry::Append { .. } | Entry::Start { .. } => {}
        }
        Ok(())
    }

    /// Applies what the journal says of a partition, in its order.
    fn replay_partition(
        &self,
        writer: &mut Writer,
        partition: &Arc<PartitionLog>,
        entries: Vec<Entry<'_>>,
    ) -> Result<()> {
        for entry in entries {
            match entry {
                Entry::Append { records, frames, .. } => {
                    let mut draft = Draft::new(partition, self.options, self.env.now_ns());
                    draft.reserve(frames.len() as u64, records, false)?;
                    draft.append_frames(frames, records, &mut writer.hasher)?;
                    draft.apply()?;
                    draft.publish();
                    writer.touched.insert(partition.key, Arc::clone(partition));
                }
                Entry::Start { .. } if self.env.probe.canary("start-not-replayed") => {}
                Entry::Start { offset, .. } => writer.move_start(Arc::clone(partition), offset),
                _ => {}
            }
        }
        Ok(())
    }

    /// The partition, if the journal does not end with its topic deleted.
    fn lasting(&self, key: PartitionKey, findings: &Findings) -> Option<Arc<PartitionLog>> {
        let lasts = !findings.deleted.contains(&key.incarnation);
        lasts.then(|| self.tables().partition(key).cloned()).flatten()
    }

    /// Appends the records of the last block once more: nothing but a bug that is
    /// planted does this.
    fn replay_again(&self, writer: &mut Writer, chain: &Chain) -> Result<()> {
        let Some(block) = chain.blocks.last() else { return Ok(()) };
        for entry in decode_block(block)? {
            let Entry::Append { key, frames, .. } = entry else { continue };
            let partition = self.tables().partition(key).cloned();
            let frame = partition.as_ref().and_then(|log| Frame::parse(log.name.seed, frames));
            let Some((partition, frame)) = partition.zip(frame) else { continue };
            let mut again = StagedRecords::new(Arc::clone(&partition));
            let whole = frame.records(|_, _, body| {
                again.push(&body);
                true
            });
            let mut draft = Draft::new(&partition, self.options, self.env.now_ns());
            draft.reserve(again.frames_len(), again.records(), false)?;
            let appended = whole.and_then(|()| draft.append(&again, &mut writer.hasher));
            if appended.is_ok() {
                draft.apply()?;
                draft.publish();
            }
        }
        Ok(())
    }

    /// The folders were made and synced before the block; this finds them there
    /// unless somebody took them away.
    fn ensure_folders(&self, topic: &TopicLog) -> Result<()> {
        let Some(first) = topic.partitions.first() else { return Ok(()) };
        let topic_dir = first.dir().parent().unwrap_or(first.dir());
        self.ensure_dir(topic_dir)?;
        for partition in &topic.partitions {
            self.ensure_dir(partition.dir())?;
        }
        self.env.file_system.sync_dir(topic_dir).at("sync", topic_dir)
    }

    fn ensure_dir(&self, dir: &Path) -> Result<()> {
        match self.env.file_system.create_dir(dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            created => created.at("create", dir),
        }
    }

    /// Stored hashes that are short or gone are computed again. Where the
    /// records they come from are damaged too, proofs fail, and nothing else.
    fn rebuild_hashes(&self, writer: &mut Writer, findings: &Findings) -> Result<()> {
        for found in findings.partitions.iter().filter(|found| found.hashes == Length::Shorter) {
            self.env.probe.mark("recovery.hashes_rebuilt");
            let key = found.partition.key;
            let partition = self.tables().partition(key).cloned();
            let Some(partition) = partition else { continue };
            // A sector that cannot be read is damage, too, and of this partition alone.
            match partition.rebuild_hashes() {
                Err(error) if !error.is_corruption() && !error.is_failed_read() => {
                    return Err(error);
                }
                _ => writer.touched.insert(key, partition),
            };
        }
        Ok(())
    }

    /// Takes out what lies below the logs' starts, so that neither slot names it.
    fn drop_segments(&self, writer: &mut Writer) {
        for partition in self.tables().partitions() {
            for segment in partition.drop_segments_below_start() {
                writer.garbage.extend(segment.file_paths());
            }
        }
    }

    fn sync_touched(&self, writer: &mut Writer) -> Result<()> {
        for partition in std::mem::take(&mut writer.touched).into_values() {
            for file in partition.dirty_files() {
                file.sync()?;
            }
            self.env.file_system.sync_dir(partition.dir()).at("sync", partition.dir())?;
        }
        Ok(())
    }

    /// Removes files of the journal: recovery goes on in another one.
    fn remove_journal_files<'n>(
        &self,
        writer: &Writer,
        mut numbers: impl Iterator<Item = &'n u64>,
    ) -> Result<()> {
        numbers.try_for_each(|number| {
            let path = writer.journal.path_of(*number);
            self.env.file_system.remove_file(&path).at("remove", &path)
        })
    }

    /// Removes what neither slot names: it is not needed, and takes room.
    fn clear(&self, writer: &mut Writer, findings: Findings) {
        let mut files = std::mem::take(&mut writer.garbage);
        files.extend(findings.leftover_files);
        self.remove_files(files, writer);
        self.remove_folders_now(findings.leftover_folders, writer);
    }
}

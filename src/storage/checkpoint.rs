//! The checkpoint: what the journal held becomes durable where it belongs, and
//! the journal behind it is free.
//!
//! ```text
//! switch   the journal moves to its next file; state and dirty files are noted
//! advance  each commit syncs a few of the files, in step with the journal's fill,
//!          and then writes indexes of segments that were sealed
//! finish   slot a is written and synced, then slot b; then the old journal file
//!          is free, and files that neither slot names are removed ([`super::removal`])
//! ```
//!
//! The state is that at the switch. Files may be longer by then, and durable
//! beyond it: recovery cuts and replays that part.

use super::files::PooledFile;
use super::manifest::Manifest;
use super::segment::Segment;
use super::store::{Footing, Store, Writer};
use crate::error::Result;
use std::path::PathBuf;
use std::sync::Arc;

/// By this fill of the journal's file, in thousandths, the checkpoint behind it
/// is to be complete, so that the file before it can be the next one.
const DUE_PERMILLE: u64 = 400;

/// A checkpoint that has begun.
#[derive(Debug)]
pub(crate) struct PendingCheckpoint {
    manifest: Manifest,
    /// Files that were dirty at the switch.
    files: Vec<Arc<PooledFile>>,
    /// Segments that nothing is appended to any more and that lack their index.
    sealed: Vec<Arc<Segment>>,
    /// How many files are synced, and then indexes written.
    done: usize,
    /// Files that the manifest does not name any more.
    remove: Vec<PathBuf>,
    /// Folders that it does not name any more.
    remove_folders: Vec<PathBuf>,
}

impl Store {
    /// Notes what the log is, right after the journal moved to its next file.
    pub(crate) fn begin_checkpoint(&self, writer: &mut Writer) {
        let mut remove = std::mem::take(&mut writer.garbage);
        let mut sealed = Vec::new();
        let mut files = Vec::new();
        for partition in std::mem::take(&mut writer.touched).into_values() {
            for segment in partition.drop_segments_below_start() {
                remove.extend(segment.file_paths());
            }
            let view = partition.view();
            let inactive = view.segments.split_last().map(|(_, inactive)| inactive);
            let lacks_index = |segment: &&Arc<Segment>| !segment.is_indexed();
            sealed.extend(inactive.iter().copied().flatten().filter(lacks_index).cloned());
            files.extend(partition.dirty_files());
        }
        let manifest = self.tables().to_manifest(self.context.log_id, writer.journal.start());
        let remove_folders = std::mem::take(&mut writer.garbage_folders);
        writer.checkpoint =
            Some(PendingCheckpoint { manifest, files, sealed, done: 0, remove, remove_folders });
    }

    /// Does the part of the pending work that is due with one commit. What
    /// fails here without latching is tried again with the next commit, and
    /// told to whoever cannot do without it.
    pub(crate) fn advance(&self, writer: &mut Writer) {
        let block_bytes = super::block::block_len(writer.block.body_len());
        let fill = writer.journal.fill_permille();
        let advanced = self.advance_checkpoint(writer, fill);
        if advanced.and_then(|()| writer.journal.prepare_ahead(block_bytes)).is_err() {
            self.env.probe.mark("checkpoint.put_off");
        }
        if self.latch.check().is_ok() {
            self.remove_some(writer);
        }
    }

    fn advance_checkpoint(&self, writer: &mut Writer, fill_permille: u64) -> Result<()> {
        let Some(pending) = &mut writer.checkpoint else { return Ok(()) };
        let count = pending.count() as u64;
        let due = count.saturating_mul(fill_permille).div_ceil(DUE_PERMILLE).min(count);
        while (pending.done as u64) < due {
            self.do_next(pending)?;
        }
        if fill_permille >= DUE_PERMILLE { self.finish_checkpoint(writer) } else { Ok(()) }
    }

    /// Completes the pending checkpoint, if there is one.
    pub(crate) fn finish_checkpoint(&self, writer: &mut Writer) -> Result<()> {
        let Some(pending) = &mut writer.checkpoint else { return Ok(()) };
        while pending.done < pending.count() {
            self.do_next(pending)?;
        }
        if self.env.probe.canary("journal-freed-early") {
            writer.journal.release_behind()?;
        }
        writer.slots.write(&pending.manifest)?;
        writer.removable.files.extend(std::mem::take(&mut pending.remove));
        writer.removable.folders.extend(std::mem::take(&mut pending.remove_folders));
        writer.checkpoint = None;
        self.env.probe.mark("checkpoint.complete");
        writer.journal.release_behind()
    }

    /// Syncs the next file; after the last, writes the next index.
    fn do_next(&self, pending: &mut PendingCheckpoint) -> Result<()> {
        if let Some(file) = pending.files.get(pending.done) {
            if file.is_dirty() {
                file.sync()?;
            }
        } else if let Some(segment) = pending.sealed.get(pending.done - pending.files.len()) {
            self.write_index(segment)?;
        }
        pending.done += 1;
        Ok(())
    }

    /// Writes a segment's index. It is derived, so a failure that harms nothing
    /// else only makes the first read of the segment slower.
    fn write_index(&self, segment: &Segment) -> Result<()> {
        if segment.write_index(&self.pool).is_err() {
            self.latch.check()?;
            self.env.probe.mark("index.not_written");
        }
        Ok(())
    }

    /// Completes a checkpoint of everything that is committed.
    pub(crate) fn checkpoint_now(&self, writer: &mut Writer) -> Result<()> {
        self.finish_checkpoint(writer)?;
        let unchanged = writer.touched.is_empty() && writer.journal.start().position == 0;
        if !unchanged && writer.footing == Footing::Changed {
            writer.journal.roll(0)?;
            self.begin_checkpoint(writer);
            self.finish_checkpoint(writer)?;
        }
        self.remove_all(writer);
        Ok(())
    }

    /// Leaves a directory in which there is nothing to replay and nothing
    /// written ahead.
    pub(crate) fn close_cleanly(&self, writer: &mut Writer) -> Result<()> {
        let partitions: Vec<_> = self.tables().partitions().cloned().collect();
        let rebuilt = partitions.iter().filter(|partition| !partition.dirty_files().is_empty());
        writer.touched.extend(rebuilt.map(|partition| (partition.key, Arc::clone(partition))));
        if writer.footing != Footing::Changed && writer.touched.is_empty() {
            return Ok(());
        }
        self.make_firm(writer)?;
        self.finish_checkpoint(writer)?;
        for partition in &partitions {
            partition.trim()?;
        }
        self.begin_checkpoint(writer);
        let start = writer.journal.closing_start()?;
        if let Some(pending) = &mut writer.checkpoint {
            pending.manifest.start = start;
        }
        for partition in &partitions {
            if let Some(active) = partition.view().segments.last() {
                self.write_index(active)?;
            }
        }
        self.finish_checkpoint(writer)?;
        self.remove_all(writer);
        writer.journal.trim()
    }
}

impl PendingCheckpoint {
    /// How much is to be done before the slots are written.
    fn count(&self) -> usize {
        self.files.len() + self.sealed.len()
    }
}

//! Rescue: a log that does not open, because of its journal or its manifest.
//!
//! ```text
//! manifest   from a slot; without one, from the partitions' files ([`super::found`])
//! told       the journal's whole blocks, as far as they fit ([`blocks`], [`told`])
//! adopted    topics of which only folders are left ([`adopt`])
//! salvaged   for each partition the records that follow it ([`salvage`])
//! ---------- keep: copies of what changes
//! journal    a new file of a new generation: the salvaged records, synced
//! slots      both, with all the rest, and this journal: from here on it opens
//! cut        what cannot follow is taken out of the files
//! ```
//!
//! What comes then is the ordinary recovery of the log that was left so. A crash before
//! the slots leaves what was there, and a file that no nonce links to; after them, at
//! worst records that the journal does not know, for which the log is rescued again.

use super::adopt::{Abandoned, adopt};
use super::blocks::{Found, Remains};
use super::found::{FoundLog, find_log, find_log_id, nothing};
use super::keep::Keep;
use super::salvage::Salvaged;
use super::told::Told;
use crate::env::{Access, FileSystem};
use crate::error::{IoContext, Result};
use crate::repair::{GivenUp, LostOffsets, Mended, Reason, Report};
use crate::storage::block::{BlockBuffer, block_len};
use crate::storage::entry::{Commit, Entry, PartitionKey};
use crate::storage::frame::frame_seed;
use crate::storage::journal::{Journal, JournalContext, parse_file_name};
use crate::storage::manifest::{Manifest, PartitionState};
use crate::storage::open::Opener;
use crate::storage::partition::{PartitionContext, topic_dir_name};
use crate::storage::removal::remove_folder;
use crate::storage::slots::{SLOT_NAMES, Slots};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Salvaged records are journalled in pieces of at most this.
const PIECE_BYTES: usize = 64 << 10;
/// A block of salvaged records is closed once it has so many bytes.
const BLOCK_BYTES: usize = 4 << 20;

/// Makes a log that [`Opener::open`] opens out of what is left of one that it refuses.
pub(super) fn rescue(opener: &Opener, keep: &mut Keep, report: &mut Report) -> Result<()> {
    let lock = opener.lock()?;
    let mut slots = opener.slots();
    let base = slots.read()?.map(|found| found.manifest);
    let log_id = match &base {
        Some(base) => base.log_id,
        None => find_log_id(opener, report)?,
    };
    let context = opener.partition_context(log_id);
    let journal = opener.journal_context(log_id);
    let remains = Remains::of(&journal, &context.pool)?;
    let start = base.as_ref().map_or_else(|| nothing(log_id).start, |base| base.start);
    let (number, generation) =
        (remains.number_max.max(start.file) + 1, remains.generation_max.max(start.generation) + 1);
    let blocks = remains.behind(base.is_some().then_some(&start));
    let sequence = blocks.keys().next_back().map_or(start.sequence, |last| last + 1);
    let found = match base {
        Some(base) => follow(opener, &context, base, &blocks, report)?,
        None => find_log(opener, &context, &blocks, report)?,
    };
    let FoundLog { told, abandoned, partitions } = found;
    let mut rescue = Rescue { context: &context, told, salvaged: BTreeMap::new() };
    rescue.salvage(&abandoned, report)?;
    rescue.fit(report);
    rescue.keep(keep, &journal, opener, &abandoned)?;
    for partition in &partitions {
        keep.file(partition.hashes_path())?;
        partition.write_hashes()?;
    }
    report.mended.push(Mended::Journal);
    rescue.commit(journal.clone(), (number, generation, sequence), &mut slots)?;
    rescue.cut(&abandoned)?;
    rescue.remove_old_journal(&journal, number)?;
    drop(lock);
    Ok(())
}

/// What a slot's manifest and the blocks behind it say, and folders show.
fn follow(
    opener: &Opener,
    context: &PartitionContext,
    base: Manifest,
    blocks: &BTreeMap<u64, Found>,
    report: &mut Report,
) -> Result<FoundLog> {
    note_lost_blocks(base.start.sequence, blocks, report);
    let known_below = base.next_incarnation;
    let mut told = Told::new(base, opener.options.producers_max);
    for (sequence, block) in blocks {
        if told.follow(block).is_err() {
            let (first, last) = (*sequence, Some(*sequence));
            report.given_up.push(GivenUp::JournalBlocks { first, last });
        }
    }
    let abandoned = adopt(&mut told, context, known_below, report)?;
    Ok(FoundLog { told, abandoned, partitions: Vec::new() })
}

/// Tells which blocks are missing; where none is, whatever came behind the last.
fn note_lost_blocks(start: u64, blocks: &BTreeMap<u64, Found>, report: &mut Report) {
    let mut next = start;
    let mut none_missing = true;
    for sequence in blocks.keys() {
        if next < *sequence {
            let last = Some(sequence - 1);
            report.given_up.push(GivenUp::JournalBlocks { first: next, last });
            none_missing = false;
        }
        next = sequence + 1;
    }
    if none_missing {
        report.given_up.push(GivenUp::JournalBlocks { first: next, last: None });
    }
}

struct Rescue<'a> {
    context: &'a PartitionContext,
    told: Told,
    salvaged: BTreeMap<PartitionKey, Salvaged>,
}

impl Rescue<'_> {
    fn file_system(&self) -> &dyn FileSystem {
        self.context.pool.file_system()
    }

    fn partition_dir(&self, name: &str, key: PartitionKey) -> PathBuf {
        let topic_dir = self.context.topics_dir.join(topic_dir_name(name, key.incarnation));
        topic_dir.join(key.partition.to_string())
    }

    /// Finds what follows each partition's log, and what is lost behind it.
    fn salvage(&mut self, abandoned: &[Abandoned], report: &mut Report) -> Result<()> {
        let pool = &self.context.pool;
        let topics: Vec<_> = self.told.topics.values().cloned().collect();
        for topic in topics {
            let incarnation = topic.incarnation;
            for (partition, state) in (0..).zip(&topic.partitions) {
                let key = PartitionKey { incarnation, partition };
                let seed = frame_seed(&self.told.log_id, incarnation, partition);
                let frames = self.told.frames.remove(&key).unwrap_or_default();
                let dir = self.partition_dir(&topic.name, key);
                let mut salvaged = Salvaged::of(pool, &dir, seed, state, frames, PIECE_BYTES)?;
                let start = self.told.starts.get(&key).copied().unwrap_or_default();
                salvaged.lost.end = salvaged.lost.end.max(start);
                tell_lost(&topic.name, partition, &salvaged, Reason::JournalDamaged, report);
                self.salvaged.insert(key, salvaged);
            }
        }
        for Abandoned { name, incarnation, partitions, .. } in abandoned {
            for partition in 0..*partitions {
                let key = PartitionKey { incarnation: *incarnation, partition };
                let seed = frame_seed(&self.told.log_id, *incarnation, partition);
                let frames = self.told.frames.remove(&key).unwrap_or_default();
                let dir = self.partition_dir(name, key);
                let state = PartitionState::default();
                let mut salvaged = Salvaged::of(pool, &dir, seed, &state, frames, PIECE_BYTES)?;
                salvaged.lost.start = 0;
                tell_lost(name, partition, &salvaged, Reason::TopicUnknown, report);
            }
        }
        Ok(())
    }

    /// Takes back what points behind the logs' new ends.
    fn fit(&mut self, report: &mut Report) {
        let ends: BTreeMap<PartitionKey, u64> =
            self.salvaged.iter().map(|(key, salvaged)| (*key, salvaged.end)).collect();
        for (group, offsets) in &mut self.told.groups {
            offsets.retain(|key, _| ends.contains_key(key));
            for (key, offset) in offsets.iter_mut() {
                let (Some(end), Some(topic)) =
                    (ends.get(key), self.told.topics.get(&key.incarnation))
                else {
                    continue;
                };
                if *offset > *end {
                    report.given_up.push(GivenUp::CommittedOffset {
                        group: group.clone(),
                        topic: topic.name.clone(),
                        partition: key.partition,
                        from: *offset,
                        to: *end,
                    });
                    *offset = *end;
                }
            }
        }
        self.told.groups.retain(|_, offsets| !offsets.is_empty());
        let told = std::mem::take(&mut self.told.producers);
        for (id, state) in told.iter() {
            let is_lost = state.placements().any(|place| {
                let end = ends.get(&place.key);
                end.is_some_and(|end| place.base_offset.saturating_add(place.records) > *end)
            });
            if is_lost {
                report.given_up.push(GivenUp::Producer { producer_id: *id });
            } else {
                self.told.producers.insert(*id, state.clone());
            }
        }
    }

    fn keep(
        &self,
        keep: &mut Keep,
        journal: &JournalContext,
        opener: &Opener,
        abandoned: &[Abandoned],
    ) -> Result<()> {
        keep.folder(&journal.dir)?;
        for slot in SLOT_NAMES {
            keep.file(&opener.dir().join(slot))?;
        }
        for abandoned in abandoned {
            keep.folder(&abandoned.dir)?;
        }
        let longer = self.salvaged.values().flat_map(|salvaged| &salvaged.longer);
        longer.map(|(path, _)| path).try_for_each(|path| keep.file(path))
    }

    /// Writes the new journal, and then the slots, which make it the log's.
    fn commit(
        &self,
        context: JournalContext,
        (number, generation, sequence): (u64, u64, u64),
        slots: &mut Slots,
    ) -> Result<()> {
        self.ensure_dir(&context.dir)?;
        let mut blocks = self.blocks();
        let room = blocks.iter().map(|block| block_len(block.body_len())).sum();
        let mut journal = Journal::begin_with_room(context, number, generation, sequence, room)?;
        let start = journal.start();
        for block in &mut blocks {
            journal.write(block)?;
        }
        journal.sync()?;
        let commits = |(group, offsets): (&String, &BTreeMap<PartitionKey, u64>)| {
            let commit =
                |(key, offset): (&PartitionKey, &u64)| Commit { key: *key, offset: *offset };
            (group.clone(), offsets.iter().map(commit).collect())
        };
        slots.write(&Manifest {
            log_id: self.told.log_id,
            start,
            next_incarnation: self.told.next_incarnation,
            topics: self.told.topics.values().cloned().collect(),
            groups: self.told.groups.iter().map(commits).collect(),
            producers: self.told.producers.clone(),
        })
    }

    /// The salvaged records, and behind them where logs begin.
    fn blocks(&self) -> Vec<BlockBuffer> {
        let mut blocks: Vec<BlockBuffer> = Vec::new();
        let mut push = |entry: &Entry<'_>| {
            if blocks.last().is_none_or(|block| block.body_len() >= BLOCK_BYTES) {
                blocks.push(BlockBuffer::new());
            }
            if let Some(block) = blocks.last_mut() {
                block.push(|out| entry.encode(out));
            }
        };
        for (key, salvaged) in &self.salvaged {
            for (base_offset, records, frames) in &salvaged.pieces {
                let (base_offset, records) = (*base_offset, *records);
                push(&Entry::Append { key: *key, base_offset, records, frames });
            }
        }
        for (key, offset) in &self.told.starts {
            if let Some(salvaged) = self.salvaged.get(key) {
                push(&Entry::Start { key: *key, offset: (*offset).min(salvaged.end) });
            }
        }
        blocks
    }

    /// Takes out of the files what the new journal does not know. All that it knows
    /// is written again by recovery.
    fn cut(&self, abandoned: &[Abandoned]) -> Result<()> {
        let file_system = self.file_system();
        for (path, known) in self.salvaged.values().flat_map(|salvaged| &salvaged.longer) {
            let Some(len) = known else {
                file_system.remove_file(path).at("remove", path)?;
                continue;
            };
            let file = file_system.open(path, Access::ReadWrite).at("open", path)?;
            file.set_len(*len).at("cut", path)?;
            file.sync_data().at("sync", path)?;
        }
        abandoned.iter().try_for_each(|abandoned| {
            // An attempt before may have removed it.
            match remove_folder(self.file_system(), &abandoned.dir) {
                Err(error) if error.is_not_found() => Ok(()),
                removed => removed,
            }
        })
    }

    /// Removes the files of the journal that was. Open looks through them, and one may
    /// not be readable.
    fn remove_old_journal(&self, journal: &JournalContext, number: u64) -> Result<()> {
        let file_system = self.file_system();
        for entry in file_system.list(&journal.dir).at("list", &journal.dir)? {
            if parse_file_name(&entry.name).is_some_and(|found| found != number) {
                let path = journal.dir.join(&entry.name);
                file_system.remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }

    fn ensure_dir(&self, dir: &Path) -> Result<()> {
        let file_system = self.file_system();
        match file_system.create_dir(dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => created.at("create", dir)?,
        }
        let parent = dir.parent().unwrap_or(dir);
        file_system.sync_dir(parent).at("sync", parent)
    }
}

fn tell_lost(
    topic: &str,
    partition: u32,
    salvaged: &Salvaged,
    reason: Reason,
    report: &mut Report,
) {
    let (start, end) = (salvaged.lost.start, salvaged.lost.end);
    if start < end {
        report.lost.push(LostOffsets { topic: topic.to_owned(), partition, start, end, reason });
    }
}

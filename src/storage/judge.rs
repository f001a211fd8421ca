//! Judging a directory before anything in it is changed.
//!
//! Two questions are answered: does the journal account for everything that the
//! partition files hold, and what is left to be done? A record is written to its
//! partition only after its journal block was synced. So a valid record that
//! neither manifest nor journal knows of proves that the journal has lost a
//! block that was acknowledged, and the log must not be opened as if it had not.

use super::chain::{Chain, ChainBlock};
use super::codec::NUMBERS_AHEAD_MAX;
use super::entry::{Entry, PartitionKey};
use super::files::PooledFile;
use super::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, frame_seed, records_max};
use super::hashes::hashes_len;
use super::manifest::{Manifest, TopicState};
use super::partition::{HASHES_FILE, PartitionContext, PartitionLog, topic_dir_name};
use super::segment::{Segment, parse_segment_file_name};
use super::tables::{Tables, TopicLog, empty_topic};
use crate::env::EntryKind;
use crate::env::exact::read_up_to;
use crate::error::{Error, IoContext, Result};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much of a file is looked through at once.
const SCAN_BYTES: usize = 1 << 20;

/// A file's length, against the manifest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// As a clean close leaves it.
    AsNamed,
    /// Written to since, or ahead of use: cut before the journal is replayed.
    Longer,
    /// Cut short, or gone.
    Shorter,
}

impl Length {
    fn of(found: u64, named: u64) -> Self {
        match found.cmp(&named) {
            Ordering::Less => Self::Shorter,
            Ordering::Equal => Self::AsNamed,
            Ordering::Greater => Self::Longer,
        }
    }
}

/// A living partition whose files are not as the manifest has them.
#[derive(Debug)]
pub(crate) struct PartitionFindings {
    pub(crate) partition: Arc<PartitionLog>,
    /// Without a folder it has lost its records, and gets a new one for others.
    pub(crate) has_folder: bool,
    /// The active segment. A shorter one is damaged, and nothing is appended to it.
    pub(crate) log: Length,
    /// The stored hashes. Where they are shorter, they are rebuilt.
    pub(crate) hashes: Length,
    /// The greatest generation in a file's name.
    pub(crate) generation_max: u64,
}

/// What was found in a directory.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) partitions: Vec<PartitionFindings>,
    /// Topics that the journal creates, by incarnation: replay goes on with
    /// these, because what was found in their folders is noted in them.
    pub(crate) created: BTreeMap<u64, Arc<TopicLog>>,
    /// Files that neither manifest nor journal names.
    pub(crate) leftover_files: Vec<PathBuf>,
    /// Folders of topics that neither names.
    pub(crate) leftover_topics: Vec<PathBuf>,
    /// Above every incarnation in use or left over.
    pub(crate) next_incarnation: u64,
}

impl Findings {
    /// Whether the partition files are just as a clean close leaves them.
    pub(crate) fn is_clean(&self) -> bool {
        let as_left = |partition: &PartitionFindings| {
            partition.has_folder
                && partition.log != Length::Longer
                && partition.hashes == Length::AsNamed
        };
        self.leftover_files.is_empty()
            && self.leftover_topics.is_empty()
            && self.partitions.iter().all(as_left)
    }
}

/// Where every partition will end once the journal is replayed.
#[derive(Debug)]
struct Expected {
    log_id: [u8; 16],
    next_offsets: BTreeMap<PartitionKey, u64>,
    created: Vec<TopicState>,
    next_incarnation: u64,
}

impl Expected {
    /// Follows the journal's blocks without touching a file. A block that does
    /// not fit the state before it is damage of the one or the other.
    fn follow(manifest: &Manifest, chain: &Chain) -> Result<Self> {
        let mut next_offsets = BTreeMap::new();
        for topic in &manifest.topics {
            for (partition, state) in (0..).zip(&topic.partitions) {
                let key = PartitionKey { incarnation: topic.incarnation, partition };
                next_offsets.insert(key, state.next_offset());
            }
        }
        let next_incarnation = manifest.next_incarnation;
        let log_id = manifest.log_id;
        let mut expected = Self { log_id, next_offsets, created: Vec::new(), next_incarnation };
        for block in &chain.blocks {
            for entry in decode_block(block)? {
                expected.follow_entry(block, &entry)?;
            }
        }
        Ok(expected)
    }

    fn follow_entry(&mut self, block: &ChainBlock, entry: &Entry<'_>) -> Result<()> {
        match entry {
            Entry::Append { key, base_offset, records, frames } => {
                let seed = frame_seed(&self.log_id, key.incarnation, key.partition);
                let next = self.next_offsets.get_mut(key).filter(|next| **next == *base_offset);
                let after = frames_end(seed, *base_offset, frames)
                    .filter(|after| base_offset.checked_add(*records) == Some(*after));
                match next.zip(after) {
                    Some((next, after)) => *next = after,
                    None => return Err(unfit(block, "records that do not follow their partition")),
                }
            }
            Entry::Create { name, incarnation, partitions, settings } => {
                if *incarnation < self.next_incarnation {
                    return Err(unfit(block, "a topic whose incarnation is taken"));
                }
                self.next_incarnation = incarnation + 1;
                self.created.push(empty_topic(name, *incarnation, *partitions, *settings));
                for partition in 0..*partitions {
                    self.next_offsets
                        .insert(PartitionKey { incarnation: *incarnation, partition }, 0);
                }
            }
            Entry::Commit { .. } | Entry::Sent { .. } => {}
        }
        Ok(())
    }
}

/// The offset behind frames that are whole and begin at `base_offset`.
fn frames_end(seed: u32, base_offset: u64, mut frames: &[u8]) -> Option<u64> {
    let mut next = base_offset;
    while !frames.is_empty() {
        let frame = Frame::parse(seed, frames);
        let frame = frame.filter(|frame| frame.offset == next && !frame.is_gap())?;
        let mut dense = true;
        let visited = frame.records(|offset, _, _| {
            dense &= offset == next;
            next = next.saturating_add(1);
            dense
        });
        frames = frames.get(frame.frame_len()..)?;
        visited.ok().filter(|()| dense)?;
    }
    Some(next)
}

fn unfit(block: &ChainBlock, what: &str) -> Error {
    Error::corrupt(&block.path, block.position, format!("block {} holds {what}", block.sequence))
}

/// The entries of a block of the chain.
pub(crate) fn decode_block(block: &ChainBlock) -> Result<Vec<Entry<'_>>> {
    let entries = Entry::decode_all(&block.body, block.entries);
    entries.map_err(|malformed| Error::corrupt(&block.path, block.position, malformed.reason()))
}

/// Judges the directory. Fails with [`Error::Corrupt`] if the journal lost
/// something that was acknowledged.
pub(crate) fn judge(
    context: &PartitionContext,
    manifest: &Manifest,
    tables: &Tables,
    chain: &Chain,
) -> Result<Findings> {
    let expected = Expected::follow(manifest, chain)?;
    let topic_log =
        |state: &TopicState| (state.incarnation, Arc::new(TopicLog::new(context, state.clone())));
    let created: BTreeMap<_, _> = expected.created.iter().map(topic_log).collect();
    let mut findings =
        Findings { next_incarnation: expected.next_incarnation, ..Findings::default() };
    let created_partitions = created.values().flat_map(|topic| &topic.partitions);
    for partition in tables.partitions().chain(created_partitions) {
        let next_offset = expected.next_offsets.get(&partition.key).copied().unwrap_or_default();
        judge_partition(partition, next_offset, &mut findings)?;
    }
    let topics = tables.topics.values().chain(created.values());
    let living = topics.map(|topic| topic_dir_name(&topic.name, topic.incarnation)).collect();
    judge_topic_folders(context, &living, &mut findings)?;
    findings.created = created;
    Ok(findings)
}

fn judge_partition(
    partition: &Arc<PartitionLog>,
    next_offset: u64,
    findings: &mut Findings,
) -> Result<()> {
    let view = partition.view();
    let names = partition.file_names()?;
    let has_folder = names.is_some();
    let names = names.unwrap_or_default();
    let living: BTreeMap<_, _> = view
        .segments
        .iter()
        .map(|segment| ((segment.base_offset, segment.generation), segment))
        .collect();
    let generation_known = living.keys().map(|(_, generation)| *generation).max();
    let generation_known = generation_known.unwrap_or_default();
    let mut generation_max = 0;
    let seed = partition.name.seed;
    for name in &names {
        let Some((base_offset, generation, extension)) = parse_segment_file_name(name) else {
            continue;
        };
        if generation <= generation_known.saturating_add(NUMBERS_AHEAD_MAX) {
            generation_max = generation_max.max(generation);
        }
        let path = partition.dir().join(name);
        let known = living.get(&(base_offset, generation));
        if extension == "log" {
            let file = known.map_or_else(
                || PooledFile::existing(partition.hashes.file.pool(), path.clone()),
                |segment| Arc::clone(&segment.file),
            );
            let len = known.map_or(0, |segment| segment.len());
            refuse_unknown_records(&file, seed, len, next_offset)?;
        }
        if known.is_none() {
            findings.leftover_files.push(path);
        }
    }
    let log_len = view.segments.last().map(|active| present_len(&names, active)).transpose()?;
    let log_len = log_len.unwrap_or_default();
    let hashes_present = names.iter().any(|name| name == HASHES_FILE);
    let hashes_len_found = if hashes_present { partition.hashes.file.len()? } else { 0 };
    let log_len_named = view.segments.last().map_or(0, |active| active.len());
    let hashes_len_named = hashes_len(view.next_offset());
    findings.partitions.push(PartitionFindings {
        partition: Arc::clone(partition),
        has_folder,
        log: Length::of(log_len, log_len_named),
        hashes: Length::of(hashes_len_found, hashes_len_named),
        generation_max,
    });
    Ok(())
}

/// The length of a segment's file; 0 if it is gone.
fn present_len(names: &[String], segment: &Segment) -> Result<u64> {
    let name = segment.file.path().file_name().unwrap_or_default();
    if names.iter().any(|found| name == found.as_str()) { segment.file.len() } else { Ok(0) }
}

/// Looks behind `position` for a valid record at or past `next_offset`.
fn refuse_unknown_records(
    file: &Arc<PooledFile>,
    seed: u32,
    position: u64,
    next_offset: u64,
) -> Result<()> {
    match find_record(file, seed, position, next_offset)? {
        None => Ok(()),
        Some((position, offset)) => {
            let reason = format!(
                "record {offset} is valid, but the journal, which must hold every record from {next_offset} on, does not know it"
            );
            Err(Error::corrupt(file.path(), position, reason))
        }
    }
}

/// The first valid frame at or behind `position` whose offset is at least
/// `next_offset`: its position and offset. Valid frames are stepped over whole,
/// so what a record's value holds is not taken for a frame.
fn find_record(
    file: &Arc<PooledFile>,
    seed: u32,
    mut position: u64,
    next_offset: u64,
) -> Result<Option<(u64, u64)>> {
    let end = file.len()?;
    let offset_end = next_offset.saturating_add(records_max(end));
    let mut buffer = Vec::new();
    while position.saturating_add(FRAME_HEADER_BYTES as u64) <= end {
        let wanted = usize::try_from(end - position).unwrap_or(SCAN_BYTES).min(SCAN_BYTES);
        buffer.resize(wanted, 0);
        let read = read_readable(file, &mut buffer, position)?;
        let Some(last) = read.checked_sub(FRAME_HEADER_BYTES) else { break };
        let mut start = 0;
        while start <= last {
            let header = FrameHeader::parse(buffer.get(start..read).unwrap_or(&[]));
            let header = header.filter(|header| header.offset < offset_end);
            let at = position + start as u64;
            match header.map(|header| (header, frame_at(file, seed, at, end, &header))) {
                Some((header, Ok(true))) if header.offset >= next_offset => {
                    return Ok(Some((at, header.offset)));
                }
                Some((header, Ok(true))) => start += header.frame_len(),
                Some((_, Err(error))) => return Err(error),
                Some((_, Ok(false))) | None => start += 1,
            }
        }
        position += start as u64;
    }
    Ok(None)
}

/// Whether the frame that `header` announces stands whole at `position`.
fn frame_at(
    file: &Arc<PooledFile>,
    seed: u32,
    position: u64,
    end: u64,
    header: &FrameHeader,
) -> Result<bool> {
    if position.saturating_add(header.frame_len() as u64) > end {
        return Ok(false);
    }
    let mut frame = vec![0; header.frame_len()];
    let read = read_readable(file, &mut frame, position)?;
    Ok(read == frame.len() && Frame::parse(seed, &frame).is_some())
}

/// Reads as [`PooledFile::read_up_to`] does, but where the disk refuses a sector
/// even through a fresh handle, zeroes stand for it: nothing can be concluded
/// from it, and replay or a reader will find out whether it is needed.
fn read_readable(file: &Arc<PooledFile>, buf: &mut [u8], position: u64) -> Result<usize> {
    const SECTOR_BYTES: usize = 512;
    match file.read_up_to(buf, position) {
        Err(error) if error.is_failed_read() => {}
        read => return read,
    }
    let fresh = file.fresh_handle()?;
    let mut filled = 0;
    for (sector, at) in buf.chunks_mut(SECTOR_BYTES).zip((position..).step_by(SECTOR_BYTES)) {
        let Ok(read) = read_up_to(&*fresh, sector, at) else {
            sector.fill(0);
            filled += sector.len();
            continue;
        };
        filled += read;
        if read < sector.len() {
            break;
        }
    }
    Ok(filled)
}

/// Finds folders of topics that neither manifest nor journal names. One of an
/// incarnation that neither knows must hold no record.
fn judge_topic_folders(
    context: &PartitionContext,
    living: &BTreeSet<String>,
    findings: &mut Findings,
) -> Result<()> {
    let topics_dir = &context.topics_dir;
    let known_below = findings.next_incarnation;
    let file_system = context.pool.file_system();
    let entries = match file_system.list(topics_dir).at("list", topics_dir) {
        Err(error) if error.is_not_found() => return Ok(()),
        entries => entries?,
    };
    for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
        let incarnation = entry.name.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        let ours = |number: &u64| number.saturating_sub(known_below) < NUMBERS_AHEAD_MAX;
        let Some(incarnation) = incarnation.filter(ours) else { continue };
        if living.contains(&entry.name) {
            continue;
        }
        findings.next_incarnation = findings.next_incarnation.max(incarnation + 1);
        // An incarnation that is known lives under its own name; this is somebody's copy.
        if incarnation >= known_below {
            let dir = topics_dir.join(&entry.name);
            refuse_unknown_topic(context, &dir, incarnation)?;
            findings.leftover_topics.push(dir);
        }
    }
    Ok(())
}

fn refuse_unknown_topic(context: &PartitionContext, dir: &Path, incarnation: u64) -> Result<()> {
    let file_system = context.pool.file_system();
    for entry in file_system.list(dir).at("list", dir)? {
        let Ok(partition) = entry.name.parse::<u32>() else { continue };
        if entry.kind != EntryKind::Directory {
            continue;
        }
        let partition_dir = dir.join(&entry.name);
        let seed = frame_seed(&context.log_id, incarnation, partition);
        for file in file_system.list(&partition_dir).at("list", &partition_dir)? {
            if parse_segment_file_name(&file.name)
                .is_some_and(|(_, _, extension)| extension == "log")
            {
                let path = partition_dir.join(&file.name);
                let file = PooledFile::existing(&context.pool, path);
                refuse_unknown_records(&file, seed, 0, 0)?;
            }
        }
    }
    Ok(())
}

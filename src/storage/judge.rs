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
use super::frame_search::{FrameSearch, LONG_FRAME_BYTES};
use super::hashes::hashes_len;
use super::judge_folders::{file_names, judge_topic_folders};
use super::manifest::{Manifest, TopicState};
use super::partition::{HASHES_FILE, PartitionContext, PartitionLog};
use super::segment::{Segment, parse_segment_file_name};
use super::tables::{Tables, TopicLog, empty_topic};
use crate::env::exact::read_sectors_up_to;
use crate::error::{Error, IoContext, Result};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
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
    /// The active segment holds nothing yet, and its file is gone: it gets it again.
    pub(crate) lacks_active: bool,
    /// The stored hashes. Where they are shorter, they are rebuilt.
    pub(crate) hashes: Length,
    /// The greatest generation in a file's name.
    pub(crate) generation_max: u64,
}

/// What was found in a directory.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) partitions: Vec<PartitionFindings>,
    /// Topics that the journal creates, or gives more partitions, as they are in
    /// the end: replay goes on with these, because what was found in their
    /// folders is noted in them.
    pub(crate) renewed: BTreeMap<u64, Arc<TopicLog>>,
    /// Topics that the journal deletes: what it says of them before is not replayed.
    pub(crate) deleted: BTreeSet<u64>,
    /// Files that neither manifest nor journal names.
    pub(crate) leftover_files: Vec<PathBuf>,
    /// Folders of topics, and of partitions, that neither names.
    pub(crate) leftover_folders: Vec<PathBuf>,
    /// Above every incarnation in use or left over.
    pub(crate) next_incarnation: u64,
    /// Where every partition ends once the journal is replayed.
    pub(crate) next_offsets: BTreeMap<PartitionKey, u64>,
}

impl Findings {
    /// Whether the partition files are just as a clean close leaves them.
    pub(crate) fn is_clean(&self) -> bool {
        let as_left = |partition: &PartitionFindings| {
            partition.has_folder
                && !partition.lacks_active
                && partition.log != Length::Longer
                && partition.hashes == Length::AsNamed
        };
        self.leftover_files.is_empty()
            && self.leftover_folders.is_empty()
            && self.partitions.iter().all(as_left)
    }
}

/// Where every partition will end once the journal is replayed.
#[derive(Debug)]
struct Expected {
    log_id: [u8; 16],
    next_offsets: BTreeMap<PartitionKey, u64>,
    created: BTreeMap<u64, TopicState>,
    /// How many partitions the topics have that are there before.
    partitions: BTreeMap<u64, u32>,
    grown: BTreeMap<u64, u32>,
    deleted: BTreeSet<u64>,
    next_incarnation: u64,
}

impl Expected {
    /// Follows the journal's blocks without touching a file. A block that does
    /// not fit the state before it is damage of the one or the other.
    fn follow(manifest: &Manifest, chain: &Chain) -> Result<Self> {
        let mut expected = Self {
            log_id: manifest.log_id,
            next_offsets: BTreeMap::new(),
            created: BTreeMap::new(),
            partitions: BTreeMap::new(),
            grown: BTreeMap::new(),
            deleted: BTreeSet::new(),
            next_incarnation: manifest.next_incarnation,
        };
        for topic in &manifest.topics {
            for (partition, state) in (0..).zip(&topic.partitions) {
                let key = PartitionKey { incarnation: topic.incarnation, partition };
                expected.next_offsets.insert(key, state.next_offset());
                expected.partitions.insert(topic.incarnation, partition + 1);
            }
        }
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
                let topic = empty_topic(name, *incarnation, *partitions, *settings);
                self.created.insert(*incarnation, topic);
                self.expect_partitions(*incarnation, 0, *partitions);
            }
            Entry::Grow { incarnation, partitions } => {
                match self.partitions.get(incarnation).copied() {
                    Some(before) if before < *partitions => {
                        self.expect_partitions(*incarnation, before, *partitions);
                        self.grown.insert(*incarnation, *partitions);
                    }
                    _ => return Err(unfit(block, "partitions that do not follow their topic")),
                }
            }
            Entry::Delete { incarnation } => {
                let Some(count) = self.partitions.remove(incarnation) else {
                    return Err(unfit(block, "the end of a topic that is not there"));
                };
                for partition in 0..count {
                    let key = PartitionKey { incarnation: *incarnation, partition };
                    self.next_offsets.remove(&key);
                }
                self.created.remove(incarnation);
                self.grown.remove(incarnation);
                self.deleted.insert(*incarnation);
            }
            Entry::Start { key, offset } => {
                if self.next_offsets.get(key).is_none_or(|next| offset > next) {
                    return Err(unfit(block, "the start of a log that is not there"));
                }
            }
            Entry::Commit { .. } | Entry::Sent { .. } | Entry::Forget { .. } => {}
        }
        Ok(())
    }
}

impl Expected {
    fn expect_partitions(&mut self, incarnation: u64, from: u32, to: u32) {
        for partition in from..to {
            self.next_offsets.insert(PartitionKey { incarnation, partition }, 0);
        }
        self.partitions.insert(incarnation, to);
    }

    /// The topics that the journal makes or changes, as they are in the end.
    fn renewed(&self, context: &PartitionContext, tables: &Tables) -> BTreeMap<u64, Arc<TopicLog>> {
        let mut renewed = BTreeMap::new();
        for (incarnation, state) in &self.created {
            renewed.insert(*incarnation, Arc::new(TopicLog::new(context, state.clone())));
        }
        for (incarnation, partitions) in &self.grown {
            let before = renewed.get(incarnation).or_else(|| tables.topic_of(*incarnation));
            let grown = before.map(|topic| Arc::new(topic.grown(context, *partitions)));
            renewed.extend(grown.map(|topic| (*incarnation, topic)));
        }
        renewed
    }
}

/// The offset behind frames that are whole and begin at `base_offset`.
fn frames_end(seed: u32, base_offset: u64, mut frames: &[u8]) -> Option<u64> {
    let mut next = base_offset;
    while !frames.is_empty() {
        let frame = Frame::parse(seed, frames);
        let frame = frame.filter(|frame| frame.offset == next && !frame.is_gap())?;
        let visited = frame.records(|offset, _, _| {
            next = offset + 1;
            true
        });
        frames = frames.get(frame.frame_len()..)?;
        visited.ok()?;
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
    let renewed = expected.renewed(context, tables);
    let mut findings =
        Findings { next_incarnation: expected.next_incarnation, ..Findings::default() };
    // Of a topic that is deleted in the end nothing is needed any more.
    let before = tables.topics.values().filter(|topic| {
        !renewed.contains_key(&topic.incarnation) && !expected.deleted.contains(&topic.incarnation)
    });
    let living: Vec<_> = before.chain(renewed.values()).collect();
    for partition in living.iter().flat_map(|topic| &topic.partitions) {
        let next_offset = expected.next_offsets.get(&partition.key).copied().unwrap_or_default();
        judge_partition(partition, next_offset, &mut findings)?;
    }
    judge_topic_folders(context, &living, &mut findings)?;
    findings.renewed = renewed;
    findings.deleted = expected.deleted;
    findings.next_offsets = expected.next_offsets;
    Ok(findings)
}

fn judge_partition(
    partition: &Arc<PartitionLog>,
    next_offset: u64,
    findings: &mut Findings,
) -> Result<()> {
    let view = partition.view();
    let names = file_names(partition)?;
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
            if !partition.probe.canary("unknown-records-forgiven") {
                refuse_unknown_records(&file, seed, len, next_offset)?;
            }
        }
        if known.is_none() {
            findings.leftover_files.push(path);
        }
    }
    let active = view.segments.last();
    let log_len = active.map(|active| present_len(&names, active)).transpose()?.flatten();
    let hashes_present = names.iter().any(|name| name == HASHES_FILE);
    let hashes_len_found = if hashes_present { partition.hashes.file.len()? } else { 0 };
    let log_len_named = view.segments.last().map_or(0, |active| active.len());
    let hashes_len_named = hashes_len(view.next_offset());
    findings.partitions.push(PartitionFindings {
        partition: Arc::clone(partition),
        has_folder,
        log: Length::of(log_len.unwrap_or_default(), log_len_named),
        lacks_active: active.is_some() && log_len.is_none() && log_len_named == 0,
        hashes: Length::of(hashes_len_found, hashes_len_named),
        generation_max,
    });
    Ok(())
}

/// The length of a segment's file; `None` if it is gone.
fn present_len(names: &[String], segment: &Segment) -> Result<Option<u64>> {
    let name = segment.file.path().file_name().unwrap_or_default();
    let is_there = names.iter().any(|found| name == found.as_str());
    is_there.then(|| segment.file.len()).transpose()
}

/// Looks behind `position` for a valid record at or past `next_offset`.
pub(crate) fn refuse_unknown_records(
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
    let mut search = FrameSearch::new(seed, position, end);
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
            let whole = header.map(|header| frame_at(file, &mut search, seed, at, end, &header));
            match header.zip(whole) {
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
    search: &mut FrameSearch,
    seed: u32,
    position: u64,
    end: u64,
    header: &FrameHeader,
) -> Result<bool> {
    if position.saturating_add(header.frame_len() as u64) > end {
        return Ok(false);
    }
    if header.frame_len() > LONG_FRAME_BYTES {
        return search.holds(position, header, &mut |buf, at| read_readable(file, buf, at));
    }
    let mut frame = vec![0; header.frame_len()];
    let read = read_readable(file, &mut frame, position)?;
    Ok(read == frame.len() && Frame::parse(seed, &frame).is_some())
}

/// Reads as [`PooledFile::read_up_to`] does, but where the disk refuses a sector
/// even through a fresh handle, zeroes stand for it: nothing can be concluded
/// from it, and replay or a reader will find out whether it is needed.
pub(crate) fn read_readable(
    file: &Arc<PooledFile>,
    buf: &mut [u8],
    position: u64,
) -> Result<usize> {
    match file.read_up_to(buf, position) {
        Err(error) if error.is_failed_read() => {
            let fresh = file.fresh_handle()?;
            read_sectors_up_to(&*fresh, buf, position).at("read the length of", file.path())
        }
        read => read,
    }
}

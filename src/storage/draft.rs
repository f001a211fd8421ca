//! What one block adds to one partition, before it is committed.
//!
//! ```text
//! reserve   files, names and space: may fail, and has then changed nothing that counts
//! append    frames, record hashes and tree nodes, in memory: cannot fail
//! ------    the block is written and synced: the commit point
//! apply     the same bytes go to the log and the hashes, unsynced
//! publish   readers see them
//! ```

use super::canonical::RecordHasher;
use super::codec::Decoded;
use super::entry::{Entry, Placement};
use super::files::Pin;
use super::frame::{Body, FRAME_HEADER_BYTES, Frame, Payload, encode_record_frame};
use super::head::Head;
use super::index::{IndexPoint, PointChooser};
use super::options::StorageOptions;
use super::partition::PartitionLog;
use super::segment::Segment;
use crate::error::Result;
use crate::merkle::{CompactRange, Hash, leaf_hash};
use std::path::PathBuf;
use std::sync::Arc;

/// Records for one partition, as a caller stages them: complete but for their
/// offsets, which only the commit knows.
#[derive(Debug)]
pub(crate) struct StagedRecords {
    pub(crate) partition: Arc<PartitionLog>,
    /// The bodies, one behind the other.
    bodies: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// The same as they are to stand on disk, if they are compressed.
    compressed: Option<Vec<Payload>>,
}

/// How many bytes of bodies go into one LZ4 block: what a reader of a single
/// record has to decompress.
const LZ4_BLOCK_BYTES: usize = 32 << 10;

impl StagedRecords {
    pub(crate) fn new(partition: Arc<PartitionLog>) -> Self {
        Self { partition, bodies: Vec::new(), ends: Vec::new(), compressed: None }
    }

    pub(crate) fn push(&mut self, body: &Body<'_>) {
        body.encode(&mut self.bodies);
        self.ends.push(self.bodies.len());
    }

    pub(crate) fn records(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The bytes that the records take in the log.
    pub(crate) fn frames_len(&self) -> u64 {
        let headers = |frames: usize| (frames * FRAME_HEADER_BYTES) as u64;
        match &self.compressed {
            None => self.bodies.len() as u64 + headers(self.ends.len()),
            Some(payloads) => {
                payloads.iter().map(|payload| payload.len() as u64).sum::<u64>()
                    + headers(payloads.len())
            }
        }
    }

    fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bodies.get(start..*end).unwrap_or(&[]))
    }

    /// Packs the records into LZ4 blocks where that saves room.
    pub(crate) fn compress(&mut self) {
        let mut payloads = Vec::new();
        let mut group: Vec<&[u8]> = Vec::new();
        let mut group_bytes = 0;
        for body in self.bodies() {
            if group_bytes > 0 && group_bytes + body.len() > LZ4_BLOCK_BYTES {
                pack(&std::mem::take(&mut group), &mut payloads);
                group_bytes = 0;
            }
            group.push(body);
            group_bytes += body.len();
        }
        pack(&group, &mut payloads);
        self.compressed = Some(payloads);
    }
}

fn pack(group: &[&[u8]], payloads: &mut Vec<Payload>) {
    match Payload::lz4(group.iter().copied()) {
        Some(payload) => payloads.push(payload),
        None => payloads.extend(group.iter().map(|body| Payload::record(body))),
    }
}

/// Frames that go to one segment.
#[derive(Debug)]
struct Run {
    segment: Arc<Segment>,
    is_new: bool,
    base_offset: u64,
    records: u64,
    position: u64,
    frames: Vec<u8>,
    points: Vec<IndexPoint>,
    chooser: PointChooser,
    timestamp_max_ns: i64,
}

impl Run {
    fn new(segment: Arc<Segment>, is_new: bool, base_offset: u64) -> Self {
        Self {
            is_new,
            base_offset,
            records: 0,
            position: segment.len(),
            frames: Vec::new(),
            points: Vec::new(),
            chooser: segment.point_chooser(),
            timestamp_max_ns: segment.timestamp_max_ns(),
            segment,
        }
    }

    fn end(&self) -> u64 {
        self.position + self.frames.len() as u64
    }

    /// Notes that a frame with the record `offset` comes next, and that no record
    /// before it in the segment is younger than `timestamp_before_ns`.
    fn begin_frame(&mut self, offset: u64, position: u64, timestamp_before_ns: i64) {
        if self.chooser.wants(position) {
            self.points.push(IndexPoint { offset, position, timestamp_before_ns });
        }
    }

    /// Adds a frame that holds the record `offset` and those behind it.
    fn push_frame(&mut self, offset: u64, encode: impl FnOnce(&mut Vec<u8>)) {
        self.begin_frame(offset, self.end(), self.timestamp_max_ns);
        encode(&mut self.frames);
    }
}

/// What one block adds to one partition.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) partition: Arc<PartitionLog>,
    options: StorageOptions,
    /// The wall clock, for the segments that are begun.
    now_ns: i64,
    /// The tree after everything drafted; its size is the next offset.
    range: CompactRange,
    runs: Vec<Run>,
    /// The stored hashes that are to follow those of the present tree.
    slots: Vec<u8>,
    /// Keeps the files open, so that applying cannot fail for want of a handle.
    pins: Vec<Pin>,
}

impl Draft {
    pub(crate) fn new(partition: &Arc<PartitionLog>, options: StorageOptions, now_ns: i64) -> Self {
        Self {
            range: partition.view().range.clone(),
            partition: Arc::clone(partition),
            options,
            now_ns,
            runs: Vec::new(),
            slots: Vec::new(),
            pins: Vec::new(),
        }
    }

    pub(crate) fn next_offset(&self) -> u64 {
        self.range.size()
    }

    /// Whether there is anything to be committed.
    pub(crate) fn has_records(&self) -> bool {
        self.runs.iter().any(|run| run.records > 0)
    }

    /// Obtains everything that `records` in `frames_len` bytes need on disk.
    /// With `pin`, their files stay open until the draft is applied.
    pub(crate) fn reserve(&mut self, frames_len: u64, records: u64, pin: bool) -> Result<()> {
        let partition = Arc::clone(&self.partition);
        let mut head = partition.head();
        let segment_bytes = self.options.segment_bytes;
        let run = self.run_for(&mut head, frames_len)?;
        let needed = run.end().saturating_add(frames_len);
        head.reserve_log(&run.segment, needed, segment_bytes)?;
        let file = Arc::clone(&run.segment.file);
        head.reserve_hashes(&partition, self.next_offset().saturating_add(records))?;
        if pin && self.pins.is_empty() {
            self.pins.push(partition.hashes.file.pin()?);
        }
        if pin {
            self.pins.push(file.pin()?);
        }
        Ok(())
    }

    /// The run that the next `frames_len` bytes belong to.
    fn run_for(&mut self, head: &mut Head, frames_len: u64) -> Result<&mut Run> {
        let view = self.partition.view();
        if self.runs.is_empty()
            && let Some(active) = view.segments.last()
        {
            self.runs.push(Run::new(Arc::clone(active), false, self.range.size()));
        }
        let segment_bytes = self.options.segment_bytes;
        let rolls = self.runs.last().is_none_or(|run| {
            let full = run.end() > 0 && run.end().saturating_add(frames_len) > segment_bytes;
            full || (!run.is_new && head.active_is_damaged())
        });
        if rolls {
            if let Some(last) = self.runs.last() {
                head.trim_log(&last.segment, last.end())?;
            }
            let segment = head.new_segment(&self.partition, &self.range, self.now_ns)?;
            self.runs.retain(|run| run.is_new || run.records > 0);
            self.runs.push(Run::new(segment, true, self.range.size()));
        }
        let run = self.runs.last_mut();
        run.ok_or_else(|| crate::error::Error::corrupt(self.partition.dir(), 0, "no segment"))
    }

    /// Adds staged records; room was reserved for them.
    pub(crate) fn append(
        &mut self,
        staged: &StagedRecords,
        hasher: &mut RecordHasher,
    ) -> Decoded<Placement> {
        let base_offset = self.next_offset();
        let seed = self.partition.name.seed;
        let mut bodies = (base_offset..).zip(staged.bodies());
        for payload in staged.compressed.iter().flatten() {
            let offset = self.next_offset();
            if let Some(run) = self.runs.last_mut() {
                run.push_frame(offset, |frames| payload.encode_frame(seed, offset, frames));
            }
            let records = usize::try_from(payload.records()).unwrap_or(usize::MAX);
            for (offset, body) in bodies.by_ref().take(records) {
                self.hash_record(offset, &Body::decode(body)?, hasher)?;
            }
        }
        for (offset, body) in bodies {
            if let Some(run) = self.runs.last_mut() {
                run.push_frame(offset, |frames| encode_record_frame(seed, offset, body, frames));
            }
            self.hash_record(offset, &Body::decode(body)?, hasher)?;
        }
        self.count(staged.records());
        Ok(Placement { key: self.partition.key, base_offset, records: staged.records() })
    }

    /// Adds frames as they stand in a journal block; room was reserved for them.
    pub(crate) fn append_frames(
        &mut self,
        frames: &[u8],
        records: u64,
        hasher: &mut RecordHasher,
    ) -> Result<()> {
        let seed = self.partition.name.seed;
        let damaged =
            |reason: String| crate::error::Error::corrupt(self.partition.dir(), 0, reason);
        let mut leaves = Vec::new();
        let mut starts = Vec::new();
        let mut rest = frames;
        while !rest.is_empty() {
            let frame = Frame::parse(seed, rest).filter(|frame| !frame.is_gap());
            let frame = frame.ok_or_else(|| damaged("the journal holds a damaged frame".into()))?;
            let mut failed = None;
            let mut timestamp_max_ns = i64::MIN;
            let visited = frame.records(|offset, _, body| {
                let name = &self.partition.name;
                timestamp_max_ns = timestamp_max_ns.max(body.timestamp_ns);
                match hasher.hash(&name.topic, name.partition, offset, &body) {
                    Ok(hash) => leaves.push((offset, hash, body.timestamp_ns)),
                    Err(malformed) => failed = Some(malformed),
                }
                failed.is_none()
            });
            let failed = visited.err().or(failed);
            if let Some(malformed) = failed {
                return Err(damaged(malformed.reason()));
            }
            starts.push((frame.offset, frames.len() - rest.len(), timestamp_max_ns));
            rest = rest.get(frame.frame_len()..).unwrap_or(&[]);
        }
        let dense = leaves.iter().zip(self.next_offset()..).all(|(leaf, offset)| leaf.0 == offset);
        if !dense || leaves.len() as u64 != records {
            return Err(damaged("the journal's records do not follow the log".into()));
        }
        if let Some(run) = self.runs.last_mut() {
            let mut timestamp_before_ns = run.timestamp_max_ns;
            for (offset, start, timestamp_max_ns) in starts {
                run.begin_frame(offset, run.end() + start as u64, timestamp_before_ns);
                timestamp_before_ns = timestamp_before_ns.max(timestamp_max_ns);
            }
            run.frames.extend_from_slice(frames);
        }
        for (_, hash, timestamp_ns) in leaves {
            self.push_leaf(&hash, timestamp_ns);
        }
        self.count(records);
        Ok(())
    }

    fn hash_record(
        &mut self,
        offset: u64,
        body: &Body<'_>,
        hasher: &mut RecordHasher,
    ) -> Decoded<()> {
        let name = &self.partition.name;
        let hash = hasher.hash(&name.topic, name.partition, offset, body)?;
        self.push_leaf(&hash, body.timestamp_ns);
        Ok(())
    }

    fn push_leaf(&mut self, record_hash: &Hash, timestamp_ns: i64) {
        let slots = &mut self.slots;
        self.range.push(leaf_hash(record_hash), &mut |node: Hash| slots.extend_from_slice(&node.0));
        if let Some(run) = self.runs.last_mut() {
            run.timestamp_max_ns = run.timestamp_max_ns.max(timestamp_ns);
        }
    }

    fn count(&mut self, records: u64) {
        if let Some(run) = self.runs.last_mut() {
            run.records += records;
        }
    }

    /// The journal entries that stand for the draft.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let runs = self.runs.iter().filter(|run| run.records > 0);
        runs.map(|run| Entry::Append {
            key: self.partition.key,
            base_offset: run.base_offset,
            records: run.records,
            frames: &run.frames,
        })
    }

    /// Writes frames and hashes to the partition's files, without a sync.
    pub(crate) fn apply(&self) -> Result<()> {
        for run in self.runs.iter().filter(|run| run.records > 0) {
            run.segment.file.write(&run.frames, run.position)?;
        }
        let size = self.partition.view().next_offset();
        self.partition.hashes.write(size, &self.slots)
    }

    /// Shows readers what was applied.
    pub(crate) fn publish(self) {
        let mut new = Vec::new();
        for run in &self.runs {
            run.segment.publish(run.end(), run.timestamp_max_ns, &run.points);
            if run.is_new {
                new.push(Arc::clone(&run.segment));
            }
        }
        self.partition.publish(self.range, &new);
    }

    /// Gives up before the commit point. Returns the paths of new segments,
    /// which nothing names.
    pub(crate) fn abandon(self) -> Vec<PathBuf> {
        let new = self.runs.iter().filter(|run| run.is_new);
        new.map(|run| run.segment.file.path().to_owned()).collect()
    }
}

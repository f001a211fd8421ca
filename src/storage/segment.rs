//! A segment: one file of a partition's log, and how records are read from it.
//!
//! Reading starts at an index point and checks every frame it passes, so it
//! always knows which offset comes next. A frame that fails its check is read
//! once more through a fresh handle. If it is really damaged, the search for a
//! later frame goes on byte by byte: the damage takes the records it covers and
//! no others.

use super::codec::{Malformed, NUMBER_MAX};
use super::files::{FilePool, PooledFile};
use super::frame::{Body, FRAME_HEADER_BYTES, Frame, FrameHeader, records_max};
use super::index::{IndexFile, IndexPoint, PointChooser, SparseIndex};
use crate::env::exact::read_up_to;
use crate::error::{Corruption, Error, IoContext, Result};
use crate::merkle::{CompactRange, MAX_LEAVES};
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much of a segment is read at once when many records are wanted.
const CHUNK_BYTES: usize = 256 << 10;
/// The longest index file that is read: 2^22 points.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// Whose records these are: for checksums and for messages.
#[derive(Debug, Clone)]
pub(crate) struct PartitionName {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) seed: u32,
}

/// One file of a partition's log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: PartitionName,
    /// The offset of its first record.
    pub(crate) base_offset: u64,
    pub(crate) generation: u64,
    /// The tree's compact range at `base_offset`.
    pub(crate) base_range: CompactRange,
    pub(crate) file: Arc<PooledFile>,
    /// How many bytes hold frames that readers may see.
    len: AtomicU64,
    timestamp_max_ns: AtomicI64,
    pub(crate) created_ns: i64,
    pub(crate) delete_horizon_ns: i64,
    index: Mutex<SparseIndex>,
    index_interval_bytes: u64,
    /// Whether an index file of the whole segment was written.
    indexed: AtomicBool,
}

/// Names of a segment's files.
pub(crate) fn segment_file_name(base_offset: u64, generation: u64, extension: &str) -> String {
    format!("{base_offset:020}.{generation:010}.{extension}")
}

/// The base offset and the generation in a segment file's name.
pub(crate) fn parse_segment_file_name(name: &str) -> Option<(u64, u64, &str)> {
    let mut parts = name.splitn(3, '.');
    let base_offset = parts.next()?.parse().ok()?;
    let generation = parts.next()?.parse().ok()?;
    let extension = parts.next().filter(|extension| matches!(*extension, "log" | "idx"))?;
    if base_offset > MAX_LEAVES || generation > NUMBER_MAX {
        return None;
    }
    let canonical = segment_file_name(base_offset, generation, extension);
    (canonical == name).then_some((base_offset, generation, extension))
}

/// What is known of a segment when it is opened or created.
#[derive(Debug)]
pub(crate) struct SegmentMeta {
    pub(crate) base_offset: u64,
    pub(crate) generation: u64,
    pub(crate) len: u64,
    pub(crate) timestamp_max_ns: i64,
    pub(crate) created_ns: i64,
    pub(crate) delete_horizon_ns: i64,
    pub(crate) base_range: CompactRange,
}

impl Segment {
    pub(crate) fn new(
        name: PartitionName,
        meta: SegmentMeta,
        file: Arc<PooledFile>,
        index_interval_bytes: u64,
    ) -> Self {
        Self {
            name,
            base_offset: meta.base_offset,
            generation: meta.generation,
            base_range: meta.base_range,
            file,
            len: AtomicU64::new(meta.len),
            timestamp_max_ns: AtomicI64::new(meta.timestamp_max_ns),
            created_ns: meta.created_ns,
            delete_horizon_ns: meta.delete_horizon_ns,
            index: Mutex::new(SparseIndex::new(meta.len)),
            index_interval_bytes,
            indexed: AtomicBool::default(),
        }
    }

    pub(crate) fn path_in(dir: &Path, base_offset: u64, generation: u64) -> PathBuf {
        dir.join(segment_file_name(base_offset, generation, "log"))
    }

    fn index_path(&self) -> PathBuf {
        self.file.path().with_extension("idx")
    }

    /// The segment's files.
    pub(crate) fn file_paths(&self) -> [PathBuf; 2] {
        [self.file.path().to_owned(), self.index_path()]
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.indexed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_indexed(&self) {
        self.indexed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn timestamp_max_ns(&self) -> i64 {
        self.timestamp_max_ns.load(Ordering::Relaxed)
    }

    /// Shows readers what was written up to `len`.
    pub(crate) fn publish(&self, len: u64, timestamp_max_ns: i64, points: &[IndexPoint]) {
        self.index().append(points);
        self.timestamp_max_ns.fetch_max(timestamp_max_ns, Ordering::Relaxed);
        self.len.store(len, Ordering::Release);
    }

    /// Goes on choosing index points behind what was published.
    pub(crate) fn point_chooser(&self) -> PointChooser {
        PointChooser::new(self.index_interval_bytes, self.index().last_position())
    }

    fn index(&self) -> MutexGuard<'_, SparseIndex> {
        lock(&self.index)
    }

    fn corrupt(&self, offset: u64, position: u64, reason: impl Into<String>) -> Error {
        // A failed sync can have taken from the cache what only the journal still
        // has. Whether that is so, or the record is damaged, recovery finds out.
        if let Err(needs_reopen) = self.file.pool().latch().check() {
            return needs_reopen;
        }
        Error::Corrupt(Arc::new(Corruption {
            path: self.file.path().to_owned(),
            position,
            topic: Some(self.name.topic.to_string()),
            partition: Some(self.name.partition),
            offset: Some(offset),
            reason: reason.into(),
        }))
    }

    /// Calls `visit` with the records from offset `from` on, in order, below
    /// `end_offset`, until it breaks. Fails with [`Error::Corrupt`] at the first
    /// record that should be there and is damaged; what was visited before is good.
    pub(crate) fn read(
        &self,
        from: u64,
        end_offset: u64,
        chunk_bytes: usize,
        visit: &mut dyn FnMut(u64, Body<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let start = self.locate(from).map_err(|error| self.missing_file(error, from))?;
        let mut frames = FrameReader::new(self, start, chunk_bytes.min(CHUNK_BYTES));
        // The first damage at or after `from` must be told; before it, it does not concern.
        while frames.expected < end_offset {
            let wanted = frames.expected.max(from);
            let next = frames.next(from, end_offset);
            let next = next.map_err(|error| self.missing_file(error, wanted))?;
            let Some(frame) = next else { break };
            let mut next = frame.offset;
            let mut outcome = Ok(ControlFlow::Continue(()));
            let position = frame.position;
            let decoded = frame.frame.records(|offset, _, body| {
                next = offset + 1;
                if offset < from || offset >= end_offset {
                    return offset < end_offset;
                }
                outcome = visit(offset, body);
                matches!(outcome, Ok(ControlFlow::Continue(())))
            });
            decoded.map_err(|malformed| self.malformed(next, position, malformed))?;
            if outcome?.is_break() {
                return Ok(());
            }
            frames.expected = next;
        }
        Ok(())
    }

    fn malformed(&self, offset: u64, position: u64, malformed: Malformed) -> Error {
        self.corrupt(offset, position, malformed.reason())
    }

    /// A frame at or before the record `offset`.
    fn locate(&self, offset: u64) -> Result<IndexPoint> {
        let start = IndexPoint { offset: self.base_offset, position: 0 };
        let found = self.index().floor(offset);
        if let Ok(point) = found {
            Ok(point.unwrap_or(start))
        } else {
            self.load_index()?;
            Ok(self.index().floor(offset).ok().flatten().unwrap_or(start))
        }
    }

    /// Loads the index of the part that stood on disk when the segment was
    /// opened; what no valid index file covers is looked through.
    pub(crate) fn load_index(&self) -> Result<()> {
        let opened_len = self.index().opened_len();
        let mut points = self.read_index_file(opened_len).unwrap_or_default();
        let start = points.last().copied();
        let start = start.unwrap_or(IndexPoint { offset: self.base_offset, position: 0 });
        let covered = self.index_covers(opened_len);
        if !covered {
            let mut chooser =
                PointChooser::new(self.index_interval_bytes, points.last().map(|p| p.position));
            let mut frames = FrameReader::new(self, start, CHUNK_BYTES);
            frames.end = opened_len;
            while let Some((offset, position)) = frames.next_header()? {
                if chooser.wants(position) {
                    points.push(IndexPoint { offset, position });
                }
            }
        }
        self.index().set_head(points);
        Ok(())
    }

    fn index_covers(&self, opened_len: u64) -> bool {
        self.decode_index_file().is_some_and(|file| file.covered_len == opened_len)
    }

    fn read_index_file(&self, opened_len: u64) -> Option<Vec<IndexPoint>> {
        let file = self.decode_index_file()?;
        (file.covered_len <= opened_len).then_some(file.points)
    }

    /// The index file, if it is there and is this segment's. Any failure only
    /// means that the segment is looked through instead.
    fn decode_index_file(&self) -> Option<IndexFile> {
        let file = PooledFile::existing(self.file.pool(), self.index_path());
        let len = file.len().ok().filter(|len| *len <= INDEX_BYTES_MAX)?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        file.read_exact(&mut bytes, 0).ok()?;
        let index = IndexFile::decode(self.name.seed, &bytes).ok()?;
        let ours = index.base_offset == self.base_offset && index.generation == self.generation;
        ours.then_some(index)
    }

    /// Writes the index file of what was published, if all points are known.
    pub(crate) fn write_index(&self, pool: &Arc<FilePool>) -> Result<()> {
        let covered_len = self.len();
        let (opened_len, points) = {
            let index = self.index();
            (index.opened_len(), index.all())
        };
        let Some(points) = points else { return Ok(()) };
        if covered_len == opened_len && self.index_covers(opened_len) {
            self.set_indexed();
            return Ok(());
        }
        let index = IndexFile {
            base_offset: self.base_offset,
            generation: self.generation,
            covered_len,
            points,
        };
        let bytes = index.encode(self.name.seed);
        let path = self.index_path();
        let file = match PooledFile::create(pool, path.clone()) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                PooledFile::existing(pool, path)
            }
            created => created?,
        };
        file.write(&bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
        file.sync()?;
        self.set_indexed();
        Ok(())
    }
}

/// A frame, and where it stands.
struct PlacedFrame<'a> {
    offset: u64,
    position: u64,
    frame: Frame<'a>,
}

/// Walks over the frames of a segment.
struct FrameReader<'s> {
    segment: &'s Segment,
    /// The position of the next frame.
    position: u64,
    /// The least offset that the next frame can have.
    expected: u64,
    /// Where the walk ends.
    end: u64,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    buffer_position: u64,
}

impl<'s> FrameReader<'s> {
    fn new(segment: &'s Segment, start: IndexPoint, chunk_bytes: usize) -> Self {
        Self {
            segment,
            position: start.position,
            expected: start.offset,
            end: segment.len(),
            chunk_bytes: chunk_bytes.max(FRAME_HEADER_BYTES),
            buffer: Vec::new(),
            buffer_position: start.position,
        }
    }

    /// The next frame that is whole, or `None` at the end of the segment. Where
    /// damage covers offset `from` or a later one below `end_offset`, fails.
    fn next(&mut self, from: u64, end_offset: u64) -> Result<Option<PlacedFrame<'_>>> {
        if self.position >= self.end {
            // Readers were promised records up to here.
            let missing = self.expected.max(from);
            if missing < end_offset {
                let reason = "the segment ends before this record";
                return Err(self.segment.corrupt(missing, self.position, reason));
            }
            return Ok(None);
        }
        if !self.frame_holds()? {
            let damaged = self.position;
            let wanted = self.expected.max(from);
            if !self.resync(wanted)? || self.expected > wanted {
                if wanted >= end_offset {
                    return Ok(None);
                }
                let reason = "a record that is not the one that was written";
                return Err(self.segment.corrupt(wanted, damaged, reason));
            }
        }
        let position = self.position;
        let start = self.in_buffer(position);
        let Some(frame) = Frame::of_checked(self.buffer.get(start..).unwrap_or(&[])) else {
            return Err(self.segment.corrupt(self.expected, position, "a frame cut short"));
        };
        self.position += frame.frame_len() as u64;
        Ok(Some(PlacedFrame { offset: frame.offset, position, frame }))
    }

    /// The offset and the position of the next whole frame, whatever is
    /// damaged in between.
    fn next_header(&mut self) -> Result<Option<(u64, u64)>> {
        if self.position >= self.end || (!self.frame_holds()? && !self.resync(self.expected)?) {
            return Ok(None);
        }
        let start = self.in_buffer(self.position);
        let frame = Frame::of_checked(self.buffer.get(start..).unwrap_or(&[]));
        let Some(frame) = frame else { return Ok(None) };
        let found = (frame.offset, self.position);
        self.position += frame.frame_len() as u64;
        self.expected = frame.offset + 1;
        Ok(Some(found))
    }

    fn in_buffer(&self, position: u64) -> usize {
        usize::try_from(position - self.buffer_position).unwrap_or(usize::MAX)
    }

    /// Whether the next frame stands at the position, whole.
    fn frame_holds(&mut self) -> Result<bool> {
        if self.parse_here(false)? {
            return Ok(true);
        }
        self.buffer.clear();
        self.parse_here(true)
    }

    fn parse_here(&mut self, fresh: bool) -> Result<bool> {
        self.fill(FRAME_HEADER_BYTES, fresh)?;
        let start = self.in_buffer(self.position);
        let Some(header) = FrameHeader::parse(self.buffer.get(start..).unwrap_or(&[])) else {
            return Ok(false);
        };
        if header.offset != self.expected || self.position + header.frame_len() as u64 > self.end {
            return Ok(false);
        }
        self.fill(header.frame_len(), fresh)?;
        let start = self.in_buffer(self.position);
        let bytes = self.buffer.get(start..).unwrap_or(&[]);
        Ok(Frame::parse(self.segment.name.seed, bytes).is_some())
    }

    /// Sees to it that `count` bytes from the position on are in the buffer, as
    /// far as the segment has them.
    fn fill(&mut self, count: usize, fresh: bool) -> Result<()> {
        let start = self.in_buffer(self.position);
        if self.buffer.len() >= start.saturating_add(count) {
            return Ok(());
        }
        let left = self.end.saturating_sub(self.position);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let wanted = count.max(self.chunk_bytes).min(left);
        self.buffer.drain(..start.min(self.buffer.len()));
        self.buffer_position = self.position;
        let kept = self.buffer.len();
        self.buffer.resize(wanted.max(kept), 0);
        let unread = &mut self.buffer[kept..];
        let at = self.position + kept as u64;
        let file = &self.segment.file;
        let read = if fresh {
            read_up_to(&*file.fresh_handle()?, unread, at).at("read", file.path())?
        } else {
            file.read_up_to(unread, at)?
        };
        self.buffer.truncate(kept + read);
        Ok(())
    }

    /// Looks behind the position, byte by byte, for a whole frame from which the
    /// record `wanted` can be reached, and moves there; `false` if there is
    /// none. A frame of a later record may have been put in the wrong place: it
    /// is taken only if none that is better follows within a chunk.
    fn resync(&mut self, wanted: u64) -> Result<bool> {
        let expected = self.expected;
        let mut beyond: Option<(u64, u64)> = None;
        let mut position = self.position + 1;
        while let Some(offset) = self.frame_at_or_after(&mut position, expected)? {
            if offset <= wanted {
                self.move_to(position, offset);
                return Ok(true);
            }
            let (first, _) = *beyond.get_or_insert((position, offset));
            if position - first > CHUNK_BYTES as u64 {
                break;
            }
            position += 1;
        }
        if let Some((position, offset)) = beyond {
            self.move_to(position, offset);
        }
        Ok(beyond.is_some())
    }

    fn move_to(&mut self, position: u64, offset: u64) {
        if position < self.buffer_position {
            self.buffer.clear();
            self.buffer_position = position;
        }
        self.position = position;
        self.expected = offset;
    }

    /// Advances `position` to the first whole frame at or behind it whose offset
    /// is at least `least`, and returns that offset.
    fn frame_at_or_after(&mut self, position: &mut u64, least: u64) -> Result<Option<u64>> {
        let seed = self.segment.name.seed;
        // An offset is at most as far ahead as records could lie in between.
        let possible = least..least.saturating_add(records_max(self.end));
        while position.saturating_add(FRAME_HEADER_BYTES as u64) <= self.end {
            self.position = *position;
            self.fill(FRAME_HEADER_BYTES, false)?;
            let start = self.in_buffer(*position);
            let bytes = self.buffer.get(start..).unwrap_or(&[]);
            if bytes.len() < FRAME_HEADER_BYTES {
                // The file ends before the segment does.
                break;
            }
            let header = FrameHeader::parse(bytes).filter(|header| {
                let fits = position.saturating_add(header.frame_len() as u64) <= self.end;
                possible.contains(&header.offset) && fits
            });
            if let Some(header) = header {
                self.fill(header.frame_len(), false)?;
                let start = self.in_buffer(*position);
                if Frame::parse(seed, self.buffer.get(start..).unwrap_or(&[])).is_some() {
                    return Ok(Some(header.offset));
                }
            }
            *position += 1;
        }
        Ok(None)
    }
}

impl Segment {
    /// A segment whose file is gone is damage, not a refusal of the disk. It is
    /// told of the record that was wanted, so that a reader who goes on behind
    /// the offset of each error comes to its end.
    fn missing_file(&self, error: Error, offset: u64) -> Error {
        match error {
            error if error.is_not_found() => {
                self.corrupt(offset, 0, "the segment's file is missing")
            }
            other => other,
        }
    }
}

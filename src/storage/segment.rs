//! A segment: one file of a partition's log.

use super::codec::{Malformed, NUMBER_MAX};
use super::files::PooledFile;
use super::frame::{Body, Frame};
use super::frame_reader::{CHUNK_BYTES, FrameReader};
use super::gap::Gap;
use super::index::{IndexPoint, PointChooser, SparseIndex};
use crate::error::{Corruption, Error, Result};
use crate::merkle::{CompactRange, MAX_LEAVES};
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, lock};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whose records these are: for checksums and for messages.
#[derive(Debug, Clone)]
pub(crate) struct PartitionName {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) seed: u32,
}

/// What a walk over a segment meets.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// A record and its offset.
    Record(u64, Body<'a>),
    /// Records that were removed.
    Gap(Gap<'a>),
}

/// What came of a frame: the offset behind it, or `None` to end the walk; where it
/// is malformed, the offset of what is.
pub(crate) type FrameVisit = std::result::Result<Option<u64>, (u64, Malformed)>;

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
    delete_horizon_ns: AtomicI64,
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
            delete_horizon_ns: AtomicI64::new(meta.delete_horizon_ns),
            index: Mutex::new(SparseIndex::new(meta.len)),
            index_interval_bytes,
            indexed: AtomicBool::default(),
        }
    }

    pub(crate) fn path_in(dir: &Path, base_offset: u64, generation: u64) -> PathBuf {
        dir.join(segment_file_name(base_offset, generation, "log"))
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

    /// When compaction may drop the segment's tombstones.
    pub(crate) fn delete_horizon_ns(&self) -> i64 {
        self.delete_horizon_ns.load(Ordering::Relaxed)
    }

    pub(crate) fn set_delete_horizon(&self, horizon_ns: i64) {
        self.delete_horizon_ns.store(horizon_ns, Ordering::Relaxed);
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

    pub(crate) fn index_interval_bytes(&self) -> u64 {
        self.index_interval_bytes
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, SparseIndex> {
        lock(&self.index)
    }

    pub(crate) fn corrupt(&self, offset: u64, position: u64, reason: impl Into<String>) -> Error {
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
        self.walk(from, end_offset, chunk_bytes, &mut |part| match part {
            Part::Record(offset, body) => visit(offset, body),
            Part::Gap(_) => Ok(ControlFlow::Continue(())),
        })
    }

    /// As [`Segment::read`], and with the gaps in between, whole.
    pub(crate) fn walk(
        &self,
        from: u64,
        end_offset: u64,
        chunk_bytes: usize,
        visit: &mut dyn FnMut(Part<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut outcome = Ok(ControlFlow::Continue(()));
        self.walk_frames(from, end_offset, chunk_bytes, &mut |frame| {
            let mut next = frame.offset;
            let decoded = frame.records(|offset, _, body| {
                next = offset + 1;
                if offset < from || offset >= end_offset {
                    return offset < end_offset;
                }
                outcome = visit(Part::Record(offset, body));
                matches!(outcome, Ok(ControlFlow::Continue(())))
            });
            decoded.map_err(|malformed| (next, malformed))?;
            if let Some(gap) = frame.gap().map_err(|malformed| (next, malformed))? {
                next = gap.end;
                outcome = visit(Part::Gap(gap));
            }
            let goes_on = matches!(outcome, Ok(ControlFlow::Continue(())));
            Ok(goes_on.then_some(next))
        })?;
        outcome.map(drop)
    }

    /// Calls `visit` with each frame from one at or before offset `from` on, up to
    /// `end_offset`.
    pub(crate) fn walk_frames(
        &self,
        from: u64,
        end_offset: u64,
        chunk_bytes: usize,
        visit: &mut dyn FnMut(&Frame<'_>) -> FrameVisit,
    ) -> Result<()> {
        let start = self.locate(from).map_err(|error| self.missing_file(error, from))?;
        let mut frames = FrameReader::new(self, start, end_offset, chunk_bytes.min(CHUNK_BYTES));
        // The first damage at or after `from` must be told; before it, it does not concern.
        while frames.expected < end_offset {
            let wanted = frames.expected.max(from);
            let next = frames.next(from).map_err(|error| self.missing_file(error, wanted))?;
            let Some(placed) = next else { break };
            match visit(&placed.frame) {
                Ok(Some(next)) => frames.expected = next,
                Ok(None) => break,
                Err((offset, malformed)) => {
                    let position = placed.position;
                    frames.expected = offset;
                    // What the frame holds up to what is malformed is there, and so is
                    // what follows it.
                    let goes_on = frames.follow()?;
                    let next = if goes_on { frames.expected.min(end_offset) } else { end_offset };
                    let lost = offset.max(from);
                    if next > lost {
                        return Err(self.corrupt(lost, position, malformed.reason()));
                    }
                    frames.expected = next;
                }
            }
        }
        Ok(())
    }

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

//! A segment that is written anew: frames that stay, and gaps for what goes.

use crate::error::Result;
use crate::merkle::{CompactRange, Hash, SubtreeRoots};
use crate::storage::files::PooledFile;
use crate::storage::frame::{Frame, Payload, encode_gap_frame, encode_record_frame};
use crate::storage::index::{IndexPoint, PointChooser};
use crate::storage::partition::PartitionLog;
use crate::storage::segment::{Segment, SegmentMeta};
use std::path::PathBuf;
use std::sync::Arc;

/// A new file, as far as it is written.
pub(crate) struct Output<'a> {
    log: &'a PartitionLog,
    file: Arc<PooledFile>,
    generation: u64,
    /// The tree in front of the first record.
    base_range: CompactRange,
    /// The tree up to what was handed over.
    range: CompactRange,
    /// What went, and is not written yet.
    gap: SubtreeRoots,
    /// What stays of an LZ4 block and has to be packed again.
    run: Vec<Packed>,
    buffer: Vec<u8>,
    /// How many bytes the file has.
    written: u64,
    chooser: PointChooser,
    points: Vec<IndexPoint>,
    timestamp_max_ns: i64,
}

/// A record that stays, out of a frame that does not.
struct Packed {
    offset: u64,
    leaf: Hash,
    timestamp_ns: i64,
    body: Vec<u8>,
}

impl<'a> Output<'a> {
    /// Makes the file of a segment that begins at `base_range`'s size, under a
    /// generation of its own, and notes it in `made`.
    pub(crate) fn begin(
        log: &'a PartitionLog,
        base_range: &CompactRange,
        made: &mut Vec<PathBuf>,
    ) -> Result<Self> {
        let generation = log.head().take_generation();
        let path = Segment::path_in(log.dir(), base_range.size(), generation);
        let file = PooledFile::create(log.pool(), path.clone())?;
        made.push(path);
        Ok(Self {
            log,
            file,
            generation,
            base_range: base_range.clone(),
            range: base_range.clone(),
            gap: SubtreeRoots::new(base_range.size()),
            run: Vec::new(),
            buffer: Vec::new(),
            written: 0,
            chooser: PointChooser::new(log.index_interval_bytes(), None),
            points: Vec::new(),
            timestamp_max_ns: i64::MIN,
        })
    }

    /// The tree up to what was handed over; its size is the next offset.
    pub(crate) fn range(&self) -> &CompactRange {
        &self.range
    }

    /// The offset of what is handed over next.
    pub(crate) fn position(&self) -> u64 {
        self.range.size() + self.run.len() as u64
    }

    /// A subtree of which nothing stays.
    pub(crate) fn remove(&mut self, level: u8, root: Hash) {
        self.end_run();
        if self.gap.end() != self.range.size() {
            self.gap = SubtreeRoots::new(self.range.size());
        }
        self.gap.push(level, root);
        self.range.push_subtree(level, root, &mut |_| {});
    }

    /// Copies a frame of which everything stays; [`Output::keep`] follows for each
    /// of its records.
    pub(crate) fn begin_frame(&mut self, frame: &Frame<'_>) {
        self.end_run();
        self.end_gap();
        self.note_point(frame.offset);
        frame.append_to(self.log.name.seed, &mut self.buffer);
    }

    /// Counts a record whose frame was written.
    pub(crate) fn keep(&mut self, leaf: Hash, timestamp_ns: i64) {
        self.range.push(leaf, &mut |_| {});
        self.timestamp_max_ns = self.timestamp_max_ns.max(timestamp_ns);
    }

    /// A record that stays, out of a frame that does not.
    pub(crate) fn pack(&mut self, offset: u64, leaf: Hash, timestamp_ns: i64, body: &[u8]) {
        self.end_gap();
        self.run.push(Packed { offset, leaf, timestamp_ns, body: body.to_vec() });
    }

    /// Packs what stayed of an LZ4 block between two records that went.
    pub(crate) fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        let seed = self.log.name.seed;
        let Some(first) = run.first() else { return };
        if let Some(payload) = Payload::lz4(run.iter().map(|record| record.body.as_slice())) {
            self.note_point(first.offset);
            payload.encode_frame(seed, first.offset, &mut self.buffer);
            for record in &run {
                self.keep(record.leaf, record.timestamp_ns);
            }
            return;
        }
        for record in &run {
            self.note_point(record.offset);
            encode_record_frame(seed, record.offset, &record.body, &mut self.buffer);
            self.keep(record.leaf, record.timestamp_ns);
        }
    }

    fn note_point(&mut self, offset: u64) {
        let position = self.written + self.buffer.len() as u64;
        let timestamp_before_ns = self.timestamp_max_ns;
        if self.chooser.wants(position) {
            self.points.push(IndexPoint { offset, position, timestamp_before_ns });
        }
    }

    /// Writes the gap in front of what comes next.
    fn end_gap(&mut self) {
        let after = SubtreeRoots::new(self.range.size());
        let gap = std::mem::replace(&mut self.gap, after);
        if gap.start() < gap.end() {
            self.note_point(gap.start());
            encode_gap_frame(self.log.name.seed, &gap, &mut self.buffer);
        }
    }

    /// Writes the buffer if it has at least `bytes_min` bytes.
    pub(crate) fn drain(&mut self, bytes_min: usize) -> Result<()> {
        if self.buffer.len() >= bytes_min {
            self.file.write(&self.buffer, self.written)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes what is left.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.end_run();
        self.end_gap();
        self.drain(0)
    }

    /// Syncs the file, whose end was written, and makes it a segment. Its name is
    /// durable only after a sync of the folder.
    pub(crate) fn finish(self, created_ns: i64, delete_horizon_ns: i64) -> Result<Arc<Segment>> {
        self.file.sync()?;
        let meta = SegmentMeta {
            base_offset: self.base_range.size(),
            generation: self.generation,
            len: 0,
            timestamp_max_ns: self.timestamp_max_ns,
            created_ns,
            delete_horizon_ns,
            base_range: self.base_range,
        };
        let interval_bytes = self.log.index_interval_bytes();
        let segment = Segment::new(self.log.name.clone(), meta, self.file, interval_bytes);
        segment.publish(self.written, self.timestamp_max_ns, &self.points);
        Ok(Arc::new(segment))
    }
}

//! Writing segments anew, as one, without the records that go.

use super::plan::{Rule, Verdict};
use crate::error::{Error, Result};
use crate::merkle::{CompactRange, Hash, SubtreeRoots, leaf_hash};
use crate::storage::canonical::RecordHasher;
use crate::storage::codec::{Decoded, Malformed};
use crate::storage::files::PooledFile;
use crate::storage::frame::{Frame, Payload, encode_gap_frame, encode_record_frame};
use crate::storage::index::{IndexPoint, PointChooser};
use crate::storage::manifest::NO_HORIZON_NS;
use crate::storage::partition::PartitionLog;
use crate::storage::segment::{Segment, SegmentMeta};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// How many bytes are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Writes the segments `group` of `sealed` as one, and syncs it: the checkpoint,
/// which would do it otherwise, keeps commits waiting. Its name is durable only
/// after a sync of the folder. A file that it made is noted in `made`, and left to
/// the caller, be it whole or not.
pub(super) fn rewrite(
    log: &PartitionLog,
    sealed: &[Arc<Segment>],
    group: &Range<usize>,
    rule: &Rule,
    made: &mut Vec<PathBuf>,
) -> Result<Arc<Segment>> {
    let inputs = sealed.get(group.clone()).unwrap_or_default();
    let (Some(first), Some(next)) = (inputs.first(), sealed.get(group.end)) else {
        return Err(Error::corrupt(log.dir(), 0, "no segment"));
    };
    let generation = log.head().take_generation();
    let path = Segment::path_in(log.dir(), first.base_offset, generation);
    let file = PooledFile::create(log.pool(), path.clone())?;
    made.push(path);
    let mut writer = Rewriter::new(log, rule, Arc::clone(&file), first);
    writer.write_all(inputs, next)?;
    file.sync()?;
    let meta = SegmentMeta {
        base_offset: first.base_offset,
        generation,
        len: 0,
        timestamp_max_ns: writer.timestamp_max_ns,
        created_ns: first.created_ns,
        delete_horizon_ns: writer.horizon_ns.unwrap_or(NO_HORIZON_NS),
        base_range: first.base_range.clone(),
    };
    let output = Segment::new(log.name.clone(), meta, file, log.index_interval_bytes());
    output.publish(writer.written, writer.timestamp_max_ns, &writer.points);
    Ok(Arc::new(output))
}

/// Writes one segment.
struct Rewriter<'a> {
    log: &'a PartitionLog,
    rule: &'a Rule,
    file: Arc<PooledFile>,
    hasher: RecordHasher,
    /// The tree up to what was read.
    range: CompactRange,
    /// What went, and is not written yet.
    gap: SubtreeRoots,
    /// What stays of an LZ4 block and has to be packed again.
    run: Vec<(Judged, Vec<u8>)>,
    buffer: Vec<u8>,
    /// How many bytes the file has.
    written: u64,
    chooser: PointChooser,
    points: Vec<IndexPoint>,
    timestamp_max_ns: i64,
    /// That of the tombstones that stay.
    horizon_ns: Option<i64>,
}

/// A record of a frame, and what becomes of it.
struct Judged {
    offset: u64,
    leaf: Hash,
    timestamp_ns: i64,
    verdict: Verdict,
}

impl<'a> Rewriter<'a> {
    fn new(log: &'a PartitionLog, rule: &'a Rule, file: Arc<PooledFile>, first: &Segment) -> Self {
        Self {
            log,
            rule,
            file,
            hasher: RecordHasher::default(),
            range: first.base_range.clone(),
            gap: SubtreeRoots::new(first.base_offset),
            run: Vec::new(),
            buffer: Vec::new(),
            written: 0,
            chooser: PointChooser::new(log.index_interval_bytes(), None),
            points: Vec::new(),
            timestamp_max_ns: i64::MIN,
            horizon_ns: None,
        }
    }

    /// Writes what stays of `inputs`, behind which `next` begins, and checks it
    /// against the tree.
    fn write_all(&mut self, inputs: &[Arc<Segment>], next: &Segment) -> Result<()> {
        let ends = inputs.iter().skip(1).map(|input| input.base_offset).chain([next.base_offset]);
        for (input, end) in inputs.iter().zip(ends) {
            let mut outcome = Ok(());
            input.walk_frames(input.base_offset, end, usize::MAX, &mut |frame| {
                self.frame(input, frame).map_err(|malformed| (frame.offset, malformed))?;
                outcome = self.drain(WRITE_BYTES);
                Ok(outcome.is_ok().then_some(self.range.size()))
            })?;
            outcome?;
        }
        self.end_gap();
        self.drain(0)?;
        if self.range != next.base_range {
            let reason = "the records do not hash to the tree of the manifest";
            return Err(next.corrupt(self.range.size(), 0, reason));
        }
        Ok(())
    }

    fn frame(&mut self, input: &Segment, frame: &Frame<'_>) -> Decoded<()> {
        if let Some(gap) = frame.gap()? {
            gap.subtrees().for_each(|(level, root)| self.remove(level, root));
            return Ok(());
        }
        let judged = self.judge(input, frame)?;
        if judged.iter().all(|record| record.verdict.stays()) {
            self.end_gap();
            self.begin_frame(frame.offset);
            frame.append_to(self.log.name.seed, &mut self.buffer);
            for record in &judged {
                self.keep(record);
            }
            return Ok(());
        }
        let mut judged = judged.into_iter();
        frame.records(|_, body, _| {
            let Some(record) = judged.next() else { return false };
            if record.verdict.stays() {
                self.end_gap();
                self.run.push((record, body.to_vec()));
            } else {
                self.end_run();
                self.remove(0, record.leaf);
            }
            true
        })?;
        self.end_run();
        Ok(())
    }

    fn judge(&mut self, input: &Segment, frame: &Frame<'_>) -> Decoded<Vec<Judged>> {
        let name = &self.log.name;
        let mut judged = Vec::new();
        let mut failed = None;
        frame.records(|offset, _, body| {
            match self.hasher.hash(&name.topic, name.partition, offset, &body) {
                Ok(hash) => judged.push(Judged {
                    offset,
                    leaf: leaf_hash(&hash),
                    timestamp_ns: body.timestamp_ns,
                    verdict: self.rule.judge(input, offset, &body),
                }),
                Err(malformed) => failed = Some(malformed),
            }
            failed.is_none()
        })?;
        failed.map_or(Ok(judged), |malformed: Malformed| Err(malformed))
    }

    /// A subtree of which nothing stays.
    fn remove(&mut self, level: u8, root: Hash) {
        if self.gap.end() != self.range.size() {
            self.gap = SubtreeRoots::new(self.range.size());
        }
        self.gap.push(level, root);
        self.range.push_subtree(level, root, &mut |_| {});
    }

    /// Counts a record whose frame was written.
    fn keep(&mut self, record: &Judged) {
        self.range.push(record.leaf, &mut |_| {});
        self.timestamp_max_ns = self.timestamp_max_ns.max(record.timestamp_ns);
        if let Verdict::StaysUntil(horizon_ns) = record.verdict {
            self.horizon_ns = self.horizon_ns.max(Some(horizon_ns));
        }
    }

    fn begin_frame(&mut self, offset: u64) {
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
            self.begin_frame(gap.start());
            encode_gap_frame(self.log.name.seed, &gap, &mut self.buffer);
        }
    }

    /// Packs what stayed of an LZ4 block between two records that went.
    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        let seed = self.log.name.seed;
        let Some((first, _)) = run.first() else { return };
        if let Some(payload) = Payload::lz4(run.iter().map(|(_, body)| body.as_slice())) {
            self.begin_frame(first.offset);
            payload.encode_frame(seed, first.offset, &mut self.buffer);
            for (record, _) in &run {
                self.keep(record);
            }
            return;
        }
        for (record, body) in &run {
            self.begin_frame(record.offset);
            encode_record_frame(seed, record.offset, body, &mut self.buffer);
            self.keep(record);
        }
    }

    /// Writes the buffer if it has at least `bytes_min` bytes.
    fn drain(&mut self, bytes_min: usize) -> Result<()> {
        if self.buffer.len() >= bytes_min {
            self.file.write(&self.buffer, self.written)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

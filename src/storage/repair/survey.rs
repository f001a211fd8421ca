//! What is damaged in one partition, and what that costs. Nothing is changed here.
//!
//! Each segment stands between two trees that the manifest knows, the one in front of
//! it and the one behind it, and is judged by itself ([`super::nodes`]):
//!
//! ```text
//! tree at 0   segment   tree at 40   segment   tree at 80   active   tree at the end
//!    known ──────────────── known ─────────────── known ────────────── known
//! ```

use super::frames::{Span, Spans, Window, find_spans};
use super::nodes::{Known, Part, Place, Plan, peaks};
use crate::error::{Error, Result};
use crate::merkle::{CompactRange, Hash, leaf_hash, stored_index};
use crate::repair::Reason;
use crate::storage::canonical::RecordHasher;
use crate::storage::codec::Decoded;
use crate::storage::files::PooledFile;
use crate::storage::frame::Frame;
use crate::storage::hashes::SLOT_BYTES;
use crate::storage::partition::{PartitionLog, View};
use crate::storage::segment::Segment;
use std::ops::Range;
use std::sync::Arc;

/// How much of the stored hashes is read at once.
const HASHES_READ_BYTES: usize = 64 << 10;

/// A segment that is to be written anew.
#[derive(Debug)]
pub(super) struct Damaged {
    pub(super) segment: Arc<Segment>,
    pub(super) spans: Vec<Span>,
    pub(super) parts: Vec<Part>,
}

/// What is to be done about a partition.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) damaged: Vec<Damaged>,
    /// All below it is given up, because nothing tells the tree there.
    pub(super) start: Option<u64>,
    pub(super) lost: Vec<(Range<u64>, Reason)>,
    /// The stored hashes are to be computed anew.
    pub(super) hashes_fail: bool,
}

impl Survey {
    pub(super) fn of(log: &PartitionLog) -> Result<Self> {
        let view = log.view();
        let front = view.segments.first().map_or(&view.range, |first| &first.base_range);
        let readable = unreadable_slots(log)?.is_empty();
        let hashes_fail = !readable || !is_stored(log, front)?;
        let mut survey = Self { hashes_fail, ..Self::default() };
        match hashes_hold(log, &view, front) {
            Ok(Some(hold)) => {
                survey.hashes_fail |= !hold;
                return Ok(survey);
            }
            Err(error) if !is_damage(&error) => return Err(error),
            _ => {}
        }
        let log_start = log.log_start();
        for (index, segment) in view.segments.iter().enumerate() {
            let next = view.segments.get(index + 1);
            let behind = next.map_or(&view.range, |next| &next.base_range);
            if behind.size() > log_start {
                survey.judge(log, segment, behind)?;
            }
        }
        survey.lost = merged(std::mem::take(&mut survey.lost), log_start);
        Ok(survey)
    }

    fn judge(
        &mut self,
        log: &PartitionLog,
        segment: &Arc<Segment>,
        behind: &CompactRange,
    ) -> Result<()> {
        let offsets = segment.base_offset..behind.size();
        let Spans { found, in_order, is_missing } = spans_of(segment, &offsets)?;
        let contents = Contents::read(segment, found)?;
        let plan = contents.known.plan(behind, &mut |place| stored(log, place))?;
        let Some(Plan { parts, hashes_hold }) = plan else {
            // Of what lies in front, nothing can be kept either.
            self.start = Some(offsets.end);
            self.damaged.clear();
            self.hashes_fail = true;
            self.lost = vec![(0..offsets.end, Reason::TreeUnknown)];
            return Ok(());
        };
        self.hashes_fail |= !hashes_hold;
        if in_order && parts.iter().all(|part| matches!(part, Part::Keep(_))) {
            return Ok(());
        }
        let damaged = if is_missing { Reason::FileMissing } else { Reason::Damaged };
        let mut start = segment.base_offset;
        for part in &parts {
            let end = part.end(start);
            if let Part::Gap(level, ..) = part {
                let whole = if *level == 0 { Reason::NotInTree } else { Reason::HashesLost };
                contents.spans.note_lost(start..end, damaged, whole, &mut self.lost);
            }
            start = end;
        }
        let spans = contents.spans.0;
        self.damaged.push(Damaged { segment: Arc::clone(segment), spans, parts });
        Ok(())
    }
}

/// Whether the roots in front of a log's first segment are stored: nothing else there
/// is known.
fn is_stored(log: &PartitionLog, front: &CompactRange) -> Result<bool> {
    for (place, peak) in peaks(front) {
        if stored(log, place)? != Some(peak) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the stored hashes from `front` on are those of the records; `None` if the
/// records are not those of the tree.
fn hashes_hold(log: &PartitionLog, view: &View, front: &CompactRange) -> Result<Option<bool>> {
    let mut hold = true;
    let computed = log.compute_tree(view, front.clone(), &mut |slot, hashes| {
        let mut stored = vec![0; hashes.len()];
        let read = log.hashes.file.read_exact(&mut stored, slot.saturating_mul(SLOT_BYTES));
        match read {
            Err(error @ Error::TooManyOpenFiles { .. }) => return Err(error),
            read => hold &= hashes.is_empty() || (read.is_ok() && stored == hashes),
        }
        Ok(())
    })?;
    Ok((computed == view.range).then_some(hold))
}

/// The whole frames of a segment. Where they do not account for everything, they are
/// looked for once more, through a fresh handle.
fn spans_of(segment: &Segment, offsets: &Range<u64>) -> Result<Spans> {
    let seed = segment.name.seed;
    let found = find_spans(&segment.file, seed, 0..segment.len(), offsets)?;
    if found.in_order {
        return Ok(found);
    }
    let fresh = PooledFile::existing(segment.file.pool(), segment.file.path().to_owned());
    find_spans(&fresh, seed, 0..segment.len(), offsets)
}

/// Frames that can be decoded, and hashed.
#[derive(Debug, Default)]
struct Decodable(Vec<Span>);

impl Decodable {
    /// Adds to `lost` what is given up with `offsets`: what no frame covers because it
    /// is `damaged`, and what one does for the reason `whole`. What compaction has
    /// removed was given up before. Some of these ranges are empty ([`merged`]).
    fn note_lost(
        &self,
        offsets: Range<u64>,
        damaged: Reason,
        whole: Reason,
        lost: &mut Vec<(Range<u64>, Reason)>,
    ) {
        let mut next = offsets.start;
        let first = self.0.partition_point(|span| span.end <= offsets.start);
        let over = self.0.iter().skip(first).take_while(|span| span.offset < offsets.end);
        for span in over {
            lost.push((next..span.offset, damaged));
            let end = span.end.min(offsets.end);
            if !span.is_gap {
                lost.push((span.offset.max(next)..end, whole));
            }
            next = end;
        }
        lost.push((next..offsets.end, damaged));
    }
}

/// What a segment's frames hash to.
#[derive(Debug)]
struct Contents {
    known: Known,
    spans: Decodable,
}

impl Contents {
    fn read(segment: &Segment, spans: Vec<Span>) -> Result<Self> {
        let mut known = Known::new(&segment.base_range);
        let mut window = Window::new(Arc::clone(&segment.file));
        let mut hasher = RecordHasher::default();
        let mut decodable = Decodable::default();
        for span in spans {
            let frame = window.frame(segment.name.seed, span.position, segment.len())?;
            let Some(frame) = frame else { continue };
            let mut nodes: Vec<(Place, Hash)> = Vec::new();
            if nodes_of(segment, &frame, &mut hasher, &mut |place, hash| {
                nodes.push((place, hash));
            })
            .is_ok()
            {
                for ((level, index), hash) in nodes {
                    known.push(level, index, hash);
                }
                decodable.0.push(span);
            }
        }
        Ok(Self { known, spans: decodable })
    }
}

/// The nodes that a frame gives: leaves, or the roots of a gap.
fn nodes_of(
    segment: &Segment,
    frame: &Frame<'_>,
    hasher: &mut RecordHasher,
    visit: &mut dyn FnMut(Place, Hash),
) -> Decoded<()> {
    if let Some(gap) = frame.gap()? {
        let mut start = frame.offset;
        for (level, root) in gap.subtrees() {
            visit((level, start >> level), root);
            start += 1 << level;
        }
        return Ok(());
    }
    let name = &segment.name;
    let mut failed = Ok(());
    frame.records(|offset, _, body| {
        match hasher.hash(&name.topic, name.partition, offset, &body) {
            Ok(hash) => visit((0, offset), leaf_hash(&hash)),
            Err(malformed) => failed = Err(malformed),
        }
        failed.is_ok()
    })?;
    failed
}

/// A node as it is stored, true or not.
fn stored(log: &PartitionLog, (level, index): Place) -> Result<Option<Hash>> {
    let mut hash = Hash([0; Hash::SIZE]);
    let position = stored_index(level, index).saturating_mul(SLOT_BYTES);
    match log.hashes.file.read_exact(&mut hash.0, position) {
        Ok(()) => Ok(Some(hash)),
        Err(error @ Error::TooManyOpenFiles { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The positions of stored hashes that the disk does not give. What retention or
/// compaction has removed cannot be computed anew, but stands beside what can.
pub(super) fn unreadable_slots(log: &PartitionLog) -> Result<Vec<u64>> {
    let file = &log.hashes.file;
    let len = match file.len() {
        Err(error) if error.is_not_found() => 0,
        len => len?,
    };
    let mut unreadable = Vec::new();
    for start in (0..len).step_by(HASHES_READ_BYTES) {
        let mut chunk = vec![0; HASHES_READ_BYTES];
        match file.read_up_to(&mut chunk, start) {
            Err(error) if error.is_failed_read() => {}
            read => {
                read?;
                continue;
            }
        }
        let end = len.min(start + HASHES_READ_BYTES as u64);
        for position in (start..end).step_by(Hash::SIZE) {
            let mut slot = [0; Hash::SIZE];
            match file.read_up_to(&mut slot, position) {
                Err(error) if error.is_failed_read() => unreadable.push(position),
                read => {
                    read?;
                }
            }
        }
    }
    Ok(unreadable)
}

/// Whether looking closer may help: damage, or a sector that cannot be read.
fn is_damage(error: &Error) -> bool {
    error.is_corruption() || error.is_failed_read()
}

/// Neighbours of one reason become one, and empty ranges none; what lies below the log's
/// start was gone before.
fn merged(lost: Vec<(Range<u64>, Reason)>, log_start: u64) -> Vec<(Range<u64>, Reason)> {
    let mut merged: Vec<(Range<u64>, Reason)> = Vec::new();
    for (offsets, reason) in lost {
        let start = offsets.start.max(log_start);
        match merged.last_mut() {
            _ if start >= offsets.end => {}
            Some((before, of)) if before.end == start && *of == reason => before.end = offsets.end,
            _ => merged.push((start..offsets.end, reason)),
        }
    }
    merged
}

//! Writing a partition's damaged segments anew.
//!
//! ```text
//! keep     what is replaced is copied to the side folder, synced
//! write    new files under new generations, synced, that nothing names yet
//! swap     the log takes them in the place of the old ones, in memory
//! hashes   computed anew where they are wrong
//! close    both slots name the new files; then the old ones are removed
//! ```
//!
//! This is how compaction does it, and a crash finds either the old segments, with
//! their damage, or the new ones.

use super::frames::{Span, Window};
use super::keep::Keep;
use super::nodes::Part;
use super::survey::{Damaged, Survey, unreadable_slots};
use crate::error::{Error, Result};
use crate::merkle::{Hash, leaf_hash};
use crate::storage::canonical::RecordHasher;
use crate::storage::codec::Decoded;
use crate::storage::commit::Operation;
use crate::storage::compaction::Output;
use crate::storage::frame::Frame;
use crate::storage::partition::PartitionLog;
use crate::storage::segment::Segment;
use crate::storage::store::{Footing, Store};
use crate::sync::lock;
use std::path::PathBuf;
use std::sync::Arc;

/// How many bytes are written at once.
const WRITE_BYTES: usize = 1 << 20;

impl Store {
    /// Does what the survey says. Nobody else uses the log meanwhile.
    pub(super) fn mend(
        &self,
        log: &Arc<PartitionLog>,
        survey: &Survey,
        keep: &mut Keep,
    ) -> Result<()> {
        let view = log.view();
        let start = survey.start.unwrap_or_default();
        let goes = view.segments.iter().filter(|segment| segment.base_offset < start);
        for segment in goes.chain(survey.damaged.iter().map(|damaged| &damaged.segment)) {
            keep.file(segment.file.path())?;
        }
        if survey.hashes_fail {
            keep.file(log.hashes.file.path())?;
        }
        if !survey.damaged.is_empty() {
            self.replace_damaged(log, &survey.damaged)?;
        }
        if let Some(before_offset) = survey.start {
            let partition = Arc::clone(log);
            self.execute(Operation::DeleteRecords { partition, before_offset })?;
            // What cannot be read any more would not hash to the tree.
            let mut writer = lock(&self.writer);
            for segment in log.drop_segments_below_start() {
                writer.garbage.extend(segment.file_paths());
            }
        }
        if !survey.hashes_fail {
            return Ok(());
        }
        for position in unreadable_slots(log)? {
            log.hashes.file.write_derived(&[0; Hash::SIZE], position)?;
        }
        log.rebuild_hashes()
    }

    fn replace_damaged(&self, log: &Arc<PartitionLog>, damaged: &[Damaged]) -> Result<()> {
        let view = log.view();
        let mut outputs = Vec::new();
        for one in damaged {
            let shown = view.segments.iter().position(|shown| Arc::ptr_eq(shown, &one.segment));
            let index = shown.ok_or_else(|| Error::corrupt(log.dir(), 0, "no segment"))?;
            let next = view.segments.get(index + 1);
            let behind = next.map_or(&view.range, |next| &next.base_range);
            let mut output = Output::begin(log, &one.segment.base_range, &mut Vec::new())?;
            write_parts(one, &mut output)?;
            if output.range() != behind {
                let reason = "what is left does not hash to the tree of the manifest";
                return Err(one.segment.corrupt(output.range().size(), 0, reason));
            }
            let old = &one.segment;
            let new = output.finish(old.created_ns, old.delete_horizon_ns())?;
            outputs.push((index..index + 1, new));
        }
        log.sync_dir()?;
        let mut writer = lock(&self.writer);
        self.make_firm(&mut writer)?;
        let Some(replaced) = log.replace_segments(&view.segments, &outputs) else {
            return Err(Error::corrupt(log.dir(), 0, "the log was changed while it was repaired"));
        };
        if let Some(active) = log.view().segments.last() {
            log.head().set_cut(active.len());
        }
        let old: Vec<PathBuf> = replaced.iter().flat_map(|one| one.file_paths()).collect();
        writer.garbage.extend(old);
        writer.touched.insert(log.key, Arc::clone(log));
        writer.footing = Footing::Changed;
        Ok(())
    }
}

/// Writes what is kept of a segment, and gaps for the rest.
fn write_parts(damaged: &Damaged, output: &mut Output<'_>) -> Result<()> {
    let segment = &*damaged.segment;
    let mut window = Window::new(Arc::clone(&segment.file));
    let mut hasher = RecordHasher::default();
    for part in &damaged.parts {
        let end = match part {
            Part::Gap(level, root) => {
                output.remove(*level, *root);
                continue;
            }
            Part::Keep(end) => *end,
        };
        while output.position() < end {
            let position = output.position();
            let index = damaged.spans.partition_point(|span| span.end <= position);
            let span = damaged.spans.get(index).filter(|span| span.offset <= position);
            let span = span.ok_or_else(|| changed(segment, position))?;
            let frame = window.frame(segment.name.seed, span.position, segment.len())?;
            let frame = frame.ok_or_else(|| changed(segment, position))?;
            let kept = keep_frame(segment, span, &frame, end, &mut hasher, output);
            kept.map_err(|malformed| {
                segment.corrupt(frame.offset, span.position, malformed.reason())
            })?;
            if output.position() == position {
                return Err(changed(segment, position));
            }
            output.drain(WRITE_BYTES)?;
        }
    }
    output.end()
}

/// Between looking at a file and reading it again, it has become another.
fn changed(segment: &Segment, offset: u64) -> Error {
    segment.corrupt(offset, 0, "the file was changed while it was repaired")
}

/// Writes a frame, from where the output is up to `end`.
fn keep_frame(
    segment: &Segment,
    span: &Span,
    frame: &Frame<'_>,
    end: u64,
    hasher: &mut RecordHasher,
    output: &mut Output<'_>,
) -> Decoded<()> {
    if let Some(gap) = frame.gap()? {
        let mut start = frame.offset;
        for (level, root) in gap.subtrees() {
            if start == output.position() && start < end {
                output.remove(level, root);
            }
            start += 1 << level;
        }
        return Ok(());
    }
    let whole = span.offset == output.position() && span.end <= end;
    if whole {
        output.begin_frame(frame);
    }
    let first = output.position();
    let name = &segment.name;
    let mut failed = Ok(());
    frame.records(|offset, bytes, body| {
        if offset < first || offset >= end {
            return offset < end;
        }
        match hasher.hash(&name.topic, name.partition, offset, &body) {
            Ok(hash) if whole => output.keep(leaf_hash(&hash), body.timestamp_ns),
            Ok(hash) => output.pack(offset, leaf_hash(&hash), body.timestamp_ns, bytes),
            Err(malformed) => failed = Err(malformed),
        }
        failed.is_ok()
    })?;
    output.end_run();
    failed
}

//! Verifying one partition: its segments, their indexes, its tree.

use super::tree::TreeCheck;
use super::walk::{Visitor, walk};
use super::{Findings, Meter};
use crate::env::EntryKind;
use crate::error::{IoContext, Result};
use crate::merkle::leaf_hash;
use crate::storage::canonical::RecordHasher;
use crate::storage::frame::Body;
use crate::storage::gap::Gap;
use crate::storage::hashes::{SLOT_BYTES, hashes_len};
use crate::storage::index::{IndexFile, IndexPoint};
use crate::storage::partition::PartitionLog;
use crate::storage::segment::Segment;
use crate::verify::{Finding, FindingKind};
use std::ops::Range;
use std::path::Path;

/// What the journal has for a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    /// Recovery is pending, so files may be ahead of the manifest.
    pub(super) is_pending: bool,
    /// Nobody reads what lies below.
    pub(super) log_start: u64,
}

/// Verifies what the manifest has of a partition.
pub(super) fn verify_partition(
    log: &PartitionLog,
    outlook: Outlook,
    findings: &mut Findings,
    meter: &mut Meter<'_>,
) -> Result<()> {
    let Outlook { is_pending, log_start } = outlook;
    let view = log.view();
    let mut tree = TreeCheck::new(&log.hashes, view.next_offset());
    check_hashes_len(log, findings)?;
    let start = view.segments.first().map_or(&view.range, |first| &first.base_range);
    if log_start < start.size() {
        let reason = format!(
            "the log starts at offset {log_start}, and its first segment at {}",
            start.size()
        );
        findings.add(
            of_log(log, FindingKind::Record, log.dir(), 0, reason).offsets(log_start..start.size()),
        );
    }
    let (removed, known) = tree.removed_before(start)?;
    for slots in &removed.0 {
        findings.add(wrong_slots(log, FindingKind::RemovedHash, slots));
    }
    for slots in &known.0 {
        findings.add(wrong_slots(log, FindingKind::Hash, slots));
    }
    for (index, segment) in view.segments.iter().enumerate() {
        let next = view.segments.get(index + 1).map(|next| &next.base_range);
        let end = next.unwrap_or(&view.range);
        findings.checked.segments += 1;
        tree.begin(&segment.base_range);
        let grows = is_pending && next.is_none();
        let points = index_points(segment, grows, findings)?;
        let mut visitor = Visit {
            log,
            log_start,
            segment,
            findings: &mut *findings,
            meter: &mut *meter,
            tree: &mut tree,
            hasher: RecordHasher::default(),
            points: points.as_deref().unwrap_or_default(),
            index_is_wrong: false,
            behind_damage: false,
        };
        walk(segment, end.size(), &mut visitor)?;
        visitor.finish_index();
        let verdict = tree.end(end);
        for slots in &verdict.wrong_slots.0 {
            findings.add(wrong_slots(log, FindingKind::Hash, slots));
        }
        for slots in &verdict.wrong_removed.0 {
            findings.add(wrong_slots(log, FindingKind::RemovedHash, slots));
        }
        for offsets in verdict.wrong_records.0 {
            let reason = "not the record that was appended: its hash is another";
            let finding = of_log(log, FindingKind::Record, segment.file.path(), 0, reason);
            findings.add(finding.offsets(offsets));
        }
        if let Some(reason) = verdict.broken {
            let finding = of_log(log, FindingKind::Tree, segment.file.path(), 0, reason);
            findings.add(finding.offsets(segment.base_offset..end.size()));
        }
        meter.done(log, segment.len());
    }
    findings.checked.partitions += 1;
    findings.checked.hashes += tree.slots_read();
    findings.checked.hashes_given_up += tree.given_up;
    meter.done(log, hashes_len(view.next_offset()));
    Ok(())
}

/// A finding about a partition.
fn of_log(
    log: &PartitionLog,
    kind: FindingKind,
    path: &Path,
    position: u64,
    reason: impl Into<String>,
) -> Finding {
    let finding = Finding::of_file(kind, path, position, reason);
    Finding {
        topic: Some(log.name.topic.to_string()),
        partition: Some(log.name.partition),
        ..finding
    }
}

fn wrong_slots(log: &PartitionLog, kind: FindingKind, slots: &Range<u64>) -> Finding {
    let count = slots.end - slots.start;
    let reason = match kind {
        FindingKind::RemovedHash => {
            format!("{count} hashes of removed records contradict others, or are missing")
        }
        _ => format!("{count} stored hashes are not those of the records"),
    };
    let finding = of_log(log, kind, log.hashes.file.path(), slots.start * SLOT_BYTES, reason);
    Finding { len_bytes: count * SLOT_BYTES, ..finding }
}

/// Stored hashes that are short are made anew by the next opening.
fn check_hashes_len(log: &PartitionLog, findings: &mut Findings) -> Result<()> {
    let needed = hashes_len(log.view().next_offset());
    let found = match log.hashes.file.len() {
        Err(error) if error.is_not_found() => None,
        len => Some(len?),
    };
    if needed > found.unwrap_or_default() {
        let reason = match found {
            None => "the file of stored hashes is missing".to_owned(),
            Some(found) => format!("{needed} bytes of stored hashes were cut to {found}"),
        };
        let position = found.unwrap_or_default();
        findings.add(of_log(log, FindingKind::Hash, log.hashes.file.path(), position, reason));
    }
    Ok(())
}

/// The points of a segment's index file, if there is one that can be used. That of a
/// segment that `grows` behind the manifest may be ahead of it: a checkpoint writes the
/// index first.
fn index_points(
    segment: &Segment,
    grows: bool,
    findings: &mut Findings,
) -> Result<Option<Vec<IndexPoint>>> {
    let path = segment.index_path();
    let file_system = segment.file.pool().file_system();
    let dir = path.parent().unwrap_or(&path);
    let listed = match file_system.list(dir).at("list", dir) {
        Err(error) if error.is_not_found() => Vec::new(),
        listed => listed?,
    };
    let is_there = listed.iter().any(|entry| {
        entry.kind == EntryKind::File
            && path.file_name().is_some_and(|name| name == entry.name.as_str())
    });
    // A crash may have come before it was written; it is made when it is needed.
    if !is_there {
        return Ok(None);
    }
    let file = segment.decode_index_file()?;
    let is_ahead = |file: &IndexFile| file.covered_len > segment.len();
    if grows && file.as_ref().is_some_and(is_ahead) {
        return Ok(None);
    }
    let file = file.filter(|file| !is_ahead(file));
    if file.is_none() {
        let reason = "not this segment's index, or damaged";
        findings.add(of_segment_index(segment, reason));
    }
    Ok(file.map(|file| file.points))
}

fn of_segment_index(segment: &Segment, reason: &str) -> Finding {
    Finding {
        topic: Some(segment.name.topic.to_string()),
        partition: Some(segment.name.partition),
        offset: Some(segment.base_offset),
        ..Finding::of_file(FindingKind::Index, segment.index_path(), 0, reason)
    }
}

/// Takes in what a segment holds.
struct Visit<'v, 'm, 't> {
    log: &'v PartitionLog,
    log_start: u64,
    segment: &'v Segment,
    findings: &'v mut Findings,
    meter: &'v mut Meter<'m>,
    tree: &'v mut TreeCheck<'t>,
    hasher: RecordHasher,
    /// Those of the index that have not been met yet.
    points: &'v [IndexPoint],
    index_is_wrong: bool,
    behind_damage: bool,
}

impl Visit<'_, '_, '_> {
    /// Points behind the last frame point nowhere.
    fn finish_index(&mut self) {
        self.index_is_wrong |= !self.points.is_empty();
        if self.index_is_wrong {
            let reason = "the index points to where no such record begins";
            self.findings.add(of_segment_index(self.segment, reason));
        }
    }
}

impl Visitor for Visit<'_, '_, '_> {
    fn frame(&mut self, at: IndexPoint) {
        while let Some((point, rest)) = self.points.split_first() {
            if point.position > at.position {
                break;
            }
            // Of what is lost, and behind damage that was met before, nobody knows the
            // times: a greater one only makes reading longer.
            let holds = point.position == at.position
                && point.offset == at.offset
                && point.timestamp_before_ns >= at.timestamp_before_ns;
            // In front of the frame there may be damage that the point led to.
            self.index_is_wrong |= !holds && !self.behind_damage;
            self.points = rest;
        }
        self.behind_damage = false;
    }

    fn record(&mut self, offset: u64, body: &Body<'_>) -> Result<()> {
        let name = &self.log.name;
        match self.hasher.hash(&name.topic, name.partition, offset, body) {
            Ok(hash) => {
                self.findings.checked.records += 1;
                self.tree.record(leaf_hash(&hash))
            }
            Err(malformed) => self.lost(offset..offset + 1, 0, malformed.reason()),
        }
    }

    fn gap(&mut self, gap: &Gap<'_>) -> Result<()> {
        for (level, root) in gap.subtrees() {
            self.findings.checked.removed += 1 << level;
            self.tree.gap(level, root)?;
        }
        Ok(())
    }

    fn lost(&mut self, offsets: Range<u64>, position: u64, reason: String) -> Result<()> {
        let end = offsets.end;
        self.malformed(offsets, position, reason);
        self.tree.lost(end)
    }

    fn malformed(&mut self, offsets: Range<u64>, position: u64, reason: String) {
        self.behind_damage = true;
        let readable = offsets.start.max(self.log_start)..offsets.end;
        if !readable.is_empty() {
            let path = self.segment.file.path();
            let finding = of_log(self.log, FindingKind::Record, path, position, reason);
            self.findings.add(finding.offsets(readable));
        }
    }

    fn read(&mut self, position: u64) {
        self.meter.reading(self.log, position);
    }
}

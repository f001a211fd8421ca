//! What was damaged, as it is written down for the checkers: no more than was.

use super::harmed::{HarmedFile, records};
use super::paths::LOG;
use super::tails;
use crate::client::errors::place_of_path;
use crate::client::names::key_of;
use crate::disk::{Kept, SimDisk, Survivors, Unsynced, What};
use crate::fault::{Fault, FaultHit};
use merkql_jepsen::history::{Action, Damage, FaultClass, Kind, Operation, Process, Span, SpanMap};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts what was damaged, and notices the strikes that leave damage behind when
/// they come.
#[derive(Debug)]
pub(crate) struct Damages {
    disk: SimDisk,
    count: AtomicU64,
    has_lied: AtomicBool,
}

impl Damages {
    pub(crate) fn new(disk: SimDisk) -> Self {
        Self { disk, count: AtomicU64::new(0), has_lied: AtomicBool::new(false) }
    }

    /// A damage as it stands in a history, under the next number.
    pub(crate) fn note(&self, class: FaultClass, spans: Option<SpanMap>) -> Operation {
        let id = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let damage = Damage { id, class, spans, rest: Vec::new() };
        Operation::new(Process::nemesis(), Kind::Info, Action::Damage(Box::new(damage)))
    }

    /// The damage of the strikes that have come since somebody asked last.
    pub(crate) fn of_strikes(&self) -> Vec<Operation> {
        let hits = self.disk.take_hits();
        let note = |hit: FaultHit| {
            let spans = of_hit(&hit);
            self.has_lied.fetch_or(spans.is_none(), Ordering::Relaxed);
            self.note(FaultClass::Detected, spans)
        };
        hits.into_iter().map(note).collect()
    }

    /// Whether a strike has come that belongs to no partition: what the journal
    /// says cannot be trusted from then on.
    pub(crate) fn has_lied(&self) -> bool {
        self.has_lied.load(Ordering::Relaxed)
    }
}

/// The partitions that a strike has hit, each wholly: what of it stays depends on
/// what happens next.
fn of_hit(hit: &FaultHit) -> Option<SpanMap> {
    let other = match &hit.fault {
        Fault::MisdirectedWrite { path, .. } => path.as_deref(),
        _ => None,
    };
    let key = |path: &str| {
        let (topic, partition) = place_of_path(Path::new(path))?;
        Some((key_of(&topic, partition), Vec::<Span>::new()))
    };
    let mut spans = vec![key(&hit.path)?];
    if let Some(other) = other {
        let other = key(other)?;
        if !spans.contains(&other) {
            spans.push(other);
        }
    }
    Some(spans)
}

/// The files, with ranges of each, in which a power cut has left something where
/// nobody was writing: more than a disk may do.
pub(crate) fn trashed(survivors: &Survivors, unsynced: &Unsynced) -> Vec<(String, Range<u64>)> {
    let mut trashed = Vec::new();
    for kept in &survivors.kept {
        let Kept::Fill { file, range: (from, to), .. } = kept else { continue };
        let mut changes = unsynced.changes.iter().filter(|change| change.inode == *file);
        let Some(path) = changes.clone().map(|change| &change.path).next() else { continue };
        let is_being_written = changes.any(|change| match change.what {
            What::Write { position, len, .. } => position <= *from && *to <= position + len,
            _ => false,
        });
        if !is_being_written && path.starts_with(LOG) {
            trashed.push((path.clone(), *from..*to));
        }
    }
    trashed
}

/// The records that were hit where files were trashed, given what they held before:
/// for each file those of its partition, or nothing where it belongs to none.
pub(crate) fn of_trashed(
    trashed: &[(String, Range<u64>)],
    before: &tails::Contents,
) -> Vec<Option<SpanMap>> {
    let of = |(path, range): &(String, Range<u64>)| {
        let after = before.get(path).map(Vec::as_slice);
        records(before, &[HarmedFile { path, after, spoiled: Some(range.clone()) }])
    };
    trashed.iter().map(of).collect()
}

//! What of a changed directory no log can know.
//!
//! Blocks of the journal that are gone whole at its end leave no trace but what was
//! carried over into the partitions' files. So of each partition is *undecidable*
//! what lies behind all of these: the newest whole slot, the last whole block of the
//! journal and every one before it, and the last frame that stands where it stood.
//! Where blocks at the end are gone, or the newest slots, so are the commits, the
//! creations and the starts that only they held.

use super::folder::{FileKind, Folder, place_of};
use super::journal::{Effects, whole_blocks};
use super::layout::{Unit, frame_holds, frames, offsets_of, partition_seed};
use super::slot::{State, whole};
use std::collections::BTreeMap;

/// Where a frame stood, and what was behind its last record.
#[derive(Debug, Clone)]
struct Kept {
    path: String,
    unit: Unit,
    end: u64,
}

/// What is needed of a template to tell what its changed copies can still know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    log_id: [u8; 16],
    newest: State,
    blocks: BTreeMap<u64, Effects>,
    frames: Vec<Kept>,
}

/// What no log can know of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tails {
    /// By incarnation and partition: from here on records may be gone. A partition
    /// that is not there is known whole.
    pub(crate) starts: BTreeMap<(u64, u32), u64>,
    /// Whether commits, creations, deletions and starts may be gone.
    pub(crate) is_state_open: bool,
}

fn newest_slot(folder: &Folder) -> Option<State> {
    let slots = folder.files.iter().filter(|(path, _)| FileKind::of(path) == FileKind::Slot);
    slots.filter_map(|(_, slot)| whole(slot)).max_by_key(|state| state.checkpoint)
}

impl Memory {
    /// Of an unharmed directory, and of all blocks that its journal ever had.
    pub(crate) fn of(folder: &Folder, blocks: BTreeMap<u64, Effects>) -> Self {
        let log_id = super::layout::log_id(folder).unwrap_or_default();
        let mut kept = Vec::new();
        for (path, bytes) in &folder.files {
            if FileKind::of(path) != FileKind::Log {
                continue;
            }
            let Some((incarnation, partition)) = place_of(path) else { continue };
            let seed = partition_seed(&log_id, incarnation, partition);
            let whole = frames(bytes).into_iter().filter(|unit| frame_holds(bytes, unit, seed));
            kept.extend(whole.filter_map(|unit| {
                let end = offsets_of(bytes, &unit)?.end;
                Some(Kept { path: path.clone(), unit, end })
            }));
        }
        Self { log_id, newest: newest_slot(folder).unwrap_or_default(), blocks, frames: kept }
    }

    pub(crate) fn log_id(&self) -> [u8; 16] {
        self.log_id
    }

    /// What no log can know of `after`, which once was `before`.
    pub(crate) fn tails(&self, before: &Folder, after: &Folder) -> Tails {
        // Without a slot there is no log, and opening must refuse.
        let Some(slot) = newest_slot(after) else { return Tails::default() };
        let whole = whole_blocks(after, &self.log_id).into_keys().max().unwrap_or_default();
        let is_lost = |sequence: u64| sequence >= slot.sequence && sequence > whole;
        let lost: Vec<_> = self.blocks.iter().filter(|(sequence, _)| is_lost(**sequence)).collect();
        let is_old = slot.checkpoint < self.newest.checkpoint;
        if lost.is_empty() && !is_old {
            return Tails::default();
        }
        let mut known = slot.next_offsets;
        let surely = self.blocks.iter().filter(|(sequence, _)| **sequence <= whole);
        for (key, end) in surely.flat_map(|(_, effects)| &effects.ends) {
            raise(&mut known, *key, *end);
        }
        for kept in &self.frames {
            let range = || kept.unit.range.clone();
            let now = after.files.get(&kept.path).and_then(|bytes| bytes.get(range()));
            let then = before.files.get(&kept.path).and_then(|bytes| bytes.get(range()));
            if let Some(key) = place_of(&kept.path).filter(|_| now.is_some() && now == then) {
                raise(&mut known, key, kept.end);
            }
        }
        let touched = lost.iter().flat_map(|(_, effects)| effects.ends.keys().copied());
        let all = self.newest.next_offsets.keys().copied().filter(|_| is_old);
        let starts = touched.chain(all).map(|key| (key, known.get(&key).copied().unwrap_or(0)));
        let is_state_open = is_old || lost.iter().any(|(_, effects)| effects.changes_state);
        Tails { starts: starts.collect(), is_state_open }
    }
}

fn raise(known: &mut BTreeMap<(u64, u32), u64>, key: (u64, u32), end: u64) {
    let known = known.entry(key).or_default();
    *known = end.max(*known);
}

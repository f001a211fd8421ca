//! ext4 with `data=ordered`, as its users see it.
//!
//! * Names and set lengths go through one journal: a prefix of them survives.
//! * Written pages go to the disk when the kernel likes; a page there is some
//!   version that the cache had since the last sync, and is whole.
//! * A file's greater length is recorded after the data that it covers: so many
//!   of the growing writes survive, in order, all their bytes with them.

use super::{PAGE_BYTES, Space};
use crate::disk::{Change, InodeId, Kept, OpId, Survivors, Unsynced, What};
use crate::random::Stream;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};

/// What a choice is about. Choosing `n` keeps the first `n` of its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Axis {
    /// Names and set lengths.
    Metadata,
    /// Writes that made a file longer; all writes of one whose length was set.
    Growth(InodeId),
    /// Writes to a page that don't grow the file.
    Page(InodeId, u64),
}

#[derive(Debug)]
pub(crate) struct Choices<'a> {
    unsynced: &'a Unsynced,
    axes: BTreeMap<Axis, Vec<OpId>>,
    /// Files whose length was set: their writes survive in order only.
    in_order: BTreeSet<InodeId>,
}

impl<'a> Choices<'a> {
    pub(crate) fn new(unsynced: &'a Unsynced) -> Self {
        let set = unsynced.changes.iter().filter(|c| matches!(c.what, What::Length { .. }));
        let in_order = set.map(|change| change.inode).collect();
        let mut choices = Self { unsynced, axes: BTreeMap::new(), in_order };
        for change in &unsynced.changes {
            for axis in choices.axes_of(change) {
                choices.axes.entry(axis).or_default().push(change.op);
            }
        }
        choices
    }

    fn axes_of(&self, change: &Change) -> Vec<Axis> {
        let What::Write { position, len, grows } = change.what else { return vec![Axis::Metadata] };
        if self.in_order.contains(&change.inode) {
            return vec![Axis::Growth(change.inode)];
        }
        let growth = grows.then_some(Axis::Growth(change.inode));
        // What a growing write adds behind the old end survives with the length.
        let durable = self.unsynced.durable_len.get(&change.inode).copied().unwrap_or_default();
        let end = if grows { (position + len).min(durable) } else { position + len };
        let pages = position / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        pages.map(|page| Axis::Page(change.inode, page)).chain(growth).collect()
    }

    fn keeps(&self, choices: &BTreeMap<Axis, usize>, axis: Axis, op: OpId) -> bool {
        let kept = choices.get(&axis).copied().unwrap_or_default();
        self.axes.get(&axis).is_some_and(|ops| ops.iter().take(kept).any(|kept| *kept == op))
    }

    /// The last growing write of a file that survives.
    fn grown_by(&self, choices: &BTreeMap<Axis, usize>, inode: InodeId) -> Option<OpId> {
        let kept = choices.get(&Axis::Growth(inode)).copied().unwrap_or_default();
        self.axes.get(&Axis::Growth(inode))?.get(kept.checked_sub(1)?).copied()
    }

    fn keep(&self, choices: &BTreeMap<Axis, usize>, change: &Change) -> Option<Kept> {
        let op = change.op;
        let What::Write { position, len, grows } = change.what else {
            let keeps = self.keeps(choices, Axis::Metadata, op);
            return keeps.then_some(match change.what {
                What::Length { .. } => Kept::Length { op },
                _ => Kept::Name { op },
            });
        };
        let whole = Kept::Write { op, ranges: vec![(position, position + len)], grows };
        let inode = change.inode;
        if self.in_order.contains(&inode) {
            let mut sets = self.unsynced.changes.iter().filter(|other| {
                other.inode == inode && other.op < op && matches!(other.what, What::Length { .. })
            });
            let lengths_kept = sets.all(|set| self.keeps(choices, Axis::Metadata, set.op));
            return (lengths_kept && self.keeps(choices, Axis::Growth(inode), op)).then_some(whole);
        }
        let durable = self.unsynced.durable_len.get(&inode).copied().unwrap_or_default();
        // The data that a surviving length covers is there, from the page of the
        // old end on; pages before may be any version.
        let covered = self.grown_by(choices, inode).is_some_and(|grown| op <= grown);
        let mut ranges = Vec::new();
        for page in position / PAGE_BYTES..(position + len).div_ceil(PAGE_BYTES) {
            let (from, to) = (page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
            let grown_part = covered && to > durable;
            if grown_part || self.keeps(choices, Axis::Page(inode, page), op) {
                ranges.push((from.max(position), to.min(position + len)));
            }
        }
        let grows = grows && covered;
        (grows || !ranges.is_empty()).then_some(Kept::Write { op, ranges, grows })
    }
}

impl Space for Choices<'_> {
    fn ways(&self) -> Vec<usize> {
        self.axes.values().map(|ops| ops.len() + 1).collect()
    }

    fn survivors(&self, choices: &[usize]) -> Survivors {
        let choices: BTreeMap<Axis, usize> =
            self.axes.keys().copied().zip(choices.iter().copied()).collect();
        let changes = self.unsynced.changes.iter();
        Survivors { kept: changes.filter_map(|change| self.keep(&choices, change)).collect() }
    }
}

pub(crate) fn draw(unsynced: &Unsynced, random: &mut Stream) -> Survivors {
    let space = Choices::new(unsynced);
    let choose = |ways: usize| match random.random_range(0..4) {
        0 => 0,
        1 => ways - 1,
        _ => random.random_range(0..ways),
    };
    let choices: Vec<usize> = space.ways().into_iter().map(choose).collect();
    space.survivors(&choices)
}

//! Everything that the log's crash model allows, and for the hostile profile
//! some of what it forbids.

use super::{PAGE_BYTES, SECTOR_BYTES, Space};
use crate::disk::{Change, Filling, InodeId, Kept, OpId, Survivors, Unsynced, What};
use crate::random::Stream;
use rand::RngExt;
use rand::seq::SliceRandom;

/// A choice with two ways: lost or kept.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Sector { op: OpId, range: (u64, u64) },
    Growth { op: OpId },
    Length { op: OpId },
    Name { op: OpId },
}

#[derive(Debug)]
pub(crate) struct Choices {
    units: Vec<Unit>,
}

impl Choices {
    pub(crate) fn new(unsynced: &Unsynced) -> Self {
        let mut units = Vec::new();
        for Change { op, what, .. } in &unsynced.changes {
            let op = *op;
            match *what {
                What::Write { position, len, grows } => {
                    let sectors = sectors(position, len, SECTOR_BYTES).into_iter();
                    units.extend(sectors.map(|range| Unit::Sector { op, range }));
                    units.extend(grows.then_some(Unit::Growth { op }));
                }
                What::Length { .. } => units.push(Unit::Length { op }),
                What::NameAdded | What::NameRemoved => units.push(Unit::Name { op }),
            }
        }
        Self { units }
    }
}

impl Space for Choices {
    fn ways(&self) -> Vec<usize> {
        vec![2; self.units.len()]
    }

    fn survivors(&self, choices: &[usize]) -> Survivors {
        let mut kept: Vec<Kept> = Vec::new();
        let chosen = self.units.iter().zip(choices).filter(|(_, choice)| **choice > 0);
        for (unit, _) in chosen {
            // The units of one write stand side by side.
            match (*unit, kept.last_mut()) {
                (Unit::Sector { op, range }, Some(Kept::Write { op: last, ranges, .. }))
                    if *last == op =>
                {
                    ranges.push(range);
                }
                (Unit::Growth { op }, Some(Kept::Write { op: last, grows, .. })) if *last == op => {
                    *grows = true;
                }
                (Unit::Sector { op, range }, _) => {
                    kept.push(Kept::Write { op, ranges: vec![range], grows: false });
                }
                (Unit::Growth { op }, _) => {
                    kept.push(Kept::Write { op, ranges: Vec::new(), grows: true });
                }
                (Unit::Length { op }, _) => kept.push(Kept::Length { op }),
                (Unit::Name { op }, _) => kept.push(Kept::Name { op }),
            }
        }
        Survivors { kept }
    }
}

/// The parts of a range that lie in one sector each, aligned to the file.
fn sectors(position: u64, len: u64, sector_bytes: u64) -> Vec<(u64, u64)> {
    let end = position + len;
    let sectors = position / sector_bytes..end.div_ceil(sector_bytes);
    let part = |sector| {
        let start: u64 = sector * sector_bytes;
        (start.max(position), (start + sector_bytes).min(end))
    };
    sectors.map(part).collect()
}

/// How one crash treats what is at stake: extremes are as likely as mixtures,
/// since either alone would miss bugs.
#[derive(Debug, Clone, Copy)]
struct Mood {
    sector_bytes: u64,
    keep_write: f64,
    keep_name: f64,
    keep_length: f64,
    tear: f64,
    trash: f64,
}

impl Mood {
    fn draw(random: &mut Stream) -> Self {
        let mut likelihood = || match random.random_range(0..5) {
            0 => 0.0,
            1 => 0.1,
            2 => 0.5,
            3 => 0.9,
            _ => 1.0,
        };
        let (keep_write, keep_name, keep_length) = (likelihood(), likelihood(), likelihood());
        let tear = if random.random_bool(0.5) { 0.7 } else { 0.1 };
        let trash = if random.random_bool(0.3) { 0.3 } else { 0.0 };
        let sector_bytes = if random.random_bool(0.7) { SECTOR_BYTES } else { PAGE_BYTES };
        Self { sector_bytes, keep_write, keep_name, keep_length, tear, trash }
    }
}

pub(crate) fn draw(unsynced: &Unsynced, random: &mut Stream) -> Survivors {
    let mood = Mood::draw(random);
    let mut kept = Vec::new();
    let mut fills = Vec::new();
    for change in &unsynced.changes {
        let op = change.op;
        match change.what {
            What::Write { position, len, grows } => {
                let ranges = draw_ranges(position, len, mood, random);
                let grows = grows && random.random_bool(mood.keep_length);
                if random.random_bool(mood.trash) {
                    fills.extend(trash(change.inode, position, len, mood, random));
                }
                if grows || !ranges.is_empty() {
                    kept.push(Kept::Write { op, ranges, grows });
                }
            }
            What::Length { .. } if random.random_bool(mood.keep_length) => {
                kept.push(Kept::Length { op });
            }
            What::NameAdded | What::NameRemoved if random.random_bool(mood.keep_name) => {
                kept.push(Kept::Name { op });
            }
            _ => {}
        }
    }
    if random.random_bool(0.1) {
        kept.shuffle(random);
    }
    kept.extend(fills);
    Survivors { kept }
}

/// Which parts of a write survive.
fn draw_ranges(position: u64, len: u64, mood: Mood, random: &mut Stream) -> Vec<(u64, u64)> {
    if !random.random_bool(mood.tear) {
        let whole = random.random_bool(mood.keep_write);
        return if whole { vec![(position, position + len)] } else { Vec::new() };
    }
    let mut sectors = sectors(position, len, mood.sector_bytes);
    match random.random_range(0..4) {
        // Cut at any byte, more often near the front: blocks are padded at their end.
        0 => {
            let within = len.min(128 << random.random_range(0..8));
            vec![(position, position + random.random_range(0..=within))]
        }
        // All but one.
        1 => {
            sectors.remove(random.random_range(0..sectors.len()));
            sectors
        }
        // One.
        2 => vec![sectors.swap_remove(random.random_range(0..sectors.len()))],
        _ => {
            sectors.retain(|_| random.random_bool(0.5));
            sectors
        }
    }
}

/// A sector that was being written holds something else.
fn trash(file: InodeId, position: u64, len: u64, mood: Mood, random: &mut Stream) -> Option<Kept> {
    let sectors = sectors(position, len, mood.sector_bytes);
    let range = *sectors.get(random.random_range(0..sectors.len()))?;
    Some(Kept::Fill { file, range, with: filling(random) })
}

fn filling(random: &mut Stream) -> Filling {
    match random.random_range(0..3) {
        0 => Filling::Zeroes,
        1 => Filling::Garbage(random.random()),
        _ => Filling::Stale(random.random_range(0..1 << 14)),
    }
}

/// As `posix`, and the rest of a page in which something was written may be
/// garbage, synced or not.
pub(crate) fn draw_hostile(unsynced: &Unsynced, random: &mut Stream) -> Survivors {
    let mut survivors = draw(unsynced, random);
    for change in &unsynced.changes {
        let What::Write { position, len, .. } = change.what else { continue };
        if len == 0 || !random.random_bool(0.3) {
            continue;
        }
        let before = (position / PAGE_BYTES * PAGE_BYTES, position);
        let end = position + len;
        let after = (end, end.next_multiple_of(PAGE_BYTES));
        let range = if random.random_bool(0.5) { before } else { after };
        if range.0 < range.1 {
            let (file, with) = (change.inode, filling(random));
            survivors.kept.push(Kept::Fill { file, range, with });
        }
    }
    survivors
}

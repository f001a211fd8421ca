//! The journal's blocks: their fields, and what they did to the state.

use super::folder::{FileKind, Folder};
use super::layout::{BLOCK_HEADER, PAGE, Unit, UnitKind, Walker, crc32c, little_endian};
use std::collections::BTreeMap;

/// What a whole block did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Effects {
    /// Behind what it appended, by incarnation and partition.
    pub(crate) ends: BTreeMap<(u64, u32), u64>,
    /// Whether it held anything else than records.
    pub(crate) changes_state: bool,
}

/// The number in a journal file's name.
pub(crate) fn file_number(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.strip_suffix(".wal")?.parse().ok()
}

/// All places that begin as a block does.
pub(crate) fn units(bytes: &[u8]) -> Vec<Unit> {
    (0..bytes.len()).step_by(PAGE).filter_map(|at| unit(bytes, at).map(|(unit, _)| unit)).collect()
}

/// The block at `start`, and what it does if all of it can be made out.
fn unit(bytes: &[u8], start: usize) -> Option<(Unit, Option<Effects>)> {
    let rest = bytes.get(start..).filter(|rest| rest.starts_with(b"MqlBlock"))?;
    let body_len = usize::try_from(little_endian(rest.get(64..68)?)).ok()?;
    let body_end = (start + BLOCK_HEADER).checked_add(body_len)?;
    let end = start + (BLOCK_HEADER + body_len).next_multiple_of(PAGE);
    if end > bytes.len() {
        return None;
    }
    let mut walker = Walker::new(bytes, start..body_end);
    let effects = walk(&mut walker);
    Some((Unit { kind: UnitKind::Block, range: start..end, fields: walker.fields }, effects))
}

fn walk(walker: &mut Walker<'_>) -> Option<Effects> {
    walker.fixed("block magic", 8)?;
    walker.fixed("block version", 4)?;
    walker.fixed("block crc", 4)?;
    for name in [
        "block generation",
        "block nonce",
        "block previous nonce",
        "block sequence",
        "block file length",
        "block successor",
    ] {
        walker.fixed(name, 8)?;
    }
    walker.fixed("block body length", 4)?;
    let mut effects = Effects::default();
    for _ in 0..walker.fixed("block entries", 4)? {
        entry(walker, &mut effects)?;
    }
    Some(effects)
}

fn entry(walker: &mut Walker<'_>, effects: &mut Effects) -> Option<()> {
    let kind = walker.fixed("entry kind", 1)?;
    effects.changes_state |= kind != 1;
    match kind {
        1 => {
            let incarnation = walker.varint("entry incarnation")?;
            let partition = u32::try_from(walker.varint("entry partition")?).ok()?;
            let base = walker.varint("entry base offset")?;
            let records = walker.varint("entry records")?;
            walker.blob("entry frames")?;
            effects.ends.insert((incarnation, partition), base.saturating_add(records));
        }
        2 => {
            walker.blob("entry name")?;
            walker.varint("entry incarnation")?;
            walker.varint("entry partitions")?;
            super::slot::settings(walker)?;
        }
        3 => {
            walker.blob("entry group")?;
            for _ in 0..walker.varint("entry commits")? {
                walker.varint("commit incarnation")?;
                walker.varint("commit partition")?;
                walker.varint("commit offset")?;
            }
        }
        4 => {
            walker.fixed("entry producer", 8)?;
            super::slot::sent(walker)?;
        }
        5 => drop(walker.varint("entry incarnation")?),
        6 => {
            walker.varint("entry incarnation")?;
            walker.varint("entry partitions")?;
        }
        7 => {
            walker.varint("entry incarnation")?;
            walker.varint("entry partition")?;
            walker.varint("entry start")?;
        }
        8 => drop(walker.blob("entry group")?),
        _ => return None,
    }
    Some(())
}

/// The blocks that stand whole where they were written: what each did, by its
/// sequence. One that was written again on firm ground is there twice.
pub(crate) fn whole_blocks(folder: &Folder, log_id: &[u8; 16]) -> BTreeMap<u64, Effects> {
    let mut found = BTreeMap::new();
    for (path, bytes) in &folder.files {
        let Some(file) = file_number(path).filter(|_| FileKind::of(path) == FileKind::Journal)
        else {
            continue;
        };
        for start in (0..bytes.len()).step_by(PAGE) {
            let Some((unit, Some(effects))) = unit(bytes, start) else { continue };
            let block = bytes.get(unit.range).unwrap_or_default();
            if holds(block, log_id, file, start as u64) {
                found.insert(block.get(40..48).map(little_endian).unwrap_or_default(), effects);
            }
        }
    }
    found
}

fn holds(block: &[u8], log_id: &[u8; 16], file: u64, position: u64) -> bool {
    let computed = || {
        let (front, rest) = (block.get(..12)?, block.get(16..)?);
        let place = [file.to_le_bytes(), position.to_le_bytes()];
        let [file, position] = &place;
        Some(crc32c(0, &[log_id, file, position, block.get(24..32)?, front, rest]))
    };
    computed().map(u64::from) == block.get(12..16).map(little_endian)
}

//! Changes of single fields, with and without a checksum that is right.

use super::folder::{FileKind, Folder, place_of};
use super::layout::{
    Encoding, Field, Unit, UnitKind, Walker, forge, frame, little_endian, offsets_of, units,
};
use super::mutate::{Change, Forged, Kind, pick, pick_file};
use super::template::Template;
use crate::random::{Stream, garbage};
use rand::RngExt;

/// Changes a field of some unit. Nothing if there is none, or if it stays as it was.
pub(crate) fn change(
    template: &Template,
    folder: &mut Folder,
    random: &mut Stream,
    forges: bool,
) -> Option<Change> {
    let path = pick_file(folder, random)?;
    let bytes = folder.files.get_mut(&path)?;
    let file = FileKind::of(&path);
    let before = bytes.clone();
    if file == FileKind::Hashes && !forges {
        let slot = random.random_range(0..(bytes.len() / 32).max(1)) * 32;
        let hash = garbage(random.random(), 32);
        bytes.get_mut(slot..slot + 32)?.copy_from_slice(&hash);
        let story = format!("{path}: the hash at byte {slot} is another");
        return Some(Change { kind: Kind::Field, file, story, forged: None });
    }
    let all = units(&path, bytes);
    let mut unit = pick(&all, random)?.clone();
    let field = pick_field(&unit, random)?.clone();
    let held = offsets_of(bytes, &unit);
    let what = alter(bytes, &mut unit, &field, forges, random)?;
    if *bytes == before {
        return None;
    }
    let mut covers = None;
    if forges {
        if !forge(&path, bytes, &unit, &template.memory.log_id()) {
            *bytes = before;
            return None;
        }
        covers = Some(match unit.kind {
            UnitKind::Slot | UnitKind::Block => Forged::State,
            UnitKind::Index => Forged::Index,
            UnitKind::Frame => {
                let claims = frame(bytes, unit.range.start);
                let claims = claims.and_then(|frame| offsets_of(bytes, &frame));
                let key = place_of(&path)?;
                let held = held.unwrap_or(0..0);
                let mut claims = claims.unwrap_or_else(|| held.clone());
                if field.name.starts_with("block") {
                    // What a compressed frame claims stands within it.
                    claims.end = u64::MAX;
                }
                Forged::Frame { key, held, claims }
            }
        });
    }
    let (kind, sealed) = if forges {
        (Kind::ForgedField, ", and the checksum made right")
    } else {
        (Kind::Field, "")
    };
    let story = format!("{path}: {} at byte {}: {what}{sealed}", field.name, field.range.start);
    Some(Change { kind, file, story, forged: covers })
}

/// A field; its name is drawn first, because there are many of some.
fn pick_field<'u>(unit: &'u Unit, random: &mut Stream) -> Option<&'u Field> {
    let mut names: Vec<&str> = unit.fields.iter().map(|field| field.name).collect();
    names.sort_unstable();
    names.dedup();
    let name = *pick(&names, random)?;
    let fields: Vec<&Field> = unit.fields.iter().filter(|field| field.name == name).collect();
    pick(&fields, random).copied()
}

fn alter(
    bytes: &mut Vec<u8>,
    unit: &mut Unit,
    field: &Field,
    forges: bool,
    random: &mut Stream,
) -> Option<String> {
    let old = bytes.get(field.range.clone())?.to_vec();
    match field.encoding {
        Encoding::Bytes => {
            let now = bytes.get_mut(field.range.clone())?;
            match random.random_range(0..3) {
                0 => now.fill(0),
                1 => now.copy_from_slice(&garbage(random.random(), old.len())),
                _ => {
                    let at = random.random_range(0..now.len());
                    *now.get_mut(at)? ^= 1 << random.random_range(0..8);
                }
            }
            Some("other bytes".to_owned())
        }
        Encoding::Fixed => {
            let value = little_endian(&old);
            let bits = u32::try_from(old.len()).ok()? * 8;
            let value_now = hostile(value, bits, bytes, random);
            let now = value_now.to_le_bytes();
            bytes.get_mut(field.range.clone())?.copy_from_slice(now.get(..old.len())?);
            Some(format!("{value} becomes {value_now}"))
        }
        Encoding::Varint => {
            let value = Walker::new(bytes, field.range.clone()).varint("")?;
            let value_now = hostile(value, 64, bytes, random);
            let mut now = varint(value_now);
            let shape = match random.random_range(0..12) {
                0 => {
                    now = vec![0xff; old.len()];
                    ", never ending"
                }
                1 => {
                    *now.last_mut()? |= 0x80;
                    now.push(0);
                    ", longer than it needs to be"
                }
                _ => "",
            };
            splice(bytes, unit, field, &now, forges)?;
            Some(format!("{value} becomes {value_now}{shape}"))
        }
    }
}

/// A value that somebody would choose who means harm.
fn hostile(value: u64, bits: u32, bytes: &[u8], random: &mut Stream) -> u64 {
    let max = u64::MAX >> (64 - bits);
    let chosen = match random.random_range(0..14) {
        0 => 0,
        1 => 1,
        2 => max,
        3 | 4 => value.wrapping_add(1),
        5 | 6 => value.wrapping_sub(1),
        7 => value ^ (1 << (bits - 1)),
        8 => max >> 1,
        9 => value.swap_bytes() >> (64 - bits),
        10 => 1 << random.random_range(0..bits),
        11 => value.wrapping_mul(2).wrapping_add(random.random_range(0..3)),
        12 => random.random::<u64>(),
        // What stands somewhere else in the file.
        _ => {
            let at = random.random_range(0..bytes.len().max(1));
            bytes.get(at..(at + 4).min(bytes.len())).map(little_endian).unwrap_or_default()
        }
    };
    chosen & max
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Puts a number in the place of another that may have been shorter. A forger sees
/// to the length of what it stands in; a block keeps its pages.
fn splice(
    bytes: &mut Vec<u8>,
    unit: &mut Unit,
    field: &Field,
    now: &[u8],
    forges: bool,
) -> Option<()> {
    let grown = isize::try_from(now.len()).ok()? - isize::try_from(field.range.len()).ok()?;
    if grown == 0 || !forges {
        // Others overwrite as far as the old number went.
        let len = now.len().min(field.range.len());
        let place = bytes.get_mut(field.range.start..field.range.start + len)?;
        place.copy_from_slice(now.get(..len)?);
        return Some(());
    }
    let (at, width) = match unit.kind {
        UnitKind::Slot => (24, 8),
        UnitKind::Block => (64, 4),
        UnitKind::Frame => (0, 4),
        UnitKind::Index => return None,
    };
    let at = unit.range.start + at;
    let len =
        little_endian(bytes.get(at..at + width)?).checked_add_signed(i64::try_from(grown).ok()?)?;
    let len = len.to_le_bytes();
    if unit.kind == UnitKind::Block {
        let end = unit.range.end;
        let padding = bytes.get(end.checked_sub(16)?..end)?;
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        if grown > 0 {
            drop(bytes.drain(end - grown.unsigned_abs()..end));
        } else {
            bytes.splice(end..end, vec![0; grown.unsigned_abs()]);
        }
    } else {
        unit.range.end = unit.range.end.checked_add_signed(grown)?;
    }
    bytes.splice(field.range.clone(), now.iter().copied());
    bytes.get_mut(at..at + width)?.copy_from_slice(len.get(..width)?);
    Some(())
}

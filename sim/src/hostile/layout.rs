//! Where the fields are, told from the descriptions of the formats: the log's own
//! reading is what is tested.
//!
//! A file is a run of *units*, each with a checksum of its own: a slot, a block of
//! the journal, a frame, an index. A unit is a run of *fields*. Whatever cannot be
//! made out is left over, and is changed byte by byte instead.

use super::folder::{FileKind, Folder, place_of};
use crc_fast::CrcAlgorithm;
use std::ops::Range;

pub(crate) const PAGE: usize = 4096;
pub(crate) const BLOCK_HEADER: usize = 72;
pub(crate) const SLOT_HEADER: usize = 32;
pub(crate) const FRAME_HEADER: usize = 17;

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Little-endian, as wide as the field.
    Fixed,
    /// LEB128.
    Varint,
    /// As it comes.
    Bytes,
}

/// A field of a unit, by its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) range: Range<usize>,
    pub(crate) encoding: Encoding,
}

/// What carries a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitKind {
    Slot,
    Block,
    Frame,
    Index,
}

/// A unit, by its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) kind: UnitKind,
    pub(crate) range: Range<usize>,
    pub(crate) fields: Vec<Field>,
}

/// Reads fields off the front of a range of a file.
#[derive(Debug)]
pub(crate) struct Walker<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
    end: usize,
    pub(crate) fields: Vec<Field>,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self { bytes, at: range.start, end: range.end.min(bytes.len()), fields: Vec::new() }
    }

    fn take(&mut self, name: &'static str, len: usize, encoding: Encoding) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.end)?;
        let range = self.at..end;
        self.at = end;
        if len > 0 {
            self.fields.push(Field { name, range: range.clone(), encoding });
        }
        self.bytes.get(range)
    }

    pub(crate) fn fixed(&mut self, name: &'static str, len: usize) -> Option<u64> {
        self.take(name, len, Encoding::Fixed).map(little_endian)
    }

    pub(crate) fn varint(&mut self, name: &'static str) -> Option<u64> {
        let rest = self.bytes.get(self.at..self.end)?;
        let len = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let value = rest
            .iter()
            .take(len)
            .rev()
            .fold(0_u64, |value, byte| value.wrapping_shl(7) | u64::from(byte & 0x7f));
        self.take(name, len, Encoding::Varint).map(|_| value)
    }

    pub(crate) fn bytes(&mut self, name: &'static str, len: usize) -> Option<&'a [u8]> {
        self.take(name, len, Encoding::Bytes)
    }

    pub(crate) fn blob(&mut self, name: &'static str) -> Option<&'a [u8]> {
        let len = self.varint("length")?;
        self.bytes(name, usize::try_from(len).ok()?)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }
}

pub(crate) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value.wrapping_shl(8) | u64::from(*byte))
}

/// CRC-32C, continued from `seed` as the log's checksums are.
pub(crate) fn crc32c(seed: u32, parts: &[&[u8]]) -> u32 {
    let state = u64::from(seed);
    let mut crc = crc_fast::Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state);
    for part in parts {
        crc.update(part);
    }
    u32::try_from(crc.finalize() & u64::from(u32::MAX)).unwrap_or_default()
}

/// What the checksums of a partition's frames and indexes start from.
pub(crate) fn partition_seed(log_id: &[u8; 16], incarnation: u64, partition: u32) -> u32 {
    crc32c(0, &[log_id, &incarnation.to_le_bytes(), &partition.to_le_bytes()])
}

/// The log's identity, from the first slot that begins as one does.
pub(crate) fn log_id(folder: &Folder) -> Option<[u8; 16]> {
    let slots = folder.files.iter().filter(|(path, _)| FileKind::of(path) == FileKind::Slot);
    let mut slots = slots.filter(|(_, slot)| slot.starts_with(b"MqlState"));
    slots.find_map(|(_, slot)| slot.get(32..48)?.try_into().ok())
}

/// The units of a file.
pub(crate) fn units(path: &str, bytes: &[u8]) -> Vec<Unit> {
    match FileKind::of(path) {
        FileKind::Slot => super::slot::unit(bytes).map(|(unit, _)| unit).into_iter().collect(),
        FileKind::Journal => super::journal::units(bytes),
        FileKind::Log => frames(bytes),
        FileKind::Index => index(bytes).into_iter().collect(),
        FileKind::Hashes | FileKind::Lock | FileKind::Other => Vec::new(),
    }
}

/// The frames that follow each other from the front on.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Unit> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(unit) = frame(bytes, at) {
        at = unit.range.end;
        found.push(unit);
    }
    found
}

/// The frame that begins at `start`, whether or not its checksum holds.
pub(crate) fn frame(bytes: &[u8], start: usize) -> Option<Unit> {
    let len = usize::try_from(little_endian(bytes.get(start..start + 4)?)).ok()?;
    let end = start.checked_add(FRAME_HEADER)?.checked_add(len)?;
    let kind = *bytes.get(start + 16)?;
    if end > bytes.len() || !(1..=3).contains(&kind) {
        return None;
    }
    let mut walker = Walker::new(bytes, start..end);
    walker.fixed("frame length", 4)?;
    walker.fixed("frame crc", 4)?;
    walker.fixed("frame offset", 8)?;
    walker.fixed("frame kind", 1)?;
    match kind {
        1 => body(&mut walker).unwrap_or_default(),
        2 => {
            walker.varint("block records");
            walker.varint("block raw length");
            let rest = end.saturating_sub(walker.at);
            walker.bytes("block lz4", rest);
        }
        _ => {
            walker.fixed("gap count", 8);
            while walker.bytes("gap root", 32).is_some() {}
        }
    }
    Some(Unit { kind: UnitKind::Frame, range: start..end, fields: walker.fields })
}

fn body(walker: &mut Walker<'_>) -> Option<()> {
    walker.fixed("record timestamp", 8)?;
    let flags = walker.fixed("record flags", 1)?;
    for (flag, name) in [(1, "record key"), (2, "record value")] {
        if flags & flag != 0 {
            walker.blob(name)?;
        }
    }
    if flags & 4 != 0 {
        for _ in 0..walker.varint("record headers")? {
            walker.blob("header name")?;
            if walker.fixed("header presence", 1)? == 1 {
                walker.blob("header value")?;
            }
        }
    }
    Some(())
}

fn index(bytes: &[u8]) -> Option<Unit> {
    let mut walker = Walker::new(bytes, 0..bytes.len());
    walker.fixed("index magic", 8)?;
    walker.fixed("index version", 4)?;
    walker.fixed("index crc", 4)?;
    for name in ["index base", "index generation", "index covered", "index count"] {
        walker.fixed(name, 8)?;
    }
    while walker.fixed("point offset", 8).is_some() {
        walker.fixed("point position", 8)?;
        walker.fixed("point timestamp", 8)?;
    }
    Some(Unit { kind: UnitKind::Index, range: 0..bytes.len(), fields: walker.fields })
}

/// Makes a unit's checksum right again, and the lengths that belong to it: the
/// work of a forger. `false` if it cannot be done.
pub(crate) fn forge(path: &str, bytes: &mut [u8], unit: &Unit, log_id: &[u8; 16]) -> bool {
    let Some(unit_bytes) = bytes.get_mut(unit.range.clone()) else { return false };
    let seed = || {
        let (incarnation, partition) = place_of(path)?;
        Some(partition_seed(log_id, incarnation, partition))
    };
    let done = match unit.kind {
        UnitKind::Slot => seal(unit_bytes, 12, 0, &[]),
        UnitKind::Index => seed().and_then(|seed| seal(unit_bytes, 12, seed, &[])),
        UnitKind::Frame => seed().and_then(|seed| seal(unit_bytes, 4, seed, &[])),
        UnitKind::Block => super::journal::file_number(path).and_then(|file| {
            let position = unit.range.start as u64;
            let nonce: [u8; 8] = unit_bytes.get(24..32)?.try_into().ok()?;
            let place = [file.to_le_bytes(), position.to_le_bytes(), nonce];
            let [file, position, nonce] = &place;
            seal(unit_bytes, 12, 0, &[log_id, file, position, nonce])
        }),
    };
    done.is_some()
}

fn seal(bytes: &mut [u8], crc_at: usize, seed: u32, before: &[&[u8]]) -> Option<()> {
    let (front, rest) = (bytes.get(..crc_at)?, bytes.get(crc_at + 4..)?);
    let parts: Vec<&[u8]> = before.iter().copied().chain([front, rest]).collect();
    let crc = crc32c(seed, &parts);
    bytes.get_mut(crc_at..crc_at + 4)?.copy_from_slice(&crc.to_le_bytes());
    Some(())
}

/// Whether a frame stands whole at a place.
pub(crate) fn frame_holds(bytes: &[u8], unit: &Unit, seed: u32) -> bool {
    let holds = || {
        let frame = bytes.get(unit.range.clone())?;
        let crc = crc32c(seed, &[frame.get(..4)?, frame.get(8..)?]);
        Some(u64::from(crc) == little_endian(frame.get(4..8)?))
    };
    holds().unwrap_or(false)
}

/// The offsets that a frame covers.
pub(crate) fn offsets_of(bytes: &[u8], frame: &Unit) -> Option<Range<u64>> {
    let value = |name: &str| {
        let field = frame.fields.iter().find(|field| field.name == name)?;
        let mut walker = Walker::new(bytes, field.range.clone());
        match field.encoding {
            Encoding::Varint => walker.varint(""),
            _ => bytes.get(field.range.clone()).map(little_endian),
        }
    };
    let offset = value("frame offset")?;
    let count = match value("frame kind")? {
        1 => 1,
        2 => value("block records")?,
        _ => value("gap count")?,
    };
    Some(offset..offset.saturating_add(count))
}

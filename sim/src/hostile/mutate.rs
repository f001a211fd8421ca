//! Changes of a directory, drawn from a seed.
//!
//! Half of them know the formats: they change a field, and half of those make the
//! checksum right again, as somebody would who means harm. The others are what disks
//! and people do: bits, ranges, files and folders.

use super::fields;
use super::folder::{FileKind, Folder, place_of};
use super::names;
use super::template::Template;
use crate::random::{Stream, garbage};
use rand::RngExt;
use std::ops::Range;

/// What a forged checksum covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forged {
    /// A slot or a block: nobody can tell the state that it makes up from a real one.
    State,
    /// An index, which is derived: what it covers must be served or refused all the same.
    Index,
    /// A frame: the records that it held, and those that it claims to hold.
    Frame { key: (u64, u32), held: Range<u64>, claims: Range<u64> },
}

/// A change that was made.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) file: FileKind,
    pub(crate) story: String,
    pub(crate) forged: Option<Forged>,
}

/// Kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Field,
    ForgedField,
    Bit,
    Zeroes,
    Garbage,
    Cut,
    Extend,
    Copy,
    Swap,
    Delete,
    DeleteFolder,
    Duplicate,
    RollBack,
    OtherType,
    Stranger,
}

const KINDS: [(Kind, u32); 15] = [
    (Kind::Field, 24),
    (Kind::ForgedField, 24),
    (Kind::Bit, 8),
    (Kind::Zeroes, 5),
    (Kind::Garbage, 5),
    (Kind::Cut, 6),
    (Kind::Extend, 5),
    (Kind::Copy, 6),
    (Kind::Swap, 4),
    (Kind::Delete, 4),
    (Kind::DeleteFolder, 2),
    (Kind::Duplicate, 4),
    (Kind::RollBack, 6),
    (Kind::OtherType, 2),
    (Kind::Stranger, 2),
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::ForgedField => "forged field",
            Self::Bit => "bit",
            Self::Zeroes => "zeroes",
            Self::Garbage => "garbage",
            Self::Cut => "cut",
            Self::Extend => "extended",
            Self::Copy => "range copied",
            Self::Swap => "files swapped",
            Self::Delete => "file deleted",
            Self::DeleteFolder => "folder deleted",
            Self::Duplicate => "duplicated",
            Self::RollBack => "rolled back",
            Self::OtherType => "file for folder",
            Self::Stranger => "stranger",
        }
    }
}

/// Makes one change, of whatever kind can be made.
pub(crate) fn mutate(template: &Template, folder: &mut Folder, random: &mut Stream) -> Change {
    loop {
        let kind = draw_kind(random);
        if let Some(change) = attempt(kind, template, folder, random) {
            return change;
        }
    }
}

fn draw_kind(random: &mut Stream) -> Kind {
    let mut ticket = random.random_range(0..KINDS.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in KINDS {
        match ticket.checked_sub(weight) {
            Some(rest) => ticket = rest,
            None => return kind,
        }
    }
    Kind::Bit
}

fn attempt(
    kind: Kind,
    template: &Template,
    folder: &mut Folder,
    random: &mut Stream,
) -> Option<Change> {
    match kind {
        Kind::Field => fields::change(template, folder, random, false),
        Kind::ForgedField => fields::change(template, folder, random, true),
        Kind::Swap
        | Kind::Delete
        | Kind::DeleteFolder
        | Kind::Duplicate
        | Kind::RollBack
        | Kind::OtherType
        | Kind::Stranger => names::change(kind, template, folder, random),
        _ => change_bytes(kind, folder, random),
    }
}

/// One of those at hand.
pub(crate) fn pick<'a, T>(among: &'a [T], random: &mut Stream) -> Option<&'a T> {
    if among.is_empty() { None } else { among.get(random.random_range(0..among.len())) }
}

/// A file: its kind is drawn first, because there are many of some.
pub(crate) fn pick_file(folder: &Folder, random: &mut Stream) -> Option<String> {
    let mut kinds: Vec<FileKind> = folder.files.keys().map(|path| FileKind::of(path)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let kind = *pick(&kinds, random)?;
    let files: Vec<&String> =
        folder.files.keys().filter(|path| FileKind::of(path) == kind).collect();
    pick(&files, random).map(|path| (*path).clone())
}

/// A range that has at least one byte, mostly a short one, often at a page.
fn pick_range(len: usize, random: &mut Stream) -> Option<Range<usize>> {
    if len == 0 {
        return None;
    }
    let mut start = random.random_range(0..len);
    if random.random_bool(0.3) {
        start -= start % 512;
    }
    let most = match random.random_range(0..4) {
        0 => 16,
        1 => 512,
        2 => 4096,
        _ => len,
    };
    let end = start + random.random_range(1..=most);
    Some(start..end.min(len))
}

fn change_bytes(kind: Kind, folder: &mut Folder, random: &mut Stream) -> Option<Change> {
    let path = pick_file(folder, random)?;
    let source = pick_file(folder, random)?;
    let source = folder.files.get(&source).map(|bytes| (source, bytes.clone()))?;
    let bytes = folder.files.get_mut(&path)?;
    let before = bytes.clone();
    let what = match kind {
        Kind::Extend => extend(bytes, &before, random),
        Kind::Copy => copy(bytes, &source, random)?,
        _ => {
            let range = pick_range(bytes.len(), random)?;
            overwrite(kind, bytes, range, random)?
        }
    };
    let file = FileKind::of(&path);
    let story = format!("{path}: {what}");
    (*bytes != before).then_some(Change { kind, file, story, forged: None })
}

fn overwrite(
    kind: Kind,
    bytes: &mut Vec<u8>,
    range: Range<usize>,
    random: &mut Stream,
) -> Option<String> {
    Some(match kind {
        Kind::Bit => {
            let bit = random.random_range(0..8);
            *bytes.get_mut(range.start)? ^= 1 << bit;
            format!("bit {bit} of byte {} flipped", range.start)
        }
        Kind::Zeroes => {
            bytes.get_mut(range.clone())?.fill(0);
            format!("bytes {range:?} are zeroes")
        }
        Kind::Garbage => {
            let filling = garbage(random.random(), range.len());
            bytes.get_mut(range.clone())?.copy_from_slice(&filling);
            format!("bytes {range:?} are garbage")
        }
        _ => {
            bytes.truncate(range.start);
            format!("cut to {} bytes", range.start)
        }
    })
}

fn extend(bytes: &mut Vec<u8>, before: &[u8], random: &mut Stream) -> String {
    let len = pick_range(8192, random).map_or(1, |range| range.len());
    match random.random_range(0..3) {
        0 => bytes.resize(before.len() + len, 0),
        1 => bytes.extend(garbage(random.random(), len)),
        // Whole frames or blocks a second time.
        _ => bytes.extend_from_slice(before),
    }
    format!("extended from {} to {} bytes", before.len(), bytes.len())
}

fn copy(
    bytes: &mut [u8],
    (from, source): &(String, Vec<u8>),
    random: &mut Stream,
) -> Option<String> {
    let units = super::layout::units(from, source);
    let range = match pick(&units, random) {
        Some(unit) if random.random_bool(0.6) => unit.range.clone(),
        _ => pick_range(source.len(), random)?,
    };
    let mut to = random.random_range(0..bytes.len().max(1));
    if random.random_bool(0.5) {
        to -= to % super::layout::PAGE;
    }
    let piece = source.get(range.clone())?;
    let space = bytes.get_mut(to..)?;
    let len = piece.len().min(space.len());
    space.get_mut(..len)?.copy_from_slice(piece.get(..len)?);
    Some(format!("bytes {range:?} of {from} copied to byte {to}"))
}

/// Whether a path is of a partition's files.
pub(crate) fn is_of_partition(path: &str) -> bool {
    place_of(path).is_some()
}

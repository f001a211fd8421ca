//! Harm done to the disk while nobody runs.

use super::blocks::{blocks, log_id};
use super::harmed::{HarmedFile, records};
use super::paths::{LOG, matching};
use crate::client::names::value_of;
use crate::disk::{Damage, Image, SimDisk};
use crate::fault::{FaultKind, matches};
use crate::scenario::{Harm, HarmAt, Spot};
use merkql_jepsen::history::{FaultClass, SpanMap};

/// What is to be written down about harm that was done.
pub(crate) struct Done {
    pub(crate) class: FaultClass,
    /// The records that it has hit; nothing where it belongs to the whole log.
    pub(crate) spans: Option<SpanMap>,
    /// The whole disk is what it was.
    pub(crate) is_rolled_back: bool,
}

/// Whether a file can be derived from others.
pub(crate) fn is_derived(file: &str) -> bool {
    matches(&format!("{LOG}topics/*.idx"), file) || matches(&format!("{LOG}topics/*/hashes"), file)
}

/// Does harm. Returns nothing if the file that it is meant for is not there.
pub(crate) fn do_harm(
    disk: &SimDisk,
    image: Option<&Image>,
    at: &HarmAt,
    slots_harmed: usize,
) -> Option<Done> {
    if at.harm == Harm::RollBackAll {
        disk.roll_back(image?);
        return Some(Done { class: FaultClass::Detected, spans: None, is_rolled_back: true });
    }
    let files = matching(disk, &at.file);
    let nth = files.get(usize::try_from(at.nth).ok()? % files.len().max(1));
    let block = spot_of(&at.harm).and_then(|spot| block_at(disk, spot));
    let path = block.as_ref().map(|(path, _)| path).or(nth)?.clone();
    let other = other_file(disk, &at.harm, &path);
    let is_slot = path.contains("/manifest.");
    // One of two slots is a copy of the other.
    let recoverable = is_derived(&path) || is_slot && slots_harmed == 1;
    let before = super::tails::contents(disk);
    let mut spoiled = None;
    match (&at.harm, other.as_ref()) {
        (Harm::RollBack, _) => {
            disk.roll_back_file(image?, &path).ok()?;
        }
        (harm, other) => {
            let content = disk.content(&path).ok()?;
            let block = block.map(|(_, position)| position);
            let damage = damage_of(harm, &content, other, block)?;
            let kind = kind_of(harm, &damage, &path, recoverable);
            disk.damage_as(&path, &damage, kind).ok()?;
            if let Damage::Unreadable { range: (from, to) } = damage {
                spoiled = Some(from..to);
            }
        }
    }
    let class = if recoverable { FaultClass::Recoverable } else { FaultClass::Detected };
    let after = [Some(&path), other.as_ref()].map(|path| disk.content(path?).ok());
    let files =
        [Some(&path), other.as_ref()].into_iter().zip(&after).filter_map(|(path, after)| {
            Some(HarmedFile { path: path?, after: after.as_deref(), spoiled: spoiled.clone() })
        });
    let files: Vec<_> = files.collect();
    Some(Done { class, spans: records(&before, &files), is_rolled_back: false })
}

/// The other file that harm concerns.
fn other_file(disk: &SimDisk, harm: &Harm, path: &str) -> Option<String> {
    let (Harm::Duplicate { over: pattern } | Harm::Swap { with: pattern }) = harm else {
        return None;
    };
    matching(disk, pattern).into_iter().find(|other| other != path)
}

/// The place that harm is done to, if it is done to one.
fn spot_of(harm: &Harm) -> Option<&Spot> {
    match harm {
        Harm::FlipBit { at, .. }
        | Harm::Zero { at, .. }
        | Harm::Hole { at, .. }
        | Harm::Garbage { at, .. }
        | Harm::Unreadable { at, .. }
        | Harm::Cut { at }
        | Harm::HostileField { at, .. } => Some(at),
        _ => None,
    }
}

/// The file and the place of a block's body, if the spot is one.
fn block_at(disk: &SimDisk, spot: &Spot) -> Option<(String, u64)> {
    let Spot::Block(behind) = spot else { return None };
    let files = super::tails::contents(disk);
    let id = log_id(&files)?;
    let mut whole: Vec<_> = blocks(&files).filter(|block| block.is_whole(id)).collect();
    whole.sort_by_key(|block| std::cmp::Reverse(block.sequence));
    let block = whole.get(usize::try_from(*behind).ok()?)?;
    Some((block.path(), block.body_position()))
}

fn damage_of(
    harm: &Harm,
    content: &[u8],
    other: Option<&String>,
    block: Option<u64>,
) -> Option<Damage> {
    let position = |at: &Spot, content: &[u8]| match at {
        Spot::Block(_) => block,
        at => position(at, content),
    };
    let range = |at: &Spot, bytes: u64| {
        let from = position(at, content)?;
        Some((from, from + bytes))
    };
    Some(match harm {
        Harm::FlipBit { at, bit } => {
            Damage::FlipBit { position: position(at, content)?, bit: *bit }
        }
        Harm::Zero { at, bytes } => Damage::Zero { range: range(at, *bytes)? },
        Harm::Hole { at, bytes } => Damage::Hole { range: range(at, *bytes)? },
        Harm::Garbage { at, bytes, seed } => {
            Damage::Garbage { range: range(at, *bytes)?, seed: *seed }
        }
        Harm::Unreadable { at, bytes } => Damage::Unreadable { range: range(at, *bytes)? },
        Harm::Cut { at } => Damage::Cut { len: position(at, content)? },
        Harm::HostileField { at, bytes } => {
            let position = position(at, content)?;
            let room = (content.len() as u64).saturating_sub(position);
            let len = usize::try_from((*bytes).min(room)).ok()?;
            let bytes = vec![0xFF; len];
            Damage::Overwrite { position, bytes, kind: FaultKind::HostileField }
        }
        Harm::Delete => Damage::Delete,
        Harm::Duplicate { .. } => Damage::Duplicate { to: other?.clone() },
        Harm::Swap { .. } => Damage::Swap { with: other?.clone() },
        Harm::RollBack | Harm::RollBackAll => return None,
    })
}

/// Under which kind of the catalogue the harm counts.
fn kind_of(harm: &Harm, damage: &Damage, path: &str, recoverable: bool) -> FaultKind {
    let is_journal = path.starts_with(&format!("{LOG}journal/"));
    let is_slot = path.contains("/manifest.");
    let is_rot = matches!(
        harm,
        Harm::FlipBit { .. } | Harm::Zero { .. } | Harm::Unreadable { .. } | Harm::Garbage { .. }
    );
    if recoverable {
        FaultKind::DerivedFileBad
    } else if is_rot && (is_journal || is_slot) {
        FaultKind::PrimaryDamaged
    } else if matches!(harm, Harm::Garbage { .. }) {
        FaultKind::ZeroedSector
    } else {
        damage.kind()
    }
}

/// Where in a file a spot is.
fn position(at: &Spot, content: &[u8]) -> Option<u64> {
    let len = content.len() as u64;
    Some(match at {
        Spot::Byte(byte) => *byte,
        Spot::End(before) => len.saturating_sub(*before),
        Spot::Permille(permille) => len.saturating_mul(*permille) / 1000,
        Spot::Value(tag) => {
            let (step, place) = tag.split_once('.')?;
            // The tag and its colon: what follows depends on the length alone.
            let start = value_of(step.parse().ok()?, place.parse().ok()?, 0);
            let found = content.windows(start.len()).position(|at| at == start.as_bytes());
            found? as u64
        }
        // It is not the content of one file that tells.
        Spot::Block(_) => return None,
    })
}

//! Which records a harm has really hit, told from the files alone.
//!
//! A partition's frames are found by their checksums, as the description of the
//! format has them, in what the file held before. Those whose bytes are others
//! afterwards, or cannot be read, are harmed, and no other record is.

use super::blocks::log_id;
use super::harm::is_derived;
use super::paths::LOG;
use super::tails::Contents;
use crate::client::errors::place_of_path;
use crate::client::names::key_of;
use crc_fast::CrcAlgorithm;
use merkql_jepsen::history::{Key, Span, SpanMap};
use std::ops::Range;
use std::path::Path;

const HEADER_BYTES: usize = 17;
const KIND_RECORD: u8 = 1;
const KIND_LZ4: u8 = 2;
const KIND_GAP: u8 = 3;
/// The partition was touched, and none of its records was.
const NO_RECORD: Span = Span { from: 0, to: 0 };

/// A frame in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    bytes: Range<usize>,
    /// The offsets of its records.
    offsets: Span,
}

/// A file that was harmed.
#[derive(Debug)]
pub(crate) struct HarmedFile<'c> {
    pub(crate) path: &'c str,
    /// What it holds now, if it is there.
    pub(crate) after: Option<&'c [u8]>,
    /// What of it is spoiled whatever it holds.
    pub(crate) spoiled: Option<Range<u64>>,
}

impl HarmedFile<'_> {
    fn is_spoiled(&self, before: &[u8], frame: &Frame) -> bool {
        let unchanged = self.after.and_then(|after| after.get(frame.bytes.clone()))
            == before.get(frame.bytes.clone());
        let overlaps = |range: &Range<u64>| {
            range.start < frame.bytes.end as u64 && (frame.bytes.start as u64) < range.end
        };
        !unchanged || self.spoiled.as_ref().is_some_and(overlaps)
    }

    /// The records that are harmed, given what all files held before; nothing if
    /// the file belongs to no partition.
    pub(crate) fn records(&self, before: &Contents) -> Option<(Key, Vec<Span>)> {
        let (topic, partition) = place_of_path(Path::new(self.path))?;
        let key = key_of(&topic, partition);
        if is_derived(self.path) {
            return Some((key, vec![NO_RECORD]));
        }
        // Without the log's identity nothing can be told, and all may be harmed.
        let Some((content, seed)) = before.get(self.path).zip(seed(before, self.path)) else {
            return Some((key, Vec::new()));
        };
        let mut spans = vec![NO_RECORD];
        for frame in frames(seed, content).iter().filter(|frame| self.is_spoiled(content, frame)) {
            match spans.last_mut() {
                Some(last) if last.to == frame.offsets.from => last.to = frame.offsets.to,
                _ => spans.push(frame.offsets),
            }
        }
        Some((key, spans))
    }
}

/// The harmed records of several files, or nothing if one belongs to no partition.
pub(crate) fn records(before: &Contents, files: &[HarmedFile<'_>]) -> Option<SpanMap> {
    let mut map = SpanMap::new();
    for file in files {
        let (key, spans) = file.records(before)?;
        match map.iter_mut().find(|(known, _)| *known == key) {
            // No ranges are all of it.
            Some((_, known)) if known.is_empty() || spans.is_empty() => known.clear(),
            Some((_, known)) => known.extend(spans),
            None => map.push((key, spans)),
        }
    }
    Some(map)
}

/// The offsets whose frames stand whole in some file of a partition, of the topic's
/// latest life.
pub(crate) fn whole(files: &Contents, topic: &str, partition: u32) -> Vec<Span> {
    let incarnation = |path: &str| -> Option<u64> {
        let path = path.strip_prefix(LOG)?.strip_prefix("topics/")?.strip_prefix(topic)?;
        let (incarnation, rest) = path.strip_prefix('.')?.split_once('/')?;
        rest.strip_prefix(&format!("{partition}/"))?;
        incarnation.parse().ok()
    };
    let latest = files.keys().filter_map(|path| incarnation(path)).max();
    let of_partition = files.iter().filter(|(path, _)| incarnation(path) == latest);
    let of_partition = of_partition.filter(|_| latest.is_some());
    let seeded = of_partition.filter_map(|(path, content)| Some((seed(files, path)?, content)));
    let frames = seeded.flat_map(|(seed, content)| frames(seed, content));
    frames.map(|frame| frame.offsets).collect()
}

/// What the checksums of the partition's frames begin with.
fn seed(files: &Contents, path: &str) -> Option<u32> {
    let mut names = path.strip_prefix(LOG)?.strip_prefix("topics/")?.split('/');
    let (_, incarnation) = names.next()?.rsplit_once('.')?;
    let incarnation: u64 = incarnation.parse().ok()?;
    let partition: u32 = names.next()?.parse().ok()?;
    Some(crc(0, &[&log_id(files)?, &incarnation.to_le_bytes(), &partition.to_le_bytes()]))
}

fn crc(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut digest =
        crc_fast::Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(seed));
    for part in parts {
        digest.update(part);
    }
    u32::try_from(digest.finalize()).unwrap_or_default()
}

/// All whole frames of a file, in order.
fn frames(seed: u32, content: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = 0;
    while at < content.len() {
        let Some(frame) = frame_at(seed, content, at) else {
            at += 1;
            continue;
        };
        at = frame.bytes.end;
        frames.push(frame);
    }
    frames
}

fn frame_at(seed: u32, content: &[u8], at: usize) -> Option<Frame> {
    let number =
        |from: usize| Some(u32::from_le_bytes(content.get(from..from + 4)?.try_into().ok()?));
    let kind = *content.get(at + 16)?;
    if !matches!(kind, KIND_RECORD | KIND_LZ4 | KIND_GAP) {
        return None;
    }
    let end = at.checked_add(HEADER_BYTES)?.checked_add(usize::try_from(number(at)?).ok()?)?;
    let rest = content.get(at + 8..end)?;
    if crc(seed, &[content.get(at..at + 4)?, rest]) != number(at + 4)? {
        return None;
    }
    let from = u64::from_le_bytes(content.get(at + 8..at + 16)?.try_into().ok()?);
    let payload = content.get(at + HEADER_BYTES..end)?;
    let count = match kind {
        KIND_LZ4 => varint(payload)?,
        // An error may name any of the records that were removed: one might be there.
        KIND_GAP => u64::from_le_bytes(payload.get(..8)?.try_into().ok()?),
        _ => 1,
    };
    Some(Frame { bytes: at..end, offsets: Span { from, to: from.saturating_add(count) } })
}

fn varint(bytes: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (byte, shift) in bytes.iter().zip((0..64).step_by(7)) {
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::paths::DATA_DIR;
    use super::super::tails::contents;
    use super::*;
    use crate::disk::SimDisk;
    use crate::entropy::SimEntropy;
    use merkql::broker::{Broker, BrokerConfig};
    use merkql::compression::Compression;
    use merkql::record::ProducerRecord;
    use std::sync::Arc;

    #[test]
    fn the_frames_that_the_log_wrote_are_found_and_only_changed_ones_are_harmed() {
        for compression in [Compression::None, Compression::Lz4] {
            let disk = SimDisk::new();
            let config = BrokerConfig {
                file_system: Arc::new(disk.process()),
                entropy: Arc::new(SimEntropy::new(1)),
                compression,
                ..BrokerConfig::new(DATA_DIR)
            };
            let broker = Broker::open(config).unwrap();
            let record = || ProducerRecord::new("t", None, "v".repeat(30));
            Broker::producer(&broker).send_batch(&[record(), record(), record()]).unwrap();
            Broker::producer(&broker).send(&record()).unwrap();
            let before = contents(&disk);
            let path = before.keys().find(|path| path.contains("/topics/")).unwrap();
            let found = frames(seed(&before, path).unwrap(), &before[path]);
            assert_eq!(found.last().unwrap().offsets, Span { from: 3, to: 4 });
            let mut after = before[path].clone();
            after[found.last().unwrap().bytes.start + 20] ^= 1;
            let harmed = |after: Option<&[u8]>, spoiled: Option<Range<u64>>| {
                HarmedFile { path, after, spoiled }.records(&before).unwrap().1
            };
            assert_eq!(harmed(Some(&after), None), [NO_RECORD, Span { from: 3, to: 4 }]);
            assert_eq!(harmed(Some(&before[path]), None), [NO_RECORD]);
            assert_eq!(harmed(None, None), [Span { from: 0, to: 4 }]);
            let first = if compression == Compression::Lz4 { 3 } else { 1 };
            let spoiled = harmed(Some(&before[path]), Some(0..4));
            assert_eq!(spoiled, [Span { from: 0, to: first }]);
        }
    }
}

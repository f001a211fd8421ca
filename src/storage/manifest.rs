//! The manifest: the state of the log at its last checkpoint, in two slots.
//!
//! ```text
//! slot    0 magic u64 | 8 version u32 | 12 crc u32 | 16 checkpoint u64 | 24 length u64 | 32 content
//! content log id 16 bytes
//!         start: file u64, position u64, file length u64, generation u64, nonce u64, sequence u64
//!         next incarnation u64
//!         topics: count, then each: name blob | incarnation | settings | partitions: count, then each:
//!           log start | next offset | peaks at the next offset
//!           segments: count, then each: base offset | generation | length | greatest timestamp i64
//!             | creation i64 | delete horizon i64 | peaks at the base offset
//!         groups: count, then each: name blob | commits: count, then each: incarnation | partition | offset
//!         producers: count, then each: id u64 | next sequence | last use | sent: count, then each:
//!           sequence | timestamp i64 | placements: count, then each: incarnation | partition | base offset | records
//! ```
//!
//! Numbers without a type are varints, the rest little-endian. *Peaks* are the
//! roots of the perfect subtrees of a tree of that size, 32 bytes each, left to
//! right; the size says how many. The last segment is the one that is appended
//! to. The CRC-32C covers everything but itself; this front part and that rule
//! stay the same in every version, so that an unknown one can be told from damage.

use super::block::PAGE_BYTES;
use super::codec::{Decoded, Decoder, Encode, Malformed, crc32c};
use super::entry::{Commit, decode_list, partition_count};
use super::journal::JournalStart;
use super::producers::{ProducerState, Producers};
use super::settings::TopicSettings;
use crate::merkle::{CompactRange, Hash};
use std::collections::BTreeMap;

/// The manifest's format version.
pub(crate) const MANIFEST_VERSION: u32 = 1;
/// Bytes in front of a slot's content.
pub(crate) const SLOT_HEADER_BYTES: usize = 32;

const MAGIC: u64 = u64::from_le_bytes(*b"MqlState");
const CRC_AT: usize = 12;
const CRC_END: usize = 16;

/// The whole state at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Random, drawn when the log was created; seeds the checksums of its frames.
    pub(crate) log_id: [u8; 16],
    pub(crate) start: JournalStart,
    pub(crate) next_incarnation: u64,
    pub(crate) topics: Vec<TopicState>,
    pub(crate) groups: BTreeMap<String, Vec<Commit>>,
    pub(crate) producers: Producers,
}

/// A topic in the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicState {
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    pub(crate) settings: TopicSettings,
    pub(crate) partitions: Vec<PartitionState>,
}

/// A partition in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PartitionState {
    pub(crate) log_start: u64,
    /// The tree at the log's end; its size is the next offset.
    pub(crate) range: CompactRange,
    pub(crate) segments: Vec<SegmentState>,
}

impl PartitionState {
    pub(crate) fn next_offset(&self) -> u64 {
        self.range.size()
    }
}

/// The delete horizon of a segment in which compaction has met no tombstone.
pub(crate) const NO_HORIZON_NS: i64 = i64::MAX;

/// A segment in the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentState {
    pub(crate) generation: u64,
    pub(crate) len: u64,
    pub(crate) timestamp_max_ns: i64,
    /// When it was begun, by the wall clock.
    pub(crate) created_ns: i64,
    /// Compaction drops tombstones from it once the wall clock is here;
    /// [`NO_HORIZON_NS`] if no compaction has met one in it.
    pub(crate) delete_horizon_ns: i64,
    /// The tree at the segment's base offset, which is its size.
    pub(crate) base_range: CompactRange,
}

/// What a slot's bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SlotContent {
    /// Torn, damaged, or never written.
    Invalid,
    /// Whole, but of a version that this code cannot read.
    UnknownVersion(u32),
    /// The state, and the number of the checkpoint that wrote it.
    Valid(u64, Box<Manifest>),
}

impl Manifest {
    /// Whether this is the state that a log is created with.
    pub(crate) fn is_initial(&self) -> bool {
        let JournalStart { file, position, generation, sequence, .. } = self.start;
        (file, position, generation, sequence) == (1, 0, 1, 1)
            && self.next_incarnation == 1
            && self.topics.is_empty()
            && self.groups.is_empty()
            && self.producers == Producers::default()
    }

    /// The bytes of a slot.
    pub(crate) fn encode_slot(&self, checkpoint: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u64(MAGIC);
        bytes.put_u32(MANIFEST_VERSION);
        bytes.put_u32(0);
        bytes.put_u64(checkpoint);
        bytes.put_u64(0);
        debug_assert_eq!(bytes.len(), SLOT_HEADER_BYTES);
        self.encode(&mut bytes);
        let len = (bytes.len() - SLOT_HEADER_BYTES) as u64;
        bytes[24..SLOT_HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
        let crc = crc32c(0, &[&bytes[..CRC_AT], &bytes[CRC_END..]]);
        bytes[CRC_AT..CRC_END].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The length of the slot that begins so, by its own account.
    pub(crate) fn slot_len(front: &[u8]) -> Option<u64> {
        let len = Decoder::new(front.get(24..)?).u64("a length").ok()?;
        len.checked_add(SLOT_HEADER_BYTES as u64)
    }

    /// Reads a slot; bytes behind the content, left by a longer one, don't matter.
    pub(crate) fn decode_slot(bytes: &[u8]) -> SlotContent {
        let content = slot_parts(bytes).and_then(|(version, checkpoint, content)| {
            if version != MANIFEST_VERSION {
                return Some(SlotContent::UnknownVersion(version));
            }
            let manifest = Self::decode(content).ok()?;
            Some(SlotContent::Valid(checkpoint, Box::new(manifest)))
        });
        content.unwrap_or(SlotContent::Invalid)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.log_id);
        let JournalStart { file, position, file_len, generation, nonce, sequence } = self.start;
        for number in [file, position, file_len, generation, nonce, sequence, self.next_incarnation]
        {
            out.put_u64(number);
        }
        out.put_varint(self.topics.len() as u64);
        self.topics.iter().for_each(|topic| topic.encode(out));
        out.put_varint(self.groups.len() as u64);
        for (group, commits) in &self.groups {
            out.put_blob(group.as_bytes());
            out.put_varint(commits.len() as u64);
            for commit in commits {
                commit.encode(out);
            }
        }
        self.producers.encode(out);
    }

    fn decode(content: &[u8]) -> Decoded<Self> {
        let mut input = Decoder::new(content);
        let manifest = Self {
            log_id: input.array("a log id")?,
            start: JournalStart {
                file: input.fixed_counter("a file number")?,
                position: input.fixed_number("a position")?,
                file_len: input.fixed_number("a length")?,
                generation: input.fixed_counter("a generation")?,
                nonce: input.u64("a nonce")?,
                sequence: input.fixed_counter("a sequence")?,
            },
            next_incarnation: input.fixed_counter("an incarnation")?,
            topics: decode_list(&mut input, 4, TopicState::decode)?,
            groups: decode_list(&mut input, 2, |input| {
                let group = input.text("a group id")?.to_owned();
                Ok((group, decode_list(input, 3, Commit::decode)?))
            })?
            .into_iter()
            .collect(),
            producers: Producers::decode(&mut input)?,
        };
        input.finish()?;
        let JournalStart { position, file_len, .. } = manifest.start;
        if !position.is_multiple_of(PAGE_BYTES) || position > file_len {
            return Err(Malformed { expected: "a place in the journal", position: 0 });
        }
        Ok(manifest)
    }
}

/// Version, checkpoint and content of a slot whose checksum holds.
fn slot_parts(bytes: &[u8]) -> Option<(u32, u64, &[u8])> {
    let mut input = Decoder::new(bytes);
    let magic = input.u64("magic").ok()?;
    let version = input.u32("version").ok()?;
    let crc = input.u32("crc").ok()?;
    let checkpoint = input.u64("checkpoint").ok()?;
    let len = usize::try_from(input.u64("length").ok()?).ok()?;
    let content = input.bytes(len, "content").ok()?;
    let end = input.position();
    let holds = crc32c(0, &[bytes.get(..CRC_AT)?, bytes.get(CRC_END..end)?]) == crc;
    (magic == MAGIC && holds).then_some((version, checkpoint, content))
}

impl TopicState {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_blob(self.name.as_bytes());
        out.put_varint(self.incarnation);
        self.settings.encode(out);
        out.put_varint(self.partitions.len() as u64);
        self.partitions.iter().for_each(|partition| partition.encode(out));
    }

    fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        let name = input.text("a topic name")?.to_owned();
        let incarnation = input.counter("an incarnation")?;
        let settings = TopicSettings::decode(input)?;
        let count = partition_count(input)?;
        let partitions =
            (0..count).map(|_| PartitionState::decode(input)).collect::<Decoded<_>>()?;
        Ok(Self { name, incarnation, settings, partitions })
    }
}

impl PartitionState {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.log_start);
        put_range(out, &self.range);
        out.put_varint(self.segments.len() as u64);
        for segment in &self.segments {
            put_range(out, &segment.base_range);
            out.put_varint(segment.generation);
            out.put_varint(segment.len);
            out.put_i64(segment.timestamp_max_ns);
            out.put_i64(segment.created_ns);
            out.put_i64(segment.delete_horizon_ns);
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        let log_start = input.varint("an offset")?;
        let range = range(input)?;
        let segments = decode_list(input, 27, |input| {
            Ok(SegmentState {
                base_range: self::range(input)?,
                generation: input.counter("a generation")?,
                len: input.number("a length")?,
                timestamp_max_ns: input.i64("a timestamp")?,
                created_ns: input.i64("a time")?,
                delete_horizon_ns: input.i64("a time")?,
            })
        })?;
        let bases = segments.iter().map(|segment: &SegmentState| segment.base_range.size());
        let ordered = bases.clone().zip(bases.skip(1)).all(|(base, next)| base < next);
        let last_base = segments.last().map_or(0, |segment| segment.base_range.size());
        if !ordered || last_base > range.size() || log_start > range.size() {
            return Err(input.malformed("offsets in order"));
        }
        Ok(Self { log_start, range, segments })
    }
}

fn put_range(out: &mut Vec<u8>, range: &CompactRange) {
    out.put_varint(range.size());
    for peak in range.peaks() {
        out.extend_from_slice(&peak.0);
    }
}

fn range(input: &mut Decoder<'_>) -> Decoded<CompactRange> {
    let size = input.varint("an offset")?;
    let peaks = (0..size.count_ones())
        .map(|_| input.array("a hash").map(Hash))
        .collect::<Decoded<Vec<_>>>()?;
    CompactRange::from_parts(size, peaks).map_err(|_| input.malformed("a possible tree size"))
}

impl Producers {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.iter().len() as u64);
        for (id, state) in self.iter() {
            out.put_u64(*id);
            state.encode(out);
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        let states = decode_list(input, 11, |input| {
            Ok((input.u64("a producer id")?, ProducerState::decode(input)?))
        })?;
        Ok(states.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash_of;

    fn range(size: u8) -> CompactRange {
        let mut range = CompactRange::new();
        (0..size).for_each(|leaf| range.push(leaf_hash_of(&[leaf]), &mut |_| {}));
        range
    }

    fn decoded(log_start: u64, bases: &[u8]) -> Decoded<PartitionState> {
        let segment = |base: &u8| SegmentState {
            generation: 1,
            len: 100,
            timestamp_max_ns: 0,
            created_ns: 0,
            delete_horizon_ns: NO_HORIZON_NS,
            base_range: range(*base),
        };
        let segments = bases.iter().map(segment).collect();
        let mut bytes = Vec::new();
        PartitionState { log_start, range: range(5), segments }.encode(&mut bytes);
        PartitionState::decode(&mut Decoder::new(&bytes))
    }

    #[test]
    fn a_partition_whose_offsets_are_not_in_order_is_malformed() {
        assert!(decoded(5, &[0, 3, 5]).is_ok());
        assert!(decoded(6, &[0, 3, 5]).is_err(), "it starts behind its end");
        assert!(decoded(0, &[0, 3, 6]).is_err(), "a segment begins behind its end");
        assert!(decoded(0, &[3, 0]).is_err(), "segments change places");
        assert!(decoded(0, &[3, 3]).is_err(), "two segments begin at one offset");
    }
}

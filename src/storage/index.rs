//! The sparse index of a segment: from an offset, or a time, to a place to start
//! reading.
//!
//! ```text
//! 0 magic u64 | 8 version u32 | 12 crc u32 | 16 base offset u64 | 24 generation u64
//! 32 covered length u64 | 40 count u64 | 48 count times:
//!   offset u64, position u64, greatest timestamp of all records before it i64 (ns; none: the least)
//! ```
//!
//! Little-endian; the CRC-32C covers everything but itself and is seeded like
//! the segment's frames. The file is a function of the segment's first `covered
//! length` bytes: missing, stale or damaged, it is ignored, and the segment is
//! looked through instead. What a running log appends is indexed in memory, and
//! written when the segment is sealed and on a clean close. Timestamps need not
//! ascend, but the greatest so far does: the first record at or past a time stands
//! behind the last point that has only earlier ones before it. Behind damage, where
//! nobody knows what was there, that is the greatest possible time.

use super::codec::{Decoded, Decoder, Encode, crc32c};

const MAGIC: u64 = u64::from_le_bytes(*b"MqlIndex");
const VERSION: u32 = 2;
const POINT_BYTES: usize = 24;
const CRC_AT: usize = 12;
const CRC_END: usize = 16;

/// A frame begins here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexPoint {
    /// The offset of its first record.
    pub(crate) offset: u64,
    /// Its position in the segment.
    pub(crate) position: u64,
    /// The greatest timestamp of all records of the segment before it.
    pub(crate) timestamp_before_ns: i64,
}

/// What an index file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IndexFile {
    pub(crate) base_offset: u64,
    pub(crate) generation: u64,
    /// How many bytes of the segment the points cover.
    pub(crate) covered_len: u64,
    pub(crate) points: Vec<IndexPoint>,
}

impl IndexFile {
    pub(crate) fn encode(&self, seed: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48 + self.points.len() * POINT_BYTES);
        bytes.put_u64(MAGIC);
        bytes.put_u32(VERSION);
        bytes.put_u32(0);
        bytes.put_u64(self.base_offset);
        bytes.put_u64(self.generation);
        bytes.put_u64(self.covered_len);
        bytes.put_u64(self.points.len() as u64);
        for point in &self.points {
            bytes.put_u64(point.offset);
            bytes.put_u64(point.position);
            bytes.put_i64(point.timestamp_before_ns);
        }
        let crc = crc32c(seed, &[&bytes[..CRC_AT], &bytes[CRC_END..]]);
        bytes[CRC_AT..CRC_END].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(seed: u32, bytes: &[u8]) -> Decoded<Self> {
        let mut input = Decoder::new(bytes);
        let known = input.u64("a magic")? == MAGIC && input.u32("a version")? == VERSION;
        let crc = input.u32("a checksum")?;
        let parts = bytes.get(..CRC_AT).zip(bytes.get(CRC_END..));
        let holds = parts.is_some_and(|(front, rest)| crc32c(seed, &[front, rest]) == crc);
        if !known || !holds {
            return Err(input.malformed("an index of this version whose checksum holds"));
        }
        let base_offset = input.u64("an offset")?;
        let generation = input.u64("a generation")?;
        let covered_len = input.u64("a length")?;
        let count = input.u64("a count")?;
        if count != (input.remaining() / POINT_BYTES) as u64 {
            return Err(input.malformed("as many points as counted"));
        }
        let mut points = Vec::with_capacity(input.remaining() / POINT_BYTES);
        for _ in 0..count {
            points.push(IndexPoint {
                offset: input.fixed_number("an offset")?,
                position: input.fixed_number("a position")?,
                timestamp_before_ns: input.i64("a timestamp")?,
            });
        }
        let ascend = |pair: &[IndexPoint]| matches!(pair, [a, b] if a.offset < b.offset && a.position < b.position);
        if !points.windows(2).all(ascend) {
            return Err(input.malformed("points in order"));
        }
        input.finish()?;
        Ok(Self { base_offset, generation, covered_len, points })
    }
}

/// Chooses which frames get a point: the first, and then the first after every
/// `interval_bytes`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PointChooser {
    interval_bytes: u64,
    last: Option<u64>,
}

impl PointChooser {
    pub(crate) fn new(interval_bytes: u64, last: Option<u64>) -> Self {
        Self { interval_bytes, last }
    }

    pub(crate) fn wants(&mut self, position: u64) -> bool {
        let wanted = self.last.is_none_or(|last| position >= last + self.interval_bytes);
        if wanted {
            self.last = Some(position);
        }
        wanted
    }
}

/// The points of a segment, as far as they are in memory.
#[derive(Debug)]
pub(crate) struct SparseIndex {
    /// The segment's length when it was opened: points below it are in the
    /// index file, or must be found again.
    opened_len: u64,
    /// Those points, once loaded.
    head: Option<Vec<IndexPoint>>,
    /// Points of what was appended since.
    tail: Vec<IndexPoint>,
}

impl SparseIndex {
    /// Of a segment that had `opened_len` bytes when it was opened.
    pub(crate) fn new(opened_len: u64) -> Self {
        let head = (opened_len == 0).then(Vec::new);
        Self { opened_len, head, tail: Vec::new() }
    }

    pub(crate) fn opened_len(&self) -> u64 {
        self.opened_len
    }

    pub(crate) fn append(&mut self, points: &[IndexPoint]) {
        self.tail.extend_from_slice(points);
    }

    pub(crate) fn set_head(&mut self, points: Vec<IndexPoint>) {
        self.head = Some(points);
    }

    /// The last point at or before `offset`; `Err` if the head must be loaded
    /// to tell.
    pub(crate) fn floor(&self, offset: u64) -> Result<Option<IndexPoint>, NotLoaded> {
        let in_tail = floor(&self.tail, offset);
        match (&self.head, in_tail) {
            (_, Some(point)) => Ok(Some(point)),
            (Some(head), None) => Ok(floor(head, offset)),
            (None, None) => Err(NotLoaded),
        }
    }

    /// The last point that has only records from before `timestamp_ns` in front
    /// of it; `Err` if the head must be loaded to tell.
    pub(crate) fn before_time(&self, timestamp_ns: i64) -> Result<Option<IndexPoint>, NotLoaded> {
        let in_tail = before_time(&self.tail, timestamp_ns);
        match (&self.head, in_tail) {
            (_, Some(point)) => Ok(Some(point)),
            (Some(head), None) => Ok(before_time(head, timestamp_ns)),
            (None, None) => Err(NotLoaded),
        }
    }

    pub(crate) fn last_position(&self) -> Option<u64> {
        self.tail.last().or(self.head.as_ref().and_then(|head| head.last())).map(|p| p.position)
    }

    /// All points, if they are known.
    pub(crate) fn all(&self) -> Option<Vec<IndexPoint>> {
        let head = self.head.as_ref()?;
        let mut timestamp_before_ns = i64::MIN;
        let points = head.iter().chain(&self.tail).map(|point| {
            // What is unknown behind damage stays so in the points that follow.
            timestamp_before_ns = timestamp_before_ns.max(point.timestamp_before_ns);
            IndexPoint { timestamp_before_ns, ..*point }
        });
        Some(points.collect())
    }
}

/// The points of the segment's older part are not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotLoaded;

fn floor(points: &[IndexPoint], offset: u64) -> Option<IndexPoint> {
    let above = points.partition_point(|point| point.offset <= offset);
    above.checked_sub(1).and_then(|index| points.get(index)).copied()
}

fn before_time(points: &[IndexPoint], timestamp_ns: i64) -> Option<IndexPoint> {
    let first = points.partition_point(|point| point.timestamp_before_ns < timestamp_ns);
    first.checked_sub(1).and_then(|index| points.get(index)).copied()
}

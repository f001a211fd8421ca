//! The frame: how records stand in a partition's log, and in the journal.
//!
//! ```text
//! frame    0        4        8                16     17
//!          | length | crc    | offset         | kind | payload ...    |
//!          | u32    | u32    | u64            | u8   | `length` bytes |
//!
//! payload  kind 1, one record:   body
//!          kind 2, LZ4 block:    count varint | raw length varint | LZ4 of:
//!                                  count times: offset delta varint | length varint | body
//!                                  the deltas are 0, 1, 2, ...: offsets are dense
//!          kind 3, gap:          what removed records have left behind ([`gap`](super::gap))
//! ```
//!
//! A gap stands only where compaction put it, never in the journal. [`body`](super::body) is the record itself. Numbers are little-endian. The CRC-32C covers length, offset, kind and
//! payload and is seeded by [`frame_seed`]: log, topic incarnation, partition.
//! The offset stands in the frame itself, so a valid frame in the wrong place
//! betrays itself, and a frame can be found again behind a damaged one. Kind 0
//! is invalid, so zeroes are never a frame.

use super::body::BODY_BYTES_MIN;
pub(crate) use super::body::{Body, Headers};
use super::codec::{Decoded, Decoder, Encode, Malformed, crc32c};
use super::gap::{Gap, gap_payload};
use crate::merkle::{MAX_LEAVES, SubtreeRoots};

/// Bytes in front of a payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 17;
/// The longest payload that a reader accepts: the largest record, or LZ4 block
/// of records, that an option permits.
pub(crate) const PAYLOAD_BYTES_MAX: usize = (64 << 20) + 4096;
const KIND_RECORD: u8 = 1;
const KIND_LZ4: u8 = 2;
const KIND_GAP: u8 = 3;

/// An upper bound of how many records can stand in `bytes` of frames: LZ4
/// expands by at most 255, and a record takes at least 11 bytes inside a block.
pub(crate) fn records_max(bytes: u64) -> u64 {
    bytes.saturating_mul(255 / 11)
}

/// What the checksums of one partition's frames start from.
pub(crate) fn frame_seed(log_id: &[u8; 16], incarnation: u64, partition: u32) -> u32 {
    crc32c(0, &[log_id, &incarnation.to_le_bytes(), &partition.to_le_bytes()])
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload_len: usize,
    pub(crate) crc: u32,
    pub(crate) offset: u64,
    pub(crate) kind: u8,
}

impl FrameHeader {
    /// The header at the front of `bytes`, if it could be one: its kind is
    /// known and its length is within bounds.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(bytes);
        let header = Self {
            payload_len: input.u32("length").ok()? as usize,
            crc: input.u32("crc").ok()?,
            offset: input.u64("offset").ok()?,
            kind: input.u8("kind").ok()?,
        };
        let possible = matches!(header.kind, KIND_RECORD | KIND_LZ4 | KIND_GAP)
            && (BODY_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&header.payload_len)
            && header.offset < MAX_LEAVES;
        possible.then_some(header)
    }

    pub(crate) fn frame_len(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload_len
    }
}

/// A whole frame whose checksum holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) offset: u64,
    kind: u8,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the front of `bytes`, if all of it is there and its
    /// checksum holds.
    pub(crate) fn parse(seed: u32, bytes: &'a [u8]) -> Option<Self> {
        let header = FrameHeader::parse(bytes)?;
        let length = bytes.get(..4)?;
        let rest = bytes.get(8..header.frame_len())?;
        let holds = crc32c(seed, &[length, rest]) == header.crc;
        if holds { Self::of_checked(bytes) } else { None }
    }

    /// The frame at the front of bytes that were found to hold one.
    pub(crate) fn of_checked(bytes: &'a [u8]) -> Option<Self> {
        let header = FrameHeader::parse(bytes)?;
        let payload = bytes.get(FRAME_HEADER_BYTES..header.frame_len())?;
        Some(Self { offset: header.offset, kind: header.kind, payload })
    }

    pub(crate) fn frame_len(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload.len()
    }

    /// Appends the frame as it stands in the log.
    pub(crate) fn append_to(&self, seed: u32, out: &mut Vec<u8>) {
        encode_frame(seed, self.offset, self.kind, self.payload, out);
    }

    /// Whether the frame stands for records that were removed.
    pub(crate) fn is_gap(&self) -> bool {
        self.kind == KIND_GAP
    }

    /// The gap, if the frame is one.
    pub(crate) fn gap(&self) -> Decoded<Option<Gap<'a>>> {
        self.is_gap().then(|| Gap::decode(self.offset, self.payload)).transpose()
    }

    /// Calls `visit` with the offset and the body of each record, in order,
    /// until one returns `false`. A gap has none.
    pub(crate) fn records(
        &self,
        mut visit: impl FnMut(u64, &[u8], Body<'_>) -> bool,
    ) -> Decoded<()> {
        if self.is_gap() {
            return Ok(());
        }
        if self.kind == KIND_RECORD {
            visit(self.offset, self.payload, Body::decode(self.payload)?);
            return Ok(());
        }
        let (count, raw) = self.decompress()?;
        let mut input = Decoder::new(&raw);
        for nth in 0..count {
            let delta = input.varint("an offset delta")?;
            let offset = self.offset.checked_add(delta).filter(|offset| *offset < MAX_LEAVES);
            let offset =
                offset.filter(|_| delta == nth).ok_or(input.malformed("the next offset"))?;
            let body = input.blob("a record")?;
            if !visit(offset, body, Body::decode(body)?) {
                return Ok(());
            }
        }
        input.finish()
    }

    fn decompress(&self) -> Decoded<(u64, Vec<u8>)> {
        let mut input = Decoder::new(self.payload);
        let count = input.varint("a count of records")?;
        let raw_len = input.varint("an uncompressed length")?;
        let compressed = input.bytes(input.remaining(), "an LZ4 block")?;
        // LZ4 cannot expand by more than 255, so a length that lies costs little.
        let raw_len = usize::try_from(raw_len)
            .ok()
            .filter(|len| *len <= PAYLOAD_BYTES_MAX && *len / 256 <= compressed.len())
            .ok_or(input.malformed("a possible uncompressed length"))?;
        let raw = lz4_flex::block::decompress(compressed, raw_len)
            .ok()
            .filter(|raw| raw.len() == raw_len)
            .ok_or(input.malformed("a valid LZ4 block"))?;
        Ok((count, raw))
    }
}

/// A frame that still lacks its offset, because only the commit knows it.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    kind: u8,
    bytes: Vec<u8>,
    records: u64,
}

impl Payload {
    /// One record, uncompressed.
    pub(crate) fn record(body: &[u8]) -> Self {
        Self { kind: KIND_RECORD, bytes: body.to_vec(), records: 1 }
    }

    /// Records with dense offsets as one LZ4 block, or `None` where that would
    /// save nothing.
    pub(crate) fn lz4<'b>(bodies: impl Iterator<Item = &'b [u8]>) -> Option<Self> {
        let mut raw = Vec::new();
        let mut records = 0;
        let mut plain_bytes = 0;
        for (delta, body) in bodies.enumerate() {
            raw.put_varint(delta as u64);
            raw.put_blob(body);
            records += 1;
            plain_bytes += FRAME_HEADER_BYTES + body.len();
        }
        let mut bytes = Vec::new();
        bytes.put_varint(records);
        bytes.put_varint(raw.len() as u64);
        bytes.extend_from_slice(&lz4_flex::block::compress(&raw));
        let saves = FRAME_HEADER_BYTES + bytes.len() < plain_bytes && bytes.len() >= BODY_BYTES_MIN;
        saves.then_some(Self { kind: KIND_LZ4, bytes, records })
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the frame that holds this payload at `offset`.
    pub(crate) fn encode_frame(&self, seed: u32, offset: u64, out: &mut Vec<u8>) {
        encode_frame(seed, offset, self.kind, &self.bytes, out);
    }
}

/// Appends a frame of one uncompressed record.
pub(crate) fn encode_record_frame(seed: u32, offset: u64, body: &[u8], out: &mut Vec<u8>) {
    encode_frame(seed, offset, KIND_RECORD, body, out);
}

/// Appends a frame that stands for removed records.
pub(crate) fn encode_gap_frame(seed: u32, removed: &SubtreeRoots, out: &mut Vec<u8>) {
    encode_frame(seed, removed.start(), KIND_GAP, &gap_payload(removed), out);
}

fn encode_frame(seed: u32, offset: u64, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!((BODY_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&payload.len()));
    #[expect(clippy::cast_possible_truncation, reason = "the payload is bounded by its maker")]
    let length = (payload.len() as u32).to_le_bytes();
    let offset = offset.to_le_bytes();
    let crc = crc32c(seed, &[&length, &offset, &[kind], payload]);
    out.extend_from_slice(&length);
    out.put_u32(crc);
    out.extend_from_slice(&offset);
    out.push(kind);
    out.extend_from_slice(payload);
}

impl Malformed {
    /// As the reason in an error message.
    pub(crate) fn reason(&self) -> String {
        format!("expected {} at byte {}", self.expected, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: &'a [u8]) -> Body<'a> {
        Body { timestamp_ns: -7, key, value, headers: Headers::new(headers).unwrap() }
    }

    #[test]
    fn a_frame_fails_in_another_place_and_with_any_bit_flipped() {
        let mut payload = Vec::new();
        body(Some(b"k"), Some(b"value"), &[]).encode(&mut payload);
        let seed = frame_seed(&[7; 16], 3, 1);
        let mut frame = Vec::new();
        encode_record_frame(seed, 41, &payload, &mut frame);
        assert_eq!(Frame::parse(seed, &frame).unwrap().offset, 41);
        for elsewhere in
            [frame_seed(&[8; 16], 3, 1), frame_seed(&[7; 16], 4, 1), frame_seed(&[7; 16], 3, 0)]
        {
            assert!(Frame::parse(elsewhere, &frame).is_none());
        }
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::parse(seed, &flipped).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn an_lz4_frame_gives_back_its_records_at_dense_offsets() {
        let mut bodies = Vec::new();
        for _ in 0..100 {
            let mut bytes = Vec::new();
            body(None, Some(&[b'x'; 200]), &[]).encode(&mut bytes);
            bodies.push(bytes);
        }
        let payload = Payload::lz4(bodies.iter().map(Vec::as_slice)).unwrap();
        let mut frame = Vec::new();
        payload.encode_frame(9, 1000, &mut frame);
        let mut offsets = Vec::new();
        let parsed = Frame::parse(9, &frame).unwrap();
        let visited = parsed.records(|offset, bytes, _| {
            assert_eq!(bytes, bodies[offsets.len()]);
            offsets.push(offset);
            true
        });
        assert_eq!(visited, Ok(()));
        assert!(offsets.iter().copied().eq(1000..1100));
    }

    #[test]
    fn an_lz4_frame_whose_offsets_are_not_dense_is_malformed() {
        let mut record = Vec::new();
        body(None, Some(b"value"), &[]).encode(&mut record);
        for (deltas, good) in [([0, 1], 2), ([0, 0], 1), ([0, 2], 1), ([1, 2], 0)] {
            let mut raw = Vec::new();
            for delta in deltas {
                raw.put_varint(delta);
                raw.put_blob(&record);
            }
            let mut bytes = Vec::new();
            bytes.put_varint(2);
            bytes.put_varint(raw.len() as u64);
            bytes.extend_from_slice(&lz4_flex::block::compress(&raw));
            let mut frame = Vec::new();
            Payload { kind: KIND_LZ4, bytes, records: 2 }.encode_frame(9, 1000, &mut frame);
            let mut visited = 0;
            let decoded = Frame::parse(9, &frame).unwrap().records(|_, _, _| {
                visited += 1;
                true
            });
            assert_eq!((decoded.is_ok(), visited), (good == 2, good), "{deltas:?}");
        }
    }
}

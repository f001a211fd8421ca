//! The journal block: one group commit, and the unit of atomicity.
//!
//! ```text
//!  0 magic u64        8 version u32      12 crc u32
//! 16 generation u64  24 nonce u64        32 previous nonce u64
//! 40 sequence u64    48 file length u64  56 successor u64
//! 64 body length u32 68 entry count u32  72 body ...            | zeroes to a multiple of 4,096
//! ```
//!
//! Little-endian. A block starts on a multiple of [`PAGE_BYTES`], so that a
//! torn write of one cannot reach an earlier one even where a disk damages the
//! whole page it writes to.
//!
//! * **generation** counts the times that the journal began to write at the
//!   start of a file; its random **nonce** tells it from any other that ever had
//!   the number, and **previous nonce** chains it to the generation that holds
//!   the block before its first one.
//! * **sequence** counts blocks. Block n+1 is written only after block n was
//!   synced, so a valid block below a missing one is proof of damage.
//! * **file length** is that of the block's own file, **successor** the number
//!   of the file that continues it, or 0 while none is ready: a file that is
//!   short or gone is noticed.
//! * **crc** is CRC-32C over everything but itself, the padding included. It is
//!   seeded by the log's identity, the file's number, the block's position and
//!   the nonce: neither the image of a journal nor a made-up block inside a
//!   record's value can pass for one, because the log's identity is random and
//!   nothing at a place of its own choosing.

use super::codec::{COUNTER_MAX, Decoder, NUMBER_MAX, crc32c};

/// Blocks start on multiples of this.
pub(crate) const PAGE_BYTES: u64 = PAGE as u64;
/// The same, as the length of a slice.
pub(crate) const PAGE: usize = 4096;
/// Bytes in front of a block's body.
pub(crate) const BLOCK_HEADER_BYTES: usize = 72;
/// The longest body that a reader accepts.
pub(crate) const BODY_BYTES_MAX: usize = 128 << 20;
/// The journal's format version.
pub(crate) const JOURNAL_VERSION: u32 = 1;

const MAGIC: u64 = u64::from_le_bytes(*b"MqlBlock");
const CRC_AT: usize = 12;
const CRC_END: usize = 16;

const _: () = assert!(BLOCK_HEADER_BYTES < PAGE);

/// Where a block stands: part of what its checksum is seeded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) log_id: [u8; 16],
    pub(crate) file: u64,
    pub(crate) position: u64,
}

/// What a block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) generation: u64,
    pub(crate) nonce: u64,
    pub(crate) previous_nonce: u64,
    pub(crate) sequence: u64,
    pub(crate) file_len: u64,
    pub(crate) successor: u64,
    pub(crate) body_len: u32,
    pub(crate) entries: u32,
}

/// Why there is no block at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBlock {
    /// No header, or one that cannot be a block's.
    NoHeader,
    /// The format version is not this one's.
    Version(u32),
    /// The header could be a block's, but its bytes are not all as written.
    Torn(BlockHeader),
}

impl BlockHeader {
    /// The bytes that the block takes in its file.
    pub(crate) fn block_len(&self) -> u64 {
        block_len(self.body_len as usize)
    }

    /// Reads the header at the front of `bytes`, without its checksum.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, u32), NoBlock> {
        Self::decode(bytes).ok_or(NoBlock::NoHeader).and_then(|(header, version, crc)| {
            let version_known = version == JOURNAL_VERSION;
            version_known.then_some((header, crc)).ok_or(NoBlock::Version(version))
        })
    }

    fn decode(bytes: &[u8]) -> Option<(Self, u32, u32)> {
        let mut input = Decoder::new(bytes);
        let magic = input.u64("magic").ok()?;
        let version = input.u32("version").ok()?;
        let crc = input.u32("crc").ok()?;
        let header = Self {
            generation: input.u64("generation").ok()?,
            nonce: input.u64("nonce").ok()?,
            previous_nonce: input.u64("previous nonce").ok()?,
            sequence: input.u64("sequence").ok()?,
            file_len: input.u64("file length").ok()?,
            successor: input.u64("successor").ok()?,
            body_len: input.u32("body length").ok()?,
            entries: input.u32("entry count").ok()?,
        };
        let bounded = [header.generation, header.sequence, header.successor]
            .iter()
            .all(|number| *number <= COUNTER_MAX)
            && header.file_len <= NUMBER_MAX;
        // No version is 0: a block torn behind its magic stands before zeroes.
        let possible =
            magic == MAGIC && version != 0 && bounded && header.body_len as usize <= BODY_BYTES_MAX;
        possible.then_some((header, version, crc))
    }

    /// Whether `block`, header and padding included, is what was written.
    pub(crate) fn holds(&self, place: &BlockPlace, crc: u32, block: &[u8]) -> bool {
        let whole = block.len() as u64 == self.block_len();
        let parts = block.get(..CRC_AT).zip(block.get(CRC_END..));
        whole && parts.is_some_and(|(front, rest)| checksum(place, self.nonce, front, rest) == crc)
    }
}

/// The bytes that a block with such a body takes in its file.
pub(crate) fn block_len(body_len: usize) -> u64 {
    ((BLOCK_HEADER_BYTES + body_len) as u64).next_multiple_of(PAGE_BYTES)
}

/// A block under construction: its body grows behind the room for its header.
#[derive(Debug)]
pub(crate) struct BlockBuffer {
    bytes: Vec<u8>,
    entries: u32,
}

impl BlockBuffer {
    /// Memory beyond this is given back after use.
    const KEPT_BYTES: usize = 4 << 20;

    pub(crate) fn new() -> Self {
        let mut buffer = Self { bytes: Vec::new(), entries: 0 };
        buffer.clear();
        buffer
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(Self::KEPT_BYTES);
        self.bytes.resize(BLOCK_HEADER_BYTES, 0);
        self.entries = 0;
    }

    pub(crate) fn body_len(&self) -> usize {
        self.bytes.len() - BLOCK_HEADER_BYTES
    }

    pub(crate) fn entries(&self) -> u32 {
        self.entries
    }

    /// Adds one entry, which `encode` appends to the body.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.entries += 1;
    }

    /// Replaces the body by that of a block read earlier.
    pub(crate) fn set_body(&mut self, body: &[u8], entries: u32) {
        self.clear();
        self.bytes.extend_from_slice(body);
        self.entries = entries;
    }

    /// Fills in the header and the padding; the result is ready to be written.
    pub(crate) fn seal(&mut self, place: &BlockPlace, header: &BlockHeader) -> &[u8] {
        let mut front = Vec::with_capacity(BLOCK_HEADER_BYTES);
        front.extend_from_slice(&MAGIC.to_le_bytes());
        front.extend_from_slice(&JOURNAL_VERSION.to_le_bytes());
        front.extend_from_slice(&[0; CRC_END - CRC_AT]);
        let numbers = [
            header.generation,
            header.nonce,
            header.previous_nonce,
            header.sequence,
            header.file_len,
            header.successor,
        ];
        for number in numbers {
            front.extend_from_slice(&number.to_le_bytes());
        }
        front.extend_from_slice(&header.body_len.to_le_bytes());
        front.extend_from_slice(&header.entries.to_le_bytes());
        debug_assert_eq!(front.len(), BLOCK_HEADER_BYTES);

        let len = self.bytes.len().next_multiple_of(PAGE);
        self.bytes.resize(len, 0);
        self.bytes[..BLOCK_HEADER_BYTES].copy_from_slice(&front);
        let crc = checksum(place, header.nonce, &self.bytes[..CRC_AT], &self.bytes[CRC_END..]);
        self.bytes[CRC_AT..CRC_END].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}

fn checksum(place: &BlockPlace, nonce: u64, front: &[u8], rest: &[u8]) -> u32 {
    let BlockPlace { log_id, file, position } = place;
    let [file, position, nonce] = [*file, *position, nonce].map(u64::to_le_bytes);
    crc32c(0, &[log_id, &file, &position, &nonce, front, rest])
}

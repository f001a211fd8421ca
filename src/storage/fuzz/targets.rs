//! What is decoded: one target a format, with the work of a forger.

use crate::merkle::{CompactRange, ConsistencyProof, Proof};
use crate::record::BytesRecord;
use crate::storage::block::{BLOCK_HEADER_BYTES, BlockBuffer, BlockHeader, BlockPlace, PAGE};
use crate::storage::body::{Body, Headers};
use crate::storage::codec::{Decoder, crc32c};
use crate::storage::entry::Entry;
use crate::storage::frame::{FRAME_HEADER_BYTES, Frame};
use crate::storage::index::IndexFile;
use crate::storage::manifest::{Manifest, SLOT_HEADER_BYTES, SlotContent};
use crate::storage::settings::TopicSettings;

/// What frames and indexes are seeded with here.
pub(super) const SEED: u32 = 77;
/// Where blocks stand here.
pub(super) const PLACE: BlockPlace = BlockPlace { log_id: [7; 16], file: 3, position: 8192 };

/// A decoder, with what belongs to it.
pub(super) struct Target {
    /// Also the folder of its corpus.
    pub(super) name: &'static str,
    /// The bytes of what was decoded, written again; nothing if they are refused.
    pub(super) decode: fn(&[u8]) -> Option<Vec<u8>>,
    /// Makes lengths and checksum right.
    pub(super) seal: fn(&mut Vec<u8>),
    /// How many bytes of memory a byte may cost.
    pub(super) memory_factor: u64,
    /// Whether there is one way only to write a thing.
    pub(super) is_canonical: bool,
}

pub(super) const TARGETS: [Target; 10] = [
    // A partition of 3 bytes is one of 90 in memory, in a vector that doubles.
    target("slot", slot, |bytes| seal_slot(bytes), 128, false),
    // An entry of 2 bytes is one of 100 in memory.
    target("block", block, seal_block, 256, false),
    // LZ4 expands by 255 at most.
    target("frame", frame, |bytes| seal_frame(bytes), 300, true),
    target("body", body, |_| (), 64, true),
    target("headers", headers, |_| (), 64, true),
    target("index", index, seal_index, 4, true),
    target("settings", settings, |_| (), 4, false),
    target("proof", proof, |_| (), 4, true),
    target("consistency", consistency, |_| (), 4, true),
    target("record", record, |_| (), 64, true),
];

const fn target(
    name: &'static str,
    decode: fn(&[u8]) -> Option<Vec<u8>>,
    seal: fn(&mut Vec<u8>),
    memory_factor: u64,
    is_canonical: bool,
) -> Target {
    Target { name, decode, seal, memory_factor, is_canonical }
}

fn slot(bytes: &[u8]) -> Option<Vec<u8>> {
    match Manifest::decode_slot(bytes) {
        SlotContent::Valid(checkpoint, manifest) => Some(manifest.encode_slot(checkpoint)),
        SlotContent::Invalid | SlotContent::UnknownVersion(_) => None,
    }
}

fn seal_slot(bytes: &mut [u8]) {
    if bytes.len() >= SLOT_HEADER_BYTES {
        let len = (bytes.len() - SLOT_HEADER_BYTES) as u64;
        bytes[24..SLOT_HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
        put_crc(bytes, 12, 0);
    }
}

fn block(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, crc) = BlockHeader::parse(bytes).ok()?;
    if !header.holds(&PLACE, crc, bytes) {
        return None;
    }
    let body = bytes.get(BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + header.body_len as usize)?;
    let entries = Entry::decode_all(body, header.entries).ok()?;
    let mut block = BlockBuffer::new();
    for entry in &entries {
        block.push(|out| entry.encode(out));
    }
    let body_len = u32::try_from(block.body_len()).unwrap();
    let header = BlockHeader { body_len, entries: block.entries(), ..header };
    Some(block.seal(&PLACE, &header).to_vec())
}

fn seal_block(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(PAGE).max(PAGE), 0);
    // A body that the block has room for, whatever it says.
    let said = u32::from_le_bytes(bytes[64..68].try_into().unwrap()) as usize;
    let body_len = said.min(bytes.len() - BLOCK_HEADER_BYTES);
    bytes.truncate((BLOCK_HEADER_BYTES + body_len).next_multiple_of(PAGE));
    bytes[64..68].copy_from_slice(&u32::try_from(body_len).unwrap().to_le_bytes());
    let [file, position] = [PLACE.file, PLACE.position].map(u64::to_le_bytes);
    let parts = [&PLACE.log_id, &file[..], &position, &bytes[24..32], &bytes[..12], &bytes[16..]];
    let crc = crc32c(0, &parts);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

fn frame(bytes: &[u8]) -> Option<Vec<u8>> {
    let frame = Frame::parse(SEED, bytes)?;
    let mut next = frame.offset;
    let visited = frame.records(|offset, _, _| {
        assert_eq!(offset, next, "offsets are dense");
        next += 1;
        true
    });
    visited.ok()?;
    if let Some(gap) = frame.gap().ok()? {
        assert!(gap.end > frame.offset && gap.subtrees().count() > 0);
    }
    let mut again = Vec::new();
    frame.append_to(SEED, &mut again);
    // What follows a frame is none of its business.
    again.extend_from_slice(bytes.get(frame.frame_len()..)?);
    Some(again)
}

fn seal_frame(bytes: &mut [u8]) {
    if bytes.len() >= FRAME_HEADER_BYTES {
        let len = u32::try_from(bytes.len() - FRAME_HEADER_BYTES).unwrap();
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        // One of the kinds that there are.
        bytes[16] = bytes[16] % 3 + 1;
        put_crc(bytes, 4, SEED);
    }
}

fn body(bytes: &[u8]) -> Option<Vec<u8>> {
    let body = Body::decode(bytes).ok()?;
    let mut again = Vec::new();
    body.encode(&mut again);
    assert!(again.len() <= body.encoded_len_max());
    Some(again)
}

fn headers(bytes: &[u8]) -> Option<Vec<u8>> {
    let headers = Headers::new(bytes).ok()?.decode().ok()?;
    let mut again = Vec::new();
    let _: Headers<'_> = Headers::encode(headers.into_iter(), &mut again);
    Some(again)
}

fn index(bytes: &[u8]) -> Option<Vec<u8>> {
    IndexFile::decode(SEED, bytes).ok().map(|index| index.encode(SEED))
}

fn seal_index(bytes: &mut Vec<u8>) {
    if let Some(points) = bytes.len().checked_sub(48) {
        let count = (points / 24) as u64;
        bytes.truncate(48 + points / 24 * 24);
        bytes[40..48].copy_from_slice(&count.to_le_bytes());
        put_crc(bytes, 12, SEED);
    }
}

fn settings(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut input = Decoder::new(bytes);
    let settings = TopicSettings::decode(&mut input).ok()?;
    input.finish().ok()?;
    let mut again = Vec::new();
    settings.encode(&mut again);
    Some(again)
}

fn proof(bytes: &[u8]) -> Option<Vec<u8>> {
    let proof = Proof::from_bytes(bytes).ok()?;
    let _: bool = proof.is_valid();
    Some(proof.to_bytes())
}

fn consistency(bytes: &[u8]) -> Option<Vec<u8>> {
    let proof = ConsistencyProof::from_bytes(bytes).ok()?;
    let _: bool = proof.is_valid();
    let peaks = proof.path.clone();
    // Sizes and peaks that need not fit.
    drop(CompactRange::from_parts(proof.old_size, peaks));
    Some(proof.to_bytes())
}

fn record(bytes: &[u8]) -> Option<Vec<u8>> {
    BytesRecord::deserialize(bytes).ok().map(|record| record.serialize())
}

fn put_crc(bytes: &mut [u8], at: usize, seed: u32) {
    let crc = crc32c(seed, &[&bytes[..at], &bytes[at + 4..]]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

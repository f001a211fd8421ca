//! The work of a forger: bytes that somebody made up, under checksums that hold. What those
//! are seeded with, everybody can read in a slot.

use std::fs;
use std::path::Path;

/// Where a block's body begins.
const BLOCK_HEADER: usize = 72;
const PAGE: usize = 4096;

/// CRC-32C that starts from `seed`, as the log's checksums do.
fn crc32c(seed: u32, parts: &[&[u8]]) -> u32 {
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    let mut digest = crc_fast::Digest::new_with_init_state(algorithm, u64::from(seed));
    for part in parts {
        digest.update(part);
    }
    u32::try_from(digest.finalize()).unwrap()
}

/// The log's identity.
fn log_id(dir: &Path) -> Vec<u8> {
    fs::read(dir.join(".merkql/manifest.a")).unwrap()[32..48].to_vec()
}

/// Makes the checksum right that stands at `at`: it covers all of `bytes` but itself, and
/// what is thought `before` them.
fn seal(bytes: &mut [u8], at: usize, seed: u32, before: &[u8]) {
    let crc = crc32c(seed, &[before, &bytes[..at], &bytes[at + 4..]]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Makes the checksum of a frame of the log's first partition right.
pub(crate) fn seal_frame(dir: &Path, frame: &mut [u8]) {
    seal_frame_of(dir, 0, frame);
}

/// Makes the checksum of a frame right that is one of this partition of the log's first topic.
pub(crate) fn seal_frame_of(dir: &Path, partition: u32, frame: &mut [u8]) {
    let seed = crc32c(0, &[&log_id(dir), &1_u64.to_le_bytes(), &partition.to_le_bytes()]);
    seal(frame, 4, seed, &[]);
}

/// Puts `bytes` at `start` in a segment of the log's first partition, and makes the checksum
/// of the frame around it right.
pub(crate) fn forge_frame(dir: &Path, segment: &Path, start: usize, bytes: &[u8]) {
    let mut content = fs::read(segment).unwrap();
    let frame_len =
        |at: usize| 17 + u32::from_le_bytes(content[at..at + 4].try_into().unwrap()) as usize;
    let (mut frame, mut end) = (0, frame_len(0));
    while end <= start {
        (frame, end) = (end, end + frame_len(end));
    }
    content[start..start + bytes.len()].copy_from_slice(bytes);
    seal_frame(dir, &mut content[frame..end]);
    fs::write(segment, content).unwrap();
}

/// Makes the checksum of a slot right.
pub(crate) fn seal_slot(slot: &mut [u8]) {
    let len = u64::from_le_bytes(slot[24..32].try_into().unwrap());
    seal(&mut slot[..32 + usize::try_from(len).unwrap()], 12, 0, &[]);
}

/// Changes the first block of the journal's that `is_wanted` by its body, and makes its
/// checksum right.
pub(crate) fn forge_block(
    dir: &Path,
    is_wanted: impl Fn(&[u8]) -> bool,
    forge: impl FnOnce(&mut [u8]),
) {
    for path in super::files(dir, ".wal") {
        let mut content = fs::read(&path).unwrap();
        for position in (0..content.len()).step_by(PAGE) {
            if !content[position..].starts_with(b"MqlBlock") {
                continue;
            }
            let len_at = position + 64;
            let len = u32::from_le_bytes(content[len_at..len_at + 4].try_into().unwrap());
            let body_end = BLOCK_HEADER + usize::try_from(len).unwrap();
            let block = &mut content[position..position + body_end.next_multiple_of(PAGE)];
            if !is_wanted(&block[BLOCK_HEADER..body_end]) {
                continue;
            }
            forge(&mut block[BLOCK_HEADER..body_end]);
            let file: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let place = [file.to_le_bytes(), (position as u64).to_le_bytes()].concat();
            let before = [&log_id(dir), &place, &block[24..32]].concat();
            seal(block, 12, 0, &before);
            fs::write(&path, content).unwrap();
            return;
        }
    }
    panic!("no block is the wanted one");
}

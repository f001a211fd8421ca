//! The log's identity, when both manifest slots are lost.
//!
//! It seeds the checksum of every frame, and CRC-32C can be computed backwards:
//!
//! ```text
//! 0 ── log id ──► s ── incarnation, partition ──► seed ── frame ──► its checksum
//!                 ◄──────────────────────────────────────────────── backwards
//! ```
//!
//! Nothing but `s` matters to any checksum. So where a slot does not show the id any
//! more, one frame tells `s`, and twelve random bytes with four chosen ones lead there.
//! An id is believed only if frames, or blocks, hold under it.

use crate::storage::codec::crc32c;
use crate::storage::entry::PartitionKey;
use crate::storage::frame::{FRAME_HEADER_BYTES, frame_seed};

/// The polynomial of CRC-32C, its bits turned round.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The state of the checksum before `bytes`, from the one behind them.
fn before(mut state: u32, bytes: &[u8]) -> u32 {
    for byte in bytes.iter().rev() {
        for _ in 0..8 {
            // The top bit tells whether the polynomial was added.
            let added = state >> 31 == 1;
            state = if added { (state ^ POLYNOMIAL) << 1 | 1 } else { state << 1 };
        }
        state ^= u32::from(*byte);
    }
    state
}

/// What a checksum is in the middle of its computation.
fn state_of(checksum: u32) -> u32 {
    !checksum
}

/// The state behind the log's id that the whole frame `bytes` of a partition was
/// written under. Any bytes give one.
pub(super) fn state_behind_id(key: PartitionKey, frame: &[u8]) -> Option<u32> {
    let (length, rest) = frame.split_at_checked(4)?;
    let (checksum, rest) = rest.split_at_checked(4)?;
    let checksum = u32::from_le_bytes(checksum.try_into().ok()?);
    if frame.len() < FRAME_HEADER_BYTES {
        return None;
    }
    let seed = before(before(state_of(checksum), rest), length);
    let behind_key = state_of(seed);
    let behind_incarnation = before(behind_key, &key.partition.to_le_bytes());
    Some(before(behind_incarnation, &key.incarnation.to_le_bytes()))
}

/// An id that leads to the state: `random` but for its last four bytes, which are chosen.
pub(super) fn id_for(state: u32, random: [u8; 16]) -> [u8; 16] {
    let mut id = random;
    let (front, back) = id.split_at_mut(12);
    let chosen = before(state, &[0; 4]) ^ state_of(crc32c(0, &[front]));
    back.copy_from_slice(&chosen.to_le_bytes());
    id
}

/// What a partition's checksums start from under an id.
pub(super) fn seed_of(log_id: &[u8; 16], key: PartitionKey) -> u32 {
    frame_seed(log_id, key.incarnation, key.partition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::frame::{Frame, encode_record_frame};

    #[test]
    fn an_id_that_a_frame_tells_holds_for_every_frame_of_the_log() {
        let true_id = *b"sixteen bytes id";
        let keys = [(1, 0), (1, 7), (900, 3)]
            .map(|(incarnation, partition)| PartitionKey { incarnation, partition });
        let frame_of = |key: PartitionKey, body: &[u8]| {
            let mut frame = Vec::new();
            encode_record_frame(seed_of(&true_id, key), 5, body, &mut frame);
            frame
        };
        for key in keys {
            let state = state_behind_id(key, &frame_of(key, &[7; 40])).unwrap();
            assert_eq!(state, state_of(crc32c(0, &[&true_id])));
            let id = id_for(state, *b"16 random bytes.");
            assert_ne!(id, true_id);
            for other in keys {
                let frame = frame_of(other, &[9; 100]);
                assert!(Frame::parse(seed_of(&id, other), &frame).is_some());
            }
        }
    }
}

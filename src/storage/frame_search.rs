//! Telling whether a long frame is whole without reading it: for searches behind damage.
//!
//! What a value holds can look like any number of headers, one within the other, each of
//! which announces up to 64 MiB. Held against their checksums one by one, a few megabytes
//! of them would take hours. But a CRC is linear: that of a range follows from those of
//! the two fronts of the file that end where the range begins and where it ends.
//!
//! ```text
//! file   |---- front(a) ----|------ range ------|         in GF(2)[x], modulo
//!        |------------- front(b) ---------------|         the polynomial:
//!        start              a                   b
//!                                                         crc(range) = front(b) + front(a) * x^8(b-a)
//! ```
//!
//! So the file is read once, when the first long frame is asked for, and the checksums of
//! the fronts that end with a block are kept, four bytes for each 4 KiB. A frame then takes
//! two reads of less than a block. The sums are raw: zeroes have the checksum 0. (zlib's
//! `crc32_combine` does the same with two checksums.)

use super::codec::crc32c;
use super::frame::FrameHeader;
use crate::error::Result;

/// Frames that are longer are held against their checksums in this way.
pub(crate) const LONG_FRAME_BYTES: usize = 16 << 10;
const BLOCK_BYTES: usize = 4096;
/// How much of the file is read at once.
const READ_BYTES: usize = 1 << 20;
/// CRC-32C's polynomial and x^0, both with the highest power in the lowest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const ONE: u32 = 1 << 31;

/// Reads bytes of the file at a position, and returns how many there were.
pub(crate) type Read<'r> = dyn FnMut(&mut [u8], u64) -> Result<usize> + 'r;

/// A file's part in which long frames are looked for.
#[derive(Debug)]
pub(crate) struct FrameSearch {
    seed: u32,
    start: u64,
    end: u64,
    /// The checksums of its fronts of 0, 1, 2, ... blocks, once they are needed.
    fronts: Vec<u32>,
}

impl FrameSearch {
    /// For frames whose checksums start from `seed`, between `start` and `end`.
    pub(crate) fn new(seed: u32, start: u64, end: u64) -> Self {
        Self { seed, start, end, fronts: Vec::new() }
    }

    /// Whether the frame that `header` announces stands whole at `position`.
    pub(crate) fn holds(
        &mut self,
        position: u64,
        header: &FrameHeader,
        read: &mut Read<'_>,
    ) -> Result<bool> {
        let end = position.saturating_add(header.frame_len() as u64);
        // Behind the length and the checksum itself.
        let covered = position.saturating_add(8);
        if position < self.start || end > self.end {
            return Ok(false);
        }
        if self.fronts.is_empty() {
            self.read_fronts(read)?;
        }
        let fronts = (self.front(covered, read)?, self.front(end, read)?);
        let (Some(before), Some(after)) = fronts else { return Ok(false) };
        #[expect(clippy::cast_possible_truncation, reason = "a header's length has four bytes")]
        let length = (header.payload_len as u32).to_le_bytes();
        let state = !crc32c(self.seed, &[&length]) ^ before;
        Ok(!(multiply(state, power(end - covered)) ^ after) == header.crc)
    }

    fn read_fronts(&mut self, read: &mut Read<'_>) -> Result<()> {
        let mut state = 0;
        self.fronts.push(state);
        let mut buffer = vec![0; READ_BYTES];
        let mut position = self.start;
        while position < self.end {
            let wanted = usize::try_from(self.end - position).unwrap_or(READ_BYTES);
            let wanted = wanted.min(READ_BYTES);
            let filled = read(buffer.get_mut(..wanted).unwrap_or_default(), position)?;
            for block in buffer.get(..filled).unwrap_or_default().chunks_exact(BLOCK_BYTES) {
                state = !crc32c(state, &[block]);
                self.fronts.push(state);
            }
            position += filled as u64;
            if filled < wanted {
                break;
            }
        }
        Ok(())
    }

    /// The checksum of what lies in front of `position`; `None` if the file ends there.
    fn front(&self, position: u64, read: &mut Read<'_>) -> Result<Option<u32>> {
        let from_start = position - self.start;
        let within = from_start % BLOCK_BYTES as u64;
        let block = usize::try_from(from_start / BLOCK_BYTES as u64).unwrap_or(usize::MAX);
        let Some(state) = self.fronts.get(block) else { return Ok(None) };
        let mut bytes = [0; BLOCK_BYTES];
        let Some(rest) = usize::try_from(within).ok().and_then(|within| bytes.get_mut(..within))
        else {
            return Ok(None);
        };
        let is_there = rest.is_empty() || read(rest, position - within)? == rest.len();
        Ok(is_there.then(|| !crc32c(*state, &[rest])))
    }
}

/// The product of two polynomials, modulo CRC-32C's.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = (b >> 1) ^ if b & 1 == 0 { 0 } else { POLYNOMIAL };
        bit >>= 1;
    }
    product
}

/// What a checksum is multiplied with when `bytes` of zeroes follow: x^(8 * `bytes`).
fn power(bytes: u64) -> u32 {
    /// x^8, and its squares one after the other.
    const SQUARES: [u32; 64] = {
        let mut squares = [ONE >> 8; 64];
        let mut nth = 1;
        while nth < 64 {
            squares[nth] = multiply(squares[nth - 1], squares[nth - 1]);
            nth += 1;
        }
        squares
    };
    let set = SQUARES.iter().zip(0..).filter(|(_, nth)| bytes >> nth & 1 == 1);
    set.fold(ONE, |power, (square, _)| multiply(power, *square))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::frame::{Frame, encode_record_frame};
    use proptest::prelude::*;

    /// What [`FrameSearch`] says of a frame in a file, and what its checksum says.
    fn judged(file: &[u8], start: u64, position: usize) -> (bool, bool) {
        let mut read = |buf: &mut [u8], at: u64| {
            let from = usize::try_from(at).unwrap().min(file.len());
            let len = buf.len().min(file.len() - from);
            buf[..len].copy_from_slice(&file[from..from + len]);
            Ok(len)
        };
        let header = FrameHeader::parse(&file[position..]).unwrap();
        let mut search = FrameSearch::new(7, start, file.len() as u64);
        let held = search.holds(position as u64, &header, &mut read).unwrap();
        (held, Frame::parse(7, &file[position..]).is_some())
    }

    proptest! {
        #[test]
        fn a_frame_holds_where_its_checksum_does(
            front in 0_usize..9000,
            len in 12_usize..30_000,
            start in 0_u64..9000,
            flipped in any::<prop::sample::Index>(),
        ) {
            let mut file: Vec<u8> = (0..=255).cycle().take(front).collect();
            let body: Vec<u8> = (0..=250).cycle().take(len).collect();
            encode_record_frame(7, 5, &body, &mut file);
            let start = start.min(front as u64);
            prop_assert_eq!(judged(&file, start, front), (true, true));
            prop_assert_eq!(judged(&file[..file.len() - 1], start, front), (false, false));
            file.extend_from_slice(b"and more");
            prop_assert_eq!(judged(&file, start, front), (true, true));
            let frame_len = file.len() - front - 8;
            // The length in the header decides where the frame ends.
            let at = front + 4 + flipped.index(frame_len - 4);
            file[at] ^= 1;
            if FrameHeader::parse(&file[front..]).is_some() {
                prop_assert_eq!(judged(&file, start, front), (false, false));
            }
        }
    }

    #[test]
    fn zeroes_of_any_length_multiply_a_checksum() {
        for len in [0, 1, 7, 8, 4095, 4096, 100_000] {
            let zeroes = vec![0; len];
            let direct = !crc32c(0x1234_5678, &[&zeroes]);
            assert_eq!(multiply(0x1234_5678, power(len as u64)), direct, "{len}");
        }
    }
}

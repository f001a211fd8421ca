//! Bytes to numbers and back: little-endian, explicit widths, every read bounded.

/// Counters, positions and lengths on disk stay below this, so that no sum of
/// two of them, from whatever bytes, overflows. No log of ours reaches it.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;
/// What is counted up, generations, sequences, incarnations, numbers of files, is read up to
/// here: what is counted on from it can be written, and read again, unless it stands just at
/// this bound. That is no power of two, so that no flipped bit of a small number leads there.
pub(crate) const COUNTER_MAX: u64 = NUMBER_MAX / 3;
/// A number in a name is a stranger's if it is further ahead of the last that is
/// known: no log uses up so many without noting one of them.
pub(crate) const NUMBERS_AHEAD_MAX: u64 = 1 << 32;

/// Bytes end too early, or hold what no encoder of ours writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// What was expected.
    pub(crate) expected: &'static str,
    /// Where, counted from the first byte given to the decoder.
    pub(crate) position: usize,
}

pub(crate) type Decoded<T> = Result<T, Malformed>;

/// Reads values off the front of a byte slice.
#[derive(Debug, Clone)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub(crate) fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { expected, position: self.position }
    }

    /// The next `count` bytes; nothing is allocated for a count that lies.
    pub(crate) fn bytes(&mut self, count: usize, expected: &'static str) -> Decoded<&'a [u8]> {
        let end = self.position.checked_add(count).ok_or(self.malformed(expected))?;
        let bytes = self.bytes.get(self.position..end).ok_or(self.malformed(expected))?;
        self.position = end;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, expected: &'static str) -> Decoded<[u8; N]> {
        let bytes = self.bytes(N, expected)?;
        bytes.try_into().map_err(|_| self.malformed(expected))
    }

    pub(crate) fn u8(&mut self, expected: &'static str) -> Decoded<u8> {
        self.array::<1>(expected).map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self, expected: &'static str) -> Decoded<u32> {
        self.array(expected).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, expected: &'static str) -> Decoded<u64> {
        self.array(expected).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, expected: &'static str) -> Decoded<i64> {
        self.array(expected).map(i64::from_le_bytes)
    }

    /// An unsigned LEB128 number; only its shortest form is accepted.
    pub(crate) fn varint(&mut self, expected: &'static str) -> Decoded<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(expected)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(self.malformed(expected))
    }

    /// A varint up to [`NUMBER_MAX`].
    pub(crate) fn number(&mut self, expected: &'static str) -> Decoded<u64> {
        let number = self.varint(expected)?;
        if number <= NUMBER_MAX { Ok(number) } else { Err(self.malformed(expected)) }
    }

    /// A varint up to [`COUNTER_MAX`].
    pub(crate) fn counter(&mut self, expected: &'static str) -> Decoded<u64> {
        let number = self.varint(expected)?;
        if number <= COUNTER_MAX { Ok(number) } else { Err(self.malformed(expected)) }
    }

    /// A fixed-width number up to [`COUNTER_MAX`].
    pub(crate) fn fixed_counter(&mut self, expected: &'static str) -> Decoded<u64> {
        let number = self.u64(expected)?;
        if number <= COUNTER_MAX { Ok(number) } else { Err(self.malformed(expected)) }
    }

    /// A fixed-width number up to [`NUMBER_MAX`].
    pub(crate) fn fixed_number(&mut self, expected: &'static str) -> Decoded<u64> {
        let number = self.u64(expected)?;
        if number <= NUMBER_MAX { Ok(number) } else { Err(self.malformed(expected)) }
    }

    /// A varint length and as many bytes.
    pub(crate) fn blob(&mut self, expected: &'static str) -> Decoded<&'a [u8]> {
        let len = self.varint(expected)?;
        let len = usize::try_from(len).map_err(|_| self.malformed(expected))?;
        self.bytes(len, expected)
    }

    /// A blob that is UTF-8.
    pub(crate) fn text(&mut self, expected: &'static str) -> Decoded<&'a str> {
        let bytes = self.blob(expected)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed(expected))
    }

    /// A count of items that take at least `item_bytes` each, so that a count
    /// from hostile bytes cannot ask for more memory than the bytes could fill.
    pub(crate) fn count(&mut self, item_bytes: usize, expected: &'static str) -> Decoded<usize> {
        let count = self.varint(expected)?;
        let count = usize::try_from(count).map_err(|_| self.malformed(expected))?;
        if count > self.remaining() / item_bytes.max(1) {
            return Err(self.malformed(expected));
        }
        Ok(count)
    }

    /// A byte that is 0 for `None`, or 1 and then the value.
    pub(crate) fn option<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&mut Self) -> Decoded<T>,
    ) -> Decoded<Option<T>> {
        match self.u8(expected)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(self.malformed(expected)),
        }
    }

    /// Nothing may be left over.
    pub(crate) fn finish(self) -> Decoded<()> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.malformed("the end")) }
    }
}

/// Appends values to a byte vector; the counterpart of [`Decoder`].
pub(crate) trait Encode {
    fn put_u8(&mut self, value: u8);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_i64(&mut self, value: i64);
    fn put_varint(&mut self, value: u64);
    fn put_blob(&mut self, bytes: &[u8]);
    fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T));
}

impl Encode for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven bits of it are meant")]
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_blob(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }

    fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.push(0),
            Some(value) => {
                self.push(1);
                put(self, value);
            }
        }
    }
}

/// CRC-32C (Castagnoli; RFC 3720 B.4), continued from the `seed` of what the
/// bytes belong to, so that valid bytes in the wrong place fail their check.
pub(crate) fn crc32c(seed: u32, parts: &[&[u8]]) -> u32 {
    let state = u64::from(seed);
    let mut digest =
        crc_fast::Digest::new_with_init_state(crc_fast::CrcAlgorithm::Crc32Iscsi, state);
    for part in parts {
        digest.update(part);
    }
    let [a, b, c, d, ..] = digest.finalize().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_has_one_form() {
        for value in [0, 1, 127, 128, 300, u64::MAX] {
            let mut bytes = Vec::new();
            bytes.put_varint(value);
            assert_eq!(Decoder::new(&bytes).varint("a number"), Ok(value));
            // The same with a byte of zero behind it.
            if let Some(last) = bytes.last_mut() {
                *last |= 0x80;
            }
            bytes.push(0);
            assert!(Decoder::new(&bytes).varint("a number").is_err(), "{bytes:?}");
        }
    }
}

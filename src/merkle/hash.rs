//! The hash value, and the three ways in which the tree makes one.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// What precedes the input of a leaf, so that no leaf can pass for a node (RFC 9162, section 2.1.1).
const LEAF_PREFIX: u8 = 0x00;

/// What precedes the two children of a node (RFC 9162, section 2.1.1).
const NODE_PREFIX: u8 = 0x01;

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The number of bytes in a hash.
    pub const SIZE: usize = 32;

    /// SHA-256 of `bytes`, without any prefix.
    pub fn digest(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash as 64 lowercase hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.to_string()
    }

    /// Reads 64 hexadecimal digits, in either case.
    ///
    /// # Errors
    ///
    /// [`ParseHashError`] if `text` has another length or holds anything but hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, ParseHashError> {
        let digits: &[u8; 2 * Self::SIZE] =
            text.as_bytes().try_into().map_err(|_| ParseHashError::Length { found: text.len() })?;
        let (pairs, _) = digits.as_chunks::<2>();
        let mut bytes = [0; Self::SIZE];
        for (at, (byte, &[high, low])) in bytes.iter_mut().zip(pairs).enumerate() {
            *byte = hex_value(high, 2 * at)? << 4 | hex_value(low, 2 * at + 1)?;
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_hex(text)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // The text is made as a whole, so that a width or an alignment applies to all of it.
        let mut text = [0; 2 * Self::SIZE];
        let (pairs, _) = text.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.0) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0x0f)]];
        }
        f.pad(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// Why a text is not a [`Hash`](struct@Hash).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseHashError {
    /// The text is not 64 bytes long.
    Length {
        /// The length of the text in bytes.
        found: usize,
    },
    /// A byte of the text is not a hexadecimal digit.
    Digit {
        /// Where that byte stands, counted from 0.
        position: usize,
    },
}

impl fmt::Display for ParseHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { found } => {
                let expected = 2 * Hash::SIZE;
                write!(f, "a hash is {expected} hexadecimal digits, not {found} bytes")
            }
            Self::Digit { position } => {
                write!(f, "byte {position} of the hash is not a hexadecimal digit")
            }
        }
    }
}

impl Error for ParseHashError {}

/// The root of the tree without leaves: SHA-256 of nothing (RFC 9162, section 2.1.1, `MTH({})`).
pub fn empty_root() -> Hash {
    Hash::digest(&[])
}

/// The leaf of a record: `SHA-256(0x00 ‖ record hash)` (RFC 9162, section 2.1.1, `MTH({d[0]})`).
///
/// The entry that the tree holds is the record's hash, not the record, so that a proof can be
/// checked without revealing the record, and so that a tree can be rebuilt from hashes alone.
pub fn leaf_hash(record_hash: &Hash) -> Hash {
    leaf_hash_of(&record_hash.0)
}

/// The leaf of an arbitrary entry: `SHA-256(0x00 ‖ entry)` (RFC 9162, section 2.1.1,
/// `MTH({d[0]})`).
pub fn leaf_hash_of(entry: &[u8]) -> Hash {
    let hasher = Sha256::new_with_prefix([LEAF_PREFIX]);
    Hash(hasher.chain_update(entry).finalize().into())
}

/// An inner node: `SHA-256(0x01 ‖ left ‖ right)` (RFC 9162, section 2.1.1, `MTH(D_n)` for `n > 1`).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [NODE_PREFIX; 1 + 2 * Hash::SIZE];
    input[1..=Hash::SIZE].copy_from_slice(&left.0);
    input[1 + Hash::SIZE..].copy_from_slice(&right.0);
    Hash::digest(&input)
}

/// The value of one hexadecimal digit, which stands at `position` of its text.
fn hex_value(digit: u8, position: usize) -> Result<u8, ParseHashError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(ParseHashError::Digit { position }),
    }
}

//! The binary form of proofs, which both kinds share; [`Proof::to_bytes`](super::Proof::to_bytes)
//! shows the layout.

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;

use super::hash::Hash;

/// The only version so far; 0 is never valid.
const VERSION: u8 = 1;

/// The length of everything before the path.
const HEADER_SIZE: usize = 2 + 2 * size_of::<u64>() + 2 * Hash::SIZE + 1;

// The offset that the layout tables of both proofs name for the path.
const _: () = assert!(HEADER_SIZE == 83);

/// The most hashes in a path: one for each level of the largest tree that a `u64` can count, and the
/// node at which a consistency path starts.
const MAX_PATH: u8 = 65;

/// What the bytes of a proof are a proof of; 0 is never valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inclusion = 1,
    Consistency = 2,
}

/// What is written, in this order; `P` is the path, borrowed or owned.
#[derive(Debug)]
pub(super) struct Fields<P> {
    pub(super) kind: Kind,
    pub(super) numbers: [u64; 2],
    pub(super) hashes: [Hash; 2],
    pub(super) path: P,
}

/// Why bytes are not a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeProofError {
    /// The version is not one that this release reads.
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// The bytes are another kind of proof, or none.
    WrongKind {
        /// The kind asked for.
        expected: u8,
        /// The kind found.
        found: u8,
    },
    /// The path is longer than any valid proof's.
    PathTooLong {
        /// The number of hashes that the bytes announce.
        found: u8,
    },
    /// The bytes end before the proof does.
    Truncated {
        /// The length needed, as far as it is known by then.
        expected: usize,
        /// The length given.
        found: usize,
    },
    /// Bytes follow the proof.
    TrailingBytes {
        /// The length of the proof.
        expected: usize,
        /// The length given.
        found: usize,
    },
}

impl fmt::Display for DecodeProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion { found } => write!(f, "unknown version {found} of a proof"),
            Self::WrongKind { expected, found } => {
                write!(f, "a proof of kind {found} instead of kind {expected}")
            }
            Self::PathTooLong { found } => {
                write!(f, "a path of {found} hashes is above the limit of {MAX_PATH}")
            }
            Self::Truncated { expected, found } => {
                write!(f, "a proof of at least {expected} bytes ends after {found}")
            }
            Self::TrailingBytes { expected, found } => {
                write!(f, "a proof of {expected} bytes is followed by more, {found} in all")
            }
        }
    }
}

impl Error for DecodeProofError {}

/// Writes a proof.
pub(super) fn encode(fields: &Fields<&Vec<Hash>>) -> Vec<u8> {
    // The fields of a proof are public, so a path may have any length. One above the limit leaves
    // only its length behind, which the decoder refuses.
    let (path_len, path) = match u8::try_from(fields.path.len()) {
        Ok(path_len) if path_len <= MAX_PATH => (path_len, fields.path.as_slice()),
        _ => (u8::MAX, [].as_slice()),
    };
    let mut bytes = Vec::with_capacity(HEADER_SIZE + path.len() * Hash::SIZE);
    bytes.extend([VERSION, fields.kind as u8]);
    bytes.extend(fields.numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend(fields.hashes.iter().flat_map(|hash| hash.0));
    bytes.push(path_len);
    bytes.extend(path.iter().flat_map(|hash| hash.0));
    bytes
}

/// Reads a proof of the given kind, and nothing else.
pub(super) fn decode(kind: Kind, bytes: &[u8]) -> Result<Fields<Vec<Hash>>, DecodeProofError> {
    let mut input = Input { length: bytes.len(), rest: bytes };
    let [version] = input.take()?;
    if version != VERSION {
        return Err(DecodeProofError::UnknownVersion { found: version });
    }
    let [found] = input.take()?;
    let expected = kind as u8;
    if found != expected {
        return Err(DecodeProofError::WrongKind { expected, found });
    }
    let numbers = [u64::from_le_bytes(input.take()?), u64::from_le_bytes(input.take()?)];
    let hashes = [Hash(input.take()?), Hash(input.take()?)];
    let [path_len] = input.take()?;
    let path = decode_path(path_len, &input)?;
    Ok(Fields { kind, numbers, hashes, path })
}

/// Reads a path that must be exactly what is left of the input. The length is held against both its
/// limit and the input before memory is taken for it.
fn decode_path(path_len: u8, input: &Input<'_>) -> Result<Vec<Hash>, DecodeProofError> {
    if path_len > MAX_PATH {
        return Err(DecodeProofError::PathTooLong { found: path_len });
    }
    let found = input.length;
    let expected = HEADER_SIZE + usize::from(path_len) * Hash::SIZE;
    match found.cmp(&expected) {
        Ordering::Less => Err(DecodeProofError::Truncated { expected, found }),
        Ordering::Greater => Err(DecodeProofError::TrailingBytes { expected, found }),
        Ordering::Equal => {
            let (hashes, _) = input.rest.as_chunks();
            Ok(hashes.iter().copied().map(Hash).collect())
        }
    }
}

/// The bytes of a proof while they are read.
struct Input<'a> {
    length: usize,
    rest: &'a [u8],
}

impl Input<'_> {
    /// Takes the next `N` bytes.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeProofError> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(DecodeProofError::Truncated {
                expected: self.length - self.rest.len() + N,
                found: self.length,
            });
        };
        self.rest = rest;
        Ok(*taken)
    }
}

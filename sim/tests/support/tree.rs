//! The Merkle tree of RFC 9162, section 2.1.1, as the RFC writes it: a second
//! implementation, so that a bug in the log's own cannot hide itself.

use merkql::record::Record;
use sha2::{Digest, Sha256};

pub(crate) type Bytes = [u8; 32];

/// The leaf of a record: its hash, prefixed and hashed.
pub(crate) fn leaf(record: &Record) -> Bytes {
    let entry: Bytes = Sha256::digest(record.serialize()).into();
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// `MTH(D_n)`, from the leaves.
pub(crate) fn root(leaves: &[Bytes]) -> Bytes {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let hash = Sha256::new().chain_update([1]).chain_update(root(left));
            hash.chain_update(root(right)).finalize().into()
        }
    }
}

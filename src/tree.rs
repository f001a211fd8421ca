//! The Merkle tree over a partition's records (RFC 9162, section 2.1), its
//! proofs, and their verification.

use crate::error::Result;
use crate::partition::ProofStore;

pub use crate::merkle::{
    CompactRange, CompactRangeError, ConsistencyProof, DecodeProofError, MAX_LEAVES, NodeReader,
    Proof, ReadTreeError, Siblings, consistency_path, inclusion_path, range_at, root_at,
    stored_count, stored_index, verify_consistency, verify_inclusion,
};

/// Verification of proofs against a log.
#[derive(Debug, Clone, Copy)]
pub struct MerkleTree;

impl MerkleTree {
    /// Whether `proof` holds for the log that `store` belongs to: its path leads
    /// from its leaf to its root, the root is the log's own at the proof's size,
    /// the leaf is the stored one at its index, and the record there, where it
    /// is retained, hashes to it.
    ///
    /// A proof also verifies without the log, by [`Proof::proves`].
    pub fn verify_proof(proof: &Proof, store: &ProofStore) -> Result<bool> {
        store.verify(proof)
    }
}

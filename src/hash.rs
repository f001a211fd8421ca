//! SHA-256 hashes, and how the tree combines them.

pub use crate::merkle::{Hash, ParseHashError, empty_root, leaf_hash, leaf_hash_of, node_hash};

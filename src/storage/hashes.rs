//! The stored hashes of a partition's Merkle tree.
//!
//! One append-only file of 32-byte slots in tlog order: each leaf followed by
//! the nodes that it completes. Its content is a function of the log's records,
//! so a damaged file is rebuilt; only where records were removed does it hold
//! what nothing else does.

use super::files::PooledFile;
use crate::error::{Error, Result};
use crate::merkle::{Hash, NodeReader, stored_count, stored_index};
use crate::sync::{Mutex, lock};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a slot.
pub(crate) const SLOT_BYTES: u64 = Hash::SIZE as u64;
/// What a repair writes where a hash of removed records is not known any more: no
/// hash is expected ever to be that.
pub(crate) const GIVEN_UP: [u8; Hash::SIZE] = [0xff; Hash::SIZE];
/// Below this level the nodes of a subtree stand side by side within a page, and
/// are read at once.
const LOW_LEVELS: u8 = 6;
/// How many nodes of the levels above are remembered for a partition.
const CACHED_NODES_MAX: usize = 1 << 15;

/// Where slots begin for a tree of `size` leaves: the file's length.
pub(crate) fn hashes_len(size: u64) -> u64 {
    stored_count(size).saturating_mul(SLOT_BYTES)
}

/// A partition's file of stored hashes.
#[derive(Debug)]
pub(crate) struct HashFile {
    pub(crate) file: Arc<PooledFile>,
    cache: Mutex<HashMap<u64, Hash>>,
}

impl HashFile {
    pub(crate) fn new(file: Arc<PooledFile>) -> Self {
        Self { file, cache: Mutex::default() }
    }

    /// Writes the slots that follow those of a tree of `size` leaves.
    pub(crate) fn write(&self, size: u64, slots: &[u8]) -> Result<()> {
        self.file.write(slots, hashes_len(size))
    }

    /// Forgets what was read, because the file is written anew.
    pub(crate) fn forget(&self) {
        lock(&self.cache).clear();
    }

    /// The nodes of the tree's first `size` leaves.
    pub(crate) fn reader(&self, size: u64) -> HashReader<'_> {
        HashReader { file: self, size, low: RefCell::default() }
    }

    fn high_node(&self, slot: u64) -> Result<Hash> {
        if let Some(hash) = lock(&self.cache).get(&slot) {
            return Ok(*hash);
        }
        let mut hash = Hash([0; Hash::SIZE]);
        self.file.read_exact(&mut hash.0, slot.saturating_mul(SLOT_BYTES))?;
        let mut cache = lock(&self.cache);
        if cache.len() >= CACHED_NODES_MAX {
            cache.clear();
        }
        cache.insert(slot, hash);
        Ok(hash)
    }
}

/// Looks up nodes, and keeps the lowest subtree that it met.
#[derive(Debug)]
pub(crate) struct HashReader<'a> {
    file: &'a HashFile,
    size: u64,
    low: RefCell<LowSubtree>,
}

/// The slots of one subtree of 64 leaves, or of as many as there are.
#[derive(Debug, Default)]
struct LowSubtree {
    first_slot: u64,
    bytes: Vec<u8>,
}

impl LowSubtree {
    fn get(&self, slot: u64) -> Option<Hash> {
        let index = usize::try_from(slot.checked_sub(self.first_slot)?).ok()?;
        let start = index.checked_mul(Hash::SIZE)?;
        let bytes = self.bytes.get(start..start + Hash::SIZE)?;
        bytes.try_into().ok().map(Hash)
    }
}

impl NodeReader for HashReader<'_> {
    type Error = Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash> {
        let slot = stored_index(level, index);
        if level >= LOW_LEVELS {
            return self.file.high_node(slot);
        }
        if let Some(hash) = self.low.borrow().get(slot) {
            return Ok(hash);
        }
        let first_leaf = (index >> (LOW_LEVELS - level)) << LOW_LEVELS;
        let first_slot = stored_index(0, first_leaf);
        let last_leaf = self.size.min(first_leaf.saturating_add(1 << LOW_LEVELS));
        let slots = stored_count(last_leaf.saturating_sub(first_leaf));
        let len = usize::try_from(slots.saturating_mul(SLOT_BYTES)).unwrap_or_default();
        let mut bytes = vec![0; len];
        self.file.file.read_exact(&mut bytes, first_slot.saturating_mul(SLOT_BYTES))?;
        let low = LowSubtree { first_slot, bytes };
        let found = low.get(slot);
        *self.low.borrow_mut() = low;
        found.ok_or_else(|| {
            let reason = format!("no node {index} of level {level} in a tree of {}", self.size);
            Error::corrupt(self.file.file.path(), slot.saturating_mul(SLOT_BYTES), reason)
        })
    }
}

//! Reading stored hashes one behind the other.

use crate::env::exact::read_up_to;
use crate::error::{IoContext, Result};
use crate::merkle::Hash;
use crate::storage::hashes::{HashFile, SLOT_BYTES};

const CHUNK_BYTES: usize = 64 << 10;

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// A hash, right or wrong.
    Stored(Hash),
    /// A repair has said that nobody knows it any more.
    GivenUp,
    /// The file ends before it.
    Missing,
}

impl Slot {
    fn of(bytes: [u8; Hash::SIZE]) -> Self {
        if bytes == crate::storage::hashes::GIVEN_UP {
            Self::GivenUp
        } else {
            Self::Stored(Hash(bytes))
        }
    }

    pub(super) fn hash(self) -> Option<Hash> {
        match self {
            Self::Stored(hash) => Some(hash),
            Self::GivenUp | Self::Missing => None,
        }
    }
}

/// A window onto the slots of a partition.
pub(super) struct SlotReader<'a> {
    file: &'a HashFile,
    buffer: Vec<u8>,
    buffer_position: u64,
    /// Slots behind it belong to records that the manifest does not know.
    slots: u64,
    /// Where those begin that were not counted yet: slots are met from left to right, and
    /// some of them more than once.
    uncounted: u64,
    pub(super) read: u64,
}

impl<'a> SlotReader<'a> {
    pub(super) fn new(file: &'a HashFile, slots: u64) -> Self {
        Self { file, buffer: Vec::new(), buffer_position: 0, slots, uncounted: 0, read: 0 }
    }

    /// The slot, mostly from the window.
    pub(super) fn get(&mut self, slot: u64) -> Result<Slot> {
        if slot >= self.slots {
            return Ok(Slot::Missing);
        }
        if slot >= self.uncounted {
            self.uncounted = slot + 1;
            self.read += 1;
        }
        let position = slot.saturating_mul(SLOT_BYTES);
        if let Some(found) = self.in_buffer(position) {
            return Ok(found);
        }
        self.buffer.resize(CHUNK_BYTES, 0);
        self.buffer_position = position;
        let read = match self.file.file.read_up_to(&mut self.buffer, position) {
            Err(error) if error.is_not_found() => 0,
            read => read?,
        };
        self.buffer.truncate(read);
        Ok(self.in_buffer(position).unwrap_or(Slot::Missing))
    }

    /// The slot through a fresh handle: a read may be wrong once.
    pub(super) fn again(&self, slot: u64) -> Result<Slot> {
        let mut bytes = [0; Hash::SIZE];
        let position = slot.saturating_mul(SLOT_BYTES);
        let fresh = self.file.file.fresh_handle()?;
        let read = read_up_to(&*fresh, &mut bytes, position).at("read", self.file.file.path())?;
        Ok(if read == bytes.len() { Slot::of(bytes) } else { Slot::Missing })
    }

    fn in_buffer(&self, position: u64) -> Option<Slot> {
        let start = usize::try_from(position.checked_sub(self.buffer_position)?).ok()?;
        let bytes = self.buffer.get(start..start.checked_add(Hash::SIZE)?)?;
        bytes.try_into().ok().map(Slot::of)
    }
}

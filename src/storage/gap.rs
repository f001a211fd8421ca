//! The gap: what stands in a compacted segment for records that were removed.
//!
//! ```text
//! count u64 | roots of perfect subtrees, 32 bytes each, left to right
//! ```
//!
//! It covers `count` offsets from its frame's own on. They fall into perfect
//! subtrees of the partition's tree in one way only, so their number is known, and
//! the tree can be computed from the log as if the records were still there.

use super::codec::{Decoded, Decoder, Encode};
use crate::merkle::{Hash, MAX_LEAVES, SubtreeRoots, subtree_levels};

/// Removed records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap<'a> {
    /// The offset of the first.
    offset: u64,
    /// The offset behind the last.
    pub(crate) end: u64,
    roots: &'a [u8],
}

impl<'a> Gap<'a> {
    /// The gap in a frame of this offset.
    pub(crate) fn decode(offset: u64, payload: &'a [u8]) -> Decoded<Self> {
        let mut input = Decoder::new(payload);
        let count = input.u64("a count of records")?;
        let end = offset.checked_add(count).filter(|end| count > 0 && *end <= MAX_LEAVES);
        let end = end.ok_or(input.malformed("a possible count of records"))?;
        let roots = input.bytes(subtree_levels(offset, end).count() * Hash::SIZE, "hashes")?;
        input.finish()?;
        Ok(Self { offset, end, roots })
    }

    /// Level and root of each subtree, left to right.
    pub(crate) fn subtrees(&self) -> impl Iterator<Item = (u8, Hash)> {
        let (roots, _) = self.roots.as_chunks();
        subtree_levels(self.offset, self.end).zip(roots.iter().map(|root| Hash(*root)))
    }
}

/// The payload of the gap that stands for these leaves.
pub(crate) fn gap_payload(removed: &SubtreeRoots) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.put_u64(removed.end() - removed.start());
    removed.roots().for_each(|root| payload.extend_from_slice(&root.0));
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash_of;

    #[test]
    fn a_gap_has_as_many_roots_as_its_range_has_subtrees_and_no_other_number() {
        let mut removed = SubtreeRoots::new(5);
        (5..18_u8).for_each(|leaf| removed.push(0, leaf_hash_of(&[leaf])));
        let payload = gap_payload(&removed);
        let gap = Gap::decode(5, &payload).unwrap();
        assert_eq!(gap.end, 18);
        let subtrees: Vec<(u8, Hash)> = gap.subtrees().collect();
        assert!(subtrees.iter().map(|(level, _)| *level).eq([0, 1, 3, 1]));
        assert!(subtrees.iter().map(|(_, root)| root).eq(removed.roots()));
        assert!(Gap::decode(4, &payload).is_err());
        assert!(Gap::decode(MAX_LEAVES - 1, &payload).is_err());
        for len in 0..payload.len() {
            assert!(Gap::decode(5, &payload[..len]).is_err(), "{len} bytes");
        }
        assert!(Gap::decode(5, &[0; 8]).is_err());
    }
}

//! The journal's blocks, as they stand on the disk: told from the description of
//! the format, because the log's own reading is what is tested.

use super::paths::LOG;
use crate::client::names::value_of;
use crc_fast::CrcAlgorithm;
use std::collections::BTreeMap;

const MAGIC: &[u8] = b"MqlBlock";
const PAGE_BYTES: usize = 4096;
const HEADER_BYTES: usize = 72;
/// The log's identity, in a slot of the manifest.
const LOG_ID: std::ops::Range<usize> = 32..48;

/// A page that begins as a block does.
#[derive(Debug)]
pub(crate) struct Block<'f> {
    file: u64,
    position: u64,
    pub(crate) sequence: u64,
    /// Header and padding included; shorter than it says where the file ends.
    bytes: &'f [u8],
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The blocks in the journal's files.
pub(crate) fn blocks(files: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = Block<'_>> {
    let journal = files.iter().filter_map(|(path, content)| {
        let name = path.strip_prefix(LOG)?.strip_prefix("journal/")?.strip_suffix(".wal")?;
        Some((name.parse().ok()?, content.as_slice()))
    });
    journal.flat_map(|(file, content): (u64, &[u8])| {
        (0..content.len()).step_by(PAGE_BYTES).filter_map(move |at| block_at(file, content, at))
    })
}

fn block_at(file: u64, content: &[u8], at: usize) -> Option<Block<'_>> {
    let bytes = content.get(at..).filter(|bytes| bytes.starts_with(MAGIC))?;
    let body_len = usize::try_from(u32::from_le_bytes(number(bytes, 64)?)).ok()?;
    let len = (HEADER_BYTES + body_len).next_multiple_of(PAGE_BYTES);
    Some(Block {
        file,
        position: at as u64,
        sequence: u64::from_le_bytes(number(bytes, 40)?),
        bytes: bytes.get(..len).unwrap_or(bytes),
    })
}

/// The log's identity, if a slot of the manifest tells it.
pub(crate) fn log_id(files: &BTreeMap<String, Vec<u8>>) -> Option<[u8; 16]> {
    let mut slots = files.iter().filter(|(path, _)| path.starts_with(&format!("{LOG}manifest.")));
    slots.find_map(|(_, slot)| {
        slot.starts_with(b"MqlState").then(|| slot.get(LOG_ID)?.try_into().ok())?
    })
}

impl Block<'_> {
    /// The file that it stands in.
    pub(crate) fn path(&self) -> String {
        format!("{LOG}journal/{:010}.wal", self.file)
    }

    /// Where its entries begin.
    pub(crate) fn body_position(&self) -> u64 {
        self.position + HEADER_BYTES as u64
    }

    /// Whether every byte is as it was written, at the place where it was.
    pub(crate) fn is_whole(&self, log_id: [u8; 16]) -> bool {
        let expected = number(self.bytes, 12).map(u32::from_le_bytes);
        let nonce = self.bytes.get(24..32).unwrap_or_default();
        let (front, rest) =
            (self.bytes.get(..12).unwrap_or_default(), self.bytes.get(16..).unwrap_or_default());
        let place = [self.file.to_le_bytes(), self.position.to_le_bytes()];
        let [file, position] = &place;
        // The log's checksums go on from what they belong to, here from nothing.
        let mut crc = crc_fast::Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, 0);
        for part in [&log_id, file, position, nonce, front, rest] as [&[u8]; 6] {
            crc.update(part);
        }
        expected.map(u64::from) == Some(crc.finalize())
    }

    /// Whether it holds the record of this tag. Its length stands before it.
    pub(crate) fn holds(&self, tag: &str) -> bool {
        let Some((Ok(step), Ok(place))) = tag.split_once('.').map(|(s, p)| (s.parse(), p.parse()))
        else {
            return false;
        };
        let start = value_of(step, place, 0);
        let starts = self.bytes.windows(start.len()).enumerate();
        let starts = starts.filter(|(_, bytes)| *bytes == start.as_bytes());
        starts.map(|(at, _)| at).any(|at| {
            let before = |back: usize| at.checked_sub(back).and_then(|at| self.bytes.get(at));
            let one = before(1).map(|byte| u32::from(*byte));
            let two = before(2).zip(before(1));
            let two = two.map(|(low, high)| u32::from(low & 0x7F) | u32::from(*high) << 7);
            one.into_iter().chain(two).any(|len| {
                let value = value_of(step, place, len);
                self.bytes.get(at..).is_some_and(|bytes| bytes.starts_with(value.as_bytes()))
                    && Ok(value.len()) == usize::try_from(len)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;
    use crate::entropy::SimEntropy;
    use merkql::broker::{Broker, BrokerConfig};
    use merkql::record::ProducerRecord;
    use std::sync::Arc;

    #[test]
    fn blocks_that_the_log_wrote_are_whole_until_a_bit_of_them_changes() {
        let disk = SimDisk::new();
        let config = BrokerConfig {
            file_system: Arc::new(disk.process()),
            entropy: Arc::new(SimEntropy::new(1)),
            ..BrokerConfig::new(super::super::paths::DATA_DIR)
        };
        let broker = Broker::open(config).unwrap();
        for place in 0..3 {
            let record = ProducerRecord::new("t", None, value_of(7, place, 200));
            Broker::producer(&broker).send(&record).unwrap();
        }
        let mut files = super::super::tails::contents(&disk);
        let id = log_id(&files).unwrap();
        let found: Vec<_> = blocks(&files).collect();
        assert!(found.iter().all(|block| block.is_whole(id)));
        let sequence_of = |tag: &str| found.iter().find(|b| b.holds(tag)).map(|b| b.sequence);
        assert!(sequence_of("7.0") < sequence_of("7.1") && sequence_of("7.1").is_some());
        assert_eq!(sequence_of("7.3"), None);
        let wal = files.iter_mut().find(|(path, _)| path.contains("/journal/")).unwrap().1;
        wal[PAGE_BYTES + 100] ^= 1;
        assert_eq!(blocks(&files).filter(|block| !block.is_whole(id)).count(), 1);
    }
}

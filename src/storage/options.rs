//! The sizes that a log is run with, checked once at open.

use super::block::PAGE_BYTES;
use crate::error::{Error, Result};

/// The sizes of journal files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalSizes {
    /// What the first file has, and what is left after a clean close.
    pub(crate) initial_bytes: u64,
    /// The bound up to which files grow.
    pub(crate) max_bytes: u64,
}

/// Everything that the storage lets its user choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StorageOptions {
    pub(crate) journal: JournalSizes,
    /// A segment is sealed before an append would take it past this.
    pub(crate) segment_bytes: u64,
    /// How many bytes of a segment share one index entry.
    pub(crate) index_interval_bytes: u64,
    /// How many partition files may be open at once.
    pub(crate) open_files_max: usize,
    /// Key, value and headers of the largest record.
    pub(crate) record_bytes_max: u64,
    /// How many producer ids are remembered; the longest unused goes first.
    pub(crate) producers_max: usize,
}

/// All frames of the largest batch, which is one block.
pub(crate) const BATCH_BYTES_MAX: u64 = 64 << 20;

impl StorageOptions {
    pub(crate) fn validate(&self) -> Result<()> {
        let journal = &self.journal;
        check(
            "journal_initial_bytes",
            journal.initial_bytes.is_multiple_of(PAGE_BYTES)
                && (2 * PAGE_BYTES..=1 << 30).contains(&journal.initial_bytes),
            "a multiple of 4,096 from 8,192 to 1 GiB is needed",
        )?;
        check(
            "journal_max_bytes",
            journal.max_bytes.is_multiple_of(PAGE_BYTES)
                && (journal.initial_bytes..=1 << 30).contains(&journal.max_bytes),
            "a multiple of 4,096 from `journal_initial_bytes` to 1 GiB is needed",
        )?;
        check_segment_bytes(self.segment_bytes)?;
        check(
            "index_interval_bytes",
            (32..=1 << 24).contains(&self.index_interval_bytes),
            "32 bytes to 16 MiB are possible",
        )?;
        check("max_open_files", self.open_files_max >= 4, "at least 4 are needed")?;
        check(
            "max_record_bytes",
            (1..=BATCH_BYTES_MAX - 4096).contains(&self.record_bytes_max),
            "1 byte to 64 MiB less 4 KiB are possible",
        )?;
        check("max_producers", self.producers_max >= 1, "at least 1 is needed")
    }
}

/// Checks the bound of a segment, the log's or a topic's.
pub(crate) fn check_segment_bytes(bytes: u64) -> Result<()> {
    check("segment_bytes", (512..=1 << 40).contains(&bytes), "512 bytes to 1 TiB are possible")
}

pub(crate) fn check(option: &'static str, holds: bool, reason: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::InvalidOption { option, reason: reason.to_owned() }) }
}

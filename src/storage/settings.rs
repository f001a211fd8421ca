//! A topic's own settings, kept with it from its creation on.

use super::codec::{Decoded, Decoder, Encode};
use super::options::{check, check_segment_bytes};
use crate::error::Result;

/// The most partitions that a topic can have.
pub(crate) const PARTITIONS_MAX: u32 = 100_000;

/// How a topic keeps its records. On disk a list of pairs, id and value, so
/// that a setting which is not used takes no room.
///
/// ```text
/// 1 retention records | 2 retention bytes | 3 retention ms
/// 4 segment bytes | 5 segment ms | 6 compaction: ms that a tombstone is kept
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TopicSettings {
    /// Only the last so many records of each partition are readable.
    pub(crate) retention_records: Option<u64>,
    /// Of each partition, segments beyond so many bytes go, the oldest first.
    pub(crate) retention_bytes: Option<u64>,
    /// Segments whose youngest record is older than this go.
    pub(crate) retention_ms: Option<u64>,
    /// In place of the log's own.
    pub(crate) segment_bytes: Option<u64>,
    /// A segment that was begun longer ago than this is sealed.
    pub(crate) segment_ms: Option<u64>,
    /// Of each key only the last record is kept, and one without a value for so
    /// many milliseconds after the pass that met it first.
    pub(crate) compaction_tombstone_ms: Option<u64>,
}

impl TopicSettings {
    const COUNT: usize = 6;

    fn values(&self) -> [Option<u64>; Self::COUNT] {
        [
            self.retention_records,
            self.retention_bytes,
            self.retention_ms,
            self.segment_bytes,
            self.segment_ms,
            self.compaction_tombstone_ms,
        ]
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let values = self.values();
        out.put_varint(values.iter().flatten().count() as u64);
        for (id, value) in (1..).zip(values) {
            if let Some(value) = value {
                out.put_u8(id);
                out.put_varint(value);
            }
        }
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        let mut settings = Self::default();
        let count = input.count(2, "a count of settings")?;
        if count > Self::COUNT {
            return Err(input.malformed("a possible count of settings"));
        }
        for _ in 0..count {
            let setting = match input.u8("a setting's id")? {
                1 => &mut settings.retention_records,
                2 => &mut settings.retention_bytes,
                3 => &mut settings.retention_ms,
                4 => &mut settings.segment_bytes,
                5 => &mut settings.segment_ms,
                6 => &mut settings.compaction_tombstone_ms,
                _ => return Err(input.malformed("a known setting")),
            };
            *setting = Some(input.varint("a setting's value")?);
        }
        Ok(settings)
    }

    /// Whether null keys are refused and old records of a key removed.
    pub(crate) fn is_compacted(&self) -> bool {
        self.compaction_tombstone_ms.is_some()
    }

    /// Whether segments go by their bytes or their age.
    pub(crate) fn retains_segments(&self) -> bool {
        self.retention_bytes.is_some() || self.retention_ms.is_some()
    }

    /// Records older than this may go. `None` keeps them whatever their age.
    pub(crate) fn oldest_ns(&self, now_ns: i64) -> Option<i64> {
        self.retention_ms.map(|ms| now_ns.saturating_sub(ns(ms)))
    }

    /// Whether a segment that was begun at `created_ns` takes no more records.
    pub(crate) fn segment_is_old(&self, created_ns: i64, now_ns: i64) -> bool {
        self.segment_ms.is_some_and(|ms| now_ns.saturating_sub(created_ns) > ns(ms))
    }

    /// Checks what a caller asks for.
    pub(crate) fn validate(&self) -> Result<()> {
        let some = |value: Option<u64>| value.is_none_or(|value| value > 0);
        check("retention_bytes", some(self.retention_bytes), "at least 1 byte is needed")?;
        check("retention_age", some(self.retention_ms), "at least 1 millisecond is needed")?;
        check("segment_age", some(self.segment_ms), "at least 1 millisecond is needed")?;
        self.segment_bytes.map_or(Ok(()), check_segment_bytes)
    }

    /// The log's start once the next offset is `next_offset`; it never goes back.
    pub(crate) fn log_start(&self, log_start: u64, next_offset: u64) -> u64 {
        match self.retention_records {
            Some(records) => log_start.max(next_offset.saturating_sub(records)),
            None => log_start,
        }
    }
}

/// Milliseconds in nanoseconds; what is too long for them is for ever.
fn ns(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

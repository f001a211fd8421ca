//! A topic's own settings, kept with it from its creation on.

use super::codec::{Decoded, Decoder, Encode};

/// The most partitions that a topic can have.
pub(crate) const PARTITIONS_MAX: u32 = 100_000;

const ID_RETENTION_RECORDS: u8 = 1;

/// How a topic keeps its records. On disk a list of pairs, id and value, so
/// that a setting which is not used takes no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TopicSettings {
    /// Only the last so many records of each partition are readable.
    pub(crate) retention_records: Option<u64>,
}

impl TopicSettings {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(u64::from(self.retention_records.is_some()));
        if let Some(records) = self.retention_records {
            out.put_u8(ID_RETENTION_RECORDS);
            out.put_varint(records);
        }
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Decoded<Self> {
        let mut settings = Self::default();
        for _ in 0..input.count(2, "a count of settings")? {
            match input.u8("a setting's id")? {
                ID_RETENTION_RECORDS => {
                    settings.retention_records = Some(input.varint("a setting's value")?);
                }
                _ => return Err(input.malformed("a known setting")),
            }
        }
        Ok(settings)
    }

    /// The log's start once the next offset is `next_offset`; it never goes back.
    pub(crate) fn log_start(&self, log_start: u64, next_offset: u64) -> u64 {
        match self.retention_records {
            Some(records) => log_start.max(next_offset.saturating_sub(records)),
            None => log_start,
        }
    }
}

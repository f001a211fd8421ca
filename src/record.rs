//! Records: what a producer sends, and what a consumer gets back.
//!
//! There are two pairs. [`ProducerRecord`] and [`Record`] are text, and all that most
//! programs need. [`BytesProducerRecord`] and [`BytesRecord`] are everything that
//! Kafka's records are: bytes, null values, headers, a timestamp and a partition of
//! the sender's choice. Both go to the same topics; what was sent as the one can be
//! read as the other.

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::storage::canonical::{Fields, time_text};
use chrono::{DateTime, Utc};
use std::sync::Arc;

pub use crate::record_bytes::{BytesProducerRecord, BytesRecord, Header};

/// A record to be sent. (Kafka: `ProducerRecord`.)
///
/// ```
/// use merkql::record::ProducerRecord;
///
/// let with_key = ProducerRecord::new("events", Some("user-1".into()), r#"{"action":"login"}"#);
/// assert_eq!(with_key.topic, "events");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProducerRecord {
    /// The topic it goes to.
    pub topic: String,
    /// Records of one key always go to one partition; those without a key take
    /// the partitions in turn.
    pub key: Option<String>,
    /// What is to be kept.
    pub value: String,
}

impl ProducerRecord {
    /// A record for `topic`.
    pub fn new(topic: impl Into<String>, key: Option<String>, value: impl Into<String>) -> Self {
        Self { topic: topic.into(), key, value: value.into() }
    }
}

/// A record of the log, as text. (Kafka: `ConsumerRecord<String, String>`.)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// The key that chose the partition, if it had one.
    pub key: Option<String>,
    /// What was sent.
    pub value: String,
    /// The topic it stands in.
    pub topic: String,
    /// The partition it stands in, counted from 0.
    pub partition: u32,
    /// Its place in the partition: dense, from 0.
    pub offset: u64,
    /// When it was sent, in whole milliseconds unless the sender chose otherwise.
    pub timestamp: DateTime<Utc>,
}

/// Where a record of a transaction stands. (Kafka: `RecordMetadata`.)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordMetadata {
    /// The topic it stands in.
    pub topic: Arc<str>,
    /// The partition it stands in, counted from 0.
    pub partition: u32,
    /// Its place in the partition: dense, from 0.
    pub offset: u64,
    /// Its timestamp: the sender's, or when the transaction was committed.
    pub timestamp: DateTime<Utc>,
}

impl Record {
    /// SHA-256 of [`Record::serialize`]: the entry that the partition's Merkle
    /// tree holds for this record.
    pub fn hash(&self) -> Hash {
        Hash::digest(&self.serialize())
    }

    /// The record's canonical bytes, little-endian: key as one byte 0 or 1,
    /// then if 1 a `u64` length and the bytes; value as `u64` length and bytes;
    /// topic likewise; partition `u32`; offset `u64`; timestamp as `u64` length
    /// and RFC 3339 text in UTC with `Z`.
    pub fn serialize(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(80 + self.value.len() + self.topic.len());
        let fields = Fields {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            key: self.key.as_deref().map(str::as_bytes),
            value: Some(self.value.as_bytes()),
            time_text: &time_text(self.timestamp),
            headers: &[],
        };
        fields.encode(&mut bytes);
        bytes
    }

    /// The record whose canonical bytes these are. Fails with
    /// [`Error::InvalidRecord`] on anything that [`Record::serialize`] does not
    /// produce.
    pub fn deserialize(bytes: &[u8]) -> Result<Self> {
        let record = BytesRecord::deserialize(bytes)?;
        let invalid = |reason| Error::InvalidRecord { reason, position: 0 };
        if !record.headers.is_empty() {
            return Err(invalid("a record without headers"));
        }
        record.into_text().map_err(|_| invalid("a key and a value in UTF-8"))
    }
}

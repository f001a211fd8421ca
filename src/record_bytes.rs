//! Records with all that Kafka's have; see [`crate::record`], which re-exports them.

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::record::{ProducerRecord, Record};
use crate::storage::canonical::{DecodedFields, Fields, time_text};
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// A header: a name, which may occur more than once in a record, and a value,
/// which may be null. (Kafka: `Header`.)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
}

/// A record to be sent, in bytes. (Kafka: `ProducerRecord<byte[], byte[]>`.)
///
/// ```
/// use merkql::record::{BytesProducerRecord, Header};
///
/// let order = BytesProducerRecord::new("orders", b"order-7", [0xca, 0xfe])
///     .with_header(Header::new("trace", "4711"));
/// let gone = BytesProducerRecord::tombstone("orders", b"order-7");
/// assert_eq!(gone.value, None);
/// # assert_eq!(order.headers.len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BytesProducerRecord {
    /// The topic it goes to.
    pub topic: String,
    /// The partition it goes to; `None` leaves the choice to the key, or, without
    /// one, gives the partitions their turns.
    pub partition: Option<u32>,
    /// Records of one key always go to one partition.
    pub key: Option<Vec<u8>>,
    /// What is to be kept; `None` is a tombstone: in a compacted topic it says that
    /// its key is gone.
    pub value: Option<Vec<u8>>,
    /// In their order.
    pub headers: Vec<Header>,
    /// `None` is the time of sending, in whole milliseconds.
    pub timestamp: Option<DateTime<Utc>>,
}

impl BytesProducerRecord {
    /// A record with key and value.
    pub fn new(
        topic: impl Into<String>,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) -> Self {
        Self { key: Some(key.into()), ..Self::without_key(topic, value) }
    }

    /// A record without a key.
    pub fn without_key(topic: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp: None,
        }
    }

    /// A record with a key and a null value.
    pub fn tombstone(topic: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        Self { value: None, ..Self::new(topic, key, []) }
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, header: Header) -> Self {
        self.headers.push(header);
        self
    }

    /// To this partition.
    #[must_use]
    pub fn with_partition(self, partition: u32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// With this timestamp, from the years 1678 to 2261, in nanoseconds.
    #[must_use]
    pub fn with_timestamp(self, timestamp: DateTime<Utc>) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }
}

impl From<ProducerRecord> for BytesProducerRecord {
    fn from(record: ProducerRecord) -> Self {
        let ProducerRecord { topic, key, value } = record;
        Self { key: key.map(String::into_bytes), ..Self::without_key(topic, value) }
    }
}

/// A record of the log, in bytes. (Kafka: `ConsumerRecord<byte[], byte[]>`.)
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BytesRecord {
    /// The key, if it had one.
    pub key: Option<Vec<u8>>,
    /// What was sent; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// In their order; a name may occur more than once.
    pub headers: Vec<Header>,
    /// The topic it stands in.
    pub topic: Arc<str>,
    /// The partition it stands in, counted from 0.
    pub partition: u32,
    /// Its place in the partition: dense, from 0.
    pub offset: u64,
    /// When it was sent, in whole milliseconds unless the sender chose otherwise.
    pub timestamp: DateTime<Utc>,
}

impl BytesRecord {
    /// The record as text, which has no headers: they are dropped. Fails with
    /// [`Error::NotText`] where key or value is no UTF-8, or the value is null.
    pub fn into_text(self) -> Result<Record> {
        let not_text = |part| Error::NotText {
            topic: self.topic.to_string(),
            partition: self.partition,
            offset: self.offset,
            part,
        };
        let text = |bytes, part| String::from_utf8(bytes).map_err(|_| not_text(part));
        Ok(Record {
            key: self.key.map(|key| text(key, "key")).transpose()?,
            value: text(self.value.ok_or_else(|| not_text("value"))?, "value")?,
            topic: self.topic.to_string(),
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
        })
    }

    /// SHA-256 of [`BytesRecord::serialize`]: the entry that the partition's
    /// Merkle tree holds for this record.
    pub fn hash(&self) -> Hash {
        Hash::digest(&self.serialize())
    }

    /// The record's canonical bytes: those of [`Record::serialize`], and beyond
    /// them: a null value has the length 2^64-1 and no bytes; headers, if there
    /// are any, follow as their count `u32`, then each as name (`u64` length and
    /// bytes), one byte 0 or 1, and if 1 the value (`u64` length and bytes).
    pub fn serialize(&self) -> Vec<u8> {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|header| (header.name.as_bytes(), header.value.as_deref()))
            .collect();
        let mut bytes = Vec::new();
        let fields = Fields {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            time_text: &time_text(self.timestamp),
            headers: &headers,
        };
        fields.encode(&mut bytes);
        bytes
    }

    /// The record whose canonical bytes these are. Fails with
    /// [`Error::InvalidRecord`] on anything that [`BytesRecord::serialize`] does
    /// not produce.
    pub fn deserialize(bytes: &[u8]) -> Result<Self> {
        let fields = DecodedFields::decode(bytes).map_err(|malformed| Error::InvalidRecord {
            reason: malformed.expected,
            position: malformed.position,
        })?;
        let invalid = |reason| Error::InvalidRecord { reason, position: 0 };
        let time = text(fields.time_text, "a timestamp in UTF-8")?;
        let timestamp = DateTime::parse_from_rfc3339(time)
            .map(|time| time.to_utc())
            .ok()
            .filter(|timestamp| time_text(*timestamp) == time)
            .ok_or(invalid("a canonical timestamp"))?;
        let header = |(name, value): (&[u8], Option<&[u8]>)| {
            let name = text(name, "a header's name in UTF-8")?.to_owned();
            Ok(Header { name, value: value.map(<[u8]>::to_vec) })
        };
        Ok(Self {
            key: fields.key.map(<[u8]>::to_vec),
            value: fields.value.map(<[u8]>::to_vec),
            headers: fields.headers.into_iter().map(header).collect::<Result<_>>()?,
            topic: text(fields.topic, "a topic in UTF-8")?.into(),
            partition: fields.partition,
            offset: fields.offset,
            timestamp,
        })
    }
}

fn text<'a>(bytes: &'a [u8], reason: &'static str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| Error::InvalidRecord { reason, position: 0 })
}

impl From<Record> for BytesRecord {
    fn from(record: Record) -> Self {
        Self {
            key: record.key.map(String::into_bytes),
            value: Some(record.value.into_bytes()),
            headers: Vec::new(),
            topic: record.topic.into(),
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
        }
    }
}

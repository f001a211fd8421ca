//! What text and byte records have in common, so that one piece of code sends
//! both, and returns both.

use crate::error::Result;
use crate::partition::{bytes_record, text_record};
use crate::record::{
    BytesProducerRecord, BytesRecord, Header, ProducerRecord, Record, RecordMetadata,
};
use crate::storage::frame::Body;
use crate::storage::partition::PartitionLog;
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// A record to be sent, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutgoingFields<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<u32>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header],
    pub(crate) timestamp: Option<DateTime<Utc>>,
}

impl OutgoingFields<'_> {
    /// Key, value and headers.
    pub(crate) fn size_bytes(&self) -> u64 {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let header = |header: &Header| header.name.len() + len(header.value.as_deref());
        let headers: usize = self.headers.iter().map(header).sum();
        (len(self.key) + len(self.value) + headers) as u64
    }

    /// An upper bound of what the record takes in a block.
    pub(crate) fn framed_bytes(&self) -> u64 {
        const OVERHEAD_BYTES: u64 = 48;
        const HEADER_OVERHEAD_BYTES: u64 = 12;
        let headers = self.headers.len() as u64 * HEADER_OVERHEAD_BYTES;
        self.size_bytes() + headers + OVERHEAD_BYTES
    }
}

/// Where a record goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) timestamp: DateTime<Utc>,
}

/// A record that can be sent.
pub(crate) trait Outgoing {
    /// What its sender gets back.
    type Stored: StoredRecord;

    fn fields(&self) -> OutgoingFields<'_>;

    /// The record as it stands in its place.
    fn stored(&self, place: Place<'_>) -> Self::Stored;
}

/// What a sender gets back of a record.
pub(crate) trait StoredRecord: Unpin + Sized {
    fn from_body(log: &PartitionLog, offset: u64, body: Body<'_>) -> Result<Self>;

    fn offset_mut(&mut self) -> &mut u64;

    fn timestamp_mut(&mut self) -> &mut DateTime<Utc>;
}

impl Outgoing for ProducerRecord {
    type Stored = Record;

    fn fields(&self) -> OutgoingFields<'_> {
        OutgoingFields {
            topic: &self.topic,
            partition: None,
            key: self.key.as_deref().map(str::as_bytes),
            value: Some(self.value.as_bytes()),
            headers: &[],
            timestamp: None,
        }
    }

    fn stored(&self, place: Place<'_>) -> Record {
        Record {
            key: self.key.clone(),
            value: self.value.clone(),
            topic: self.topic.clone(),
            partition: place.partition,
            offset: place.offset,
            timestamp: place.timestamp,
        }
    }
}

impl Outgoing for BytesProducerRecord {
    type Stored = BytesRecord;

    fn fields(&self) -> OutgoingFields<'_> {
        OutgoingFields {
            topic: &self.topic,
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
            timestamp: self.timestamp,
        }
    }

    fn stored(&self, place: Place<'_>) -> BytesRecord {
        BytesRecord {
            key: self.key.clone(),
            value: self.value.clone(),
            headers: self.headers.clone(),
            topic: Arc::clone(place.topic),
            partition: place.partition,
            offset: place.offset,
            timestamp: place.timestamp,
        }
    }
}

impl StoredRecord for Record {
    fn from_body(log: &PartitionLog, offset: u64, body: Body<'_>) -> Result<Self> {
        text_record(log, offset, body)
    }

    fn offset_mut(&mut self) -> &mut u64 {
        &mut self.offset
    }

    fn timestamp_mut(&mut self) -> &mut DateTime<Utc> {
        &mut self.timestamp
    }
}

impl StoredRecord for BytesRecord {
    fn from_body(log: &PartitionLog, offset: u64, body: Body<'_>) -> Result<Self> {
        bytes_record(log, offset, body)
    }

    fn offset_mut(&mut self) -> &mut u64 {
        &mut self.offset
    }

    fn timestamp_mut(&mut self) -> &mut DateTime<Utc> {
        &mut self.timestamp
    }
}

impl StoredRecord for RecordMetadata {
    fn from_body(log: &PartitionLog, offset: u64, body: Body<'_>) -> Result<Self> {
        Ok(Self {
            topic: Arc::clone(&log.name.topic),
            partition: log.name.partition,
            offset,
            timestamp: DateTime::from_timestamp_nanos(body.timestamp_ns),
        })
    }

    fn offset_mut(&mut self) -> &mut u64 {
        &mut self.offset
    }

    fn timestamp_mut(&mut self) -> &mut DateTime<Utc> {
        &mut self.timestamp
    }
}

//! Canonical bytes: what a record's hash is taken over.
//!
//! ```text
//! key present u8 | if 1: length u64, bytes
//! value length u64, bytes                    null value: length 2^64-1, no bytes
//! topic length u64, bytes
//! partition u32 | offset u64
//! timestamp length u64, RFC 3339 in UTC with `Z`, fraction absent or 3, 6 or 9 digits
//! only if there are headers:
//!   count u32, then each: name length u64, bytes | value present u8 | if 1: length u64, bytes
//! ```
//!
//! Little-endian. The part up to the timestamp is self-delimiting, and what
//! follows exists exactly if there are headers, so no two different records
//! share their bytes.

use super::body::Header;
use super::codec::{Decoded, Decoder, Encode};
use super::frame::Body;
use crate::merkle::Hash;
use chrono::{DateTime, SecondsFormat, Utc};

/// In the place of a value's length: the value is null.
const NULL_VALUE: u64 = u64::MAX;

/// The fields of a record that its canonical bytes hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) time_text: &'a str,
    pub(crate) headers: &'a [Header<'a>],
}

impl Fields<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_option(self.key, put_long_blob);
        match self.value {
            Some(value) => put_long_blob(out, value),
            None => out.put_u64(NULL_VALUE),
        }
        put_long_blob(out, self.topic.as_bytes());
        out.put_u32(self.partition);
        out.put_u64(self.offset);
        put_long_blob(out, self.time_text.as_bytes());
        if !self.headers.is_empty() {
            #[expect(clippy::cast_possible_truncation, reason = "a record is under 4 GiB")]
            out.put_u32(self.headers.len() as u32);
            for (name, value) in self.headers {
                put_long_blob(out, name);
                out.put_option(*value, put_long_blob);
            }
        }
    }
}

/// The time text of canonical bytes.
pub(crate) fn time_text(timestamp: DateTime<Utc>) -> String {
    timestamp.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The parts of canonical bytes.
#[derive(Debug)]
pub(crate) struct DecodedFields<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) time_text: &'a [u8],
    pub(crate) headers: Vec<Header<'a>>,
}

impl<'a> DecodedFields<'a> {
    /// Reads the canonical bytes of a record.
    pub(crate) fn decode(bytes: &'a [u8]) -> Decoded<Self> {
        let mut input = Decoder::new(bytes);
        let mut fields = Self {
            key: input.option("a key", |input| long_blob(input, "a key"))?,
            value: nullable_value(&mut input)?,
            topic: long_blob(&mut input, "a topic")?,
            partition: input.u32("a partition")?,
            offset: input.u64("an offset")?,
            time_text: long_blob(&mut input, "a timestamp")?,
            headers: Vec::new(),
        };
        if input.remaining() > 0 {
            let count = input.u32("a count of headers")?;
            if count == 0 {
                return Err(input.malformed("at least one header"));
            }
            for _ in 0..count {
                let name = long_blob(&mut input, "a header's name")?;
                let value = input
                    .option("a header's value", |input| long_blob(input, "a header's value"))?;
                fields.headers.push((name, value));
            }
        }
        input.finish()?;
        Ok(fields)
    }
}

fn nullable_value<'a>(input: &mut Decoder<'a>) -> Decoded<Option<&'a [u8]>> {
    let mut ahead = input.clone();
    if ahead.u64("a value")? == NULL_VALUE {
        *input = ahead;
        return Ok(None);
    }
    long_blob(input, "a value").map(Some)
}

fn put_long_blob(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u64(bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn long_blob<'a>(input: &mut Decoder<'a>, expected: &'static str) -> Decoded<&'a [u8]> {
    let len = input.u64(expected)?;
    let len = usize::try_from(len).map_err(|_| input.malformed(expected))?;
    input.bytes(len, expected)
}

/// Hashes records, one after the other.
///
/// Keeps its buffer, and the text of the last timestamp: the records of a batch
/// share theirs.
#[derive(Debug, Default)]
pub(crate) struct RecordHasher {
    buffer: Vec<u8>,
    timestamp_ns: Option<i64>,
    time_text: String,
}

impl RecordHasher {
    /// The record's hash: SHA-256 of its canonical bytes.
    pub(crate) fn hash(
        &mut self,
        topic: &str,
        partition: u32,
        offset: u64,
        body: &Body<'_>,
    ) -> Decoded<Hash> {
        if self.timestamp_ns != Some(body.timestamp_ns) {
            self.time_text = time_text(DateTime::from_timestamp_nanos(body.timestamp_ns));
            self.timestamp_ns = Some(body.timestamp_ns);
        }
        self.buffer.clear();
        let headers = body.headers.decode()?;
        let fields = Fields {
            topic,
            partition,
            offset,
            key: body.key,
            value: body.value,
            time_text: &self.time_text,
            headers: &headers,
        };
        fields.encode(&mut self.buffer);
        Ok(Hash::digest(&self.buffer))
    }
}

//! A record's body: all of it but its offset.
//!
//! ```text
//! body     | timestamp i64, ns since 1970 | flags u8 | key? blob | value? blob | headers? |
//! headers  count varint, then count times: name blob | present u8 | value? blob
//! blob     length varint | bytes
//! ```

use super::codec::{Decoded, Decoder, Encode, Malformed};

/// The smallest body: timestamp and flags.
pub(crate) const BODY_BYTES_MIN: usize = 9;

const FLAG_KEY: u8 = 1;
const FLAG_VALUE: u8 = 2;
const FLAG_HEADERS: u8 = 4;

/// A record as its body holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body<'a> {
    pub(crate) timestamp_ns: i64,
    pub(crate) key: Option<&'a [u8]>,
    /// `None` is a null value: a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

/// The encoded headers of a record; empty for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Headers<'a>(&'a [u8]);

/// A header's name and value.
pub(crate) type Header<'a> = (&'a [u8], Option<&'a [u8]>);

impl<'a> Headers<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes their encoding takes.
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// Encodes headers into the cleared `buffer`, in order; duplicates of a name
    /// are kept.
    pub(crate) fn encode<'h>(
        headers: impl ExactSizeIterator<Item = Header<'h>>,
        buffer: &'a mut Vec<u8>,
    ) -> Self {
        buffer.clear();
        if headers.len() > 0 {
            buffer.put_varint(headers.len() as u64);
        }
        for (name, value) in headers {
            buffer.put_blob(name);
            buffer.put_option(value, Encode::put_blob);
        }
        Self(buffer)
    }

    /// Headers from their encoding, which must be whole.
    pub(crate) fn new(bytes: &'a [u8]) -> Decoded<Self> {
        let headers = Self(bytes);
        headers.decode().map(|_| headers)
    }

    pub(crate) fn decode(self) -> Decoded<Vec<Header<'a>>> {
        let mut headers = Vec::new();
        let mut input = Decoder::new(self.0);
        if !self.is_empty() {
            let count = input.count(2, "a count of headers")?;
            if count == 0 {
                return Err(input.malformed("at least one header"));
            }
            for _ in 0..count {
                let name = input.blob("a header's name")?;
                let value =
                    input.option("a header's value", |input| input.blob("a header's value"))?;
                headers.push((name, value));
            }
        }
        input.finish()?;
        Ok(headers)
    }
}

impl<'a> Body<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_i64(self.timestamp_ns);
        let flag = |present: bool, flag: u8| if present { flag } else { 0 };
        out.put_u8(
            flag(self.key.is_some(), FLAG_KEY)
                | flag(self.value.is_some(), FLAG_VALUE)
                | flag(!self.headers.is_empty(), FLAG_HEADERS),
        );
        for bytes in [self.key, self.value].into_iter().flatten() {
            out.put_blob(bytes);
        }
        out.extend_from_slice(self.headers.0);
    }

    /// An upper bound of the length of its encoding.
    pub(crate) fn encoded_len_max(&self) -> usize {
        const LENGTH_BYTES_MAX: usize = 10;
        let blobs = [self.key, self.value].into_iter().flatten();
        let blobs: usize = blobs.map(|blob| LENGTH_BYTES_MAX + blob.len()).sum();
        BODY_BYTES_MIN + blobs + self.headers.0.len()
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Decoded<Self> {
        let mut input = Decoder::new(bytes);
        let timestamp_ns = input.i64("a timestamp")?;
        let flags = input.u8("a record's flags")?;
        if flags & !(FLAG_KEY | FLAG_VALUE | FLAG_HEADERS) != 0 {
            return Err(input.malformed("a record's flags"));
        }
        let mut blob = |flag: u8, name| (flags & flag != 0).then(|| input.blob(name)).transpose();
        let key = blob(FLAG_KEY, "a key")?;
        let value = blob(FLAG_VALUE, "a value")?;
        let headers = if flags & FLAG_HEADERS == 0 {
            input.finish()?;
            Headers::default()
        } else {
            let headers = Headers::new(input.bytes(input.remaining(), "headers")?)?;
            if headers.is_empty() {
                return Err(Malformed { expected: "headers", position: bytes.len() });
            }
            headers
        };
        Ok(Self { timestamp_ns, key, value, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: &'a [u8]) -> Body<'a> {
        Body { timestamp_ns: -7, key, value, headers: Headers::new(headers).unwrap() }
    }

    #[test]
    fn a_body_keeps_null_and_empty_apart_and_duplicate_headers_in_order() {
        let headers: [Header<'_>; 3] = [(b"trace", Some(b"1")), (b"trace", None), (b"", Some(b""))];
        let mut buffer = Vec::new();
        let headers = Headers::encode(headers.into_iter(), &mut buffer).0;
        let empty: Option<&[u8]> = Some(b"");
        for (key, value) in [(None, None), (empty, None), (None, empty), (Some(&b"k"[..]), empty)] {
            for headers in [&[][..], headers] {
                let written = body(key, value, headers);
                let mut bytes = Vec::new();
                written.encode(&mut bytes);
                assert_eq!(Body::decode(&bytes), Ok(written));
                for cut in 0..bytes.len() {
                    assert!(Body::decode(&bytes[..cut]).is_err(), "cut at {cut}");
                }
            }
        }
    }
}

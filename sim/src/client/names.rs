//! How topics, partitions and values are called in a history.
//!
//! A value is a tag, which says which record of which step it is, and filling that
//! follows from the tag. In a history a value that is exactly what its tag says
//! stands as the tag alone; anything else stands there in full, and is a record
//! that nobody has sent.

use crate::disk::Digest;
use crate::random::garbage_words;
use crate::scenario::{RecordKind, RecordSpec};
use merkql::record::{BytesProducerRecord, BytesRecord, Header};
use merkql::topic::Topic;
use merkql_jepsen::history::{Datum, Key};
use std::collections::BTreeMap;

/// The key of a partition of a topic in its first life.
pub(crate) fn key_of(topic: &str, partition: u32) -> Key {
    Key::from(format!("{topic}/{partition}").as_str())
}

/// Which life of each topic it is that clients speak of; the first is 0. A topic
/// that is created again under its name is another one, and has other keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lives(BTreeMap<String, u32>);

impl Lives {
    pub(crate) fn of(&self, topic: &str) -> u32 {
        self.0.get(topic).copied().unwrap_or_default()
    }

    /// The topic begins another life.
    pub(crate) fn begin(&mut self, topic: &str) {
        *self.0.entry(topic.to_owned()).or_default() += 1;
    }

    /// The key of a partition of the topic in its present life.
    pub(crate) fn key(&self, topic: &str, partition: u32) -> Key {
        key_in(topic, self.of(topic), partition)
    }
}

/// The key of a partition of a topic in one of its lives.
pub(crate) fn key_in(topic: &str, life: u32, partition: u32) -> Key {
    match life {
        0 => key_of(topic, partition),
        life => key_of(&format!("{topic}~{}", life + 1), partition),
    }
}

/// The value of a record: at least `bytes` long.
pub(crate) fn value_of(step: u32, place: usize, bytes: u32) -> String {
    let tag = format!("{step}.{place}");
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let filling = bytes.saturating_sub(tag.len() + 1);
    expand(&tag, filling)
}

fn expand(tag: &str, filling: usize) -> String {
    let mut value = String::with_capacity(tag.len() + 1 + filling);
    value.push_str(tag);
    value.push(':');
    value.extend(filling_of(tag).flatten().take(filling).map(char::from));
    value
}

/// The value of what a group makes of a record, in its so many-th attempt.
pub(crate) fn taken_over(group: &str, attempt: u32, input: &BytesRecord) -> String {
    let tag = tag_text(input);
    let tag = tag.trim_matches('"');
    expand(&format!("{group}.{attempt}<{tag}"), 12)
}

/// What stands behind a tag, without an end.
fn filling_of(tag: &str) -> impl Iterator<Item = [u8; 8]> + use<> {
    let mut digest = Digest::new();
    digest.bytes(tag.as_bytes());
    garbage_words(digest.value()).map(|bytes| bytes.map(|byte| b'a' + byte % 26))
}

/// Whether these bytes stand behind the tag in a value.
fn is_filling(tag: &str, bytes: &[u8]) -> bool {
    let words = bytes.chunks(8).zip(filling_of(tag));
    words.into_iter().all(|(bytes, expected)| expected.starts_with(bytes))
}

/// What makes a value no text.
const NO_TEXT: u8 = 0xFF;
/// The header that has a record's tag, where it has headers.
const TAG_HEADER: &str = "tag";

/// A record to be sent: its value, and what else follows from its tag. A tombstone
/// has its tag in a header alone. One in bytes has a value that is no text, and the
/// header a second time, without a value.
pub(crate) fn record_of(
    (step, place): (u32, usize),
    spec: &RecordSpec,
    key: Option<String>,
) -> BytesProducerRecord {
    let value = value_of(step, place, spec.bytes).into_bytes();
    let tag = format!("{step}.{place}");
    let mut record = BytesProducerRecord::without_key(spec.topic.as_str(), value);
    record.key = key.map(String::into_bytes);
    if spec.kind != RecordKind::Text {
        record.headers.push(Header::new(TAG_HEADER, tag));
    }
    match spec.kind {
        RecordKind::Text => {}
        RecordKind::Tombstone => record.value = None,
        RecordKind::Bytes => {
            record.value.get_or_insert_default().push(NO_TEXT);
            record.headers.push(Header { name: TAG_HEADER.to_owned(), value: None });
        }
    }
    record
}

/// A record as it stands in a history: its tag, if all of it is as the tag says.
pub(crate) fn datum_of(record: &BytesRecord) -> Datum {
    datum(record.value.as_deref(), &record.headers)
}

/// The same of one that is to be sent.
pub(crate) fn datum_to_be(record: &BytesProducerRecord) -> Datum {
    datum(record.value.as_deref(), &record.headers)
}

fn datum(value: Option<&[u8]>, headers: &[Header]) -> Datum {
    let tag = match (value, headers) {
        (Some(value), []) => tag_of(value),
        (None, [header]) => header_tag(header),
        (Some([value @ .., NO_TEXT]), [header, last]) => tag_of(value)
            .filter(|tag| header_tag(header) == Some(tag))
            .filter(|_| (last.name.as_str(), &last.value) == (TAG_HEADER, &None)),
        _ => None,
    };
    match tag {
        Some(tag) => Datum::str(tag),
        None => match value.map(std::str::from_utf8) {
            Some(Ok(text)) if headers.is_empty() => Datum::str(text),
            _ => Datum::str(&format!("{value:?} {headers:?}")),
        },
    }
}

fn header_tag(header: &Header) -> Option<&str> {
    let value = header.value.as_deref().filter(|_| header.name == TAG_HEADER)?;
    std::str::from_utf8(value).ok()
}

/// The tag of a value that is exactly what its tag says.
fn tag_of(value: &[u8]) -> Option<&str> {
    let (tag, filling) = std::str::from_utf8(value).ok()?.split_once(':')?;
    is_filling(tag, filling.as_bytes()).then_some(tag)
}

/// The tag of a record, or something in its place if it has none that is right.
pub(crate) fn tag_text(record: &BytesRecord) -> String {
    datum_of(record).to_string()
}

/// A record's key that leads to a partition: one of three, by its number. None now
/// and then where there is only one partition, unless the topic needs keys.
pub(crate) fn record_key(topic: &Topic, partition: u32, number: usize) -> Option<String> {
    let needs_key = topic.config().compaction.is_some();
    if topic.num_partitions() == 1 && number.is_multiple_of(2) && !needs_key {
        return None;
    }
    let partition = partition % topic.num_partitions().max(1);
    let mut keys =
        (0..10_000).map(|n| format!("k{n}")).filter(|key| topic.partition_of_key(key) == partition);
    let first = keys.next();
    if needs_key { keys.nth(number % 3).or(first) } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: RecordKind) -> BytesProducerRecord {
        let spec = RecordSpec { topic: "t".to_owned(), partition: 0, bytes: 40, kind };
        record_of((12, 3), &spec, None)
    }

    #[test]
    fn a_record_stands_as_its_tag_only_where_every_byte_is_right() {
        for kind in [RecordKind::Text, RecordKind::Bytes, RecordKind::Tombstone] {
            let right = record(kind);
            assert_eq!(datum_to_be(&right), Datum::str("12.3"));
            let mut wrong = right.clone();
            match &mut wrong.value {
                Some(value) => value[30] ^= 1,
                None => wrong.value = Some(Vec::new()),
            }
            assert_ne!(datum_to_be(&wrong), Datum::str("12.3"), "{kind:?}");
            let more = right.with_header(Header::new("more", "1"));
            assert_ne!(datum_to_be(&more), Datum::str("12.3"), "{kind:?}");
        }
        let mut other_tag = record(RecordKind::Bytes);
        other_tag.headers[0].value = Some(b"12.4".to_vec());
        assert_ne!(datum_to_be(&other_tag), Datum::str("12.3"));
    }
}

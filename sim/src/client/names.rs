//! How topics, partitions and values are called in a history.
//!
//! A value is a tag, which says which record of which step it is, and filling that
//! follows from the tag. In a history a value that is exactly what its tag says
//! stands as the tag alone; anything else stands there in full, and is a record
//! that nobody has sent.

use crate::disk::Digest;
use crate::random::garbage_words;
use merkql::topic::Topic;
use merkql_jepsen::history::{Datum, Key};

/// The key of a partition in a history.
pub(crate) fn key_of(topic: &str, partition: u32) -> Key {
    Key::from(format!("{topic}/{partition}").as_str())
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
pub(crate) fn taken_over(group: &str, attempt: u32, input: &str) -> String {
    let tag = input.split(':').next().unwrap_or_default();
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

/// A value as it stands in a history.
pub(crate) fn datum_of(value: &str) -> Datum {
    match value.split_once(':') {
        Some((tag, filling)) if is_filling(tag, filling.as_bytes()) => Datum::str(tag),
        _ => Datum::str(value),
    }
}

/// A record's key that leads to a partition; none now and then where there is
/// only one.
pub(crate) fn record_key(topic: &Topic, partition: u32, number: usize) -> Option<String> {
    if topic.num_partitions() == 1 && number.is_multiple_of(2) {
        return None;
    }
    let partition = partition % topic.num_partitions().max(1);
    (0..10_000).map(|n| format!("k{n}")).find(|key| topic.partition_of_key(key) == partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_as_its_tag_only_where_every_byte_is_right() {
        let value = value_of(12, 3, 40);
        assert_eq!(value.len(), 40);
        assert_eq!(datum_of(&value), Datum::str("12.3"));
        assert_eq!(datum_of(&value_of(12, 3, 0)), Datum::str("12.3"));
        let mut wrong = value.clone();
        wrong.pop();
        wrong.push('!');
        assert_eq!(datum_of(&wrong), Datum::str(&wrong));
        let other_tag = value.replacen("12.3", "12.4", 1);
        assert_eq!(datum_of(&other_tag), Datum::str(&other_tag));
    }
}

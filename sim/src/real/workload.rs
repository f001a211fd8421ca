//! What the clients of all lives agree on: topics, sizes, numbers. Whatever a
//! life needs to know of the ones before it follows from these and the history.

use crate::client::names::key_of;
use crate::disk::Digest;
use crate::scenario::RecordSpec;
use merkql::broker::BrokerConfig;
use merkql::compression::Compression;
use merkql_jepsen::history::{Datum, Key};
use std::path::Path;

/// The topics, with their partitions. None retains less than all: what retention
/// takes away could not be told from what is lost, as others go on meanwhile.
pub(crate) const TOPICS: [(&str, u32); 3] = [("single", 1), ("left", 3), ("right", 2)];

/// How many steps and how many processes a life may number.
pub(crate) const NUMBERS_A_LIFE: u32 = 1_000_000;

/// Processes below are the producers that live on from life to life.
const FIRST_PROCESS: i64 = 1000;

/// The first process of a life that nobody was before.
pub(crate) fn first_process(life: u32) -> i64 {
    FIRST_PROCESS + i64::from(life) * i64::from(NUMBERS_A_LIFE)
}

/// The first step of a life.
pub(crate) fn first_step(life: u32) -> u32 {
    life.saturating_mul(NUMBERS_A_LIFE)
}

/// Whether the writer of this number sends under a producer id, its number.
pub(crate) fn is_numbered(writer: u32) -> bool {
    writer % 4 == 3
}

/// How the log is opened: with sizes so small that files are rolled, the state
/// is checkpointed and journals are used again all the time.
pub(crate) fn config(dir: &Path) -> BrokerConfig {
    BrokerConfig {
        auto_create_topics: false,
        compression: Compression::Lz4,
        journal_initial_bytes: 8 << 10,
        journal_max_bytes: 64 << 10,
        segment_bytes: 32 << 10,
        index_interval_bytes: 256,
        max_open_files: 12,
        max_poll_bytes: 16 << 10,
        ..BrokerConfig::new(dir)
    }
}

/// How long the value of a record is at least; most are short.
fn bytes_of(step: u32, place: usize) -> u32 {
    let mut digest = Digest::new();
    digest.number(u64::from(step));
    digest.number(place as u64);
    let drawn = u32::try_from(digest.value() >> 40).unwrap_or_default();
    if drawn.is_multiple_of(24) { 2500 } else { 12 + drawn % 150 }
}

/// The record of a place in a step.
pub(crate) fn spec(topic: &str, partition: u32, step: u32, place: usize) -> RecordSpec {
    RecordSpec {
        topic: topic.to_owned(),
        partition,
        bytes: bytes_of(step, place),
        ..RecordSpec::default()
    }
}

/// The topic and the partition that a key of the history stands for.
pub(crate) fn place_of(key: &Key) -> Option<(String, u32)> {
    TOPICS.iter().find_map(|(topic, partitions)| {
        let mut numbers = 0..*partitions;
        let number = numbers.find(|number| key_of(topic, *number) == *key)?;
        Some(((*topic).to_owned(), number))
    })
}

/// The step and the place in it that a record's value names.
pub(crate) fn step_of(value: &Datum) -> Option<(u32, usize)> {
    let (step, place) = value.name()?.split_once('.')?;
    Some((step.parse().ok()?, place.parse().ok()?))
}

/// The group that a reader is in: two readers share one.
pub(crate) fn group_of(reader: u32) -> String {
    format!("group-{}", reader / 2)
}

/// The groups that so many readers are in.
pub(crate) fn groups(readers: u32) -> Vec<String> {
    (0..readers).step_by(2).map(group_of).collect()
}

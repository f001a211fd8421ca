//! What the tests of the public surface share: a log in a temporary directory,
//! consumers and records in one line, and looks at the directory from outside.

#![allow(dead_code, reason = "each test crate uses its own part of this")]
#![allow(clippy::disallowed_methods, reason = "the tests look at the disk behind the log's back")]

pub(crate) mod forge;
pub(crate) mod watched;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, OffsetReset};
use merkql::partition::Partition;
use merkql::producer::Producer;
use merkql::record::{ProducerRecord, Record};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For a poll that must not wait.
pub(crate) const NOW: Duration = Duration::ZERO;

/// A directory that goes away with the test.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A broker with the defaults.
pub(crate) fn open(dir: &Path) -> BrokerRef {
    Broker::open(BrokerConfig::new(dir)).unwrap()
}

/// A record without a key.
pub(crate) fn keyless(topic: &str, value: impl Into<String>) -> ProducerRecord {
    ProducerRecord::new(topic, None, value)
}

/// A record with a key.
pub(crate) fn keyed(topic: &str, key: &str, value: impl Into<String>) -> ProducerRecord {
    ProducerRecord::new(topic, Some(key.to_owned()), value)
}

/// The records `<prefix>0`, `<prefix>1`, … for one topic.
pub(crate) fn numbered(topic: &str, prefix: &str, count: usize) -> Vec<ProducerRecord> {
    (0..count).map(|number| keyless(topic, format!("{prefix}{number}"))).collect()
}

/// Sends `count` numbered values in one batch.
pub(crate) fn send_numbered(producer: &Producer, topic: &str, prefix: &str, count: usize) {
    let sent = producer.send_batch(&numbered(topic, prefix, count)).unwrap();
    assert_eq!(sent.len(), count);
}

/// A consumer that begins at the start and does not commit by itself.
pub(crate) fn consumer(broker: &BrokerRef, group: &str) -> Consumer {
    consumer_from(broker, group, OffsetReset::Earliest)
}

/// A consumer that does not commit by itself.
pub(crate) fn consumer_from(
    broker: &BrokerRef,
    group: &str,
    offset_reset: OffsetReset,
) -> Consumer {
    let group_id = group.to_owned();
    Broker::consumer(broker, ConsumerConfig { group_id, auto_commit: false, offset_reset })
}

/// A consumer that is subscribed to one topic from the start.
pub(crate) fn subscribed(broker: &BrokerRef, group: &str, topic: &str) -> Consumer {
    let mut consumer = consumer(broker, group);
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// The values of records, in their order.
pub(crate) fn values(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.value.as_str()).collect()
}

/// What one poll without waiting returns, as values.
pub(crate) fn poll_values(consumer: &mut Consumer) -> Vec<String> {
    let records = consumer.poll(NOW).unwrap();
    records.into_iter().map(|record| record.value).collect()
}

/// Places of records: partition and offset.
pub(crate) fn places(records: &[Record]) -> Vec<(u32, u64)> {
    records.iter().map(|record| (record.partition, record.offset)).collect()
}

/// A partition as it is now.
pub(crate) fn partition(broker: &BrokerRef, topic: &str, partition: u32) -> Partition {
    broker.topic(topic).unwrap().partition(partition).unwrap().read().unwrap()
}

/// Every name below `dir`, with the content of the files.
pub(crate) fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(dir) else {
        found.insert(dir.to_owned(), fs::read(dir).ok());
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), None);
            found.append(&mut snapshot(&path));
        } else {
            found.insert(path.clone(), Some(fs::read(&path).unwrap()));
        }
    }
    found
}

/// Runs `call` and sees to it that the directory is as it was.
pub(crate) fn changes_nothing<T>(dir: &Path, call: impl FnOnce() -> T) -> T {
    let before = snapshot(dir);
    let outcome = call();
    let after = snapshot(dir);
    let changed: Vec<_> = after
        .keys()
        .chain(before.keys())
        .filter(|path| after.get(*path) != before.get(*path))
        .collect();
    assert_eq!(changed, Vec::<&PathBuf>::new());
    outcome
}

/// The files below `dir` whose name ends like this, in the order of their names.
pub(crate) fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let is_wanted = |path: &PathBuf| path.to_string_lossy().ends_with(ending);
    let all = snapshot(dir).into_iter().filter(|(_, content)| content.is_some());
    all.map(|(path, _)| path).filter(is_wanted).collect()
}

/// The only file below `dir` whose name ends like this.
pub(crate) fn only_file(dir: &Path, ending: &str) -> PathBuf {
    let found = files(dir, ending);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

/// The bytes of all files below `dir`.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    snapshot(dir).values().flatten().map(|content| content.len() as u64).sum()
}

/// Where `text` stands in the file.
pub(crate) fn find_in_file(path: &Path, text: &str) -> usize {
    let content = fs::read(path).unwrap();
    let found = content.windows(text.len()).position(|window| window == text.as_bytes());
    found.unwrap_or_else(|| panic!("{text:?} does not stand in {}", path.display()))
}

/// Inverts one bit of the byte at `position`.
pub(crate) fn flip_bit(path: &Path, position: usize) {
    let mut content = fs::read(path).unwrap();
    content[position] ^= 0x10;
    fs::write(path, content).unwrap();
}

/// Damages the place in the file where `text` stands.
pub(crate) fn damage_text(path: &Path, text: &str) {
    flip_bit(path, find_in_file(path, text));
}

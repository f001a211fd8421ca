//! Values that look like the log's own records, or like blocks of its journal: no search is
//! led astray by them, or takes longer than the file is long.

#![allow(
    clippy::disallowed_methods,
    reason = "the test damages a file behind the log's back, and looks at the clock"
)]

mod support;
mod support_crash;

use merkql::broker::{Broker, BrokerConfig};
use merkql::record::BytesProducerRecord;
use merkql::repair::RepairOptions;
use merkql::{Error, repair, verify};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use support::*;
use support_crash::copy_dir;

const VALUE_BYTES: usize = 8 << 20;
const PAGE: usize = 4096;

/// Without a bound each of these takes minutes.
fn within_seconds<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let made = call();
    assert!(begun.elapsed() < Duration::from_secs(20), "{what} took {:?}", begun.elapsed());
    made
}

/// A value of nothing but headers of frames, each of which claims half of the value.
fn headers_of_frames() -> Vec<u8> {
    let length = u32::try_from(VALUE_BYTES / 2).unwrap().to_le_bytes();
    let header: Vec<u8> = [&length[..], &[7; 4], &1_u64.to_le_bytes(), &[1]].concat();
    header.into_iter().cycle().take(VALUE_BYTES).collect()
}

#[test]
fn damage_in_front_of_a_value_full_of_headers_ends_in_an_error_and_not_in_a_search_of_hours() {
    let dir = scratch();
    let config = merkql::broker::BrokerConfig::new(dir.path());
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "first")).unwrap();
    let value = headers_of_frames();
    producer.send_bytes(&BytesProducerRecord::without_key("t", value)).unwrap();
    producer.send(&keyless("t", "last")).unwrap();
    Broker::close(&broker).unwrap();
    let path = only_file(dir.path(), ".log");
    let first = find_in_file(&path, "first");
    // The frame behind the first record.
    flip_bit(&path, first + "first".len() + 6);

    let report = within_seconds("verify", || verify(&config)).unwrap();
    assert_eq!(report.findings[0].offset, Some(1), "{:?}", report.findings);
    let report = within_seconds("repair", || repair(&config, &RepairOptions::default())).unwrap();
    assert_eq!((report.lost[0].start, report.lost[0].end), (1, 2));
    within_seconds("reading", || {
        let broker = open(dir.path());
        let damaged = partition(&broker, "t", 0);
        assert_eq!(damaged.read(0).unwrap().unwrap().value, "first");
        assert!(matches!(damaged.read(1), Err(Error::Corrupt(_))));
        assert_eq!(damaged.read(2).unwrap().unwrap().value, "last");
    });
}

#[test]
fn a_value_full_of_headers_that_was_torn_on_its_way_to_its_partition_is_recovered() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    producer.send(&keyless("t", "first")).unwrap();
    let value = headers_of_frames();
    producer.send_bytes(&BytesProducerRecord::without_key("t", value.clone())).unwrap();
    let image = scratch();
    copy_dir(dir.path(), image.path());
    drop(broker);
    let path = only_file(image.path(), ".log");
    let first = find_in_file(&path, "first");
    flip_bit(&path, first + "first".len() + 6);

    let broker = within_seconds("opening", || open(image.path()));
    let read = partition(&broker, "t", 0).read_bytes(1).unwrap().unwrap();
    assert!(read.value == Some(value), "the value is what was sent");
}

/// A value of nothing but headers of the journal's blocks, one where each page of the file
/// begins, if the value begins `before` bytes in front of one. Each claims half of the value.
fn headers_of_blocks(a_block: &[u8], before: usize, bytes: usize) -> Vec<u8> {
    let mut header = a_block[..PAGE].to_vec();
    // The generation, and the length of the body.
    header[16..24].copy_from_slice(&1000_u64.to_le_bytes());
    header[64..68].copy_from_slice(&u32::try_from(bytes / 2).unwrap().to_le_bytes());
    // Its nonces are unknown to whoever does not read the journal.
    header[24..40].fill(7);
    let mut value = vec![b' '; before];
    value.extend(header.into_iter().cycle().take(bytes - before));
    value
}

/// The journal's last file, and where the marker stands in it.
fn place_in_journal(dir: &Path, marker: &[u8]) -> Option<(std::path::PathBuf, usize)> {
    files(dir, ".wal").into_iter().find_map(|path| {
        let content = fs::read(&path).unwrap();
        let at = content.windows(marker.len()).position(|window| window == marker)?;
        Some((path, at))
    })
}

#[test]
fn a_torn_block_with_a_value_full_of_headers_of_blocks_is_dropped_in_no_time() {
    const BYTES: usize = 24 << 20;
    let config = |dir: &Path| BrokerConfig { max_record_bytes: 60 << 20, ..BrokerConfig::new(dir) };
    let dir = scratch();
    let send = |dir: &Path, value: Vec<u8>| {
        let broker = Broker::open(config(dir)).unwrap();
        let record = BytesProducerRecord::without_key("t", value);
        Broker::producer(&broker).send_bytes(&record).unwrap();
        let image = scratch();
        copy_dir(dir, image.path());
        image
    };
    drop(send(dir.path(), b"first".to_vec()));
    let before = scratch();
    copy_dir(dir.path(), before.path());
    // Where a value of this length comes to lie.
    let probe = scratch();
    copy_dir(dir.path(), probe.path());
    let marked = send(probe.path(), [b"a marker".to_vec(), vec![b' '; BYTES - 8]].concat());
    let (path, at) = place_in_journal(marked.path(), b"a marker").unwrap();
    let block = fs::read(&path).unwrap();
    let value = headers_of_blocks(&block, at.next_multiple_of(PAGE) - at, BYTES);

    let image = send(dir.path(), value);
    // The journal as it is when the process dies within the write, and nothing else.
    let name = Path::new(".merkql/journal").join(path.file_name().unwrap());
    let mut torn = fs::read(image.path().join(&name)).unwrap();
    torn[at + BYTES / 4 * 3..].fill(0);
    fs::write(before.path().join(name), torn).unwrap();
    let broker = within_seconds("opening", || Broker::open(config(before.path()))).unwrap();
    assert_eq!(partition(&broker, "t", 0).next_offset(), 1);
}

//! Values that look like the log's own records: a search behind damage is not led astray
//! by them, and does not take longer than the file is long.

#![allow(
    clippy::disallowed_methods,
    reason = "the test damages a file behind the log's back, and looks at the clock"
)]

mod support;

use merkql::broker::Broker;
use merkql::record::BytesProducerRecord;
use merkql::{Error, verify};
use std::time::{Duration, Instant};
use support::*;

const VALUE_BYTES: usize = 8 << 20;

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

    let begun = Instant::now();
    let report = verify(&config).unwrap();
    assert_eq!(report.findings[0].offset, Some(1), "{:?}", report.findings);
    let broker = open(dir.path());
    let damaged = partition(&broker, "t", 0);
    assert_eq!(damaged.read(0).unwrap().unwrap().value, "first");
    assert!(matches!(damaged.read(1), Err(Error::Corrupt(_))));
    // Without a bound it is minutes.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

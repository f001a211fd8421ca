//! What a consumer can be asked and told beside polling and committing.

mod support;

use chrono::{DateTime, TimeDelta, Utc};
use merkql::Error;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, ConsumerOptions, OffsetReset};
use merkql::record::{BytesProducerRecord, Header};
use merkql::topic::RetentionConfig;
use merkql_sim::clock::SimClock;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use support::*;

const SECOND: Duration = Duration::from_secs(1);

/// A broker on a clock that stands still unless it is told to go on.
fn timed(dir: &Path, clock: &Arc<SimClock>) -> BrokerRef {
    Broker::open(BrokerConfig { clock: clock.clone(), ..BrokerConfig::new(dir) }).unwrap()
}

fn config(group: &str, auto_commit: bool) -> ConsumerConfig {
    let group_id = group.to_owned();
    ConsumerConfig { group_id, auto_commit, offset_reset: OffsetReset::Earliest }
}

fn with_options(broker: &BrokerRef, options: ConsumerOptions) -> Consumer {
    let mut consumer = Broker::consumer_with(broker, config("g", true), options);
    consumer.subscribe(&["t"]).unwrap();
    consumer
}

fn place(offset: u64) -> BTreeMap<(String, u32), u64> {
    BTreeMap::from([(("t".to_owned(), 0), offset)])
}

#[test]
fn a_poll_in_bytes_returns_what_a_poll_in_text_returns() {
    let dir = scratch();
    let broker = open(dir.path());
    let sent = Broker::producer(&broker).send(&keyed("t", "k", "v")).unwrap();
    let records = subscribed(&broker, "bytes", "t").poll_bytes(NOW).unwrap();
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(record.value.as_deref(), Some(&b"v"[..]));
    assert!(record.headers.is_empty());
    assert_eq!((&*record.topic, record.partition, record.offset), ("t", 0, 0));
    assert_eq!(record.timestamp, sent.timestamp);
    assert_eq!(subscribed(&broker, "text", "t").poll(NOW).unwrap(), [sent]);
}

#[test]
fn polls_in_bytes_and_in_text_share_one_position() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 3);
    let options = ConsumerOptions { max_poll_records: Some(1), ..ConsumerOptions::default() };
    let mut consumer = with_options(&broker, options);
    assert_eq!(poll_values(&mut consumer), ["v0"]);
    assert_eq!(consumer.poll_bytes(NOW).unwrap()[0].value.as_deref(), Some(&b"v1"[..]));
    assert_eq!(poll_values(&mut consumer), ["v2"]);
    assert!(consumer.poll_bytes(NOW).unwrap().is_empty());
}

#[test]
fn what_is_no_text_stops_polls_in_text_and_not_those_in_bytes() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let odd = BytesProducerRecord::without_key("t", [0xff]).with_header(Header::new("h", [1]));
    producer.send(&keyless("t", "a")).unwrap();
    producer.send_bytes(&odd).unwrap();
    producer.send_bytes(&BytesProducerRecord::tombstone("t", "k")).unwrap();
    producer.send(&keyless("t", "b")).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut consumer), ["a"]);
    for _ in 0..2 {
        let refused = consumer.poll(NOW).unwrap_err();
        assert!(matches!(refused, Error::NotText { offset: 1, .. }), "{refused}");
    }
    consumer.commit_sync().unwrap();
    assert_eq!(consumer.position("t", 0).unwrap(), 1);
    let rest = consumer.poll_bytes(NOW).unwrap();
    let values: Vec<Option<&[u8]>> = rest.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [Some(&[0xff][..]), None, Some(b"b")]);
    assert_eq!(rest[0].headers, odd.headers);
    assert_eq!(rest[1].key.as_deref(), Some(&b"k"[..]));
}

#[test]
fn headers_count_in_what_a_poll_returns_at_most() {
    let dir = scratch();
    let broker = open(dir.path());
    for _ in 0..3 {
        let record = BytesProducerRecord::without_key("t", []);
        let record = record.with_header(Header::new("h", [0; 1000]));
        Broker::producer(&broker).send_bytes(&record).unwrap();
    }
    let options = ConsumerOptions { max_poll_bytes: Some(2100), ..ConsumerOptions::default() };
    let mut consumer = with_options(&broker, options);
    assert_eq!(consumer.poll_bytes(NOW).unwrap().len(), 2);
    assert_eq!(consumer.poll_bytes(NOW).unwrap().len(), 1);
}

#[test]
fn bounded_polls_return_everything_in_order_and_leave_no_partition_waiting() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 3).unwrap();
    // Ten records for each partition.
    send_numbered(&Broker::producer(&broker), "t", "v", 30);
    for options in [
        ConsumerOptions { max_poll_records: Some(4), ..ConsumerOptions::default() },
        ConsumerOptions { max_poll_bytes: Some(10), ..ConsumerOptions::default() },
    ] {
        let bounded = options.max_poll_records;
        let mut consumer = with_options(&broker, options);
        let mut next = [0; 3];
        let mut polls = Vec::new();
        while next != [10; 3] {
            let records = consumer.poll(NOW).unwrap();
            assert!(!records.is_empty() && records.len() <= bounded.unwrap_or(5));
            for (partition, offset) in places(&records) {
                let next = &mut next[partition as usize];
                assert_eq!(offset, *next);
                *next += 1;
            }
            polls.push(records);
        }
        let first: Vec<u32> = polls.iter().take(3).map(|polled| polled[0].partition).collect();
        assert_eq!(first, [0, 1, 2], "each has its turn before one has a second");
        consumer.seek_to_beginning(&[]).unwrap();
        consumer.commit_sync().unwrap();
    }
}

#[test]
fn a_poll_bounded_to_no_records_returns_one() {
    let dir = scratch();
    let broker = open(dir.path());
    send_numbered(&Broker::producer(&broker), "t", "v", 2);
    let options = ConsumerOptions {
        max_poll_records: Some(0),
        max_poll_bytes: Some(0),
        ..ConsumerOptions::default()
    };
    let mut consumer = with_options(&broker, options);
    assert_eq!(poll_values(&mut consumer), ["v0"]);
    assert_eq!(poll_values(&mut consumer), ["v1"]);
}

#[test]
fn an_interval_commits_what_earlier_polls_returned_and_nothing_newer() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = timed(dir.path(), &clock);
    let producer = Broker::producer(&broker);
    let options =
        ConsumerOptions { auto_commit_interval: Some(SECOND), ..ConsumerOptions::default() };
    let mut consumer = with_options(&broker, options);
    producer.send(&keyless("t", "a")).unwrap();
    assert_eq!(poll_values(&mut consumer), ["a"]);
    assert_eq!(consumer.committed("t", 0).unwrap(), None);
    // Time alone commits nothing: the poll says that the work is done.
    clock.advance(SECOND);
    producer.send(&keyless("t", "b")).unwrap();
    assert_eq!(consumer.committed("t", 0).unwrap(), None);
    assert_eq!(poll_values(&mut consumer), ["b"]);
    assert_eq!(consumer.committed("t", 0).unwrap(), Some(1), "not what this poll returned");
    assert!(poll_values(&mut consumer).is_empty());
    assert_eq!(consumer.committed("t", 0).unwrap(), Some(1), "not before it is time");
    clock.advance(SECOND);
    assert!(poll_values(&mut consumer).is_empty());
    assert_eq!(consumer.committed("t", 0).unwrap(), Some(2));
}

#[test]
fn an_interval_comes_to_its_end_within_a_poll_that_waits() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = timed(dir.path(), &clock);
    Broker::producer(&broker).send(&keyless("t", "a")).unwrap();
    let options =
        ConsumerOptions { auto_commit_interval: Some(SECOND), ..ConsumerOptions::default() };
    let mut consumer = with_options(&broker, options);
    assert_eq!(poll_values(&mut consumer), ["a"]);
    assert!(consumer.poll(SECOND * 2).unwrap().is_empty());
    assert_eq!(consumer.committed("t", 0).unwrap(), Some(1));
}

#[test]
fn an_interval_commits_nothing_where_commits_are_the_callers() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = timed(dir.path(), &clock);
    Broker::producer(&broker).send(&keyless("t", "a")).unwrap();
    let options =
        ConsumerOptions { auto_commit_interval: Some(SECOND), ..ConsumerOptions::default() };
    let mut consumer = Broker::consumer_with(&broker, config("g", false), options);
    consumer.subscribe(&["t"]).unwrap();
    assert_eq!(poll_values(&mut consumer), ["a"]);
    assert!(consumer.poll(SECOND * 3).unwrap().is_empty());
    assert_eq!(consumer.committed("t", 0).unwrap(), None);
}

#[test]
fn who_unsubscribes_has_committed_and_reads_nothing_until_it_subscribes_again() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "v", 2);
    let mut consumer = with_options(&broker, ConsumerOptions::default());
    let mut other = subscribed(&broker, "g", "t");
    assert_eq!(consumer.subscription(), ["t"]);
    assert_eq!(poll_values(&mut consumer).len(), 2);
    consumer.unsubscribe().unwrap();
    assert!(consumer.subscription().is_empty() && consumer.assignment().is_empty());
    assert!(matches!(consumer.poll(NOW), Err(Error::NotSubscribed)));
    assert!(matches!(consumer.position("t", 0), Err(Error::NotAssigned { .. })));
    // It left the group, and what it had polled is committed.
    assert!(poll_values(&mut other).is_empty());
    assert_eq!(other.assignment(), [("t".to_owned(), 0)]);
    assert_eq!(other.position("t", 0).unwrap(), 2);
    drop(other);
    consumer.unsubscribe().unwrap();
    consumer.subscribe(&["u", "t"]).unwrap();
    assert_eq!(consumer.subscription(), ["t", "u"]);
    producer.send(&keyless("u", "w")).unwrap();
    assert_eq!(poll_values(&mut consumer), ["w"]);
    consumer.subscribe(&[]).unwrap();
    assert!(matches!(consumer.poll(NOW), Err(Error::NotSubscribed)));
}

#[test]
fn a_consumer_goes_to_the_beginning_to_the_end_and_to_a_time() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let broker = timed(dir.path(), &clock);
    let producer = Broker::producer(&broker);
    let times: Vec<DateTime<Utc>> = (0..5)
        .map(|number| {
            clock.advance(SECOND);
            producer.send(&keyless("t", format!("v{number}"))).unwrap().timestamp
        })
        .collect();
    let mut consumer = subscribed(&broker, "g", "t");
    let after = |consumer: &mut Consumer, time: DateTime<Utc>| {
        consumer.seek_to_timestamp(&[("t", 0)], time).unwrap();
        poll_values(consumer).first().cloned()
    };
    let ms = TimeDelta::milliseconds(1);
    assert_eq!(after(&mut consumer, times[2]).as_deref(), Some("v2"));
    assert_eq!(after(&mut consumer, times[2] + ms).as_deref(), Some("v3"));
    assert_eq!(after(&mut consumer, DateTime::<Utc>::MIN_UTC).as_deref(), Some("v0"));
    assert_eq!(after(&mut consumer, times[4] + ms), None);
    assert_eq!(consumer.position("t", 0).unwrap(), 5);
    assert_eq!(after(&mut consumer, DateTime::<Utc>::MAX_UTC), None);
    consumer.seek_to_beginning(&[("t", 0)]).unwrap();
    assert_eq!(consumer.position("t", 0).unwrap(), 0);
    consumer.seek_to_end(&[]).unwrap();
    assert_eq!(consumer.position("t", 0).unwrap(), 5);
    assert_eq!(consumer.lag("t", 0).unwrap(), 0);
    let refused = consumer.seek_to_beginning(&[("t", 0), ("t", 1)]).unwrap_err();
    assert!(matches!(refused, Error::NotAssigned { partition: 1, .. }), "{refused}");
    assert_eq!(consumer.position("t", 0).unwrap(), 5, "all or none");
}

#[test]
fn a_consumer_tells_where_partitions_begin_and_end_and_what_was_when() {
    let (dir, clock) = (scratch(), Arc::new(SimClock::new()));
    let config = BrokerConfig {
        clock: clock.clone(),
        default_retention: RetentionConfig { max_records: Some(3) },
        ..BrokerConfig::new(dir.path())
    };
    let broker = Broker::open(config).unwrap();
    let producer = Broker::producer(&broker);
    let mut last = None;
    for _ in 0..5 {
        clock.advance(SECOND);
        last = Some(producer.send(&keyless("t", "v")).unwrap());
    }
    let last = last.unwrap();
    // Nothing of it has to be the consumer's own.
    let consumer = consumer(&broker, "g");
    assert_eq!(consumer.beginning_offsets(&[("t", 0)]).unwrap(), place(2));
    assert_eq!(consumer.end_offsets(&[("t", 0)]).unwrap(), place(5));
    let at = |time: DateTime<Utc>| {
        let found = consumer.offsets_for_times(&[(("t", 0), time)]).unwrap();
        found[&("t".to_owned(), 0)]
    };
    let found = at(last.timestamp).unwrap();
    assert_eq!((found.offset, found.timestamp), (4, last.timestamp));
    assert_eq!(at(DateTime::<Utc>::UNIX_EPOCH).unwrap().offset, 2, "not what is gone");
    assert_eq!(at(last.timestamp + TimeDelta::milliseconds(1)), None);
    for unknown in [
        consumer.beginning_offsets(&[("t", 1)]).unwrap_err(),
        consumer.end_offsets(&[("t", 2)]).unwrap_err(),
        consumer.offsets_for_times(&[(("t", 1), last.timestamp)]).unwrap_err(),
    ] {
        assert!(matches!(unknown, Error::UnknownPartition { .. }), "{unknown}");
    }
    let unknown = consumer.end_offsets(&[("u", 0)]).unwrap_err();
    assert_eq!(unknown.to_string(), r#"unknown topic "u""#);
}

#[test]
fn the_lag_is_what_lies_behind_the_position() {
    let dir = scratch();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    send_numbered(&producer, "t", "v", 4);
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(consumer.lag("t", 0).unwrap(), 4);
    poll_values(&mut consumer);
    assert_eq!(consumer.lag("t", 0).unwrap(), 0);
    send_numbered(&producer, "t", "w", 2);
    assert_eq!(consumer.lag("t", 0).unwrap(), 2);
    consumer.seek("t", 0, 99).unwrap();
    assert_eq!(consumer.lag("t", 0).unwrap(), 0);
    assert!(matches!(consumer.lag("t", 1), Err(Error::NotAssigned { .. })));
}

#[test]
fn a_paused_partition_returns_nothing_and_keeps_its_position_through_a_rebalance() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 2).unwrap();
    let producer = Broker::producer(&broker);
    let mut consumer = subscribed(&broker, "g", "t");
    send_numbered(&producer, "t", "v", 4);
    consumer.pause(&[("t", 0)]).unwrap();
    assert_eq!(consumer.paused(), [("t".to_owned(), 0)]);
    assert_eq!(places(&consumer.poll(NOW).unwrap()), [(1, 0), (1, 1)]);
    assert_eq!(consumer.position("t", 0).unwrap(), 0);
    // Another comes and takes the other one, and goes.
    let mut other = subscribed(&broker, "g", "t");
    consumer.commit_sync().unwrap();
    for _ in 0..2 {
        assert!(consumer.poll(NOW).unwrap().is_empty());
        other.poll(NOW).unwrap();
    }
    assert_eq!(other.assignment().len(), 1);
    other.close().unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty());
    assert_eq!(consumer.assignment().len(), 2);
    assert_eq!(consumer.paused(), [("t".to_owned(), 0)]);
    consumer.resume(&[("t", 0)]).unwrap();
    assert!(consumer.paused().is_empty());
    assert_eq!(places(&consumer.poll(NOW).unwrap()), [(0, 0), (0, 1)]);
    assert!(matches!(consumer.pause(&[("u", 0)]), Err(Error::NotAssigned { .. })));
}

#[test]
fn given_offsets_are_committed_all_or_none_and_positions_stay() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 2).unwrap();
    send_numbered(&Broker::producer(&broker), "t", "v", 6);
    let mut consumer = subscribed(&broker, "g", "t");
    assert_eq!(poll_values(&mut consumer).len(), 6);
    consumer.commit_sync_offsets(&[(("t", 0), 1), (("t", 1), 3)]).unwrap();
    assert_eq!(consumer.committed("t", 0).unwrap(), Some(1));
    assert_eq!(consumer.position("t", 0).unwrap(), 3);
    let beyond = consumer.commit_sync_offsets(&[(("t", 0), 2), (("t", 1), 4)]).unwrap_err();
    assert_eq!(beyond.to_string(), "offset 4 of t/1 is not within 0 to 3");
    let stranger = subscribed(&broker, "g", "t").commit_sync_offsets(&[(("t", 0), 2)]);
    assert!(matches!(stranger, Err(Error::NotAssigned { .. })), "{stranger:?}");
    let unknown = consumer.commit_sync_offsets(&[(("t", 0), 2), (("u", 0), 0)]).unwrap_err();
    assert!(matches!(unknown, Error::NotAssigned { .. }), "{unknown}");
    assert_eq!(consumer.committed("t", 0).unwrap(), Some(1), "none of it");
    consumer.commit_sync_offsets(&[]).unwrap();
    drop(consumer);
    let again = places(&subscribed(&broker, "g", "t").poll(NOW).unwrap());
    assert_eq!(again, [(0, 1), (0, 2)]);
}

#[test]
fn a_wakeup_ends_the_present_poll_or_else_the_next_once() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    let handle = consumer.wakeup_handle();
    thread::scope(|scope| {
        scope.spawn(|| handle.wakeup());
        let woken = consumer.poll(Duration::from_secs(60)).unwrap_err();
        assert!(matches!(woken, Error::Wakeup), "{woken}");
    });
    assert!(consumer.poll(NOW).unwrap().is_empty());
    handle.wakeup();
    handle.clone().wakeup();
    send_numbered(&Broker::producer(&broker), "t", "v", 1);
    assert!(matches!(consumer.poll_bytes(NOW), Err(Error::Wakeup)));
    assert_eq!(poll_values(&mut consumer), ["v0"]);
    drop((consumer, broker));
    // It keeps nothing open.
    open(dir.path());
    handle.wakeup();
}

#[test]
fn a_closed_consumer_refuses_everything_but_closing() {
    let dir = scratch();
    let broker = open(dir.path());
    broker.create_topic("t", 1).unwrap();
    let mut consumer = subscribed(&broker, "g", "t");
    consumer.close().unwrap();
    let partition = [("t", 0)];
    let closed = [
        consumer.subscribe(&["t"]),
        consumer.unsubscribe(),
        consumer.assign(&partition),
        consumer.poll(NOW).map(drop),
        consumer.poll_bytes(NOW).map(drop),
        consumer.seek("t", 0, 0),
        consumer.seek_to_beginning(&[]),
        consumer.seek_to_end(&[]),
        consumer.seek_to_timestamp(&[], DateTime::<Utc>::UNIX_EPOCH),
        consumer.pause(&partition),
        consumer.resume(&partition),
        consumer.position("t", 0).map(drop),
        consumer.lag("t", 0).map(drop),
        consumer.committed("t", 0).map(drop),
        consumer.commit_sync(),
        consumer.commit_sync_offsets(&[]),
        consumer.beginning_offsets(&partition).map(drop),
        consumer.end_offsets(&partition).map(drop),
        consumer.offsets_for_times(&[]).map(drop),
    ];
    for outcome in closed {
        assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
    }
    consumer.close().unwrap();
}

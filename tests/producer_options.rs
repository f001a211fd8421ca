//! Options of a producer: compression of its own, and how long what it enqueues
//! stays pending.

mod support;

use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::compression::Compression;
use merkql::producer::{Producer, ProducerOptions};
use merkql_sim::clock::SimClock;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::*;

const INTERVAL: Duration = Duration::from_millis(100);
const ALMOST: Duration = Duration::from_nanos(99_999_999);

/// A log with a clock that obeys, its topic, and a producer that flushes.
struct Timed {
    broker: BrokerRef,
    clock: Arc<SimClock>,
    producer: Producer,
}

impl Timed {
    fn new(dir: &Path, flush_interval: Option<Duration>) -> Self {
        let clock = Arc::new(SimClock::new());
        let config = BrokerConfig { clock: clock.clone(), ..BrokerConfig::new(dir) };
        let broker = Broker::open(config).unwrap();
        broker.create_topic("t", 1).unwrap();
        let options = ProducerOptions { flush_interval, ..ProducerOptions::default() };
        let producer = Broker::producer_with(&broker, options);
        Self { broker, clock, producer }
    }

    fn enqueue(&self) {
        drop(self.producer.enqueue(&[keyless("t", "v")]).unwrap());
    }

    fn stored(&self) -> u64 {
        partition(&self.broker, "t", 0).next_offset()
    }
}

#[test]
fn the_first_enqueue_after_the_interval_writes_everything_that_is_pending() {
    let dir = scratch();
    let timed = Timed::new(dir.path(), Some(INTERVAL));
    drop(Broker::producer(&timed.broker).enqueue(&[keyless("t", "another's")]).unwrap());
    for _ in 0..3 {
        timed.enqueue();
        timed.clock.advance(INTERVAL / 4);
    }
    assert_eq!(timed.stored(), 0, "the interval has not passed");
    timed.clock.advance(INTERVAL);
    assert_eq!(timed.stored(), 0, "nobody has called");
    timed.enqueue();
    assert_eq!(timed.stored(), 5);
    timed.clock.advance(ALMOST);
    timed.enqueue();
    assert_eq!(timed.stored(), 5, "it counts from the last flush");
    timed.clock.advance(Duration::from_nanos(1));
    timed.producer.enqueue_bytes(&[keyless("t", "v").into()]).unwrap().wait().unwrap();
    assert_eq!(timed.stored(), 7);
}

#[test]
fn a_flush_and_a_send_begin_the_interval_anew_for_all_clones() {
    type Flush = fn(&Producer);
    let flushes: [Flush; 2] =
        [|producer| producer.flush().unwrap(), |producer| drop(producer.send(&keyless("t", "s")))];
    for flush in flushes {
        let dir = scratch();
        let timed = Timed::new(dir.path(), Some(INTERVAL));
        timed.clock.advance(INTERVAL * 3);
        flush(&timed.producer.clone());
        let stored = timed.stored();
        timed.enqueue();
        assert_eq!(timed.stored(), stored, "it was just flushed");
        timed.clock.advance(INTERVAL);
        timed.enqueue();
        assert_eq!(timed.stored(), stored + 2);
    }
}

#[test]
fn an_interval_of_zero_writes_with_every_enqueue() {
    let dir = scratch();
    let timed = Timed::new(dir.path(), Some(Duration::ZERO));
    for count in 1..4 {
        timed.enqueue();
        assert_eq!(timed.stored(), count);
    }
}

#[test]
fn without_an_interval_nothing_is_written_before_somebody_waits() {
    let dir = scratch();
    let timed = Timed::new(dir.path(), None);
    for _ in 0..100 {
        timed.enqueue();
        timed.clock.advance(INTERVAL * 1000);
    }
    assert_eq!(timed.stored(), 0);
    timed.producer.send(&keyless("t", "durable")).unwrap();
    assert_eq!(timed.stored(), 101);
}

#[test]
fn a_producer_compresses_as_it_was_told_whatever_the_broker_does() {
    let value = "the same again and again ".repeat(400);
    let size = |of_broker: Compression, of_producer: Option<Compression>| {
        let dir = scratch();
        let config = BrokerConfig { compression: of_broker, ..BrokerConfig::new(dir.path()) };
        let broker = Broker::open(config).unwrap();
        let options = ProducerOptions { compression: of_producer, ..ProducerOptions::default() };
        let producer = Broker::producer_with(&broker, options);
        for _ in 0..10 {
            producer.send(&keyless("t", value.as_str())).unwrap();
        }
        assert_eq!(partition(&broker, "t", 0).read(9).unwrap().unwrap().value, value);
        drop((producer, broker));
        only_file(dir.path(), ".log").metadata().unwrap().len()
    };
    for of_broker in [Compression::None, Compression::Lz4] {
        assert!(size(of_broker, Some(Compression::None)) > 100_000);
        assert!(size(of_broker, Some(Compression::Lz4)) < 20_000);
    }
    assert!(size(Compression::Lz4, None) < 20_000);
    assert!(size(Compression::None, None) > 100_000);
}

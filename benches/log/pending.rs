//! Sends that are handed over, and not waited for.

use crate::fixture::{TOPIC, VALUE_BYTES, folder, open, record};
use crate::floor::hash_records;
use crate::report::{Report, Target};
use crate::samples::{Samples, median};
use crate::writes::CANONICAL_BYTES;
use merkql::broker::Broker;
use merkql::producer::ProducerOptions;
use std::time::{Duration, Instant};

const RECORDS: usize = 50_000;
const ROUNDS: usize = 7;
const INTERVAL: Duration = Duration::from_millis(10);

pub(crate) fn bench(report: &mut Report) {
    let dir = folder();
    let broker = open(dir.path());
    broker.create_topic(TOPIC, 1).expect("the topic is new");
    let record = [record()];

    let producer = Broker::producer(&broker);
    let (mut enqueues, mut flushes) = (Samples::default(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..RECORDS / ROUNDS {
            let pending = enqueues.time(|| producer.enqueue(&record).expect("it is taken"));
            drop(pending);
        }
        let start = Instant::now();
        producer.flush().expect("what is pending is written");
        flushes.push((RECORDS / ROUNDS) as f64 / start.elapsed().as_secs_f64());
    }
    let name = format!("enqueue of one record of {VALUE_BYTES} bytes, median");
    report.time(&name, enqueues.median(), None, Target::None);
    report.rate("records by a flush of what was enqueued", median(flushes), "", Target::None);

    let options = ProducerOptions { flush_interval: Some(INTERVAL), ..ProducerOptions::default() };
    let producer = Broker::producer_with(&broker, options);
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..RECORDS {
            drop(producer.enqueue(&record).expect("it is taken"));
        }
        producer.flush().expect("what is pending is written");
        rates.push(RECORDS as f64 / start.elapsed().as_secs_f64());
    }
    let hashing = hash_records(CANONICAL_BYTES, RECORDS).as_secs_f64() / RECORDS as f64;
    let floor = format!("SHA-256 alone {:.0} /s", 1.0 / hashing);
    let name = "records enqueued one at a time, flush_interval 10 ms, until all are durable";
    report.rate(name, median(rates), &floor, Target::None);
}

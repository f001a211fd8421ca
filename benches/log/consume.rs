//! Polls, and rebalances.

use crate::fixture::{TOPIC, fill, folder, open};
use crate::report::{Report, Target};
use criterion::Criterion;
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, ConsumerOptions, OffsetReset};
use std::time::{Duration, Instant};

const RECORDS: usize = 200_000;
/// What one poll returns, unless it returns all that its bytes permit: then the
/// memory that is handed over costs more than the reading.
const POLLED: usize = 2000;
const MEMBERS: usize = 100;
const PARTITIONS: u32 = 1000;

pub(crate) fn bench(criterion: &mut Criterion, report: &mut Report) {
    let dir = folder();
    let broker = open(dir.path());
    fill(&broker, RECORDS);
    let text = |consumer: &mut Consumer| {
        consumer.poll(Duration::ZERO).expect("the records are readable").len()
    };
    let bytes = |consumer: &mut Consumer| {
        consumer.poll_bytes(Duration::ZERO).expect("the records are readable").len()
    };
    for (polled, records) in [(Some(POLLED), "2,000 records"), (None, "64 MiB")] {
        let mut consumer = consumer(&broker, TOPIC, polled);
        let target = |least| if polled.is_some() { Target::PerSecond(least) } else { Target::None };
        let name = format!("polls of {records} as text");
        polls(criterion, report, (&name, target(2e6)), &mut consumer, text);
        let name = format!("polls of {records} in bytes");
        polls(criterion, report, (&name, target(4e6)), &mut consumer, bytes);
    }
    rebalance(criterion, report);
}

fn consumer(broker: &BrokerRef, topic: &str, max_poll_records: Option<usize>) -> Consumer {
    let config = ConsumerConfig {
        group_id: "bench".to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let options = ConsumerOptions { max_poll_records, ..ConsumerOptions::default() };
    let mut consumer = Broker::consumer_with(broker, config, options);
    consumer.subscribe(&[topic]).expect("the topic has a good name");
    consumer
}

/// How many records a second `poll` returns, from the cache.
fn polls(
    criterion: &mut Criterion,
    report: &mut Report,
    (name, target): (&str, Target),
    consumer: &mut Consumer,
    poll: impl Fn(&mut Consumer) -> usize,
) {
    let (mut count, mut total) = (0, Duration::ZERO);
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                let polled = poll(consumer);
                count += polled;
                if polled == 0 {
                    consumer.seek_to_beginning(&[]).expect("it has its partition");
                }
            }
            let time = start.elapsed();
            total += time;
            time
        });
    });
    let per_second = count as f64 / total.as_secs_f64().max(f64::MIN_POSITIVE);
    report.rate(name, per_second, "", target);
}

/// From a member's leaving, or another's coming, until all have polled and settled.
fn rebalance(criterion: &mut Criterion, report: &mut Report) {
    let dir = folder();
    let broker = open(dir.path());
    broker.create_topic("shared", PARTITIONS).expect("the topic is new");
    let mut members: Vec<Consumer> =
        (0..MEMBERS).map(|_| consumer(&broker, "shared", None)).collect();
    let settle = |members: &mut [Consumer]| {
        for _ in 0..2 {
            for member in members.iter_mut() {
                member.poll(Duration::ZERO).expect("nothing is there");
            }
        }
    };
    settle(&mut members);
    let (mut count, mut total, mut longest) = (0, Duration::ZERO, Duration::ZERO);
    criterion.bench_function("a member leaves and another comes", |bencher| {
        bencher.iter_custom(|iterations| {
            let begin = Instant::now();
            for _ in 0..iterations {
                for comes in [false, true] {
                    let start = Instant::now();
                    if comes {
                        members.push(consumer(&broker, "shared", None));
                    } else {
                        drop(members.remove(0));
                    }
                    settle(&mut members);
                    count += 1;
                    total += start.elapsed();
                    longest = longest.max(start.elapsed());
                }
            }
            begin.elapsed()
        });
    });
    let shares = members.iter().map(|member| member.assignment().len());
    assert!(shares.clone().all(|share| share == PARTITIONS as usize / MEMBERS), "not settled");
    let name = "rebalance of 100 members over 1,000 partitions";
    let target = Target::AtMost(Duration::from_millis(10));
    report.time(name, total / count.max(1), None, target);
    report.time("the same, the longest", longest, None, Target::None);
}

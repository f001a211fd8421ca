//! Polls, and rebalances.

use crate::fixture::{TOPIC, fill, folder, open};
use crate::report::{Report, Target};
use criterion::Criterion;
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::{Consumer, ConsumerConfig, ConsumerOptions, OffsetReset};
use std::time::{Duration, Instant};

const RECORDS: usize = 200_000;
/// What one poll returns.
const POLLED: usize = 10_000;
const MEMBERS: usize = 100;
const PARTITIONS: u32 = 1000;

pub(crate) fn bench(criterion: &mut Criterion, report: &mut Report) {
    let dir = folder();
    let broker = open(dir.path());
    fill(&broker, RECORDS);
    let name = "records by poll, as text";
    polls(criterion, report, (name, 2e6), &broker, |consumer| {
        consumer.poll(Duration::ZERO).expect("the records are readable").len()
    });
    let name = "records by poll, in bytes";
    polls(criterion, report, (name, 4e6), &broker, |consumer| {
        consumer.poll_bytes(Duration::ZERO).expect("the records are readable").len()
    });
    rebalance(criterion, report);
}

fn consumer(broker: &BrokerRef, topic: &str) -> Consumer {
    let config = ConsumerConfig {
        group_id: "bench".to_owned(),
        auto_commit: false,
        offset_reset: OffsetReset::Earliest,
    };
    let options = ConsumerOptions { max_poll_records: Some(POLLED), ..ConsumerOptions::default() };
    let mut consumer = Broker::consumer_with(broker, config, options);
    consumer.subscribe(&[topic]).expect("the topic has a good name");
    consumer
}

/// How many records a second `poll` returns, from the cache.
fn polls(
    criterion: &mut Criterion,
    report: &mut Report,
    (name, target): (&str, f64),
    broker: &BrokerRef,
    poll: impl Fn(&mut Consumer) -> usize,
) {
    let mut consumer = consumer(broker, TOPIC);
    let (mut count, mut total) = (0, Duration::ZERO);
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                let polled = poll(&mut consumer);
                count += polled;
                if polled < POLLED {
                    consumer.seek_to_beginning(&[]).expect("it has its partition");
                }
            }
            let time = start.elapsed();
            total += time;
            time
        });
    });
    let per_second = count as f64 / total.as_secs_f64().max(f64::MIN_POSITIVE);
    report.rate(name, per_second, "", Target::PerSecond(target));
}

/// From a member's leaving, or another's coming, until all have polled and settled.
fn rebalance(criterion: &mut Criterion, report: &mut Report) {
    let dir = folder();
    let broker = open(dir.path());
    broker.create_topic("shared", PARTITIONS).expect("the topic is new");
    let mut members: Vec<Consumer> = (0..MEMBERS).map(|_| consumer(&broker, "shared")).collect();
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
                        members.push(consumer(&broker, "shared"));
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

//! Polls, and rebalances.

use crate::fixture::{TOPIC, VALUE_BYTES, consumer, fill, folder, open};
use crate::floor::CopyFloor;
use crate::report::{Report, Target};
use crate::samples::{Samples, median};
use criterion::Criterion;
use merkql::consumer::Consumer;
use std::time::{Duration, Instant};

const RECORDS: usize = 200_000;
/// What one poll returns, unless it returns all that its bytes permit: then the
/// memory that is handed over costs more than the reading.
const POLLED: usize = 2000;
/// Of one record in the log: header, timestamp, flags, length and value.
const FRAME_BYTES: usize = VALUE_BYTES + 28;
const MEMBERS: usize = 100;
const PARTITIONS: u32 = 1000;

pub(crate) fn bench(criterion: &mut Criterion, report: &mut Report) {
    let dir = folder();
    let broker = open(dir.path());
    fill(&broker, RECORDS);
    let mut floor = CopyFloor::new(dir.path());
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
        polls(criterion, report, (&name, target(2e6)), (&mut consumer, &mut floor), text);
        let name = format!("polls of {records} in bytes");
        polls(criterion, report, (&name, target(4e6)), (&mut consumer, &mut floor), bytes);
    }
    rebalance(criterion, report);
}

/// How many records a second `poll` returns, from the cache; the records are dropped
/// before the next. Each poll is followed by one of the floor's.
fn polls(
    criterion: &mut Criterion,
    report: &mut Report,
    (name, target): (&str, Target),
    (consumer, floor): (&mut Consumer, &mut CopyFloor),
    poll: impl Fn(&mut Consumer) -> usize,
) {
    let (mut polls, mut floors) = (Vec::new(), Vec::new());
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                let start = Instant::now();
                let mut polled = poll(consumer);
                if polled == 0 {
                    consumer.seek_to_beginning(&[]).expect("it has its partition");
                    polled = poll(consumer);
                }
                let time = start.elapsed();
                polls.push(polled as f64 / time.as_secs_f64());
                let time_of_floor = floor.poll(polled, FRAME_BYTES, VALUE_BYTES);
                floors.push(polled as f64 / time_of_floor.as_secs_f64());
                total += time;
            }
            total
        });
    });
    if !polls.is_empty() {
        let (polls, floor) = (median(polls), median(floors));
        let floor = format!("reading and one copy a record {floor:.0} /s");
        report.rate(&format!("records by {name}, median"), polls, &floor, target);
    }
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
    let mut times = Samples::default();
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
                    times.push(start.elapsed());
                }
            }
            begin.elapsed()
        });
    });
    let shares = members.iter().map(|member| member.assignment().len());
    assert!(shares.clone().all(|share| share == PARTITIONS as usize / MEMBERS), "not settled");
    let name = "rebalance of 100 members over 1,000 partitions, median";
    let target = Target::AtMost(Duration::from_millis(10));
    report.time(name, times.median(), None, target);
    report.time("the same, the longest", times.longest(), None, Target::None);
}

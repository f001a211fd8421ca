//! Compaction, and looking up times.

use crate::fixture::{BATCH, TOPIC, VALUE_BYTES, consumer, folder, open};
use crate::floor::read_files;
use crate::reads::offsets;
use crate::report::{Report, Target};
use crate::samples::Samples;
use chrono::{DateTime, TimeDelta};
use merkql::broker::Broker;
use merkql::record::{BytesProducerRecord, ProducerRecord};
use merkql::topic::{Compaction, TopicConfig};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set to a log's folder in the process that compacts it.
pub(crate) const CHILD_VARIABLE: &str = "MERKQL_BENCH_COMPACT";
/// Some 200 MB.
const RECORDS: usize = 700_000;
const LIVE_KEYS: usize = RECORDS / 10;
const FEW_KEYS: usize = LIVE_KEYS / 100;
const SEGMENT_BYTES: u64 = 16 << 20;
const TIMED_RECORDS: usize = 1_000_000;
const LOOKUPS: usize = 2000;

pub(crate) fn bench(report: &mut Report) {
    let many = pass(LIVE_KEYS);
    let few = pass(FEW_KEYS);
    let mb_per_second = many.bytes as f64 / 1e6 / many.time.as_secs_f64();
    let floor = format!(
        "reading the same files from the cache {:.0} MB/s",
        many.bytes as f64 / 1e6 / many.reading.as_secs_f64()
    );
    let name = format!("compaction of {:.0} MB, one key in ten live", many.bytes as f64 / 1e6);
    report.amount(&name, mb_per_second, " MB/s", &floor, Target::None);
    let name = format!("the same with {FEW_KEYS} keys");
    let mb_per_second = few.bytes as f64 / 1e6 / few.time.as_secs_f64();
    report.amount(&name, mb_per_second, " MB/s", "", Target::None);
    let per_key = (many.grown_kib - few.grown_kib) * 1024.0 / (LIVE_KEYS - FEW_KEYS) as f64;
    let name = format!("memory of a pass for each of {LIVE_KEYS} keys, over one with {FEW_KEYS}");
    report.amount(&name, per_key, " bytes", "", Target::None);
    times(report);
}

struct Pass {
    bytes: u64,
    time: Duration,
    reading: Duration,
    /// By how much the process's peak of memory exceeded what it had at first.
    grown_kib: f64,
}

/// Compacts a log in which `keys` keys take turns, in a process of its own.
fn pass(keys: usize) -> Pass {
    let dir = folder();
    let broker = open(dir.path());
    let config = TopicConfig {
        segment_bytes: Some(SEGMENT_BYTES),
        compaction: Some(Compaction::default()),
        ..TopicConfig::default()
    };
    broker.create_topic_with(TOPIC, &config).expect("the topic is new");
    let producer = Broker::producer(&broker);
    for batch in 0..RECORDS / BATCH {
        let record = |number: usize| {
            let key = format!("{:08}", (batch * BATCH + number) % keys);
            ProducerRecord::new(TOPIC, Some(key), "x".repeat(VALUE_BYTES))
        };
        let batch: Vec<_> = (0..BATCH).map(record).collect();
        producer.send_batch(&batch).expect("a batch is sent");
    }
    Broker::close(&broker).expect("the log closes");
    drop((producer, broker));
    let (bytes, reading) = read_files(dir.path(), "log");

    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).env(CHILD_VARIABLE, dir.path()).output();
    let output = output.expect("this program runs again").stdout;
    let text = String::from_utf8_lossy(&output);
    let mut figures = text.split_whitespace().map(|figure| figure.parse().expect("a number"));
    let mut next = || -> f64 { figures.next().expect("two numbers") };
    Pass { bytes, reading, time: Duration::from_secs_f64(next()), grown_kib: next() }
}

/// Compacts the log and prints the time in seconds, and the memory it took in KiB.
pub(crate) fn child(dir: &Path) {
    let broker = open(dir);
    let before = memory_kib("VmRSS:");
    let start = Instant::now();
    broker.maintain().expect("the log is compacted");
    let time = start.elapsed();
    let grown = memory_kib("VmHWM:") - before;
    let topic = broker.topic(TOPIC).expect("the topic exists");
    let partition = topic.partition(0).expect("it has a partition");
    let partition = partition.read().expect("reading needs no lock");
    assert_eq!(partition.read(0).expect("readable"), None, "nothing was compacted");
    println!("{} {grown}", time.as_secs_f64());
}

/// A figure of this process's memory.
pub(crate) fn memory_kib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()).expect("Linux tells");
    kib.parse().expect("a number")
}

/// From a time to an offset, among a million records a millisecond apart.
fn times(report: &mut Report) {
    let dir = folder();
    let broker = open(dir.path());
    let producer = Broker::producer(&broker);
    let time = |number: u64| {
        let number = i64::try_from(number).expect("few enough");
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_700_000_000_000 + number)
    };
    for batch in 0..TIMED_RECORDS / BATCH {
        let record = |number| {
            BytesProducerRecord::without_key(TOPIC, vec![b'x'; VALUE_BYTES])
                .with_timestamp(time((batch * BATCH + number) as u64))
        };
        let batch: Vec<_> = (0..BATCH).map(record).collect();
        producer.send_bytes_batch(&batch).expect("a batch is sent");
    }
    let consumer = consumer(&broker, TOPIC, None);
    let topic = broker.topic(TOPIC).expect("the topic exists");
    let partition = topic.partition(0).expect("it has a partition");
    let partition = partition.read().expect("reading needs no lock");
    let (mut lookups, mut reads) = (Samples::default(), Samples::default());
    let mut offset = offsets(TIMED_RECORDS as u64);
    for _ in 0..LOOKUPS {
        let (wanted, other) = (offset(), offset());
        let times = [((TOPIC, 0), time(wanted))];
        let found = lookups.time(|| consumer.offsets_for_times(&times)).expect("readable");
        let found = found.into_values().flatten().next().expect("there is such a record");
        assert_eq!(found.offset, wanted);
        reads.time(|| partition.read_bytes(other).expect("the record is readable"));
    }
    let name = "offsets_for_times among 1,000,000 records, median; floor: a single random read";
    report.time(name, lookups.median(), Some(reads.median()), Target::None);
}

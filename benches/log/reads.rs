//! Reads, proofs, reopening, memory and disk.

use crate::compaction::memory_kib;
use crate::fixture::{TOPIC, VALUE_BYTES, fill, folder, open};
use crate::floor::hash_records;
use crate::report::{Report, Target};
use crate::samples::Samples;
use crate::writes::CANONICAL_BYTES;
use criterion::Criterion;
use merkql::broker::{Broker, BrokerConfig};
use merkql::partition::Partition;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set to a log's folder in the process that measures what opening it takes.
pub(crate) const CHILD_VARIABLE: &str = "MERKQL_BENCH_OPEN";
const RECORDS: usize = 1_000_000;
const RANGE: u64 = 1000;

pub(crate) fn bench(criterion: &mut Criterion, report: &mut Report) {
    let small = folder();
    let broker = open(small.path());
    fill(&broker, RECORDS / 10);
    proofs(criterion, report, &snapshot(&broker), 100_000);
    drop(broker);

    let dir = folder();
    let broker = open(dir.path());
    fill(&broker, RECORDS);
    let partition = snapshot(&broker);
    ranges(criterion, report, &partition);
    single_reads(criterion, report, &partition);
    proofs(criterion, report, &partition, RECORDS);
    drop(partition);
    Broker::close(&broker).expect("the log closes");
    drop(broker);
    disk(report, dir.path());
    verifying(report, dir.path());
    reopening(criterion, report, dir.path());
}

fn snapshot(broker: &Broker) -> Partition {
    let topic = broker.topic(TOPIC).expect("the topic exists");
    topic.partition(0).expect("it has a partition").read().expect("reading needs no lock")
}

/// A small generator of offsets: the measurement must not wait for a better one.
pub(crate) fn offsets(below: u64) -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// Runs `operation` under Criterion and returns its mean time.
fn mean(criterion: &mut Criterion, name: &str, mut operation: impl FnMut()) -> Duration {
    let (mut count, mut total) = (0_u64, Duration::ZERO);
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                operation();
            }
            let time = start.elapsed();
            count += iterations;
            total += time;
            time
        });
    });
    total.div_f64((count.max(1)) as f64)
}

fn ranges(criterion: &mut Criterion, report: &mut Report, partition: &Partition) {
    let name = "read_range of 1,000";
    let mut from = 0;
    let time = mean(criterion, name, || {
        let records = partition.read_range(from, from + RANGE).expect("the range is readable");
        from = (from + std::hint::black_box(records).len() as u64) % partition.next_offset();
    });
    let per_second = RANGE as f64 / time.as_secs_f64();
    report.rate("records by read_range", per_second, "", Target::PerSecond(2e6));
}

fn single_reads(criterion: &mut Criterion, report: &mut Report, partition: &Partition) {
    let mut offset = offsets(partition.next_offset());
    let name = "single random read, warm";
    let time = mean(criterion, name, || {
        let record = partition.read(offset()).expect("the record is readable");
        assert!(std::hint::black_box(record).is_some());
    });
    report.time(name, time, None, Target::AtMost(Duration::from_micros(2)));
}

fn proofs(criterion: &mut Criterion, report: &mut Report, partition: &Partition, records: usize) {
    let mut offset = offsets(partition.next_offset());
    let name = format!("proof made and checked at {records} records");
    let time = mean(criterion, &name, || {
        let proof = partition.proof(offset()).expect("the hashes are readable");
        assert!(proof.is_some_and(|proof| proof.is_valid()));
    });
    // Checked once before it is handed out, and once here.
    let nodes = 2 * usize::try_from(records.ilog2()).expect("small");
    let floor = hash_records(0, nodes * 100) / 300;
    report.time(&name, time, Some(floor), Target::AtMost(Duration::from_micros(15)));
}

fn disk(report: &mut Report, dir: &Path) {
    let bytes = bytes_below(dir) as f64;
    let payload = (RECORDS * VALUE_BYTES) as f64;
    let name = "bytes on disk over payload at 1,000,000 records, closed";
    report.amount(name, bytes / payload, " x", "", Target::Amount(1.5));
}

fn bytes_below(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("the folder is readable");
    let bytes = entries.map(|entry| {
        let entry = entry.expect("the folder is readable");
        let metadata = entry.metadata().expect("the entry is readable");
        if metadata.is_dir() { bytes_below(&entry.path()) } else { metadata.len() }
    });
    bytes.sum()
}

fn verifying(report: &mut Report, dir: &Path) {
    let mut times = Samples::default();
    for _ in 0..5 {
        let verified = times.time(|| merkql::verify(&BrokerConfig::new(dir)));
        let verified = verified.expect("the log is closed");
        assert!(verified.findings.is_empty() && verified.checked.records == RECORDS as u64);
    }
    let a_second = |time: Duration| RECORDS as f64 / time.as_secs_f64();
    let floor = a_second(hash_records(CANONICAL_BYTES, RECORDS));
    let floor = format!("SHA-256 of each record, leaf and node {floor:.0} /s");
    report.rate("records verified, median", a_second(times.median()), &floor, Target::None);
}

fn reopening(criterion: &mut Criterion, report: &mut Report, dir: &Path) {
    let name = "reopening 1,000,000 records after a clean close";
    let time = mean(criterion, name, || drop(open(dir)));
    report.time(name, time, None, Target::AtMost(Duration::from_millis(1)));

    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).env(CHILD_VARIABLE, dir).output();
    let output = output.expect("this program runs again");
    let kib: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    let name = "resident memory after reopening 1,000,000 records";
    report.amount(name, kib / 1024.0, " MiB", "", Target::Amount(32.0));
}

/// Opens the log and prints the process's resident memory, in KiB.
pub(crate) fn child(dir: &Path) {
    let broker = open(dir);
    println!("{}", memory_kib("VmRSS:"));
    drop(broker);
}

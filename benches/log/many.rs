//! A thousand partitions within 512 open files.

use crate::fixture::{TOPIC, VALUE_BYTES, folder, open, record};
use crate::floor::SyncFloor;
use crate::report::{Report, Target};
use crate::samples::{Samples, median};
use crate::seam::Counted;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::producer::Producer;
use merkql::record::ProducerRecord;
use std::path::Path;
use std::time::Duration;

const PARTITIONS: usize = 1000;
const APPENDS: usize = 2000;
const ROUNDS: usize = 5;
/// Of single appends while all partitions are dirty: three journal files of 1 MiB.
const DIRTY_APPENDS: usize = 768;
const JOURNAL_BYTES: u64 = 1 << 20;

pub(crate) fn bench(report: &mut Report) {
    opening(report);
    appends(report);
    dirty_appends(report);
    round_robin(report);
}

fn one_each() -> Vec<ProducerRecord> {
    vec![record(); PARTITIONS]
}

/// Goes to the same partition each time.
fn keyed() -> ProducerRecord {
    ProducerRecord::new(TOPIC, Some("k".to_owned()), "x".repeat(VALUE_BYTES))
}

/// A log of which every partition was written to.
fn fill_all(broker: &BrokerRef) -> Producer {
    let partitions = u32::try_from(PARTITIONS).expect("few enough");
    broker.create_topic(TOPIC, partitions).expect("the topic is new");
    let producer = Broker::producer(broker);
    producer.send_batch(&one_each()).expect("a batch is sent");
    producer
}

/// Copies a log that nobody writes to at the moment: what a crash leaves.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("there is room");
    for entry in std::fs::read_dir(from).expect("the folder is readable") {
        let entry = entry.expect("the folder is readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("the entry is readable").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("there is room");
        }
    }
}

fn opening(report: &mut Report) {
    let dir = folder();
    let log = dir.path().join("log");
    let broker = open(&log);
    let producer = fill_all(&broker);
    for _ in 0..10 {
        producer.send_batch(&one_each()).expect("a batch is sent");
    }
    let mut crashed = Samples::default();
    for round in 0..ROUNDS {
        let left = dir.path().join(format!("left-{round}"));
        copy(&log, &left);
        let recovered = crashed.time(|| open(&left));
        drop(recovered);
    }
    drop((producer, broker));
    let mut clean = Samples::default();
    for _ in 0..ROUNDS {
        drop(clean.time(|| open(&log)));
    }
    let target = Target::AtMost(Duration::from_millis(500));
    let name = "opening 1,000 partitions after a clean close, median";
    report.time(name, clean.median(), None, target);
    let mut floor = SyncFloor::new(dir.path());
    let mut syncs = Samples::default();
    (0..200).for_each(|_| syncs.push(floor.append(&[b'x'; VALUE_BYTES])));
    let name = "the same after a crash with all of them dirty, median; floor: a raw sync";
    report.time(name, crashed.median(), Some(syncs.median()), target);
}

/// An append to one of a thousand partitions beside one to a log that has no other.
fn appends(report: &mut Report) {
    let dir = folder();
    let (many, one) = (open(&dir.path().join("many")), open(&dir.path().join("one")));
    let among_many = fill_all(&many);
    many.maintain().expect("the log is at rest");
    one.create_topic(TOPIC, 1).expect("the topic is new");
    let alone = Broker::producer(&one);
    let record = keyed();
    let (mut of_many, mut of_one) = (Samples::default(), Samples::default());
    for _ in 0..APPENDS {
        of_many.time(|| among_many.send(&record).expect("a record is sent"));
        of_one.time(|| alone.send(&record).expect("a record is sent"));
    }
    let name = "append to one of 1,000 partitions, median; floor: to the only one";
    report.time(name, of_many.median(), Some(of_one.median()), Target::TimesFloor(1.1));

    let operations = |partitions: u32| {
        let (counted, dir) = (Counted::default(), folder());
        let broker = counted.open(dir.path());
        broker.create_topic(TOPIC, partitions).expect("the topic is new");
        let producer = Broker::producer(&broker);
        producer.send_batch(&one_each()).expect("a batch is sent");
        broker.maintain().expect("the log is at rest");
        let count = |_| {
            producer.send(&record).expect("a record is sent");
            let counts = counted.take();
            (counts.syncs + counts.writes + counts.opens) as f64
        };
        median((0..100).map(count).collect())
    };
    let (many, one) = (operations(1000), operations(1));
    let name = "its I/O operations, median";
    report.amount(name, many, "", &format!("to the only one: {one}"), Target::Amount(one));
}

/// Single appends over several checkpoints, each of which has all partitions to sync.
fn dirty_appends(report: &mut Report) {
    let dir = folder();
    let log = dir.path().join("log");
    let config = BrokerConfig { journal_max_bytes: JOURNAL_BYTES, ..BrokerConfig::new(log) };
    let broker = Broker::open(config).expect("the log opens");
    let producer = fill_all(&broker);
    let record = keyed();
    let mut floor = SyncFloor::new(dir.path());
    let (mut times, mut floors) = (Samples::default(), Samples::default());
    // The journal grows to its size first.
    for _ in 0..DIRTY_APPENDS {
        producer.send(&record).expect("a record is sent");
    }
    for _ in 0..ROUNDS {
        producer.send_batch(&one_each()).expect("a batch is sent");
        for _ in 0..DIRTY_APPENDS {
            times.time(|| producer.send(&record).expect("a record is sent"));
            floors.push(floor.append(&[b'x'; VALUE_BYTES]));
        }
    }
    let name = "append while a checkpoint syncs 1,000 dirty partitions, median";
    report.time(name, times.median(), Some(floors.median()), Target::None);
    let name = "the same, the longest; floor: the longest raw sync";
    report.time(name, times.longest(), Some(floors.longest()), Target::None);
}

/// Appends that take the partitions in turn: each needs two files that are not open.
fn round_robin(report: &mut Report) {
    let (counted, dir) = (Counted::default(), folder());
    let broker = counted.open(&dir.path().join("log"));
    let producer = fill_all(&broker);
    let record = record();
    let mut floor = SyncFloor::new(dir.path());
    let (mut times, mut floors) = (Samples::default(), Samples::default());
    counted.take();
    for _ in 0..APPENDS {
        times.time(|| producer.send(&record).expect("a record is sent"));
        floors.push(floor.append(&[b'x'; VALUE_BYTES]));
    }
    let counts = counted.take();
    let name = "append to 1,000 dirty partitions in turn, median";
    report.time(name, times.median(), Some(floors.median()), Target::None);
    let each = |count: u64| count as f64 / APPENDS as f64;
    let floor = format!("its commit's 1; {:.2} files opened", each(counts.opens));
    report.amount("its syncs, mean", each(counts.syncs), "", &floor, Target::None);
}

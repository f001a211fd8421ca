//! Durable appends and batches.

use crate::fixture::{BATCH, VALUE_BYTES, batch, fill, folder, open, record};
use crate::floor::{SyncFloor, hash_records, touch_memory};
use crate::report::{Report, Target};
use criterion::Criterion;
use merkql::broker::{Broker, BrokerRef};
use std::time::{Duration, Instant};

/// The canonical bytes of one record of the fixture.
pub(crate) const CANONICAL_BYTES: usize = VALUE_BYTES + 68;

pub(crate) fn bench(criterion: &mut Criterion, report: &mut Report) {
    single_appends(criterion, report);
    batches(criterion, report);
}

/// A paired measurement: each append is followed by one of the floor's, so that
/// both see the same disk.
fn append_beside_floor(
    criterion: &mut Criterion,
    name: &str,
    broker: &BrokerRef,
    floor: &mut SyncFloor,
) -> (Duration, Duration) {
    let producer = Broker::producer(broker);
    let record = record();
    let value = vec![b'x'; VALUE_BYTES];
    let (mut count, mut appends, mut floors) = (0, Duration::ZERO, Duration::ZERO);
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                let start = Instant::now();
                producer.send(&record).expect("a record is sent");
                total += start.elapsed();
                floors += floor.append(&value);
            }
            count += u32::try_from(iterations).expect("few enough");
            appends += total;
            total
        });
    });
    (appends / count.max(1), floors / count.max(1))
}

fn single_appends(criterion: &mut Criterion, report: &mut Report) {
    for records in [100, 1_000_000] {
        let dir = folder();
        let broker = open(&dir.path().join("log"));
        fill(&broker, records);
        let mut floor = SyncFloor::new(dir.path());
        let name = format!("durable append of 256 bytes at {records} records");
        let (append, floor) = append_beside_floor(criterion, &name, &broker, &mut floor);
        report.time(&name, append, Some(floor), Target::TimesFloor(1.3));
    }
}

fn batches(criterion: &mut Criterion, report: &mut Report) {
    let untouched = folder();
    let time = fill(&open(untouched.path()), 300 * BATCH);
    report.rate(
        "durable batches of 1,000, page cache on memory never used before or used, as it comes",
        300.0 * 1e3 / time.as_secs_f64(),
        "",
        Target::None,
    );
    drop(untouched);

    let dir = folder();
    touch_memory(dir.path());
    let broker = open(&dir.path().join("log"));
    let producer = Broker::producer(&broker);
    let batch = batch();
    let mut floor = SyncFloor::new(dir.path());
    let bytes = vec![b'x'; (VALUE_BYTES + 28) * BATCH];
    let (mut count, mut sends, mut syncs) = (0, Duration::ZERO, Duration::ZERO);
    let name = "durable batch of 1,000 records of 256 bytes";
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                producer.send_batch(&batch).expect("a batch is sent");
            }
            let total = start.elapsed();
            syncs += floor.append(&bytes) * u32::try_from(iterations).expect("few enough");
            count += u32::try_from(iterations).expect("few enough");
            sends += total;
            total
        });
    });
    let count = count.max(1);
    let per_second = 1e3 * f64::from(count) / sends.as_secs_f64();
    let hashing = hash_records(CANONICAL_BYTES, 10 * BATCH) / 10;
    let floor = format!("one write and sync {:.0?}, SHA-256 {hashing:.0?} a batch", syncs / count);
    report.rate(name, per_second, &floor, Target::PerSecond(700_000.0));
}

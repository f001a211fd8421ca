//! Transactions beside single appends, which see the same disk.

use crate::fixture::{TOPIC, VALUE_BYTES, consumer, fill, folder, open, record};
use crate::floor::SyncFloor;
use crate::report::{Report, Target};
use crate::samples::Samples;
use crate::seam::{Counted, Counts};
use merkql::broker::{Broker, BrokerRef};
use merkql::consumer::Consumer;
use merkql::record::{BytesProducerRecord, ProducerRecord};
use std::time::Duration;

const ROUNDS: usize = 4000;
const COUNTED_ROUNDS: usize = 200;
const PARTITIONS: u32 = 4;
const MADE: &str = "made";

/// A log with something to read and a topic to write to, and a reader.
fn prepare(broker: &BrokerRef) -> Consumer {
    fill(broker, ROUNDS + COUNTED_ROUNDS);
    broker.create_topic(MADE, PARTITIONS).expect("the topic is new");
    broker.create_topic("single", 1).expect("the topic is new");
    consumer(broker, TOPIC, Some(1))
}

/// A record to each of four partitions, and the offsets of the reader.
fn commit(broker: &BrokerRef, consumer: &mut Consumer, records: &[BytesProducerRecord]) {
    let mut transaction = broker.transaction();
    for record in records {
        transaction.send_bytes(record).expect("the record is good");
    }
    transaction.send_offsets(consumer).expect("there is one consumer");
    transaction.commit().expect("the transaction is committed");
}

fn poll_one(consumer: &mut Consumer) {
    assert_eq!(consumer.poll_bytes(Duration::ZERO).expect("the record is readable").len(), 1);
}

pub(crate) fn bench(report: &mut Report) {
    let dir = folder();
    let broker = open(&dir.path().join("log"));
    let mut consumer = prepare(&broker);
    let producer = Broker::producer(&broker);
    let mut floor = SyncFloor::new(dir.path());
    let single = ProducerRecord { topic: "single".to_owned(), ..record() };
    let record = |partition| {
        BytesProducerRecord::without_key(MADE, vec![b'x'; VALUE_BYTES]).with_partition(partition)
    };
    let records: Vec<_> = (0..PARTITIONS).map(record).collect();
    let (mut singles, mut transactions, mut floors) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        poll_one(&mut consumer);
        transactions.time(|| commit(&broker, &mut consumer, &records));
        singles.time(|| producer.send(&single).expect("a record is sent"));
        floors.push(floor.append(&[b'x'; VALUE_BYTES]));
    }
    let (transaction, single_append) = (transactions.median(), singles.median());
    let name = "single append, alternating with transactions, median";
    report.time(name, single_append, Some(floors.median()), Target::None);
    let name = "transaction over 4 partitions and a group's offsets, median; floor: single append";
    report.time(name, transaction, Some(single_append), Target::TimesFloor(1.5));

    let counted = Counted::default();
    let broker = counted.open(&dir.path().join("counted"));
    let mut consumer = prepare(&broker);
    let producer = Broker::producer(&broker);
    let (mut of_singles, mut of_transactions) = (Vec::new(), Vec::new());
    for _ in 0..COUNTED_ROUNDS {
        poll_one(&mut consumer);
        counted.take();
        commit(&broker, &mut consumer, &records);
        of_transactions.push(counted.take());
        producer.send(&single).expect("a record is sent");
        of_singles.push(counted.take());
    }
    let tell = |mut counts: Vec<Counts>| {
        counts.sort_unstable();
        let Counts { syncs, writes, .. } = counts[counts.len() / 2];
        (syncs as f64, format!("{writes} writes"))
    };
    for (name, counts) in [("a transaction", of_transactions), ("a single append", of_singles)] {
        let (syncs, writes) = tell(counts);
        let name = format!("syncs of {name}, median");
        report.amount(&name, syncs, "", &writes, Target::Amount(1.0));
    }
}

//! The process dies, or the power goes, at every operation of a few transactions:
//! each is there whole, with its offsets, or not at all, and may be repeated.

mod support;

use merkql::Result;
use merkql::broker::{Broker, BrokerConfig, BrokerRef};
use merkql::consumer::Consumer;
use merkql::record::RecordMetadata;
use merkql_sim::clock::SimClock;
use merkql_sim::disk::{CrashPhase, CrashPoint, SimDisk, Survivors};
use merkql_sim::entropy::SimEntropy;
use merkql_sim::profile::Profile;
use std::sync::Arc;
use support::*;

const TRANSACTIONS: u64 = 3;
const PRODUCER_ID: u64 = 9;
/// How many sets of survivors of a power cut are tried at most.
const SURVIVORS: usize = 12;

/// Sizes so small that the transactions roll segments and journal files.
fn open_on(disk: &SimDisk, seed: u64) -> Result<BrokerRef> {
    Broker::open(BrokerConfig {
        journal_initial_bytes: 8192,
        journal_max_bytes: 16384,
        segment_bytes: 2048,
        file_system: Arc::new(disk.process()),
        clock: Arc::new(SimClock::new()),
        entropy: Arc::new(SimEntropy::new(seed)),
        ..BrokerConfig::new("/log")
    })
}

/// A disk with a closed log whose topic `in` has an input for each transaction.
fn prepared() -> SimDisk {
    let disk = SimDisk::new();
    let broker = open_on(&disk, 1).unwrap();
    for (topic, partitions) in [("in", 1), ("out", 2), ("audit", 1)] {
        broker.create_topic(topic, partitions).unwrap();
    }
    let count = usize::try_from(TRANSACTIONS).unwrap();
    send_numbered(&Broker::producer(&broker), "in", "i", count);
    Broker::close(&broker).unwrap();
    disk
}

type Places = Vec<RecordMetadata>;

/// Sends what input `number` leads to, and commits it with the offset behind it.
fn transact(broker: &BrokerRef, number: u64, consumer: Option<&mut Consumer>) -> Result<Places> {
    let producer = Broker::idempotent_producer(broker, PRODUCER_ID);
    let mut transaction = producer.transaction(number);
    for part in 0..4 {
        let value = format!("{number}.{part} {}", "x".repeat(400));
        transaction.send(&keyless(if part == 3 { "audit" } else { "out" }, value))?;
    }
    let next = [(("in", 0), number + 1)];
    if let Some(consumer) = consumer {
        transaction.send_offsets_of(consumer, &next)?;
    }
    transaction.commit()
}

/// Commits one transaction after the other; returns those that were answered.
fn live(disk: &SimDisk) -> Vec<Places> {
    let mut answered = Vec::new();
    let Ok(broker) = open_on(disk, 2) else { return answered };
    let mut consumer = subscribed(&broker, "g", "in");
    if consumer.poll(NOW).is_err() {
        return answered;
    }
    for number in 0..TRANSACTIONS {
        match transact(&broker, number, Some(&mut consumer)) {
            Ok(places) => answered.push(places),
            Err(_) => break,
        }
    }
    // The process is dead, or ends like this.
    answered
}

/// How many transactions are there; each is, or is not, in every place.
fn whole_transactions(broker: &BrokerRef) -> u64 {
    let read = |topic: &str, number| {
        let records = partition(broker, topic, number).read_range(0, u64::MAX).unwrap();
        records.into_iter().map(|record| record.value)
    };
    let out = read("out", 0).chain(read("out", 1)).chain(read("audit", 0));
    let mut found: Vec<_> = out.map(|value| value.split_once(' ').unwrap().0.to_owned()).collect();
    found.sort();
    let committed = consumer(broker, "g").committed("in", 0).unwrap().unwrap_or_default();
    let expected: Vec<_> = (0..committed)
        .flat_map(|number| (0..4).map(move |part| format!("{number}.{part}")))
        .collect();
    assert_eq!(found, expected, "{committed} committed");
    let producer = Broker::idempotent_producer(broker, PRODUCER_ID);
    assert_eq!(producer.next_sequence(), committed);
    committed
}

/// Opens what is left, and goes on.
fn recover(disk: &SimDisk, answered: &[Places]) -> u64 {
    let broker = open_on(disk, 3).unwrap();
    let whole = whole_transactions(&broker);
    let known = answered.len() as u64;
    assert!((known..=known + 1).contains(&whole), "{whole} of {known} answered");
    // Whatever became of them, all can be repeated, and the next one goes on.
    for (number, places) in (0..).zip(answered) {
        assert_eq!(transact(&broker, number, None).unwrap(), *places);
    }
    let mut consumer = subscribed(&broker, "g", "in");
    consumer.poll(NOW).unwrap();
    for number in known..TRANSACTIONS {
        transact(&broker, number, Some(&mut consumer)).unwrap();
    }
    assert_eq!(whole_transactions(&broker), TRANSACTIONS);
    for (topic, number) in [("out", 0), ("out", 1), ("audit", 0)] {
        let guard = partition(&broker, topic, number);
        let proof = guard.proof(0).unwrap().unwrap();
        assert!(guard.verify_proof(&proof).unwrap());
    }
    whole - known
}

#[test]
fn wherever_the_process_dies_a_transaction_is_there_whole_or_not_at_all() {
    let disk = prepared();
    let first = disk.changes();
    assert_eq!(live(&disk).len() as u64, TRANSACTIONS);
    let changes = first..disk.changes();
    assert!(changes.end - changes.start > 20, "{changes:?}");
    let (mut deaths, mut unanswered) = (0, [0, 0]);
    for change in changes {
        for phase in [CrashPhase::Before, CrashPhase::Partly(700), CrashPhase::After] {
            let disk = prepared();
            assert_eq!(disk.changes(), first);
            disk.crash_at(CrashPoint { change, phase });
            let answered = live(&disk);
            let unsynced = disk.unsynced();
            let mut lost: Vec<Option<Survivors>> = vec![None];
            for profile in Profile::HONEST {
                let sets = profile.enumerate(&unsynced, SURVIVORS).survivors;
                lost.extend(sets.into_iter().map(Some));
            }
            for survivors in lost {
                let fork = disk.fork();
                match &survivors {
                    None => fork.kill(),
                    Some(survivors) => fork.power_cut(survivors),
                }
                deaths += 1;
                unanswered[usize::try_from(recover(&fork, &answered)).unwrap()] += 1;
            }
        }
    }
    println!("{deaths} deaths; lost and kept without an answer: {unanswered:?}");
    assert!(deaths > 500 && unanswered.iter().all(|count| *count > 20), "{unanswered:?}");
}

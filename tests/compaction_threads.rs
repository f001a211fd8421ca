//! Sends and reads go on while the log is compacted.

#![allow(clippy::disallowed_methods, reason = "senders and readers are threads")]

mod support_compaction;

use merkql::broker::{Broker, BrokerConfig};
use merkql::compression::Compression;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support_compaction::*;

const KEYS: usize = 7;
const RECORDS: usize = 1500;

/// Reads all, again and again: each key's last record is there at any time, and no
/// record is another than the one that was sent.
fn read_on(broker: &merkql::broker::BrokerRef, sent: &[Pair], done: &AtomicBool) -> u64 {
    let mut rounds = 0;
    while !done.load(Ordering::Acquire) || rounds == 0 {
        let partition = partition(broker);
        let end = usize::try_from(partition.next_offset()).unwrap();
        let shown = shown(&partition);
        for (offset, pair) in &shown {
            assert_eq!(pair, &sent[usize::try_from(*offset).unwrap()]);
        }
        // What was the last of its key in this view may have gone since, for a later one.
        let now = usize::try_from(support_compaction::partition(broker).next_offset()).unwrap();
        let superseded =
            |offset: usize| sent[end..now].iter().any(|(key, _)| *key == sent[offset].0);
        for offset in last_of_each(&sent[..end], end as u64).into_keys() {
            let offset_here = usize::try_from(offset).unwrap();
            assert!(
                shown.contains_key(&offset) || superseded(offset_here),
                "offset {offset} of {end}"
            );
        }
        let proof = partition.proof(end as u64 / 2).unwrap();
        assert!(proof.is_none_or(|proof| proof.is_valid()));
        rounds += 1;
    }
    rounds
}

#[test]
fn sends_and_reads_go_on_and_lose_nothing() {
    for compression in [Compression::None, Compression::Lz4] {
        let world = World::new(compression, 4096);
        let broker = Broker::open(BrokerConfig { max_open_files: 4, ..world.config() }).unwrap();
        broker.create_topic_with("t", &compacted()).unwrap();
        let sent: Vec<Pair> =
            (0..RECORDS).map(|number| pair(&format!("key {}", number % KEYS), number)).collect();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| read_on(&broker, &sent, &done));
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        broker.maintain().unwrap();
                    }
                });
            }
            sent.chunks(3).for_each(|batch| send(&broker, batch));
            done.store(true, Ordering::Release);
        });
        broker.maintain().unwrap();
        let expected = last_of_each(&sent, *world.bases().last().unwrap());
        assert_eq!(shown(&partition(&broker)), expected);
        Broker::close(&broker).unwrap();
        drop(broker);
        let broker = world.open();
        assert_eq!(shown(&partition(&broker)), expected);
        assert_proved(&partition(&broker), &BTreeMap::new());
    }
}

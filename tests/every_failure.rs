//! The same short life of a log, again and again: each time another one of its
//! calls to the file system fails, until every call has failed once.

mod support;

use merkql::broker::{Broker, BrokerConfig};
use merkql::record::Record;
use merkql::topic::RetentionConfig;
use merkql::{Error, Result};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use support::watched::{Call, Watched};
use support::*;

/// Journal and segments so small that a short life has rolls and checkpoints.
fn small(window: &Watched, dir: &Path) -> BrokerConfig {
    BrokerConfig {
        segment_bytes: 1024,
        journal_initial_bytes: 16 << 10,
        journal_max_bytes: 16 << 10,
        max_open_files: 4,
        ..window.config(dir)
    }
}

/// What a life has left in the memory of those who lived it.
#[derive(Default)]
struct Life {
    acknowledged: Vec<Record>,
    /// Sends that failed: such a record may be there, once, or not at all.
    failed: BTreeSet<String>,
    committed: u64,
    /// The commit that failed, if one did: it may have been made.
    may_be_committed: Option<u64>,
}

impl Life {
    fn live(&mut self, config: BrokerConfig, name: &str) -> Result<()> {
        let broker = Broker::open(config)?;
        let producer = Broker::producer(&broker);
        let mut consumer = subscribed(&broker, "g", "t");
        for number in 0..14 {
            let value = format!("{name}-{number} {}", "x".repeat(250));
            let batch = [keyed("t", "k", value.as_str()), keyed("u", "k", value.as_str())];
            match producer.send_batch(&batch) {
                Ok(sent) => self.acknowledged.extend(sent),
                Err(_) => drop(self.failed.insert(value)),
            }
            if number % 5 == 4
                && let Some(last) = consumer.poll(NOW)?.last()
            {
                let next = last.offset + 1;
                match consumer.commit_sync() {
                    Ok(()) => (self.committed, self.may_be_committed) = (next, None),
                    Err(_) => self.may_be_committed = Some(next),
                }
            }
            if number == 9 {
                let _ = broker.maintain();
            }
        }
        drop(consumer);
        Broker::close(&broker)
    }

    fn assert_kept(&self, window: &Watched, dir: &Path) {
        let broker = window.open(dir);
        let mut places_held = BTreeSet::new();
        for record in &self.acknowledged {
            assert!(places_held.insert((record.topic.clone(), record.offset)), "{record:?} twice");
            let read = partition(&broker, &record.topic, 0).read(record.offset).unwrap();
            assert_eq!(read.as_ref(), Some(record), "an acknowledged record");
        }
        let mut in_topics = Vec::new();
        for topic in ["t", "u"].into_iter().filter(|topic| broker.topic(topic).is_some()) {
            let guard = partition(&broker, topic, 0);
            let records = guard.read_range(0, u64::MAX).unwrap();
            assert_eq!(records.len() as u64, guard.next_offset(), "offsets are dense");
            let mut values = BTreeSet::new();
            for record in records {
                assert!(values.insert(record.value.clone()), "stored twice: {}", record.value);
                let place = (record.topic.clone(), record.offset);
                let known = places_held.contains(&place) || self.failed.contains(&record.value);
                assert!(known, "nobody sent {record:?}");
                let proof = guard.proof(record.offset).unwrap().unwrap();
                assert!(guard.verify_proof(&proof).unwrap());
            }
            in_topics.push(values);
        }
        assert!(in_topics.windows(2).all(|pair| pair[0] == pair[1]), "half a batch is there");
        let first = subscribed(&broker, "g", "t").poll(NOW).unwrap().first().map(|r| r.offset);
        let end = broker.topic("t").map_or(0, |_| partition(&broker, "t", 0).next_offset());
        let begins = |committed: u64| first == (committed < end).then_some(committed);
        let possible = begins(self.committed) || self.may_be_committed.is_some_and(begins);
        assert!(possible, "begins at {first:?}, committed {}", self.committed);
        let sent = Broker::producer(&broker).send(&keyless("after", "v")).unwrap();
        assert_eq!(sent.offset, 0);
    }
}

/// Lets the call with this number fail, of those that `counts`; returns whether
/// there was such a call.
fn sweep_one(nth: usize, counts: fn(&Call) -> bool, kind: ErrorKind) -> bool {
    let dir = scratch();
    let window = Watched::swift();
    let mut left = nth;
    let (told, failed) = std::sync::mpsc::channel();
    window.refuse(move |call| {
        if !counts(call) {
            return None;
        }
        left = left.wrapping_sub(1);
        (left == usize::MAX).then(|| {
            told.send(call.clone()).unwrap();
            io::Error::from(kind)
        })
    });
    let mut life = Life::default();
    // A second life goes on after whatever became of the first.
    for name in ["first", "second"] {
        let lived = life.live(small(&window, dir.path()), name);
        let typed = !matches!(lived, Err(Error::Corrupt(_) | Error::NotALog { .. }));
        assert!(typed, "call {nth} failed: {lived:?}");
    }
    let failed = failed.try_recv().ok();
    println!("call {nth}, {kind}: {failed:?}");
    if kind == ErrorKind::StorageFull {
        // One refusal fails one send at the most: nothing has latched.
        assert!(life.failed.len() <= 1, "{:?}", life.failed);
    }
    window.permit();
    life.assert_kept(&window, dir.path());
    failed.is_some()
}

fn sweep(counts: fn(&Call) -> bool, kind: ErrorKind) -> usize {
    let count = (0..5000).take_while(|nth| sweep_one(*nth, counts, kind)).count();
    println!("{count} calls failed in turn");
    count
}

#[test]
fn whichever_sync_fails_what_was_acknowledged_is_kept() {
    let syncs = sweep(|call| call.op.is_sync(), ErrorKind::Other);
    assert!(syncs > 60, "{syncs}");
}

#[test]
fn whichever_change_fails_what_was_acknowledged_is_kept() {
    let changes = sweep(|call| call.op.is_change() && !call.op.is_sync(), ErrorKind::Other);
    assert!(changes > 200, "{changes}");
}

#[test]
fn whichever_call_finds_the_disk_full_what_was_acknowledged_is_kept() {
    let growing = sweep(|call| call.grows, ErrorKind::StorageFull);
    assert!(growing > 40, "{growing}");
}

#[test]
fn whichever_open_or_look_fails_what_was_acknowledged_is_kept() {
    let looks = sweep(|call| !call.op.is_change(), ErrorKind::Other);
    assert!(looks > 40, "{looks}");
}

#[test]
fn a_life_without_failures_keeps_everything() {
    let dir = scratch();
    let window = Watched::swift();
    let mut life = Life::default();
    let default_retention = RetentionConfig { max_records: None };
    for name in ["first", "second"] {
        let config = BrokerConfig { default_retention, ..small(&window, dir.path()) };
        life.live(config, name).unwrap();
    }
    assert_eq!(life.acknowledged.len(), 2 * 2 * 14);
    assert_eq!((life.committed, life.failed.len()), (24, 0));
    life.assert_kept(&window, dir.path());
}

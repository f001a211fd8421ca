//! Threads that cross: nothing is written once the broker is closed, a flush
//! ends while others go on sending, and a wait that meets the broker's end
//! tells the truth.

#![allow(clippy::disallowed_methods, reason = "the tests run threads of their own")]

mod support;
mod support_crash;

use merkql::Error;
use merkql::broker::{Broker, BrokerRef};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;
use support::watched::{Op, Watched};
use support::*;
use support_crash::memory_dir;

/// How many records the log of one topic has.
fn records_in(dir: &Path) -> u64 {
    partition(&Watched::swift().open(dir), "t", 0).next_offset()
}

#[test]
fn nothing_is_written_once_close_has_returned() {
    let dir = memory_dir();
    let rounds = 300;
    let mut refused = 0;
    for round in 0..rounds {
        let window = Watched::swift();
        let broker = window.open(dir.path());
        let pending = Broker::producer(&broker).enqueue(&numbered("t", "v", 1)).unwrap();
        // Every other round, maintenance is in the middle of a commit when the
        // broker is closed; else they just meet.
        let committing = Arc::new(AtomicBool::new(round % 2 == 1));
        let seen = Arc::clone(&committing);
        window.refuse(move |call| {
            if call.op == Op::Write
                && call.is_on_journal_file()
                && !seen.swap(true, Ordering::SeqCst)
            {
                thread::sleep(Duration::from_millis(1));
            }
            None
        });
        let start = Barrier::new(2);
        let late = thread::scope(|scope| {
            let maintained = scope.spawn(|| {
                start.wait();
                broker.maintain()
            });
            start.wait();
            while !committing.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            Broker::close(&broker).unwrap();
            window.take();
            match maintained.join().unwrap() {
                Ok(()) => {}
                Err(Error::Closed) => refused += 1,
                Err(other) => panic!("round {round}: {other}"),
            }
            window.take()
        });
        assert!(!late.iter().any(|call| call.op.is_change()), "round {round}: {late:?}");
        assert_eq!(pending.wait().unwrap().len(), 1);
        drop(broker);
    }
    assert_eq!(records_in(dir.path()), rounds);
    assert!(refused > 0, "closing was never first");
}

#[test]
fn a_flush_ends_while_others_go_on_sending() {
    let dir = memory_dir();
    let broker = Watched::swift().open(dir.path());
    let (flushed, wait_for_flushes) = mpsc::channel();
    let over = AtomicBool::default();
    let ended = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let producer = Broker::producer(&broker);
                while !over.load(Ordering::Relaxed) {
                    let pending: Vec<_> =
                        (0..4).map(|_| producer.enqueue(&numbered("t", "v", 1)).unwrap()).collect();
                    for pending in pending {
                        pending.wait().unwrap();
                    }
                }
            });
        }
        let flushing = Broker::producer(&broker);
        scope.spawn(move || {
            for _ in 0..100 {
                let pending = flushing.enqueue(&numbered("t", "flushed", 1)).unwrap();
                flushing.flush().unwrap();
                drop(pending);
            }
            flushed.send(()).unwrap();
        });
        let ended = wait_for_flushes.recv_timeout(Duration::from_secs(20));
        over.store(true, Ordering::Relaxed);
        ended
    });
    ended.expect("a flush waits for what came after it");
    Broker::close(&broker).unwrap();
    drop(broker);
    let read = partition(&Watched::swift().open(dir.path()), "t", 0).read_range(0, u64::MAX);
    let flushed = read.unwrap().into_iter().filter(|record| record.value == "flushed0").count();
    assert_eq!(flushed, 100);
}

fn wait_while_it_ends(broker: BrokerRef) -> merkql::Result<Vec<merkql::record::Record>> {
    let pending = Broker::producer(&broker).enqueue(&numbered("t", "v", 2)).unwrap();
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let waited = scope.spawn(|| {
            start.wait();
            pending.wait()
        });
        start.wait();
        drop(broker);
        waited.join().unwrap()
    })
}

#[test]
fn a_wait_that_meets_the_end_of_the_broker_tells_what_became_of_the_records() {
    let dir = memory_dir();
    let mut acknowledged = 0;
    for round in 0..200 {
        let sent = wait_while_it_ends(Watched::swift().open(dir.path()));
        let sent = sent.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(sent.iter().map(|record| record.offset).max(), Some(acknowledged + 1));
        acknowledged += 2;
        assert_eq!(records_in(dir.path()), acknowledged, "round {round}");
    }
}

#[test]
fn a_wait_that_meets_the_end_of_a_broken_broker_is_told_of_the_failure() {
    for round in 0..60 {
        let dir = memory_dir();
        let window = Watched::swift();
        let broker = window.open(dir.path());
        broker.create_topic("t", 1).unwrap();
        let op = if round % 2 == 0 { Op::Sync } else { Op::Write };
        window.refuse(move |call| {
            let hit = call.op == op && call.is_on_journal_file();
            hit.then(|| io::Error::from_raw_os_error(5))
        });
        let failed = wait_while_it_ends(broker).unwrap_err();
        let told = matches!(failed, Error::Io { .. } | Error::NeedsReopen { .. });
        assert!(told, "round {round}: {failed}");
        assert!(records_in(dir.path()) <= 2);
    }
}
